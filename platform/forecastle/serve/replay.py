"""Replay: logged answers computed again, by the bundle that gave them or by one that did not.

Belongs here: the same number from the log, and an offline shadow: what a candidate would have answered.
Does not belong here: reading the log, outcomes (`promote/live.py`), drawing. Not served: it imports pandas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import pandas as pd

from forecastle.contract.decision import PREDICT_AT
from forecastle.contract.errors import BundleError, DecisionError
from forecastle.serve.challenger import SHADOW
from forecastle.serve.champion import Champion
from forecastle.serve.receipt import moment
from forecastle.store.prediction import Prediction

SHADOW_COLUMNS: Final = {
    "prediction_id": "str", "predicted_at": "datetime64[us, UTC]", "entity_json": "str", "bundle": "str",
    "probability": "float64", "candidate": "str", "candidate_probability": "float64",
    "decision_json": "str", "candidate_decision_json": "str", "not_answered": "str",
}  # fmt: skip

PAIR_COLUMNS: Final = {"prediction_id": "str", "champion": "float64", "challenger": "float64", "is_said": "bool"}


@dataclass(frozen=True, slots=True)
class Replay:
    """One logged answer and the same computed again from its logged features."""

    prediction: Prediction
    raw_score: float
    probability: float
    decision_json: str

    @property
    def is_same(self) -> bool:
        """Whether score, probability and decision are the logged ones, numbers bit for bit."""
        logged = self.prediction
        return (self.raw_score, self.probability, self.decision_json) == (
            logged.raw_score, logged.probability, logged.decision_json,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShadowSummary:
    """How a candidate differs from the answers given; `mean_difference` is candidate minus answer."""

    answers: int
    answered: int
    mean_difference: float
    mean_absolute_difference: float
    largest_difference: float
    decisions_changed: int


def replay_prediction(prediction: Prediction, bundle: Champion) -> Replay:
    """Compute one answer again from its logged features: computed features, score, calibration, decision.

    Raises:
        BundleError: the logged features lack one that the bundle needs.
    """
    found = _answered(prediction, bundle)
    if isinstance(found, str):
        raise BundleError(f"{prediction.prediction_id} cannot be computed again: {found}")
    raw, probability, decision = found
    return Replay(prediction, raw, probability, decision)


def shadow(predictions: Iterable[Prediction], candidate: Champion) -> pd.DataFrame:
    """What the candidate would have answered: one row an answer, columns `SHADOW_COLUMNS`.

    The candidate sees each stored feature as the answer saw it, and computes its own on-demand features. Where it needs
    a feature that was not logged, `not_answered` says which and its probability is NaN.
    """
    rows = [_shadowed(prediction, candidate) for prediction in predictions]
    return pd.DataFrame(rows, columns=list(SHADOW_COLUMNS)).astype(SHADOW_COLUMNS)


def summary(table: pd.DataFrame) -> ShadowSummary:
    """The differences of a shadow table in numbers; NaN where nothing was answered."""
    answered = table[table["not_answered"] == ""]
    difference = (answered["candidate_probability"] - answered["probability"]).to_numpy(np.float64)
    absolute = np.abs(difference) if difference.size else np.array([np.nan])
    return ShadowSummary(
        answers=len(table),
        answered=len(answered),
        mean_difference=float(difference.mean()) if difference.size else float("nan"),
        mean_absolute_difference=float(absolute.mean()),
        largest_difference=float(absolute.max()),
        decisions_changed=int((answered["decision_json"] != answered["candidate_decision_json"]).sum()),
    )


def paired_answers(predictions: Iterable[Prediction], *, champion: Champion, challenger: Champion) -> pd.DataFrame:
    """What two bundles say to the same requests: one row a logged answer, columns `PAIR_COLUMNS`.

    Where a bundle answered, or spoke in the shadow of an answer, that number is taken; else it is asked afterwards,
    with the logged features; NaN where it reads others. `is_said`: the challenger spoke then.
    """
    ours = challenger.bundle.hash
    said: dict[str, float] = {}
    rows = []
    for p in predictions:  # once: a log is longer than memory
        if p.variant == SHADOW:
            if p.bundle == ours:
                said[shadowed_id(p)] = p.probability
            continue
        first = p.probability if p.bundle == champion.bundle.hash else _probability(p, champion)
        is_said = p.bundle == ours
        rows.append((p.prediction_id, first, p.probability if is_said else _probability(p, challenger), is_said))
    whole = [(key, first, said.get(key, second), is_said or key in said) for key, first, second, is_said in rows]
    pairs = pd.DataFrame(whole, columns=list(PAIR_COLUMNS)).astype(PAIR_COLUMNS)
    return pairs.dropna(how="all", subset=["champion", "challenger"]).reset_index(drop=True)


def shadowed_id(prediction: Prediction) -> str:
    """The id of the answer in whose shadow a prediction was made; its own for an answer."""
    if prediction.variant != SHADOW:
        return prediction.prediction_id
    return prediction.request_id.removeprefix(f"{SHADOW}:")


def _probability(prediction: Prediction, bundle: Champion) -> float:
    found = _answered(prediction, bundle)
    return np.nan if isinstance(found, str) else found[1]


def _shadowed(prediction: Prediction, candidate: Champion) -> tuple[Any, ...]:
    found = _answered(prediction, candidate)
    _, probability, decision = (np.nan, np.nan, "null") if isinstance(found, str) else found
    return (
        prediction.prediction_id,
        moment(prediction.predicted_at_us),
        prediction.entity_json,
        prediction.bundle,
        prediction.probability,
        candidate.bundle.hash,
        probability,
        prediction.decision_json,
        decision,
        found if isinstance(found, str) else "",
    )


def _answered(prediction: Prediction, bundle: Champion) -> tuple[float, float, str] | str:
    """Raw score, probability and decision of a bundle for logged features, or why there are none."""
    logged = {name: feature["value"] for name, feature in json.loads(prediction.features_json).items()}
    feature_set = bundle.resolver.feature_set
    stored = [spec.name for spec in feature_set.features if spec.view is not None]
    absent = [name for name in stored if name not in logged]
    if absent:
        return f"not logged: {', '.join(absent)}"
    given = {name: logged[name] for name in stored}
    resolution = bundle.resolver.resolve(given, {}, now_us=prediction.predicted_at_us)
    if resolution.refused:
        return "; ".join(violation.text for violation in resolution.refused)
    raw = bundle.scorer.score_row(bundle.resolver.vector(resolution.features))
    probability = bundle.bundle.calibrator.apply_scalar(raw)
    rule = bundle.bundle.decision
    if rule is None:
        return raw, probability, "null"
    values = {name: resolution.features[name].value for name in rule.inputs if name != PREDICT_AT}
    try:
        decision = rule.decide(probability, values, predict_at=moment(prediction.predicted_at_us))
    except DecisionError as error:
        return str(error)
    return raw, probability, msgspec.json.encode(decision).decode()
