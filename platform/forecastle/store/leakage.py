"""Leakage check: features are derived again from sources cut at an instant, and must be what training was
given.

Belongs here: the re-derivation, the comparison, its report. A view whose `known_at` is too early differs
here.
Does not belong here: the join (`point_in_time.py`), whether a check blocks (`assets/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import duckdb
import numpy as np
import pandas as pd

from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import FeatureView
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import KIND, view_columns
from forecastle.store.point_in_time import ViewJoin, point_in_time_join
from forecastle.store.selects import select
from forecastle.store.sql import column_list, instant, quote_ident
from forecastle.store.warehouse import Warehouse

DIFFERENCE_COLUMNS: Final = ("entity", "at", "view", "feature", "given", "derived")
# Sums over floats may be ordered differently in two runs of one query; a leak is never this small.
RELATIVE_TOLERANCE: Final = 1e-9
SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """What was derived again (`rows_checked` entities × instants, `values_checked`) and where it differed.

    `differences`: one line per value (`DIFFERENCE_COLUMNS`): `given` is what training saw or would have seen
    at `at`, `derived` what the sources known by then give.
    """

    instants: tuple[datetime, ...]
    rows_checked: int
    values_checked: int
    differences: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Is every value what was known at its time?"""
        return self.differences.empty

    def sentence(self) -> str:
        """What was found, for a person."""
        if self.ok:
            return f"{self.values_checked:,} values derived again at {len(self.instants)} instants are the same."
        first = self.differences.iloc[0]
        return (
            f"{len(self.differences):,} of {self.values_checked:,} values differ when they are derived again from what "
            f"was known then: at {first['at']:%Y-%m-%d %H:%M} UTC {first['view']}.{first['feature']} of "
            f"{first['entity']} was given as {first['given']}, known was {first['derived']}; "
            "mend known_at in the view's SQL"
        )

    def metadata(self) -> dict[str, int | str]:
        """The same, flat, for a log or a page."""
        shown = self.differences.head(SHOWN).to_string(index=False) if not self.ok else "none"
        return {
            "rows_checked": self.rows_checked,
            "values_checked": self.values_checked,
            "differences": len(self.differences),
            "instants": ", ".join(at.isoformat() for at in self.instants),
            "first_differences": shown,
        }


def leakage_check(
    warehouse: Warehouse, system: LoadedSystem, training: TableVersion, *, instants: int = 4, seed: int = 0
) -> LeakageReport:
    """Derive features again at some instants of a training set, from sources without anything later, and
    compare.

    Instants are the `predict_at` of randomly drawn training rows. At each, every view's SQL runs over source
    rows with `known_at` and `event_at` at or before it. Compared are the training rows of that instant and,
    for every entity of the training set, what the published view would have given then. Views and sources are
    read in the versions that the commits name (`input.…`), else the newest.

    Raises:
        StoreError: a table is not there, or the SQL cannot run.
    """
    views = {name: warehouse.resolve(_input(training, KIND, system, name)) for name in system.declaration.feature_views}
    differences: list[tuple[object, ...]] = []
    rows = values = 0
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"__training": training})
        warehouse.attach(connection, {f"__published_{name}": version for name, version in views.items()})
        chosen = _instants(connection, instants, seed)
        for at in chosen:
            for name, version in views.items():
                _derive(warehouse, system, connection, name, version, at=at)
                found, checked = _compare(connection, system, name, at)
                differences += found
                rows = rows + checked
                values += checked * len(system.declaration.feature_views[name].features)
    frame = pd.DataFrame(differences, columns=pd.Index(DIFFERENCE_COLUMNS))
    return LeakageReport(tuple(chosen), rows // max(len(views), 1), values, frame)


def _input(version: TableVersion, kind: str, system: LoadedSystem, name: str) -> str:
    """The table `kind/name` as a commit's facts name it (`system/kind/name@version`), else its newest
    version.
    """
    table = str(TableName(system.name, kind, name))
    named = (v for k, v in version.facts.items() if k.startswith("input.") and v.rpartition("@")[0] == table)
    return next(named, table)


def _instants(connection: duckdb.DuckDBPyConnection, count: int, seed: int) -> list[datetime]:
    found = connection.execute("SELECT predict_at FROM __training ORDER BY predict_at").fetchall()
    if not found:
        return []
    drawn = np.random.default_rng(seed).choice(len(found), size=min(count, len(found)), replace=False)
    return sorted({found[int(index)][0] for index in drawn})


def _derive(
    warehouse: Warehouse,
    system: LoadedSystem,
    connection: duckdb.DuckDBPyConnection,
    name: str,
    version: TableVersion,
    *,
    at: datetime,
) -> None:
    """Table `__derived`: the view as its SQL gives it from what was known at `at`."""
    view = system.declaration.feature_views[name]
    entity = system.declaration.entity[view.entity]
    sources = {source: _input(version, "source", system, source) for source in system.reads(view.sql)}
    with select(
        warehouse,
        system.sql[view.sql],
        sources,
        columns=view_columns(view, entity),
        order_by=(*entity.keys, "known_at", "event_at"),
        what=f"feature view {name}",
        known_until=at,
        event_until=at,
    ) as selection:
        connection.register("__batches", selection.batches)
        connection.execute("CREATE OR REPLACE TEMP TABLE __derived AS SELECT * FROM __batches")
        connection.unregister("__batches")


def _compare(
    connection: duckdb.DuckDBPyConnection, system: LoadedSystem, name: str, at: datetime
) -> tuple[list[tuple[object, ...]], int]:
    view = system.declaration.feature_views[name]
    keys = tuple(system.declaration.entity[view.entity].keys)
    _given(connection, name, view, keys, at)
    joined = point_in_time_join(connection, "__given", [_join(name, "__derived", view, keys)], output="__compared")
    found: list[tuple[object, ...]] = []
    entity = f"row({column_list(keys)})::VARCHAR"
    for feature, contract in view.features.items():
        given, derived = quote_ident(f"given__{feature}"), quote_ident(feature)
        differs = _differs(given, derived, is_word=contract.dtype == "string")
        different = connection.execute(
            f"SELECT DISTINCT {entity}, {given}, {derived} FROM __compared WHERE {differs} ORDER BY ALL"
        ).fetchall()
        found += [(row[0], at, name, feature, row[1], row[2]) for row in different]
    return found, joined.rows


def _differs(given: str, derived: str, *, is_word: bool) -> str:
    """SQL: are two values of a feature not the same, numbers up to rounding?"""
    if is_word:
        return f"{given} IS DISTINCT FROM {derived}"
    allowed = f"{RELATIVE_TOLERANCE} * greatest(1, abs({given}::DOUBLE), abs({derived}::DOUBLE))"
    one_null = f"({given} IS NULL) <> ({derived} IS NULL)"
    return f"{one_null} OR abs({given}::DOUBLE - {derived}::DOUBLE) > {allowed}"


def _given(
    connection: duckdb.DuckDBPyConnection, name: str, view: FeatureView, keys: tuple[str, ...], at: datetime
) -> None:
    """Table `__given`: training rows at `at`, and every training entity joined to the published view then."""
    when = f"{instant(at)} AS predict_at"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE __entities AS SELECT DISTINCT {column_list(keys)}, {when} FROM __training"
    )
    point_in_time_join(connection, "__entities", [_join(name, f"__published_{name}", view, keys)], output="__asked")
    columns = ", ".join(
        [
            column_list(keys),
            "predict_at",
            *(f"{quote_ident(f)} AS {quote_ident(f'given__{f}')}" for f in view.features),
        ]
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE __given AS SELECT {columns} FROM __training WHERE predict_at = "
        f"{instant(at)}"
        f" UNION ALL SELECT {columns} FROM __asked"
    )


def _join(name: str, relation: str, view: FeatureView, keys: tuple[str, ...]) -> ViewJoin:
    return ViewJoin(name, relation, keys, view.ttl, tuple(view.features))
