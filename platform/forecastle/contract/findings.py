"""From plain data to a declaration, or to the sentences that say why not.

Belongs here: pydantic's findings turned into problems with lines, and the stand-ins that let the other checks
go on.
Does not belong here: what is allowed (`system.py`), checks across fields and files (`check.py`).
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from forecastle.contract.document import Document, Place
from forecastle.contract.errors import Problem, did_you_mean
from forecastle.contract.system import System
from forecastle.contract.types import PATTERN_HINTS

# One of these is allowed wherever a declaration wants a single value.
_STAND_INS: Final = (
    None, "1d", "x", 0.5, 1, True, "float64", "int64", "csv", "refuse", "auto", "x.sql", "x:x", "x.x",
    "0 0 * * *", "team:x", "training_set",
)  # fmt: skip

_NEEDS: Final = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "list_type": "a list, such as [a, b]",
}
_LIMITS: Final = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True, slots=True)
class Findings:
    """What a document declares, with every fault of single fields.

    `document` has misspelt keys under the names that were meant.
    `system` is None when the faults leave nothing to check further; otherwise values at the places in
    `doubtful` are stand-ins or absent, and what is found there is no finding.
    """

    document: Document
    system: System | None
    problems: tuple[Problem, ...]
    doubtful: frozenset[Place]

    def certain(self, place: Place) -> bool:
        """Whether a fault found at a place can be the user's."""
        return not any(place in {p, p[:-1]} or place[: len(p)] == p for p in self.doubtful)


def read_system(document: Document) -> Findings:
    """Validate a document; the faults of all fields are listed, not the first one."""
    items, unknown = _items(document.data), []
    misspelt = _misspelt(items)
    if misspelt:
        unknown = [_problem([item], document) for item in items if item.place in misspelt]
        document = _renamed(document, misspelt)
        items = _items(document.data)
    problems = [*unknown, *(_problem(group, document) for group in _groups(items))]
    system, doubtful = _with_stand_ins(document.data)
    return Findings(document, system, tuple(problems), frozenset(doubtful))


class _Item:
    """One finding of pydantic: `inner` is its location, `place` the part of that which is in the data."""

    def __init__(self, item: Mapping[str, Any], data: Any) -> None:
        self.kind = str(item["type"])
        self.context: Mapping[str, Any] = item.get("ctx", {})
        self.value = item["input"]
        self.message = str(item["msg"])
        self.is_key = item["loc"][-1:] == ("[key]",)
        self.inner: Place = tuple(part for part in item["loc"] if part != "[key]")
        self.place = _place_in(data, self.inner)
        # A missing key stands in no data: its name is the last part, whatever branch of a union is before.
        self.named = (*self.place, self.inner[-1]) if self.kind == "missing" else self.place

    @property
    def is_type(self) -> bool:
        return self.kind in _NEEDS


def _place_in(data: Any, location: Place) -> Place:
    """The part of a pydantic location that exists in the data (it also names branches of unions)."""
    place: list[str | int] = []
    for part in location:
        inside = isinstance(data, Mapping) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            place.append(part)
            data = data[part]
    return tuple(place)


def _groups(items: Sequence[_Item]) -> list[list[_Item]]:
    """Findings about one value together: a union complains once for each of its branches."""
    groups: dict[tuple[Place, bool], list[_Item]] = {}
    for item in items:
        groups.setdefault((item.named, item.is_type), []).append(item)
    inside = [item.inner[: len(item.place) + 1] for item in items if not item.is_type]
    return [
        group
        for (place, is_type), group in groups.items()
        if not (is_type and any(other[: len(place)] == place and len(other) > len(place) for other in inside))
    ]


def _problem(group: Sequence[_Item], document: Document) -> Problem:
    first = group[0]
    line = document.line(first.place)
    where = ".".join(map(str, first.named))
    if first.is_type and where:
        needs = list(dict.fromkeys(_NEEDS[item.kind] for item in group))
        need = " or ".join(needs) if len(needs) <= 2 else "a single value"
        text = f"{where} is {_shown(first.value)}; {need} is required"
        return Problem(document.file, line, text, _quote(first) if len(needs) == 1 else "")
    if first.is_type:
        return Problem(document.file, line, "is no mapping", "begin with system: NAME")
    if first.is_key:
        return Problem(document.file, line, f"{where} cannot be a name", PATTERN_HINTS[first.context["pattern"]])
    return Problem(document.file, line, *_sentence(first, where))


def _sentence(item: _Item, where: str) -> tuple[str, str]:
    if item.kind == "extra_forbidden":
        key = str(item.place[-1])
        above = f" in {where.rpartition('.')[0]}" if "." in where else ""
        return f"unknown key {key!r}{above}", did_you_mean(key, _keys_at(item.inner))
    if item.kind == "missing":
        return f"{where} is missing", _describe(item.inner)
    return _about_value(item, where)


def _about_value(item: _Item, where: str) -> tuple[str, str]:
    shown = _shown(item.value)
    if item.kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(item.context["expected"]))
        return f"{where} is {shown}", did_you_mean(str(item.value), allowed)
    if item.kind == "string_pattern_mismatch":
        return f"{where} is {shown}", PATTERN_HINTS[item.context["pattern"]]
    if item.kind in _LIMITS:
        key, words = _LIMITS[item.kind]
        return f"{where} is {shown}; {words} {item.context[key]:g} is allowed", ""
    if item.kind in {"too_short", "string_too_short"}:
        return f"{where} is empty; at least one is required", _describe(item.inner)
    return f"{where}: {item.message.removeprefix('Value error, ')}", ""


def _shown(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return "a list" if isinstance(value, list) else "a mapping"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _quote(item: _Item) -> str:
    wants_text = item.kind == "string_type" and isinstance(item.value, bool | int | float)
    return f'write "{_shown(item.value)}"' if wants_text else ""


def _keys_at(location: Place) -> list[str]:
    """Keys allowed in the mapping that the last part of a location stands in."""
    model = _model_at(location[:-1])
    return list(model.model_fields) if model else []


def _describe(location: Place) -> str:
    model = _model_at(location[:-1])
    field = model.model_fields.get(str(location[-1])) if model else None
    return (field.description or "") if field else ""


def _model_at(location: Place) -> type[BaseModel] | None:
    """The declaration model whose fields stand at a location."""
    annotation: Any = System
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            annotation = _without_none(field.annotation) if field else None
        elif get_origin(annotation) in {dict, list}:
            annotation = get_args(annotation)[-1]
        else:
            # The location names the branch of a union that was tried, and before it the union where it has a tag.
            named = (a for a in _branches(annotation) if getattr(a, "__name__", "") == part)
            annotation = next(named, annotation)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _branches(annotation: Any) -> Iterator[Any]:
    """What a union may be, unions and annotations inside it opened."""
    if get_origin(annotation) is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, UnionType}:
        for branch in get_args(annotation):
            yield from _branches(branch)
    else:
        yield annotation


def _without_none(annotation: Any) -> Any:
    others = [a for a in get_args(annotation) if a is not NoneType]
    return others[0] if NoneType in get_args(annotation) and len(others) == 1 else annotation


def _items(data: Any) -> list[_Item]:
    try:
        System.model_validate(data)
    except ValidationError as error:
        return [_Item(item, data) for item in error.errors(include_url=False)]
    return []


def _misspelt(items: Sequence[_Item]) -> dict[Place, str]:
    """Unknown keys that are close to a key missing beside them, with that key."""
    found: dict[Place, str] = {}
    for item in items:
        if item.kind == "extra_forbidden":
            beside = [m for m in items if m.kind == "missing" and m.named[:-1] == item.place[:-1]]
            words = [str(m.named[-1]) for m in beside]
            close = difflib.get_close_matches(str(item.place[-1]), words, n=1)
            if close and (*item.place[:-1], close[0]) not in found:
                found[item.place] = close[0]
    return found


def _renamed(document: Document, misspelt: Mapping[Place, str]) -> Document:
    data, lines = copy.deepcopy(document.data), dict(document.lines)
    for (*above, key), meant in misspelt.items():
        parent = data
        for part in above:
            parent = parent[part]
        parent[meant] = parent.pop(key)
        size = len(above)
        for place, line in document.lines.items():
            if place[: size + 1] == (*above, key):
                lines[(*above, meant, *place[size + 1 :])] = line
    return Document(document.file, data, lines, document.problems)


def _with_stand_ins(data: Any) -> tuple[System | None, set[Place]]:
    """The system without unknown keys and with wrong single values replaced; None if that won't do."""
    data = copy.deepcopy(data)
    doubtful: set[Place] = set()
    for stand_in in _STAND_INS:
        items = _items(data)
        if any(item.is_key or not item.named for item in items):
            return None, doubtful
        for item in items:
            doubtful.add(item.named)
            _mend(data, item, stand_in)
    return (None if _items(data) else System.model_validate(data)), doubtful


def _mend(data: Any, item: _Item, stand_in: Any) -> None:
    *above, last = item.named
    for part in above:
        data = data[part]
        if not isinstance(data, dict | list):
            # Something above was replaced in this same round.
            return
    if item.kind != "extra_forbidden":
        data[last] = stand_in
    elif isinstance(data, dict):
        data.pop(last, None)
