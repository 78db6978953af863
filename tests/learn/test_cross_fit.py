"""Cross-fitting: clusters stay whole, folds are even, rounds are chosen by arithmetic that can be checked."""

from __future__ import annotations

import math

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Model
from forecastle.learn.cross_fit import cluster_folds, cross_fit, tried_rounds
from forecastle.learn.fit import Rows

PARAMS = {"n_estimators": 40, "num_leaves": 4, "min_child_samples": 10, "n_jobs": 1, "deterministic": True}


def model(**changes: object) -> Model:
    declared = {"estimator": "lightgbm.LGBMClassifier", "params": {**PARAMS, "verbosity": -1}, "seed": 5, **changes}
    return Model.model_validate(declared)


def rows(*, start: int | None = None, seed: int = 0, clusters: int = 60, each: int = 5) -> Rows:
    """A probability and a noise column; rows of one cluster settle together."""
    generator = np.random.default_rng(seed)
    risk = np.repeat(generator.uniform(0.05, 0.95, clusters), each)
    outcome = np.repeat((generator.random(clusters) < risk[::each]).astype(float), each)
    matrix = np.column_stack([risk, generator.normal(size=len(risk))])
    return Rows(("risk", "noise"), matrix, outcome, np.repeat(np.arange(clusters), each), start)


@settings(max_examples=100, deadline=None)
@given(
    clusters=st.lists(st.integers(0, 30), min_size=20, max_size=200),
    folds=st.integers(2, 6),
    seed=st.integers(0, 20),
    order=st.randoms(use_true_random=False),
)
def test_clusters_stay_whole_and_folds_even(clusters, folds, seed, order) -> None:
    """No cluster lies on both sides of a fold; folds differ by one cluster at most; row order changes nothing."""
    if len(set(clusters)) < folds:
        with pytest.raises(LearnError, match="cannot fill"):
            cluster_folds(np.array(clusters), folds=folds, seed=seed)
        return
    found = cluster_folds(np.array(clusters), folds=folds, seed=seed)
    for number in range(folds):
        held_out, seen = np.array(clusters)[found == number], np.array(clusters)[found != number]
        assert held_out.size > 0
        assert not set(held_out) & set(seen)
    sizes = np.bincount(found, minlength=folds)
    assert sizes.max() - sizes.min() <= max(clusters.count(cluster) for cluster in clusters)
    shuffled = order.sample(range(len(clusters)), len(clusters))
    again = cluster_folds(np.array(clusters)[shuffled], folds=folds, seed=seed)
    assert again.tolist() == found[shuffled].tolist()


def test_clusters_of_one_row_fill_folds_exactly() -> None:
    """Ten rows of their own in five folds are two each, in an order that the seed decides."""
    found = cluster_folds(np.arange(10), folds=5, seed=1)
    assert np.bincount(found).tolist() == [2, 2, 2, 2, 2]
    assert found.tolist() != cluster_folds(np.arange(10), folds=5, seed=2).tolist()


def test_a_row_without_a_cluster_is_refused() -> None:
    """It could settle together with any other."""
    with pytest.raises(LearnError, match="cannot be put into folds"):
        cluster_folds(np.array([1.0, np.nan, 2.0]), folds=2, seed=0)


@pytest.mark.parametrize(
    ("most", "tried"),
    [
        (200, tuple(range(10, 201, 10))),
        (40, tuple(range(2, 41, 2))),
        (7, (1, 2, 3, 4, 5, 6, 7)),
        (1, (1,)),
        # ceil(30 k / 20) = ceil(1.5 k) for k = 1 to 20
        (30, (2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24, 26, 27, 29, 30)),
    ],
)
def test_the_grid_ends_in_the_most(most: int, tried: tuple[int, ...]) -> None:
    """At most twenty evenly spaced numbers, the declared one last; alone where it is simply declared."""
    assert tried_rounds(model(rounds="cross_validated"), most=most) == tried
    assert tried_rounds(model(), most=most) == (most,)


@pytest.mark.parametrize("start", [None, 0])
def test_held_out_scores_are_those_of_plain_loops(start: int | None) -> None:
    """Fits by LightGBM's own interface without each fold, at the chosen number of rounds, score the fold the same."""
    seen = rows(start=start)
    choice, scores = cross_fit(model(rounds="cross_validated"), seen, folds=3)
    fold = cluster_folds(seen.clusters, folds=3, seed=5)
    expected = np.empty(len(fold))
    odds = np.log(seen.matrix[:, 0] / (1 - seen.matrix[:, 0])) if start == 0 else None
    for number in range(3):
        out = fold == number
        estimator = lightgbm.LGBMClassifier(**{**PARAMS, "n_estimators": choice.rounds}, random_state=5, verbosity=-1)
        # Without feature names, as a plain matrix: names change no number.
        estimator.fit(seen.matrix[~out], seen.outcomes[~out], init_score=None if odds is None else odds[~out])
        raw = estimator.booster_.predict(seen.matrix[out], raw_score=True) + (0 if odds is None else odds[out])
        expected[out] = 1 / (1 + np.exp(-raw))
    assert np.allclose(scores, expected, rtol=0, atol=1e-9)
    loss = -np.mean(np.where(seen.outcomes == 1, np.log(expected), np.log(1 - expected)))
    assert choice.log_loss == pytest.approx(loss)


def test_the_fewest_rounds_within_one_standard_error_are_taken_and_told() -> None:
    """Risk itself is the truth, so trees that start from it only add noise: the fewest rounds are good enough."""
    choice, _ = cross_fit(model(rounds="cross_validated"), rows(start=0), folds=3)
    best = min(choice.table, key=lambda row: row.log_loss)
    assert [row.rounds for row in choice.table] == list(range(2, 41, 2))
    assert choice.table[-1].excess > choice.table[-1].excess_se
    assert choice.rounds == min(row.rounds for row in choice.table if row.excess <= row.excess_se) <= best.rounds
    assert (best.excess, best.excess_se) == (0.0, 0.0)
    assert choice.reasons[0] == (
        f"{best.rounds} rounds have the lowest log loss, {best.log_loss:.6f}, on 3 held-out folds of 300 rows, "
        "of 20 numbers up to 40"
    )


def test_equal_losses_take_the_fewest_rounds() -> None:
    """Trees without a split leave the start as it is at any number of rounds."""
    nothing = model(rounds="cross_validated", params={**PARAMS, "min_child_samples": 10_000, "verbosity": -1})
    seen = rows(start=0)
    choice, scores = cross_fit(nothing, seen, folds=3)
    assert len({row.log_loss for row in choice.table}) == 1
    assert choice.rounds == 2
    assert np.allclose(scores, seen.matrix[:, 0], rtol=0, atol=1e-12)


def test_the_loss_is_the_start_plus_what_trees_add() -> None:
    """The start's own log loss stands in the reasons, computed here by hand."""
    seen = rows(start=0)
    choice, _ = cross_fit(model(), seen, folds=3)
    risk = seen.matrix[:, 0]
    terms = [-math.log(p if y == 1 else 1 - p) for p, y in zip(risk, seen.outcomes, strict=True)]
    assert choice.reasons[1] == f"trees start from risk, whose own log loss is {math.fsum(terms) / 300:.6f}"
    assert [row.rounds for row in choice.table] == [choice.rounds] == [40]


def test_one_outcome_outside_a_fold_is_refused() -> None:
    """When all that came true lies in one cluster, nobody can learn it without that cluster."""
    seen = rows()
    lonely = Rows(seen.features, seen.matrix, (seen.clusters == 4).astype(float), seen.clusters, None)
    with pytest.raises(LearnError, match=r"without fold \d of 3 the training rows have only outcome 0"):
        cross_fit(model(), lonely, folds=3)
