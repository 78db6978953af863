"""A prediction as it is logged, and what every prediction log can do.

Belongs here: the record and the two protocols; sequences follow the order of commits.
Does not belong here: the logs themselves (`prediction_log.py`, `prediction_log_postgres.py`), the receipt's shape
(`serve/receipt.py`), outcomes, analysis.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Protocol

import msgspec

from forecastle.store.packed_features import PackedFeatures
from forecastle.store.prediction_batch import PredictionBatch, joined


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One answer. `sequence` is 0 until the log has given one; `*_json` hold JSON text, never NaN.

    `predicted_at_us` counts microseconds since 1970 UTC. `request_id` is the caller's word or, without one,
    the prediction's id; `request_sha256` is the request's digest: it tells a repeat from a reuse.
    `vector_json` is what the model saw, in the feature set's order, null for missing.
    """

    prediction_id: str
    request_id: str
    request_sha256: str
    system: str
    entity_json: str
    predicted_at_us: int
    raw_score: float
    probability: float
    interval_low: float | None
    interval_high: float | None
    model: str
    model_version: str
    bundle: str
    feature_set: str
    variant: str
    features_json: str
    degraded_json: str
    vector_json: str
    decision_json: str
    latency_ms: float
    sequence: int = 0


class UsualPrediction(Prediction, frozen=True, gc=False):
    """A prediction that a log may write short: `packed` says what its features and its vector say."""

    packed: PackedFeatures | None = None


def predictions_in(batch: PredictionBatch) -> list[Prediction]:
    """Each row of a batch as the prediction that it is; sequences are 0 where the log has given none yet."""
    ids, rows = batch.row_ids(), len(batch)
    features, vectors = joined(batch.feature_pieces(), rows), batch.vector_texts()
    lows, highs = batch.intervals or (repeat(None), repeat(None))
    entities, decisions = batch.entities or ["null"] * rows, batch.decisions or ["null"] * rows
    columns = zip(ids, entities, batch.raw_scores, batch.probabilities, features, vectors, decisions, strict=True)
    first = batch.last_sequence - rows + 1 if batch.last_sequence else 0
    return [
        Prediction(
            prediction_id, prediction_id, "", batch.system, entity, batch.predicted_at_us, raw, probability, low, high,
            batch.model, batch.model_version, batch.bundle, batch.feature_set, batch.variant, shown, "[]", vector,
            decision, batch.latency_ms, first + row if first else 0,
        )
        for row, (low, high, (prediction_id, entity, raw, probability, shown, vector, decision)) in enumerate(
            zip(lows, highs, columns, strict=False)
        )
    ]  # fmt: skip


class ReadableLog(Protocol):
    """What reading a prediction log means, wherever it is kept."""

    @property
    def origin(self) -> str:
        """Where the log is kept, without secrets: sequences of one origin can be compared."""

    def exists(self) -> bool:
        """Whether anything was ever written; else every question but this one is refused."""

    def get(self, prediction_id: str) -> Prediction | None:
        """The prediction of that id, or None."""

    def by_request(self, request_id: str) -> Prediction | None:
        """The prediction that answered that request id, or None."""

    def since(self, sequence: int, *, limit: int = 10_000) -> list[Prediction]:
        """Up to `limit` predictions with a higher sequence, in commit order: a cursor that skips none."""

    def before(self, moment_us: int) -> int:
        """A cursor for `since`: no prediction made at or after the moment (µs since 1970 UTC) stands at or below it."""

    def newest(self, limit: int) -> list[Prediction]:
        """The last `limit` predictions, in commit order."""

    def count(self) -> int:
        """How many predictions the log holds."""

    def close(self) -> None:
        """Release files and connections."""


class WritableLog(ReadableLog, Protocol):
    """What serving needs of a prediction log; all implementations pass the same tests."""

    @property
    def pending(self) -> int:
        """Predictions handed over and not yet on disk."""

    @property
    def is_failing(self) -> bool:
        """Whether what was appended last could not be written: a full disk, a server that is away."""

    async def answered(self, request_id: str) -> Prediction | None:
        """`by_request` without keeping the event loop waiting."""

    async def append(self, prediction: Prediction) -> Prediction:
        """Return once the prediction is on disk: it with its sequence, or the one its request id already has."""

    async def append_many(
        self, predictions: Sequence[Prediction], *, batch: PredictionBatch | None = None
    ) -> list[Prediction]:
        """Return once all are on disk, by one transaction: the predictions as `append` gives them."""
