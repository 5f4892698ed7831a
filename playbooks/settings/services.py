"""What runs: services as systemd units, rendered configuration, hooks."""

from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from playbooks.settings.types import (
    DropInName,
    Duration,
    InstanceName,
    Mode,
    Model,
    Pattern,
    ReleasePath,
    Text,
    UnitName,
    WholeNumber,
)


def below_templates(value: str) -> str:
    """A path below a folder of templates, by its spelling.

    Raises:
        ValueError: it leads out of it.
    """
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("expected a path below templates/, without '..', such as shop/app.env.j2")
    return value


# Below the inventory's templates/ or the project's.
TemplatePath = Annotated[Text, AfterValidator(below_templates)]
STOCK, STOCK_SOCKET = "unit.service.j2", "unit.socket.j2"
# Of the stock template.
SECTIONS = ("Unit", "Service", "Install")


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


def _listen_address(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# systemd.socket(5), ListenStream=: port, address:port, [v6]:port, path, or @ and an abstract name. %i is an instance.
ListenStream = Annotated[
    Text,
    BeforeValidator(_listen_address),
    Field(pattern=r"^([A-Za-z0-9.%_-]+:)?[0-9%i]+$|^\[[0-9a-fA-F:.]+\]:[0-9%i]+$|^[/@][^ ]+$", max_length=107),
]


class Service(Model):
    """A systemd unit of the application. An application may have several."""

    name: UnitName = Field(
        description="Unit name without .service. It ends in @ for a template unit with instances, or for a unit that "
        "runs in the slots of `slipway_slots`."
    )
    instances: list[InstanceName] = Field(
        [],
        description="Instances of a template unit, e.g. [8001, 8002]. Leave it out for a unit that runs in slots.",
    )
    hosts: Pattern | None = Field(None, description="Pattern of the hosts that run it. Default: all of them.")
    template: TemplatePath = Field(
        STOCK, description="Template of the unit file. The stock template uses `unit` below."
    )
    unit: dict[Text, dict[Text, Text | WholeNumber | bool | list[Text]]] = Field(
        {},
        description="For the stock template: sections of the unit file with their directives, e.g. Service: "
        "{ExecStart: …, Type: notify}. A list writes the directive several times.",
    )
    drop_ins: dict[DropInName, TemplatePath] = Field({}, description="Drop-ins: file name (NN-name.conf) → template.")
    socket: Annotated[list[ListenStream], BeforeValidator(_one_or_more)] = Field(
        [],
        description="Where systemd listens for the service (ListenStream=), e.g. 0.0.0.0:8000, or a list. The "
        "service must take over the socket (sd_listen_fds). The socket stays open while the service "
        "restarts, so clients wait and are not refused. See docs/zero-downtime.md.",
    )
    socket_template: TemplatePath = Field(STOCK_SOCKET, description="Template of the socket's unit file.")
    on_switch: Literal["restart", "reload"] = Field(
        "restart",
        description="What a deploy or a rollback does to the unit after the switch. A unit that is taken back, also "
        "by a guard, is always restarted.",
    )

    @model_validator(mode="after")
    def _instances_fit(self) -> Self:
        if self.instances and not self.name.endswith("@"):
            raise ValueError("only a name that ends in @ takes instances")
        if self.template == STOCK and "ExecStart" not in self.unit.get("Service", {}):
            raise ValueError("the stock template needs unit.Service.ExecStart (or give a template of your own)")
        unknown = [section for section in self.unit if section not in SECTIONS]
        if unknown and self.template == STOCK:
            near = get_close_matches(unknown[0], SECTIONS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"unit.{unknown[0]}: the stock template has {', '.join(SECTIONS)}{meant}")
        if self.socket and self.unit.get("Service", {}).get("Restart", "always") == "no":
            raise ValueError("with a socket, unit.Service.Restart cannot be no: whoever connects starts it again")
        return self

    def as_data(self) -> dict[str, Any]:
        """What templates see of it: its settings, and the units and sockets that they come to."""
        return {**self.model_dump(), "units": self.units, "sockets": self.sockets, "in_slots": self.in_slots}

    @property
    def in_slots(self) -> bool:
        """Whether it runs as one unit a slot, of which each belongs to a release of its own."""
        return self.name.endswith("@") and not self.instances

    @property
    def units(self) -> list[str]:
        """Full names of the units to start; one that runs in slots is called by its slot besides."""
        return [f"{name}.service" for name in self._names]

    @property
    def sockets(self) -> list[str]:
        """Full names of the sockets that stay open while those restart."""
        return [f"{name}.socket" for name in self._names] if self.socket else []

    @property
    def _names(self) -> list[str]:
        return [f"{self.name}{instance}" for instance in self.instances] or [self.name]


class ConfigFile(Model):
    """A file rendered into the release."""

    template: TemplatePath = Field(description="Template, in the inventory's templates/ or else in the project's.")
    dest: ReleasePath = Field(description="Path in the release, e.g. config/app.env.")
    mode: Mode = Field("0640", description="Its mode. The file belongs to root and the application's group.")
    hosts: Pattern | None = Field(None, description="Pattern of the hosts that get it. Default: all of them.")


class Hook(Model):
    """A command of the user's own, run on the host."""

    run: Text = Field(description="The command, read by sh, with the staged release as its working directory.")
    name: Text = Field("", description="Its name in messages.")
    user: Literal["app", "root"] = Field(
        "app",
        description="The user that runs it: root, or app for the application's user, which cannot gain privileges "
        "(no sudo). With app, an install hook has a user of its own instead, because it makes a release "
        "that the application cannot write to.",
    )
    once: bool = Field(
        False,
        description="Run it on one host only, the first one that the deploy changes. As a before_switch hook, such "
        "as a migration, it runs before those of every host, and no host switches until it succeeds.",
    )
    timeout: Duration = Field(300.0, gt=0, description="Time limit.")

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or self.run[:60]


class Hooks(Model):
    """When hooks run. A failing hook fails the host at that point."""

    install: list[Hook] = Field(
        [],
        description="During staging, in the new release's folder, e.g. pip install --no-index or npm ci --offline. "
        "Nothing that serves has changed yet. These hooks can read what every user can, use the network, "
        "and write to the release and to a HOME and /tmp of their own, but not to shared folders. "
        "Processes that they leave are ended.",
    )
    before_switch: list[Hook] = Field(
        [],
        description="After every host is staged: with `once`, before any host switches; otherwise right before each "
        "host switches.",
    )
    after_switch: list[Hook] = Field([], description="After the restart, before the health checks.")
