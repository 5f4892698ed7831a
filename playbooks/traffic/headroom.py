"""Before hosts leave the balancers: wait until the others can carry the traffic, or stop."""

from __future__ import annotations

import time
from collections.abc import Collection

from playbooks.core.errors import ANY_ENV, StepFailed
from playbooks.core.step_codes import StepCode
from playbooks.fleet.progress import Progress
from playbooks.judgement.headroom import Least, is_known, lacking
from playbooks.settings.rollout import Headroom
from playbooks.traffic.readings import BalancerReadings

# Seconds between two looks.
AGAIN = 1.0


def wait_for_headroom(
    readings: BalancerReadings,
    limits: Headroom,
    hosts: Collection[str],
    leaving: Collection[str],
    progress: Progress,
    *,
    ignore_headroom: bool,
) -> None:
    """Come back once the others can do without some hosts, by what the balancers counted within the last seconds.

    Args:
        readings: reads the balancers.
        limits: what must be so, and for how long it is waited for.
        hosts: that are to change.
        leaving: their servers.
        progress: who is told.
        ignore_headroom: whether they are taken out all the same, and it is only told.

    Raises:
        StepFailed: it has not become better in time.
    """
    names = ", ".join(sorted(hosts))
    until = time.monotonic() + limits.wait
    told = False
    while found := _lack(readings, limits, leaving):
        balancer, why = found
        if ignore_headroom:
            if why:
                progress.warn(f"{balancer}: {names} leaves the balancer although the others have no headroom: {why}")
            return
        if not why:
            time.sleep(AGAIN)
            continue
        if time.monotonic() >= until:
            raise StepFailed(
                f"{names} was not taken out: after {limits.wait:.0f} s the others still have no headroom: {why}",
                host=balancer,
                step="headroom",
                code=StepCode.HEADROOM,
                hint="deploy again when there is less load, or more hosts. If the running release is what fails: "
                f"invoke deploy {ANY_ENV} --force",
            )
        if not told:
            told = True
            progress.warn(
                f"{balancer}: the others have no headroom: {why}. {names} waits for up to {limits.wait:.0f} s"
            )
        time.sleep(AGAIN)


def _lack(readings: BalancerReadings, limits: Headroom, leaving: Collection[str]) -> tuple[str, str] | None:
    """Why the others cannot do without these servers now, and the balancer that says so.

    None where none does; no reason where it cannot be told yet, which lasts some seconds at the most.
    """
    readings.refresh()
    least = Least(limits.errors, None if limits.p50 is None else 1000 * limits.p50)
    found = ((balancer, lacking(each, leaving, least)) for balancer, each in readings.readings.items())
    unknown = ((balancer, "") for balancer, each in readings.readings.items() if not is_known(each))
    return next(((balancer, why) for balancer, why in found if why), None) or next(unknown, None)
