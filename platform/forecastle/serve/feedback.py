"""Outcome feedback: what happened after a prediction, told by a caller, kept with every correction.

Belongs here: the body of `outcome`, which prediction or entity it is about, the answer.
Does not belong here: the log (`store/outcome_log.py`), joining outcomes to predictions, HTTP (`application.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Final

from forecastle.contract.clock import Clock
from forecastle.contract.errors import StoreError
from forecastle.contract.request import Violation, shown
from forecastle.serve.champion import Champion
from forecastle.serve.parse import entity_faults, instant_in, json_object, object_in, top_faults, word_in
from forecastle.serve.receipt import json_text, microseconds
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.store.outcome_log import OutcomeLog, ToldOutcome
from forecastle.store.prediction import WritableLog
from forecastle.store.prediction_batch import iso

KEYS: Final = ("prediction_id", "entity", "outcome", "known_at", "request_id")


@dataclass(frozen=True, slots=True)
class Feedback:
    """Takes outcomes of one system."""

    system: str
    champion: Callable[[], Champion]
    predictions: WritableLog
    log: OutcomeLog
    clock: Clock
    new_id: Callable[[], str]
    executor: Executor

    async def tell(self, body: bytes) -> bytes:
        """What was kept; it returns after the outcome is on disk.

        Raises:
            Refusal: the body breaks a rule, the prediction is not ours, or the log cannot be written.
        """
        return await asyncio.get_running_loop().run_in_executor(self.executor, self._tell, body)

    def _tell(self, body: bytes) -> bytes:
        data = json_object(body, KEYS)
        told = self._read(data)
        try:
            if told.prediction_id is not None:
                told = replace(told, entity_json=self._entity_of(told.prediction_id))
            kept = self.log.append(told)
            refusal = Refusal("request_id_reused", "this request_id has told another outcome already; use a new one")
            if kept.request_sha256 == told.request_sha256:
                return self._answer(kept)
        except StoreError:
            refusal = Refusal("log_unavailable", "the outcome log cannot be written; nothing was kept")
        except Refusal as unknown:
            refusal = unknown
        refusal.request_id = data.get("request_id")
        raise refusal

    def _read(self, data: Mapping[str, Any]) -> ToldOutcome:
        now_us = microseconds(self.clock())
        faults = top_faults(data, KEYS)
        prediction_id = word_in(data, "prediction_id", faults)
        entity = object_in(data, "entity", faults)
        if entity is not None:
            faults += entity_faults(entity, self.champion().resolver.feature_set.keys)
        if (prediction_id is None) == (data.get("entity") is None):
            text = "an outcome is about one prediction_id or one entity; give one of them"
            faults.append(Violation("prediction_id", shown(data.get("prediction_id")), "missing", text))
        outcome = data.get("outcome")
        if type(outcome) is not int or outcome not in (0, 1):
            rule = "missing" if "outcome" not in data else "allowed" if type(outcome) is int else "dtype"
            faults.append(Violation("outcome", shown(outcome), rule, "outcome is needed: the number 0 or 1"))
        known_at_us = instant_in(data, "known_at", faults, now_us=now_us)
        request_id = word_in(data, "request_id", faults)
        if faults:
            refusal = broken_contract(faults)
            refusal.request_id = request_id
            raise refusal
        content = [prediction_id, entity, outcome, known_at_us]
        return ToldOutcome(
            request_id=request_id or self.new_id(),
            request_sha256=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
            system=self.system,
            prediction_id=prediction_id,
            entity_json=json_text(entity),
            outcome=int(outcome or 0),
            known_at_us=now_us if known_at_us is None else known_at_us,
            received_at_us=now_us,
        )

    def _entity_of(self, prediction_id: str) -> str:
        prediction = self.predictions.get(prediction_id)
        if prediction is None:
            raise Refusal("unknown_prediction", "no prediction has this id; look at the receipt's prediction_id")
        return prediction.entity_json

    def _answer(self, kept: ToldOutcome) -> bytes:
        told = self.log.history(prediction_id=kept.prediction_id, entity_json=kept.entity_json)
        earlier = [other for other in told if other.sequence < kept.sequence]
        counts = self.log.current(prediction_id=kept.prediction_id, entity_json=kept.entity_json)
        return json_text(
            {
                "request_id": kept.request_id,
                "system": kept.system,
                "prediction_id": kept.prediction_id,
                "entity": json.loads(kept.entity_json),
                "outcome": kept.outcome,
                "known_at": iso(kept.known_at_us),
                "received_at": iso(kept.received_at_us),
                "corrects": earlier[-1].outcome if earlier else None,
                "counts": counts is not None and counts.sequence == kept.sequence,
            }
        ).encode()
