"""From a folder to a loaded system: declaration, SQL, code; all problems at once or none.

Belongs here: reading a system's folder, what follows from a whole declaration, discovery of systems.
Does not belong here: what is checked (`findings.py`, `check.py`), data, anything that runs SQL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from forecastle.contract.check import Parts, check_system, source_schema
from forecastle.contract.composed_sql import compose
from forecastle.contract.decision import PREDICT_AT, DecisionRule
from forecastle.contract.document import read_document, read_text
from forecastle.contract.errors import ContractError, Problem, did_you_mean
from forecastle.contract.feature_set import FeatureSet, FeatureSpec, OnDemandSpec, ViewSpec, load_module
from forecastle.contract.findings import read_system
from forecastle.contract.matrix import expand
from forecastle.contract.push_view import PushView
from forecastle.contract.sql import ParsedSql, column_lineage, parse_select
from forecastle.contract.system import System
from forecastle.contract.template import template_of, with_rendered_views

DECLARATION: Final = "system.yaml"


Lineage = Mapping[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class LoadedSystem:
    """A declaration that was found to be whole, with the SQL and Python that belong to it."""

    declaration: System
    folder: Path
    sql: Mapping[str, str]
    code: Mapping[str, str]
    # Parsing and lineage cost more than all the rest: once for each file, lineage when asked for.
    _parsed: dict[str, ParsedSql] = field(default_factory=dict, repr=False, compare=False)
    _lineage: dict[str, Lineage] = field(default_factory=dict, repr=False, compare=False)

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

    def lineage(self, file: str) -> Lineage:
        """For each output column of a SQL file the (source, column) pairs it is computed from."""
        if file not in self._lineage:
            found = column_lineage(self._parse(file), schema=source_schema(self.declaration))
            self._lineage[file] = MappingProxyType(found)
        return self._lineage[file]

    def reads(self, file: str) -> tuple[str, ...]:
        """The sources that a SQL file reads, sorted."""
        return self._parse(file).tables

    def feature_set(self, model: str) -> FeatureSet:
        """The feature set of one model: its features in order and whatever their on-demand functions read.

        Raises:
            ContractError: no such model.
        """
        if model not in self.declaration.models:
            hint = did_you_mean(model, self.declaration.models)
            raise ContractError([Problem(str(self.folder / DECLARATION), 0, f"has no model {model!r}", hint)])
        return self._feature_set(self.declaration.model_features(model))

    def decision_rule(self) -> DecisionRule | None:
        """The declared decision rule with its code, as a bundle carries it; None where none is declared."""
        decide = self.declaration.decide
        if decide is None:
            return None
        code = self.code[decide.function.partition(":")[0]]
        return DecisionRule(self.name, decide.function, tuple(decide.inputs), dict(decide.params), code)

    def push_views(self) -> tuple[PushView, ...]:
        """Every online view with its whole contract, as a bundle carries them."""
        declared = self.declaration
        return tuple(
            PushView(name, dict(declared.entity[view.entity].keys), dict(view.features))
            for name, view in declared.feature_views.items()
            if view.online
        )

    def all_features(self) -> FeatureSet:
        """Every feature of the system as one set: what a training set holds."""
        return self._feature_set(list(self.declaration.features()))

    def _feature_set(self, wanted: Sequence[str]) -> FeatureSet:
        system = self.declaration
        decided = [name for name in system.decide.inputs if name != PREDICT_AT] if system.decide else []
        groups = [name for name, group in system.on_demand.items() if set(group.features) & {*wanted, *decided}]
        read = [feature for name in groups for feature in system.on_demand[name].inputs]
        made = [feature for name in groups for feature in system.on_demand[name].features]
        names = list(dict.fromkeys([*wanted, *decided, *read, *made]))
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

    def _parse(self, file: str) -> ParsedSql:
        if file not in self._parsed:
            path = str(self.folder / template_of(file))
            if file not in self.sql:
                raise ContractError([Problem(path, 0, "is not in the folder", did_you_mean(file, self.sql))])
            schema = source_schema(self.declaration)
            parsed, problems = parse_select(self.sql[file], file=path, schema=schema)
            if parsed is None:
                raise ContractError(problems)
            self._parsed[file] = parsed
        return self._parsed[file]

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
    findings = read_system(document)
    # What the reader refused left a hole in the data; what is found on that line is its echo.
    refused = {problem.line for problem in document.problems}
    problems = [*document.problems, *(p for p in findings.problems if p.line not in refused)]
    sql, unread_sql = _texts(folder, "sql")
    code, unread_code = _texts(folder, "py")
    problems += [*unread_sql, *unread_code]
    code = {Path(name).stem: text for name, text in code.items()}
    if findings.system is None:
        raise ContractError(_in_order(problems, document.file))
    declared, sql = with_rendered_views(findings.system, sql)
    composed = compose(sql, sources=declared.sources)
    loaded = LoadedSystem(declared, folder, composed.texts, MappingProxyType(code))
    unread = frozenset(Path(problem.file).name for problem in (*unread_sql, *unread_code))
    parts = Parts(folder, composed, code, unread, loaded.function)
    checked = check_system(declared, parts, findings=findings)
    problems += [p for p in checked.problems if p.file != document.file or p.line not in refused]
    if problems:
        raise ContractError(_in_order(problems, document.file))
    models = expand(declared.models)
    loaded = replace(loaded, declaration=declared.model_copy(update={"models": models}))
    loaded._parsed.update(checked.parsed)  # noqa: SLF001  its own module fills the cache
    return loaded


def discover(folders: Sequence[Path]) -> dict[str, Path]:
    """Folders of systems by name: every child with a system.yaml; later folders may add, never replace.

    A folder named twice counts once.

    Raises:
        ContractError: a folder cannot be read, is itself a system, or holds a system of a name that is taken.
    """
    found: dict[str, Path] = {}
    problems = []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        if (folder / DECLARATION).is_file():
            problems.append(Problem(str(folder), 0, "is itself a system", f"name {folder.parent}"))
            continue
        try:
            children = sorted(folder.iterdir())
        except OSError as error:
            hint = "name a folder that holds systems"
            problems.append(Problem(str(folder), 0, f"cannot be read: {error.strerror}", hint))
            continue
        for child in children:
            if (child / DECLARATION).is_file():
                if child.name in found:
                    text = f"system {child.name!r} stands in {found[child.name]} already"
                    problems.append(Problem(str(child), 0, text, "rename one of them"))
                found.setdefault(child.name, child)
    if problems:
        raise ContractError(problems)
    return found


def _texts(folder: Path, suffix: str) -> tuple[dict[str, str], list[Problem]]:
    """Text by name of every file of a kind, and a problem for each that cannot be read."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for path in sorted(folder.glob(f"*.{suffix}")):
        try:
            texts[path.name] = read_text(path)
        except ContractError as error:
            problems.extend(error.problems)
    return texts, problems


def _in_order(problems: Sequence[Problem], first: str) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda p: (p.file != first, p.file, p.line))
