"""What the outcome log promises: every word kept, once per request id, and one rule for which of them counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import StoreError
from forecastle.store.outcome_log import OutcomeLog, ToldOutcome

ABOUT = {"prediction_id": "p1", "entity_json": '{"market_id":7}'}


def told(number: int = 0, **changes: object) -> ToldOutcome:
    made = ToldOutcome(f"r{number}", "ab", "toy", "p1", '{"market_id":7}', 1, 1_000, 2_000 + number)
    return replace(made, **changes)


@pytest.fixture
def log(tmp_path: Path):
    opened = OutcomeLog(tmp_path / "log" / "toy.outcomes.sqlite")
    yield opened
    opened.close()


def test_an_outcome_is_kept_and_read_back_by_another_process(log):
    """Equal in every field, with its number."""
    assert log.append(told()) == told(sequence=1)
    other = OutcomeLog(log._file.path)
    assert other.since(0) == [told(sequence=1)]
    other.close()


def test_a_correction_keeps_history(log):
    """Both outcomes stay; the one known last counts, and of equally late ones the one that came last."""
    log.append(told(0, outcome=1, known_at_us=1_000))
    log.append(told(1, outcome=0, known_at_us=3_000))
    log.append(told(2, outcome=1, known_at_us=2_000))
    assert [o.outcome for o in log.history(**ABOUT)] == [1, 0, 1]
    assert log.current(**ABOUT).outcome == 0
    log.append(told(3, outcome=1, known_at_us=3_000))
    assert log.current(**ABOUT).sequence == 4


def test_a_request_id_is_kept_once(log):
    """The second outcome of a request id is dropped; its caller gets the first."""
    first = log.append(told(0))
    assert log.append(told(0, outcome=0, request_sha256="other")) == first
    assert len(log.since(0)) == 1


def test_a_prediction_and_its_entity_are_two_subjects(log):
    """What was said of an entity as such is no word about a prediction, and the reverse."""
    log.append(told(0))
    log.append(told(1, prediction_id=None, outcome=0))
    assert [o.outcome for o in log.history(**ABOUT)] == [1]
    assert log.current(prediction_id=None, entity_json=ABOUT["entity_json"]).outcome == 0
    assert log.current(prediction_id="p2", entity_json="null") is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=8))
def test_what_counts_is_the_maximum_by_time_then_arrival(tmp_path_factory, said):
    """Against Python's max over (known_at, order of arrival)."""
    log = OutcomeLog(tmp_path_factory.mktemp("outcomes") / "o.sqlite")
    for number, (outcome, known_at_us) in enumerate(said):
        log.append(told(number, outcome=outcome, known_at_us=known_at_us))
    best = max(range(len(said)), key=lambda n: (said[n][1], n))
    assert log.current(**ABOUT).sequence == best + 1
    log.close()


def test_only_zero_and_one_are_outcomes(log):
    """The file itself refuses anything else."""
    with pytest.raises(StoreError, match=r"outcome log .* cannot be written"):
        log.append(told(0, outcome=2))
    assert log.since(0) == []


def test_what_was_corrected_long_ago_is_forgotten(log):
    """What counts and what was known first stay however old they are; a young correction's history stays whole."""
    log.append(told(0, outcome=1, known_at_us=1_000, received_at_us=10))
    log.append(told(1, outcome=0, known_at_us=3_000, received_at_us=20))
    log.append(told(2, outcome=1, known_at_us=2_000, received_at_us=30))
    log.append(told(3, prediction_id=None, received_at_us=10))
    assert log.forget_superseded(received_before_us=10) == 0
    assert log.forget_superseded(received_before_us=30) == 0
    assert [o.request_id for o in log.history(**ABOUT)] == ["r0", "r1", "r2"]
    assert log.forget_superseded(received_before_us=99) == 1
    assert [o.request_id for o in log.since(0)] == ["r0", "r1", "r3"]
    assert log.current(**ABOUT).outcome == 0
