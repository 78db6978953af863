"""Checks across a declaration: names that must exist, SQL that must fit, code that must load.

Belongs here: every fault that needs two fields or another file, each with its line and a hint.
Does not belong here: what one field may hold (`system.py`), reading files (`load.py`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forecastle.contract.document import Document
from forecastle.contract.errors import Problem, did_you_mean
from forecastle.contract.estimators import ESTIMATOR_PARAMS
from forecastle.contract.sql import ParsedSql, parse_select
from forecastle.contract.system import Column, Feature, KnownAt, Source, System
from forecastle.contract.types import NUMERIC_DTYPES

TIME_COLUMNS = ("event_at", "known_at")

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """What lies beside system.yaml: SQL texts by file name and a door to the system's Python."""

    sql: Mapping[str, str]
    modules: frozenset[str]
    function: Callable[[str], Any]


def source_schema(system: System) -> dict[str, list[str]]:
    """The tables that feature SQL may read: each source with its columns and the two times."""
    return {
        name: [*source.columns, *(t for t in TIME_COLUMNS if t not in source.columns)]
        for name, source in system.sources.items()
    }


def check_system(system: System, document: Document, parts: Parts) -> list[Problem]:
    """Every fault that needs more than one field, in file order."""
    checker = _Checker(system, document, parts)
    return sorted(checker.problems(), key=lambda p: (p.file != document.file, p.file, p.line))


class _Checker:
    def __init__(self, system: System, document: Document, parts: Parts) -> None:
        self.system = system
        self.document = document
        self.parts = parts

    def at(self, place: Place, text: str, hint: str = "") -> Problem:
        return Problem(self.document.file, self.document.line(place), text, hint)

    def problems(self) -> Iterator[Problem]:
        yield from self._sources()
        yield from self._features()
        yield from self._views()
        yield from self._on_demand()
        yield from self._label()
        yield from self._models()
        yield from self._evaluate()

    def _sources(self) -> Iterator[Problem]:
        for name, source in self.system.sources.items():
            place: Place = ("sources", name)
            yield from self._columns((*place, "columns"), source.columns)
            known = source.known_at if not isinstance(source.known_at, KnownAt) else None
            for field, column in (("event_at", source.event_at), ("known_at", known)):
                yield from self._time_column((*place, field), source, column)
            for column in source.key:
                if column not in {*source.columns, *TIME_COLUMNS}:
                    hint = did_you_mean(column, source.columns)
                    yield self.at((*place, "key"), f"key names unknown column {column!r}", hint)
            yield from self._freshness((*place, "freshness"), source.freshness)

    def _time_column(self, place: Place, source: Source, column: str | None) -> Iterator[Problem]:
        if column is None:
            return
        if column not in source.columns:
            hint = did_you_mean(column, source.columns)
            yield self.at(place, f"{place[-1]} names unknown column {column!r}", hint)
        elif source.columns[column].dtype not in {"timestamp", "date"}:
            got = source.columns[column].dtype
            yield self.at(place, f"{place[-1]} column {column!r} is {got}", "declare dtype timestamp or date")

    def _freshness(self, place: Place, freshness: Any) -> Iterator[Problem]:
        if freshness is not None and not freshness.warn < freshness.fail:
            yield self.at(place, "freshness.warn is not shorter than freshness.fail")

    def _columns(self, place: Place, columns: Mapping[str, Column]) -> Iterator[Problem]:
        for name, column in columns.items():
            here = (*place, name)
            if column.dtype in {"float64", "int64"} and column.unit is None:
                yield self.at(here, f"number {name!r} has no unit", "say what it counts, such as count or seconds")
            if column.min is not None and column.max is not None and column.min > column.max:
                yield self.at(here, f"{name!r} has min {column.min:g} above max {column.max:g}")
            if (column.min is not None or column.max is not None) and column.dtype not in NUMERIC_DTYPES:
                yield self.at(here, f"{name!r} is {column.dtype}, which has no min or max")

    def _features(self) -> Iterator[Problem]:
        owner: dict[str, str] = {}
        for kind in ("feature_views", "on_demand"):
            for group, declared in getattr(self.system, kind).items():
                place: Place = (kind, group, "features")
                yield from self._columns(place, declared.features)
                for name, feature in declared.features.items():
                    here = (*place, name)
                    if name in owner:
                        yield self.at(here, f"feature {name!r} stands in {owner[name]!r} already", "give it another name")
                    owner.setdefault(name, group)
                    yield from self._feature(here, name, feature)

    def _feature(self, place: Place, name: str, feature: Feature) -> Iterator[Problem]:
        if feature.dtype not in NUMERIC_DTYPES:
            yield self.at(place, f"feature {name!r} is {feature.dtype}", "features are float64, int64 or bool")
        if feature.missing == "default" and feature.default is None and not feature.nullable:
            yield self.at(place, f"feature {name!r} has missing: default but no default and is not nullable")
        value = feature.default
        low = -math.inf if feature.min is None else feature.min
        high = math.inf if feature.max is None else feature.max
        if value is not None and not low <= value <= high:
            yield self.at(place, f"feature {name!r} has default {value:g} outside [{low:g}, {high:g}]")

    def _views(self) -> Iterator[Problem]:
        for name, view in self.system.feature_views.items():
            place: Place = ("feature_views", name)
            entity = self.system.entity.get(view.entity)
            if entity is None:
                hint = did_you_mean(view.entity, self.system.entity)
                yield self.at((*place, "entity"), f"names unknown entity {view.entity!r}", hint)
                continue
            yield from self._freshness((*place, "freshness"), view.freshness)
            wanted = {*entity.keys, *TIME_COLUMNS, *view.features}
            yield from self._sql((*place, "sql"), view.sql, wanted)

    def _sql(self, place: Place, file: str, wanted: set[str]) -> Iterator[Problem]:
        text = self.parts.sql.get(file)
        if text is None:
            yield self.at(place, f"names {file!r}, which is not in the folder", did_you_mean(file, self.parts.sql))
            return
        parsed, problems = parse_select(text, file=file, schema=source_schema(self.system))
        yield from problems
        if parsed is not None:
            yield from self._outputs(parsed, wanted)

    def _outputs(self, parsed: ParsedSql, wanted: set[str]) -> Iterator[Problem]:
        got = set(parsed.outputs)
        for name in sorted(wanted - got):
            yield Problem(parsed.file, 1, f"does not give column {name!r}", did_you_mean(name, got))
        for name in sorted(got - wanted):
            yield Problem(parsed.file, 1, f"gives undeclared column {name!r}", did_you_mean(name, wanted))

    def _on_demand(self) -> Iterator[Problem]:
        of_views = {f for view in self.system.feature_views.values() for f in view.features}
        for name, group in self.system.on_demand.items():
            place: Place = ("on_demand", name)
            for feature in group.inputs:
                if feature not in of_views:
                    hint = did_you_mean(feature, of_views)
                    yield self.at((*place, "inputs"), f"reads unknown feature {feature!r}", hint)
            yield from self._function((*place, "function"), group.function, set(group.inputs))
        if self.system.simulate is not None:
            yield from self._function(("simulate",), self.system.simulate, {"seed", "now"})

    def _function(self, place: Place, path: str, arguments: set[str]) -> Iterator[Problem]:
        module = path.partition(":")[0]
        if module not in self.parts.modules:
            hint = did_you_mean(f"{module}.py", [f"{name}.py" for name in self.parts.modules])
            yield self.at(place, f"{path!r} needs {module}.py, which is not in the folder", hint)
            return
        try:
            function = self.parts.function(path)
        except Exception as error:  # noqa: BLE001  a system's own code may raise anything while it loads
            yield self.at(place, f"{path!r} cannot be loaded: {type(error).__name__}: {error}")
            return
        accepted = set(inspect.signature(function).parameters)
        missing = sorted(arguments - accepted)
        if missing:
            yield self.at(place, f"{path!r} takes no argument {', '.join(missing)}", f"it takes {', '.join(accepted)}")

    def _label(self) -> Iterator[Problem]:
        label = self.system.label
        yield from self._columns(("label", "columns"), label.columns)
        entity = self.system.entity_of_label()
        wanted = {*entity.keys, "predict_at", "outcome", "known_at", *label.columns}
        yield from self._sql(("label", "sql"), label.sql, wanted)

    def _models(self) -> Iterator[Problem]:
        features = self.system.features()
        for name, model in self.system.models.items():
            place: Place = ("models", name)
            for feature in model.features or ():
                if feature not in features:
                    hint = did_you_mean(feature, features)
                    yield self.at((*place, "features"), f"uses unknown feature {feature!r}", hint)
            yield from self._estimator(place, model.estimator, model.params)

    def _estimator(self, place: Place, path: str, params: Mapping[str, Any]) -> Iterator[Problem]:
        if path not in ESTIMATOR_PARAMS:
            yield self.at((*place, "estimator"), f"estimator is {path!r}", did_you_mean(path, ESTIMATOR_PARAMS))
            return
        allowed = ESTIMATOR_PARAMS[path]
        for param in params:
            if param not in allowed:
                hint = did_you_mean(param, allowed)
                yield self.at((*place, "params", param), f"{path} has no parameter {param!r}", hint)

    def _evaluate(self) -> Iterator[Problem]:
        features, evaluate = self.system.features(), self.system.evaluate
        if evaluate.baseline not in features:
            hint = did_you_mean(evaluate.baseline, features)
            yield self.at(("evaluate", "baseline"), f"names unknown feature {evaluate.baseline!r}", hint)
        rows = {*self.system.entity_of_label().keys, *self.system.label.columns}
        for name in (*evaluate.slices, *((evaluate.cluster,) if evaluate.cluster else ())):
            if name not in rows:
                hint = did_you_mean(name, rows)
                yield self.at(("evaluate",), f"names {name!r}, which label rows do not have", hint)
