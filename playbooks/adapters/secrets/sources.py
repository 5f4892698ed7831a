"""Read secrets when needed, from the sources in the settings, and hide them in all output (E3)."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from playbooks.adapters.secrets.masking import Striker
from playbooks.core.errors import ConfigError
from playbooks.core.surroundings import own_path
from playbooks.settings.model import AnySecret, CommandSecret, EnvSecret, FileSecret

COMMAND_SECONDS = 30


class Secrets(Mapping[str, str]):
    """The secrets by name; each is fetched once, at its first use.

    Args:
        sources: the source of each secret.
        folders: the bases of relative paths: the inventory's folder, then the project's, as for artifacts.
    """

    def __init__(self, sources: Mapping[str, AnySecret], *folders: Path) -> None:
        self._sources = dict(sources)
        self._folders = folders
        self._values: dict[str, str] = {}
        self._striker = Striker()
        self._looked = False

    def __getitem__(self, name: str) -> str:
        if name not in self._values:
            self._values[name] = _one_line(name, self._found(name))
            self._striker.add(self._values[name])
        return self._values[name]

    def lines(self, name: str) -> str:
        """Return a secret of several lines, such as a private key; output strikes out each line.

        Raises:
            ConfigError: the secret is not set, or cannot be read.
        """
        text = self._found(name)
        self.strike(text)
        return f"{text}\n"

    def _found(self, name: str) -> str:
        if name not in self._sources:
            known = ", ".join(sorted(self._sources)) or "none"
            near = get_close_matches(name, self._sources, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(
                [f"secret '{name}' is used but not set{meant}; slipway_secrets has: {known}"],
                hint=f"add to group_vars: slipway_secrets: {{ {name}: {{ file: … }} }}",
            )
        return _fetch(name, self._sources[name], self._folders)

    def require(self, names: Iterable[str]) -> None:
        """Fetch these now, so that a missing one fails before any host is reached.

        Raises:
            ConfigError: secrets cannot be read; the message names all of them.
        """
        wrong: list[ConfigError] = []
        for name in dict.fromkeys(names):
            try:
                _ = self[name]
            except ConfigError as error:
                wrong.append(error)
        if wrong:
            problems = [problem for error in wrong for problem in error.problems]
            raise ConfigError(problems, hint=next((error.hint for error in wrong if error.hint), None))

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def strike(self, value: str) -> None:
        """Strike out another secret, such as a value from an Ansible vault."""
        self._striker.add(value)

    def mask_document(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a JSON document without secrets in its texts and field names."""
        return {self.mask(key): self._mask_value(value) for key, value in document.items()}

    def _mask_value(self, value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return self.mask_document(value)
        return [self._mask_value(one) for one in value] if isinstance(value, list | tuple) else value

    def mask(self, text: str) -> str:
        """Return the text without secrets, in any form (see masking.py).

        This covers secrets in files and variables, and those fetched or struck out so far.

        It includes secrets that the task does not use, because the application's output may contain them. It runs no
        command for that, which may be slow or ask a person.
        """
        self._look()
        return self._striker.strike(text)

    def _look(self) -> None:
        if self._looked:
            return
        self._looked = True
        for name, source in self._sources.items():
            if not isinstance(source, CommandSecret):
                # Who uses it is told what is wrong with it; what others can read is no less a secret for that.
                with contextlib.suppress(ConfigError):
                    self.strike(_fetch(name, source, self._folders, however_open=True))


def _fetch(name: str, source: AnySecret, folders: Sequence[Path], *, however_open: bool = False) -> str:
    if isinstance(source, FileSecret):
        value = _read_file(name, _find_file(name, source.file, folders), however_open=however_open)
    elif isinstance(source, EnvSecret):
        value = os.environ.get(source.env, "")
        if not value:
            raise ConfigError([f"secret '{name}': environment variable {source.env} is not set"])
        try:
            value = os.fsencode(value).decode("utf-8")  # undo the locale's decoding
        except UnicodeDecodeError:
            raise ConfigError([f"secret '{name}': environment variable {source.env} is no UTF-8 text"]) from None
    else:
        value = _run(name, source)
    return value


def _one_line(name: str, value: str) -> str:
    if not value or "\n" in value or "\0" in value:
        raise ConfigError([f"secret '{name}': expected one line of text, found {'nothing' if not value else 'more'}"])
    return value


def _find_file(name: str, text: str, folders: Sequence[Path]) -> Path:
    """Find the file of a path: the first of its possible places that exists.

    Raises:
        ConfigError: no place has it.
    """
    places = list(dict.fromkeys(Path(os.path.normpath(folder.absolute() / own_path(text))) for folder in folders))
    for path in places:
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # reading it reports the error
        return path
    hint = None if len(places) == 1 else "a relative path counts from the inventory's folder, else from the project's"
    raise ConfigError([f"secret '{name}': there is no file {', nor '.join(map(str, places))}"], hint=hint)


def _read_file(name: str, path: Path, *, however_open: bool = False) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # reading a FIFO may never end
            raise ConfigError([f"secret '{name}': {path} is no plain file"])
        if mode & (stat.S_IRWXO | stat.S_IWGRP) and not however_open:
            raise ConfigError([f"secret '{name}': {path} can be read by others"], hint=f"chmod 0600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError([f"secret '{name}': cannot read {path}: {reason}"]) from None


def _run(name: str, source: CommandSecret) -> str:
    try:
        done = subprocess.run(
            source.command,
            capture_output=True,
            encoding="utf-8",
            timeout=COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
            check=True,
        )
    except UnicodeDecodeError:
        raise ConfigError([f"secret '{name}': what {source.command[0]} prints is no UTF-8 text"]) from None
    except subprocess.CalledProcessError as error:
        raise ConfigError([f"secret '{name}': {source.command[0]} ended with status {error.returncode}"]) from None
    except subprocess.TimeoutExpired:
        late = f"secret '{name}': {source.command[0]} has not ended within {COMMAND_SECONDS:g} s"
        raise ConfigError([late]) from None
    except OSError as error:
        raise ConfigError([f"secret '{name}': cannot run {source.command[0]}: {error.strerror or error}"]) from None
    return done.stdout.strip()
