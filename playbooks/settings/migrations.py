"""How a release changes its database (C1)."""

from datetime import time
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from playbooks.settings.types import Count, DatabaseName, Duration, Model, ReleasePath, Text, section

ToolName = Literal["alembic", "django", "rails", "flyway", "prisma", "knex", "dbmate"]
# POSIX: what a shell can export.
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _clock(value: object) -> object:
    # YAML 1.1 reads 2:30 as a number in base 60.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        value = f"{value // 60:02}:{value % 60:02}"
    try:
        found = time.fromisoformat(str(value).zfill(5))
    except ValueError:
        found = None
    if found is None or found.tzinfo:
        raise ValueError("expected a time of day such as 02:30; its zone is a setting of its own")
    return found


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected the name of a time zone, such as Europe/Berlin or UTC") from None
    return value


ClockTime = Annotated[time, BeforeValidator(_clock)]


class WindowSettings(Model):
    """When a deploy may migrate. At other times one with pending migrations is refused, and `migrate --contract`."""

    days: list[Day] = Field(
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        min_length=1,
        description="The days on which it opens: mon, tue, wed, thu, fri, sat, sun.",
    )
    opens: ClockTime = Field(description="When it opens, e.g. 02:30.")
    closes: ClockTime = Field(description="When it closes. If that is before it opens, on the next day.")
    zone: Annotated[Text, AfterValidator(_zone)] = Field("UTC", description="The time zone, e.g. Europe/Berlin.")


class RehearsalSettings(Model):
    """What a deploy with pending migrations, and `migrate --contract`, ask of their rehearsal (`invoke rehearse`)."""

    required: bool = Field(False, description="Whether they are refused without one. --overrule=REASON overrules it.")
    by_deploy: bool = Field(
        False,
        description="Whether a deploy holds the rehearsal itself if none speaks for its migrations, with a backup made "
        "for it if the newest is older than max_age or does not have what runs. It needs required.",
    )
    max_age: Duration = Field(86400.0, description="How old the rehearsal may be.")
    lock: Duration = Field(
        2.0, description="How long a migration may keep those waiting who read or write a table, in the rehearsal."
    )
    table_mb: Count = Field(10, description="Smaller tables may be locked for longer, in MB.")

    @model_validator(mode="after")
    def _by_deploy_is_required(self) -> Self:
        if self.by_deploy and not self.required:
            raise ValueError("by_deploy needs required: true; without it a deploy asks for no rehearsal")
        return self


class ToolCommands(Model):
    """The commands of the application's own tool. Each is a line for sh, and runs in the release's folder."""

    up: Text = Field(min_length=1, description="Applies all that is pending.")
    down: Text | None = Field(
        None, description="Takes back what is later than {to}, a version. Default: the tool has no way back."
    )
    status: Text = Field(min_length=1, description="Shows what is applied and what is pending. It must change nothing.")

    @model_validator(mode="after")
    def _down_names_the_version(self) -> Self:
        if self.down is not None and "{to}" not in self.down:
            raise ValueError("down must say {to}, the version to go back to")
        return self


class Migrations(Model):
    """The migrations of a database: SQL files in the artifact, or the application's own tool: docs/migrations.md."""

    folder: ReleasePath | None = Field(
        None, description="The folder in the release with the files, ID_NAME.up.sql and ID_NAME.down.sql."
    )
    tool: ToolName | None = Field(
        None,
        description="Instead of a folder: the application's own tool, whose commands Slipway knows.",
    )
    commands: ToolCommands | None = Field(None, description="Instead of both: the commands of another tool.")
    program: Text | None = Field(
        None,
        min_length=1,
        description="How the commands of `tool` begin, e.g. venv/bin/alembic. Default: alembic, python3 manage.py, "
        "bin/rails, flyway, npx prisma, npx knex, dbmate.",
    )
    environment: dict[VariableName, Text] = Field(
        {}, description="Environment variables for the tool. Secrets belong into environment_file."
    )
    environment_file: ReleasePath | None = Field(
        None,
        description="A file in the release with further environment variables for the tool, as systemd's "
        "EnvironmentFile= reads it; the application's own, say.",
    )
    user: DatabaseName | None = Field(
        None,
        description="The database user that migrates, and owns what is made. Default: the database's `owner`.",
    )
    password: Text | None = Field(
        None, description="Name of the secret that holds this user's password. Default: `owner_password`."
    )
    lock_timeout: Duration = Field(
        1.0,
        ge=0.01,
        le=60,
        description="How long a statement waits for a lock. While it waits, everybody else waits behind it. Then it is "
        "given up, and with SQL files tried again.",
    )
    patience: Duration = Field(
        300.0,
        description="How long to try again for a lock before the migration fails, with growing pauses; with a tool, "
        "how long to wait while another task migrates.",
    )
    statement_timeout: Duration = Field(3600.0, gt=0, description="How long a statement may take.")
    rehearsal: RehearsalSettings = section("What a deploy asks of the rehearsal.")
    on_failure: Literal["keep", "revert"] = Field(
        "keep",
        description="What a deploy that takes the fleet back does with the migrations that it has applied: keep them, "
        "since the release before works with them; or take them back by their down files, which loses what the new "
        "release has written there.",
    )
    contract_in_deploy: bool = Field(
        False,
        description="Whether a later deploy applies the contracts that are owed, as soon as every release on the hosts "
        "knows them, and in a deploy with no expand for this database. Default: invoke migrate --contract does.",
    )
    window: WindowSettings | None = Field(None, description="When deploys may migrate it. Default: at any time.")

    @property
    def by_tool(self) -> bool:
        """Whether the application's own tool migrates."""
        return self.folder is None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        given = [name for name in ("folder", "tool", "commands") if getattr(self, name) is not None]
        if len(given) != 1:
            has = " and ".join(given) or "none of them"
            raise ValueError(f"expected exactly one of folder, tool and commands; it has {has}")
        if self.program and not self.tool:
            raise ValueError("program goes with tool only")
        if not self.by_tool and (self.environment or self.environment_file):
            raise ValueError("environment and environment_file are for a tool; SQL files have no use for them")
        if self.by_tool and self.rehearsal.required:
            raise ValueError("rehearsal.required needs a folder of SQL files: what a tool does is not rehearsed")
        if self.by_tool and self.on_failure == "revert":
            raise ValueError("on_failure: revert needs a folder of SQL files: what a tool has done is not taken back")
        if self.by_tool and self.contract_in_deploy:
            raise ValueError("contract_in_deploy needs a folder of SQL files: a tool does not say what is a contract")
        if self.by_tool and self.window:
            raise ValueError(
                "window needs a folder of SQL files: it is not known in time whether a tool has work to do"
            )
        return self
