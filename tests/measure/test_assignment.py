"""Assignment: a golden hash, uniform and independent shares, the same in every process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from forecastle.contract.errors import MeasureError
from forecastle.measure.assignment import assign, assign_many, assignment_value

ARMS = {"control": 0.5, "treatment": 0.3, "holdout": 0.2}
UNITS = st.lists(st.one_of(st.text(max_size=12), st.integers(-(10**9), 10**9)), max_size=20)


def test_value_is_the_first_53_bits_of_the_hash() -> None:
    """The definition, written out for one unit."""
    digest = hashlib.sha256(b"checkout|user-1").digest()
    expected = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
    assert assignment_value("user-1", salt="checkout") == expected == 0.6626602469676741


@settings(max_examples=60, deadline=None)
@given(units=UNITS)
def test_many_equal_one_by_one(units: list[str | int]) -> None:
    """A batch read-out and a served request agree on every unit."""
    assert assign_many(units, ARMS, salt="s").tolist() == [assign(unit, ARMS, salt="s") for unit in units]


def test_shares_are_uniform_and_independent_of_other_experiments() -> None:
    """20,000 units: uniform by Kolmogorov–Smirnov, arms of two salts independent by chi-squared."""
    units = range(20_000)
    values = [assignment_value(unit, salt="one") for unit in units]
    assert stats.kstest(values, "uniform").pvalue > 0.01
    first, second = (assign_many(units, ARMS, salt=salt) for salt in ("one", "two"))
    table = stats.contingency.crosstab(first, second).count
    assert stats.chi2_contingency(table).pvalue > 0.01
    shares = {arm: float(np.mean(first == arm)) for arm in ARMS}
    assert shares == pytest.approx(ARMS, abs=0.012)


def test_growing_an_arm_keeps_its_units() -> None:
    """A canary raised from 5 % to 25 % keeps everyone who was in it."""
    units = range(5000)
    small = assign_many(units, {"canary": 0.05, "champion": 0.95}, salt="s") == "canary"
    large = assign_many(units, {"canary": 0.25, "champion": 0.75}, salt="s") == "canary"
    assert bool(np.all(large[small]))
    assert large.sum() > small.sum()


def test_integers_and_their_text_are_one_unit() -> None:
    """An id read as int64 from a table and as text from a request get the same arm."""
    assert assignment_value(42, salt="s") == assignment_value("42", salt="s")
    assert assignment_value(np.int64(42), salt="s") == assignment_value("42", salt="s")  # type: ignore[arg-type]


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_assignment_is_the_same_in_another_process(hash_seed: str) -> None:
    """Python's own hash differs between processes; ours does not, and it needs neither SciPy nor pandas."""
    code = (
        "import sys; from forecastle.measure.assignment import assign_many;"
        "print(','.join(assign_many(range(20), {'a': .5, 'b': .5}, salt='s')),"
        "[m for m in ('scipy', 'pandas') if m in sys.modules])"
    )
    environment = os.environ | {
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": str(Path(__file__).parents[2] / "platform"),
    }
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    here = ",".join(assign_many(range(20), {"a": 0.5, "b": 0.5}, salt="s"))
    assert run.stdout.strip() == f"{here} []"


def test_unusable_input_is_refused() -> None:
    """Floats as units, shares that do not add up, empty arms and ambiguous salts are refused."""
    with pytest.raises(MeasureError, match=r"got 5\.0"):
        assignment_value(5.0, salt="s")  # type: ignore[arg-type]
    for shares in ({"a": 0.5, "b": 0.4}, {"a": 1.0, "b": 0.0}, {}, {"a": float("nan")}):
        with pytest.raises(MeasureError, match="add up to 1"):
            assign("u", shares, salt="s")
    for salt in ("", "a|b"):
        with pytest.raises(MeasureError, match="salt"):
            assignment_value("u", salt=salt)
