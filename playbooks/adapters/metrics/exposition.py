"""Prometheus' text format, version 0.0.4: reads a page of metrics."""

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
LONGEST_LINE = 16384  # characters: patterns of the settings are held against its labels
# Of a histogram the page declares the name without these.
PARTS = ("_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Sample:
    """One number."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse_samples(lines: Iterable[str]) -> Iterator[Sample]:
    """The samples of a page; what is no sample is left out."""
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
    """What stands between the braces; None where that is no list of labels."""
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
    """Names that a page declares (# TYPE), with or without a sample yet."""
    words = (line.split() for line in lines if line.startswith("# TYPE "))
    names = {fields[2] for fields in words if len(fields) > 2}
    return names | {name + part for name in names for part in PARTS}


def bucket_limit(labels: Mapping[str, str]) -> float | None:
    """The upper limit of a histogram's bucket; None if it is none."""
    try:
        limit = float(labels.get("le", ""))
    except ValueError:
        return None
    return None if math.isnan(limit) else limit
