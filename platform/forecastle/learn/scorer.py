"""Scorers: a bundle's model as something that answers one row and many rows with the same bits, whatever made it.

Belongs here: the interface, choosing by the kind that `scoring.json` names, preprocessing before a model, golden rows.
Does not belong here: LightGBM's C interface (`native_booster.py`), other packages' models (`foreign_model.py`),
writing bundles. Served: imports scikit-learn, skops or XGBoost only when a bundle needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import BundleError
from forecastle.learn.bundle import Bundle
from forecastle.learn.explanation import Explanation
from forecastle.learn.linear_model import LinearModel
from forecastle.learn.native_booster import NativeBooster
from forecastle.learn.preprocess import Preprocess
from forecastle.learn.scoring import ENSEMBLE, LIGHTGBM, LINEAR, Scoring

FloatArray = NDArray[np.float64]


class Scorer(Protocol):
    """What answers: `width` features in the model's order, null as NaN, to raw scores in [0, 1]."""

    @property
    def width(self) -> int:
        """How many features a row has."""
        ...

    def scores(self, matrix: FloatArray) -> FloatArray:
        """Scores (n,) of a (n, `width`) float64 matrix."""
        ...

    def score_row(self, values: Sequence[float]) -> float:
        """The score of one row, the bits that `scores` gives."""
        ...

    def explain_row(self, values: Sequence[float]) -> Explanation | None:
        """What each feature adds to the row's log-odds; None where the model does not say."""
        ...


@dataclass(frozen=True, slots=True)
class PreprocessedScorer:
    """A model behind its preprocessing."""

    preprocess: Preprocess
    model: Scorer

    @property
    def width(self) -> int:
        """Features before preprocessing."""
        return self.preprocess.width

    def scores(self, matrix: FloatArray) -> FloatArray:
        """As `Scorer.scores`."""
        return self.model.scores(self.preprocess.apply(matrix))

    def score_row(self, values: Sequence[float]) -> float:
        """As `Scorer.score_row`."""
        return self.model.score_row(self.preprocess.apply_row(values))

    def explain_row(self, values: Sequence[float]) -> Explanation | None:
        """Contributions of the model's columns, added up to the features that they are made of."""
        told = self.model.explain_row(self.preprocess.apply_row(values))
        if told is None:
            return None
        parts = [0.0] * self.preprocess.width
        for step, part in zip(self.preprocess.steps, told.contributions, strict=True):
            parts[step.source] += part or 0.0
        return Explanation(told.log_odds, told.expected, tuple(parts), told.residual)


def load_scorer(bundle: Bundle) -> Scorer:
    """The bundle's model, ready to answer: every reader of bundles scores through this one.

    Raises:
        BundleError: the model's bytes are not the recorded ones, their package is missing or refuses them, they hold
            a type that is not trusted, or they take another number of features than the contract has.
    """
    if bundle.scoring.kind == ENSEMBLE:
        from forecastle.learn.ensemble import open_ensemble  # it opens its members by this module

        feature_set = bundle.feature_set
        return open_ensemble(bundle.model_bytes, features=feature_set.model_features, codes=feature_set.codes)
    scorer = scorer_of(bundle.model_bytes, bundle.scoring, start=bundle.start, sha256=bundle.model_sha256)
    width = len(bundle.feature_set.model_features)
    if scorer.width != width:
        raise BundleError(f"the model takes {scorer.width} values, its feature set has {width}; build the bundle again")
    return scorer


def scorer_of(model_bytes: bytes, scoring: Scoring, *, start: int | None, sha256: str) -> Scorer:
    """A model of checked bytes; `start` is the column of the probability that its trees start from, if they do.

    Raises:
        BundleError: as `load_scorer`.
    """
    model: Scorer
    if scoring.kind == LIGHTGBM:
        model = NativeBooster(model_bytes, expected_sha256=sha256, start=start)
    elif scoring.kind == LINEAR:
        model = LinearModel.from_bytes(model_bytes)
    else:
        from forecastle.learn.foreign_model import open_model

        model = open_model(model_bytes, scoring)
    return model if scoring.preprocess is None else PreprocessedScorer(scoring.preprocess, model)


def check_golden(scorer: Scorer, rows: Sequence[Sequence[float]], scores: Sequence[float]) -> None:
    """Answer rows whose scores were recorded at training; one differing bit refuses the model.

    Raises:
        BundleError: no rows, or a score differs, by the single-row or by the matrix path.
    """
    if not rows or len(rows) != len(scores):
        raise BundleError(f"got {len(rows)} golden rows and {len(scores)} scores; equal numbers above 0 are needed")
    many = scorer.scores(np.array(rows, dtype=np.float64))
    for index, (row, expected) in enumerate(zip(rows, scores, strict=True)):
        one = scorer.score_row(list(row))
        if one != expected or float(many[index]) != expected:
            raise BundleError(
                f"golden row {index} scores {one!r} (matrix {float(many[index])!r}), "
                f"recorded {expected!r}; the model, the library or the machine differs from training"
            )
