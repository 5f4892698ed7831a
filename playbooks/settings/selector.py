"""Selectors of metrics as Prometheus writes them: name{label="value",other=~"pattern"}."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_CONDITION = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')
_SELECTOR = re.compile(rf"\s*({_NAME})\s*(?:\{{(.*)\}})?\s*", re.DOTALL)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


@dataclass(frozen=True)
class Condition:
    """One label's condition; a label that is not there is empty."""

    label: str
    operator: str
    value: str

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels fulfil it."""
        found = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (found == self.value) == (self.operator == "=")
        return (re.fullmatch(self.value, found) is not None) == (self.operator == "=~")


@dataclass(frozen=True)
class Selector:
    """Which samples are meant."""

    name: str
    conditions: tuple[Condition, ...] = ()

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Whether a sample of this name with these labels is meant."""
        return all(condition.holds(labels) for condition in self.conditions)

    @property
    def labels(self) -> set[str]:
        """Labels that it looks at."""
        return {condition.label for condition in self.conditions}


def parse_selector(text: str) -> Selector:
    """Read a selector.

    Raises:
        ValueError: it is none.
    """
    match = _SELECTOR.fullmatch(text)
    if not match:
        raise ValueError('expected a metric such as http_requests_total{status=~"5.."}')
    conditions, rest = [], (match[2] or "").strip()
    while rest:
        found = _CONDITION.match(rest)
        if not found:
            raise ValueError(f'expected label="value" with one of = != =~ !~, found {rest[:40]!r}')
        label, operator, value = found[1], found[2], unescape(found[3])
        _refuse_no_pattern(operator, value)
        conditions.append(Condition(label, operator, value))
        rest = rest[found.end() :]
        if rest and not rest.startswith(","):
            raise ValueError(f"expected a comma between conditions, found {rest[:40]!r}")
        rest = rest[1:].strip()
    return Selector(match[1], tuple(conditions))


def selector_text(text: str) -> str:
    """The text, if it is a selector.

    Raises:
        ValueError: it is none.
    """
    parse_selector(text)
    return text


def unescape(text: str) -> str:
    """A label's value as it is, out of how it is written."""
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], "\\" + match[1]), text)


def _refuse_no_pattern(operator: str, value: str) -> None:
    if operator.endswith("~"):
        try:
            with warnings.catch_warnings(
                action="ignore"
            ):  # what Python's next version makes of it, Prometheus does not
                re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
