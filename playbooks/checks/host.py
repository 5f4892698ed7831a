"""What a host must have before anything is staged on it (A1, D1), judged from its facts without a round trip."""

from __future__ import annotations

from playbooks.checks.judged import CheckVerdict
from playbooks.core.artifact import Artifact
from playbooks.settings import Settings
from playbooks.settings.health import VERSION
from playbooks.steps.facts import Facts, UnsafeFolder

INODES_NEEDED = 1000


def tools_for(settings: Settings, artifact: Artifact) -> tuple[str, ...]:
    """Programs that a deploy needs on a host, and that not every host has."""
    return (
        *(("restic", "jq") if settings.backup.enabled else ()),
        *(("curl",) if artifact.url else ()),
        *(("getfattr", "setfattr") if settings.kept else ()),
    )


def judge_host(facts: Facts, settings: Settings, *, needs: tuple[str, ...]) -> CheckVerdict:
    """Judge a host.

    Args:
        facts: what it has.
        settings: its settings; ``slipway_limits`` has the thresholds.
        needs: programs that the task will use there.
    """
    limits = settings.limits
    wrong = [f"{tool} is not installed" for tool in needs if not facts.tools.get(tool)]
    if facts.systemd < limits.systemd:
        wrong.append(f"systemd is {facts.systemd}, at least {limits.systemd} is needed")
    if facts.memory_free < limits.memory_free_mb * 1024:
        wrong.append(f"only {facts.memory_free // 1024} MB of memory are available, {limits.memory_free_mb} are needed")
    for disk in facts.disks:
        if not disk.writable:
            wrong.append(f"{disk.path} cannot be written to")
        if disk.used_percent > limits.disk_used:
            wrong.append(
                f"the file system of {disk.path} is {disk.used_percent:.0f} % full, limit {limits.disk_used} %"
            )
        if disk.inodes and disk.inodes_free < INODES_NEEDED:
            wrong.append(f"the file system of {disk.path} has only {disk.inodes_free} inodes left")
    for folder in facts.unsafe_parents:
        wrong.append(
            f"{folder.path} can be changed by others than root ({folder.owner}, {folder.mode}), and root runs units "
            f"and scripts below it; {_make_roots(folder, settings.home)}"
        )
    hint = "invoke provision --env=… installs what is missing" if wrong and "installed" in wrong[0] else None
    failed = f" ({', '.join(facts.failed)} failed)" if facts.failed else ""
    warnings = [f"systemd says the host is degraded{failed}"] if facts.manager == "degraded" else []
    return CheckVerdict(tuple(wrong), (*warnings, *_unseen_reloads(settings)), hint)


def _make_roots(folder: UnsafeFolder, home: str) -> str:
    """What to do about a folder that is not root's alone; outside of Slipway's folders there may be a reason for it."""
    path = folder.path
    if folder.mode.endswith("+"):
        return (
            "an access list says who may write what is made in it; "
            f"run there, with the package acl: setfacl --remove-default {path}"
        )
    if f"{path}/".startswith(f"{home}/"):
        return f"run there: chown root: {path} && chmod go-w {path}; or choose another slipway_path"
    return "choose a slipway_path whose folders are root's alone, such as one below /opt or /srv"


def _unseen_reloads(settings: Settings) -> list[str]:
    """Warn of a reload that may succeed without loading the release; only an answer with the version shows that."""
    if any(VERSION in check.model_dump_json() for check in settings.health.checks):
        return []
    return [
        f"{service.name} is reloaded, and no health check asks for {VERSION}: whether the new code answers is not known"
        for service in settings.services
        if service.on_switch == "reload"
    ]
