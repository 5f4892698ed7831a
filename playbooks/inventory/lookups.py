"""Define what templates can call: lookup() and query(), now(), omit. None runs a program or writes a file."""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from jinja2 import TemplateRuntimeError, pass_context
from jinja2.utils import missing

from playbooks.core.errors import ConfigError
from playbooks.core.surroundings import own_path
from playbooks.inventory.document import read_text
from playbooks.inventory.fence import NOT_READ
from playbooks.inventory.jinja import VariablesContext
from playbooks.inventory.lazy import OMIT, Missing, plain
from playbooks.inventory.more_filters import password_hash, random_choice
from playbooks.inventory.vault import Vault, VaultError, is_encrypted

Find = Callable[[str], object]
_OUTSIDE = frozenset(["env", "file", "template", "password", "first_found", "fileglob"])
# Passwords often come from these lookups without a vault, so their values are secret.
_SECRET = frozenset(["env", "file", "password", "template"])
_KNOWN = ("dict", "env", "file", "fileglob", "first_found", "items", "password", "template", "vars")
_RUNS = ("pipe", "lines")
_CHARACTERS = ("ascii_letters", "digits", ".,:-_")
_MAX_CHARACTERS = 10_000


@dataclass(frozen=True)
class Surroundings:
    """The context of lookups.

    Args:
        find: returns a variable's value, or a Missing.
        folders: the folders for relative file names, in order.
        vault: decrypts files.
        render: renders a template's text; its second argument covers the host's variables.
    """

    find: Find
    folders: list[Path]
    vault: Vault
    render: Callable[[str, Mapping[str, Any]], object]


def look_up(kind: str, terms: list[Any], options: Mapping[str, Any], around: Surroundings) -> list[Any]:
    """Run a lookup.

    Args:
        kind: the lookup's name, without "ansible.builtin.".
        terms: the terms.
        options: the lookup's keyword arguments.
        around: the context.

    Raises:
        TemplateRuntimeError: the lookup does not exist, or finds nothing.
    """
    each: dict[str, Callable[[Any], Any]] = {
        "env": lambda term: os.environ.get(str(term), options.get("default", "")),
        "file": lambda term: _strip(_read(str(term), "file", around), options),
        "vars": lambda term: _variable(str(term), options, around.find),
        "template": lambda term: _template(str(term), options, around),
        "password": lambda term: _password(str(term), options, around),
    }
    together: dict[str, Callable[[], list[Any]]] = {
        "dict": lambda: [{"key": key, "value": value} for term in terms for key, value in term.items()],
        "items": lambda: terms,
        "first_found": lambda: _first_found(terms, options, around),
        "fileglob": lambda: [path for term in terms for path in _matching(str(term), around)],
    }
    if kind in each:
        return [each[kind](term) for term in terms]
    if kind in together:
        return together[kind]()
    if kind in _RUNS:
        raise TemplateRuntimeError(
            f"the lookup {kind!r} runs a program on this machine, and no inventory may; write down what it prints, or "
            "put it into a variable of the environment: lookup('env', 'NAME')"
        )
    raise TemplateRuntimeError(f"the lookup {kind!r} is not available here; there are {', '.join(_KNOWN)}")


def _places(name: str, around: Surroundings, kind: str = "files") -> list[Path]:
    named = own_path(name)
    if named.is_absolute():
        return [named]
    playbook, *_, inventory = around.folders[1:]
    return [folder / named for folder in (playbook / kind, playbook, inventory / kind, inventory)]


def _template(name: str, options: Mapping[str, Any], around: Surroundings) -> object:
    refused = sorted(set(options) - {"template_vars"})
    if refused:
        raise TemplateRuntimeError(f"lookup('template') does not take {refused[0]} here")
    for path in _places(name, around, "templates"):
        if path.is_file():
            return around.render(_text(path, around.vault), options.get("template_vars", {}))
    raise TemplateRuntimeError(f"lookup('template'): there is no file {name!r}")


def _first_found(terms: list[Any], options: Mapping[str, Any], around: Surroundings) -> list[str]:
    asked = [term if isinstance(term, Mapping) else {"files": [term]} for term in terms] or [options]
    skip = any(_of(one, options, "skip") for one in asked)
    for one in asked:
        names, paths = _listed(one.get("files", [])), _listed(_of(one, options, "paths") or [])
        for name in [os.path.join(path, name) for path in paths for name in names] or names:  # noqa: PTH118
            # Not in files/, like Ansible outside of a role; an absolute path has one place.
            for path in _places(name, around)[-3:]:
                if path.exists():
                    return [str(path)]
    if skip:
        return []
    raise TemplateRuntimeError("lookup('first_found'): there is none of these files; skip=true allows that")


def _of(one: Mapping[str, Any], options: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401
    return one.get(key, options.get(key))


def _listed(value: Any) -> list[str]:  # noqa: ANN401
    return [value] if isinstance(value, str) else [str(item) for item in value]


def _matching(pattern: str, around: Surroundings) -> list[str]:
    """Return files that match a pattern, from the first folder that has any. Ansible's order is that of the folder."""
    folder, name = os.path.split(pattern)
    bases = [base for base in _places(folder, around) if base.is_dir()] if folder else around.folders
    for base in bases[:1] if folder else bases:
        found = sorted(str(path) for path in base.glob(name) if path.is_file()) if base.is_dir() else []
        if found:
            return found
    return []


def _password(term: str, options: Mapping[str, Any], around: Surroundings) -> str:
    """Read a password from a file that Ansible made, or make one from a seed. Nothing is written."""
    name, *pairs = term.split(" ")
    # As in Ansible, options after the file name replace the keyword arguments.
    given = dict(pair.split("=", 1) for pair in pairs if "=" in pair) or dict(options)
    salt = None
    if name == "/dev/null":
        password = _made(given)
    else:
        path = own_path(name)
        path = path if path.is_absolute() else around.folders[1] / path
        if not path.is_file():
            raise TemplateRuntimeError(
                f"lookup('password'): there is no file {str(path)!r}. Ansible would make a password and write it; "
                "Slipway writes nothing: run Ansible first, or write the password yourself"
            )
        password, _, rest = _text(path, around.vault).rstrip().partition(" salt=")
        salt = rest.partition(" ident=")[0] or None
    return password_hash(password, str(given["encrypt"]), salt) if given.get("encrypt") else password


def _made(given: Mapping[str, Any]) -> str:
    chars = given.get("chars", _CHARACTERS)
    if isinstance(chars, str):
        chars = [*([","] if ",," in chars else []), *(one for one in chars.replace(",,", ",").split(",") if one)]
    letters = "".join(_LETTERS.get(one, one) for one in chars).replace('"', "").replace("'", "")
    length = int(given.get("length", 20))
    if not 0 < length <= _MAX_CHARACTERS:
        raise TemplateRuntimeError(f"a password of {length} characters")
    seed = given.get("seed")
    return (
        "".join(random_choice(letters, seed=None) for _ in range(length))
        if seed is None
        else _seeded(letters, length, seed)
    )


def _seeded(letters: str, length: int, seed: Any) -> str:  # noqa: ANN401
    rng = Random(seed)  # noqa: S311  the same again each time, as in Ansible
    return "".join(rng.choice(letters) for _ in range(length))


_LETTERS = {
    name: getattr(string, name)
    for name in (
        *("ascii_letters", "ascii_lowercase", "ascii_uppercase", "digits", "hexdigits", "octdigits", "printable"),
        *("punctuation", "whitespace"),
    )
}


def _variable(name: str, options: Mapping[str, Any], find: Find) -> object:
    value = find(name)
    return options["default"] if isinstance(value, Missing) and "default" in options else value


def _read(name: str, kind: str, around: Surroundings) -> str:
    named = own_path(name)
    for path in [named] if named.is_absolute() else [folder / named for folder in around.folders]:
        if path.is_file():
            return _text(path, around.vault)
    looked = "" if named.is_absolute() else f"; looked in {', '.join(map(str, around.folders))}"
    raise TemplateRuntimeError(f"lookup('{kind}'): there is no file {name!r}{looked}")


def _text(path: Path, vault: Vault) -> str:
    try:
        text = read_text(path)
        return vault.decrypt(text) if is_encrypted(text) else text
    except ConfigError as error:
        raise TemplateRuntimeError(error.problems[0].rstrip(".")) from None
    except VaultError as error:
        raise TemplateRuntimeError(f"{path}: {error}") from None


def _strip(text: str, options: Mapping[str, Any]) -> str:
    text = text.rstrip() if options.get("rstrip", True) else text
    return text.lstrip() if options.get("lstrip", False) else text


def template_globals() -> dict[str, Any]:
    @pass_context
    def query(context: VariablesContext, kind: str, *terms: Any, **options: Any) -> list[Any]:  # noqa: ANN401
        scope = context.variables
        inventory = scope.resolver.inventory
        flat = [item for term in terms for item in (plain(term) if isinstance(term, (list, tuple)) else [plain(term)])]
        folders = [inventory.playbook_dir / "files", inventory.playbook_dir, inventory.folder]

        def find(name: str) -> object:
            value = scope.find(name)
            value = scope.unknown if value is missing else value
            return Missing(name=name) if value is missing else value

        name = kind.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
        if name in _OUTSIDE and not inventory.fence.trusts:
            return [NOT_READ for _ in flat]
        if name in _SECRET:
            scope.resolver.touched[-1] = True

        def render(text: str, extra: Mapping[str, Any]) -> object:
            return scope.resolver.included(scope, text, extra)

        return look_up(name, flat, options, Surroundings(find, folders, inventory.vars_files.vault, render))

    @pass_context
    def lookup(context: VariablesContext, kind: str, *terms: Any, **options: Any) -> Any:  # noqa: ANN401
        wanted_as_list = options.pop("wantlist", False)
        found = query(context, kind, *terms, **options)
        if wanted_as_list:
            return found
        if found and all(isinstance(item, str) for item in found):
            return ",".join(found)
        return found[0] if len(found) == 1 else found

    return {
        "lookup": lookup,
        "query": query,
        "q": query,
        "omit": OMIT,
        "now": _now,
    }


def _now(utc: bool = False, fmt: str | None = None) -> datetime | str:
    moment = datetime.now(UTC) if utc else datetime.now().astimezone()
    moment = moment.replace(tzinfo=None)
    return moment.strftime(fmt) if fmt else moment
