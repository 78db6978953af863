"""Whether a new model is due: age, live degradation, drift and new labels, each with its sentence.

Belongs here: the decision as a pure function of what was measured, and the monitor of live degradation.
Does not belong here: measuring drift (`measure/drift.py`), counting labels (`store/new_labels.py`), starting a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from forecastle.contract.system import Retrain
from forecastle.contract.types import format_duration
from forecastle.measure.monitoring import RiskMonitor, start_risk_monitor
from forecastle.measure.scores import brier_scores
from forecastle.promote.rollout_evidence import judged_answers, once_each

Says = Literal["retrain", "watch", "wait"]

RETRAIN_COLUMNS: Final = ("decision", "cause", "says", "reason", "value", "limit")

_LOUDNESS: Final[tuple[Says, ...]] = ("retrain", "watch", "wait")

# From this share of its longest age on, a model is watched.
_WATCHED_AGE: Final = 0.8
# Brier losses of a few hundred outcomes: where the live bound is tightest.
_V_OPT: Final = 25.0


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason to train again or not: what it says, its sentence, its number and limit where it has them."""

    name: str
    says: Says
    reason: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class RetrainDecision:
    """`retrain`: a new model is due; `watch`: something moves, not enough yet; `wait`: nothing speaks for it.

    `reasons` has one sentence a cause, those that speak loudest first.
    """

    decision: Says
    causes: tuple[Cause, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence a cause, the loudest first."""
        return tuple(cause.reason for cause in sorted(self.causes, key=lambda c: _LOUDNESS.index(c.says)))

    def table(self) -> pd.DataFrame:
        """One row a cause, columns `RETRAIN_COLUMNS`, the loudest first; `decision` is the same in all."""
        rows = [
            (self.decision, c.name, c.says, c.reason, c.value, c.limit)
            for c in sorted(self.causes, key=lambda c: _LOUDNESS.index(c.says))
        ]
        kinds = dict.fromkeys(RETRAIN_COLUMNS[:4], "str") | dict.fromkeys(RETRAIN_COLUMNS[4:], "float64")
        return pd.DataFrame(rows, columns=list(RETRAIN_COLUMNS)).astype(kinds)


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of the champion now; None where it was not or could not be measured.

    `trained_at` None: there is no champion. `new_labels` since its training, without one all; `drifted` names features
    beyond their tolerance; `awaiting` is the bundle that waits for a person's approval.
    """

    trained_at: datetime | None
    new_labels: int
    drifted: tuple[str, ...] | None = None
    degradation: RiskMonitor | None = None
    awaiting: str | None = None


def decide_retraining(observed: Observed, declared: Retrain, *, now: datetime) -> RetrainDecision:
    """Whether a new model is due at `now`.

    Nothing is started while labels are too few (the same rows would give the same model) or while a bundle waits for
    a person: what speaks for a new model is then watched. Without a champion a model is due whatever else is known.
    """
    held = _held_back(observed, declared)
    if observed.trained_at is None:
        # With the same labels a refused model would be trained again: the count makes it another decision.
        known = observed.new_labels
        due = Cause("age", "retrain", f"no bundle is champion yet and {known:,} labels are known: any model is due")
        return RetrainDecision("watch", (due, *held)) if observed.awaiting else RetrainDecision("retrain", (due,))
    causes = (_age(now - observed.trained_at, declared), *_measured(observed, declared), _labels(observed, declared))
    loudest = min((cause.says for cause in causes), key=_LOUDNESS.index)
    if loudest == "retrain" and held:
        return RetrainDecision("watch", (*causes, *held))
    return RetrainDecision(loudest, causes)


def live_degradation(
    outcomes: pd.DataFrame, test: pd.DataFrame, *, bundle: str, keys: list[str], margin: float
) -> RiskMonitor:
    """Brier of what a bundle served beside that of its test rows, by bounds that hold however often one looks.

    Podkopaev & Ramdas 2022 (https://arxiv.org/abs/2110.06177): the alarm is certain when the lower bound of the live
    risk is above the upper bound of the test rows' by more than the margin. Only final outcomes count, in the order in
    which they became so, each once: with the first answer that waited for it.

    Args:
        outcomes: rows of the outcomes table.
        test: rows of the bundle's test: outcome and probability.
        bundle: the champion's hash; answers of other bundles are left out.
        keys: the entity's key columns.
        margin: how much worse live may be.

    Raises:
        MeasureError: outcomes or probabilities outside [0, 1], or no test rows.
    """
    source = brier_scores(test["outcome"].to_numpy(np.float64), test["probability"].to_numpy(np.float64))
    monitor = start_risk_monitor(source, tolerance=margin, v_opt=_V_OPT)
    judged = once_each(judged_answers(outcomes[outcomes["bundle"] == bundle]), keys)
    if judged.empty:
        return monitor
    live = brier_scores(judged["outcome"].to_numpy(np.float64), judged["probability"].to_numpy(np.float64))
    return monitor.update(live)


def _age(age: Any, declared: Retrain) -> Cause:
    days, limit = age.total_seconds() / 86_400, declared.max_age.total_seconds() / 86_400
    says: Says = "retrain" if age >= declared.max_age else "watch" if age >= _WATCHED_AGE * declared.max_age else "wait"
    word = {"retrain": "is older than", "watch": "is nearly as old as", "wait": "is younger than"}[says]
    reason = f"the champion, {days:.1f} days old, {word} the {format_duration(declared.max_age)} that are allowed"
    return Cause("age", says, reason, days, limit)


def _measured(observed: Observed, declared: Retrain) -> Iterator[Cause]:
    yield _degradation(observed.degradation, declared)
    if observed.drifted is None:
        yield Cause("drift", "wait", "drift was not measured yet", limit=declared.drifted_features_max)
        return
    count, limit = len(observed.drifted), declared.drifted_features_max
    says: Says = "retrain" if count > limit else "watch" if count else "wait"
    named = f" ({', '.join(observed.drifted)})" if count else ""
    yield Cause("drift", says, f"{count} features drifted beyond their tolerance{named}, {limit} may", count, limit)


def _degradation(monitor: RiskMonitor | None, declared: Retrain) -> Cause:
    limit = declared.degradation_margin
    if monitor is None:
        return Cause("degradation", "wait", "there are no test rows of the champion to compare with", limit=limit)
    if monitor.mean is None:
        return Cause("degradation", "wait", "no answer of the champion has a final outcome yet", limit=limit)
    excess = monitor.mean - monitor.source_mean
    says: Says = "retrain" if monitor.is_alarmed else "watch" if excess > limit else "wait"
    word = {"retrain": "certainly worse", "watch": "perhaps worse", "wait": "not worse"}[says]
    low, high = monitor.interval
    reason = (
        f"live Brier {monitor.mean:.4f} [{low:.4f}, {high:.4f}] of {monitor.state.n} outcomes is {word} by more than "
        f"{limit:g} than the {monitor.source_mean:.4f} (at most {monitor.source_upper:.4f}) of the test rows"
    )
    return Cause("degradation", says, reason, excess, limit)


def _labels(observed: Observed, declared: Retrain) -> Cause:
    count, due = observed.new_labels, declared.new_labels_due
    if due is None:
        return Cause(
            "labels", "wait", f"{count} labels became known since training; their number alone is no cause", count
        )
    says: Says = "retrain" if count >= due else "wait"
    word = "reach" if count >= due else "are fewer than"
    return Cause("labels", says, f"{count} new labels since training {word} the {due} that are due", count, due)


def _held_back(observed: Observed, declared: Retrain) -> tuple[Cause, ...]:
    """What keeps a training from being started though one is due."""
    count, least = observed.new_labels, declared.new_labels_min
    found = []
    if observed.awaiting is not None:
        reason = f"bundle {observed.awaiting[:12]} waits for approval: approve it, or let it expire"
        found.append(Cause("approval", "watch", reason))
    if observed.trained_at is not None and count < least:
        reason = f"{count} new labels since training are fewer than the {least} that a new model needs"
        found.append(Cause("labels_min", "watch", reason, count, least))
    return tuple(found)
