"""What runs: services as systemd units, rendered configuration, hooks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from playbooks.settings.types import (
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


class Service(Model):
    """A systemd unit of the application (E2: an application may have several)."""

    name: UnitName = Field(description="Unit name without .service; ends in @ for a template unit with instances.")
    instances: list[InstanceName] = Field(
        default_factory=list, description="Instances of a template unit, e.g. [8001, 8002]."
    )
    hosts: Pattern | None = Field(None, description="Pattern of the hosts that run it; left out: all of them.")
    template: Text = Field(
        "unit.service.j2", description="Template of the unit file; the stock one is made from `unit` below."
    )
    unit: dict[Text, dict[Text, Text | WholeNumber | bool | list[Text]]] = Field(
        default_factory=dict,
        description="For the stock template: sections of the unit file with their directives, e.g. "
        "Service: {ExecStart: …, Type: notify}. A list gives the directive several times.",
    )
    drop_ins: dict[Text, Text] = Field(
        default_factory=dict, description="Drop-ins: file name (NN-name.conf) → template."
    )
    on_switch: Literal["restart", "reload"] = Field(
        "restart", description="What a deploy does to it once the new release is current."
    )

    @model_validator(mode="after")
    def _instances_fit(self) -> Service:
        if self.name.endswith("@") != bool(self.instances):
            raise ValueError("a name that ends in @ needs instances, and only such a name takes them")
        if self.template == "unit.service.j2" and "ExecStart" not in self.unit.get("Service", {}):
            raise ValueError("the stock template needs unit.Service.ExecStart (or give a template of your own)")
        return self

    @property
    def units(self) -> list[str]:
        """Full names of the units to start."""
        return [f"{self.name}{instance}.service" for instance in self.instances] or [f"{self.name}.service"]


class ConfigFile(Model):
    """A file rendered into the release."""

    template: Text = Field(description="Template, looked up in the inventory's templates/, then in the project's.")
    dest: ReleasePath = Field(description="Where in the release, e.g. config/app.env.")
    mode: Mode = Field("0640", description="Its mode; it belongs to root and the application's group.")
    hosts: Pattern | None = Field(None, description="Pattern of the hosts that get it; left out: all of them.")


class Hook(Model):
    """A command of the user's own, run on the host."""

    run: Text = Field(description="The command, read by sh, with the staged release as its working directory.")
    name: Text = Field("", description="What it is called in messages.")
    user: Literal["app", "root"] = Field("app", description="As whom: the application's user or root.")
    once: bool = Field(False, description="Run on the first host only.")
    timeout: Duration = Field(300.0, gt=0, description="Time limit.")


class Hooks(Model):
    """When hooks run. A failing hook fails the host at that point."""

    install: list[Hook] = Field(
        default_factory=list,
        description="While staging, inside the new release, e.g. pip install --no-index or npm ci --offline. Nothing "
        "that serves is touched yet.",
    )
    before_switch: list[Hook] = Field(
        default_factory=list, description="Right before the switch, once every host is staged (A1: pre-deploy)."
    )
    after_switch: list[Hook] = Field(
        default_factory=list, description="After the restart, before the health checks (A1: post-deploy)."
    )
