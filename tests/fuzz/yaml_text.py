"""YAML that nobody means: flow and block text with tags, anchors, bombs and every odd scalar."""

# ruff: noqa: E501  lists of words

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from tests.fuzz.mutate import NUMBERS, TEXTS

TOUCH = "touch pwned"
TEMPLATES = (
    "{{ a }}",
    "{{ b }}{{ a }}",
    "{{ hostvars['web2'].a }}",
    "{{ vars }}",
    "{{ groups['all'] | map('extract', hostvars, 'a') | list }}",
    "{{ omit }}",
    "{{ undefined_thing.x.y | default('d') }}",
    "{{ lookup('env', 'HOME') }}",
    "{{ lookup('file', '/nonexistent') }}",
    "{{ lookup('file', '/dev/null') }}",
    "{{ lookup('file', '/etc/passwd') }}",
    "{{ query('file', '../password', '~/.ssh/id_rsa') }}",
    "{{ '~root' | expanduser }}",
    f"{{{{ lookup('pipe', '{TOUCH}') }}}}",
    f"{{{{ cycler.__init__.__globals__.os.popen('{TOUCH}').read() }}}}",
    f"{{{{ lipsum.__globals__['os'].system('{TOUCH}') }}}}",
    f"{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}{TOUCH}",
    "{{ ''|attr('__class__') }}",
    "{{ self._TemplateReference__context }}",
    "{{ namespace.__init__ }}",
    "{{ '{0.__class__}'.format(a) }}",
    "{{ '%s' % a }}",
    "{% set x = [] %}{% for i in range(50) %}{{ x.append(i) }}{% endfor %}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends a %}",
    "{{ 'a' * 10**9 }}",
    "{{ [1] * 10**9 }}",
    "{{ 2 ** 10**9 }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ 'x'.ljust(9999999999) }}",
    "{{ 'x' | center(9999999999) }}",
    "{{ 'x\\ny' | indent(9999999999) }}",
    "{{ range(99999) | permutations | list }}",
    "{{ range(40) | combinations(20) | list }}",
    "{{ range(9999) | product(range(9999)) | list }}",
    "{{ 1 / 0 }}",
    "{{ 1 % 0 }}",
    "{{ none + 1 }}",
    "{{ a.b.c.d }}",
    "{{ a[1][2] }}",
    "{{ a | from_json }}",
    "{{ a | from_yaml }}",
    "{{ a | b64decode }}",
    "{{ a | hash('nonesuch') }}",
    "{{ a | regex_search('[') }}",
    "{{ a | regex_replace('(', '\\\\9') }}",
    "{{ a | to_datetime }}",
    "{{ now(fmt='%Y') }}",
    "{{ [a, b] | flatten | combine({'x': 1}) }}",
    "{{ '[' * 2000 }}",
    "{{ " + "(" * 200 + "1" + ")" * 200 + " }}",
    "{{ " + "-" * 3000 + "1 }}",
    "{{ unclosed",
    "{% if %}",
    "{# #}{{",
)
SCALARS = (
    *NUMBERS, "~", "null", "yes", "no", "on", ".nan", ".inf", "-.inf", "0o17", "0b1", "1:2:3", "190:20:30.15", "1_000",
    "2026-11-21", "2026-99-99", "2026-11-21T04:31:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31 23:59:59.9 -14", "=",
    "<<", "!!binary aGk=", "!!binary '*'", "!!int x", "!!float x", "!!timestamp x", "!!bool x", "!!null x", "!!set {a, b}",
    "!!omap [a: 1]", "!!pairs [a: 1, a: 2]", "!!omap x", "!!set [a]", "!!map [a]", "!!seq {a: 1}", "!!str [a]",
    "!unsafe '{{ a }}'", "!unsafe [a, {b: c}]", "!vault x", "!vault [x]", "!unknown x", "!!python/name:os.system",
    f"!!python/object/apply:os.system ['{TOUCH}']", "&a [*a]", "&b {*b : *b}", "*nowhere", "*a", "? ", "- - -", "{", "]",
)  # fmt: skip
BOMB = "&z0 [x, x]\n" + "\n".join(f"k{n}: &z{n} [{', '.join([f'*z{n - 1}'] * 9)}]" for n in range(1, 12))


def scalar(rng: random.Random) -> str:
    """One scalar, as it is written."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(SCALARS)
    if kind < 0.65:
        return json.dumps(rng.choice(TEMPLATES))
    return json.dumps(rng.choice(TEXTS), ensure_ascii=rng.random() < 0.5)


def flow(rng: random.Random, keys: Sequence[str], depth: int = 3) -> str:
    """A tree in flow style.

    Args:
        rng: decides everything.
        keys: of mappings; odd ones come in between.
        depth: levels at the most.
    """
    kind = rng.random()
    if depth == 0 or kind < 0.4:
        return scalar(rng)
    if kind < 0.43:
        deep = rng.choice((20, 99, 101, 2000))
        return "[" * deep + "]" * deep
    items = range(rng.choice((0, 1, 2, 3, 6)))
    if kind < 0.6:
        return "[" + ", ".join(flow(rng, keys, depth - 1) for _ in items) + "]"
    return "{" + ", ".join(f"{key(rng, keys)}: {flow(rng, keys, depth - 1)}" for _ in items) + "}"


def key(rng: random.Random, keys: Sequence[str]) -> str:
    """A key, mostly one that means something."""
    if rng.random() < 0.9:
        return rng.choice(keys)
    return rng.choice(("1", "1.5", "~", "yes", "[a]", "{a: b}", "? x", "'*'", "<<", '"\\x1b[1m"', "''", "2026-11-21"))
