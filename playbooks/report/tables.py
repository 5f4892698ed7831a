"""Answers as tables, on standard output: Rich on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from playbooks.core.counting import few
from playbooks.report import layout
from playbooks.report.output import Shown, answer, answers_terminal, shortened, shown, shown_lines

if TYPE_CHECKING:
    from playbooks.backup import Backups
    from playbooks.check_deploy import DeployCheck, HostPlan
    from playbooks.check_untrusted import HostFiles, UntrustedCheck
    from playbooks.health import FleetHealth
    from playbooks.host_keys import HostKeys
    from playbooks.provision import Provisioned
    from playbooks.restore import Restored
    from playbooks.rollout.databases.jobs import PlannedMigration
    from playbooks.rollout.outcome import Outcome
    from playbooks.schedule import Scheduled
    from playbooks.show_inventory import InventoryView
    from playbooks.show_variables import Variables
    from playbooks.status import HostStatus, Status
    from playbooks.verify_backups import HostDrill, Verification

GOOD = {"deployed", "unchanged", "healthy", "done", "PASSED", "ok"}
MAX_LOGS = 2  # hosts whose application's last lines are shown
BAD = {"stuck", "unhealthy", "unreachable", "failed", "FAILED", "halted"}


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    """Print a table; columns that are empty in every row are left out."""
    cells = [[shown(cell or "") for cell in row] for row in rows]
    kept = [index for index in range(len(columns)) if any(row[index] for row in cells)]
    cells = [[row[index] for index in kept] for row in cells]
    names = [shown(columns[index]) for index in kept]
    terminal = answers_terminal()
    if terminal:
        _rich(names, cells, terminal)
        return
    widths = [max(len(row[index]) for row in [names, *cells]) for index in range(len(names))]
    for row in [names, *cells]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        answer(Shown(line.rstrip()))


def _rich(names: Sequence[Shown], cells: Sequence[Sequence[Shown]], terminal: TextIO) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=terminal)
    lines = layout.table(names, cells, console.width)
    for number, line in enumerate(lines):
        head = number == 0 and [piece.text.rstrip() for piece in line] == list(names)
        parts = ((piece.text, "dim" if head or not piece.cell else _colour(piece.cell)) for piece in line)
        console.print(Text.assemble(*parts), soft_wrap=True)


def _colour(cell: str) -> str:
    return "green" if cell in GOOD else "red" if cell in BAD else ""


def say(text: str) -> None:
    """Print a sentence, wrapped between words on a terminal."""
    lines = shown_lines(text)
    terminal = answers_terminal()
    if terminal:
        from rich.console import Console
        from rich.text import Text

        console = Console(file=terminal)
        for line in lines:
            for part in layout.wrapped(line, console.width):
                console.print(Text(part), soft_wrap=True)
    else:
        answer(*lines)


def put(head: Shown, texts: Sequence[Shown], colour: str, style: str = "") -> None:
    """Print lines that all begin with the same text.

    Args:
        head: that text.
        texts: the lines.
        colour, style: of both, on a terminal.
    """
    terminal = answers_terminal()
    if terminal is None:
        answer(*(Shown(f"{head}{text}") for text in texts))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=terminal, highlight=False)
    for text in texts:
        console.print(Text(head, style=colour).append(text, style=style or "default"), soft_wrap=True)


def ago(moment: str | None) -> str:
    """A time for a person: "3 min ago"; unchanged if it cannot be read."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(str(moment))).total_seconds()
    except (ValueError, TypeError):
        return moment or ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"


def show_outcome(outcome: Outcome) -> None:
    """The result of a deploy or rollback."""
    # One host's reason is in the message already.
    several = sum(bool(host.detail) for host in outcome.hosts) > 1
    rows = [
        (
            host.host,
            f"{host.before or '–'} → {host.after or '–'}",
            host.result,
            _first_line(host.detail) if several else "",
        )
        for host in outcome.hosts
    ]
    show_table(("host", "from → to", "result", "why"), rows)
    say(f"\n{outcome.message} ({outcome.seconds:.1f} s)")
    if outcome.id:
        say(f"id {outcome.id}" + (f", backup {outcome.backup}" if outcome.backup else ""))
    if outcome.requests and outcome.requests.any:
        say(outcome.requests.sentence)
    show_last_words({host.host: host.log for host in outcome.hosts})
    for warning in outcome.warnings:
        say(f"warning: {warning}")
    if outcome.next:
        say(f"Next: {outcome.next}")


def show_last_words(logs: Mapping[str, Sequence[str]]) -> None:
    """The last lines of failed units; with many hosts, those of the first ones.

    Args:
        logs: by host; most have none.
    """
    for host in [host for host, lines in logs.items() if lines][:MAX_LOGS]:
        say(f"\nwhat the application wrote last on {host}:")
        say("\n".join(f"  | {line}" for line in logs[host]))


def show_check(check: DeployCheck) -> None:
    """A dry run."""
    why = f", {check.why}," if check.why else ""
    say(f"Dry run: nothing was touched. {check.version}{why} from {check.artifact}, SHA-256 {check.sha256[:12]}…")
    if check.stages:
        say(f"\n{check.strategy}, stage by stage:")
        if check.before:
            say(f"0. {check.before}")
        for number, stage in enumerate(check.stages, start=1):
            say(f"{number}. {stage.sentence}")
    _show_databases(check)
    for host in check.hosts:
        _show_plan(host)
    for problem in check.databases:
        say(f"\nproblem: {problem}")


def _show_databases(check: DeployCheck) -> None:
    if check.migrations is None:
        say("\nmigrations: known when a host has fetched the artifact")
    if check.rehearses:
        say(f"\nbefore all of that, the deploy rehearses its migrations: {'; '.join(check.rehearses)}")
    for migration in check.migrations or ():
        show_planned_migration(migration)
    for tool in check.tools:
        say(f"\n{tool.database}: before any host switches, {tool.host} runs '{tool.command}' ({tool.tool})")
        if tool.unlocked:
            say(f"  under the locks of the hosts alone, since {tool.unlocked}")


def show_planned_migration(plan: PlannedMigration) -> None:
    """A migration that a dry run has found, statement by statement."""
    name = f"{plan.id}_{plan.name}"
    what = f"take {name} back" if plan.direction == "down" else f"apply {name}"
    about = f", about {plan.estimate:g} s or more by its rehearsal" if plan.estimate is not None else ""
    say(f"\n{plan.database}: {what}{', a contract' if plan.phase == 'contract' else ''}{about}")
    say("\n".join(f"  {number}. {text}" for number, text in enumerate(plan.statements, start=1)))


def _show_plan(host: HostPlan) -> None:
    """What a dry run reports about a host."""
    say(f"\n{host.host}: {host.before or 'nothing'} → {host.after}" if host.after else f"\n{host.host}:")
    if host.actions or not host.problems:
        say("\n".join(f"  - {action}" for action in host.actions) or "  up to date; nothing to do")
    for diff in host.diffs:
        say("\n".join(f"    {line}" for line in diff.split("\n")))
    if host.drift:
        say(f"  warning: what runs was changed by hand: {few(host.drift)}")
    for problem in host.problems:
        say(f"  problem: {problem}")
    if host.hint:
        say(f"    → {host.hint}")
    for warning in host.warnings:
        say(f"  warning: {warning}")


def show_untrusted_check(check: UntrustedCheck) -> None:
    """A dry run of an untrusted inventory."""
    say(f"Dry run of an inventory that is not trusted, version {check.version}. No host was reached.")
    say(f"\n{check.strategy}, stage by stage, on a fleet on which something runs:")
    for number, stage in enumerate(check.stages, start=1):
        say(f"{number}. {stage.sentence}")
    alike: dict[str, list[str]] = {}
    for host in check.hosts:
        alike.setdefault("\n".join(_given(host)), []).append(host.host)
    for given, hosts in alike.items():
        say(f"\n{', '.join(hosts)}:\n{given}")
    _show_not_read(check.not_read)
    say("\nNot known without hosts and artifact:")
    say("\n".join(f"  - {sentence}" for sentence in check.not_known))


def _given(host: HostFiles) -> Iterator[str]:
    for name, text in host.files.items():
        yield f"  write {name}"
        yield from (f"    | {line}" for line in text.splitlines())
    yield from (f"  hook: {hook}" for hook in host.hooks)
    yield from (f"  start {unit}" for unit in host.start)


def show_status(status: Status) -> None:
    """What runs where."""
    rows = [_status_row(host) for host in status.hosts]
    titles = ("host", "version", "since", "by", "health", "idle", "backup", "verified", "lock", "guard", "why")
    show_table(titles, rows)
    if status.balancers:
        say("")
    for balancer in status.balancers:
        say(f"{balancer.host}: {balancer.sentence}")
    show_last_words({host.host: host.log for host in status.hosts})
    _show_warnings(status)
    if status.hints:
        say("\n" + "\n".join(f"Next: {hint}" for hint in status.hints))
    if status.by_group:
        say(f"\nBy group: {status.by_group}")
    if status.interrupted:
        left = [host.host for host in status.hosts if host.interrupted]
        say(f"\nINTERRUPTED on {', '.join(left)}: {status.interrupted}. Its controller ended or lost the hosts.")
        if status.went_back:
            say(status.went_back)
        say(f"Next: {status.next}")
    if status.mixed:
        say(f"\nThe fleet is MIXED: it runs {', '.join(status.versions) or 'nothing'}{status.whole_again}")


def _show_warnings(status: Status) -> None:
    for host in status.hosts:
        for warning in host.warnings:
            say(f"warning: {host.host}: {warning}")
        if host.drift:
            say(f"warning: {host.host} was changed by hand: {few(host.drift)}")
    if any(host.drift for host in status.hosts):
        say(f"Next: invoke drift {status.flag}")


def _status_row(host: HostStatus) -> tuple[str | None, ...]:
    verified = f"{host.verified} {ago(host.verified_at)}" if host.verified else ""
    unbacked = f"not backed up since the deploy: {host.unbacked}" if host.unbacked else ""
    detail = _first_line(host.detail or unbacked)
    return (
        host.host,
        host.version or "–",
        ago(host.since),
        host.by,
        host.health,
        host.idle,
        ago(host.backup_at),
        verified,
        host.lock,
        host.guard,
        detail,
    )


def show_health(health: FleetHealth) -> None:
    """Every check on every host."""
    rows = [
        (host, check.name, _word(check.ok, critical=check.critical), f"{check.milliseconds} ms", check.detail)
        for host, report in health.reports.items()
        for check in report.checks
    ]
    rows += [(host, "", "unreachable", "", why.message) for host, why in health.unreachable.items()]
    rows += [(host, "", "nothing deployed", "", "") for host in health.empty]
    rows += [(host, "", "stopped", "", "its group had no traffic for long enough") for host in health.stopped]
    show_table(("host", "check", "result", "time", "detail"), rows)
    show_last_words({host: report.log for host, report in health.reports.items()})


def _word(ok: bool, *, critical: bool) -> str:
    return "ok" if ok else "failed" if critical else "warning"


def show_backups(backups: Backups) -> None:
    """Backups that were made, or that exist."""
    from playbooks.backups.making import dumped, kept_release

    rows = [
        (
            str(record.get("id")),
            str(record.get("host")),
            str(record.get("version")),
            ago(str(record.get("created"))),
            _size(record.get("bytes")),
            ", ".join(dumped(record)),
            kept_release(record),
            took(record),
        )
        for record in backups.records
    ]
    show_table(("backup", "host", "version", "made", "size", "databases", "release", "took"), rows)
    if backups.id:
        for record in backups.records:
            if changed := record.get("changed"):
                say(f"warning: {record.get('host')}: the release in it was changed by hand: {few(changed)}")
    for host in backups.nothing:
        say(f"{host} has nothing to back up yet")
    if backups.expired:
        say(f"expired: {', '.join(backups.expired)}")
    for host, why in backups.unreachable.items():
        say(f"warning: {host} could not be asked: {why.message}")
    if not rows and not backups.nothing:
        say("there is no backup yet")


def took(record: Mapping[str, object]) -> str:
    """How long a recorded task took; empty if the record does not say."""
    seconds = record.get("seconds")
    return f"{seconds:.1f} s" if isinstance(seconds, int | float) else ""


def _size(count: object) -> str:
    size = float(count) if isinstance(count, int | float) else 0.0
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _count_hosts(count: int) -> str:
    return "1 host" if count == 1 else f"{count} hosts"


def show_restored(restored: Restored) -> None:
    """What was restored where."""
    show_table(
        ("host", "files", "folder", "release"),
        [
            *(
                (host, str(count), f"{restored.folder}/{host}", restored.releases.get(host))
                for host, count in restored.files.items()
            ),
            *((host, "none", "it does not hold this backup", None) for host in restored.lacking),
            *((host, "none", "it has no backup at all", None) for host in restored.bare),
        ],
    )
    count, of = len(restored.files), len(restored.files) + len(restored.lacking) + len(restored.bare)
    where = _count_hosts(of) if count == of else f"{count} of {_count_hosts(of)}"
    say(f"\nbackup {restored.backup} is restored on {where}, and is what its manifest says")


def show_provisioned(provisioned: Provisioned) -> None:
    """What was changed on each host."""
    rows = [(host, "; ".join(changes) or "ready; nothing to change") for host, changes in provisioned.changes.items()]
    show_table(("host", "what was done"), rows)


def show_inventory(view: InventoryView) -> None:
    """Hosts and groups, then the settings; settings that differ are shown for each host."""
    show_table(
        ("host", "address", "groups"), [(host.host, host.address, ", ".join(host.groups)) for host in view.hosts]
    )
    say("")
    rows = []
    for key in view.hosts[0].settings:
        values = [(host.host, _compact(host.settings[key]), host.origins.get(key, "default")) for host in view.hosts]
        same = len({value for _, value, _ in values}) == 1
        told = [("all", *values[0][1:])] if same else values
        rows += [(host, f"slipway_{key}", value, origin) for host, value, origin in told]
    show_table(("host", "setting", "value", "from"), rows)
    _show_not_read(view.not_read)


def show_variables(found: Variables) -> None:
    """Hosts with their groups, then variables; variables that differ are shown for each host."""
    groups = {name: set(hosts) for name, hosts in found.groups.items() if name not in ("all", "ungrouped")}
    rows = [(host, ", ".join(name for name, hosts in groups.items() if host in hosts)) for host in found.hosts]
    show_table(("host", "groups"), rows)
    if found.full:
        say("")
        show_table(("host", "variable", "value", "from"), _variables(found))
    if found.missing:
        say(f"\n{found.missing}")


def _variables(found: Variables) -> list[tuple[str, str, str, str]]:
    rows = []
    for key in sorted({key for variables in found.hosts.values() for key in variables}):
        told = [
            (host, key, _compact(variables[key]), found.origins[host][key])
            for host, variables in found.hosts.items()
            if key in variables
        ]
        same = len(told) == len(found.hosts) > 1 and len({row[2:] for row in told}) == 1
        rows += [("all", *told[0][1:])] if same else told
    return rows


def _show_not_read(sentences: Sequence[str]) -> None:
    if sentences:
        say("\nThe inventory is not trusted. What it names, and was left alone:")
        say("\n".join(f"  - {sentence}" for sentence in sentences))


def _compact(value: object) -> str:
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shortened(text, 80)


def show_host_keys(keys: HostKeys) -> None:
    """Each host's key, and whether it is the recorded one."""
    # A key is long: the same key twice, or the same file on every line, would not fit a terminal.
    rows: list[tuple[str, str, str, str]] = [
        (key.host, key.state, key.shown, "" if list(key.recorded) == [key.shown] else ", ".join(key.recorded))
        for key in keys.keys
    ]
    rows += [(host, "unreachable", why.message, "") for host, why in keys.unreachable.items()]
    show_table(("host", "state", "it shows", "recorded"), rows)
    for file in dict.fromkeys(key.file for key in keys.keys):
        say(f"\nkeys are recorded in {file}")
    if changed := [key.host for key in keys.keys if key.state == "CHANGED"]:
        say(
            "A key changes when a host is reinstalled, or when somebody intercepts the connection. "
            "If the host was reinstalled:"
        )
        say(f"invoke host-keys {keys.flag} --replace --limit={','.join(changed)}")
    if any(key.state == "unknown" for key in keys.keys):
        say(f"\nCompare with what the hosts' consoles show, then: invoke host-keys {keys.flag} --record")


def show_drill(verification: Verification) -> None:
    """PASSED or FAILED, host by host."""
    rows = [
        (host.host, host.status, host.backup, _drilled(host), f"{host.seconds} s", "; ".join(host.reasons))
        for host in verification.hosts
    ]
    show_table(("host", "result", "backup", "release", "the drill took", "why"), rows)
    for host in verification.hosts:
        if host.log:
            say(f"\nThe log of the restored release on {host.host}:")
            say("\n".join(f"    {line}" for line in host.log))
    notes: dict[str, list[str]] = {}
    for host in verification.hosts:
        for note in host.notes:
            notes.setdefault(note, []).append(host.host)
    if notes:
        say("\n" + "\n".join(f"note: {', '.join(hosts)}: {note}" for note, hosts in notes.items()))
    say(f"\n{verification.sentence}")


def _drilled(host: HostDrill) -> str:
    """The drill's result for the release in a backup."""
    if host.release is None:
        return "none in it" if host.notes else ""
    return f"{host.release}, {'started' if host.started else 'not started'}"


def show_schedule(scheduled: Scheduled) -> None:
    """What runs when, and where its output goes."""
    if scheduled.kind != "none":
        runs = "is to run" if scheduled.problem else "runs"
        say(f"verify-backups of {scheduled.environment} {runs} at '{scheduled.when}': {scheduled.place}")
        say(f"its answers go to {scheduled.log}")
    for place in scheduled.removed:
        say(f"removed {place}")
    if scheduled.problem:
        say(f"warning: {scheduled.problem}")
    if scheduled.kind == "none" and not scheduled.removed:
        say(f"nothing was scheduled for {scheduled.environment}")


def _first_line(text: str) -> str:
    return shortened(text, 160)
