"""What is fuzzed, and what an input may come to."""

from __future__ import annotations

import random
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Protocol

from playbooks.core.errors import SlipwayError
from tests.fuzz.processor import WAITS


class Verdict(Enum):
    """What a reader did with an input: both are right."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


class Violation(Exception):
    """What a reader did that it must not: the sentence says what."""


class TookTooLong(BaseException):
    """The input's time is over. No ``except Exception`` in what is fuzzed may swallow it."""


@dataclass(frozen=True)
class Found:
    """A violation and the input that shows it."""

    data: bytes
    what: str


class Target(Protocol):
    """Something that reads what others wrote.

    Args:
        batch: how many inputs are judged in one call.
        limit: seconds of processor time that one input may take.
    """

    batch: int
    limit: float

    def make(self, rng: random.Random) -> bytes:
        """An input: the same one for the same generator."""

    def judge(self, inputs: Sequence[bytes]) -> list[Verdict | Found]:
        """Feed inputs to the reader, each by itself. Leaves nothing behind that is hard to remove."""


class Reader(Protocol):
    """A target that is a function of this process."""

    def make(self, rng: random.Random) -> bytes:
        """An input."""

    def read(self, data: bytes) -> bool:
        """Read an input; says whether it was accepted.

        Raises:
            SlipwayError: it was refused as it should be.
            Violation: it was not. So is anything else that is raised.
        """


class InProcess:
    """Judges one input at a time, with a time limit.

    Args:
        reader: what is fuzzed.
        limit: seconds of processor time.
    """

    batch = 1

    def __init__(self, reader: Reader, limit: float = 10.0) -> None:
        self._reader, self.limit = reader, limit
        self.make = reader.make

    def judge(self, inputs: Sequence[bytes]) -> list[Verdict | Found]:
        """Feed inputs to the reader."""
        return [self._one(data) for data in inputs]

    def _one(self, data: bytes) -> Verdict | Found:
        try:
            with _time_limit(self.limit):
                return Verdict.ACCEPTED if self._reader.read(data) else Verdict.REFUSED
        except SlipwayError as error:
            flaw = flaw_of(error)
            return Found(data, flaw) if flaw else Verdict.REFUSED
        except Violation as error:
            return Found(data, str(error))
        except TookTooLong:
            return Found(data, f"no answer within {self.limit:g} s of processor time")
        except BaseException:  # noqa: BLE001 - whatever else comes out is what is looked for
            return Found(data, traceback.format_exc())


def flaw_of(error: SlipwayError) -> str | None:
    """What is wrong with a refusal: it must be a sentence that can be shown."""
    text = str(error)
    if not error.message.strip():
        return f"{type(error).__name__} without a sentence"
    return unprintable(text)


def unprintable(text: str) -> str | None:
    """Why a text cannot be written to a file or a terminal, if it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"cannot be printed: {error}"
    return None


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        raise TookTooLong

    before = {number: signal.signal(number, ring) for number in (signal.SIGPROF, signal.SIGALRM)}
    # On a busy machine an input waits for others: what it takes is what counts. But who waits for ever takes nothing.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * WAITS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def changed(folder: Path, expected: frozenset[str]) -> str | None:
    """What lies in a folder that was not put there by the fuzzer: an escape leaves its trace here."""
    extra = {entry.name for entry in folder.iterdir()} - expected
    return f"{sorted(extra)} came to be in {folder}" if extra else None
