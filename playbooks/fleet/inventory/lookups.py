"""What templates can call: lookup() and query() of env, file and vars, now(), omit. Nothing runs a program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import TemplateRuntimeError, pass_context
from jinja2.utils import missing

from playbooks.errors import ConfigError
from playbooks.fleet.inventory.document import read_text
from playbooks.fleet.inventory.fence import NOT_READ
from playbooks.fleet.inventory.jinja import VariablesContext
from playbooks.fleet.inventory.lazy import OMIT, Missing, plain
from playbooks.fleet.inventory.vault import Vault, VaultError, is_encrypted
from playbooks.surroundings import own_path

Find = Callable[[str], object]


def look_up(
    kind: str,
    terms: list[Any],
    options: Mapping[str, Any],
    *,
    find: Find,
    folders: list[Path],
    vault: Vault,
) -> list[Any]:
    """What a lookup finds, one result for each term.

    Args:
        kind: env, file or vars; "ansible.builtin." before it is allowed.
        terms: what is looked for.
        options: the lookup's keyword arguments.
        find: gives a variable's value, or something Missing.
        folders: where a relative file name is looked for, in order.
        vault: decrypts files that are encrypted.

    Raises:
        TemplateRuntimeError: there is no such lookup, or no such file.
    """
    name = kind.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
    if name == "env":
        return [os.environ.get(str(term), options.get("default", "")) for term in terms]
    if name == "file":
        return [_strip(_read(str(term), folders, vault), options) for term in terms]
    if name == "vars":
        return [_variable(str(term), options, find) for term in terms]
    raise TemplateRuntimeError(f"the lookup {kind!r} is not available here; env, file and vars are")


def _variable(name: str, options: Mapping[str, Any], find: Find) -> object:
    value = find(name)
    return options["default"] if isinstance(value, Missing) and "default" in options else value


def _read(name: str, folders: list[Path], vault: Vault) -> str:
    named = own_path(name)
    for path in [named] if named.is_absolute() else [folder / named for folder in folders]:
        if path.is_file():
            try:
                text = read_text(path)
                return vault.decrypt(text) if is_encrypted(text) else text
            except ConfigError as error:
                raise TemplateRuntimeError(error.problems[0].rstrip(".")) from None
            except VaultError as error:
                raise TemplateRuntimeError(f"{path}: {error}") from None
    looked = "" if named.is_absolute() else f"; looked in {', '.join(map(str, folders))}"
    raise TemplateRuntimeError(f"lookup('file'): there is no file {name!r}{looked}")


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

        outside = kind.rpartition(".")[2] in ("env", "file")
        if outside and not inventory.fence.trusts:
            return [NOT_READ for _ in flat]
        if outside:
            scope.resolver.touched[-1] = True  # where passwords come from when there is no vault
        return look_up(kind, flat, options, find=find, folders=folders, vault=inventory.vars_files.vault)

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
