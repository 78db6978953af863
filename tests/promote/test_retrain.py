"""Whether a new model is due: each cause speaks for itself; too few new labels silence all but a missing champion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.system import Retrain
from forecastle.measure.monitoring import RiskMonitor
from forecastle.promote.retrain import RETRAIN_COLUMNS, Observed, decide_retraining, live_degradation

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DECLARED = Retrain(
    schedule="0 3 * * *", max_age=10 * DAY, new_labels_min=100, new_labels_due=1_000, degradation_margin=0.02,
    drifted_features_max=1,
)  # fmt: skip


def said(**observed: object) -> tuple[str, dict[str, str]]:
    quiet = {"trained_at": NOW - DAY, "new_labels": 500, "drifted": (), "degradation": None}
    found = decide_retraining(Observed(**(quiet | observed)), DECLARED, now=NOW)
    return found.decision, {cause.name: cause.says for cause in found.causes}


def served(losses: float, *, count: int = 3_000, seed: int = 0) -> RiskMonitor:
    """A monitor after `count` final outcomes whose probabilities are off by `losses` in half of the rows."""
    generator = np.random.default_rng(seed)
    p = generator.uniform(0.05, 0.35, count)
    y = (generator.random(count) < p + losses).astype(float)
    at = pd.Timestamp("2026-05-01", tz="UTC") + pd.to_timedelta(np.arange(count), unit="min")
    rows = pd.DataFrame(
        {
            "bundle": "b", "probability": p, "outcome": y, "is_mature": True, "matures_at": at, "first_known_at": at,
            "sequence": np.arange(count), "m": np.arange(count),
        }
    )  # fmt: skip
    q = generator.uniform(0.05, 0.35, 4_000)
    test = pd.DataFrame({"probability": q, "outcome": (generator.random(4_000) < q).astype(float)})
    return live_degradation(rows, test, bundle="b", keys=["m"], margin=DECLARED.degradation_margin)


def test_a_young_sound_model_waits() -> None:
    """Nothing is old, nothing drifted, labels are enough but not due: wait, with a sentence a cause."""
    decision, causes = said()
    assert decision == "wait"
    assert causes == {"age": "wait", "degradation": "wait", "drift": "wait", "labels": "wait"}


def test_without_a_champion_any_model_is_due() -> None:
    """Even with no new label: there is nothing that answers."""
    decision, causes = said(trained_at=None, new_labels=0)
    assert (decision, causes) == ("retrain", {"age": "retrain"})


@pytest.mark.parametrize(("days", "expected"), [(7.9, "wait"), (8.0, "watch"), (9.9, "watch"), (10.0, "retrain")])
def test_age(days: float, expected: str) -> None:
    """Watched from eight tenths of the longest age on, due at it."""
    assert said(trained_at=NOW - days * DAY)[0] == expected


@pytest.mark.parametrize(
    ("drifted", "expected"), [(None, "wait"), ((), "wait"), (("a",), "watch"), (("a", "b"), "retrain")]
)
def test_drift(drifted: tuple[str, ...] | None, expected: str) -> None:
    """One feature may drift, two are due; what was not measured says nothing."""
    assert said(drifted=drifted)[0] == expected


@pytest.mark.parametrize(("labels", "expected"), [(0, "wait"), (999, "wait"), (1_000, "retrain")])
def test_labels_alone(labels: int, expected: str) -> None:
    """A thousand new labels are reason enough; fewer are none."""
    assert said(new_labels=labels)[0] == expected


def test_too_few_labels_turn_retrain_into_watch() -> None:
    """The same rows would give the same model: an old model without new labels is watched."""
    decision, causes = said(trained_at=NOW - 30 * DAY, new_labels=99)
    assert (decision, causes["labels_min"]) == ("watch", "watch")
    assert said(trained_at=NOW - 30 * DAY, new_labels=100)[0] == "retrain"


def test_a_bundle_that_waits_for_a_person_is_not_trained_again() -> None:
    """With and without a champion: approve it rather than make another one; what speaks for a new model is watched."""
    for trained_at in (NOW - 30 * DAY, None):
        decision, causes = said(trained_at=trained_at, awaiting="ab" * 32)
        assert (decision, causes["age"], causes["approval"]) == ("watch", "retrain", "watch")
    assert said(awaiting="ab" * 32)[0] == "wait"


def test_a_certainly_worse_model_is_due() -> None:
    """Outcomes a quarter likelier than promised: the bounds leave no doubt, the sentence holds them."""
    decision, causes = said(degradation=served(0.4))
    assert (decision, causes["degradation"]) == ("retrain", "retrain")


def test_a_perhaps_worse_model_is_watched() -> None:
    """The same world seen through ten outcomes: worse on average, not certainly."""
    decision, causes = said(degradation=served(0.4, count=10))
    assert (decision, causes["degradation"]) == ("watch", "watch")


def test_no_change_is_no_alarm_at_any_look() -> None:
    """Outcomes as promised: at none of ten looks is the model certainly worse."""
    looks = [said(degradation=served(0.0, count=count))[1]["degradation"] for count in range(100, 2_100, 200)]
    assert "retrain" not in looks


def test_only_final_outcomes_of_the_bundle_count_once() -> None:
    """Open answers, other bundles' answers and second answers to one outcome are left out."""
    at = pd.Timestamp("2026-05-01", tz="UTC")
    rows = pd.DataFrame(
        {
            "bundle": ["b", "b", "b", "other"], "probability": [0.5, 0.9, 0.2, 0.1], "outcome": [1.0, 1.0, np.nan, 1.0],
            "is_mature": True, "matures_at": at, "first_known_at": at, "sequence": range(4), "m": [1, 1, 2, 3],
        }
    )  # fmt: skip
    test = pd.DataFrame({"probability": [0.5] * 10, "outcome": [0.0, 1.0] * 5})
    monitor = live_degradation(rows, test, bundle="b", keys=["m"], margin=0.1)
    assert (monitor.state.n, monitor.mean) == (1, 0.25)
    assert live_degradation(rows, test, bundle="none", keys=["m"], margin=0.1).mean is None


def test_the_table_has_one_row_a_cause_loudest_first() -> None:
    """Columns are fixed, the decision stands in every row, reasons are whole sentences with their limits."""
    found = decide_retraining(
        Observed(NOW - 30 * DAY, new_labels=500, drifted=("a",), degradation=None), DECLARED, now=NOW
    )
    table = found.table()
    assert tuple(table.columns) == RETRAIN_COLUMNS
    assert table["says"].tolist() == ["retrain", "watch", "wait", "wait"]
    assert set(table["decision"]) == {"retrain"}
    assert found.reasons[0] == "the champion, 30.0 days old, is older than the 10d that are allowed"
    assert found.reasons == tuple(table["reason"])
