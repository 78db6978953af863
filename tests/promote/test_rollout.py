"""What a challenger may do next, and the record of what it did."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Canary, Phase, Rollout
from forecastle.promote.gates import GateResult
from forecastle.promote.rollout import Evidence, RolloutAct, RolloutRecord, advance, publish_challenger

AT = datetime(2026, 6, 1, tzinfo=UTC)
PHASES = [
    Phase(share=0.05, gates=["predictive"], rows_min=100),
    Phase(share=0.2, gates=["predictive", "fairness"], rows_min=400),
]
DECLARED = Rollout(salt="s", canary=Canary(phases=PHASES, margin=0.01))
GOOD, BAD = (GateResult("calibration", passed, f"calibration {passed}") for passed in (True, False))
UNFAIR = GateResult("fairness", passed=False, reason="one group is worse off")


def state(phase: int = 0, action: str = "start") -> RolloutAct:
    return RolloutAct(1, "toy", action, "b" * 64, "2", phase, 0.05, AT, "test", ())


def evidence(rows: int = 500, *, predictive=(GOOD,), fairness=(GOOD,), low=-0.02, high=0.005) -> Evidence:
    return Evidence(rows, tuple(predictive), tuple(fairness), low, high)


@pytest.mark.parametrize(
    ("phase", "known", "action"),
    [
        (0, evidence(), "advance"),
        (1, evidence(), "promote"),
        (0, evidence(99), "hold"),
        (1, evidence(399), "hold"),
        (0, evidence(high=0.011), "hold"),
        (0, evidence(low=0.011, high=0.05), "stop"),
        (0, evidence(5, low=0.011, high=0.05), "stop"),
        (0, evidence(predictive=(GOOD, BAD)), "stop"),
        (0, evidence(fairness=(UNFAIR,)), "advance"),
        (1, evidence(fairness=(UNFAIR,)), "stop"),
        (1, evidence(predictive=(BAD,)), "stop"),
        (0, evidence(predictive=()), "hold"),
    ],
)
def test_the_step_follows_gates_rows_and_bounds(phase, known, action):
    """Fairness counts from the second phase; too few rows or too wide bounds wait; certain harm stops at any count."""
    step = advance(state(phase), known, DECLARED)
    assert step.action == action
    assert step.reasons


@given(st.integers(0, 1), st.integers(0, 1_000), st.booleans(), st.floats(-1, 1), st.floats(0, 1))
def test_nothing_is_promoted_past_a_failed_gate_or_an_open_question(phase, rows, passed, low, width):
    """Whatever the evidence: moving on needs every gate, the rows, and an upper bound within the margin."""
    known = evidence(rows, predictive=(GOOD if passed else BAD,), low=low, high=low + width)
    step = advance(state(phase), known, DECLARED)
    if step.action in ("advance", "promote"):
        assert passed
        assert rows >= PHASES[phase].rows_min
        assert low + width <= DECLARED.canary.margin


def test_no_challenger_no_step():
    """A trial that was stopped, or a phase that is not declared any more, is an error and not a hold."""
    for wrong in (state(0, "stop"), state(2)):
        with pytest.raises(LearnError, match="no challenger runs"):
            advance(wrong, evidence(), DECLARED)


@pytest.fixture
def record(tmp_path) -> RolloutRecord:
    return RolloutRecord(tmp_path / "registry.sqlite", clock=lambda: AT)


def begin(record: RolloutRecord) -> RolloutAct:
    return record.start("toy", bundle="b" * 64, model_version="2", share=0.05, approved_by="ann", reason="new trees")


def test_acts_are_kept_in_order_and_one_trial_runs_at_a_time(record):
    """Start, advance, promote: three rows, newest first; a second start while one runs is refused, after it not."""
    first = begin(record)
    with pytest.raises(LearnError, match="under trial already"):
        begin(record)
    second = record.apply(first, advance(first, evidence(), DECLARED), declaration=DECLARED, approved_by="gates")
    assert (second.phase, second.share) == (1, 0.2)
    held = record.apply(second, advance(second, evidence(1), DECLARED), declaration=DECLARED, approved_by="gates")
    assert held == second
    third = record.apply(second, advance(second, evidence(), DECLARED), declaration=DECLARED, approved_by="gates")
    assert [act.action for act in record.history("toy")] == ["promote", "advance", "start"]
    assert (third.share, record.running("toy"), record.running("other")) == (0.0, None, None)
    assert begin(record).action == "start"


def test_acts_cannot_be_changed(record, tmp_path):
    """Neither update nor delete passes the file's own triggers."""
    begin(record)
    connection = sqlite3.connect(tmp_path / "registry.sqlite")
    for statement in ("update rollout_acts set share = 1", "delete from rollout_acts"):
        with pytest.raises(sqlite3.IntegrityError, match="immutable"):
            connection.execute(statement)
    connection.close()


def test_the_pointer_says_what_the_record_says(record, tmp_path):
    """While a trial runs the pointer names bundle, share, salt and phase; after its stop there is no pointer."""
    path = tmp_path / "champions" / "toy.challenger.json"
    first = begin(record)
    publish_challenger(path, record, system="toy", declaration=DECLARED)
    told = json.loads(path.read_text())
    assert (told["bundle"], told["share"], told["salt"], told["phase"]) == ("b" * 64, 0.05, "s", 0)
    stop = advance(first, evidence(predictive=(BAD,)), DECLARED)
    record.apply(first, stop, declaration=DECLARED, approved_by="gates")
    assert publish_challenger(path, record, system="toy", declaration=DECLARED) is None
    assert not path.exists()
