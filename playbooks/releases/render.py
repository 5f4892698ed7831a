"""A release: what one deploy puts on a host, and everything rendered into it."""

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
from playbooks.environments.environment import Environment, Target
from playbooks.environments.templates import Templates
from playbooks.releases.slots import Slot
from playbooks.settings.services import Hook, Service

# Sorts before the user's own, which count more.
SOCKET_DROP_IN = "00-slipway-socket.conf"
UNIT_MARK = "# Slipway: {release}\n"
# No socket has this: it opens before a network file system is mounted, and its service waits.
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
    """What is made for one host.

    Args:
        files: rendered configuration by its place in the release.
        units: unit files and drop-ins by name.
        start: full names of the units to run.
        hooks: the user's commands by when they run.
        digest: changes when any of it does.
        slot: where it runs; None: in the place of the release before.
    """

    files: Mapping[str, File]
    units: Mapping[str, bytes]
    start: tuple[str, ...]
    reload: tuple[str, ...]
    hooks: Mapping[str, tuple[Hook, ...]]
    digest: str
    slot: Slot | None = None


def new_release(artifact: Artifact) -> Release:
    """A release of an artifact, made now."""
    moment = now()
    return Release(
        id=f"{stamp(moment)}-{artifact.version}",
        artifact=artifact,
        created=instant(moment),
        by=who(),
    )


def later_than(release: Release, others: Iterable[str]) -> Release:
    """The release with an id that sorts after all others: those made by a controller whose clock is ahead, too.

    Those that are from the future do not count: one host's lie would be every later id.
    """
    own, _, version = release.id.partition("-")
    following = names.after(others, now())
    return release if own >= following else replace(release, id=f"{following}-{version}")


def render(
    env: Environment, target: Target, release: Release, templates: Templates, slot: Slot | None = None
) -> Rendered:
    """Render everything a host's release holds beside the artifact.

    In a slot, the current release is this very release: what restarts there never comes up as the one beside it.

    Raises:
        ConfigError: a template is missing, is wrong, or uses a name that nothing defines.
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
            # A release that keeps nothing is the same as one made before there was that setting.
            *([settings.kept] if settings.kept else []),
        ),
        slot=slot,
    )


def _started(service: Service, slot: Slot | None) -> list[str]:
    return [f"{service.name}{slot.name}.service"] if slot and service.in_slots else service.units


class _NotInUnits(Mapping[str, str]):
    """What a unit's template finds as secrets: none, for systemd shows a unit to everybody on the host.

    Args:
        service: whose unit it is.
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
    # A slot's unit has a file of its own: the two are of different releases.
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
    # Tells whose the file is once it is installed; see unit_files.sh.
    first = UNIT_MARK.format(release=context["slipway"]["current"] if beside else f"{home}/current").encode()
    return {name: first + content for name, content in found.items()}


def _quoted(path: str) -> str:
    """A path as a word of a unit's."""
    for sign, meant in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%")):
        path = path.replace(sign, meant)
    return f'"{path}"'


def _digest(places: tuple[str, str], *parts: object) -> str:
    """Two releases that differ in nothing but their folder's name are the same."""
    return hashlib.sha256(repr(parts).replace(*places).encode()).hexdigest()


def describe(release: Release, rendered: Rendered) -> str:
    """release.json: one line."""
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
    """Everything the stage step needs beside the artifact, as a tar archive that unpacks into the release's .slipway.

    Returns:
        The archive. Times in it are fixed: systemd takes a unit file with another time for a changed one.
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
        # The last: where it is, all of them are.
        lines("config", list(rendered.files))
    return buffer.getvalue()
