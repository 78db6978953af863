"""Walk-forward backtest: what models trained at past decision times would have answered after them.

Belongs here: the cuts, which rows each cut may see, the model of each cut and its answers, scores by cut.
Does not belong here: fitting (`train.py`), the report's files (`backtest_report.py`), keeping answers (`store/`).
Hyndman & Athanasopoulos 2021, Forecasting: Principles and Practice, section 5.10 (https://otexts.com/fpp3/tscv.html).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.types import format_duration
from forecastle.learn.build import cluster_column, model_rows, train_declared
from forecastle.learn.settled_bets import answered_columns
from forecastle.measure.bootstrap import mean_interval
from forecastle.measure.scores import auc, brier_scores, log_loss

FloatArray = NDArray[np.float64]

# A Monday: cuts do not depend on which rows there are, so that new rows leave old cuts as they are.
ORIGIN: Final = datetime(1970, 1, 5, tzinfo=UTC)

SCORE_COLUMNS: Final = (
    "cut", "rows", "clusters", "trained_rows", "base_rate",
    "brier", "brier_low", "brier_high", "baseline_brier", "difference", "difference_low", "difference_high",
    "log_loss", "auc",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cut:
    """One past decision time: a model that knows what was known at `at` answers what is asked before `until`."""

    at: datetime
    until: datetime


class KeptCuts(Protocol):
    """Where answers of a cut outlive the process; `inputs` is the digest of everything that makes them."""

    def read(self, cut: Cut, *, model: str, inputs: str) -> pd.DataFrame | None:
        """The answers kept for these inputs, or None."""

    def keep(self, cut: Cut, rows: pd.DataFrame, *, model: str, inputs: str) -> None:
        """Keep the answers of a cut."""


@dataclass(frozen=True)
class Backtest:
    """Out-of-time answers of one declared model.

    `predictions` has entity keys, predict_at, outcome, known_at (of the outcome), slices, cluster, baseline, what a
    declared profit reads, raw_score, probability, cut and trained_rows, by cut in the order of the training set.
    `skipped` (cut, reason) are cuts without a model. `computed` cuts were made by this run, `kept` ones by an earlier
    run. The newest cuts hold only rows whose outcome is known by now: those quick to come, which are no fair sample.
    """

    model: str
    predictions: pd.DataFrame
    skipped: pd.DataFrame
    computed: int
    kept: int


def plan_cuts(
    frame: pd.DataFrame,
    *,
    every: timedelta,
    since: datetime | None = None,
    until: datetime | None = None,
    history: timedelta | None = None,
) -> tuple[Cut, ...]:
    """Cuts over the times at which the rows of `frame` were asked.

    Args:
        frame: the training set; its predict_at is read.
        every: from one cut to the next.
        since: the first cut; without it cuts are whole multiples of `every` after `ORIGIN`.
        until: end of the last window (not within it); the last row's window when None.
        history: leave out cuts that lie longer than this before the last row.

    Raises:
        LearnError: there are no rows, or `until` is not after `since`.
    """
    if frame.empty:
        raise LearnError("the training set has no rows: materialise labels and features that overlap in time")
    first, last = frame["predict_at"].min().to_pydatetime(), frame["predict_at"].max().to_pydatetime()
    if since is not None and until is not None and until <= since:
        raise LearnError(f"a backtest from {since.isoformat()} to {until.isoformat()} has no time in it; swap them")
    at = since or ORIGIN + every * ((first - ORIGIN) // every + 1)
    found = []
    while at <= last and (until is None or at < until):
        if history is None or at >= last - history:
            found.append(Cut(at, at + every if until is None else min(at + every, until)))
        at += every
    return tuple(found)


def run_backtest(
    system: LoadedSystem, frame: pd.DataFrame, *, model: str, cuts: Sequence[Cut], kept: KeptCuts
) -> Backtest:
    """Train one declared model at every cut and answer the rows asked from there to the next cut.

    Args:
        system: declares the model, its features, split embargo, baseline, slices and cluster.
        frame: the training set's rows; features were joined as of predict_at, so no cut joins them again.
        model: the model's name in the declaration.
        cuts: the decision times.
        kept: answers of earlier runs; a cut whose inputs are the same is not computed again.
    """
    answered, skipped = [], []
    computed = 0
    about = model_rows(system, model, frame)
    for cut in cuts:
        seen = visible_rows(about, cut, embargo=system.declaration.evaluate.split.embargo)
        inputs = _digest(system, seen, cut, model=model)
        rows = kept.read(cut, model=model, inputs=inputs)
        if rows is None:
            try:
                rows = answer_cut(system, seen, cut, model=model)
            except LearnError as refusal:
                skipped.append((cut.at, str(refusal)))
                continue
            kept.keep(cut, rows, model=model, inputs=inputs)
            computed += 1
        answered.append(rows)
    if not answered:
        none = _answer_columns(system, frame.iloc[:0]).assign(raw_score=0.0, probability=0.0, trained_rows=0)
        answered.append(_with_cut(none, pd.NaT))
    return Backtest(
        model=model,
        predictions=pd.concat(answered, ignore_index=True),
        skipped=_skipped_table(skipped),
        computed=computed,
        kept=len(cuts) - len(skipped) - computed,
    )


def visible_rows(frame: pd.DataFrame, cut: Cut, *, embargo: timedelta) -> pd.DataFrame:
    """Rows that a cut may see: asked before it with an outcome known `embargo` before it, and those it answers."""
    asked, known = frame["predict_at"], frame["known_at"]
    may_train = (asked < cut.at) & (known <= cut.at - embargo)
    answers = (asked >= cut.at) & (asked < cut.until)
    return frame[may_train | answers].reset_index(drop=True)


def answer_cut(system: LoadedSystem, rows: pd.DataFrame, cut: Cut, *, model: str) -> pd.DataFrame:
    """Train on the visible rows before the cut, calibrator included, and answer those from the cut on.

    Raises:
        LearnError: nothing was asked in the cut's window, or the rows before it cannot give a model.
    """
    if not (rows["predict_at"] >= cut.at).any():
        raise LearnError("nothing was asked in its window")
    trained = train_declared(system, model, rows, test_from=cut.at)
    answers = _answer_columns(system, rows.iloc[trained.split.test]).assign(
        raw_score=trained.test_raw,
        probability=trained.test_probability,
        trained_rows=len(trained.split.train),
    )
    return _with_cut(answers.reset_index(drop=True), cut.at)


def cut_scores(system: LoadedSystem, predictions: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Scores of each cut, columns `SCORE_COLUMNS`, oldest first; AUC is NaN where only one outcome happened.

    `difference` is Brier minus the baseline's on the rows that
    have one, below 0 where the model is better: unlike Brier itself it may be compared between cuts. Intervals are
    95 % cluster-bootstrap ones, NaN where all rows settle together.
    """
    cluster, baseline = cluster_column(system), system.declaration.evaluate.baseline
    rows = [
        _score_cut(at, part, part[baseline].to_numpy(np.float64, na_value=np.nan), cluster=cluster, seed=seed)
        for at, part in predictions.groupby("cut", sort=True)
    ]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def _score_cut(at: Any, part: pd.DataFrame, baseline: FloatArray, *, cluster: str, seed: int) -> dict[str, Any]:
    outcomes = part["outcome"].to_numpy(np.float64)
    probability = part["probability"].to_numpy(np.float64)
    clusters = part[cluster].to_numpy()
    losses = brier_scores(outcomes, probability)
    spoke = ~np.isnan(baseline)
    its = brier_scores(outcomes[spoke], baseline[spoke]) if spoke.any() else np.empty(0)
    return {
        "cut": at,
        "rows": len(part),
        "clusters": len(np.unique(clusters)),
        "trained_rows": int(part["trained_rows"].iloc[0]),
        "base_rate": float(outcomes.mean()),
        **_mean("brier", losses, clusters, seed=seed),
        "baseline_brier": float(its.mean()) if spoke.any() else np.nan,
        **_mean("difference", losses[spoke] - its, clusters[spoke], seed=seed),
        "log_loss": log_loss(outcomes, probability),
        "auc": auc(outcomes, probability) if 0 < outcomes.sum() < len(outcomes) else np.nan,
    }


def _mean(name: str, values: FloatArray, clusters: NDArray[Any], *, seed: int) -> dict[str, float]:
    """A mean and, where there are clusters to draw, its interval."""
    if len(np.unique(clusters)) > 1:
        found = mean_interval(values, clusters=clusters, seed=seed)
        return {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
    return {name: float(values.mean()) if values.size else np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}


def _answer_columns(system: LoadedSystem, rows: pd.DataFrame) -> pd.DataFrame:
    declared = system.declaration
    keys = declared.entity_of_label().keys
    evaluate = declared.evaluate
    named = [*keys, "predict_at", "outcome", "known_at", *evaluate.slices, cluster_column(system), evaluate.baseline]
    named += answered_columns(system)
    return rows[list(dict.fromkeys(named))]


def _with_cut(rows: pd.DataFrame, at: Any) -> pd.DataFrame:
    return rows.assign(cut=pd.Series(at, index=rows.index, dtype="datetime64[us, UTC]"))


def _skipped_table(skipped: Sequence[tuple[datetime, str]]) -> pd.DataFrame:
    table = pd.DataFrame(skipped, columns=["cut", "reason"])
    return table.astype({"cut": "datetime64[us, UTC]", "reason": "str"})


def _digest(system: LoadedSystem, rows: pd.DataFrame, cut: Cut, *, model: str) -> str:
    """SHA-256 over the rows a cut sees, in order, and every declaration that shapes its answers."""
    declared = system.declaration
    recipe = {
        "model": declared.models[model].model_dump(mode="json"),
        "feature_set": system.feature_set(model).hash,
        "evaluate": declared.evaluate.model_dump(mode="json"),
        "window": [cut.at.isoformat(), format_duration(cut.until - cut.at)],
        "answered": answered_columns(system),
        "code": system.code.get(declared.models[model].estimator.partition(":")[0]),
        "columns": [f"{name}:{dtype}" for name, dtype in rows.dtypes.items()],
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return digest.hexdigest()
