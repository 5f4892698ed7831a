"""Everything a user can set: inventory variables that begin with ``slipway_``, as one typed model for each host.

docs/settings.md is generated from the descriptions here.
"""

import hashlib
from collections import Counter
from itertools import permutations
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from playbooks.settings.backup import Backup, Database
from playbooks.settings.health import Health
from playbooks.settings.ledger import LedgerSettings
from playbooks.settings.metrics import MetricsSettings
from playbooks.settings.pull import Pull
from playbooks.settings.rollout import RolloutSettings
from playbooks.settings.services import ConfigFile, Hooks, Service
from playbooks.settings.traffic import Balancer
from playbooks.settings.types import (
    FLEET_WIDE,
    AppName,
    Capability,
    Count,
    Duration,
    HomePath,
    Model,
    Pattern,
    Port,
    ReleasePath,
    SlotName,
    Text,
    UnixName,
    fleet_section,
    section,
)
from playbooks.settings.warm_up import WarmUp

BUILD_USER = "slipway-build-"
LONGEST_USER = 32  # useradd(8)


class FileSecret(Model):
    """A secret in a file on the controller. White space around it is removed."""

    file: Text = Field(
        description="The file's path. ~ is the home folder. A relative path starts at the inventory's folder, or "
        "else at the project's. Other users must not be able to read the file."
    )


class EnvSecret(Model):
    """A secret in an environment variable of the controller."""

    env: Text = Field(description="The variable's name.")


class CommandSecret(Model):
    """A secret that a command prints, e.g. [pass, show, shop/db] or the client of a vault."""

    command: list[Text] = Field(min_length=1, description="Program and arguments. No shell reads them.")


AnySecret = Annotated[FileSecret | EnvSecret | CommandSecret, Field(union_mode="smart")]


class GuardSettings(Model):
    """The guard that takes a host back if the controller is silent."""

    timeout: Duration = Field(
        60.0,
        ge=3,
        description="A host that hears nothing from the controller for this time goes back. A task survives an "
        "interruption of the network of half this time.",
    )
    settle: Duration = Field(
        15.0,
        description="How long the balancer then waits for hosts to be back on their old release before it sends them "
        "traffic again.",
    )


class Timeouts(Model):
    """Time limits."""

    connect: Duration = Field(10.0, gt=0, description="To reach a host and log in.")
    command: Duration = Field(
        600.0, gt=0, description="For one step on one host. Hooks and health checks have their own limits."
    )
    total: Duration = Field(3600.0, gt=0, description="For the whole task, without the time for watching a release.")
    slow: Duration = Field(300.0, gt=0, description="A deploy that takes longer reports it.")


class Limits(Model):
    """What preflight requires of a host before anything is staged."""

    disk_used: int = Field(
        95, ge=1, le=100, description="Refuse a host whose file system for releases is used by more than this, in %."
    )
    memory_free_mb: Count = Field(32, description="Refuse a host with less available memory than this, in MB.")
    systemd: Count = Field(245, description="Refuse a host with an older systemd than this.")


class Settings(Model):
    """The settings of one host. Most are the same for the whole environment: write them into group_vars/all."""

    app: AppName = Field(
        description="The application's name. Its folder, state and backups are named after it.",
        json_schema_extra=FLEET_WIDE,
    )
    hosts: Pattern = Field(
        "all",
        description="Pattern of the hosts that the application runs on, e.g. app.",
        json_schema_extra=FLEET_WIDE,
    )
    production: bool = Field(
        False,
        description="Whether this is production: tasks ask before they act, and a deploy watches the release for 30 "
        "minutes at its end.",
        json_schema_extra=FLEET_WIDE,
    )
    path: HomePath = Field(
        "/opt/{app}",
        description="The application's folder on the host. This folder and those above it must be root's, because "
        "root runs units and scripts in it.",
    )
    user: UnixName | None = Field(
        None, description="The user that the application runs as. Default: the application's name."
    )
    deltas: bool | Literal["always"] = Field(
        True,
        description="Whether to send hosts only the difference from the release that they run. true: if the "
        "controller still has the old artifact, the difference is less than half of the new one, and "
        "making it takes less time than it saves. always: however long it takes. Hosts that have this "
        "very artifact get nothing of it either way.",
        json_schema_extra=FLEET_WIDE,
    )
    artifact: Text | None = Field(
        None,
        description="Where a version's artifact is: a path from the inventory's folder, or else from the project's; "
        "or an http(s):// or s3://BUCKET/KEY URL from which hosts fetch it. {version} is replaced.",
        json_schema_extra=FLEET_WIDE,
    )
    pull: Pull = fleet_section("How hosts fetch an artifact.")
    slots: dict[SlotName, Port] = Field(
        {},
        description="Two slots and their ports, e.g. {blue: 8001, green: 8002}. Releases use them in turn, the new "
        "one beside the old one. Empty: a release replaces the one before. See docs/zero-downtime.md.",
        json_schema_extra=FLEET_WIDE,
    )
    groups: dict[SlotName, Pattern] = Field(
        {},
        description="Two groups of hosts, e.g. {blue: blue_hosts, green: green_hosts}. One group has the traffic, "
        "and a release goes to the other one. Needs a balancer. See docs/rollouts.md.",
        json_schema_extra=FLEET_WIDE,
    )
    keep_idle: Duration = Field(
        86400.0,
        description="How long the old release's slot, or group of hosts, keeps running after a deploy, so that a "
        "rollback only moves traffic.",
    )
    services: list[Service] = Field([], description="The systemd units.")
    config: list[ConfigFile] = Field([], description="Files rendered into each release.")
    shared: list[ReleasePath] = Field(
        [],
        description="Folders that outlive releases. They are in <path>/shared, belong to the application's user, and "
        "are linked into each release. Shared folders, writable paths and configuration files may not be "
        "inside one another.",
    )
    writable: list[ReleasePath] = Field(
        [],
        description="Paths in the release that the application's user may write to. Slipway makes them after the "
        "install hooks, which see only those that the artifact has.",
    )
    keep: list[Literal["capabilities", "acls", "xattrs"]] = Field(
        [],
        description="What to keep of an artifact's files beside their modes: file capabilities, access control "
        "lists, extended attributes called user.*. Slipway refuses an artifact that has what is not "
        "named here. Hosts need the package attr.",
    )
    capabilities: list[Capability] = Field(
        ["cap_net_bind_service"],
        min_length=1,
        description="File capabilities that an artifact may have, if slipway_keep names capabilities. Some, such as "
        "cap_setuid or cap_sys_admin, give root's rights to whoever runs the file.",
    )
    hooks: Hooks = section("Commands of your own.")
    health: Health = section("When a host is healthy.")
    databases: list[Database] = Field(
        [],
        description="The application's databases.",
        json_schema_extra=FLEET_WIDE,
    )
    balancer: Balancer | None = Field(
        None,
        description="The balancer that provision sets up in front of the application.",
        json_schema_extra=FLEET_WIDE,
    )
    port: Port | None = Field(
        None, description="The port at which the application listens on this host, if it is not the balancer's port."
    )
    weight: int = Field(
        1,
        ge=1,
        le=64,
        description="This host's share of the traffic relative to the others: a host with 2 gets twice the traffic "
        "of a host with 1.",
    )
    metrics: MetricsSettings = fleet_section("Where the numbers come from by which a release is judged.")
    backup: Backup = section("Backups.")
    guard: GuardSettings = fleet_section("The guard.")
    warm_up: WarmUp | None = Field(
        None,
        description="Requests that warm up a release before it gets traffic.",
        json_schema_extra=FLEET_WIDE,
    )
    rollout: RolloutSettings = fleet_section("The rollout.")
    keep_releases: Count = Field(
        5,
        ge=1,
        description="How many proven releases to keep on a host, including the running one. The release before that "
        "is kept as well, for a rollback; with 1, only until a backup has it.",
    )
    limits: Limits = section("Preflight.")
    timeouts: Timeouts = fleet_section("Time limits.")
    forks: int = Field(
        32,
        ge=1,
        le=512,
        description="How many hosts Slipway works on at the same time.",
        json_schema_extra=FLEET_WIDE,
    )
    console: Text = Field(
        "if command -v bash >/dev/null; then exec bash --norc; else exec sh; fi",
        description="The command that `invoke console` runs in the release, read by sh, e.g. exec bin/rails console. "
        "Default: a shell.",
    )
    ledger: LedgerSettings = fleet_section("Who may write the history.")
    secrets: dict[Text, AnySecret] = Field(
        {},
        description="Secrets by name; templates read them as secrets.NAME.",
        json_schema_extra=FLEET_WIDE,
    )

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        counts = Counter(unit for service in self.services for unit in service.units)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"services: {', '.join(sorted(twice))} is there twice")
        return self

    @model_validator(mode="after")
    def _user_is_the_applications(self) -> Self:
        if self.run_user.startswith(BUILD_USER):
            raise ValueError(f"user: names that begin with {BUILD_USER} are those of users that make releases")
        return self

    @model_validator(mode="after")
    def _rehearsals_have_backups(self) -> Self:
        asking = [one.name for one in self.databases if one.migrations and one.migrations.rehearsal.required]
        if asking and not self.backup.enabled:
            raise ValueError(
                f"databases: {asking[0]} asks for rehearsals, which are held on the newest backup, and backup.enabled "
                "is false; set migrations.rehearsal.required to false, or turn backups on"
            )
        return self

    @model_validator(mode="after")
    def _places_are_apart(self) -> Self:
        places = [
            *(("shared", path) for path in self.shared),
            *(("writable", path) for path in self.writable),
            *(("config", file.dest) for file in self.config),
        ]
        for (one, upper), (other, lower) in permutations(places, 2):
            if not _is_at(lower, upper) or (one, other) == ("writable", "writable"):
                continue
            # One file may have a template for each group of hosts.
            if one == other == "config" and upper == lower:
                continue
            where = "is there twice, as" if upper == lower else "is inside"
            raise ValueError(f"{other}: {lower} {where} {upper} of slipway_{one}; a place can be one thing only")
        return self

    @model_validator(mode="after")
    def _slots_fit(self) -> Self:
        if self.slots and (len(self.slots) != 2 or len(set(self.slots.values())) != 2):
            raise ValueError("slots: expected exactly two, each with a port of its own")
        inside = [service for service in self.services if service.in_slots]
        if inside and not self.slots:
            raise ValueError(f"services: {inside[0].name} needs instances, or slots for the whole application")
        if self.slots and not inside:
            raise ValueError("slots: no service runs in them; those do whose name ends in @ and that list no instances")
        for service in inside:
            if service.socket:
                raise ValueError(f"services: {service.name} runs in slots, where old and new have ports of their own")
        if not self.slots and any(check.asks_slot for check in self.health.checks):
            raise ValueError("health: {port} in a check is the port of a slot, and there are no slots")
        return self

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if not self.groups:
            return self
        if len(self.groups) != 2:
            raise ValueError("groups: expected exactly two")
        if self.slots:
            raise ValueError("groups: there are slots, too; a new release has its place in the one or in the other")
        if self.balancer is None:
            raise ValueError("groups: without a balancer nothing moves the traffic between them; set slipway_balancer")
        return self

    @property
    def home(self) -> str:
        """The application's folder with its name filled in."""
        return self.path.replace("{app}", self.app)

    @property
    def run_user(self) -> str:
        """The user the application runs as."""
        return self.user or self.app

    @property
    def build_user(self) -> str:
        """The user that install hooks run as: it owns nothing but the tree that they work in."""
        name = f"{BUILD_USER}{self.app}"
        if len(name) <= LONGEST_USER:
            return name
        digest = hashlib.sha256(self.app.encode()).hexdigest()[:8]
        return f"{name[: LONGEST_USER - len(digest) - 1]}-{digest}"

    @property
    def kept(self) -> list[str]:
        """What of files is kept beside their modes, a line each as keep_attributes.sh reads them."""
        return [
            *(name for name in self.keep if name != "capabilities"),
            *(f"capability {name}" for name in self.capabilities if "capabilities" in self.keep),
        ]

    @property
    def state(self) -> str:
        """Where the host keeps its truth: ledger, lock, backup records."""
        return f"/var/lib/slipway/{self.app}"


def _is_at(path: str, place: str) -> bool:
    return f"{path}/".startswith(f"{place}/")
