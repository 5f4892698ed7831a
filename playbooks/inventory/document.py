"""Read a YAML or JSON file: its values, and the line of each key."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

from playbooks.core.errors import ConfigError
from playbooks.inventory.vault import HEADER, VaultValue

try:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]
except ImportError:  # PyYAML built without libyaml: the same answers, slower

    class _Parser(Reader, Scanner, Parser):  # type: ignore[no-redef]
        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)


MAX_BYTES = 16 * 1024 * 1024  # an inventory of 20,000 hosts is about 4 MB
MAX_DEPTH = 100
MAX_VALUES = 2_000_000  # with every alias expanded, so that a small file cannot expand to a huge one
MAX_BITS = 4096  # of a whole number

_MERGE_TAG = "tag:yaml.org,2002:merge"


class UnsafeText(str):
    """A string tagged `!unsafe`: Jinja2 inside it is text."""

    __slots__ = ()


@dataclass(frozen=True)
class Origin:
    """The place where a value is written.

    Args:
        file: the file.
        line: the line, counted from 1; None if unknown (JSON, inside an encrypted file).
    """

    file: Path
    line: int | None = None

    def __str__(self) -> str:
        try:
            shown = self.file.relative_to(Path.cwd())
        except (ValueError, FileNotFoundError):  # it is elsewhere, or the working directory is gone
            shown = self.file
        return f"{shown}:{self.line}" if self.line else str(shown)


@dataclass(frozen=True)
class Lines:
    """The line of each key of each mapping and of each item of each list, found by the container's identity."""

    found: dict[int, tuple[object, Path, dict[Any, int]]] = field(default_factory=dict)
    joined: dict[int, tuple[object, object, object]] = field(default_factory=dict)

    def note(self, container: object, file: Path, lines: dict[Any, int]) -> None:
        self.found[id(container)] = (container, file, lines)  # keeping the container keeps its id unique

    def join(self, container: object, low: object, high: object) -> None:
        """Record that a mapping was merged from two, of which `high` covers `low`."""
        self.joined[id(container)] = (container, low, high)

    def of(self, container: object, key: Hashable) -> Origin | None:
        """Return where `key` of `container` is written, if the container was read from YAML."""
        if id(container) in self.joined:
            _, low, high = self.joined[id(container)]
            return self.of(high, key) or self.of(low, key)
        known = self.found.get(id(container))
        if known is None:
            return None
        _, file, lines = known
        return Origin(file, lines[key]) if key in lines else None


class _Loader(Composer, _Parser, SafeConstructor, Resolver):
    """PyYAML's safe loader, with lines, Ansible's tags and limits.

    Nodes are composed by PyYAML's Python composer from libyaml's events: libyaml's own composer recurses in C
    and ends the process on a deeply nested file.
    """

    def __init__(self, text: str, file: Path, lines: Lines, warnings: list[str]) -> None:
        _Parser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self.file = file
        self.lines = lines
        self.warnings = warnings
        self.depth = 0
        self.unsafe = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            event: Any = self.peek_event()
            raise ConstructorError(None, None, f"it is nested deeper than {MAX_DEPTH} levels", event.start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def line_map(self, node: MappingNode) -> Iterator[dict[Any, Any]]:
        data: dict[Any, Any] = {}
        yield data
        self.warn_of_duplicates(node)
        data.update(self.construct_mapping(node))
        lines = {self.construct_object(key): key.start_mark.line + 1 for key, _ in node.value}
        self.lines.note(data, self.file, lines)

    def line_list(self, node: SequenceNode) -> Iterator[list[Any]]:
        data: list[Any] = []
        yield data
        data.extend(self.construct_sequence(node))
        self.lines.note(data, self.file, {at: item.start_mark.line + 1 for at, item in enumerate(node.value)})

    def warn_of_duplicates(self, node: MappingNode) -> None:
        if not isinstance(node, MappingNode):
            return  # PyYAML reports the error when it constructs the value
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag == _MERGE_TAG:
                continue
            if (key.tag, key.value) in seen:
                where = Origin(self.file, key.start_mark.line + 1)
                self.warnings.append(f"{where}: the key {key.value!r} is there twice; the last one is used.")
            seen.add((key.tag, key.value))

    def text(self, node: ScalarNode) -> str:
        value = str(self.construct_scalar(node))
        return UnsafeText(value) if self.unsafe else value

    def untagged(self, node: Node) -> object:
        tag = self.resolve(type(node), node.value, (True, False))  # type: ignore[no-untyped-call]
        plain = type(node)(tag, node.value, node.start_mark, node.end_mark)
        return self.construct_object(plain, deep=True)

    def unsafe_value(self, node: Node) -> object:
        self.unsafe += 1
        try:
            return self.untagged(node)
        finally:
            self.unsafe -= 1

    def whole_number(self, node: ScalarNode) -> int:
        number: int = self.construct_yaml_int(node)
        if number.bit_length() > MAX_BITS:  # Python refuses to print a longer one
            raise ConstructorError(None, None, "a number of thousands of digits", node.start_mark)
        return number

    def vault_value(self, node: Node) -> VaultValue:
        if not isinstance(node, ScalarNode):
            raise ConstructorError(None, None, "!vault needs the encrypted text", node.start_mark)
        return VaultValue(node.value)


def _register(tag: str, construct: Callable[..., Any]) -> None:
    _Loader.add_constructor(tag, construct)


_register("tag:yaml.org,2002:map", _Loader.line_map)
_register("tag:yaml.org,2002:seq", _Loader.line_list)
_register("tag:yaml.org,2002:str", _Loader.text)
_register("tag:yaml.org,2002:int", _Loader.whole_number)
_register("!unsafe", _Loader.unsafe_value)
_register("!vault", _Loader.vault_value)
_register("!vault-encrypted", _Loader.vault_value)


def read_text(file: Path) -> str:
    """Read the text of a file.

    Raises:
        ConfigError: the file is no plain file, cannot be read, is too large, or is not UTF-8.
    """
    try:
        # Non-blocking, because reading a FIFO may never end.
        with open(file, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ConfigError([f"{Origin(file)} is no plain file."])
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{Origin(file)} cannot be read: {error.strerror or error}."]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([f"{Origin(file)} is larger than {MAX_BYTES // 2**20} MB, too large for a file of settings."])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            [f"{Origin(file, line)}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8."]
        ) from None


def parse(text: str, file: Path, lines: Lines, warnings: list[str]) -> object:
    """Parse a YAML or JSON text.

    JSON is tried first, as Ansible does: JSON indented with tabs is not YAML.

    Args:
        text: the file's text, decrypted if it was encrypted.
        file: its name, for messages.
        lines: receives the line of every key.
        warnings: receives sentences about duplicate keys.

    Raises:
        ConfigError: one sentence with file, line, column and what was expected.
    """
    if text.startswith(HEADER):
        raise ConfigError([f"{Origin(file)} is encrypted twice, or where only plain text is read."])
    if text.lstrip()[:1] not in ("{", "["):
        return _parse_yaml(text, file, lines, warnings)
    try:
        data = json.loads(text, object_hook=_json_object)
    except (ValueError, RecursionError) as error:
        try:
            return _parse_yaml(text, file, lines, warnings)
        except ConfigError:
            if file.suffix == ".json" and isinstance(error, json.JSONDecodeError):
                where = f"{Origin(file, error.lineno)}, column {error.colno}"
                raise ConfigError([f"{where}: not JSON: {error.msg}."]) from None
            raise
    _refuse_half_characters(text, data, file)
    return data


def _refuse_half_characters(text: str, data: object, file: Path) -> None:
    """Refuse lone surrogates, which JSON can spell and nothing can print."""
    if "\\ud" not in text.lower():
        return
    try:
        json.dumps(data, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise ConfigError([f"{Origin(file)} has a \\ud… that is half a character; both halves are needed."]) from None


def _json_object(pairs: dict[str, Any]) -> object:
    """Convert Ansible's JSON spelling of `!vault` and `!unsafe`."""
    if isinstance(cipher := pairs.get("__ansible_vault"), str):
        return VaultValue(cipher)
    if isinstance(text := pairs.get("__ansible_unsafe"), str):
        return UnsafeText(text)
    return pairs


def _parse_yaml(text: str, file: Path, lines: Lines, warnings: list[str]) -> object:
    loader: _Loader | None = None
    try:
        loader = _Loader(text, file, lines, warnings)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_bombs(node, file)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_yaml_sentence(error, text, file)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{Origin(file)} is not YAML: {' '.join(str(error).split())}."]) from None
    except (ValueError, TypeError, OverflowError, ArithmeticError, LookupError, AttributeError) as error:
        raise ConfigError([f"{Origin(file)}: a value cannot be read: {error}; put it in quotes."]) from None
    except RecursionError:
        raise ConfigError([f"{Origin(file)} is nested too deeply."]) from None
    finally:
        if loader is not None:
            loader.dispose()


def _refuse_bombs(root: Node, file: Path) -> None:
    """Refuse aliases that expand to too much, or contain themselves.

    Raises:
        ConfigError: with every alias expanded, the file has more than MAX_VALUES values.
    """
    sizes: dict[int, int] = {}
    busy: set[int] = set()

    def size(node: Node) -> int:
        if isinstance(node, ScalarNode):
            return 1
        known = sizes.get(id(node))
        if known is not None:
            return known
        where = Origin(file, node.start_mark.line + 1)
        if id(node) in busy:
            raise ConfigError([f"{where}: an alias holds itself."])
        busy.add(id(node))
        kids = node.value if isinstance(node, SequenceNode) else [side for pair in node.value for side in pair]
        total = 1 + sum(size(kid) for kid in kids)
        if total > MAX_VALUES:
            raise ConfigError([f"{where}: its aliases stand for more than {MAX_VALUES:,} values."])
        busy.discard(id(node))
        sizes[id(node)] = total
        return total

    size(root)


def _yaml_sentence(error: yaml.MarkedYAMLError, text: str, file: Path) -> str:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "it is not YAML"
    written = text.splitlines()
    where = f"{Origin(file, min(mark.line + 1, len(written)))}, column {mark.column + 1}" if mark else str(Origin(file))
    if mark and mark.line < len(written) and written[mark.line][mark.column : mark.column + 1] == "\t":
        return f"{where}: a tab, where YAML expects spaces."
    if "unhashable key" in problem:
        return f'{where}: a mapping cannot be a key. A value that starts with {{{{ needs quotes: name: "{{{{ … }}}}".'
    if "could not determine a constructor for the tag" in problem:
        tag = problem.partition("the tag ")[2]
        return f"{where}: the tag {tag} is unknown; !vault and !unsafe are the tags that can be used."
    context = f" {error.context}" if error.context and error.context != problem else ""
    return f"{where}: not YAML: {problem}{context}."
