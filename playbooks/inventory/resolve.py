"""Resolve Jinja2 in the variables of all hosts."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateSyntaxError
from jinja2.utils import missing

from playbooks.core.errors import ConfigError
from playbooks.inventory.document import Origin
from playbooks.inventory.jinja import keep_backslashes, new_environment
from playbooks.inventory.lazy import OMIT, plain
from playbooks.inventory.literals import Literals
from playbooks.inventory.lookups import template_globals
from playbooks.inventory.scope import Scope, Unresolved, reason

_NOT_LISTED = ("hostvars", "vars")  # each contains all variables


class ResolvedVars(Mapping[str, Any]):
    """A host's variables; each is resolved on access.

    Iteration gives the names of the inventory's variables and of Ansible's own (inventory_hostname, …), except
    `hostvars`. Access to a value that cannot be resolved raises ConfigError.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._known: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401  a variable's value is anything
        literal = self._scope.literal(key)
        if literal is not missing:
            return literal
        with self._scope.resolver.lock:
            if key not in self._known:
                self._known[key] = self._scope.final(key)
            value = self._known[key]
        if value is OMIT:
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401  spares an exception for what there is not
        return super().get(key, default) if key in self else default

    def __contains__(self, key: object) -> bool:
        return key in self._scope.raw or key in self._scope.magic

    def __iter__(self) -> Iterator[str]:
        yield from self._scope.raw
        yield from (name for name in self._scope.magic if name not in self._scope.raw and name not in _NOT_LISTED)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def starting_with(self, prefix: str, *, but: Collection[str] = ()) -> dict[str, Any]:
        """Return the variables whose names start with a prefix, without resolving others.

        Args:
            prefix: the prefix of their names.
            but: names that are not resolved either.

        Raises:
            ConfigError: variables cannot be resolved; the message names all of them.
        """
        found: dict[str, Any] = {}
        problems: list[str] = []
        for key in self:
            if not key.startswith(prefix) or key in but:
                continue
            try:
                found[key] = self[key]
            except KeyError:
                continue  # omitted
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return found

    def is_secret(self, key: str) -> bool:
        """Resolve a value, and return whether it was encrypted, came from the environment or a file, or contains such.

        Raises:
            ConfigError: the value cannot be resolved.
        """
        if self._scope.literal(key) is missing:
            self.get(key)
        return key in self._scope.secret


class Resolver:
    """Resolves the variables of all hosts of an inventory. Threads may share it."""

    def __init__(self, inventory: Unresolved) -> None:
        self.inventory: Unresolved = inventory
        self.lock = threading.RLock()
        self.environment = new_environment()
        self.files = new_environment(files=True)
        for environment in (self.environment, self.files):
            environment.globals.update(template_globals())
            if not inventory.fence.trusts:  # ~ depends on this machine's environment and users
                environment.filters |= dict.fromkeys(("expanduser", "ansible.builtin.expanduser"), str)
        self.touched: list[bool] = [False]  # for each value being resolved, whether it used a secret
        self.literals = Literals()
        self._scopes: dict[str, Scope] = {}
        self._vars: dict[str, ResolvedVars] = {}
        self._templates: dict[str, Template] = {}

    def vars_of(self, host: str) -> ResolvedVars:
        """Return a host's variables."""
        with self.lock:
            if host not in self._vars:
                self._vars[host] = ResolvedVars(self.scope(host))
            return self._vars[host]

    def scope(self, host: str) -> Scope:
        if host not in self._scopes:
            self._scopes[host] = Scope(self, host)
        return self._scopes[host]

    def compiled(self, text: str) -> Template:
        if text not in self._templates:
            self._templates[text] = self.environment.from_string(keep_backslashes(self.environment, text))
        return self._templates[text]

    def included(self, scope: Scope, text: str, extra: Mapping[str, Any]) -> object:
        """Return the result of lookup('template'): a template rendered with a host's variables."""
        return scope.run(self.files.from_string(text), extra)

    def render(self, host: str, template: str, file: Path, extra: Mapping[str, Any]) -> str:
        """Render a template file's text; see Inventory.render."""
        with self.lock:
            scope = self.scope(host)
            compiled: Template | None = None
            try:
                compiled = self.files.from_string(template)
                result = scope.run(compiled, extra)
                return "" if result is None else str(plain(result))
            except TemplateSyntaxError as error:
                raise ConfigError([f"{Origin(file, error.lineno)}: {(error.message or '').rstrip('.')}."]) from None
            except RecursionError:
                raise ConfigError([f"{Origin(file)} on host {host}: it is nested too deeply."]) from None
            except Exception as error:  # noqa: BLE001  an expression can raise anything
                where = Origin(file, _line_in(compiled, error) if compiled else None)
                raise ConfigError([f"{where} on host {host}: {reason(error)}."]) from None


def _line_in(template: Template, error: Exception) -> int | None:
    """Return the line of a template that raised an error, if the error is from the template itself."""
    at, line = error.__traceback__, None
    while at is not None:
        if at.tb_frame.f_globals.get("__jinja_template__") is template:
            line = template.get_corresponding_lineno(at.tb_lineno)
        at = at.tb_next
    return line
