"""Usual rows to answers, all at once: score, calibrate, decide, and one record for the log.

Belongs here: these steps for rows in columns, giving each row the numbers that it would get alone.
Does not belong here: which rows are usual (`columns.py`), rows one by one (`predict.py`), the answer (`batch.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecastle.serve.champion import Champion
from forecastle.serve.columns import UsualRows
from forecastle.serve.predict import decision_json
from forecastle.serve.receipt import json_text
from forecastle.serve.refusal import Refusal
from forecastle.store.prediction_batch import PredictionBatch

FloatArray = NDArray[np.float64]


class Answered(msgspec.Struct, frozen=True, gc=False):
    """A batch's record, None where no row is answered; which of the rows asked it holds, and why others are not."""

    batch: PredictionBatch | None
    places: Sequence[int]
    refused: Mapping[int, Refusal]


def answered(
    usual: UsualRows,
    entities: Sequence[Mapping[str, Any]] | None,
    champion: Champion,
    *,
    batch_id: str,
    now_us: int,
    latency_ms: Callable[[], float],
) -> Answered:
    """The record of usual rows; `entities` are those of all rows asked, where they were asked by entity.

    The champion is no ensemble: its rows say which members answered. A row that the model has no score for is left out.

    Raises:
        ArithmeticError: the bundle gives no finite probability.
    """
    bundle = champion.bundle
    usual, raw, probabilities = _scored(usual, champion)
    decisions, refused = _decided(usual, probabilities.tolist(), champion, now_us)
    kept = [row for row in range(len(usual.places)) if usual.places[row] not in refused]
    if not kept:
        return Answered(None, (), refused)
    if refused:
        usual, raw, probabilities = usual.at(kept), raw[kept], probabilities[kept]
        decisions = [decisions[row] for row in kept] if decisions is not None else None
    bounds = bundle.calibrator.interval(raw)
    batch = PredictionBatch(
        batch_id, bundle.system, now_us, champion.model, champion.model_version, bundle.hash, bundle.feature_set.hash,
        champion.variant, latency_ms(),
        layout=usual.layout,
        values_json=json_text(usual.values),
        times=usual.times,
        raw_scores=raw.tolist(),
        probabilities=probabilities.tolist(),
        intervals=(bounds[0].tolist(), bounds[1].tolist()) if bounds else None,
        entities=[json_text(entities[place]) for place in usual.places] if entities is not None else None,
        decisions=decisions,
    )  # fmt: skip
    return Answered(batch, usual.places, refused)


def _scored(usual: UsualRows, champion: Champion) -> tuple[UsualRows, FloatArray, FloatArray]:
    """The rows that the model answers, their raw scores and probabilities.

    Raises:
        ArithmeticError: a probability is not finite.
    """
    raw = champion.scorer.scores(usual.vectors)
    there = np.flatnonzero(~np.isnan(raw))
    if len(there) < len(raw):
        usual, raw = usual.at(there.tolist()), raw[there]
    probabilities = champion.bundle.calibrator.apply(raw)
    if not np.isfinite(probabilities).all():
        raise ArithmeticError(f"bundle {champion.bundle.hash} does not answer every row with a finite probability")
    return usual, raw, probabilities


def _decided(
    usual: UsualRows, probabilities: Sequence[float], champion: Champion, now_us: int
) -> tuple[list[str] | None, dict[int, Refusal]]:
    """The decision of each row and the rows that come too late; None without a rule."""
    if champion.bundle.decision is None:
        return None, {}
    decisions: list[str] = []
    refused: dict[int, Refusal] = {}
    for place, values, probability in zip(usual.places, usual.values, probabilities, strict=True):
        try:
            by_name = dict(zip(usual.layout.names, values, strict=True))
            decisions.append(decision_json(champion, by_name, probability, now_us))
        except Refusal as refusal:
            refused[place] = refusal
            decisions.append("null")
    return decisions, refused
