"""Live performance and calibration by day: what the predictions of one UTC day were worth, and whether that is final.

Belongs here: one row a day with its coverage, its scores, its gap; which days changed since they were computed.
Does not belong here: all days together (`live.py`), formulas (`measure/`), partitions (`assets/daily.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import norm

from forecastle.learn.time_blocks import cluster_labels
from forecastle.measure.estimated import estimate_performance
from forecastle.measure.intervals import clustered_mean
from forecastle.measure.scores import brier_score, log_loss

COVERED: Final = (
    "day", "predictions", "known", "share_known", "asked_too_late", "overdue", "final_at", "is_final", "digest",
)  # fmt: skip
PERFORMANCE_COLUMNS: Final = (*COVERED, "brier", "log_loss", "baseline_brier", "expected_brier")
CALIBRATION_COLUMNS: Final = (*COVERED, "mean_probability", "mean_outcome", "gap", "low", "high", "p_value")

# With fewer clusters their spread says nothing of the gap's.
CLUSTERS_MIN: Final = 20
# Each day is one look: over ten years one false alarm in three.
DAY_ALPHA: Final = 1e-4
_SCORED: Final = ("brier", "log_loss", "baseline_brier")


def days_in(outcomes: pd.DataFrame) -> dict[date, pd.DataFrame]:
    """Rows of the outcomes table by the UTC day on which they were asked, oldest first."""
    days = outcomes["predicted_at"].dt.tz_convert("UTC").dt.date
    return {day: rows for day, rows in outcomes.groupby(days, sort=True) if isinstance(day, date)}


def changed_days(
    outcomes: Mapping[date, pd.DataFrame], before: pd.DataFrame | None, *, asked: list[date]
) -> list[date]:
    """Days to compute: those asked for, and those whose predictions or outcomes are not what they were."""
    known = {} if before is None else dict(zip(before["day"], before["digest"], strict=True))
    changed = {day for day, rows in outcomes.items() if known.get(day) != digest(rows)}
    return sorted(changed | set(asked))


def with_days(before: pd.DataFrame | None, made: pd.DataFrame) -> pd.DataFrame:
    """The table with the made days in place of their older rows, oldest day first."""
    if before is None or before.empty:
        return made.sort_values("day", ignore_index=True)
    kept = before[~before["day"].isin(set(made["day"]))]
    return pd.concat([kept, made], ignore_index=True).sort_values("day", ignore_index=True)


def performance_of(days: Mapping[date, pd.DataFrame], asked: list[date], *, baseline: str) -> pd.DataFrame:
    """One row a day, columns `PERFORMANCE_COLUMNS`: scores of known outcomes, and what the probabilities promise.

    `expected_brier` is CBPE (`measure/estimated.py`) of all of the day's predictions, with or without an outcome.
    """
    rows = [{**covered(day, days.get(day)), **_scores(days.get(day), baseline)} for day in asked]
    return _tidy(rows, PERFORMANCE_COLUMNS)


def calibration_of_days(days: Mapping[date, pd.DataFrame], asked: list[date], *, cluster: str) -> pd.DataFrame:
    """One row a day, columns `CALIBRATION_COLUMNS`: `gap` is mean outcome less mean probability of known outcomes.

    `low` and `high` are its 95 % interval, `p_value` two-sided, both by clusters and NaN with fewer than 20 of them.
    """
    rows = [{**covered(day, days.get(day)), **_gap(days.get(day), cluster)} for day in asked]
    return _tidy(rows, CALIBRATION_COLUMNS)


def covered(day: date, rows: pd.DataFrame | None) -> dict[str, Any]:
    """How far the outcomes of a day's predictions have arrived; `final_at` is when the last of them matures."""
    if rows is None or rows.empty:
        counts = dict.fromkeys(("predictions", "known", "asked_too_late", "overdue"), 0)
        empty = {"share_known": np.nan, "final_at": pd.NaT, "is_final": False, "digest": ""}
        return {"day": day, **counts, **empty}
    status = rows["status"].value_counts()
    known, late = int(status.get("known", 0)), int(status.get("asked_too_late", 0))
    return {
        "day": day,
        "predictions": len(rows),
        "known": known,
        "share_known": known / (len(rows) - late) if len(rows) > late else np.nan,
        "asked_too_late": late,
        "overdue": int(status.get("overdue", 0)),
        "final_at": rows["matures_at"].max(),
        "is_final": bool(rows["is_mature"].all()),
        "digest": digest(rows),
    }


def day_sentence(row: Any) -> str:
    """One day's coverage in a sentence, and plainly that its numbers are not final where they are not."""
    if row.predictions == 0:
        return f"Nothing was asked on {row.day}."
    told = f"{row.known:,} of {row.predictions:,} predictions of {row.day} have an outcome"
    told += f", {row.overdue:,} are overdue" if row.overdue else ""
    if row.is_final:
        return f"{told}; final."
    return f"{told}; not final before {row.final_at:%Y-%m-%d %H:%M} UTC."


def digest(rows: pd.DataFrame) -> str:
    """Another text whenever a prediction, its outcome or its maturity changes."""
    told = rows[["prediction_id", "probability", "outcome", "status", "is_mature"]].astype({"status": "str"})
    return f"{int(pd.util.hash_pandas_object(told, index=False).to_numpy(np.uint64).sum(dtype=np.uint64)):016x}"


def _scores(rows: pd.DataFrame | None, baseline: str) -> dict[str, float]:
    found = dict.fromkeys((*_SCORED, "expected_brier"), np.nan)
    if rows is None or rows.empty:
        return found
    expected = estimate_performance(rows["probability"].to_numpy(np.float64)).brier
    if expected is not None:
        found["expected_brier"] = expected.estimate
    known = rows[rows["outcome"].notna()]
    if len(known):
        y, p = known["outcome"].to_numpy(np.float64), known["probability"].to_numpy(np.float64)
        found |= {"brier": brier_score(y, p), "log_loss": log_loss(y, p)}
    told = known[known[baseline].notna()]
    if len(told):
        found["baseline_brier"] = brier_score(told["outcome"].to_numpy(np.float64), told[baseline].to_numpy(np.float64))
    return found


def _gap(rows: pd.DataFrame | None, cluster: str) -> dict[str, float]:
    found = dict.fromkeys(("mean_probability", "mean_outcome", "gap", "low", "high", "p_value"), np.nan)
    known = None if rows is None else rows[rows["outcome"].notna()]
    if known is None or known.empty:
        return found
    y, p = known["outcome"].to_numpy(np.float64), known["probability"].to_numpy(np.float64)
    found |= {"mean_probability": float(p.mean()), "mean_outcome": float(y.mean()), "gap": float((y - p).mean())}
    clusters = cluster_labels(known, cluster)
    if clusters.nunique() >= CLUSTERS_MIN:
        gap, error = clustered_mean(y - p, clusters.to_numpy())
        half = float(norm.ppf(0.975)) * error
        p_value = 2 * float(norm.sf(abs(gap) / error)) if error > 0 else 1.0
        found |= {"low": gap - half, "high": gap + half, "p_value": p_value}
    return found


def _tidy(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    counts = dict.fromkeys(("predictions", "known", "asked_too_late", "overdue"), "int64")
    numbers = dict.fromkeys(("share_known", *columns[len(COVERED) :]), "float64")
    frame = pd.DataFrame(rows, columns=list(columns))
    frame["final_at"] = pd.to_datetime(frame["final_at"], utc=True).astype("datetime64[us, UTC]")
    return frame.astype({**counts, **numbers, "is_final": "bool", "digest": "str"})
