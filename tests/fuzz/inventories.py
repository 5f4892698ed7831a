"""Hostile inventories: whatever the files hold, loading and resolving them ends in an inventory or in sentences."""

# ruff: noqa: E501  lists of words

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from playbooks.core.errors import SlipwayError
from playbooks.fleet.address import read_address
from playbooks.inventory import TRUSTED, Fence, Inventory, fence_around, limit, load_inventory, select
from playbooks.settings.load import read_settings
from tests.fuzz.acts import outside, watched
from tests.fuzz.mutate import TEXTS, WORDS, mutated
from tests.fuzz.target import Violation, changed, flaw_of, unprintable
from tests.fuzz.vaults import encrypted
from tests.fuzz.yaml_text import BOMB, SCALARS, TEMPLATES, TOUCH, flow, key, scalar

PASSWORD = "correct-horse-battery"
SECRET = "canary-plain-text"

_GROUPS = ("all", "ungrouped", "web", "db", "web1", "eu", "'1'", "1", "''", "a b")
_SECTIONS = ("hosts", "children", "vars", "hosts", "host", "x")
_HOSTS = (
    "web1", "web2", "'web[1:3]'", "'web[01:20]'", "'web[1:99999999]'", "'[a:z][0:99]'", "'[1:'", "'[z:a]'", "'w[1:9:0]'",
    "'h:22'", "'h:99999999999999999999'", "'[::1]:22'", "'fe80::[1:f]'", "10.0.0.1", "localhost", "'../../etc'", "'w[1:3:-1]'",
    "'x[-5:5]'", "'[٣:٤]'", "'[0x1:0x5]'", "'[1:2][1:2][1:2][1:2][1:2][1:2][1:2][1:2][1:2][1:2][1:2][1:2][1:2][1:2][1:2]'",
)  # fmt: skip
_VARS = (
    "a", "b", "a", "b", "slipway_app", "slipway_hosts", "ansible_host", "ansible_port", "ansible_user",
    "ansible_ssh_common_args", "ansible_connection", "ansible_become_password", "ansible_group_priority", "hostvars",
    "groups", "inventory_hostname", "vars", "omit", "slipway_secrets", "slipway_keep_releases", "plugin", "__ansible_vault", "__ansible_unsafe",
)  # fmt: skip
_ARGUMENTS = ("-o ProxyJump=a,b", "-o 'unclosed", "-o", "-J", "-i", "-o UserKnownHostsFile='a b", "-o =", "-o ' = '")
_PATTERNS = (
    "all", "web", "web:&eu:!web3", "~[hn].*", "~(a", "~(a+)+$", "web[0]", "web[-1]", "web[99]", "web[0:2]", "all[:]",
    "*", "?", "[!", "[", "", ":", ",", "!", "&", "!!", "@/etc/hostname", "@/", "@", "@\x00", "~", "~" + "(" * 5000,
    "web[" + "9" * 5000 + "]", "[" * 3000, "a:b:c" * 500, "web1[0]", "all:!all", "::1", "~\\", "~[[:x:]]", "~(?P<a>.)(?P<a>.)",
    "{{ a }}", "~a{99999999999}", "~(?i)x(?i)",
)  # fmt: skip
_PLACES = (
    "hosts.yml",
    "more",
    "more.yml",
    "group_vars",
    "group_vars/all",
    "group_vars/all.yml",
    "host_vars/web1",
    "host_vars",
)
_LINKS = (
    "/",
    "/etc/passwd",
    "/etc",
    "..",
    "../password",
    ".",
    "hosts.yml",
    "/dev/zero",
    "/proc/self/environ",
    "/nonexistent",
)
_VALID = {
    "hosts.yml": """all:
  vars: {a: 1, b: "{{ a }}"}
  children:
    web:
      hosts:
        web[1:3]: {ansible_host: 10.0.0.1, ansible_port: 2222}
        db1.example.com:
      vars:
        ansible_ssh_common_args: -o ProxyJump=jump -i ~/.ssh/key
    eu: {children: {web: }, vars: {ansible_group_priority: 10}}
""",
    "group_vars/all.yml": "slipway_app: shop\nslipway_hosts: web\nslipway_secrets: {token: {file: ~/token}}\n",
    "group_vars/web/1.json": '{"c": [1, {"d": "{{ b ~ a }}"}]}',
    "host_vars/web1.yml": "a: &x {k: v}\nb: {<<: *x, l: [1, 2.5, null]}\n",
}


class Inventories:
    """An input is a JSON object of files (their bytes as Latin-1), of patterns and of templates."""

    def __init__(self, folder: Path) -> None:
        self._project = folder
        self._source = folder / "inventory"
        (folder / "password").write_text(PASSWORD)
        self._environ = {"ANSIBLE_VAULT_PASSWORD_FILE": str(folder / "password")}

    def make(self, rng: random.Random) -> bytes:
        """Files of nonsense, or valid ones damaged."""
        files = {name: text.encode() for name, text in _VALID.items()}
        if rng.random() < 0.4:
            for name in rng.sample(list(files), rng.randint(1, 3)):
                files[name] = mutated(rng, files[name], _DAMAGE)
        else:
            files["hosts.yml"] = _hosts(rng).encode("utf-8", "surrogatepass")
            for name in rng.sample(list(files)[1:], rng.randint(0, 2)):
                files[name] = _variables(rng).encode("utf-8", "surrogatepass")
        if rng.random() < 0.1:
            files[rng.choice(("x.toml", "y.ini", "z", "hosts.json", "host_vars/web2"))] = mutated(
                rng, files["hosts.yml"]
            )
        patterns = [rng.choice((*_PATTERNS, *TEXTS)) for _ in range(2)]
        words: dict[str, object] = {"patterns": patterns, "template": rng.choice(TEMPLATES)}
        if rng.random() < 0.4:
            words["untrusted"] = {rng.choice(_PLACES): rng.choice(_LINKS) for _ in range(rng.randint(0, 1))}
        return json.dumps({name: data.decode("latin-1") for name, data in files.items()} | words).encode()

    def read(self, data: bytes) -> bool:
        """Load it, then use it as the playbooks do.

        Raises:
            Violation: an error that cannot be shown or shows a secret, or a trace of code that ran.
        """
        parts = json.loads(data)
        patterns, template, links = parts.pop("patterns"), parts.pop("template"), parts.pop("untrusted", None)
        shutil.rmtree(self._source, ignore_errors=True)
        for name, text in parts.items():
            file = self._source / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("latin-1"))
        try:
            if links is None:
                self._load_and_use(TRUSTED, patterns, template)
            else:
                self._look_only(links, patterns, template)
        finally:
            trace = _trace_of(self._project)
        if trace:
            raise Violation(trace)
        return True

    def _look_only(self, links: dict[str, str], patterns: list[str], template: str) -> None:
        for name, to in links.items():
            link = self._source / name
            link.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(link) if link.is_dir() else link.unlink(missing_ok=True)
            link.symlink_to(to)
        fence = fence_around(self._source, self._project, [self._project])
        with watched() as seen:
            try:
                self._load_and_use(fence, patterns, template)
            finally:
                acts = outside(seen, self._source)
        if acts:
            raise Violation(f"an untrusted inventory made it do: {'; '.join(acts)}")

    def _load_and_use(self, fence: Fence, patterns: list[str], template: str) -> None:
        inventory = load_inventory(str(self._source), self._project, environ=self._environ, fence=fence)
        for warning in inventory.warnings:
            _showable(warning)
        self._use(inventory, patterns, template)

    def _use(self, inventory: Inventory, patterns: list[str], template: str) -> None:
        for pattern in patterns:
            _tried(select, inventory, pattern)
            if inventory.fence.trusts:  # the pattern is a person's own: it may name a file
                _tried(limit, inventory, pattern)
        for host in [*list(inventory.hosts)[:2], *list(inventory.hosts)[-1:]]:
            _tried(inventory.vars_for, host)
            resolved = inventory.resolved_vars(host)
            for name in list(resolved):
                _tried(resolved.get, name)
                _showable(inventory.origin(host, name, 0, "x"))
            _tried(_settings, inventory, host)
            _tried(partial(read_address, connect_timeout=10.0), host, resolved)
            _tried(inventory.render, host, template, Path("unit.service.j2"))


def _settings(inventory: Inventory, host: str) -> None:
    variables = inventory.resolved_vars(host)
    settings = variables.starting_with("slipway_")
    for sentence in read_settings(settings, partial(inventory.origin, host), variables.is_secret)[1]:
        _showable(sentence)


def _tried(use: Callable[..., object], *arguments: object) -> None:
    try:
        use(*arguments)
    except SlipwayError as error:
        if flaw := flaw_of(error):
            raise Violation(flaw) from None
        if SECRET in str(error):
            raise Violation(f"an error tells a secret: {error}") from None


def _showable(text: str) -> None:
    if flaw := unprintable(text):
        raise Violation(flaw)
    if SECRET in text:
        raise Violation(f"a message tells a secret: {text}")


def _trace_of(project: Path) -> str | None:
    ran = Path(TOUCH.split()[1])
    if ran.exists():
        ran.unlink()
        return "code in the inventory ran"
    return changed(project, frozenset({"inventory", "password"}))


def _hosts(rng: random.Random) -> str:
    if rng.random() < 0.05:
        return rng.choice(
            (BOMB, flow(rng, _VARS), scalar(rng), "", "[web]\nweb1 a=1\n", "#!/bin/sh\n", "- " * 5000, "{" * 5000)
        )
    groups = rng.sample(_GROUPS, rng.randint(1, 3))
    return "\n".join(f"{group}: {_group(rng, 3)}" for group in groups) + "\n"


def _group(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.15:
        return flow(rng, (*_SECTIONS, *_VARS), 2)
    sections = {
        "hosts": lambda: _mapping({rng.choice(_HOSTS): _vars_of(rng) for _ in range(rng.randint(0, 3))}),
        "children": lambda: _mapping({rng.choice(_GROUPS): _group(rng, depth - 1) for _ in range(rng.randint(0, 2))}),
        "vars": lambda: _vars_of(rng),
    }
    chosen = rng.sample(list(sections), rng.randint(1, 3))
    return _mapping({name: sections[name]() for name in chosen})


def _vars_of(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return "~"
    return _mapping({key(rng, _VARS): _value(rng) for _ in range(rng.randint(0, 4))})


def _value(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.02:
        return f"!vault {json.dumps(_vault(rng).decode('latin-1'))}"
    if kind < 0.05:
        return json.dumps(rng.choice(_ARGUMENTS))
    return flow(rng, _VARS, 2)


def _vault(rng: random.Random) -> bytes:
    sealed = encrypted(SECRET, PASSWORD)
    return sealed if rng.random() < 0.3 else mutated(rng, sealed)


def _variables(rng: random.Random) -> str:
    if rng.random() < 0.03:
        return _vault(rng).decode("latin-1")
    if rng.random() < 0.05:
        return rng.choice((BOMB, scalar(rng), "[1]", "", flow(rng, _VARS)))
    return "\n".join(f"{key(rng, _VARS)}: {_value(rng)}" for _ in range(rng.randint(1, 5))) + "\n"


def _mapping(entries: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in entries.items()) + "}"


_DAMAGE = (
    *WORDS,
    *(f" {word} ".encode("utf-8", "surrogatepass") for word in (*SCALARS, *_HOSTS, *_VARS)),
    *(json.dumps(template).encode() for template in TEMPLATES),
)
