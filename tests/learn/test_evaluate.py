"""Scores of forecasters on the same rows, with the arithmetic in sight."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Evaluate
from forecastle.learn.evaluate import (
    BASELINE,
    CHAMPION,
    MODEL,
    comparisons_text,
    evaluate_model,
    kept_evaluation,
    table_of,
)
from forecastle.measure.bootstrap import mean_interval

DECLARED = Evaluate.model_validate({"split": {"embargo": "1d"}, "baseline": "price", "slices": ["side"]})


def judge(test: pd.DataFrame, probability, champion=None):
    return evaluate_model(
        test, np.asarray(probability, dtype=float), declared=DECLARED, cluster="entity", champion=champion, seed=1
    )


@pytest.fixture
def four() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "outcome": [1, 0, 1, 0],
            "price": [0.5, 0.5, np.nan, 0.5],
            "side": ["a", "a", "b", None],
            "entity": [1, 1, 2, 3],
        }
    )


def test_brier_by_hand(four) -> None:
    """Model: (0.1² + 0.2² + 0.3² + 0.4²) / 4 = 0.075; the baseline is scored on the three rows where it spoke."""
    found = judge(four, [0.9, 0.2, 0.7, 0.4])
    assert found.value(MODEL, "brier") == pytest.approx((0.01 + 0.04 + 0.09 + 0.16) / 4)
    assert found.value(MODEL, "n") == 4
    assert found.value(BASELINE, "brier") == pytest.approx(0.25)
    assert found.value(BASELINE, "n") == 3


def test_the_difference_is_paired_on_common_rows(four) -> None:
    """On rows 1, 2 and 4 the model has 0.01, 0.04, 0.16 and the price 0.25 each: the mean difference is −0.18."""
    found = judge(four, [0.9, 0.2, 0.7, 0.4]).comparison(BASELINE)
    assert found.rows == 3
    assert found.difference.estimate == pytest.approx((0.01 + 0.04 + 0.16) / 3 - 0.25)
    assert found.difference.clusters == 2


def test_a_champion_is_not_judged_by_rows_that_it_learnt_from(four) -> None:
    """It was tested from the third day on: rows 3 and 4 count, where it has 0.5² each and the model 0.09 and 0.16."""
    days = four.assign(predict_at=pd.date_range("2026-01-01", periods=4, tz="UTC"))
    found = evaluate_model(
        days, np.array([0.9, 0.2, 0.7, 0.4]), declared=DECLARED, cluster="entity",
        champion=np.full(4, 0.5), champion_from=datetime(2026, 1, 3, tzinfo=UTC), seed=1,
    )  # fmt: skip
    assert found.value(CHAMPION, "n") == found.comparison(CHAMPION).rows == 2
    assert found.comparison(CHAMPION).difference.estimate == pytest.approx((0.09 + 0.16) / 2 - 0.25)
    assert found.value(MODEL, "n") == 4


def test_a_kept_evaluation_is_the_same_number_for_number(four) -> None:
    """From its scores and its text come the same rows, comparisons and metrics."""
    made = judge(four, [0.9, 0.2, 0.7, 0.4], np.array([0.8, 0.3, 0.5, 0.1]))
    kept = kept_evaluation(made.scores, comparisons_text(made))
    assert kept.comparisons == made.comparisons
    assert (kept.rows, kept.metrics()) == (made.rows, made.metrics())


def test_the_interval_resamples_blocks_of_clusters() -> None:
    """The interval is that of blocks of 4 (the cube root of 60) neighbouring clusters; copies narrow nothing."""
    generator = np.random.default_rng(0)
    test = pd.DataFrame(
        {"outcome": generator.integers(0, 2, 60), "price": generator.random(60), "side": "a", "entity": np.arange(60)}
    )
    model = generator.random(60)
    once = judge(test, model).comparison(BASELINE).difference
    tenfold = judge(pd.concat([test] * 10, ignore_index=True), np.tile(model, 10)).comparison(BASELINE).difference
    y = test["outcome"].to_numpy()
    differences = (model - y) ** 2 - (test["price"].to_numpy() - y) ** 2
    expected = mean_interval(differences, clusters=np.arange(60), block_length=4, seed=1)
    assert (once.low, once.high) == (expected.low, expected.high)
    assert tenfold.low == pytest.approx(once.low)
    assert tenfold.high == pytest.approx(once.high)


def test_slices_stand_below_the_whole(four) -> None:
    """Each forecaster has one row for all and one for each value of a slice; a null slice is in "all" only."""
    scores = judge(four, [0.9, 0.2, 0.7, 0.4]).scores
    model = scores[scores["forecaster"] == MODEL].set_index("slice")
    assert list(model.index) == ["all", "side=a", "side=b"]
    assert model["n"].tolist() == [4, 2, 1]
    assert np.isnan(model.loc["side=b", "auc"])  # one class only: no AUC, and no exception


def test_the_champion_is_scored_on_the_same_rows(four) -> None:
    """A champion that says the same as the model differs by nothing."""
    found = judge(four, [0.9, 0.2, 0.7, 0.4], champion=np.array([0.9, 0.2, 0.7, 0.4]))
    assert found.comparison(CHAMPION).difference.estimate == 0
    assert found.forecasters == {MODEL, BASELINE, CHAMPION}
    assert judge(four, [0.9, 0.2, 0.7, 0.4]).comparison(CHAMPION) is None


def test_the_decomposition_adds_up(four) -> None:
    """Brier = miscalibration − discrimination + uncertainty, with uncertainty ȳ(1 − ȳ) = 0.25."""
    found = judge(four, [0.9, 0.2, 0.7, 0.4])
    parts = [found.value(MODEL, name) for name in ("miscalibration", "discrimination", "uncertainty")]
    assert parts[0] - parts[1] + parts[2] == pytest.approx(found.value(MODEL, "brier"))
    assert parts[2] == 0.25


def test_metrics_are_flat_and_named(four) -> None:
    """MLflow and the record get one number a name, the ends of the interval among them."""
    metrics = judge(four, [0.9, 0.2, 0.7, 0.4]).metrics()
    assert metrics["model.brier"] == pytest.approx(0.075)
    assert metrics["brier_difference.baseline.low"] <= metrics["brier_difference.baseline.mean"]
    assert metrics["brier_difference.baseline.mean"] <= metrics["brier_difference.baseline.high"]


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, np.inf])
@pytest.mark.parametrize("who", ["model", "champion"])
def test_a_forecaster_must_answer_every_row(four, wrong, who) -> None:
    """A missing or impossible probability is an error: leaving the row out would flatter who failed on it."""
    good, bad = np.array([0.9, 0.2, 0.7, 0.4]), np.array([0.9, wrong, 0.7, 0.4])
    with pytest.raises(LearnError, match=f"the {who} gives 4 values for 4 test rows, 1 of them no probability"):
        judge(four, bad if who == "model" else good, champion=bad if who == "champion" else good)


def test_a_forecaster_of_other_rows_is_refused(four) -> None:
    """Three probabilities for four rows are an error, not a broadcast."""
    with pytest.raises(LearnError, match="3 values for 4 test rows"):
        judge(four, [0.9, 0.2, 0.7])


def test_a_baseline_must_be_a_probability(four) -> None:
    """A price in cents is refused with the value found."""
    with pytest.raises(LearnError, match="baseline 'price' is 50 in 3 rows"):
        judge(four.assign(price=four["price"] * 100), [0.9, 0.2, 0.7, 0.4])


def test_one_cluster_gives_no_comparison(four) -> None:
    """One cluster tells nothing about the next, so there is no interval and no comparison."""
    found = judge(four.assign(entity=1), [0.9, 0.2, 0.7, 0.4], champion=np.full(4, 0.5))
    assert found.comparisons == ()
    assert found.value(BASELINE, "brier") == 0.25


def test_comparisons_as_a_table(four) -> None:
    """One row a comparison, with both ends of its interval."""
    table = table_of(judge(four, [0.9, 0.2, 0.7, 0.4]).comparisons)
    assert list(table.columns) == ["against", "brier_difference", "low", "high", "rows", "clusters"]
    assert table["against"].tolist() == [BASELINE]
