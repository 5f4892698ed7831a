"""Implement Ansible's rarer filters and tests: versions, sizes, addresses, seeded choices, hashes."""

from __future__ import annotations

import operator
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from random import Random, SystemRandom
from typing import Any
from urllib.parse import urlsplit

from jinja2 import TemplateRuntimeError
from packaging.version import InvalidVersion
from packaging.version import Version as Pep440

from playbooks.inventory.sha_crypt import sha_crypt

# ruff: noqa: ANN401  a filter takes any value

_NAMESPACE = uuid.UUID("361E6D51-FAEC-444A-9079-341386DA8E2E")  # Ansible's
_SIZES = {unit: 1 << (10 * power) for power, unit in enumerate("BKMGTPEZY")}
_WORDS = dict(zip("BKMGTPEZY", ("", "kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta"), strict=True))
_SIZE = re.compile(r"([0-9]{0,400}\.?[0-9]{1,400})(?:\s*([A-Za-z]+))?\s*")
_SALT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./"
_MAX_LINES = 10_000
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("==", "=", "eq"), operator.eq),
    **dict.fromkeys(("<", "lt"), operator.lt),
    **dict.fromkeys(("<=", "le"), operator.le),
    **dict.fromkeys((">", "gt"), operator.gt),
    **dict.fromkeys((">=", "ge"), operator.ge),
    **dict.fromkeys(("!=", "<>", "ne"), operator.ne),
}
_STRICT = re.compile(r"(\d{1,99})\.(\d{1,99})(?:\.(\d{1,99}))?(?:([ab])(\d{1,99}))?", re.ASCII)
_SEMVER = re.compile(r"(\d{1,99})\.(\d{1,99})\.(\d{1,99})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)


def random_choice(end: Any, start: int | None = None, step: int | None = None, seed: Any = None) -> Any:
    """Choose a number below `end`, or an item of it; a seed gives the same choice each time."""
    rng = SystemRandom() if seed is None else Random(seed)  # noqa: S311  whoever gives a seed wants the same again
    if isinstance(end, int):
        return rng.randrange(start or 0, end, step or 1)
    if start or step:
        raise TemplateRuntimeError("start and step are for random of a whole number")
    return rng.choice(end)


def _to_uuid(value: Any, namespace: Any = _NAMESPACE) -> str:
    space = namespace if isinstance(namespace, uuid.UUID) else uuid.UUID(str(namespace))
    return str(uuid.uuid5(space, str(value)))


def password_hash(
    value: Any, hashtype: str = "sha512", salt: str | None = None, salt_size: int | None = None,
    rounds: int | None = None, **others: Any,
) -> str:  # fmt: skip
    """Hash a password for /etc/shadow: sha512 or sha256."""
    kind = hashtype.removesuffix("_crypt")
    if kind not in ("sha512", "sha256") or others.get("ident"):
        raise TemplateRuntimeError(f"password_hash makes sha512 and sha256 here, not {hashtype!r}")
    salt = salt or "".join(secrets.choice(_SALT) for _ in range(min(salt_size or 16, 16)))
    return sha_crypt(str(value), kind, salt, rounds or {"sha512": 656_000, "sha256": 535_000}[kind])


def _human_readable(size: Any, isbits: bool = False, unit: str | None = None) -> str:
    fits = [key for key in _SIZES if (size >= _SIZES[key] if unit is None else unit.upper() == key)]
    key = fits[-1] if fits else "B"
    name = ("bits" if isbits else "Bytes") if key == "B" else key + ("b" if isbits else "B")
    return f"{size / _SIZES[key]:.2f} {name}"


def _human_to_bytes(value: Any, default_unit: str | None = None, isbits: bool = False) -> int:
    found = _SIZE.fullmatch(str(value))
    if found is None:
        raise TemplateRuntimeError(f"{value!r} is no size, such as 10M")
    unit = found[2] or default_unit
    if not unit:
        return round(float(found[1]))
    key = unit[0].upper()
    letter, word = ("b", "bit") if isbits else ("B", "byte")
    whole = {key.upper() + letter if key != "B" else letter}
    known = key in _SIZES and (len(unit) == 1 or unit in whole or unit.lower() == _WORDS[key] + word)
    if not known:
        raise TemplateRuntimeError(f"{value!r} has no unit of size; expected one of {', '.join(_SIZES)}")
    return round(float(found[1]) * _SIZES[key])


def _subelements(value: Any, subelements: Any, skip_missing: bool = False) -> list[list[Any]]:
    steps = subelements.split(".") if isinstance(subelements, str) else list(subelements)
    result = []
    for element in list(value.values()) if isinstance(value, dict) else value:
        inner = element
        for step in steps:
            if step not in inner and skip_missing:
                inner = []
                break
            inner = inner[step]
        if not isinstance(inner, list):
            raise TemplateRuntimeError(f"{subelements!r} should be a list")
        result += [[element, item] for item in inner]
    return result


def _urlsplit(value: str, query: str = "") -> Any:
    found = urlsplit(value)
    names = ("fragment", "hostname", "netloc", "password", "path", "port", "query", "scheme", "username")
    parts = {name: getattr(found, name) for name in names}
    if query and query not in parts:
        raise TemplateRuntimeError(f"a URL has no {query!r}; it has {', '.join(parts)}")
    return parts[query] if query else parts


_STYLES: dict[str, dict[str, str]] = {
    "plain": {"decoration": "# "},
    "erlang": {"decoration": "% "},
    "c": {"decoration": "// "},
    "cblock": {"beginning": "/*", "decoration": " * ", "end": " */"},
    "xml": {"beginning": "<!--", "decoration": " - ", "end": "-->"},
}


def _comment(text: str, style: str = "plain", **given: Any) -> str:
    if style not in _STYLES:
        raise TemplateRuntimeError(f"{style!r} is no style of comment; there are {', '.join(_STYLES)}")
    parts: dict[str, Any] = {"newline": "\n", "beginning": "", "end": "", **_STYLES[style], **given}
    mark, line = parts["decoration"], parts["newline"]
    counts = [int(parts.get(f"{name}_count", 1)) for name in ("prefix", "postfix")]
    if max(counts) > _MAX_LINES:
        raise TemplateRuntimeError(f"a comment of more than {_MAX_LINES:,} lines")
    prefix, postfix = (parts.get(name, mark.rstrip()) for name in ("prefix", "postfix"))
    before = (prefix if prefix == line else prefix + line) * counts[0] if prefix else ""
    body = (mark + text.replace(line, line + mark)).replace(mark + line, mark.rstrip() + line)
    beginning = parts["beginning"] + line if parts["beginning"] else ""
    return f"{beginning}{before}{body}{(line + postfix) * counts[1]}{line + parts['end'] if parts['end'] else ''}"


def _strftime(form: str, second: Any = None, utc: bool = False) -> str:
    return time.strftime(form, (time.gmtime if utc else time.localtime)(None if second is None else float(second)))


def _loose(text: str) -> list[int | str]:
    """Compare numbers as numbers and words as words; a number and a word cannot be compared, as in Ansible."""
    parts = [part for part in re.split(r"(\d+|[a-z]+|\.)", text) if part and part != "."]
    return [int(part) if part.isdecimal() else part for part in parts]


def _strict(text: str) -> tuple[Any, ...]:
    found = _STRICT.fullmatch(text)
    if found is None:
        raise TemplateRuntimeError(f"{text!r} is no strict version, such as 1.2 or 1.2.3b1")
    before = (found[4], int(found[5])) if found[4] else ("z", 0)
    return (int(found[1]), int(found[2]), int(found[3] or 0), before)


def _semver(text: str) -> tuple[Any, ...]:
    found = _SEMVER.fullmatch(text)
    if found is None:
        raise TemplateRuntimeError(f"{text!r} is no semantic version, such as 1.2.3-rc.1")
    parts: Iterable[str] = found[4].split(".") if found[4] else ()
    before = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return (*(int(found[at]) for at in (1, 2, 3)), not before, before)


_READ: dict[str, Callable[[str], Any]] = {
    "loose": _loose,
    "strict": _strict,
    "semver": _semver,
    "semantic": _semver,
    "pep440": Pep440,
}


def _version(
    value: Any, version: Any, operator: str = "eq", strict: bool | None = None, version_type: str | None = None
) -> bool:
    if strict is not None and version_type is not None:
        raise TemplateRuntimeError("version takes strict or version_type, not both")
    kind = version_type or ("strict" if strict else "loose")
    for name, known in ((kind, _READ), (operator, _OPERATORS)):
        if name not in known:
            raise TemplateRuntimeError(f"version does not know {name!r}; it knows {', '.join(known)}")
    if value in (None, "") or version in (None, ""):
        raise TemplateRuntimeError("version has nothing to compare")
    try:
        return bool(_OPERATORS[operator](_READ[kind](str(value)), _READ[kind](str(version))))
    except (TypeError, InvalidVersion) as error:
        raise TemplateRuntimeError(f"{value} and {version} cannot be compared as versions: {error}") from None


MORE_FILTERS: Mapping[str, Callable[..., Any]] = {
    "random": random_choice,
    "to_uuid": _to_uuid,
    "password_hash": password_hash,
    "human_readable": _human_readable,
    "human_to_bytes": _human_to_bytes,
    "subelements": _subelements,
    "urlsplit": _urlsplit,
    "comment": _comment,
    "strftime": _strftime,
}
MORE_TESTS: Mapping[str, Callable[..., Any]] = {"version": _version, "version_compare": _version}
