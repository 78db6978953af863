"""YAML read the strict way: plain data, and the line every value stands on.

Belongs here: what YAML may contain at all (no duplicates, anchors or tags, one size, YAML 1.2 words).
Does not belong here: what the values mean (`system.py`).
Words follow the core schema of https://yaml.org/spec/1.2.2/ without its octal and hexadecimal numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from forecastle.contract.errors import ContractError, Problem

SIZE_LIMIT_BYTES: Final = 1 << 20
DEPTH_LIMIT: Final = 40

Place = tuple[str | int, ...]

_INT: Final = re.compile(r"[-+]?[0-9]{1,100}")
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}
# libyaml is ten times as fast where PyYAML was built with it.
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data of one YAML file and the line of every place in it.

    `problems` are refusals that left the rest readable (a key said twice, an anchor); whoever reads the data
    reports them with its own.
    """

    file: str
    data: Any
    lines: dict[Place, int]
    problems: tuple[Problem, ...] = ()

    def line(self, place: Place) -> int:
        """Line of a place, or of the nearest thing above it."""
        for end in range(len(place), -1, -1):
            if place[:end] in self.lines:
                return self.lines[place[:end]]
        return 1


def read_text(path: Path) -> str:
    """Text of a small UTF-8 file.

    Raises:
        ContractError: it cannot be read, is over 1 MiB or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ContractError([Problem(str(path), 0, f"cannot be read: {error.strerror}")]) from error
    if len(raw) > SIZE_LIMIT_BYTES:
        text = f"is more than {SIZE_LIMIT_BYTES} bytes, the most that is read; split it"
        raise ContractError([Problem(str(path), 0, text)])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ContractError([Problem(str(path), line, "is not UTF-8", "save it as UTF-8")]) from error


def read_document(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        ContractError: not readable, over 1 MiB, not UTF-8, not YAML, empty or nested too deeply.
    """
    return parse_document(read_text(path), file=str(path))


def parse_document(text: str, *, file: str) -> Document:
    """Parse YAML text; `file` is the name that problems carry.

    Raises:
        ContractError: not YAML, empty or nested too deeply.
    """
    reader = _Reader(file, text)
    try:
        data = reader.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = Problem(file, mark.line + 1 if mark else 1, f"is not YAML: {error.problem or error.context}")
        raise ContractError([*reader.problems, problem]) from error
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        problem = Problem(file, line, f"is not YAML: {getattr(error, 'reason', error)}")
        raise ContractError([*reader.problems, problem]) from error
    return Document(file, data, reader.lines, tuple(reader.problems))


class _Reader:
    """Turns parser events into data, one pass, noting lines and refusing what a declaration never needs."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self.events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=_Loader))

    def refuse(self, event: yaml.Event, text: str) -> None:
        self.problems.append(Problem(self.file, _line(event), text))

    def document(self) -> Any:
        next(self.events)
        if isinstance(next(self.events), yaml.StreamEndEvent):
            raise ContractError([Problem(self.file, 1, "is empty", "begin with system: NAME")])
        data = self.read(next(self.events), ())
        next(self.events)
        rest = next(self.events)
        if not isinstance(rest, yaml.StreamEndEvent):
            self.refuse(rest, "begins a second document; one file declares one system")
        return data

    def read(self, event: yaml.Event, place: Place) -> Any:
        self.lines.setdefault(place, _line(event))
        if len(place) > DEPTH_LIMIT:
            self.refuse(event, f"nests deeper than {DEPTH_LIMIT} levels")
            raise ContractError(self.problems)
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, f"has the YAML alias *{event.anchor}; write the value out")
            return None
        self._plain(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place)
        return _scalar(event)

    def _plain(self, event: Any) -> None:
        if getattr(event, "anchor", None) is not None:
            self.refuse(event, f"has the YAML anchor &{event.anchor}; write the value out")
        if getattr(event, "tag", None) is not None:
            self.refuse(event, f"has the YAML tag {event.tag}; write the plain value")

    def _sequence(self, place: Place) -> list[Any]:
        data: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            data.append(self.read(event, (*place, len(data))))
        return data

    def _mapping(self, place: Place) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self.refuse(event, "has a key that is not a word")
                self.read(event, (*place, ""))
                self.read(next(self.events), (*place, ""))
                continue
            self._plain(event)
            key, line = str(event.value), _line(event)
            if key in data:
                self.refuse(event, f"says {key!r} twice (first on line {self.lines[*place, key]})")
                self.read(next(self.events), (*place, key))
            else:
                self.lines[*place, key] = line
                data[key] = self.read(next(self.events), (*place, key))
        return data


def _scalar(event: Any) -> Any:
    text = str(event.value)
    # Only a word that stood without quotes may be a number, a truth or nothing: the parser says which did.
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
