"""A rollback before it happens: what a person can go back to, and what the rollback would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from playbooks.core.counting import few
from playbooks.report.output import shortened
from playbooks.report.tables import ago, say, show_table

if TYPE_CHECKING:
    from playbooks.check_rollback import RollbackCheck
    from playbooks.list_rollback import KeptBackup, KeptRelease, WaysBack


def show_rollback_check(check: RollbackCheck) -> None:
    """A rollback's dry run."""
    say("Dry run: nothing was touched.")
    if check.stages:
        say(f"\n{check.strategy}, stage by stage:")
        for number, stage in enumerate(check.stages, start=1):
            say(f"{number}. {stage}")
    for host in check.hosts:
        say(f"\n{host.host}: {host.before or 'nothing'} → {host.after or 'nothing'}")
        if host.actions or not host.problems:
            say("\n".join(f"  - {action}" for action in host.actions) or "  stays as it is")
    if check.databases:
        say("\ndatabases:\n" + "\n".join(f"  - {sentence}" for sentence in check.databases))
    if check.problems or check.warnings:
        say("")
    for warning in check.warnings:
        say(f"warning: {warning}")
    for problem in check.problems:
        say(f"problem: {problem}")


def show_ways_back(ways: WaysBack) -> None:
    """What a person can go back to."""
    everywhere = {host for release in ways.releases for host in release.hosts}

    def on(hosts: Sequence[str]) -> str:
        return "all" if len(everywhere) > 1 and set(hosts) == everywhere else ", ".join(hosts)

    rows = [(one.id, ago(one.created), on(one.hosts), "; ".join(_kept(one, on))) for one in ways.releases]
    if rows:
        show_table(("release", "made", "hosts", "state"), rows)
    older = [one for one in ways.backups if one.release and not one.on_hosts]
    others = [one for one in ways.backups if one not in older]
    for told, found in (
        ("\nBackups of releases that are not on the hosts any more:", older),
        ("\nFurther backups, for data and databases:" if older else "\nBackups:", others),
    ):
        if found:
            say(told)
            show_table(
                ("backup", "made", "hosts", "version", "databases", "release"),
                [
                    (one.id, ago(one.created), on(one.hosts), one.version, ", ".join(one.databases), _in_it(one))
                    for one in found
                ],
            )
    for host, why in ways.unreachable.items():
        say(f"warning: {host} could not be asked: {why.message}")
    for warning in ways.warnings:
        say(f"warning: {warning}")
    if not rows and not ways.backups:
        say("there is nothing to go back to: no release and no backup")
        return
    if ways.no_next:
        say(f"\nWithout --to a rollback has nowhere to go: {ways.no_next}")
    say(f"\nGo back: invoke rollback {ways.flag} --to=… any release, version or backup; --check says what it would do.")
    if any(_in_it(one) for one in ways.backups):
        say(
            "Not to a backup with no release, or with one that was changed by hand; to look at it: "
            f"invoke restore {ways.flag} --backup=ID --to-dir=/new/folder"
        )


def _in_it(backup: KeptBackup) -> str:
    if not backup.release:
        return "none in it"
    told = [f"none of {', '.join(backup.lacking)} in it"] if backup.lacking else []
    return "; ".join([*told, *(f"changed by hand on {host}: {few(names)}" for host, names in backup.changed.items())])


def _kept(release: KeptRelease, on: Callable[[Sequence[str]], str]) -> Iterator[str]:
    whole = [host for host in release.hosts if host not in release.damaged]
    if release.runs_on:
        yield "runs" if set(release.runs_on) == set(release.hosts) else f"runs on {on(release.runs_on)}"
    if release.failed_on:
        yield "failed" if set(release.failed_on) == set(release.hosts) else f"failed on {on(release.failed_on)}"
    if whole:
        yield "whole" if not release.damaged else f"whole on {on(whole)}"
    for host, why in release.damaged.items():
        yield f"damaged on {host}: {shortened(why, 160)}"
    if release.damaged:
        yield "its backup is taken instead" if release.backed_up else "no backup contains it"
    if release.left_behind:
        yield f"does not know {', '.join(release.left_behind)}: it works with --with-database only"
    elif release.next:
        yield (
            "a rollback goes here"
            if set(release.next) == set(release.hosts)
            else f"a rollback takes {on(release.next)} here"
        )
