"""Checks across a declaration: names that must exist, SQL that must fit, code that must load.

Belongs here: every fault that needs two fields or another file, each with its line and a hint.
Does not belong here: what one field may hold (`system.py`), one contract by itself (`faults.py`), reading
(`load.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from forecastle.contract.code import FunctionText, ModuleText, read_module
from forecastle.contract.column import Column, Feature
from forecastle.contract.composed_check import inside_problems
from forecastle.contract.composed_sql import ComposedSql
from forecastle.contract.decision import PREDICT_AT, DecisionRule
from forecastle.contract.decision_check import decision_arguments, decision_faults, import_problems, trial_fault
from forecastle.contract.document import Place
from forecastle.contract.errors import Problem, did_you_mean
from forecastle.contract.faults import column_faults, feature_faults
from forecastle.contract.findings import Findings
from forecastle.contract.gates_check import gate_faults, phase_faults
from forecastle.contract.matrix_check import concrete_names, matrix_faults, models_to_check
from forecastle.contract.model_check import built_fault, model_faults, searched_sample
from forecastle.contract.on_demand_check import call_faults, input_faults
from forecastle.contract.order_check import order_problems
from forecastle.contract.profit_check import profit_faults
from forecastle.contract.report_check import report_faults
from forecastle.contract.source import Freshness
from forecastle.contract.source_check import TIME_COLUMNS, name_faults, source_faults
from forecastle.contract.sql import ParsedSql, output_line, parse_select
from forecastle.contract.stream_check import stream_faults
from forecastle.contract.system import Entity, Model, System
from forecastle.contract.template import Literals, open_holes, template_faults, template_of
from forecastle.contract.types import NUMERIC_DTYPES

LABEL_COLUMNS: Final = ("predict_at", "outcome", "known_at")


@dataclass(frozen=True, slots=True)
class Parts:
    """What lies beside system.yaml: SQL by file name, Python by module name, files that could not be read."""

    folder: Path
    composed: ComposedSql
    code: Mapping[str, str]
    unread: frozenset[str]
    function: Callable[[str], Callable[..., Any]]

    @property
    def sql(self) -> Mapping[str, str]:
        """Every SQL text by file name, with what it reads of other files inside."""
        return self.composed.texts


@dataclass(frozen=True, slots=True)
class Checked:
    """Every fault found, and the SQL as it was parsed on the way, by file name."""

    problems: tuple[Problem, ...]
    parsed: Mapping[str, ParsedSql]


def source_schema(system: System) -> dict[str, list[str]]:
    """The tables that feature SQL may read: each source with its columns and the two times."""
    return {
        name: [*source.columns, *(t for t in TIME_COLUMNS if t not in source.columns)]
        for name, source in system.sources.items()
    }


def check_system(system: System, parts: Parts, *, findings: Findings) -> Checked:
    """Every fault that needs more than one field; places that `findings` doubts are passed over."""
    checker = _Checker(system, parts, findings)
    return Checked(tuple(checker.problems()), checker.parsed)


@dataclass(slots=True)
class _Checker:
    system: System
    parts: Parts
    findings: Findings
    parsed: dict[str, ParsedSql] = field(default_factory=dict)
    _modules: dict[str, tuple[ModuleText | None, list[Problem]]] = field(default_factory=dict)

    def at(self, place: Place, text: str, hint: str = "") -> Iterator[Problem]:
        if self.findings.certain(place):
            document = self.findings.document
            yield Problem(document.file, document.line(place), text, hint)

    def problems(self) -> Iterator[Problem]:
        if self.system.system != self.parts.folder.absolute().name:
            text = f"names {self.system.system!r} in folder {self.parts.folder.absolute().name!r}"
            yield from self.at(("system",), text, "a system is named like its folder")
        yield from self._sources()
        yield from self._features()
        yield from self._views()
        yield from self._on_demand()
        yield from self._decide()
        yield from self._label()
        yield from self._models()
        yield from self._evaluate()
        yield from self._reports()

    def _sources(self) -> Iterator[Problem]:
        for name, source in self.system.sources.items():
            place: Place = ("sources", name)
            yield from self._columns((*place, "columns"), source.columns)
            yield from self._names((*place, "key"), source.key, {*source.columns, *TIME_COLUMNS}, "column")
            yield from self._freshness((*place, "freshness"), source.freshness)
            for spot, text, hint in source_faults(name, self.system.sources):
                yield from self.at((*place, *spot), text, hint)

    def _names(self, place: Place, names: Sequence[str], allowed: Iterable[str], what: str) -> Iterator[Problem]:
        """Names in a list (or alone) that must exist, each once."""
        for spot, text, hint in name_faults(place, names, allowed, what):
            yield from self.at(spot, text, hint)

    def _freshness(self, place: Place, freshness: Freshness | None) -> Iterator[Problem]:
        if freshness is not None and not freshness.warn < freshness.fail:
            yield from self.at(place, "freshness.warn is not shorter than freshness.fail")

    def _columns(self, place: Place, columns: Mapping[str, Column]) -> Iterator[Problem]:
        for name, column in columns.items():
            for text, hint in column_faults(name, column):
                yield from self.at((*place, name), text, hint)

    def _features(self) -> Iterator[Problem]:
        owner: dict[str, str] = {}
        keys = {key for entity in self.system.entity.values() for key in entity.keys}
        taken = {*keys, *TIME_COLUMNS, *LABEL_COLUMNS, *self.system.label.columns}
        for kind in ("feature_views", "on_demand"):
            for group, declared in getattr(self.system, kind).items():
                place: Place = (kind, group, "features")
                yield from self._columns(place, declared.features)
                for name, feature in declared.features.items():
                    here = (*place, name)
                    if name in owner:
                        text = f"feature {name!r} stands in {owner[name]!r} already"
                        yield from self.at(here, text, "give it another name")
                    if name in taken:
                        text = f"feature {name!r} has the name of a key, a time or a label column"
                        yield from self.at(here, text, "give it another name")
                    owner.setdefault(name, group)
                    for text, hint in feature_faults(name, feature, computed=kind == "on_demand"):
                        yield from self.at(here, text, hint)

    def _views(self) -> Iterator[Problem]:
        about = next(iter(self.system.entity))
        for name, view in self.system.feature_views.items():
            place: Place = ("feature_views", name)
            yield from self._freshness((*place, "freshness"), view.freshness)
            texts = [feature for feature, contract in view.features.items() if contract.dtype == "string"]
            if view.reduced and texts:
                text = f"reduced copies hold numbers, and {', '.join(texts)} is text"
                yield from self.at((*place, "reduced"), text, "leave reduced out")
            entity = self.system.entity.get(view.entity)
            if entity is None:
                yield from self._names((*place, "entity"), [view.entity], self.system.entity, "entity")
                continue
            missing = sorted(set(entity.keys) - set(self.system.entity[about].keys))
            if missing:
                text = f"entity {view.entity!r} has the key {', '.join(missing)}, which {about!r} has not"
                yield from self.at((*place, "entity"), text, f"predictions are about {about!r}, declared first")
            if not self.findings.certain((*place, "params")):
                # With a literal refused, what the SQL says without it would only echo that.
                continue
            for spot, text, hint in template_faults(view, self.parts.sql):
                yield from self.at((*place, *spot), text, hint)
            columns = _view_columns(entity, view.features)
            yield from self._sql((*place, "sql"), view.sql, columns, literals=view.params)
            for text, hint in stream_faults(self.system, view, self.parsed.get(view.sql)):
                yield from self.at((*place, "stream"), text, hint)
        yield from self._population(about)

    def _population(self, about: str) -> Iterator[Problem]:
        """Whom scoring and drift ask about stands in a view: one at least must have every key of the entity."""
        keys, views = self.system.entity[about].keys, self.system.feature_views.values()
        of_views = [self.system.entity[view.entity].keys for view in views if view.entity in self.system.entity]
        # With a view about something else, that is what is wrong, and told already.
        joinable = len(of_views) == len(views) and all(set(found) <= set(keys) for found in of_views)
        if joinable and not any(set(keys) <= set(found) for found in of_views):
            text = f"no feature view has all keys of {about!r}: {', '.join(keys)}"
            hint = f"nobody to score would be known; declare a view of entity {about!r}"
            yield from self.at(("feature_views",), text, hint)

    def _sql(
        self, place: Place, file: str, wanted: set[str], *, literals: Literals = MappingProxyType({})
    ) -> Iterator[Problem]:
        text = self.parts.sql.get(file)
        if file in self.parts.unread:
            return
        if text is None:
            hint = did_you_mean(file, self.parts.sql)
            yield from self.at(place, f"names {file!r}, which is not in the folder", hint)
            return
        path = str(self.parts.folder / template_of(file))
        schema, composed = source_schema(self.system), self.parts.composed
        found = list(inside_problems(file, composed, folder=self.parts.folder, schema=schema))
        found = found or [Problem(path, *hole) for hole in open_holes(self.parts.sql[template_of(file)], literals)]
        if found:
            yield from found
            return
        parsed, problems = parse_select(text, file=path, schema=schema, files=composed.names())
        yield from problems
        if parsed is None:
            return
        self.parsed[file] = parsed
        got = set(parsed.outputs)
        for name in sorted(wanted - got):
            line, hint = output_line(parsed, name), did_you_mean(name, got - wanted)
            yield Problem(path, line, f"does not give column {name!r}", hint)
        for name in sorted(got - wanted):
            line, hint = output_line(parsed, name), did_you_mean(name, wanted - got)
            yield Problem(path, line, f"gives undeclared column {name!r}", hint)
        yield from order_problems(parsed, self.system, file=file)

    def _on_demand(self) -> Iterator[Problem]:
        of_views = {f for view in self.system.feature_views.values() for f in view.features}
        for name, group in self.system.on_demand.items():
            place: Place = ("on_demand", name)
            unknown = list(self._names((*place, "inputs"), group.inputs, of_views, "feature of a view"))
            for index, fault in input_faults(group.inputs, self.system.features()):
                unknown += self.at((*place, "inputs", index), *fault)
            # With an input misspelt, what the function makes of it would only echo that.
            arguments = None if unknown else group.inputs
            found = list(self._function((*place, "function"), group.function, arguments))
            yield from (*unknown, *found)
            if not (unknown or found) and group.function.partition(":")[0] in self.parts.code:
                for fault in call_faults(group, self.system.features(), function=self.parts.function):
                    yield from self.at((*place, "function"), *fault)
        if self.system.simulate is not None:
            yield from self._function(("simulate",), self.system.simulate, ("seed", "now"), positional=1)

    def _function(
        self, place: Place, path: str, arguments: Sequence[str] | None, *, positional: int = 0
    ) -> Iterator[Problem]:
        """A function that must stand in the folder and take just these arguments by name; nothing runs."""
        module, _, name = path.partition(":")
        if f"{module}.py" in self.parts.unread:
            return
        if module not in self.parts.code:
            hint = did_you_mean(f"{module}.py", [f"{stem}.py" for stem in self.parts.code])
            yield from self.at(place, f"{path!r} needs {module}.py, which is not in the folder", hint)
            return
        text, problems = self._module(module)
        yield from problems
        if text is None:
            return
        function = text.functions.get(name)
        if function is None:
            hint = did_you_mean(name, text.functions) if text.functions else "define it with def"
            yield from self.at(place, f"{module}.py has no function {name!r}", hint)
            return
        if arguments is not None:
            yield from _arguments(text.file, name, function, arguments, positional=positional)
        for imported, line in text.imports:
            if imported in {"", *self.parts.code}:
                yield Problem(
                    text.file,
                    line,
                    "imports a file of its own folder",
                    "a bundle carries one file: join them",
                )

    def _module(self, name: str) -> tuple[ModuleText | None, list[Problem]]:
        if name not in self._modules:
            file = str(self.parts.folder / f"{name}.py")
            self._modules[name] = read_module(self.parts.code[name], file=file)
        return self._modules[name]

    def _decide(self) -> Iterator[Problem]:
        declared, features = self.system.decide, self.system.features()
        if declared is None:
            return
        place: Place = ("decide", "function")
        found = list(self._names(("decide", "inputs"), declared.inputs, {*features, PREDICT_AT}, "feature"))
        for index, told in input_faults(declared.inputs, features):
            found += self.at(("decide", "inputs", index), *told)
        for text, hint in decision_faults(declared, features):
            found += self.at(("decide", "params"), text, hint)
        label = self.system.label.columns
        for spot, text, hint in profit_faults(declared.profit, features, label=label) if declared.profit else ():
            yield from self.at(("decide", "profit", *spot), text, hint)
        found += self._function(place, declared.function, None if found else decision_arguments(declared))
        module = declared.function.partition(":")[0]
        if module in self.parts.code and (text_of := self._module(module)[0]) is not None:
            found += import_problems(text_of, own=frozenset({"", *self.parts.code}))
        yield from found
        if not found and module in self.parts.code:
            code, inputs = self.parts.code[module], tuple(declared.inputs)
            rule = DecisionRule(self.system.system, declared.function, inputs, declared.params, code)
            if fault := trial_fault(rule, features):
                yield from self.at(place, *fault)

    def _label(self) -> Iterator[Problem]:
        label, entity = self.system.label, self.system.entity_of_label()
        taken = {*entity.keys, *LABEL_COLUMNS}
        yield from self._columns(("label", "columns"), label.columns)
        for name in label.columns:
            if name in taken:
                text = f"column {name!r} is part of every label already"
                yield from self.at(("label", "columns", name), text, "leave it out")
        yield from self._sql(("label", "sql"), label.sql, {*taken, *label.columns})

    def _models(self) -> Iterator[Problem]:
        features = self.system.features()
        for name, model in self.system.models.items():
            for spot, text, hint in matrix_faults(name, model, self.system):
                yield from self.at(("models", name, *spot), text, hint)
        for place, model in models_to_check(self.system):
            yield from self._names((*place, "features"), model.features or (), features, "feature")
            seen = {feature: features[feature] for feature in model.features or features if feature in features}
            faults = model_faults(model, seen)
            found = [problem for spot, *told in faults for problem in self.at((*place, *spot), *told)]
            yield from found
            if ":" in model.estimator:
                yield from self._built((*place, "estimator"), model, seen, known=not found)

    def _built(self, place: Place, model: Model, seen: Mapping[str, Feature], *, known: bool) -> Iterator[Problem]:
        """A function of the folder that gives the estimator: its arguments, and one call with the declared values."""
        given = [*model.params, *searched_sample(model)]
        found = list(self._function(place, model.estimator, given))
        yield from found
        if known and not found and model.estimator.partition(":")[0] in self.parts.code:
            fault = built_fault(model, seen, self.parts.function(model.estimator))
            if fault is not None:
                yield from self.at(place, *fault)

    def _evaluate(self) -> Iterator[Problem]:
        features, evaluate = self.system.features(), self.system.evaluate
        yield from self._names(("evaluate", "baseline"), [evaluate.baseline], features, "feature")
        baseline = features.get(evaluate.baseline)
        if baseline is not None and baseline.unit != "probability":
            text = f"baseline {evaluate.baseline!r} has unit {baseline.unit}"
            yield from self.at(("evaluate", "baseline"), text, "a baseline is itself a probability")
        rows = {*self.system.entity_of_label().keys, *self.system.label.columns}
        yield from self._names(("evaluate", "slices"), evaluate.slices, rows, "label column")
        numeric = [name for name, column in self.system.label.columns.items() if column.dtype in NUMERIC_DTYPES]
        metric = [self.system.rollout.metric] if self.system.rollout.metric else []
        yield from self._names(("rollout", "metric"), metric, numeric, "numeric label column")
        cluster = [evaluate.cluster] if evaluate.cluster else []
        yield from self._names(("evaluate", "cluster"), cluster, rows, "label column")
        group = [name for name in (evaluate.split.group,) if name is not None and name != "entity"]
        yield from self._names(("evaluate", "split", "group"), group, rows, "label column")
        model = [self.system.backtest.model] if self.system.backtest.model else []
        yield from self._names(("backtest", "model"), model, concrete_names(self.system), "model")
        phases = phase_faults(self.system.rollout.canary)
        for spot, text, hint in (*gate_faults(self.system.gates, columns=rows), *phases):
            yield from self.at(spot, text, hint)

    def _reports(self) -> Iterator[Problem]:
        for name, report in self.system.reports.items():
            place: Place = ("reports", name)
            for spot, text, hint in report_faults(report, self.system):
                yield from self.at((*place, *spot), text, hint)
            yield from self._function((*place, "function"), report.function, [*report.tables, *report.params])
            if report.draw is not None:
                yield from self._function((*place, "draw"), report.draw, (), positional=1)


def _view_columns(entity: Entity, features: Iterable[str]) -> set[str]:
    return {*entity.keys, *TIME_COLUMNS, *features}


def _arguments(
    file: str, name: str, function: FunctionText, arguments: Sequence[str], *, positional: int
) -> Iterator[Problem]:
    lacks = function.lacks(arguments)
    if lacks:
        hint = f"it takes {', '.join(function.accepts) or 'none'}"
        yield Problem(file, function.line, f"{name} takes no argument {', '.join(lacks)}", hint)
    wants = function.wants((*function.by_position[:positional], *arguments))
    if wants:
        hint = f"it is given {', '.join(arguments)}"
        yield Problem(file, function.line, f"{name} wants the argument {', '.join(wants)}", hint)
