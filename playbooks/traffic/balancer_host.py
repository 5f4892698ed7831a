"""What a balancer's host must have: its servers, its configuration, its maintenance page."""

from __future__ import annotations

from types import MappingProxyType

from playbooks.core.errors import ConfigError
from playbooks.environments.environment import Environment
from playbooks.environments.templates import Templates
from playbooks.settings.load import PREFIX
from playbooks.settings.traffic import Tls
from playbooks.steps.provision import BalancerFiles
from playbooks.steps.traffic import backend_of
from playbooks.traffic.servers import balancers_of, default_weights

# As in playbooks/steps/lib/haproxy.sh and nginx.sh.
HAPROXY_FILES, HAPROXY_STATE = "/etc/haproxy/slipway", "/var/lib/haproxy/slipway.state"
NGINX_FILES, NGINX_LOG = "/etc/nginx/slipway", "/var/log/nginx/slipway"
# As in playbooks/steps/lib/acme.sh: where certbot answers the authority, behind the balancer.
ACME_PORT = 342
STOCK = {"haproxy": "balancer/haproxy.cfg.j2", "nginx": "balancer/nginx.conf.j2"}
SHARED = {"haproxy": "balancer/haproxy-shared.cfg.j2", "nginx": "balancer/nginx-shared.conf.j2"}


def balancer_files(env: Environment, host: str) -> BalancerFiles:
    """Everything that a balancer's host is given by provision.

    Raises:
        ConfigError: there is no balancer, or a template is missing, wrong, or uses what is not defined.
    """
    balancer = env.settings.balancer
    if balancer is None:
        raise ConfigError([f"{PREFIX}balancer is not set"])
    tls = balancer.tls
    if tls and tls.acme and len(balancers_of(env)) > 1:
        # The authority asks one of them, and that need not be the one that waits to be asked.
        raise ConfigError([f"{PREFIX}balancer.tls.acme: one host gets certificates, and {balancer.hosts} is several"])
    templates = Templates.of(env)
    shares = default_weights(env)
    backend = backend_of(balancer, env.settings.app)
    haproxy = balancer.kind == "haproxy"
    extra = {
        "secrets": MappingProxyType(env.secrets),
        "slipway": {
            "app": env.settings.app,
            "environment": env.name,
            "balancer": {**balancer.model_dump(), "keepalive": balancer.kept_alive, "tls": _tls(env, tls)},
            "acme": ACME_PORT if tls and tls.acme else None,
            "backend": backend,
            # Unlike names of backends, those of applications have no "_" in them, so no two become the same.
            "variable": f"slipway_{env.settings.app.replace('-', '_')}",
            "servers": [{**vars(share.server), "weight": share.weight} for share in shares],
            "files": HAPROXY_FILES if haproxy else NGINX_FILES,
            "state_file": HAPROXY_STATE,
            "log": f"{NGINX_LOG}-{backend}.log",
        },
    }
    shared = b"" if balancer.template else templates.render(SHARED[balancer.kind], extra, host=host)
    config = templates.render(balancer.template or STOCK[balancer.kind], extra, host=host)
    page = templates.render(balancer.page, extra, host=host)
    pem = env.secrets.lines(tls.secret).encode() if tls and tls.secret else b""
    return BalancerFiles(shared, config, page, pem, shares)


def _tls(env: Environment, tls: Tls | None) -> dict[str, object] | None:
    """What templates see of TLS: where the certificate lies, whoever brings it there."""
    if tls is None:
        return None
    return {**tls.model_dump(), "certificate": tls.place(env.settings.app), "redirect": tls.redirects}
