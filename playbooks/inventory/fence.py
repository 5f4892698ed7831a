"""Limit the files that an inventory may read: any file for a trusted one, its own files for an untrusted one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playbooks.core.errors import ConfigError
from playbooks.inventory.document import Origin

FLAG = "--untrusted-inventory"
NOT_READ = "<not read: untrusted inventory>"
# Of the project, besides the environments. Its other folders hold what is no inventory's business, such as .git.
_OF_PROJECT = ("templates", "group_vars", "host_vars")


@dataclass(frozen=True)
class Fence:
    """The folders whose files may be read.

    Args:
        folders: the folders' real paths; None for a trusted inventory, which may read any file.
    """

    folders: tuple[Path, ...] | None = None

    @property
    def trusts(self) -> bool:
        """Return whether the inventory is trusted, so that what it names is read, run and connected to."""
        return self.folders is None

    def check(self, path: Path) -> None:
        """Refuse a path that leads out, by links or by its spelling. Call this before any access to the path.

        Raises:
            ConfigError: the path leads out.
        """
        if self.folders is None:
            return
        real = Path(os.path.realpath(path))
        if not any(real.is_relative_to(folder) for folder in self.folders):
            raise ConfigError([f"{Origin(path)} leads out of the inventory, to {real}, which {FLAG} does not read."])


TRUSTED = Fence()


def fence_around(source: Path, project_root: Path, own: Sequence[Path]) -> Fence:
    """Make the fence of an untrusted inventory: its environments' folder, and the project's templates and variables.

    Args:
        source: the inventory's folder or file, as `find_source` gives it.
        project_root: the project's folder.
        own: folders that belong to the person who runs the task, such as the working directory. A link on
            the way to one is that person's; a link below it may be the inventory's. Where the inventory is in none
            of them, nobody can tell where what was checked out begins: any link but one of the root folder's may be.

    Raises:
        ConfigError: a link leads to the inventory.
    """
    folder = source if source.is_dir() else source.parent
    # Environments share files by links: inventory/shared.
    top = folder.parent if folder.parent.name == "inventory" else folder
    bases = [base for base in (project_root.absolute(), *own) if source.is_relative_to(base)]
    base = max(bases, key=lambda path: len(path.parts), default=None)
    for part in [source, *source.parents]:
        if part == base or (base is None and part.parent == part.parent.parent):
            break
        if part.is_symlink():
            raise ConfigError(
                [
                    f"{Origin(part)} is a link; {FLAG} takes an inventory where it is. If that link is yours, and not "
                    f"the inventory's, give the path without it: --env={os.path.realpath(source)}"
                ]
            )
    real_project = Path(os.path.realpath(project_root))
    return Fence((Path(os.path.realpath(top)), *(real_project / name for name in _OF_PROJECT)))
