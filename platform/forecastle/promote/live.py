"""Live performance: what served predictions were worth once their outcomes came, and what is expected until then.

Belongs here: how far outcomes have arrived, which rows count as final, scores beside the baseline and the estimate.
Does not belong here: joining outcomes (`store/outcomes.py`), formulas (`measure/`), pictures and reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.learn.time_blocks import cluster_labels
from forecastle.measure.bootstrap import score_intervals
from forecastle.measure.estimated import estimate_performance
from forecastle.measure.scores import brier_score, log_loss

METRICS: Final = ("brier", "log_loss", "auc")
LIVE_COLUMNS: Final = (
    "cohort", "slice", "forecaster", "metric", "estimate", "low", "high", "rows", "clusters",
)  # fmt: skip
COVERAGE_COLUMNS: Final = (
    "week", "age_days", "predictions", "known", "share_known", "asked_too_late", "overdue", "is_mature",
)  # fmt: skip

# Fewer rows make a calibration report of noise.
CALIBRATION_ROWS_MIN: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationRows:
    """Rows for a live calibration report: outcome, probability, predict_at, and whatever the outcomes table has.

    `rows` is None where there are too few; `sentence` says which rows these are, or why there are none.
    `excluded_rows` counts the predictions that are not among them.
    """

    rows: pd.DataFrame | None
    excluded_rows: int
    sentence: str


def cohorts(outcomes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of the outcomes table by what can be said of them.

    `final`: asked so long ago that every outcome had its time to come, and it came. `so_far`: every known outcome;
    not final, for what is known early is no fair sample of what will be. `open`: asked and not known yet.
    """
    known = outcomes["outcome"].notna()
    return {
        "final": outcomes[known & outcomes["is_mature"]],
        "so_far": outcomes[known],
        "open": outcomes[outcomes["status"].isin(["waiting", "overdue"])],
    }


def coverage(outcomes: pd.DataFrame, *, now: datetime) -> pd.DataFrame:
    """How far outcomes have arrived, by the UTC week (its Monday) in which predictions were asked.

    Columns `COVERAGE_COLUMNS`, oldest week first: `age_days` since the week began, `share_known` of the predictions
    that can have an outcome after them (not those asked too late), `is_mature` when the whole week is past maturity.
    """
    days = outcomes["predicted_at"].dt.tz_convert("UTC").dt.normalize()
    weeks = (days - pd.to_timedelta(days.dt.day_of_week, unit="D")).rename("week")
    rows = [_week(week, part, now=now) for week, part in outcomes.groupby(weeks, sort=True)]
    return pd.DataFrame(rows, columns=list(COVERAGE_COLUMNS)).astype({"week": "datetime64[us, UTC]"})


def live_scores(
    outcomes: pd.DataFrame, *, baseline: str, cluster: str, slices: Sequence[str] = (), seed: int = 0
) -> pd.DataFrame:
    """Scores of served predictions, tidy: columns `LIVE_COLUMNS`, one row a cohort, slice, forecaster and metric.

    Forecasters: `model` and, on the rows where one was logged, `baseline`, with 95 % cluster-bootstrap intervals;
    `estimated` is what the probabilities alone promise for the same rows (CBPE, `measure/estimated.py`), and all
    that there is for the `open` cohort. An interval is NaN where rows are too few or one-sided to carry one; such
    rows have no AUC. Slices: `all`, `model_version=…`, and the declared ones.
    """
    rows: list[tuple[Any, ...]] = []
    for cohort, part in cohorts(outcomes).items():
        for name, group in _slices(part, ["model_version", *slices]):
            if cohort != "open":
                rows += [(cohort, name, "model", *row) for row in _realised(group, "probability", cluster, seed)]
                rows += [(cohort, name, "baseline", *row) for row in _realised(group, baseline, cluster, seed)]
            rows += [(cohort, name, "estimated", *row) for row in _estimated(group, cluster)]
    kinds = dict.fromkeys(("cohort", "slice", "forecaster", "metric"), "str")
    kinds |= dict.fromkeys(("estimate", "low", "high"), "float64") | dict.fromkeys(("rows", "clusters"), "int64")
    return pd.DataFrame(rows, columns=list(LIVE_COLUMNS)).astype(kinds)


def live_sentence(outcomes: pd.DataFrame, *, matures: timedelta) -> str:
    """How many predictions there are and how many of their outcomes, in one plain sentence or two."""
    if outcomes.empty:
        return "Nothing has been asked yet."
    parts = cohorts(outcomes)
    final, so_far = len(parts["final"]), len(parts["so_far"])
    late = int((outcomes["status"] == "asked_too_late").sum())
    overdue = int((outcomes["status"] == "overdue").sum())
    if so_far == 0:
        told = f"No outcome is known yet for {len(outcomes):,} predictions; only the estimate can be shown."
    elif final == 0:
        told = (
            f"{so_far:,} of {len(outcomes):,} predictions have an outcome, none is older than {matures.days} days: "
            "these scores are not final."
        )
    else:
        told = f"{final:,} of {len(outcomes):,} predictions are final, {so_far - final:,} more have an outcome so far."
    told += f" Asked after the outcome was known, and not counted: {late:,}." if late else ""
    return told + (f" Overdue: {overdue:,}." if overdue else "")


def caller_conflicts(outcomes: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows whose outcome a source told and a caller tells differently, and a sentence on them; the source's counts."""
    both = outcomes[outcomes["told_by"].eq("source") & outcomes["caller_outcome"].notna()]
    differ = both[both["outcome"] != both["caller_outcome"]]
    if differ.empty:
        return differ, f"{len(both):,} outcomes were told by a source and by a caller, all of them alike."
    first = differ.iloc[0]
    example = f"{first['prediction_id']} (source {first['outcome']:.0f}, caller {first['caller_outcome']:.0f})"
    told = f"{len(differ):,} of {len(both):,} outcomes that a source and a caller told differ"
    return differ, f"{told}, such as that of prediction {example}; the source's count."


def calibration_rows(outcomes: pd.DataFrame) -> CalibrationRows:
    """The rows that a live calibration report stands on: the final ones when they suffice, else all known ones."""
    parts = cohorts(outcomes)
    for cohort, told in (("final", "final outcomes"), ("so_far", "outcomes known so far, not final")):
        rows = parts[cohort]
        if len(rows) >= CALIBRATION_ROWS_MIN and rows["outcome"].nunique() == 2:
            found = rows.assign(predict_at=rows["predicted_at"]).reset_index(drop=True)
            return CalibrationRows(found, len(outcomes) - len(rows), f"{len(rows):,} predictions with {told}.")
    known = parts["so_far"]
    reason = (
        f"No report yet: {len(known):,} predictions have an outcome, {int(known['outcome'].sum()):,} of them 1; "
        f"at least {CALIBRATION_ROWS_MIN} and both outcomes are needed."
    )
    return CalibrationRows(None, len(outcomes), reason)


def _week(week: Any, part: pd.DataFrame, *, now: datetime) -> dict[str, Any]:
    counts = part["status"].value_counts()
    known, late = int(counts.get("known", 0)), int(counts.get("asked_too_late", 0))
    countable = len(part) - late
    return {
        "week": week,
        "age_days": (now - week) / timedelta(days=1),
        "predictions": len(part),
        "known": known,
        "share_known": known / countable if countable else np.nan,
        "asked_too_late": late,
        "overdue": int(counts.get("overdue", 0)),
        "is_mature": bool(part["is_mature"].all()),
    }


def _slices(rows: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    if len(rows):
        yield "all", rows
    for column in columns:
        for value, part in rows.groupby(column, sort=True):
            yield f"{column}={value}", part


def _realised(rows: pd.DataFrame, forecast: str, cluster: str, seed: int) -> list[tuple[Any, ...]]:
    """(metric, estimate, low, high, rows, clusters) of a column of probabilities, where it has one."""
    spoke = rows[rows[forecast].notna()]
    if spoke.empty:
        return []
    y, p = spoke["outcome"].to_numpy(np.float64), spoke[forecast].to_numpy(np.float64)
    clusters = cluster_labels(spoke, cluster)
    size = (len(spoke), clusters.nunique())
    try:
        found = score_intervals(y, p, clusters=clusters.to_numpy(), seed=seed)
    except MeasureError:
        plain = {"brier": brier_score(y, p), "log_loss": log_loss(y, p)}
        return [(name, value, np.nan, np.nan, *size) for name, value in plain.items()]
    return [(name, found[name].estimate, found[name].low, found[name].high, *size) for name in METRICS]


def _estimated(rows: pd.DataFrame, cluster: str) -> list[tuple[Any, ...]]:
    found = estimate_performance(rows["probability"].to_numpy(np.float64))
    size = (len(rows), cluster_labels(rows, cluster).nunique())
    intervals = [(name, getattr(found, name)) for name in METRICS]
    return [(name, i.estimate, i.low, i.high, *size) for name, i in intervals if i is not None]
