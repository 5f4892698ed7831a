"""Match host patterns: `web:&eu:!web3`, globs, `~regex`, `web[0:2]`, `@file`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from fnmatch import translate
from functools import partial
from pathlib import Path

from playbooks.core.counting import counted
from playbooks.core.errors import UsageError
from playbooks.inventory import expressions
from playbooks.inventory.model import Inventory
from playbooks.inventory.ranges import split_port

_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]{1,9})|([0-9]{1,9})[:-]([0-9]{0,9}))\]")
_PIECE = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_SPECIAL = (".", "?", "*", "[")
_SHOWN = 12


def select(inventory: Inventory, pattern: str, *, files: bool = False) -> list[str]:
    """Return the hosts that a pattern matches, in Ansible's order (that of `ansible PATTERN --list-hosts`).

    Args:
        inventory: the inventory.
        pattern: the pattern.
        files: whether `@file` may name a file of patterns. Allow this only for a pattern that a person types: errors
            show the file's content, so an inventory could expose any file.

    Raises:
        UsageError: a part of the pattern matches nothing, or no host is left.
    """
    chosen: list[str] = []
    for part in _in_order(_parts(pattern, files=files)):
        matched = _matching(inventory, part)
        if part[0] == "!":
            chosen = [name for name in chosen if name not in set(matched)]
        elif part[0] == "&":
            chosen = [name for name in chosen if name in set(matched)]
        else:
            chosen += matched
    if not chosen:
        raise UsageError(f"The pattern {pattern!r} matches no host.", hint=_known(inventory))
    return list(dict.fromkeys(chosen))


def limit(inventory: Inventory, pattern: str, *, within: str = "all") -> list[str]:
    """Return the hosts of `within` that `--limit=pattern` leaves, in the order of `within`, as ansible-playbook does.

    Raises:
        UsageError: a part of a pattern matches nothing, or no host is left.
    """
    allowed = set(select(inventory, pattern, files=True))
    left = [name for name in select(inventory, within) if name in allowed]
    if not left:
        raise UsageError(f"--limit={pattern} leaves no host of {within!r}.", hint=_known(inventory))
    return left


def _parts(pattern: str, *, files: bool) -> list[str]:
    """Split a pattern at commas; or else, unless it is an address, at colons outside brackets."""
    if "," in pattern:
        pieces = pattern.split(",")
    elif _is_single(pattern):
        pieces = [pattern]
    else:
        pieces = _PIECE.findall(pattern)
    parts: list[str] = []
    for piece in (piece.strip() for piece in pieces):
        if piece.startswith("@"):
            if not files:
                raise UsageError(f"The pattern {pattern!r} names a file; only --limit may.")
            parts += _from_file(Path(piece[1:]))
        elif piece.lstrip("!&~"):
            parts.append(piece)
        elif piece:
            raise UsageError(f"The pattern {pattern!r} has {piece!r} with nothing behind it.")
    if not parts:
        raise UsageError(f"The pattern {pattern!r} is empty.", hint="use 'all' for every host")
    return parts


def _is_single(pattern: str) -> bool:
    from playbooks.inventory.ranges import is_address

    name, port = split_port(pattern)
    return port is not None or is_address(name)


def _from_file(file: Path) -> list[str]:
    try:
        text = file.expanduser().read_text(encoding="utf-8")
    except RuntimeError:
        raise UsageError(f"The file of hosts {file} is in the home of a user that there is not.") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"The file of hosts {file} cannot be read: {reason}.") from None
    return [line.strip() for line in text.split("\n") if line.strip()]


def _in_order(parts: Iterable[str]) -> list[str]:
    """Order the parts: plain ones, those with &, those with !; use "all" if there is no plain part."""
    parts = list(parts)
    plain = [part for part in parts if part[0] not in "&!"] or ["all"]
    return plain + [part for part in parts if part[0] == "&"] + [part for part in parts if part[0] == "!"]


def _matching(inventory: Inventory, part: str) -> list[str]:
    if part in inventory.hosts:
        return [part]
    bare = part[1:] if part[0] in "&!" else part
    subscript = None if bare[0] == "~" else _SUBSCRIPT.fullmatch(bare)
    matched = _by_name(inventory, subscript[1] if subscript else bare)
    if matched is None:
        if part[0] == "!" and (bare[0] == "~" or any(sign in bare for sign in "*?[")):
            return []  # an exclusion may match nothing
        mixed = " In one pattern use commas or colons, not both." if ":" in bare else _near(inventory, bare)
        raise UsageError(f"{bare!r} matches no group and no host.{mixed}", hint=_known(inventory))
    return _slice(matched, subscript, bare) if subscript and matched else matched


def _by_name(inventory: Inventory, expression: str) -> list[str] | None:
    """Return the hosts of all matching groups, and matching hosts; None if nothing matches."""
    # fnmatch.translate makes expressions without backtracking.
    fits: Callable[[str], object]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            compiled = re.compile(expression[1:] if expression[0] == "~" else translate(expression))
        fits = partial(expressions.match, expression[1:]) if expression[0] == "~" else compiled.match
        groups = [group for name, group in inventory.groups.items() if fits(name)]
        matched = [host for group in groups for host in group.hosts]
        if not groups or expression[0] == "~" or any(sign in expression for sign in _SPECIAL):
            matched += [name for name in inventory.hosts if fits(name)]
    except FutureWarning as warning:  # a later Python will read the expression differently
        message = f"The pattern {expression!r} is unclear: {str(warning).lower()}."
        raise UsageError(message, hint="put a backslash before a bracket, dash, & or | that is meant as such") from None
    except (re.error, RecursionError, OverflowError, expressions.TooCostly) as error:
        raise UsageError(f"The pattern {expression!r} is no valid expression: {error}.") from None
    return matched if matched or groups else None


def _slice(matched: list[str], subscript: re.Match[str], part: str) -> list[str]:
    _, index, start, end = subscript.groups()
    if index is None and end != "0":
        return matched[int(start) : int(end) + 1 if end else None]
    at = int(index if index is not None else start)
    try:
        return [matched[at]]
    except IndexError:
        count = counted(len(matched), "host")
        raise UsageError(f"{part!r} is outside: {subscript[1]!r} has {count}, counted from 0.") from None


def _near(inventory: Inventory, name: str) -> str:
    groups = [group for group in inventory.groups if group != "ungrouped"]  # because many words are similar to it
    near = get_close_matches(name, [*groups, *inventory.hosts], n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _known(inventory: Inventory) -> str:
    return f"groups: {_listed(inventory.groups)}; hosts: {_listed(inventory.hosts)}"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more
