"""Parity: what was served is derived again offline, as it was known at that moment, and must be the same.

Belongs here: logged feature values against the warehouse's point-in-time answer, feature by feature.
Does not belong here: the online store as it stands now (`online_parity.py`), whether a check blocks (`assets/`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd

from forecastle.contract.feature_set import FeatureSet, ViewSpec
from forecastle.contract.types import NUMERIC_DTYPES
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import KIND
from forecastle.store.point_in_time import ViewJoin, point_in_time_join
from forecastle.store.prediction import Prediction
from forecastle.store.sql import quote_ident
from forecastle.store.warehouse import Warehouse

DIFFERENCE_COLUMNS: Final = ("where", "feature", "status", "online", "offline", "reason")
_STORED: Final = frozenset({"PRESENT", "STALE", "DEFAULTED"})
_SERVED: Final = "served__"
_TIMES: Final = ("event_at", "known_at")


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How many values were compared, how many agreed, and which differed.

    `behind` counts values that were right once and older than what the warehouse knew then (the push came later),
    `ahead` those that came straight to the online store and that no table holds yet: both are lag and no error.
    `differences` (`DIFFERENCE_COLUMNS`) lists values that no row of the warehouse explains. `skipped` says what was not
    compared.
    """

    compared: int
    behind: int
    ahead: int
    differences: pd.DataFrame
    skipped: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Does the warehouse explain every value?"""
        return self.differences.empty

    def sentence(self, what: str) -> str:
        """What to tell a person."""
        lag = f", {self.behind:,} of them older than what the warehouse knew" if self.behind else ""
        lag += f", {self.ahead:,} not yet in the warehouse" if self.ahead else ""
        told = f"{self.compared:,} {what} compared{lag}; {len(self.differences):,} differ from the warehouse."
        return " ".join([told, *self.skipped])


def join_reports(reports: Sequence[ParityReport]) -> ParityReport:
    """Several comparisons as one."""
    found = [report.differences for report in reports if not report.differences.empty]
    return ParityReport(
        sum(report.compared for report in reports),
        sum(report.behind for report in reports),
        sum(report.ahead for report in reports),
        pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=pd.Index(DIFFERENCE_COLUMNS)),
        tuple(dict.fromkeys(said for report in reports for said in report.skipped)),
    )


def served_parity(
    warehouse: Warehouse,
    system: str,
    predictions: Iterable[Prediction],
    *,
    feature_sets: Mapping[str, FeatureSet],
    fed: Collection[str] = (),
) -> ParityReport:
    """Derive the features of logged predictions again and compare; `feature_sets` by bundle.

    `fed` names views whose rows also come straight to the online store (streams, pushed rows).

    A stored value must be that of the row which the point-in-time join finds at `predicted_at` in the table that the
    same SQL made; a value that was missing or stale must be so there too; a computed value must come out of the logged
    inputs again, bit for bit. Values given with the request are the caller's.

    Raises:
        StoreError: a view's table cannot be read.
    """
    by_bundle: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        by_bundle.setdefault(prediction.bundle, []).append(prediction)
    reports = []
    for bundle, answers in by_bundle.items():
        if bundle not in feature_sets:
            reports.append(_skipped(f"{len(answers)} answers are of bundle {bundle[:12]}, which is not there."))
            continue
        feature_set, features = feature_sets[bundle], [json.loads(answer.features_json) for answer in answers]
        reports.append(_computed(feature_set, answers, features))
        for view in feature_set.views:
            named = [name for name in view.features if name in feature_set.by_name]
            asked = _asked(feature_set, view, named, answers, features)
            if not asked.empty:
                reports.append(_view(warehouse, system, view, asked, names=named, fed=view.name in fed))
    return join_reports(reports)


def _skipped(said: str) -> ParityReport:
    return ParityReport(0, 0, 0, pd.DataFrame(columns=pd.Index(DIFFERENCE_COLUMNS)), (said,))


def _view(
    warehouse: Warehouse, system: str, view: ViewSpec, asked: pd.DataFrame, *, names: Sequence[str], fed: bool
) -> ParityReport:
    version = _made_by(warehouse, TableName(system, KIND, view.name), view.sql_sha256)
    if version is None:
        return _skipped(f"No version of {view.name} was made by the SQL that the bundle knows.")
    with warehouse.connect() as connection:
        connection.register("__given", asked)
        connection.execute("CREATE TEMP TABLE __asked AS SELECT * FROM __given")
        warehouse.attach(connection, {"__view": version}, row_id="__number")
        ttl = timedelta(seconds=view.ttl_seconds)
        join = ViewJoin(view.name, "__view", view.keys, ttl, tuple(names), row_id="__number")
        point_in_time_join(connection, "__asked", [join], output="__found")
        words = {name for name in names if isinstance(asked[f"{_SERVED}{name}"].dtype, pd.StringDtype)}
        kinds = {name: "VARCHAR" if name in words else "DOUBLE" for name in names}
        return join_reports([_feature(connection, view, name, kinds[name], fed=fed) for name in names])


def _made_by(warehouse: Warehouse, table: TableName, sql_sha256: str) -> TableVersion | None:
    """The newest version of a view's table that this SQL made and whose rows are still there."""
    versions = reversed(warehouse.versions(table))
    return next((v for v in versions if v.facts.get("sql_sha256") == sql_sha256 and v.path.exists()), None)


def _asked(
    feature_set: FeatureSet,
    view: ViewSpec,
    names: Sequence[str],
    answers: Sequence[Prediction],
    features: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """One row an answer about an entity: keys, moment, and what was served of the view with status and times."""
    rows = []
    for answer, served in zip(answers, features, strict=True):
        entity = json.loads(answer.entity_json)
        if not entity or not any(served.get(name, {}).get("status") in _STORED for name in names):
            continue
        row: dict[str, Any] = {"prediction_id": answer.prediction_id, "predict_at": answer.predicted_at_us}
        row |= {key: entity[key] for key in view.keys}
        for name in names:
            found = served.get(name, {})
            value = found.get("value")
            row |= {f"{_SERVED}{name}": _comparable(value), f"status__{name}": found.get("status")}
            row |= {f"{time}__{name}": found.get(time) for time in _TIMES}
        rows.append(row)
    frame = pd.DataFrame(rows)
    if rows:
        frame["predict_at"] = pd.to_datetime(frame["predict_at"], unit="us", utc=True)
        for name in names:
            for time in _TIMES:
                frame[f"{time}__{name}"] = pd.to_datetime(frame[f"{time}__{name}"], utc=True, format="ISO8601")
        kinds = {f"{_SERVED}{name}": "str" if name in feature_set.codes else "float64" for name in names}
        frame = frame.astype(kinds)
        frame = frame.astype({key: "str" for key in view.keys if feature_set.keys[key] == "string"})
    return frame


def _comparable(value: Any) -> float | str | None:
    """A served value as it is compared: words as they are, everything else as a number."""
    return value if value is None or isinstance(value, str) else float(value)


def _feature(connection: duckdb.DuckDBPyConnection, view: ViewSpec, name: str, kind: str, *, fed: bool) -> ParityReport:
    """Compare one feature of a view in table `__found`; what differs is looked up among the view's own rows.

    `kind` is the SQL type that both sides are compared in.
    """
    served, status = quote_ident(f"{_SERVED}{name}"), quote_ident(f"status__{name}")
    offline = f"f.{quote_ident(name)}::{kind}"
    event_at, known_at = (f"f.{quote_ident(f'{time}__{name}')}::TIMESTAMPTZ" for time in _TIMES)
    live = f"f.{quote_ident(f'{view.name}__event_at')} IS NOT NULL"
    agrees = (
        f"CASE WHEN {status} = 'PRESENT' THEN {live} AND {served} IS NOT DISTINCT FROM {offline}"
        f" WHEN {status} = 'STALE' THEN NOT ({live}) ELSE {offline} IS NULL END"
    )
    same_row = " AND ".join(f"v.{quote_ident(key)} = f.{quote_ident(key)}" for key in view.keys)
    was_there = (
        f"{status} = 'DEFAULTED' OR EXISTS (SELECT 1 FROM __view AS v WHERE {same_row} AND v.event_at = {event_at}"
        f" AND v.known_at = {known_at} AND v.known_at <= f.predict_at"
        f" AND v.{quote_ident(name)}::{kind} IS NOT DISTINCT FROM {served})"
    )
    is_ahead = f"{known_at} > (SELECT max(known_at) FROM __view)" if fed else "false"
    verdict = (
        f"CASE WHEN {agrees} THEN 'same' WHEN {was_there} THEN 'behind' WHEN {is_ahead} THEN 'ahead' ELSE 'other' END"
    )
    stored = ", ".join(f"'{word}'" for word in sorted(_STORED))
    rows = connection.execute(
        f"SELECT {verdict}, prediction_id, {status}, {served}, {offline} FROM __found AS f WHERE {status} IN ({stored})"
    ).fetchall()
    reason = "no row of the view explains it"
    differing = [(f"prediction {row[0]}", name, *row[1:], reason) for said, *row in rows if said == "other"]
    counts = Counter(row[0] for row in rows)
    frame = pd.DataFrame(differing, columns=pd.Index(DIFFERENCE_COLUMNS))
    return ParityReport(len(rows), counts["behind"], counts["ahead"], frame)


def _computed(
    feature_set: FeatureSet, answers: Sequence[Prediction], features: Sequence[Mapping[str, Any]]
) -> ParityReport:
    """Compute on-demand features again from the logged inputs."""
    functions = feature_set.functions()
    compared, differing = 0, []
    for answer, served in zip(answers, features, strict=True):
        for group in feature_set.on_demand:
            names = [name for name in group.outputs if served.get(name, {}).get("status") == "COMPUTED"]
            if not names:
                continue
            inputs = {name: _argument(feature_set, name, served[name]["value"]) for name in group.inputs}
            with np.errstate(all="ignore"):
                made = functions[group.name](**inputs)
            compared += len(names)
            for name in names:
                before, again = _number(served[name]["value"]), _number(made[name])
                if before != again and not (np.isnan(before) and np.isnan(again)):
                    where, reason = f"prediction {answer.prediction_id}", "computed again from the logged inputs"
                    differing.append((where, name, "COMPUTED", before, again, reason))
    return ParityReport(compared, 0, 0, pd.DataFrame(differing, columns=pd.Index(DIFFERENCE_COLUMNS)))


def _argument(feature_set: FeatureSet, name: str, value: Any) -> Any:
    missing = value is None and feature_set.by_name[name].contract.dtype in NUMERIC_DTYPES
    return np.nan if missing else value


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
