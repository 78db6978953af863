"""YAML read the strict way: plain data, and the line every value stands on.

Belongs here: what YAML may contain at all (no duplicates, no anchors, one size, YAML 1.2 words).
Does not belong here: what the values mean (`system.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from forecastle.contract.errors import ContractError, Problem

SIZE_LIMIT_BYTES = 1 << 20
DEPTH_LIMIT = 40

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data of one YAML file and the line of every path in it."""

    file: str
    data: Any
    lines: dict[Path_, int]

    def line(self, path: Path_) -> int:
        """Line of a path, or of the nearest thing above it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1


def read_document(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        ContractError: not readable, over 1 MiB, not YAML, or uses duplicate keys, anchors, tags or deep nesting.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ContractError([Problem(str(path), 0, f"cannot be read: {error.strerror}")]) from error
    if len(raw) > SIZE_LIMIT_BYTES:
        raise ContractError([Problem(str(path), 0, f"is {len(raw)} bytes; at most {SIZE_LIMIT_BYTES} are read")])
    try:
        return parse_document(raw.decode("utf-8"), file=str(path))
    except UnicodeDecodeError as error:
        raise ContractError([Problem(str(path), 0, f"is not UTF-8 at byte {error.start}")]) from error


def parse_document(text: str, *, file: str) -> Document:
    """Parse YAML text; `file` is the name that problems carry."""
    reader = _Reader(file)
    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken):
                word = type(token).__name__.removesuffix("Token").lower()
                reader.refuse(token.start_mark.line, f"has a YAML {word}; write the value out")
        node = None if reader.problems else yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        reader.refuse(mark.line if mark else 0, f"is not YAML: {error.problem}")
        node = None
    except RecursionError:
        reader.refuse(0, f"nests deeper than {DEPTH_LIMIT} levels")
        node = None
    data = reader.read(node, ()) if node is not None else None
    if reader.problems:
        raise ContractError(reader.problems)
    return Document(file, data, reader.lines)


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's words: only true/false are booleans, no octal, sexagesimal or date."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:~|null|)$", "~n\0"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
):
    for _char in _first:
        _Loader.yaml_implicit_resolvers.setdefault("" if _char == "\0" else _char, []).append(
            (f"tag:yaml.org,2002:{_tag}", re.compile(_pattern))
        )


class _Reader:
    """Turns nodes into data while noting lines and refusing what a declaration never needs."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path_, int] = {}
        self.problems: list[Problem] = []

    def refuse(self, line: int, text: str) -> None:
        self.problems.append(Problem(self.file, line + 1, text))

    def read(self, node: yaml.Node, path: Path_) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > DEPTH_LIMIT:
            self.refuse(node.start_mark.line, f"nests deeper than {DEPTH_LIMIT} levels")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*path, index)) for index, child in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line
            if not isinstance(key_node, yaml.ScalarNode):
                self.refuse(line, "has a key that is not a word")
            elif key in data:
                self.refuse(line, f"says {key!r} twice (first on line {self.lines[(*path, key)]})")
            else:
                self.lines[(*path, key)] = line + 1
                data[key] = self.read(value_node, (*path, key))
        return data


def _scalar(node: yaml.Node) -> Any:
    kind, text = node.tag.rsplit(":", 1)[-1], str(node.value)
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "bool":
        return text == "true"
    return None if kind == "null" else text
