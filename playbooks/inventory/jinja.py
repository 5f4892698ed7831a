"""Make the sandboxed Jinja2 environment, with ansible-core 2.19's rules for types and undefined values."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta, tzinfo
from types import BuiltinFunctionType
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as DEFAULT_FILTERS
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as DEFAULT_TESTS
from jinja2.utils import Cycler, Joiner, Namespace, missing

from playbooks.inventory.filters import FILTERS, TESTS
from playbooks.inventory.lazy import Function, MadeDict, MadeList, Missing, plain, settle

MAX_REPEAT = 1_000_000  # characters or items that `*` may produce
MAX_EXPONENT = 1_000
_WIDE_FORMAT = re.compile(r"\{[^{}]*:[^{}]*(?:\d{7}|\{)")  # a width of millions, or one from an argument
_WIDE_PERCENT = re.compile(r"%[^%a-zA-Z]*(?:\d{7}|\*)")
_WIDE = frozenset({"indent", "center", "batch", "slice", "wordwrap"})
_SEES_MISSING = frozenset({"default", "d", "mandatory"})
# Values whose methods only answer, and Jinja2's own tools. Nothing else is looked into: a method of an object of ours,
# or of a library's, may act. (pydantic's models have one that unpickles, and so runs, what it is given.)
_DATA = (str, bytes, int, float, list, tuple, dict, set, frozenset, range, date, time, timedelta, tzinfo, type(None))
_TOOLS = (LoopContext, Macro, BlockReference, TemplateReference, Cycler, Joiner, Namespace, Undefined)
_OF_MAPPINGS = frozenset({"get", "items", "keys", "values"})


class VariablesContext(Context):
    """Looks up names in a host's variables."""

    variables: Any = None

    def resolve_or_missing(self, key: str) -> Any:  # noqa: ANN401  Jinja2's signature
        if key in self.vars:
            return self.vars[key]
        found = self.variables.find(key)
        return self.parent.get(key, self.variables.unknown) if found is missing else found


class _TypedGenerator(NativeCodeGenerator):
    """Keeps `{{ 1 }}` a number, because it does not join constants into text at compile time."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> Any:  # noqa: ANN401
        if isinstance(node, nodes.TemplateData):
            return super()._output_child_to_const(node, frame, finalize)
        raise nodes.Impossible

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        """Let a list literal of a template grow while it runs: `{% set _ = found.append(host) %}`."""
        self.write("environment.made(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("environment.made(")
        super().visit_Dict(node, frame)
        self.write(")")


class SandboxedEnvironment(ImmutableSandboxedEnvironment):
    """Sandboxed: attributes of plain data only, none of them private; no unbounded `*` and `**`.

    Lists and mappings cannot be changed, except those that the running template wrote, which can grow item by item.

    There is no loader, so `include`, `import` and `extends` find nothing.
    """

    code_generator_class = _TypedGenerator
    context_class = VariablesContext
    intercepted_binops = frozenset({"*", "**", "%"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401  Jinja2's signature
        if (type(obj) is MadeList and attr == "append") or (type(obj) is MadeDict and attr == "update"):
            return True
        known = isinstance(obj, (*_DATA, *_TOOLS)) or (isinstance(obj, Mapping) and attr in _OF_MAPPINGS)
        return known and super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        bound_to = getattr(getattr(function, "__wrapped__", None), "__self__", None)  # the sandbox wraps "…".format
        if isinstance(bound_to, str) and _WIDE_FORMAT.search(bound_to):
            raise SecurityError(f"a width above {MAX_REPEAT:,} is refused")
        if isinstance(function, BuiltinFunctionType):  # such as "".join, which bypasses a lazy list's methods
            args = tuple(map(plain, args))
            _refuse_widths(args)  # "x".ljust(10**10)
        return super().call(context, function, *args, **kwargs)

    @staticmethod
    def made(value: list[Any] | dict[Any, Any]) -> MadeList | MadeDict:
        """Wrap a list or mapping that the running template wrote."""
        return MadeList(value) if isinstance(value, list) else MadeDict(value)

    @staticmethod
    def concat(parts: Iterable[Any]) -> Any:  # noqa: ANN401  macros and set blocks
        return join_output(parts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        if operator == "%" and isinstance(left, str) and _WIDE_PERCENT.search(left):
            raise SecurityError(f"a width above {MAX_REPEAT:,} is refused")
        if operator == "**" and isinstance(right, (int, float)) and abs(right) > MAX_EXPONENT:
            raise SecurityError(f"an exponent above {MAX_EXPONENT} is refused")
        for some, times in ((left, right), (right, left)):
            repeats = operator == "*" and isinstance(some, (str, list, tuple)) and isinstance(times, int)
            if repeats and len(some) * times > MAX_REPEAT:
                raise SecurityError(f"repeating to more than {MAX_REPEAT:,} is refused")
        return super().call_binop(context, operator, left, right)


def new_environment(*, files: bool = False) -> SandboxedEnvironment:
    """Make an environment with Jinja2's and Ansible's filters and tests.

    Args:
        files: whether it is for template files. They keep their last newline, as in Ansible, and undefined values are
            errors on their line; a variable may stay undefined until it is used.
    """
    environment = SandboxedEnvironment(
        undefined=Missing,
        trim_blocks=True,
        keep_trailing_newline=files,
        finalize=_defined if files else None,
        optimized=False,
        autoescape=False,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
    )
    for name, function in {**DEFAULT_FILTERS, **FILTERS}.items():
        bounded = _with_bounded_width(function) if name in _WIDE else function
        guarded = function if name in _SEES_MISSING else _passing_missing_on(bounded)
        environment.filters[name] = environment.filters[f"ansible.builtin.{name}"] = guarded
    for name, function in {**DEFAULT_TESTS, **TESTS}.items():
        environment.tests[name] = environment.tests[f"ansible.builtin.{name}"] = function
    return environment


def _defined(value: Any) -> Any:  # noqa: ANN401  a variable's value is anything
    if isinstance(value, Undefined):
        str(value)  # raises
    return value


def _refuse_widths(values: Iterable[Any]) -> None:
    if any(isinstance(value, int) and value > MAX_REPEAT for value in values):
        raise SecurityError(f"a width above {MAX_REPEAT:,} is refused")


def _with_bounded_width(function: Function) -> Function:
    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        _refuse_widths((*args[1:], *kwargs.values()))
        return function(*args, **kwargs)

    return bounded


def _passing_missing_on(function: Function) -> Function:
    """Make a filter of an undefined value return undefined, so that a later default() works, as in Ansible."""
    at = 1 if getattr(function, "jinja_pass_arg", None) else 0

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if len(args) > at and isinstance(args[at], Missing):
            return args[at]
        return function(*args, **kwargs)

    return guarded


def keep_backslashes(environment: SandboxedEnvironment, text: str) -> str:
    """Keep backslashes in strings inside {{ }} as they are, as in Ansible."""
    if "\\" not in text or "{{" not in text:
        return text
    parts: list[str] = []
    inside = False
    for _, kind, value in environment.lex(text):
        if kind in ("variable_begin", "variable_end"):
            inside = kind == "variable_begin"
        parts.append(value.replace("\\", "\\\\") if inside and kind == "string" else value)
    return "".join(parts)


def join_output(parts: Iterable[Any]) -> object:
    """Return a template's value: its single expression's with its type, else text. None, as from append, is empty."""
    outputs = [part for part in parts if part is not None]
    for output in outputs:
        if isinstance(output, Undefined):  # not only Missing, because an inline if without else gives jinja2's own
            return output if isinstance(output, Missing) else Missing(hint="an inline if has no else and did not hold")
    if not outputs:
        return None
    if len(outputs) == 1:
        return settle(outputs[0])
    return "".join(str(plain(settle(output))) for output in outputs)
