"""What a trained model is worth on rows it never saw, beside the baseline and the champion.

Belongs here: scores of every forecaster on the same test rows, by slice, with paired intervals.
Does not belong here: formulas (`measure/`), the verdict (`gates.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Evaluate
from forecastle.learn.time_blocks import time_blocks
from forecastle.measure.bootstrap import Interval, mean_interval
from forecastle.measure.decomposition import decompose
from forecastle.measure.scores import auc, brier_score, brier_scores, log_loss

FloatArray = NDArray[np.float64]

SCORE_COLUMNS = (
    "forecaster", "slice", "n", "base_rate", "mean_probability",
    "brier", "log_loss", "auc", "miscalibration", "discrimination", "uncertainty",
)  # fmt: skip

# Brier is compared only where every forecaster spoke; log loss of a certain and wrong price is infinite and said so.
MODEL, BASELINE, CHAMPION = "model", "baseline", "champion"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean Brier of the model minus that of another forecaster on the same rows, with its interval."""

    against: str
    difference: Interval
    rows: int


@dataclass(frozen=True)
class Evaluation:
    """Scores of one trained model on its test rows.

    `scores` has one row a forecaster and slice (slice "all" first; rows whose slice is null are in "all" only).
    `comparisons` are paired on rows that both have; there is none where fewer than two clusters have both.
    """

    rows: int
    scores: pd.DataFrame
    comparisons: tuple[Comparison, ...]

    @property
    def forecasters(self) -> frozenset[str]:
        """Who was asked: the model, the baseline and, where there is one, the champion."""
        return frozenset(self.scores["forecaster"])

    def value(self, forecaster: str, column: str) -> float:
        """One number of the "all" slice."""
        row = self.scores[(self.scores["forecaster"] == forecaster) & (self.scores["slice"] == "all")]
        return float(row[column].iloc[0])

    def comparison(self, against: str) -> Comparison | None:
        """The comparison with one forecaster, if it was made."""
        return next((c for c in self.comparisons if c.against == against), None)

    def metrics(self) -> dict[str, float]:
        """Flat numbers: `<forecaster>.<score>` and `brier_difference.<against>.<mean | low | high>`."""
        overall = self.scores[self.scores["slice"] == "all"]
        flat = {
            f"{row['forecaster']}.{name}": float(row[name])
            for row in overall.to_dict("records")
            for name in SCORE_COLUMNS[2:]
        }
        for c in self.comparisons:
            ends = (("mean", c.difference.estimate), ("low", c.difference.low), ("high", c.difference.high))
            flat.update({f"brier_difference.{c.against}.{end}": float(value) for end, value in ends})
        return flat


def evaluate_model(
    test: pd.DataFrame,
    probability: FloatArray,
    *,
    declared: Evaluate,
    cluster: str,
    champion: FloatArray | None,
    seed: int,
    champion_from: datetime | None = None,
) -> Evaluation:
    """Score a model's probabilities beside the baseline's and the champion's.

    Args:
        test: the test rows (n): outcome, the baseline feature, the slices, `cluster`.
        probability: the model's calibrated probabilities (n,).
        declared: baseline, slices and the length of a block.
        cluster: rows equal in this column are resampled together, in blocks of neighbours in time.
        champion: the champion's probabilities of the same rows (n,), or None where there is none.
        champion_from: it may have learnt from rows asked earlier, as in blocks before its test: not judged by them.
        seed: of the resampling.

    Raises:
        LearnError: the model or the champion gives no probability for some row, or the baseline is none where
            it is not null.
    """
    forecasters: dict[str, FloatArray] = {
        MODEL: _spoken(probability, MODEL, rows=len(test)),
        BASELINE: _baseline(test, declared.baseline),
    }
    if champion is not None:
        spoken = _spoken(champion, CHAMPION, rows=len(test))
        forecasters[CHAMPION] = spoken if champion_from is None else _from(test["predict_at"], spoken, champion_from)
    rows = [row for name, forecast in forecasters.items() for row in _slices(test, name, forecast, declared)]
    clusters = test[cluster].to_numpy()
    comparisons = tuple(
        _compare(test, probability, forecast, against=name, cluster=cluster, block=declared.block, seed=seed)
        for name, forecast in forecasters.items()
        if name != MODEL and pd.unique(clusters[~np.isnan(forecast)]).size > 1
    )
    return Evaluation(len(test), pd.DataFrame(rows, columns=list(SCORE_COLUMNS)), comparisons)


def comparisons_text(evaluation: Evaluation) -> str:
    """What an evaluation holds beside its scores, as JSON text that `kept_evaluation` reads."""
    return json.dumps({"rows": evaluation.rows, "comparisons": [asdict(c) for c in evaluation.comparisons]})


def kept_evaluation(scores: pd.DataFrame, text: str) -> Evaluation:
    """The evaluation again, number for number, from its table of scores and its `comparisons_text`."""
    told = json.loads(text)
    comparisons = tuple(Comparison(**{**c, "difference": Interval(**c["difference"])}) for c in told["comparisons"])
    return Evaluation(told["rows"], scores, comparisons)


def _spoken(probability: FloatArray, name: str, *, rows: int) -> FloatArray:
    """A forecaster that must answer every row: a silent NaN would drop its worst rows from its score."""
    valid = probability.shape == (rows,) and bool(((probability >= 0) & (probability <= 1)).all())
    if not valid:
        wrong = int((~((probability >= 0) & (probability <= 1))).sum())
        raise LearnError(
            f"the {name} gives {len(probability)} values for {rows} test rows, {wrong} of them no probability; "
            "look at its calibrator"
        )
    return probability


def _from(asked_at: pd.Series[Any], forecast: FloatArray, start: datetime) -> FloatArray:
    """Nothing said of rows asked before `start`."""
    return np.where((asked_at >= start).to_numpy(), forecast, np.nan)


def _baseline(test: pd.DataFrame, name: str) -> FloatArray:
    baseline = test[name].to_numpy(np.float64, na_value=np.nan)
    outside = (baseline < 0) | (baseline > 1)
    if outside.any():
        got = baseline[outside][0]
        raise LearnError(
            f"baseline {name!r} is {got:g} in {int(outside.sum())} rows; name a feature that lies between 0 and 1"
        )
    return baseline


def _slices(test: pd.DataFrame, name: str, forecast: FloatArray, declared: Evaluate) -> list[dict[str, Any]]:
    outcomes = test["outcome"].to_numpy(np.float64)
    rows = [_score(name, "all", outcomes, forecast)]
    for column in declared.slices:
        for value in sorted(test[column].dropna().unique(), key=str):
            mask = (test[column] == value).to_numpy()
            rows.append(_score(name, f"{column}={value}", outcomes[mask], forecast[mask]))
    return rows


def _score(name: str, slice_name: str, outcomes: FloatArray, forecast: FloatArray) -> dict[str, Any]:
    spoke = ~np.isnan(forecast)
    y, p = outcomes[spoke], forecast[spoke]
    row: dict[str, Any] = dict.fromkeys(SCORE_COLUMNS, np.nan)
    row.update({"forecaster": name, "slice": slice_name, "n": len(y)})
    if len(y) == 0:
        return row
    parts = decompose(y, p)
    row.update(
        base_rate=float(y.mean()),
        mean_probability=float(p.mean()),
        brier=brier_score(y, p),
        log_loss=log_loss(y, p),
        auc=auc(y, p) if 0 < y.sum() < len(y) else np.nan,
        miscalibration=parts.miscalibration,
        discrimination=parts.discrimination,
        uncertainty=parts.uncertainty,
    )
    return row


def _compare(
    test: pd.DataFrame,
    model: FloatArray,
    other: FloatArray,
    *,
    against: str,
    cluster: str,
    block: timedelta | None,
    seed: int,
) -> Comparison:
    """Paired differences of the rows that both answered, resampled in blocks of time (whole clusters each)."""
    both = ~np.isnan(other)
    outcomes = test["outcome"].to_numpy(np.float64)[both]
    difference = brier_scores(outcomes, model[both]) - brier_scores(outcomes, other[both])
    blocks = time_blocks(test[both], cluster=cluster, block=block)
    interval = mean_interval(difference, clusters=blocks.units, block_length=blocks.length, seed=seed)
    return Comparison(against, interval, int(both.sum()))


def table_of(comparisons: tuple[Comparison, ...]) -> pd.DataFrame:
    """Comparisons as a tidy table."""
    rows: list[Mapping[str, Any]] = [
        {
            "against": c.against,
            "brier_difference": c.difference.estimate,
            "low": c.difference.low,
            "high": c.difference.high,
            "rows": c.rows,
            "clusters": c.difference.clusters,
        }
        for c in comparisons
    ]
    return pd.DataFrame(rows)
