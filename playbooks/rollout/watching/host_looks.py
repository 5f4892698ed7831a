"""The hosts' own signals while a stage is watched: units, health, memory, the log (B5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from playbooks.core.names import cut
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.script import StepResult
from playbooks.judgement.host import HostReading, host_signals
from playbooks.judgement.verdict import Signal
from playbooks.rollout.mover import Move
from playbooks.steps.health import HealthReport, health_call, read_health
from playbooks.steps.promote import hold_call
from playbooks.steps.signals import read_promotion, read_signals, signals_call

# One late answer may be the network's fault; two in a row are the host's.
MISSES = 2


@dataclass
class _Seen:
    """What was read from one host on one release."""

    readings: list[HostReading] = field(default_factory=list)
    misses: int = 0

    @property
    def cursor(self) -> str | None:
        return self.readings[-1].cursor if self.readings else None


class HostLooks:
    """Reads the signals of hosts on the new release and of hosts on the old one.

    Args:
        fleet: the open sessions.
        env: settings and secrets.
        moves: hosts that change.
        deploy: its id.
    """

    def __init__(self, fleet: Fleet, env: Environment, moves: Mapping[str, Move], deploy: str) -> None:
        self._fleet, self._env = fleet, env
        self._moves, self._deploy = moves, deploy
        self._promoted: dict[str, dict[str, str]] = {}
        self._asked = 1
        self._new: dict[str, _Seen] = {}
        self._old: dict[str, _Seen] = {}

    def look(self, moved: frozenset[str]) -> Sequence[Signal]:
        """Signals of the hosts on the new release; one round trip for each host."""
        new = [host for host in self._moves if host in moved]
        old = [host for host in self._moves if host not in moved and self._moves[host].units_before]
        signals: list[Signal] = []

        def one(remote: Remote) -> list[Signal]:
            return self._judged(remote) if remote.name in moved else self._baseline(remote)

        results = self._fleet.each("", one, hosts=[*old, *new], finish=True)
        self._asked = max(1, len(results.ok))
        for host in new:
            if host in results.failed:
                signals.append(Signal(host, "reach", bad=True, sentence=results.failed[host].message))
        baseline = [seen.readings for host, seen in self._old.items() if host in old]
        for host in new:
            signals += results.ok.get(host, [])
            signals += host_signals(self._new[host].readings, baseline) if host in self._new else []
        return signals

    def hold(self, stage: str | None) -> None:
        """Tell the hosts which stage is held, for `invoke promote`; None: no stage is held any more."""
        self._promoted.clear()

        def one(remote: Remote) -> None:
            list(remote.without_deadline().chain([hold_call(self._state(remote), self._deploy, stage)]))

        results = self._fleet.each("", one, hosts=list(self._moves), finish=True)
        if stage is not None:
            for host, error in results.failed.items():
                self._fleet.progress.warn(
                    f"{host} was not told that the rollout waits, so its answer to invoke promote does not count: "
                    f"{error.message}"
                )

    def promoted(self, stage: str) -> str | None:
        """Who promoted a held stage, if most of the watched hosts say so; a single host may lie."""
        words = self._promoted.get(stage, {})
        by, hosts = Counter(words.values()).most_common(1)[0] if words else ("", 0)
        return by if 2 * hosts > self._asked else None

    def _hear(self, answer: StepResult) -> HostReading:
        word = read_promotion(answer)
        if word is not None and word.deploy == self._deploy:
            self._promoted.setdefault(word.stage, {})[answer.host] = word.by
        return read_signals(answer)

    def _state(self, remote: Remote) -> str:
        return self._env.target(remote.name).settings.state

    def _baseline(self, remote: Remote) -> list[Signal]:
        seen = self._old.setdefault(remote.name, _Seen())
        (answer,) = remote.chain(
            [signals_call(self._state(remote), self._moves[remote.name].units_before, seen.cursor)]
        )
        seen.readings.append(self._hear(answer))
        return []

    def _judged(self, remote: Remote) -> list[Signal]:
        move = self._moves[remote.name]
        seen = self._new.setdefault(remote.name, _Seen())
        signals, health = remote.chain(
            [signals_call(self._state(remote), move.units, seen.cursor), self._health(remote.name, move)]
        )
        seen.readings.append(self._hear(signals))
        return [self._healthy(seen, read_health(health))]

    def _health(self, host: str, move: Move) -> StepCall:
        settings = self._env.target(host).settings
        folder = f"{settings.home}/releases/{move.after}"
        return health_call(settings, units=move.units, release_folder=folder, secrets=self._env.secrets, once=True)

    def _healthy(self, seen: _Seen, report: HealthReport) -> Signal:
        seen.misses = 0 if report.healthy else seen.misses + 1
        told = "; ".join(f"{check.name}: {check.detail}" for check in report.failures)
        return Signal(report.host, "health", bad=seen.misses >= MISSES, sentence=cut(told) or "healthy")
