"""Provide a host's variables to templates: resolve lazily, refuse loops, and track which values contain secrets."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from jinja2 import Template, TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.utils import missing

from playbooks.core.errors import ConfigError
from playbooks.inventory.document import UnsafeText
from playbooks.inventory.fence import NOT_READ, Fence
from playbooks.inventory.jinja import VariablesContext, join_output
from playbooks.inventory.layers import Layer
from playbooks.inventory.lazy import OMIT, LazyDict, LazyList, Missing, plain
from playbooks.inventory.literals import Literals, is_template
from playbooks.inventory.vars_files import VarsFiles
from playbooks.inventory.vault import VaultError, VaultValue

# Of a file that is encrypted as a whole, shorter values are words such as "true", which would be struck out everywhere.
_SHORTEST_SECRET = 8


class CannotResolve(TemplateError):
    """A value cannot be resolved; has the reason and the variables that led to it."""


class Unresolved(Protocol):
    """An inventory with its variables as written."""

    @property
    def hosts(self) -> Collection[str]:
        """Return the names of all hosts."""

    @property
    def vars_files(self) -> VarsFiles:
        """Return the files of variables, with the vault that decrypts them."""

    @property
    def fence(self) -> Fence:
        """Return which files may be read for it."""

    def layer(self, host: str) -> Layer:
        """Return a host's variables with their origins."""

    def magic_vars(self, host: str) -> dict[str, Any]:
        """Return the variables that Ansible sets itself."""

    def own_place(self, host: str) -> dict[str, Any]:
        """Return the inventory's place according to the host's own variables."""


class AllHosts(Protocol):
    """What a host's scope needs of all hosts."""

    inventory: Unresolved
    lock: threading.RLock
    touched: list[bool]  # for each value being resolved, whether it used a secret
    literals: Literals

    def scope(self, host: str) -> Scope:
        """A host's variables."""

    def compiled(self, text: str) -> Template:
        """Compile a value's text as a template."""


class Scope:
    """A host's variables as templates see them."""

    def __init__(self, resolver: AllHosts, host: str) -> None:
        layer = resolver.inventory.layer(host)
        self.resolver = resolver
        self.host = host
        self.raw = layer.values
        self.origins = layer.origins
        self.encrypted = layer.encrypted
        self.unknown: object = NOT_READ if layer.unread else missing  # the value of an undefined name
        self.magic: dict[str, Any] = resolver.inventory.magic_vars(host) | {"hostvars": _HostVars(resolver)}
        for key in resolver.inventory.own_place(host):
            del self.magic[key]
        if "vars" not in self.raw:  # a variable of that name covers Ansible's
            self.magic["vars"] = _Vars(self)
        self.secret: set[str] = set()
        self._known: dict[str, object] = {}
        self._busy: list[tuple[int, object]] = []  # the values being resolved, to detect loops

    def find(self, key: str) -> object:
        """Return a variable's value with lazy containers; a Missing; or jinja2's `missing` if there is none."""
        if key in self.magic:
            return self.magic[key]
        if key not in self.raw:
            return missing
        if key not in self._known:
            self._known[key] = self._guarded(self, key, self.raw[key])
        if key in self.secret:
            self.resolver.touched[-1] = True
        return self._known[key]

    def literal(self, key: str) -> object:
        """Return a variable's value if it is no template and no secret; else jinja2's `missing`."""
        if key not in self.raw or key in self.magic or key in self.encrypted:
            return missing
        return self.resolver.literals.of(self.raw[key])

    def final(self, key: str) -> object:
        """Return a completely resolved variable, or OMIT.

        Raises:
            KeyError: the variable does not exist.
            ConfigError: the variable cannot be resolved.
        """
        if key not in self:
            raise KeyError(key)
        resolver = self.resolver
        resolver.touched.append(False)
        try:
            value = self.find(key)
            if isinstance(value, Missing) and value.where.startswith(f"{key}, "):
                value = Missing(hint=value.reason)  # the sentence already names this variable
            return value if value is OMIT else plain(value) if key != "hostvars" else value
        except Exception as error:  # noqa: BLE001  an expression can raise anything
            raise ConfigError([self._sentence(key, error, secret=resolver.touched[-1])]) from None
        finally:
            if resolver.touched.pop():
                self.secret.add(key)

    def __contains__(self, key: str) -> bool:
        return key in self.raw or key in self.magic

    def entry(self, container: object, key: object, raw: object) -> object:
        """Resolve an entry of a container from the inventory."""
        return self._guarded(container, key, raw)

    def _guarded(self, container: object, key: object, raw: object) -> object:
        """Resolve a value; refuse one that needs itself."""
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
            if key in self.encrypted:
                for text in _secrets_in(raw):
                    self.resolver.inventory.vars_files.vault.read(text)
        if isinstance(value, Missing) and container is self and not value.where:
            value.where = f"{key}, {self.origins.get(str(key), '')}"
        return value

    def _value(self, raw: object) -> object:
        if isinstance(raw, VaultValue):
            self.resolver.touched[-1] = True
            vault = self.resolver.inventory.vars_files.vault
            value = vault.decrypt(raw.ciphertext)  # as in Ansible, a decrypted value is no template
            vault.read(value)
            return value
        if isinstance(raw, UnsafeText):
            return str(raw)
        if isinstance(raw, str):
            return self._text(raw) if is_template(raw) else raw
        if isinstance(raw, (LazyDict, LazyList)):
            return raw
        if isinstance(raw, dict):
            return LazyDict(raw, self)
        return LazyList(raw, self) if isinstance(raw, list) else raw

    def _text(self, text: str) -> object:
        try:
            return _with_newlines(self.run(self.resolver.compiled(text), {}), text)
        except UndefinedError as error:
            return Missing(hint=str(error))

    def run(self, template: Template, extra: Mapping[str, Any]) -> object:
        """Run a template with the host's variables, covered by `extra`."""
        context = template.new_context(dict(extra), shared=False)
        assert isinstance(context, VariablesContext)  # noqa: S101  for the type checker
        context.vars.update(extra)
        context.variables = self
        return join_output(template.root_render_func(context))

    def _sentence(self, key: str, error: Exception, *, secret: bool) -> str:
        origin = self.origins.get(key)
        known = isinstance(error, (TemplateError, VaultError, ConfigError, RecursionError))
        why = (
            reason(error)
            if known or not secret
            else f"its expression fails ({type(error).__name__}; a secret is in it)"
        )
        return f"{origin or self.host}: {key} of host {self.host} cannot be resolved: {why}."


def _with_newlines(value: object, text: str) -> object:
    """Restore the newlines at a template's end, as Ansible does; Jinja2 drops one."""
    if not isinstance(value, str):
        return value
    lost = (len(text) - len(text.rstrip("\n"))) - (len(value) - len(value.rstrip("\n")))
    return value + "\n" * lost


class _Vars(Mapping[str, Any]):
    """The `vars` variable: every variable by its name."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401
        value = self._scope.find(key)
        if value is missing:
            value = self._scope.unknown
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

    def __init__(self, resolver: AllHosts) -> None:
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


def reason(error: Exception) -> str:
    """Return what went wrong, as the end of a sentence."""
    if isinstance(error, VaultError):
        return str(error)
    if isinstance(error, ConfigError):
        return error.problems[0].rstrip(".")
    if isinstance(error, RecursionError):
        return "its variables refer to each other too deeply"
    if isinstance(error, TemplateSyntaxError):
        return f"its template is not valid: {(error.message or '').rstrip('.')}"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _secrets_in(value: object) -> Iterator[str]:
    """Return the texts in a value of a completely encrypted file, as written."""
    if isinstance(value, str) and len(value) >= _SHORTEST_SECRET and not is_template(value):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _secrets_in(inner)
