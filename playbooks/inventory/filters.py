"""Implement Ansible's filters and tests that inventories use, as ansible-core 2.19 does."""

from __future__ import annotations

import base64
import hashlib
import json
import ntpath
import posixpath
import re
import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from itertools import combinations, permutations, product, zip_longest
from typing import Any, Literal

import yaml
from jinja2 import TemplateRuntimeError, pass_environment
from jinja2.utils import htmlsafe_json_dumps

from playbooks.inventory import expressions
from playbooks.inventory.lazy import MAX_ITEMS, Missing, plain
from playbooks.inventory.more_filters import MORE_FILTERS, MORE_TESTS

# ruff: noqa: ANN401  a filter takes any value

# An expression is read as this Python reads it, and Ansible too, without a word on what it may mean to another one.
warnings.filterwarnings("ignore", message="Possible (nested set|set )", category=FutureWarning)

MAX_INDENT = 80
MAX_COMPARISONS = 10_000_000  # between the items of two lists

_TRUE = ("yes", "on", "true", "1")
_FALSE = ("no", "off", "false", "0")


def _of_plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Pass plain values to a filter: completely templated, nothing undefined."""

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        return function(*map(plain, args), **{key: plain(value) for key, value in kwargs.items()})

    return filtered


def _flags(ignorecase: bool, multiline: bool) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if isinstance(value, Missing) or (boolean and not value) else value


def _mandatory(value: Any, msg: str | None = None) -> Any:
    if isinstance(value, Missing):
        raise TemplateRuntimeError(msg or f"a mandatory variable is not set: {value.reason}")
    return value


def _type_debug(value: Any) -> str:
    return type(plain(value)).__name__


def _bool(value: Any) -> bool:
    word = str(value).lower() if isinstance(value, (str, int)) else value
    if word in _TRUE:
        return True
    return False if word in _FALSE else bool(word == 1)


def _ternary(value: Any, true_val: Any, false_val: Any, none_val: Any = None) -> Any:
    if value is None and none_val is not None:
        return none_val
    return true_val if value else false_val


def _regex_replace(
    value: Any = "", pattern: str = "", replacement: str = "", ignorecase: bool = False, multiline: bool = False,
    count: int = 0, mandatory_count: int = 0,
) -> str:  # fmt: skip
    text, found = expressions.subn(pattern, replacement, str(value), count, _flags(ignorecase, multiline))
    if mandatory_count and found != mandatory_count:
        raise TemplateRuntimeError(f"{pattern!r} should match {mandatory_count} times and matches {found} times")
    return text


def _regex_search(value: Any, regex: str, *groups: str, ignorecase: bool = False, multiline: bool = False) -> Any:
    found = expressions.search(regex, str(value), _flags(ignorecase, multiline))
    if found is None or not groups:
        return found.groups[0] if found else None
    return [found.groups[_group(group, found.names)] for group in groups]


def _group(reference: str, names: Mapping[str, int]) -> int:
    named = re.match(r"\\g<(\S+)>|\\(\d+)", reference)
    if named is None:
        raise TemplateRuntimeError(f"{reference!r} is no group; a group is '\\\\1' or '\\\\g<name>'")
    if named[1] and named[1] not in names:
        raise TemplateRuntimeError(f"the expression has no group {named[1]!r}")
    return names[named[1]] if named[1] else int(named[2])


def _regex_findall(value: Any, regex: str, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    return expressions.findall(regex, str(value), _flags(ignorecase, multiline))


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    isoformat = getattr(value, "isoformat", None)
    if isoformat is None:
        raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
    return isoformat()


def _to_json(value: Any, **options: Any) -> str:
    if isinstance(options.get("indent"), int):
        options["indent"] = _indent(options["indent"])
    return json.dumps(value, default=_json, **options)


def _indent(indent: int) -> int:
    """Limit the indentation, because a huge one fills the memory."""
    if not 0 <= int(indent) <= MAX_INDENT:
        raise TemplateRuntimeError(f"an indent of {indent}; expected from 0 to {MAX_INDENT}")
    return int(indent)


def _to_nice_json(value: Any, indent: int = 4, sort_keys: bool = True, **options: Any) -> str:
    options.pop("separators", None)
    return _to_json(value, indent=_indent(indent), sort_keys=sort_keys, separators=(",", ": "), **options)


def _to_yaml(value: Any, default_flow_style: bool | None = None, **options: Any) -> str:
    if options.get("indent") is not None:
        options["indent"] = _indent(options["indent"])
    options |= {"allow_unicode": True, "default_flow_style": default_flow_style}
    return str(yaml.dump(value, Dumper=yaml.SafeDumper, **options))


def _to_nice_yaml(value: Any, indent: int = 4, default_flow_style: bool = False, **options: Any) -> str:
    return _to_yaml(value, default_flow_style, indent=indent, **options)


def _b64encode(value: str, encoding: str = "utf-8", urlsafe: bool = False) -> str:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    return encode(str(value).encode(encoding)).decode("ascii")


def _b64decode(value: str, encoding: str = "utf-8", urlsafe: bool = False) -> str:
    decode = base64.urlsafe_b64decode if urlsafe else base64.b64decode
    return decode(str(value)).decode(encoding)


def _hash(value: str, hashtype: str = "sha1") -> str:
    return hashlib.new(hashtype, str(value).encode(), usedforsecurity=False).hexdigest()


ListMerge = Literal["replace", "keep", "append", "prepend", "append_rp", "prepend_rp"]


def _combine(*terms: Any, recursive: bool = False, list_merge: ListMerge = "replace") -> dict[Any, Any]:
    dicts = [item for term in terms for item in (term if isinstance(term, list) else [term]) if item is not None]
    result: dict[Any, Any] = {}
    for one in dicts:
        if not isinstance(one, dict):
            raise TypeError(f"combine takes mappings, found a {type(one).__name__}")
        result = _merge(result, one, recursive, list_merge)
    return result


def _merge(low: dict[Any, Any], high: dict[Any, Any], recursive: bool, list_merge: ListMerge) -> dict[Any, Any]:
    result = dict(low)
    for key, value in high.items():
        old = result.get(key)
        if key in result and recursive and isinstance(old, dict) and isinstance(value, dict):
            result[key] = _merge(old, value, recursive, list_merge)
        elif isinstance(old, list) and isinstance(value, list):
            result[key] = _merge_lists(old, value, list_merge)
        else:
            result[key] = value
    return result


def _merge_lists(low: list[Any], high: list[Any], list_merge: ListMerge) -> list[Any]:
    others = [item for item in low if item not in high]
    return {
        "replace": high,
        "keep": low,
        "append": low + high,
        "prepend": high + low,
        "append_rp": others + high,
        "prepend_rp": high + others,
    }[list_merge]


def _flatten(value: Iterable[Any], levels: int | None = None, skip_nulls: bool = True) -> list[Any]:
    result: list[Any] = []
    for item in value:
        if skip_nulls and item in (None, "None", "null"):
            continue
        if isinstance(item, list) and (levels is None or levels >= 1):
            result += _flatten(item, None if levels is None else levels - 1, skip_nulls)
        else:
            result.append(item)
    return result


def _dict2items(value: Mapping[Any, Any], key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    return [{key_name: key, value_name: item} for key, item in value.items()]


def _items2dict(value: Sequence[Mapping[str, Any]], key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    return {item[key_name]: item[value_name] for item in value}


def _comparable(*lists: Any) -> None:
    """Refuse comparisons of all pairs of items that would take minutes."""
    items = sum(len(one) for one in lists)
    if items * items > MAX_COMPARISONS:
        raise TemplateRuntimeError(f"{items:,} items would be compared with each other")


def _union(first: Any, second: Any) -> list[Any]:
    _comparable(first, second)
    return _once([*first, *second])


def _intersect(first: Any, second: Any) -> list[Any]:
    _comparable(first, second)
    return _once(item for item in first if item in second)


def _difference(first: Any, second: Any) -> list[Any]:
    _comparable(first, second)
    return _once(item for item in first if item not in second)


def _once(items: Iterable[Any]) -> list[Any]:
    result: list[Any] = []
    for item in items:
        if item not in result:
            result.append(item)
    return result


def _bounded(groups: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Limit results that grow like a factorial, before they fill the memory."""
    result: list[list[Any]] = []
    items = 0
    for group in groups:
        items += 1 + len(group)
        if items > MAX_ITEMS:
            raise TemplateRuntimeError(f"it would make more than {MAX_ITEMS:,} items")
        result.append(list(group))
    return result


def _path_join(paths: str | list[str]) -> str:
    return posixpath.join(*paths) if isinstance(paths, list) else paths


def _to_datetime(value: str, format: str = "%Y-%m-%d %H:%M:%S") -> datetime:
    return datetime.strptime(value, format)


def _truthy(value: Any, convert_bool: bool = False) -> bool:
    return _bool(value) if convert_bool and isinstance(value, str) else bool(value)


def _split(value: str, *args: Any) -> list[str]:
    return value.split(*args)


@pass_environment
def _extract(environment: Any, item: Any, container: Any, morekeys: Any = None) -> Any:
    more = [] if morekeys is None else list(morekeys) if isinstance(morekeys, list) else [morekeys]
    for key in [item, *more]:
        container = environment.getitem(container, key)
    return container


_PLAIN: dict[str, Callable[..., Any]] = {
    "to_json": _to_json,
    "to_nice_json": _to_nice_json,
    "tojson": lambda value, indent=None: str(
        htmlsafe_json_dumps(value, indent=None if indent is None else _indent(indent), sort_keys=True)
    ),
    "from_json": lambda value: json.loads(value),
    "to_yaml": _to_yaml,
    "to_nice_yaml": _to_nice_yaml,
    "from_yaml": lambda value: yaml.safe_load(value) if isinstance(value, str) else value,
    "b64encode": _b64encode,
    "b64decode": _b64decode,
    "hash": _hash,
    "md5": lambda value: _hash(value, "md5"),
    "sha1": _hash,
    "checksum": _hash,
    "regex_replace": _regex_replace,
    "regex_search": _regex_search,
    "regex_findall": _regex_findall,
    "regex_escape": lambda value: re.escape(str(value)),
    "bool": _bool,
    "quote": lambda value: shlex.quote("" if value is None else str(value)),
    "combine": _combine,
    "flatten": _flatten,
    "items2dict": _items2dict,
    "split": _split,
    "union": _union,
    "intersect": _intersect,
    "difference": _difference,
    "symmetric_difference": lambda a, b: _union(_difference(a, b), _difference(b, a)),
    "zip": lambda *lists: [list(items) for items in zip(*lists, strict=False)],
    "zip_longest": lambda *lists, fillvalue=None: [list(items) for items in zip_longest(*lists, fillvalue=fillvalue)],
    "product": lambda *lists: _bounded(product(*lists)),
    "combinations": lambda value, size: _bounded(combinations(value, size)),
    "permutations": lambda value, size=None: _bounded(permutations(value, size)),
    "basename": posixpath.basename,
    "dirname": posixpath.dirname,
    "expanduser": posixpath.expanduser,
    "normpath": posixpath.normpath,
    "splitext": lambda value: list(posixpath.splitext(value)),
    "win_basename": ntpath.basename,
    "win_dirname": ntpath.dirname,
    "path_join": _path_join,
    "to_datetime": _to_datetime,
}

FILTERS: dict[str, Callable[..., Any]] = {
    name: _of_plain(function) for name, function in {**_PLAIN, **MORE_FILTERS}.items()
} | {
    "dict2items": _dict2items,  # without plain values, because entries of hostvars need the host that is being resolved
    "default": _default,
    "d": _default,
    "mandatory": _mandatory,
    "type_debug": _type_debug,
    "ternary": _ternary,
    "extract": _extract,
}

TESTS: dict[str, Callable[..., Any]] = {
    "match": lambda value, pattern, ignorecase=False, multiline=False: bool(
        expressions.match(pattern, str(value), _flags(ignorecase, multiline))
    ),
    "search": lambda value, pattern, ignorecase=False, multiline=False: bool(
        expressions.search(pattern, str(value), _flags(ignorecase, multiline))
    ),
    "regex": lambda value, pattern, ignorecase=False, multiline=False: bool(
        expressions.search(pattern, str(value), _flags(ignorecase, multiline))
    ),
    "subset": lambda a, b: set(a) <= set(b),
    "superset": lambda a, b: set(a) >= set(b),
    "contains": lambda container, item: item in container,
    "truthy": lambda value, convert_bool=False: bool(
        _bool(value) if convert_bool and isinstance(value, str) else value
    ),
    "falsy": lambda value, convert_bool=False: not (_bool(value) if convert_bool and isinstance(value, str) else value),
    "any": any,
    "all": all,
    **MORE_TESTS,
}
