"""The targets by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fuzz.answers import Answers
from tests.fuzz.archives import Archives
from tests.fuzz.inventories import Inventories
from tests.fuzz.ledgers import Ledgers
from tests.fuzz.settings_trees import SettingsTrees
from tests.fuzz.target import InProcess, Target

_MAKE: dict[str, Callable[[Path], Target]] = {
    "inventory": lambda folder: InProcess(Inventories(folder)),
    "settings": lambda _: InProcess(SettingsTrees()),
    "archive": Archives,
    "ledger": lambda _: InProcess(Ledgers()),
    "answers": lambda _: InProcess(Answers()),
}
NAMES = tuple(_MAKE)


@contextmanager
def open_target(name: str, folder: Path) -> Iterator[Target]:
    """A target with a scratch folder of its own.

    Args:
        name: one of NAMES.
        folder: an empty folder.
    """
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    yield _MAKE[name](scratch)
