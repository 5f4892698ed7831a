"""Answers about traffic, as tables on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playbooks.report.tables import say, show_table

if TYPE_CHECKING:
    from playbooks.abort import Aborted
    from playbooks.maintenance import Maintenance
    from playbooks.measure import Measure, Measures
    from playbooks.promote import Promoted
    from playbooks.show_traffic import TrafficView
    from playbooks.warm_up import WarmedUp


def show_traffic(view: TrafficView) -> None:
    """A line for each server."""
    show_table(
        ("balancer", "server", "share", "state", "in flight", "testers", "changed by hand"),
        [
            (
                one.edge,
                one.server,
                f"{100 * one.share:.1f} %",
                one.state,
                str(one.in_flight),
                "yes" if one.testers else "",
                one.drift,
            )
            for one in view.servers
        ],
    )
    for sentence in view.lacks:
        say(sentence)
    if view.next:
        say(f"Next: {view.next}")
    if view.maintenance:
        say(f"\nmaintenance: clients see the page on {', '.join(view.maintenance)}")


def show_promoted(done: Promoted) -> None:
    """A sentence."""
    say(f"{done.stage}: {done.by}'s '{done.what}' continues at its next check; Ctrl-C still takes the release back")


def show_aborted(done: Aborted) -> None:
    """A sentence."""
    say(
        f"{done.by}'s '{done.what}', begun {done.since}, stops within {done.seconds:.0f} s and takes back what it has "
        f"changed. See: invoke status {done.flag}"
    )


def show_maintenance(done: Maintenance) -> None:
    """A sentence."""
    what = "clients see the maintenance page" if done.on else "clients see the application"
    already = "" if any(done.changed.values()) else ", as before"
    say(f"{what}, on {', '.join(done.changed)}{already}")


def show_measures(measures: Measures) -> None:
    """A line for each server and each version."""
    rows = [_row("server", one) for one in measures.servers] + [_row("version", one) for one in measures.versions]
    show_table(("", "which", "requests", "errors", "error rate", "p50", "p95", "p99"), rows)
    if not any(one.requests for one in measures.servers):
        say(f"\nno request came in {measures.seconds:.0f} s: nothing can be said")
    elif measures.most:
        say(f"\n{measures.most}: {'yes' if measures.exceeded else 'no'}")


def show_warmed_up(done: WarmedUp) -> None:
    """A line for each host."""
    show_table(
        ("host", "requests", "a request", "problem"),
        [(one.host, f"{one.answered} of {one.wanted}", f"{one.milliseconds} ms", one.problem) for one in done.hosts],
    )


def _row(kind: str, one: Measure) -> tuple[str, ...]:
    rate = f"{100 * one.rate:.2f} %" if one.rate is not None else "–"
    times = (f"{time:.0f} ms" if time is not None else "–" for time in (one.p50, one.p95, one.p99))
    return ("" if one.name == "all" else kind, one.name, str(one.requests), str(one.errors), rate, *times)
