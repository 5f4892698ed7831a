"""Render a release: the files, units and hooks that a deploy puts on a host beside the artifact."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from playbooks.core import names
from playbooks.core.artifact import Artifact, Release
from playbooks.core.clock import instant, now
from playbooks.core.errors import ConfigError
from playbooks.core.names import stamp
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.targets import Target
from playbooks.environments.templates import Templates
from playbooks.releases.slots import Slot
from playbooks.settings.services import Hook, Service

# Sorts before the user's own drop-ins, so that theirs override it.
SOCKET_DROP_IN = "00-slipway-socket.conf"
UNIT_MARK = "# Slipway: {release}\n"
# Sockets do not get this: a socket opens before network file systems are mounted, and its service waits.
NEEDS_MOUNT = """
[Unit]
RequiresMountsFor={places}
"""
BEHIND_SOCKET = """# The service takes over its socket, started before it.
[Unit]
Requires={socket}
After={socket}
# A service that systemd gives up takes its socket with it, and with that everybody who waits there for the way back.
StartLimitIntervalSec=0
"""


@dataclass(frozen=True)
class File:
    """A file rendered for a host."""

    content: bytes
    mode: int


@dataclass(frozen=True)
class Rendered:
    """The rendered files and units of one host.

    Args:
        files: the rendered configuration by path in the release.
        units: unit files and drop-ins by name.
        start: the full names of the units to run.
        hooks: the user's commands by the moment they run.
        digest: a hash of all of it.
        slot: the slot in which it runs; None if it replaces the previous release.
    """

    files: Mapping[str, File]
    units: Mapping[str, bytes]
    start: tuple[str, ...]
    reload: tuple[str, ...]
    hooks: Mapping[str, tuple[Hook, ...]]
    digest: str
    slot: Slot | None = None


def new_release(artifact: Artifact) -> Release:
    """Make a release of an artifact, with an id of now."""
    moment = now()
    return Release(
        id=f"{stamp(moment)}-{artifact.version}",
        artifact=artifact,
        created=instant(moment),
        by=who(),
    )


def later_than(release: Release, others: Iterable[str]) -> Release:
    """Return the release with an id that sorts after all others, even if another controller's clock was ahead.

    Ids in the future do not count, because one host's false id would then raise all later ids.
    """
    own, _, version = release.id.partition("-")
    following = names.after(others, now())
    return release if own >= following else replace(release, id=f"{following}-{version}")


def render(
    env: Environment, target: Target, release: Release, templates: Templates, slot: Slot | None = None
) -> Rendered:
    """Render everything in a host's release besides the artifact.

    In a slot, the path of the current release is this release's own folder, so a restart never starts another release.

    Raises:
        ConfigError: a template is missing, is wrong, or uses an undefined name.
    """
    settings = target.settings
    place = f"{settings.home}/releases/{release.id}" if slot else f"{settings.home}/current"
    context: dict[str, Any] = {
        "secrets": MappingProxyType(env.secrets),
        "slipway": {
            "app": settings.app,
            "version": release.version,
            "user": settings.run_user,
            "path": settings.home,
            "current": place,
            "slot": slot.name if slot else None,
            "port": slot.port if slot else None,
            "shared": f"{settings.home}/shared",
            "environment": env.name,
        },
    }
    files = {
        config.dest: File(templates.render(config.template, context, host=target.name), int(config.mode, 8))
        for config in settings.config
        if env.runs_on(target, config.hosts)
    }
    services = [service for service in settings.services if env.runs_on(target, service.hosts)]
    units: dict[str, bytes] = {}
    for service in services:
        units |= _units(service, context, templates, target.name, slot, settings.shared)
    hooks = {
        "install": tuple(settings.hooks.install),
        "before_switch": tuple(settings.hooks.before_switch),
        "after_switch": tuple(settings.hooks.after_switch),
    }
    return Rendered(
        files=files,
        units=units,
        start=tuple(unit for service in services for unit in (*service.sockets, *_started(service, slot))),
        reload=tuple(unit for service in services if service.on_switch == "reload" for unit in _started(service, slot)),
        hooks=hooks,
        digest=_digest(
            (place, f"{settings.home}/current"),
            *(files, units, hooks, settings.shared, settings.writable),
            # Without kept files the digest must equal that of releases from before this setting existed.
            *([settings.kept] if settings.kept else []),
        ),
        slot=slot,
    )


def _started(service: Service, slot: Slot | None) -> list[str]:
    return [f"{service.name}{slot.name}.service"] if slot and service.in_slots else service.units


class _NotInUnits(Mapping[str, str]):
    """Refuses secrets in a unit's template, because systemd shows units to every user on the host.

    Args:
        service: the service of the unit.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    def __getitem__(self, name: str) -> str:
        raise ConfigError(
            [f"the unit of {self._service} has secret '{name}' in it; systemd shows units to every user of a host"],
            hint="put it into a file of slipway_config, and that in the unit: EnvironmentFile=… or LoadCredential=…",
        )

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _units(
    service: Service,
    context: dict[str, Any],
    templates: Templates,
    host: str,
    slot: Slot | None,
    shared: Iterable[str],
) -> dict[str, bytes]:
    inside = {**context, "service": service.as_data(), "secrets": _NotInUnits(service.name)}
    home = context["slipway"]["path"]
    # Each slot's unit has its own file, because the slots run different releases.
    beside = slot is not None and service.in_slots
    unit = _started(service, slot)[0] if beside else f"{service.name}.service"
    needs = NEEDS_MOUNT.format(places=" ".join([home, *(_quoted(f"{home}/shared/{path}") for path in shared)]))
    found = {unit: templates.render(service.template, inside, host=host) + needs.encode()}
    for name, template in service.drop_ins.items():
        found[f"{unit}.d/{name}"] = templates.render(template, inside, host=host)
    if service.socket:
        found[f"{service.name}.socket"] = templates.render(service.socket_template, inside, host=host)
        own = f"{service.name}%i.socket" if service.name.endswith("@") else f"{service.name}.socket"
        found[f"{service.name}.service.d/{SOCKET_DROP_IN}"] = BEHIND_SOCKET.format(socket=own).encode()
    # Marks the owner of the installed file; see unit_files.sh.
    first = UNIT_MARK.format(release=context["slipway"]["current"] if beside else f"{home}/current").encode()
    return {name: first + content for name, content in found.items()}


def _quoted(path: str) -> str:
    """Quote a path as a word in a unit file."""
    for sign, meant in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%")):
        path = path.replace(sign, meant)
    return f'"{path}"'


def _digest(places: tuple[str, str], *parts: object) -> str:
    """Hash a rendering without its folder's name, so that equal releases have the same digest."""
    return hashlib.sha256(repr(parts).replace(*places).encode()).hexdigest()


def describe(release: Release, rendered: Rendered) -> str:
    """Return release.json as one line."""
    hooks = [hook.label for hook in rendered.hooks.get("before_switch", ())]
    return json.dumps(
        {
            "release": release.id,
            "version": release.version,
            "sha256": release.artifact.sha256,
            "config": rendered.digest,
            "artifact": release.artifact.source,
            "created": release.created,
            "by": release.by,
            **({"before_switch": hooks} if hooks else {}),
            **({"slot": rendered.slot.name, "port": rendered.slot.port} if rendered.slot else {}),
        }
    )


def pack(target: Target, release: Release, rendered: Rendered) -> bytes:
    """Pack what the stage step needs besides the artifact, as a tar archive for the release's .slipway folder.

    Returns:
        The archive. Its times are fixed, because systemd treats a unit file with a new time as changed.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, content: bytes, mode: int = 0o600) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), mode, 1
            tar.addfile(info, io.BytesIO(content))

        def lines(name: str, values: list[str]) -> None:
            add(name, "".join(f"{value}\n" for value in values).encode())

        add("release.json", describe(release, rendered).encode() + b"\n")
        if rendered.slot:
            lines("slot", [f"{rendered.slot.name} {rendered.slot.port}"])
        lines("units", list(rendered.start))
        lines("reload", list(rendered.reload))
        lines("shared", list(target.settings.shared))
        lines("writable", list(target.settings.writable))
        if target.settings.kept:
            lines("keep", target.settings.kept)
        for name, content in rendered.units.items():
            add(f"unit-files/{name}", content, 0o644)
        for name, file in rendered.files.items():
            add(f"files/{name}", file.content, file.mode)
        for moment, hooks in rendered.hooks.items():
            for index, hook in enumerate(hooks):
                head = f"{hook.user} {'once' if hook.once else 'every'} {hook.timeout:g} {hook.label}\n"
                add(f"hooks/{moment}/{index:02}", (head + hook.run + "\n").encode())
        # This is the last member: its presence shows that the archive is complete.
        lines("config", list(rendered.files))
    return buffer.getvalue()
