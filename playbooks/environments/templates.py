"""Templates of the project and of the inventory, rendered as Ansible's template module would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from playbooks.core.errors import ConfigError
from playbooks.environments.environment import Environment
from playbooks.inventory import Inventory, read_text
from playbooks.settings.services import below_templates


class Templates:
    """Templates out of several folders; the first that has one counts. All are rendered in the inventory's sandbox.

    Args:
        inventory: whose variables templates use.
        folders: where to look: the inventory's templates/, then the project's.
    """

    def __init__(self, inventory: Inventory, folders: Sequence[Path]) -> None:
        self._inventory = inventory
        self._folders = list(folders)
        self._texts: dict[str, tuple[Path, str]] = {}

    @classmethod
    def of(cls, env: Environment) -> Self:
        """The templates of an environment."""
        return cls(env.inventory, [env.folder / "templates", env.project / "templates"])

    def render(self, name: str, extra: Mapping[str, Any], *, host: str) -> bytes:
        """Render a template for a host.

        Args:
            name: path below one of the folders.
            extra: names it may use besides the host's variables: plain data, or what is called to get some.
            host: whose variables to use.

        Raises:
            ConfigError: it is missing, is wrong, or uses a name that nothing defines.
        """
        if name not in self._texts:
            self._texts[name] = self._read(name)
        path, text = self._texts[name]
        return self._inventory.render(host, text, path, {**extra, "systemd": systemd_value}).encode()

    def _read(self, name: str) -> tuple[Path, str]:
        try:
            below_templates(name)
        except ValueError as error:
            raise ConfigError([f"template {name}: {error}"]) from None
        for folder in self._folders:
            path = folder / name
            self._inventory.fence.check(path)
            if path.is_file():
                return path, read_text(path)
        places = " or ".join(str(folder) for folder in self._folders)
        raise ConfigError([f"there is no template {name} in {places}"])


def systemd_value(value: object) -> str:
    """A directive's value in a unit file: booleans as systemd has them, no line break that would start another."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("\n", " ").replace("\r", " ")
