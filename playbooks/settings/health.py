"""When a host counts as healthy (A4)."""

from typing import Annotated, Literal

from pydantic import Field

from playbooks.settings.types import Count, Duration, Model, Port, ServedBy, Text

# Filled in on the host, with the port of the slot that the release runs in.
SLOT_PORT = "{port}"
# Filled in on the host, too: whoever runs a release, or goes back to it, is asked for its own version.
VERSION = "{version}"


# Seconds that a service has to stay up which no check asks for anything.
UNPROVEN = 5.0


class HealthCheck(Model):
    """What every check has."""

    name: Text = Field("", description="The check's name in messages. Default: a name made from its type.")
    critical: bool = Field(True, description="Whether a failure fails the host. Otherwise it only warns.")
    timeout: Duration = Field(2.0, gt=0, description="Time limit of one try.")

    @property
    def label(self) -> str:
        """The name to show."""
        return self.name or self.subject

    def label_at(self, port: int | None, version: str) -> str:
        """The name as a host's answer has it.

        Args:
            port: that of the slot; None where the release runs in none.
            version: of the release that is checked.
        """
        filled = self.label.replace(VERSION, version)
        return filled if port is None else filled.replace(SLOT_PORT, str(port))

    @property
    def subject(self) -> str:
        """What is looked at, for a check without a name."""
        return type(self).__name__

    @property
    def asks_slot(self) -> bool:
        """Whether it looks at the port of a slot."""
        return False


class HttpCheck(HealthCheck):
    """Request a URL from the host itself."""

    type: Literal["http"]
    url: Text = Field(
        description="URL as the host reaches it, e.g. http://127.0.0.1:8000/health/ready. {port} is the slot's port, "
        "{version} the release's version. An answer of the host itself counts only from a program of "
        "root, of the application's user, of `served_by`, or of a unit that is checked."
    )
    status: int = Field(200, ge=100, le=599, description="The status that counts as healthy.")
    body: Text | None = Field(
        None,
        description="An extended regular expression that the body must match. {version} is the release's version. "
        "Slipway reads 1 MB of a body; a check of a larger body fails.",
    )
    json_path: Text | None = Field(None, description="A jq filter whose result must be `json_value`, e.g. .status.")
    json_value: Text | None = Field(
        None, description="What `json_path` must give. {version} is the release's version. Default: `true`."
    )
    headers: dict[Text, Text] = Field({}, description="Request headers to send.")
    expect_headers: dict[Text, Text] = Field(
        {},
        description="Headers that the answer must have, each with a regular expression for its value. {version} is "
        "the release's version.",
    )
    max_time: Duration | None = Field(None, description="The answer must come within this, e.g. 500ms.")
    served_by: ServedBy | None = Field(
        None,
        description="Name or number of another user of the host whose program may answer, for instance that of a "
        "container.",
    )

    @property
    def subject(self) -> str:
        return self.url

    @property
    def asks_slot(self) -> bool:
        return SLOT_PORT in self.url


class TcpCheck(HealthCheck):
    """Open a TCP connection from the host."""

    type: Literal["tcp"]
    host: Text = Field("127.0.0.1", description="Host name or address.")
    port: Port | Literal["{port}"] = Field(description="Port. {port} is the slot's port.")

    @property
    def subject(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def asks_slot(self) -> bool:
        return self.port == SLOT_PORT


class UnitCheck(HealthCheck):
    """A systemd unit is active and does not keep restarting. Every service of the application has such a check without
    a setting.
    """

    type: Literal["unit"]
    unit: Text = Field(description="Full unit name, e.g. redis-server.service.")

    @property
    def subject(self) -> str:
        return self.unit


class CommandCheck(HealthCheck):
    """Run a command on the host as the application's user. Exit status 0 is healthy."""

    type: Literal["command"]
    run: Text = Field(
        description="The command, read by sh, with the release as its working directory. Slipway keeps the last 2 kB "
        "of its output, and shows the end of it.",
    )

    @property
    def subject(self) -> str:
        return self.run.split(" ")[0]


class PostgresCheck(HealthCheck):
    """PostgreSQL accepts connections and, if a password is given, answers a query."""

    type: Literal["postgresql"]
    host: Text = Field("127.0.0.1", description="Host name or address.")
    port: Port = Field(5432, description="Port.")
    database: Text = Field("postgres", description="Database.")
    user: Text = Field("postgres", description="User.")
    password: Text | None = Field(None, description="Name of the secret that holds the password.")
    served_by: ServedBy | None = Field(
        None,
        description="Name or number of another user of this host whose program may be told the password, "
        "say a pooler's.",
    )

    @property
    def subject(self) -> str:
        return f"postgresql {self.host}:{self.port}/{self.database}"


class RedisCheck(HealthCheck):
    """Redis answers PING."""

    type: Literal["redis"]
    host: Text = Field("127.0.0.1", description="Host name or address.")
    port: Port = Field(6379, description="Port.")
    password: Text | None = Field(None, description="Name of the secret that holds the password.")
    served_by: ServedBy | None = Field(
        None,
        description="Name or number of another user of this host whose program may be told the password, "
        "say a pooler's.",
    )

    @property
    def subject(self) -> str:
        return f"redis {self.host}:{self.port}"


AnyCheck = Annotated[
    HttpCheck | TcpCheck | UnitCheck | CommandCheck | PostgresCheck | RedisCheck, Field(discriminator="type")
]


class Health(Model):
    """When a host counts as healthy after a switch, and how long Slipway waits for it."""

    attempts: Count = Field(30, ge=1, description="Slipway gives up after attempts × interval.")
    interval: Duration = Field(
        10.0,
        gt=0,
        description="The longest pause between tries. The first pauses are shorter: 100 ms, then twice as long each "
        "time, so a fast start costs no waiting.",
    )
    stable_for: Duration | None = Field(
        None,
        description="How long every critical check must stay good, without a restart of a unit, before a host counts "
        f"as healthy. Default: a service must stay up for {UNPROVEN:g} s, unless an http or tcp check asks a port of "
        "127.0.0.1 at which it listens; then nothing is waited for.",
    )
    max_restarts: Count = Field(
        3, description="A unit that has restarted more often than this since the switch fails at once."
    )
    checks: list[AnyCheck] = Field([], description="The checks, each with its `type`.")

    @property
    def proves(self) -> bool:
        """Whether a check asks the application for something."""
        return any(check.critical and check.type in ("http", "tcp", "command") for check in self.checks)

    @property
    def unproven(self) -> str:
        """A sentence where no check asks the application for anything; else empty."""
        if self.proves:
            return ""
        seconds = UNPROVEN if self.stable_for is None else self.stable_for
        return (
            "no check of slipway_health asks the application for anything: a release counts as healthy once its units "
            f"have stayed up for {seconds:g} s"
        )

    @property
    def patience(self) -> float:
        """Seconds until a host that is not healthy is given up: 5 minutes by default (A5's limit)."""
        return self.attempts * self.interval
