"""A deploy's dry run for an inventory that is not trusted: what is known without a host, artifact or secret."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from playbooks.core.artifact import Artifact, Release
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.core.names import VERSION
from playbooks.core.requests import DeployRequest
from playbooks.deploy import plan_for, render_all
from playbooks.environments.environment import Environment
from playbooks.environments.not_read import not_read
from playbooks.inventory import FLAG
from playbooks.releases.render import Rendered
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
    """What one host would be given.

    Args:
        files: rendered files by name: configuration by its place in the release, units, a balancer's configuration.
        start: units to run.
        hooks: commands, with when they run and as whom.
    """

    host: str
    files: dict[str, str]
    start: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True)
class UntrustedCheck:
    """The dry run.

    Args:
        version: as asked for.
        stages: of a fleet on which something runs already.
        not_read: what the inventory names and was left alone, as sentences.
        not_known: what a dry run of a trusted inventory finds out besides.
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
        """0: what is wrong with an inventory is raised."""
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
    """Validate the settings, render every template, and say what a deploy would do as far as the inventory tells.

    Args:
        env: where to; its fence is closed.
        wanted: what. No artifact is looked for, so the version is as it is asked for.

    Raises:
        UsageError, ConfigError: the deploy would be refused before it reached a host, or needs what is not read.
    """
    if wanted.version is not None and not VERSION.fullmatch(wanted.version):
        raise UsageError(
            f"--version={wanted.version!r} is no version: letters, digits and . _ + - only, 64 at the most"
        )
    # Fixed words where a deploy has its time and its person: what is shown changes with the inventory alone.
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
