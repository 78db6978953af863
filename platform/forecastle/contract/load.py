"""From a folder to a loaded system: declaration, SQL, code; all problems at once or none.

Belongs here: reading a system's folder, turning pydantic's findings into problems with lines, discovery of systems.
Does not belong here: what is checked (`system.py`, `check.py`), data, anything that runs SQL.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from forecastle.contract.check import Parts, check_system, source_schema
from forecastle.contract.document import Document, read_document
from forecastle.contract.errors import ContractError, Problem, did_you_mean
from forecastle.contract.feature_set import FeatureSet, FeatureSpec, OnDemandSpec, ViewSpec, load_module
from forecastle.contract.sql import column_lineage, parse_select
from forecastle.contract.system import System

DECLARATION = "system.yaml"


@dataclass(frozen=True, slots=True)
class LoadedSystem:
    """A declaration that was found to be whole, with the SQL and Python that belong to it."""

    declaration: System
    folder: Path
    sql: Mapping[str, str]
    code: Mapping[str, str]

    @property
    def name(self) -> str:
        """The system's name."""
        return self.declaration.system

    def function(self, path: str) -> Callable[..., Any]:
        """The function `module:function` of the system's folder.

        Raises:
            KeyError: no such module.
            AttributeError: no such function.
        """
        module, _, function = path.partition(":")
        loaded: Callable[..., Any] = getattr(load_module(module, self.code[module], origin=self.name), function)
        return loaded

    def lineage(self, file: str) -> dict[str, tuple[tuple[str, str], ...]]:
        """For each output column of a SQL file the (source, column) pairs it is computed from."""
        schema = source_schema(self.declaration)
        parsed, problems = parse_select(self.sql[file], file=file, schema=schema)
        if parsed is None:
            raise ContractError(problems)
        return column_lineage(parsed, schema=schema)

    def reads(self, file: str) -> tuple[str, ...]:
        """The sources that a SQL file reads, sorted."""
        parsed, problems = parse_select(self.sql[file], file=file, schema=source_schema(self.declaration))
        if parsed is None:
            raise ContractError(problems)
        return parsed.tables

    def feature_set(self, model: str) -> FeatureSet:
        """The feature set of one model: its features in order and whatever their on-demand functions read."""
        system = self.declaration
        wanted = system.model_features(model)
        groups = [name for name, group in system.on_demand.items() if set(group.features) & set(wanted)]
        read = [feature for name in groups for feature in system.on_demand[name].inputs]
        made = [feature for name in groups for feature in system.on_demand[name].features]
        names = list(dict.fromkeys([*wanted, *read, *made]))
        views = [name for name, view in system.feature_views.items() if set(view.features) & set(names)]
        return FeatureSet(
            system=system.system,
            entity=next(iter(system.entity)),
            keys=dict(system.entity_of_label().keys),
            model_features=tuple(wanted),
            features=tuple(self._spec(name) for name in names),
            views=tuple(self._view(name) for name in views),
            on_demand=tuple(self._on_demand(name) for name in groups),
            code={
                module: self.code[module]
                for module in sorted({system.on_demand[name].function.split(":")[0] for name in groups})
            },
        )

    def _spec(self, name: str) -> FeatureSpec:
        view = self.declaration.view_of(name)
        ttl = self.declaration.feature_views[view].ttl.total_seconds() if view else None
        return FeatureSpec(name, self.declaration.features()[name], view, ttl)

    def _view(self, name: str) -> ViewSpec:
        view = self.declaration.feature_views[name]
        keys = tuple(self.declaration.entity[view.entity].keys)
        digest = hashlib.sha256(self.sql[view.sql].encode()).hexdigest()
        return ViewSpec(name, keys, view.ttl.total_seconds(), tuple(view.features), digest)

    def _on_demand(self, name: str) -> OnDemandSpec:
        group = self.declaration.on_demand[name]
        return OnDemandSpec(name, group.function, tuple(group.inputs), tuple(group.features))


def load_system(folder: Path) -> LoadedSystem:
    """Load one system's folder.

    Raises:
        ContractError: with every problem of system.yaml, SQL and Python at once.
    """
    document = read_document(folder / DECLARATION)
    try:
        system = System.model_validate(document.data)
    except ValidationError as error:
        raise ContractError(_problems(error, document)) from None
    sql = {p.name: p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.sql"))}
    code = {p.stem: p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.py"))}
    loaded = LoadedSystem(system, folder, MappingProxyType(sql), MappingProxyType(code))
    problems = check_system(system, document, Parts(sql, frozenset(code), loaded.function))
    if system.system != folder.name:
        line = document.line(("system",))
        problems.insert(0, Problem(document.file, line, f"names {system.system!r} in folder {folder.name!r}"))
    if problems:
        raise ContractError(problems)
    return loaded


def discover(folders: Sequence[Path]) -> dict[str, Path]:
    """Folders of systems by name: every child with a system.yaml; later folders may add, never replace.

    Raises:
        ContractError: a folder is missing or two folders hold a system of one name.
    """
    found: dict[str, Path] = {}
    problems = []
    for folder in folders:
        if not folder.is_dir():
            problems.append(Problem(str(folder), 0, "is not a folder of systems"))
            continue
        for child in sorted(folder.iterdir()):
            if not (child / DECLARATION).is_file():
                continue
            if child.name in found:
                problems.append(Problem(str(child), 0, f"system {child.name!r} stands in {found[child.name]} already"))
            found.setdefault(child.name, child)
    if problems:
        raise ContractError(problems)
    return found


def _problems(error: ValidationError, document: Document) -> list[Problem]:
    problems = []
    for item in error.errors(include_url=False):
        place = tuple(part for part in item["loc"] if part != "[key]")
        path = _path_in(document.data, place)
        text, hint = _sentence(item, place)
        problems.append(Problem(document.file, document.line(path), text, hint))
    return sorted(problems, key=lambda p: p.line)


def _path_in(data: Any, place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The part of a pydantic location that exists in the data (it also names union branches and validators)."""
    path: list[str | int] = []
    for part in place:
        inside = isinstance(data, dict) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            path.append(part)
            data = data[part]  # type: ignore[index]  # the branch above says which container it is
    return tuple(path)


def _sentence(item: Any, place: tuple[str | int, ...]) -> tuple[str, str]:
    where = ".".join(str(part) for part in place)
    kind = item["type"]
    if kind == "extra_forbidden":
        return f"unknown key {place[-1]!r} in {where}", did_you_mean(str(place[-1]), _fields_at(place[:-1]))
    if kind == "missing":
        return f"key {where!r} is missing", ""
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(item["ctx"]["expected"]))
        return f"{where} is {item['input']!r}", did_you_mean(str(item["input"]), allowed)
    if kind == "string_pattern_mismatch":
        return f"{where} is {item['input']!r}", f"it must match {item['ctx']['pattern']}"
    message = str(item["msg"]).removeprefix("Value error, ")
    shown = item["input"] if isinstance(item["input"], str | int | float | bool | None) else type(item["input"]).__name__
    return (f"{where}: {message}", "") if "got" in message else (f"{where} is {shown!r}: {message}", "")


def _fields_at(place: tuple[str | int, ...]) -> list[str]:
    """Field names of the model that stands at a location in the declaration."""
    model: Any = System
    for part in place:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            model = _model_in(model)
            continue
        field = model.model_fields.get(str(part))
        model = field.annotation if field else None
    model = model if isinstance(model, type) else _model_in(model)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _model_in(annotation: Any) -> Any:
    """The declaration model inside dict[…, M], M | None or Annotated."""
    for argument in getattr(annotation, "__args__", ()):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument
        inner = _model_in(argument)
        if inner is not None:
            return inner
    return None
