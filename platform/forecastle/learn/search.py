"""A search over declared parameters: Optuna's TPE, each trial judged on walk-forward folds of the training rows.

Belongs here: drawing parameters, judging them, the best of them with every trial.
Does not belong here: the space's declaration (`contract/tuning.py`), the test part, which no trial sees.
TPE: Bergstra et al. 2011, https://papers.nips.cc/paper/4443; https://optuna.readthedocs.io.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pandas as pd

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Model
from forecastle.contract.tuning import Plain, Range, Search
from forecastle.learn.early_stopping import stopped
from forecastle.learn.fit import Code, Rows, class_weights, fit, unweighted
from forecastle.learn.split import inner_folds
from forecastle.measure.calibrators import inside
from forecastle.measure.scores import log_scores

ROWS_MIN: Final = 20


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of parameters and its log loss (nats a row) on the folds; None where the estimator refused it."""

    number: int
    params: Mapping[str, Plain]
    log_loss: float | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The parameters of lowest log loss, every trial in order, and the reasons."""

    params: Mapping[str, Plain]
    trials: tuple[Trial, ...]
    reasons: tuple[str, ...]

    @property
    def log_loss(self) -> float:
        """The lowest log loss."""
        return min(trial.log_loss for trial in self.trials if trial.log_loss is not None)

    def table(self) -> pd.DataFrame:
        """One row a trial, in order: trial, log_loss (NaN where it failed), a column for each parameter, fault."""
        rows = [
            {"trial": t.number, "log_loss": np.nan if t.log_loss is None else t.log_loss, **t.params, "fault": t.fault}
            for t in self.trials
        ]
        return pd.DataFrame(rows)


def search_params(model: Model, rows: Rows, *, embargo: timedelta, code: Code | None = None) -> SearchResult | None:
    """The best parameters of a model's declared space; None where it declares no search.

    The first trial is what `params` already says, where that lies in the space. The same rows and seed give the same
    trials, unless a timeout ends them.

    Raises:
        LearnError: no fold has enough rows, or the estimator refuses every trial.
    """
    if model.search is None:
        return None
    import optuna

    declared = model.search
    folds = _folds(rows, declared, embargo)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=model.seed))
    first = {name: model.params[name] for name, values in declared.space.items() if _holds(values, model, name)}
    if first:
        study.enqueue_trial(first)
    found: list[Trial] = []

    def judge(trial: optuna.Trial) -> float:
        params = {name: _drawn(trial, name, values) for name, values in declared.space.items()}
        try:
            loss = _judged(model, params, rows, folds, embargo=embargo, code=code)
        except LearnError as error:
            found.append(Trial(trial.number, params, None, str(error)))
            raise
        found.append(Trial(trial.number, params, loss))
        return loss

    timeout = None if declared.timeout is None else declared.timeout.total_seconds()
    with warnings.catch_warnings():
        # Optuna warns of choices that its own database could not hold; nothing is kept in one here.
        warnings.simplefilter("ignore")
        study.optimize(judge, n_trials=declared.trials, timeout=timeout, catch=(LearnError,))
    return _result(tuple(found), declared, rows=sum(int(asked.sum()) for _, asked in folds), folds=len(folds))


def _judged(
    model: Model,
    params: Mapping[str, Plain],
    rows: Rows,
    folds: list[tuple[Any, Any]],
    *,
    embargo: timedelta,
    code: Code | None,
) -> float:
    """Mean log loss of all rows that the folds ask, the shift of class weights taken back."""
    tried = model.model_copy(update={"params": {**model.params, **params}, "search": None})
    losses = []
    for learned, asked in folds:
        seen = rows.take(learned)
        stop = stopped(tried, seen, embargo=embargo, code=code)
        fitted = fit(tried, seen, rounds=None if stop is None else stop.rounds, code=code)
        scores = unweighted(fitted.scores(rows.matrix[asked]), class_weights(tried, seen.outcomes))
        losses.append(log_scores(rows.outcomes[asked], inside(scores)))
    return float(np.concatenate(losses).mean())


def _folds(rows: Rows, declared: Search, embargo: timedelta) -> list[tuple[Any, Any]]:
    if rows.times is None:
        raise LearnError("a search needs the rows' times")
    found = []
    for learned, asked in inner_folds(rows.times, folds=declared.folds, embargo=embargo):
        outcomes = rows.outcomes[learned]
        if len(outcomes) >= ROWS_MIN and outcomes.min() < outcomes.max() and asked.any():
            found.append((learned, asked))
    if not found:
        raise LearnError(
            f"none of {declared.folds} walk-forward folds of {len(rows.outcomes)} training rows has {ROWS_MIN} rows of "
            "both outcomes before it; bring a longer history, or lower search.folds or evaluate.split.embargo"
        )
    return found


def _drawn(trial: Any, name: str, values: Range | list[Plain]) -> Plain:
    if isinstance(values, list):
        drawn: Plain = trial.suggest_categorical(name, values)
        return drawn
    if values.whole:
        return int(trial.suggest_int(name, values.low, values.high, step=values.step or 1, log=values.log))
    return float(trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log))


def _holds(values: Range | list[Plain], model: Model, name: str) -> bool:
    """Does the space hold what the declaration says already?"""
    if name not in model.params:
        return False
    value = model.params[name]
    if isinstance(values, list):
        return value in values
    if isinstance(value, bool) or not isinstance(value, int | float) or not values.low <= value <= values.high:
        return False
    return values.step is None or float((value - values.low) / values.step).is_integer()


def _result(trials: tuple[Trial, ...], declared: Search, *, rows: int, folds: int) -> SearchResult:
    judged = [(trial.log_loss, trial.number, trial) for trial in trials if trial.log_loss is not None]
    if not judged:
        raise LearnError(f"all {len(trials)} trials of the search failed, the first with: {trials[0].fault}")
    loss, _, best = min(judged, key=lambda each: each[:2])
    told = ", ".join(f"{name} {value}" for name, value in sorted(best.params.items()))
    where = f"on {rows} rows of {folds} walk-forward folds before the test part"
    reasons = [f"{told} have the lowest log loss, {loss:.6f}, of {len(trials)} trials {where}"]
    if len(judged) < len(trials):
        reasons.append(f"{len(trials) - len(judged)} trials failed")
    if declared.timeout is not None and len(trials) < declared.trials:
        reasons.append(f"the timeout ended the search before its {declared.trials} trials")
    return SearchResult(best.params, trials, tuple(reasons))
