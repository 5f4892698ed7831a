"""Read group_vars/ and host_vars/: the files of each group and host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from playbooks.core.errors import ConfigError
from playbooks.inventory.document import Lines, Origin, parse, read_text
from playbooks.inventory.fence import FLAG, Fence
from playbooks.inventory.layers import Layer, note_layer
from playbooks.inventory.vault import Vault, VaultError, is_encrypted

EXTENSIONS = ("", ".yml", ".yaml", ".json")
MAX_FOLDERS = 20  # levels of folders, which also ends symlink loops


def find_files(folder: Path, name: str, fence: Fence) -> list[Path]:
    """Return the files of a group or host below group_vars/ or host_vars/, in the order in which they apply.

    Of `name`, `name.yml`, `name.yaml` and `name.json` the first that exists counts; a folder is read recursively.

    Raises:
        ConfigError: a folder cannot be read, holds itself or is outside of the fence.
    """
    if "/" in name or name in (".", ".."):
        return []
    for extension in EXTENSIONS:
        path = folder / (name + extension)
        try:
            fence.check(path)
            if path.is_dir():
                return list(_walk(path, MAX_FOLDERS, fence))
            if path.exists():
                return [path]
        except OSError:  # a name that is too long for a file
            return []
    return []


def _walk(folder: Path, depth: int, fence: Fence) -> Iterator[Path]:
    if depth == 0:
        raise ConfigError(
            [f"{Origin(folder)} is more than {MAX_FOLDERS} folders deep; does a symlink lead back into it?"]
        )
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise ConfigError([f"{Origin(folder)} cannot be read: {error.strerror or error}."]) from None
    for entry in entries:
        if entry.name.startswith(".") or entry.name.endswith("~"):
            continue
        fence.check(entry)
        if entry.is_dir():
            if not entry.suffix:
                yield from _walk(entry, depth - 1, fence)
        elif entry.is_file() and entry.suffix in EXTENSIONS:
            yield entry


@dataclass
class VarsFiles:
    """The files of all groups and hosts of an inventory.

    Plain files are read at once, so that one error has all mistakes; encrypted ones when one of their hosts is
    needed.
    """

    lines: Lines
    warnings: list[str]
    vault: Vault
    fence: Fence
    _files: dict[tuple[Path, str], list[Path]] = field(default_factory=dict)
    _layers: dict[Path, Layer] = field(default_factory=dict)
    _sealed: dict[Path, str] = field(default_factory=dict)

    def read(self, folder: Path, names: list[str]) -> list[str]:
        """Find and read the files of some groups or hosts below group_vars/ or host_vars/.

        Returns:
            The mistakes, a sentence for each.
        """
        problems: list[str] = []
        try:
            self.fence.check(folder)
        except ConfigError as error:
            return error.problems
        if not folder.is_dir():
            return [f"{Origin(folder)} is a file; expected a folder."] if folder.exists() else []
        try:
            present = {entry.name.partition(".")[0] for entry in folder.iterdir()}
        except OSError as error:
            return [f"{Origin(folder)} cannot be read: {error.strerror or error}."]
        for name in names:
            if name.partition(".")[0] not in present:  # saves four look-ups for each host
                continue
            try:
                self._files[folder, name] = find_files(folder, name, self.fence)
                for file in self._files[folder, name]:
                    self._read_file(file)
            except ConfigError as error:
                problems += error.problems
        return problems

    def _read_file(self, file: Path) -> None:
        if file in self._layers or file in self._sealed:
            return
        text = read_text(file)
        if is_encrypted(text) and not self.fence.trusts:
            self._layers[file] = Layer(unread=True)
            self.warnings.append(f"{Origin(file)} is encrypted; {FLAG} does not open it, so its variables are unknown.")
        elif is_encrypted(text):
            self._sealed[file] = text
        else:
            self._layers[file] = self._layer(parse(text, file, self.lines, self.warnings), file)

    def _layer(self, data: object, file: Path) -> Layer:
        layer = Layer()
        if not data:
            return layer
        if not isinstance(data, Mapping):
            raise ConfigError([f"{Origin(file)} holds a {type(data).__name__}; expected variables, as in 'port: 80'."])
        for key, value in data.items():
            note_layer(layer, key, value, self.lines.of(data, key) or Origin(file))
        return layer

    def layers(self, folder: Path, name: str) -> list[Layer]:
        """Return a group's or host's variables below a folder, file by file.

        Raises:
            ConfigError: an encrypted file cannot be decrypted or read.
        """
        return [self._open(file) for file in self._files.get((folder, name), ())]

    def _open(self, file: Path) -> Layer:
        if file not in self._layers:
            try:
                text = self.vault.decrypt(self._sealed[file])
            except VaultError as error:
                raise ConfigError([f"{Origin(file)}: {error}."]) from None
            unnumbered = Lines()  # a line number of the plain text is of no use in the encrypted file
            layer = self._layer(parse(text, file, unnumbered, self.warnings), file)
            origins = dict.fromkeys(layer.values, Origin(file))
            self._layers[file] = Layer(layer.values, origins, set(layer.values))
        return self._layers[file]
