"""Dry-run a deploy with an untrusted inventory, without reading a host, artifact or secret."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from playbooks.core.artifact import Artifact, Release
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.core.names import VERSION
from playbooks.core.requests import DeployRequest
from playbooks.deploy import plan_for
from playbooks.environments.environment import Environment
from playbooks.environments.not_read import not_read
from playbooks.inventory import FLAG
from playbooks.releases.render import Rendered
from playbooks.releases.renderings import render_all
from playbooks.rollout.planning.preview import Planned, planned
from playbooks.settings.services import Hook
from playbooks.traffic.balancer_host import balancer_files
from playbooks.traffic.servers import balancers_of

UNKNOWN = "VERSION"
NOT_KNOWN = (
    "what runs on the hosts: each is taken to change, and files are shown whole",
    "whether hosts, balancers and databases can be reached and are ready",
    "whether the artifact is there and fits",
)


@dataclass(frozen=True)
class HostFiles:
    """The files of one host.

    Args:
        files: the rendered files: configuration by path in the release, units, a balancer's configuration.
        start: the units to run.
        hooks: the commands, with their moment and user.
    """

    host: str
    files: dict[str, str]
    start: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True)
class UntrustedCheck:
    """The dry run of an untrusted inventory.

    Args:
        version: the requested version.
        stages: the stages for a fleet on which a release runs already.
        not_read: what the inventory names and Slipway did not read, as sentences.
        not_known: what the dry run of a trusted inventory also finds out.
    """

    schema: ClassVar[str] = "slipway.check-untrusted/1"
    environment: str
    version: str
    strategy: str
    stages: tuple[Planned, ...]
    hosts: tuple[HostFiles, ...]
    not_read: tuple[str, ...]
    not_known: tuple[str, ...]

    @property
    def exit_status(self) -> ExitStatus:
        """Return 0; problems of the inventory are raised."""
        return ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "check": True,
            "untrusted_inventory": True,
            **asdict(replace(self, stages=())),
            "stages": [stage.to_json() for stage in self.stages],
            "exit_status": int(self.exit_status),
        }


def check_untrusted(env: Environment, wanted: DeployRequest) -> UntrustedCheck:
    """Validate the settings, render every template, and list a deploy's actions as far as the inventory tells.

    Args:
        env: the environment, with a closed fence.
        wanted: the deploy request. The version is taken as given, because no artifact is read.

    Raises:
        UsageError, ConfigError: the deploy would fail before it reached a host, or needs data that is not read.
    """
    if wanted.version is not None and not VERSION.fullmatch(wanted.version):
        raise UsageError(
            f"--version={wanted.version!r} is no version: letters, digits and . _ + - only, 64 at the most"
        )
    # Fixed words replace the time and the person, so that the output depends on the inventory alone.
    version = wanted.version or UNKNOWN
    artifact = Artifact(version, f"not looked for: {FLAG}", None, "none", "0" * 64, 0)
    release = Release(f"TIME-{version}", artifact, "TIME", "PERSON")
    renderings = render_all(env, release)
    plan = plan_for(env, wanted, [target.name for target in env.targets])
    hosts = [_host(name, list(each.values())) for name, each in renderings.items()]
    return UntrustedCheck(
        environment=env.name,
        version=version,
        strategy=plan.strategy,
        stages=planned(env, plan, {}),
        hosts=(*hosts, *(_balancer(env, name) for name in balancers_of(env))),
        not_read=not_read(env),
        not_known=NOT_KNOWN,
    )


def _account(moment: str, hook: Hook) -> str:
    if hook.user == "root":
        return "root"
    return "the user that builds releases" if moment == "install" else "the application"


def _host(name: str, renderings: list[Rendered]) -> HostFiles:
    files: dict[str, bytes] = {}
    for rendered in renderings:
        slot = f" (in slot {rendered.slot.name})" if rendered.slot else ""
        files |= {f"{place}{slot}": file.content for place, file in rendered.files.items()}
        files |= dict(rendered.units)
    hooks = [
        f"{moment}, {'on one host only, ' if hook.once else ''}as {_account(moment, hook)}: {hook.run}"
        for moment, some in renderings[0].hooks.items()
        for hook in some
    ]
    start = dict.fromkeys(unit for rendered in renderings for unit in rendered.start)
    return HostFiles(name, {place: _text(content) for place, content in files.items()}, tuple(start), tuple(hooks))


def _balancer(env: Environment, name: str) -> HostFiles:
    made = balancer_files(env, name)
    files = {"balancer, shared": made.shared, "balancer": made.config, "maintenance page": made.page}
    return HostFiles(name, {place: _text(content) for place, content in files.items() if content})


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")
