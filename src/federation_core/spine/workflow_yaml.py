"""YAML as plain as JSON, with the line and column of every value.

Scalars mean what they look like: only `true`, `false`, `null` (or nothing, or `~`) and JSON
numbers are not text, so `no`, `on`, `010`, `1:30` and `2026-11-23` stay text, as in the JSON
schema of YAML 1.2 (section 10.2). Anchors, aliases and tags are refused.
"""

import json
import re
from typing import Any

import yaml

from ..errors import InvalidInput
from .canonical import MAX_DEPTH, check_value
from .pointers import join, split
from .workflow_problems import Problem

__all__ = ["MAX_BYTES", "MAX_VALUES", "Document", "read"]

MAX_BYTES = 256 * 1024
MAX_VALUES = 50_000

_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 400

_Place = tuple[int, int]


class Document:
    """A value, where its parts stand, and what was wrong on the way to it."""

    def __init__(self) -> None:
        self.value: Any = None
        self.problems: list[Problem] = []
        self._places: dict[str, _Place] = {"": (1, 1)}
        self._keys: dict[str, _Place] = {}

    def place(self, path: str, *, of_key: bool = False) -> _Place:
        """Line and column (from 1) of the value at `path`, or of its key; of the nearest value
        around it where there is none."""
        if of_key and path in self._keys:
            return self._keys[path]
        while path not in self._places:
            path = join(split(path)[:-1])
        return self._places[path]

    def problem(self, path: str, message: str, *, of_key: bool = False) -> Problem:
        """A problem at that place."""
        return Problem(*self.place(path, of_key=of_key), path, message)

    def take(self, node: yaml.Node, path: str) -> Any:
        """The value of `node`, its places and problems noted. Mappings keep the first of two equal
        keys."""
        self._places[path] = _place(node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.take(item, path + join([i])) for i, item in enumerate(node.value)]
        return self._mapping(node, path)

    def _mapping(self, node: yaml.Node, path: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, item in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = path + join([key])
            if key in result:
                problem = (
                    f"the key {key!r} stands twice; the first is on line {self._keys[here][0]}"
                )
                self._note(key_node, here, problem)
                continue
            self._keys[here] = _place(key_node.start_mark)
            result[key] = self.take(item, here)
        return result

    def _key(self, node: yaml.Node, path: str) -> str | None:
        key = _scalar(node) if isinstance(node, yaml.ScalarNode) else node
        if not isinstance(key, str):
            self._note(node, path, "a key must be text; put it in quotes")
            return None
        return key if self._is_json(key, node, path) else None

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        value = _scalar(node)
        return value if self._is_json(value, node, path) else None

    def _is_json(self, value: Any, node: yaml.Node, path: str) -> bool:
        try:
            check_value(value)
        except InvalidInput as e:
            self._note(node, path, e.errors[0].message)
            return False
        return True

    def _note(self, node: yaml.Node, path: str, message: str) -> None:
        self.problems.append(Problem(*_place(node.start_mark), path, message))


def read(text: str) -> Document:
    """Where `problems` is not empty, `value` is None or lacks what they tell of."""
    document = Document()
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        document.problems.append(Problem(1, 1, "", f"the file is larger than {MAX_BYTES} bytes"))
        return document
    node = _compose(text, document)
    if node is not None:
        document.value = document.take(node, "")
    if document.value is None and not document.problems:
        document.problems.append(Problem(1, 1, "", "the file is empty; it starts with workflow:"))
    return document


def _compose(text: str, document: Document) -> yaml.Node | None:
    place = (1, 1)
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        except (ValueError, OverflowError):  # an escape or a directive beyond what Python can hold
            place = (loader.line + 1, loader.column + 1)
            message = "this number is too large for an escape or a directive"
    except yaml.reader.ReaderError as e:
        before = text[: e.position]
        place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"the character U+{ord(text[e.position]):04X} may not stand in a file"
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        place = _place(mark) if mark else place
        message = " ".join(filter(None, [e.problem, e.context and f"({e.context})"]))
    document.problems.append(Problem(*place, "", message))
    return None


class _Loader(yaml.SafeLoader):
    """Composes nodes from what has one meaning, and not too much of it."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the library's own attribute

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._values += 1
        if isinstance(event, yaml.AliasEvent):
            _refuse(event, "aliases (*name) are not taken; write the value out")
        if getattr(event, "anchor", None) is not None:
            _refuse(event, "anchors (&name) are not taken; write the value out where it is used")
        if getattr(event, "tag", None) is not None:
            _refuse(event, "tags (!name) are not taken; remove it")
        if self._values > MAX_VALUES:
            _refuse(event, f"a file holds at most {MAX_VALUES} values")
        if self._depth > MAX_DEPTH:
            _refuse(event, f"values may be nested at most {MAX_DEPTH} levels deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _refuse(event: Any, message: str) -> None:
    raise yaml.composer.ComposerError(None, None, message, event.start_mark)


def _place(mark: Any) -> _Place:
    return (mark.line + 1, mark.column + 1)


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) <= _MAX_DIGITS and _NUMBER.fullmatch(text):
        return json.loads(text)
    return text
