"""Resolving Jinja2 in variables: lazily, each in its host's context, with what went wrong told by host, variable and file."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, UndefinedError, pass_context
from jinja2.utils import missing

from playbooks.errors import ConfigError
from playbooks.fleet.inventory.document import UnsafeText
from playbooks.fleet.inventory.jinja import VariablesContext, join_output, new_environment
from playbooks.fleet.inventory.lazy import OMIT, LazyDict, LazyList, Missing, plain
from playbooks.fleet.inventory.lookups import look_up
from playbooks.fleet.inventory.vault import VaultError, VaultValue

if TYPE_CHECKING:
    from playbooks.fleet.inventory.model import Inventory

_MARKS = ("{{", "{%", "{#")


class CannotResolve(TemplateError):
    """Why a value cannot be resolved, and the variables that led to it."""


class ResolvedVars(Mapping[str, Any]):
    """A host's variables, each resolved when it is asked for.

    Iterating gives the names of the inventory's variables and of Ansible's own (inventory_hostname, groups, …). Looking at
    a value that cannot be resolved raises ConfigError. `hostvars` can be looked up, but is not listed.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._known: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401  a variable's value is anything
        with self._scope.resolver.lock:
            if key not in self._known:
                self._known[key] = self._scope.final(key)
            value = self._known[key]
        if value is OMIT:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._scope.raw or key in self._scope.magic

    def __iter__(self) -> Iterator[str]:
        yield from self._scope.raw
        yield from (
            name for name in self._scope.magic if name not in self._scope.raw and name not in ("hostvars", "vars")
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def starting_with(self, prefix: str) -> dict[str, Any]:
        """The variables whose names start with a prefix; others are not looked at.

        Raises:
            ConfigError: some cannot be resolved; all of them are named.
        """
        found: dict[str, Any] = {}
        problems: list[str] = []
        for key in self:
            if not key.startswith(prefix):
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
        """Whether the value was encrypted, or is made of one that was. Resolves it.

        Raises:
            ConfigError: it cannot be resolved.
        """
        self.get(key)
        return key in self._scope.secret


class Resolver:
    """Resolves the variables of all hosts of one inventory. Safe to use from several threads."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.lock = threading.RLock()
        self.environment = new_environment()
        self.files = new_environment(keep_trailing_newline=True)
        for environment in (self.environment, self.files):
            environment.globals.update(_globals())
        self.touched: list[bool] = [False]  # for each value being resolved, whether it used a secret
        self._scopes: dict[str, Scope] = {}
        self._vars: dict[str, ResolvedVars] = {}
        self._templates: dict[str, Template] = {}

    def vars_of(self, host: str) -> ResolvedVars:
        """A host's variables."""
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
            self._templates[text] = self.environment.from_string(text)
        return self._templates[text]

    def render(self, host: str, template: str, name: str, extra: Mapping[str, Any]) -> str:
        """A template file's text. See Inventory.render."""
        with self.lock:
            scope = self.scope(host)
            try:
                result = scope.run(self.files.from_string(template), extra)
                return "" if result is None else str(plain(result))
            except TemplateSyntaxError as error:
                raise ConfigError([f"{name}:{error.lineno}: {error.message}."]) from None
            except RecursionError:
                raise ConfigError([f"{name} on host {host}: it is nested too deeply."]) from None
            except Exception as error:  # noqa: BLE001  an expression can raise anything
                raise ConfigError([f"{name} on host {host}: {_reason(error)}."]) from None


class Scope:
    """One host's variables as templates see them."""

    def __init__(self, resolver: Resolver, host: str) -> None:
        layer = resolver.inventory.layer(host)
        self.resolver = resolver
        self.host = host
        self.raw = layer.values
        self.origins = layer.origins
        self.encrypted = layer.encrypted
        self.magic: dict[str, Any] = resolver.inventory.magic_vars(host) | {
            "hostvars": _HostVars(resolver),
            "vars": _Vars(self),
        }
        self.secret: set[str] = set()
        self._known: dict[str, object] = {}
        self._busy: list[tuple[int, object]] = []  # what is being resolved, to see loops

    def find(self, key: str) -> object:
        """A variable's value, resolved as far as its containers; something Missing; or jinja2's `missing` if there is none."""
        if key in self.magic:
            return self.magic[key]
        if key not in self.raw:
            return missing
        if key not in self._known:
            self._known[key] = self._guarded(self, key, self.raw[key])
        if key in self.secret:
            self.resolver.touched[-1] = True
        return self._known[key]

    def final(self, key: str) -> object:
        """A variable's value with everything in it resolved, or OMIT.

        Raises:
            KeyError: there is no such variable.
            ConfigError: it cannot be resolved.
        """
        if key not in self:
            raise KeyError(key)
        resolver = self.resolver
        resolver.touched.append(False)
        try:
            value = self.find(key)
            return value if value is OMIT else plain(value) if key != "hostvars" else value
        except Exception as error:  # noqa: BLE001  an expression can raise anything
            raise ConfigError([self._sentence(key, error)]) from None
        finally:
            if resolver.touched.pop():
                self.secret.add(key)

    def __contains__(self, key: str) -> bool:
        return key in self.raw or key in self.magic

    def entry(self, container: object, key: object, raw: object) -> object:
        """An entry of a container that was written in the inventory."""
        return self._guarded(container, key, raw)

    def _guarded(self, container: object, key: object, raw: object) -> object:
        """Resolve one value; refuse one that needs itself."""
        mark = (id(container), key)
        if mark in self._busy:
            names = [str(name) for _, name in self._busy[self._busy.index(mark) :]] + [str(key)]
            raise CannotResolve(f"it needs itself: {' → '.join(names)}")
        self._busy.append(mark)
        self.resolver.touched.append(container is self and key in self.encrypted)
        try:
            value = self._value(raw)
        finally:
            self._busy.pop()
            secret = self.resolver.touched.pop()
            if secret:
                self.resolver.touched[-1] = True
        if secret and container is self:
            self.secret.add(str(key))
        if isinstance(value, Missing) and container is self and not value.where:
            value.where = f"{key} ({self.origins.get(str(key), '')})"
        return value

    def _value(self, raw: object) -> object:
        if isinstance(raw, VaultValue):
            self.resolver.touched[-1] = True
            raw = self.resolver.inventory.vars_files.vault.decrypt(raw.ciphertext)
        if isinstance(raw, UnsafeText):
            return str(raw)
        if isinstance(raw, str):
            return self._text(raw) if any(mark in raw for mark in _MARKS) else raw
        if isinstance(raw, (LazyDict, LazyList)):
            return raw
        if isinstance(raw, dict):
            return LazyDict(raw, self)
        return LazyList(raw, self) if isinstance(raw, list) else raw

    def _text(self, text: str) -> object:
        try:
            return self.run(self.resolver.compiled(text), {})
        except UndefinedError as error:
            return Missing(hint=str(error))

    def run(self, template: Template, extra: Mapping[str, Any]) -> object:
        """Run a template among the host's variables, covered by `extra`."""
        context = template.new_context(dict(extra), shared=False)
        assert isinstance(context, VariablesContext)  # noqa: S101  for the type checker
        context.vars.update(extra)
        context.variables = self
        return join_output(template.root_render_func(context))

    def _sentence(self, key: str, error: Exception) -> str:
        origin = self.origins.get(key)
        return f"{origin or self.host}: {key} of host {self.host} cannot be resolved: {_reason(error)}."


class _Vars(Mapping[str, Any]):
    """The `vars` variable: every variable by its name."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401
        value = self._scope.find(key)
        if value is missing:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._scope.raw or key in self._scope.magic

    def __iter__(self) -> Iterator[str]:
        yield from self._scope.raw

    def __len__(self) -> int:
        return len(self._scope.raw)

    def __repr__(self) -> str:
        return f"<variables of {self._scope.host}>"


class _HostVars(Mapping[str, _Vars]):
    """The `hostvars` variable: another host's variables, resolved in its own context."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def __getitem__(self, host: str) -> _Vars:
        if host not in self._resolver.inventory.hosts:
            raise KeyError(host)
        return _Vars(self._resolver.scope(host))

    def __contains__(self, host: object) -> bool:
        return host in self._resolver.inventory.hosts

    def __iter__(self) -> Iterator[str]:
        return iter(self._resolver.inventory.hosts)

    def __len__(self) -> int:
        return len(self._resolver.inventory.hosts)

    def __repr__(self) -> str:
        return "<variables of all hosts>"


def _globals() -> dict[str, Any]:
    @pass_context
    def query(context: VariablesContext, kind: str, *terms: Any, **options: Any) -> list[Any]:  # noqa: ANN401
        scope: Scope = context.variables
        inventory = scope.resolver.inventory
        flat = [item for term in terms for item in (plain(term) if isinstance(term, (list, tuple)) else [plain(term)])]
        folders = [inventory.playbook_dir / "files", inventory.playbook_dir, inventory.folder]

        def find(name: str) -> object:
            value = scope.find(name)
            return Missing(name=name) if value is missing else value

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


def _reason(error: Exception) -> str:
    """What went wrong, as the end of a sentence."""
    if isinstance(error, VaultError):
        return str(error)
    if isinstance(error, ConfigError):
        return error.problems[0].rstrip(".")
    if isinstance(error, RecursionError):
        return "its variables refer to each other too deeply"
    if isinstance(error, TemplateSyntaxError):
        return f"its template is not valid: {(error.message or '').rstrip('.')}"
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text
