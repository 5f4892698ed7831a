"""Read a page of metrics in Prometheus' text format, version 0.0.4."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from playbooks.settings.selector import unescape

# A page is its application's, which may be hostile: nothing here is gone through twice (possessive quantifiers), so
# that a line takes no longer than it is long. While an expression is at work, Python does nothing else.
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*+)(?:\s*+\{(.*)\})?\s++(\S++)(?:\s++-?\d++)?\s*+")
_LABEL = re.compile(r'\s*+([a-zA-Z_][a-zA-Z0-9_]*+)\s*+=\s*+"((?:[^"\\]|\\.)*+)"\s*+(?:,\s*+|\Z)')
LONGEST_LINE = 16384  # characters; the settings' patterns are matched against its labels
# A page declares a histogram's name without these suffixes.
PARTS = ("_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Sample:
    """One sample of a page."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse_samples(lines: Iterable[str]) -> Iterator[Sample]:
    """Return the samples of a page, and skip other lines."""
    for line in lines:
        match = None if line.startswith("#") or len(line) > LONGEST_LINE else _SAMPLE.fullmatch(line)
        labels = _labels(match[2] or "") if match is not None else None
        if match is None or labels is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        yield Sample(match[1], labels, value)


def _labels(text: str) -> dict[str, str] | None:
    """Return the labels between the braces; None if they are malformed."""
    found: dict[str, str] = {}
    at = len(text) - len(text.lstrip())
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None:
            return None
        found[match[1]] = unescape(match[2])
        at = match.end()
    return found


def declared(lines: Iterable[str]) -> set[str]:
    """Return the names that a page declares (# TYPE), with or without a sample."""
    words = (line.split() for line in lines if line.startswith("# TYPE "))
    names = {fields[2] for fields in words if len(fields) > 2}
    return names | {name + part for name in names for part in PARTS}


def bucket_limit(labels: Mapping[str, str]) -> float | None:
    """Return the upper limit of a histogram's bucket; None if invalid."""
    try:
        limit = float(labels.get("le", ""))
    except ValueError:
        return None
    return None if math.isnan(limit) else limit
