"""Which release a host goes back to (A6): pure functions of what it has and what was done to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from playbooks.core.counting import few
from playbooks.core.errors import ANY_ENV, UsageError
from playbooks.environments.environment import Environment
from playbooks.fleet.lock_owner import LockOwner
from playbooks.steps.facts import NOTHING, Facts
from playbooks.traffic.groups import Groups

_TOLD = 4  # of each kind
ANY_VERSION = f"invoke deploy {ANY_ENV} --version=… deploys any version"


def choose_targets(
    env: Environment, groups: Groups | None, facts: Mapping[str, Facts], to: str | None, left: LockOwner | None
) -> dict[str, str | None]:
    """What each host must run after a rollback; None for nothing.

    Args:
        env: the environment.
        groups: of hosts, if there are any.
        facts, to, left: see `choose_releases`.

    Raises:
        UsageError: there is nothing to go back to.
    """
    if groups:
        return dict(choose_for_group(groups, facts, to, left))
    targets = choose_releases(facts, to, left)
    new = [host for host, release in targets.items() if release is None]
    if new and env.settings.slots:
        raise UsageError(
            f"nothing ran on {', '.join(new)} before, and with slots a rollback needs a release to go back to",
            hint=f"{_without(new)} takes the others back; deploy an older version there",
        )
    return targets


def _without(hosts: Sequence[str]) -> str:
    return f"--limit='{':'.join(['all', *(f'!{host}' for host in hosts)])}'"


def choose_releases(facts: Mapping[str, Facts], to: str | None, left: LockOwner | None = None) -> dict[str, str | None]:
    """Which release each host goes back to; None if the last deploy was its first, so that nothing ran there before.

    Without ``to`` the last deploy is undone. If a halted deploy left a mixed fleet, hosts on the newest release
    go back, and those that never got it stay. After an interrupted deploy or rollback, hosts that guards took back or
    that it never reached stay, and the others go back. Hosts on which nothing runs are left out.

    Args:
        facts: the facts by host.
        to: a release, version or backup.
        left: the task that was interrupted.

    Raises:
        UsageError: there is none.
    """
    if to is None and left is not None and left.task in ("deploy", "rollback"):
        return {host: _undo(fact, left) for host, fact in facts.items() if fact.current}
    if to is not None:
        return _named(facts, to)
    newest = _newest(facts.values())
    last = {host: fact for host, fact in facts.items() if fact.current == newest}
    before = {host: _predecessor(fact) for host, fact in last.items()}
    if not any(before.values()):
        # A rollback does not mean that: refuse it.
        first = next(iter(last.values()))
        raise UsageError(
            f"{first.version} is the first release on {first.host}, so there is nothing to go back to; "
            "nothing was touched",
            hint=_other_way(first),
        )
    # Where nothing runs there is nothing to go back from.
    return {host: before.get(host, fact.current) for host, fact in facts.items() if fact.current}


def _newest(facts: Iterable[Facts]) -> str | None:
    """The newest release that runs. A release with an id from the future is the newest of its own host only."""
    found = list(facts)
    newest = max((fact.comparable for fact in found if fact.comparable), default=None)
    return newest or max((fact.current for fact in found if fact.current), default=None)


def _named(facts: Mapping[str, Facts], to: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    lacking: dict[str, UsageError] = {}
    for host, fact in facts.items():
        try:
            found[host] = choose_release(fact, to)
        except UsageError as error:
            lacking[host] = error
    if not lacking:
        return found
    first, *_ = lacking.values()
    if not found:
        raise first
    raise UsageError(first.message, hint=f"{first.hint}; {_without(list(lacking))} takes the others back")


def _undo(facts: Facts, left: LockOwner) -> str | None:
    undone = left.id if left.task == "deploy" else left.undoes
    moved = facts.last_switch
    if facts.current == undone:
        return moved.before if moved and moved.id == undone and moved.before else _predecessor(facts)
    if undone or (moved and moved.id == left.id):
        return facts.current
    return _predecessor(facts)


def choose_release(facts: Facts, to: str) -> str:
    """Which of a host's releases ``to`` means.

    Args:
        facts: the host.
        to: a release, version or backup.

    Raises:
        UsageError: there is none.
    """
    records = _newest_first(facts)
    if to in facts.releases:
        return to
    for record in records:
        if record.get("id") == to:
            if not record.get("release"):
                raise _without_release(facts, to)
            return str(record["release"])
    known = sorted((name for name, release in facts.releases.items() if release.version == to), reverse=True)
    proven = [name for name in known if facts.releases[name].state == "proven"]
    if facts.version == to and facts.current:
        return facts.current
    backed_up = [str(record["release"]) for record in records if record.get("version") == to and record.get("release")]
    found = proven or backed_up or known
    if not found and any(record.get("version") == to for record in records):
        raise _without_release(facts, next(str(record["id"]) for record in records if record.get("version") == to))
    if not found:
        raise UsageError(
            f"{facts.host} has no release, version or backup '{to}'",
            hint=_known(facts, records),
        )
    return found[0]


def _without_release(facts: Facts, backup: str) -> UsageError:
    """A backup from before the first deploy has data, but no release."""
    return UsageError(
        f"backup {backup} has no release in it: on {facts.host} there was none when it was made",
        hint=f"the data in it: invoke restore {ANY_ENV} --backup={backup} --to-dir=/new/folder; "
        f"what one can go back to: invoke rollback {ANY_ENV} --list",
    )


def refuse_changed_backup(
    facts: Mapping[str, Facts], hosts: Iterable[str], to: str | None, *, with_database: bool
) -> list[str]:
    """Refuse or report it when a backup that a person names has a release that was changed by hand.

    Args:
        facts: the facts by host.
        hosts: those that go back.
        to: a release, version or backup.
        with_database: whether databases go back as well; then the backup is also meant for them.

    Returns:
        Sentences that say what is done instead.

    Raises:
        UsageError: the backup's release was changed by hand, and no rollback goes to a changed release.
    """
    changed = {
        host: record
        for host in hosts
        for record in facts[host].backups
        if to not in facts[host].releases and record.get("id") == to and record.get("changed")
    }
    if not changed:
        return []
    told = "; ".join(f"on {host} {few(record['changed'])}" for host, record in changed.items())
    releases = sorted({str(record["release"]) for record in changed.values()})
    what = f"the release in backup {to} was changed by hand ({told})"
    if with_database:
        return [f"{what}; hosts go to {' and '.join(releases)} as it was deployed, databases to that backup"]
    raise UsageError(
        f"{what}, and a rollback goes only to a release as it was deployed; it has changed nothing",
        hint=f"--to={releases[0]} goes to it as it was deployed; the files as they were: invoke restore {ANY_ENV} "
        f"--backup={to} --to-dir=/new/folder",
    )


def _predecessor(facts: Facts) -> str | None:
    """What ran before, by the release's own record, or else by the backups; None if nothing did.

    Raises:
        UsageError: nothing runs; or what should run is gone, and a person has to look.
    """
    running = facts.current_release
    if facts.lost:
        return _before_lost(facts)
    if running is None:
        raise UsageError(f"nothing runs on {facts.host}, so there is nothing to go back from")
    if running.predecessor:
        return running.predecessor if running.predecessor != NOTHING else None
    older = (str(record["release"]) for record in _newest_first(facts) if record.get("release"))
    return next((release for release in older if release < running.id), None)


def _before_lost(facts: Facts) -> str:
    """What ran before a release whose folder is gone: by the last switch, or else the newest proven release before it.

    Raises:
        UsageError: there is none.
    """
    moved = facts.last_switch
    if moved and moved.after == facts.current and moved.before in facts.releases:
        return moved.before
    proven = (name for name, release in facts.releases.items() if release.state == "proven")
    older = max((name for name in proven if name < str(facts.current)), default=None)
    if older is None:
        raise UsageError(
            f"the folder of {facts.current}, which runs on {facts.host}, is gone, and there is no release before it",
            hint=f"{ANY_VERSION}; --to=… goes to a backup's release, see invoke rollback {ANY_ENV} --list",
        )
    return older


def _newest_first(facts: Facts) -> list[dict[str, Any]]:
    return sorted(facts.backups, key=lambda record: str(record.get("created", "")), reverse=True)


def _known(facts: Facts, records: list[dict[str, Any]]) -> str:
    """What a host has, as a sentence: its newest releases and backups."""
    kept = sorted((name for name, release in facts.releases.items() if release.state == "proven"), reverse=True)
    backups = [str(record.get("id")) for record in records]
    there = [
        f"{what} {', '.join(found[:_TOLD])}{' and older ones' if len(found) > _TOLD else ''}"
        for what, found in (("the releases", kept), ("the backups", backups))
        if found
    ]
    if not there:
        return f"{facts.host} has nothing that it could go back to; {ANY_VERSION}"
    return f"{facts.host} has {', and '.join(there)}; more about each: invoke rollback {ANY_ENV} --list"


def _other_way(facts: Facts) -> str:
    """What a person can do if nothing ran before."""
    proven = {name for name, release in facts.releases.items() if release.state == "proven"}
    others = {*proven, *(str(record["release"]) for record in facts.backups if record.get("release"))} - {facts.current}
    if not others:
        return f"no other release is on {facts.host}, nor in its backups; {ANY_VERSION}"
    return f"name it with --to; {_known(facts, _newest_first(facts))}"


def choose_for_group(
    groups: Groups, facts: Mapping[str, Facts], to: str | None, left: LockOwner | None = None
) -> dict[str, str]:
    """Which release each host of the idle group must run before it gets the traffic; none if the traffic stays.

    Without ``to`` it is what ran before, which the other group usually runs. After a halted deploy it is what
    still has most of the traffic.

    Args:
        groups: the groups and which one is live.
        facts: by host, of those that can be reached.
        to: a release, version or backup.
        left: the interrupted task; what its guards have taken back is not taken back again.

    Raises:
        UsageError: there is none.
    """
    serving = [facts[host] for host in groups.live_hosts if host in facts]
    resting = [facts[host] for host in groups.idle_hosts if host in facts]
    if not resting:
        raise UsageError(
            f"no host of {groups.idle} can be reached, and {groups.live} has the traffic",
            hint=f"bring the hosts of {groups.idle} back; or deploy a release that is good",
        )
    if to is not None:
        if serving and all(to in (fact.current, fact.version) for fact in serving):
            return {}
        return {fact.host: choose_release(fact, to) for fact in resting}
    live = _newest(serving)
    if any(_is_halted(groups, fact, live) for fact in resting):
        return {}
    if left is not None and left.task in ("deploy", "rollback") and _is_back(serving, resting, left):
        return {}
    return {fact.host: _older(fact, live) for fact in resting}


def _is_halted(groups: Groups, facts: Facts, live: str | None) -> bool:
    """Whether a deploy was halted with some of the traffic on the idle group; without a task, that group is off."""
    newer = facts.comparable is not None and live is not None and facts.comparable > live
    states = [balancer.servers[facts.host] for balancer in groups.balancers.values() if facts.host in balancer.servers]
    return newer and any(server.on or server.out for server in states)


def _is_back(serving: list[Facts], resting: list[Facts], left: LockOwner) -> bool:
    """Whether the traffic is where an interrupted task or its guards must leave it."""
    if left.task == "deploy":
        return all(fact.current != left.id for fact in serving)
    newest = _newest(resting) or ""
    return all(newest > (fact.comparable or "") for fact in serving)


def _older(facts: Facts, than: str | None) -> str:
    """What a host of the idle group runs, or else its newest release that is older than the live one."""
    running = facts.current_release
    if running and running.state == "proven" and (than is None or running.id < than):
        return running.id
    proven = [name for name, release in facts.releases.items() if release.state == "proven"]
    kept = [str(record["release"]) for record in facts.backups if record.get("release")]
    for names in (proven, kept):
        older = [name for name in names if than is None or name < than]
        if older:
            return max(older)
    raise UsageError(
        f"{facts.host} has no proven release and no backup that is older than the live release; nothing was touched",
        hint=f"name a release with --to; {ANY_VERSION}",
    )
