"""Render templates of the project and the inventory as Ansible's template module does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from playbooks.core.errors import ConfigError
from playbooks.environments.environment import Environment
from playbooks.inventory import Inventory, read_text
from playbooks.settings.services import below_templates


class Templates:
    """Templates from several folders; the first folder that has a template wins. The inventory's sandbox renders them.

    Args:
        inventory: the inventory whose variables templates use.
        folders: the inventory's templates/, then the project's.
    """

    def __init__(self, inventory: Inventory, folders: Sequence[Path]) -> None:
        self._inventory = inventory
        self._folders = list(folders)
        self._texts: dict[str, tuple[Path, str]] = {}

    @classmethod
    def of(cls, env: Environment) -> Self:
        """Return the templates of an environment."""
        return cls(env.inventory, [env.folder / "templates", env.project / "templates"])

    def render(self, name: str, extra: Mapping[str, Any], *, host: str) -> bytes:
        """Render a template for a host.

        Args:
            name: the path below one of the folders.
            extra: names besides the host's variables, with plain data or functions that return it.
            host: the host whose variables to use.

        Raises:
            ConfigError: the template is missing, is wrong, or uses an undefined name.
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
    """Return a directive's value for a unit file: systemd's booleans; no line break, which would add a directive."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("\n", " ").replace("\r", " ")
