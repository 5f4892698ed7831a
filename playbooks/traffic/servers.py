"""The application's hosts as balancers know them: names, addresses, ports."""

from __future__ import annotations

from playbooks.core.errors import ConfigError, UsageError
from playbooks.environments.environment import Environment
from playbooks.steps.traffic import Server, ServerWeight
from playbooks.traffic.shares import weight_of


def application_hosts(env: Environment) -> list[str]:
    """Names of all hosts that the application runs on, those that --limit leaves out included."""
    return env.select(env.settings.hosts)


def server_of(env: Environment, host: str, slot: str | None = None) -> Server:
    """A host's server, or that of one of its slots.

    Args:
        env: the environment.
        host: inventory name.
        slot: which slot, if the host runs two releases side by side.

    Raises:
        UsageError: there is no such slot.
    """
    target = env.target(host)
    # The address by which the controller reaches the host, unless that is the end of a tunnel.
    address = str(target.variables.get("ansible_host") or host)
    if slot is not None:
        if slot not in env.settings.slots:
            raise UsageError(
                f"{host} reports that it runs in slot {slot}, which slipway_slots does not have",
                hint=f"put {slot} back into slipway_slots and run invoke provision {env.flag}; "
                f"or leave {host} out by --limit",
            )
        return Server(f"{host}-{slot}", address, env.settings.slots[slot])
    port = target.settings.port or (env.settings.balancer.port if env.settings.balancer else 0)
    return Server(host, address, port)


def capacities(env: Environment) -> dict[str, float]:
    """By host, including those that --limit leaves out: its weight relative to the largest one, above 0 to 1."""
    weights = {host: env.target(host).settings.weight for host in application_hosts(env)}
    largest = max(weights.values(), default=1)
    return {host: weight / largest for host, weight in weights.items()}


def default_weights(env: Environment) -> list[ServerWeight]:
    """Every server's share in normal operation, also on hosts that --limit leaves out."""
    slots: list[str | None] = [*env.settings.slots] or [None]
    return [
        ServerWeight(server_of(env, host, slot), weight_of(capacity))
        for host, capacity in capacities(env).items()
        for slot in slots
    ]


def balancers_of(env: Environment) -> tuple[str, ...]:
    """Names of the balancers' hosts.

    Raises:
        ConfigError: one of them is the application's, too.
    """
    if env.settings.balancer is None:
        return ()
    balancers = env.select(env.settings.balancer.hosts)
    both = sorted(set(balancers) & set(application_hosts(env)))
    if both:
        raise ConfigError(
            [f"slipway_balancer.hosts: {', '.join(both)} would balance for itself; a balancer needs a host of its own"],
            hint="a single host loses no request either if its service has a socket: slipway_services[].socket",
        )
    return tuple(balancers)


def metrics_hosts(env: Environment) -> tuple[str, ...]:
    """Hosts that are needed only for metrics: the one through which Prometheus is asked."""
    prometheus = env.settings.metrics.prometheus
    if env.settings.metrics.source != "prometheus" or prometheus is None or prometheus.via is None:
        return ()
    return tuple(env.select(prometheus.via)[:1])
