"""Evidence for gates: intervals that blocks of time carry, groups judged together, the time one row takes."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from forecastle.contract.errors import LearnError
from forecastle.contract.gates import FairnessGate
from forecastle.learn.group_differences import group_differences
from forecastle.learn.time_blocks import TimeBlocks, time_blocks
from forecastle.promote.gate_evidence import measure_latency, miscalibration_interval

DAY = pd.Timedelta(days=1)


def rows_of(count: int = 2_000, *, seed: int = 0) -> pd.DataFrame:
    """One row an hour, calibrated, in two regions; every fourth row of one day's cluster."""
    generator = np.random.default_rng(seed)
    p = generator.uniform(0.05, 0.95, count)
    at = pd.date_range("2026-01-01", periods=count, freq="h", tz="UTC")
    return pd.DataFrame(
        {
            "predict_at": at,
            "probability": p,
            "outcome": (generator.random(count) < p).astype(int),
            "region": np.where(np.arange(count) % 4 == 0, "north", "south"),
            "day": at.floor("D"),
        }
    )


def blocks_of(rows: pd.DataFrame) -> TimeBlocks:
    return time_blocks(rows, cluster="day")


def test_units_are_clusters_in_time_order() -> None:
    """A cluster stands where its first row was asked, whatever it is called."""
    rows = pd.DataFrame(
        {
            "predict_at": pd.to_datetime(["2026-01-03", "2026-01-01", "2026-01-02", "2026-01-09"]),
            "m": ["a", "z", "z", "k"],
        }
    )
    assert time_blocks(rows, cluster="m").units.tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize(("clusters", "length"), [(1, 1), (2, 1), (8, 2), (27, 3), (1_000, 10)])
def test_blocks_are_the_cube_root_of_the_units(clusters: int, length: int) -> None:
    """8 units in blocks of 2, 1,000 in blocks of 10, and never more than half of them."""
    rows = pd.DataFrame({"m": np.arange(clusters)})
    assert time_blocks(rows, cluster="m").length == length


def test_a_declared_block_is_a_length_of_time() -> None:
    """100 daily clusters span 99 days: a week is 100 · 7 / 99 of them, rounded up."""
    rows = pd.DataFrame(
        {"predict_at": pd.Timestamp("2026-01-01", tz="UTC") + DAY * np.arange(100), "m": np.arange(100)}
    )
    assert time_blocks(rows, cluster="m", block=timedelta(days=7)).length == 8


def test_block_labels_part_the_units() -> None:
    """Labels for methods that resample labels: blocks of neighbours that do not overlap."""
    rows = pd.DataFrame({"m": np.arange(8)})
    assert time_blocks(rows, cluster="m").labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_many_clusters_are_merged_with_their_neighbours() -> None:
    """Beyond 5,000 clusters neighbours in time become one unit; no unit is left out."""
    found = time_blocks(pd.DataFrame({"m": np.arange(12_345)}), cluster="m")
    assert np.array_equal(np.unique(found.units), np.arange(5_000))
    assert (np.diff(found.units) >= 0).all()


def test_the_interval_of_miscalibration_tells_bent_from_calibrated() -> None:
    """Probabilities pushed to the ends are known to be miscalibrated; honest ones reach down to 0."""
    rows = rows_of()
    p = rows["probability"]
    bent = rows.assign(probability=p**3 / (p**3 + (1 - p) ** 3))
    honest, wrong = (
        miscalibration_interval(rows, blocks_of(rows), seed=0),
        miscalibration_interval(bent, blocks_of(bent), seed=0),
    )
    assert honest[0] == 0.0
    assert wrong[0] > 0.005
    assert miscalibration_interval(rows.assign(day=0), blocks_of(rows.assign(day=0)), seed=0) is None


def test_a_group_is_compared_with_all_other_rows() -> None:
    """Mean error of the north minus the south's, by hand."""
    rows = rows_of()
    rows.loc[rows["region"] == "north", "probability"] *= 0.5
    gate = FairnessGate(groups=["region"], difference_max=0.1)
    north, south = group_differences(rows, gate, blocks=blocks_of(rows), seed=0)
    error = (rows["probability"] - rows["outcome"]).groupby(rows["region"]).mean()
    assert (north.group, north.rows) == ("region=north", 500)
    assert north.difference.estimate == pytest.approx(error["north"] - error["south"])
    assert south.difference.estimate == pytest.approx(-north.difference.estimate)
    assert north.difference.high < -0.1


@pytest.mark.parametrize(
    ("measure", "expected"), [("selection_rate", 0.5), ("true_positive_rate", 1.0), ("false_positive_rate", 0.0)]
)
def test_rates_are_shares_of_the_rows_that_count(measure: str, expected: float) -> None:
    """North is selected just when the outcome is 1, south never: the rates are 2/4, 2/2 and 0/2 against 0."""
    quarter = pd.DataFrame({"outcome": [1, 1, 0, 0] * 2, "probability": [0.9, 0.9, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2]})
    rows = pd.concat([quarter.assign(region=["n"] * 4 + ["s"] * 4, day=day) for day in range(60)], ignore_index=True)
    gate = FairnessGate(groups=["region"], measure=measure, difference_max=0.1)
    north, _ = group_differences(rows, gate, blocks=blocks_of(rows), seed=0)
    assert (north.difference.estimate, north.difference.low) == (expected, expected)


def test_small_groups_carry_no_interval_and_loosen_nobody_elses() -> None:
    """Two judged groups share 5 %: each interval has level 97.5 %; the third is too small to count."""
    rows = rows_of(400)
    rows.loc[:4, "region"] = "island"
    gate = FairnessGate(groups=["region"], difference_max=0.1, rows_min=50)
    found = {g.group: g.difference for g in group_differences(rows, gate, blocks=blocks_of(rows), seed=0)}
    assert found["region=island"] is None
    assert found["region=north"].level == pytest.approx(0.975)


def test_false_refusals_of_ten_equal_groups_are_few() -> None:
    """With no true disparity a gap of 0 is excluded for any of 10 groups in about 5 % of the audits, not in 40 %."""
    audits = 20
    gate = FairnessGate(groups=["region"], difference_max=0.01, rows_min=20)
    alarms = 0
    for seed in range(audits):
        rows = rows_of(600, seed=seed)
        rows["region"] = np.random.default_rng(seed).integers(0, 10, len(rows)).astype(str)
        found = [
            g.difference for g in group_differences(rows, gate, blocks=time_blocks(rows, cluster="predict_at"), seed=0)
        ]
        alarms += any(d.low > 0 or d.high < 0 for d in found)
    assert alarms <= stats.binom.ppf(0.999, audits, 0.1)


class Ticks:
    """A timer under which the n-th answer takes n milliseconds."""

    def __init__(self) -> None:
        self.looks, self.now = 0, 0.0

    def __call__(self) -> float:
        self.looks += 1
        self.now += (self.looks // 2) / 1_000 if self.looks % 2 == 0 else 0.0
        return self.now


def test_the_percentile_and_its_interval_are_order_statistics() -> None:
    """Answers of 1, 2, … 1,000 ms: the 990th is the 99th percentile, the binomial's quantiles are its ends."""
    asked: list[list[float]] = []
    found = measure_latency(asked.append, [(1.0, 2.0), (3.0, 4.0)], count=1_000, timer=Ticks())
    assert found.p99_ms == pytest.approx(990.0)
    low, high = stats.binom.ppf([0.025, 0.975], 1_000, 0.99)
    assert (found.low_ms, found.high_ms) == (pytest.approx(low), pytest.approx(high + 1))
    assert (found.rows, found.warm_up_rows, len(asked)) == (1_000, 100, 1_100)
    assert asked[:3] == [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]


def test_latency_of_nothing_is_refused() -> None:
    """No rows, or too few answers for a 99th percentile."""
    with pytest.raises(LearnError, match="got 0 rows"):
        measure_latency(print, [], count=1_000, timer=Ticks())
    with pytest.raises(LearnError, match="at least 500"):
        measure_latency(print, [(1.0,)], count=100, timer=Ticks())
