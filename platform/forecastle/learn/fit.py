"""One fit: an estimator on rows, from the log-odds of a start where one is declared.

Belongs here: the rows as the estimator sees them, building, weighting and fitting it, the scores of what was fitted.
Does not belong here: which rows (`split.py`), folds and rounds (`cross_fit.py`), bytes (`pack.py`), calibrators.
Start: https://lightgbm.readthedocs.io/en/stable/Advanced-Topics.html (init score, which the model text does not hold).
"""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import ForecastleError, LearnError
from forecastle.contract.estimators import LIGHTGBM, XGBOOST
from forecastle.contract.system import Model
from forecastle.learn.pack import Packed, pack
from forecastle.learn.preprocess import Preprocess, choose_preprocess
from forecastle.learn.scorer import Scorer, scorer_of
from forecastle.learn.split import Times
from forecastle.measure.calibrators import log_odds, sigmoid

FloatArray = NDArray[np.float64]
Code = Callable[[str], Callable[..., Any]]
"""Gives the function `module:function` of a system's folder."""

_PLAIN: Final = (bool, int, float, str)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as an estimator sees them: `matrix` (n, k) in the order of `features`, `outcomes` and `clusters` (n,).

    `start` is the column of the probability that the trees start from, if they do. `times` are needed by early
    stopping and by a search.
    """

    features: tuple[str, ...]
    matrix: FloatArray
    outcomes: FloatArray
    clusters: NDArray[Any]
    start: int | None
    times: Times | None = None

    def take(self, rows: NDArray[Any]) -> Rows:
        """Only these rows (positions or a mask)."""
        times = None if self.times is None else self.times.take(rows)
        return replace(
            self, matrix=self.matrix[rows], outcomes=self.outcomes[rows], clusters=self.clusters[rows], times=times
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted estimator, every plain parameter of it, what is done to rows before it, and the column it starts from.

    `rounds` is how many it was given, or, watched, how many gave the lowest log loss; None where it has no rounds.
    """

    estimator: Any
    params: dict[str, Any]
    preprocess: Preprocess | None
    start: int | None
    rounds: int | None
    trust: str | None = None

    def packed(self, *, rounds: int | None = None) -> Packed:
        """The model as a bundle carries it, of the first `rounds` only where that is given."""
        return pack(self.estimator, self.preprocess, rounds=rounds, trust=self.trust)

    def scorer(self, *, rounds: int | None = None) -> Scorer:
        """What the service will answer with: the packed model, opened again."""
        packed = self.packed(rounds=rounds)
        digest = hashlib.sha256(packed.model_bytes).hexdigest()
        return scorer_of(packed.model_bytes, packed.scoring, start=self.start, sha256=digest)

    def scores(self, matrix: FloatArray, *, rounds: int | None = None) -> FloatArray:
        """Scores (n,) as the service computes them from the packed model."""
        return self.scorer(rounds=rounds).scores(matrix)


def fit(
    model: Model, rows: Rows, *, rounds: int | None = None, code: Code | None = None, watched: Rows | None = None
) -> Fitted:
    """Fit the declared estimator, with `rounds` instead of its own number where that is given.

    Args:
        model: the declaration.
        rows: what it learns; medians, means and weights are of these rows alone.
        rounds: instead of the declared number.
        code: finds an estimator's function; needed where `model.estimator` names one.
        watched: rows whose log loss ends the rounds, as `model.early_stopping` says.

    Raises:
        LearnError: the start is no probability in some row; the estimator refuses its parameters or rows.
    """
    positions = {rows.features.index(name): _values(rows, name) for name in model.one_hot}
    preprocess = choose_preprocess(rows.matrix, preprocess=model.preprocess, one_hot=positions)
    weights = class_weights(model, rows.outcomes)
    told = [_seen(each, preprocess, weights) for each in ([rows] if watched is None else [rows, watched])]
    try:
        estimator = _built(model, rounds, code)
        found = _fitted(estimator, model, told)
    except ForecastleError:
        raise
    except Exception as error:  # an estimator may raise anything
        raise LearnError(f"{model.estimator} cannot be fitted: {type(error).__name__}: {error}") from error
    params = {name: value for name, value in estimator.get_params().items() if isinstance(value, _PLAIN)}
    return Fitted(estimator, params, preprocess, rows.start, found, model.trust)


def class_weights(model: Model, outcomes: FloatArray) -> tuple[float, float] | None:
    """Weights of outcomes 0 and 1; None where none are declared.

    balanced: n / (2 × rows of the outcome), King & Zeng 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868.
    """
    if model.class_weight is None:
        return None
    if isinstance(model.class_weight, Mapping):
        return model.class_weight["0"], model.class_weight["1"]
    ones = float(outcomes.sum())
    return len(outcomes) / (2 * (len(outcomes) - ones)), len(outcomes) / (2 * ones)


def unweighted(scores: FloatArray, weights: tuple[float, float] | None) -> FloatArray:
    """Scores of a weighted fit with the weights' shift of the odds taken back (Elkan 2001, theorem 2)."""
    if weights is None:
        return scores
    return np.asarray(sigmoid(log_odds(scores) - np.log(weights[1] / weights[0])), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Rows in an estimator's own terms."""

    frame: pd.DataFrame
    outcomes: NDArray[np.int64]
    weights: FloatArray | None
    start: FloatArray | None


def _seen(rows: Rows, preprocess: Preprocess | None, weights: tuple[float, float] | None) -> _Seen:
    matrix = rows.matrix if preprocess is None else preprocess.apply(rows.matrix)
    names = rows.features if preprocess is None else preprocess.names(rows.features)
    return _Seen(
        pd.DataFrame(matrix, columns=list(names)),
        rows.outcomes.astype(np.int64),
        None if weights is None else np.where(rows.outcomes == 1, weights[1], weights[0]),
        None if rows.start is None else np.asarray(log_odds(_probabilities(rows, rows.start)), dtype=np.float64),
    )


def _built(model: Model, rounds: int | None, code: Code | None) -> Any:
    """The estimator with its parameters; whatever in it is random has the model's seed."""
    params = {**model.params, **({} if rounds is None else {"n_estimators": rounds})}
    if ":" in model.estimator:
        if code is None:
            raise LearnError(f"{model.estimator} is a function of the system's folder, which was not handed in")
        estimator = code(model.estimator)(**params)
    else:
        module, _, class_name = model.estimator.rpartition(".")
        estimator = getattr(importlib.import_module(module), class_name)(**params)
    seeds = [
        name
        for name, value in estimator.get_params().items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    ]
    return estimator.set_params(**dict.fromkeys(seeds, model.seed)) if seeds else estimator


def _fitted(estimator: Any, model: Model, told: list[_Seen]) -> int | None:
    """Fit, and say how many rounds it has."""
    rows, *watched = told
    if model.estimator == LIGHTGBM:
        return _fit_lightgbm(estimator, model, rows, watched)
    if model.estimator == XGBOOST:
        return _fit_xgboost(estimator, model, rows, watched)
    weights = {} if rows.weights is None else {_weight_word(estimator): rows.weights}
    estimator.fit(rows.frame.to_numpy(), rows.outcomes, **weights)
    return None


def _fit_lightgbm(estimator: Any, model: Model, rows: _Seen, watched: list[_Seen]) -> int:
    options: dict[str, Any] = {"sample_weight": rows.weights, "init_score": rows.start}
    if watched and model.early_stopping is not None:
        import lightgbm

        options |= {
            "eval_set": [(each.frame, each.outcomes) for each in watched],
            "eval_sample_weight": None if rows.weights is None else [each.weights for each in watched],
            "eval_init_score": None if rows.start is None else [each.start for each in watched],
            "eval_metric": "binary_logloss",
            "callbacks": [lightgbm.early_stopping(model.early_stopping.rounds, verbose=False)],
        }
    with warnings.catch_warnings():
        # From 4.7 on LightGBM wants eval_X and eval_y, which 4.6 does not know.
        warnings.filterwarnings("ignore", message=".*eval_set.*deprecated")
        estimator.fit(rows.frame, rows.outcomes, **options)
    return int(estimator.best_iteration_ if watched else estimator.get_params()["n_estimators"])


def _fit_xgboost(estimator: Any, model: Model, rows: _Seen, watched: list[_Seen]) -> int:
    options: dict[str, Any] = {"sample_weight": rows.weights}
    if watched and model.early_stopping is not None:
        estimator.set_params(early_stopping_rounds=model.early_stopping.rounds, eval_metric="logloss")
        options |= {
            "eval_set": [(each.frame.to_numpy(), each.outcomes) for each in watched],
            "sample_weight_eval_set": None if rows.weights is None else [each.weights for each in watched],
            "verbose": False,
        }
    estimator.fit(rows.frame.to_numpy(), rows.outcomes, **options)
    return int(estimator.best_iteration) + 1 if watched else int(estimator.get_num_boosting_rounds())


def _weight_word(estimator: Any) -> str:
    """What `fit` calls the weights: a Pipeline hands them to its last step by that step's name."""
    steps = getattr(estimator, "steps", None)
    return f"{steps[-1][0]}__sample_weight" if steps else "sample_weight"


def _values(rows: Rows, name: str) -> list[float]:
    column = rows.matrix[:, rows.features.index(name)]
    return [float(value) for value in np.unique(column[~np.isnan(column)])]


def _probabilities(rows: Rows, start: int) -> FloatArray:
    """The start's column; log-odds would hide a value outside [0, 1] by holding it inside."""
    column = rows.matrix[:, start]
    wrong = column[~((column >= 0) & (column <= 1))]
    if wrong.size:
        raise LearnError(
            f"start_from {rows.features[start]!r} is {wrong[0]:g} in {wrong.size} rows; trees start from values "
            "between 0 and 1: mend the feature's SQL or function"
        )
    return column
