"""Batch scores: by name, row by row the same bits, and a missing feature is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import BundleError
from forecastle.learn.score import score_rows
from forecastle.learn.scorer import load_scorer


@pytest.fixture(scope="module")
def bundle(built):
    return built.bundle


@pytest.fixture(scope="module")
def rows(frame) -> pd.DataFrame:
    return frame[["wind_mps", "guess", "booked_ratio"]].iloc[:60].reset_index(drop=True)


def test_many_rows_are_as_one_by_one(bundle, rows) -> None:
    """A batch and its rows alone give the same bits, missing values among them."""
    whole = score_rows(bundle, rows)
    single = [score_rows(bundle, rows.iloc[[index]]) for index in range(len(rows))]
    assert rows["booked_ratio"].isna().any()
    assert [one.raw[0] for one in single] == whole.raw.tolist()
    assert [one.probability[0] for one in single] == whole.probability.tolist()


def test_a_request_gives_the_bits_of_the_batch(bundle, rows) -> None:
    """Scalars through the on-demand function, the single-row model and the scalar calibrator: the batch's number."""
    scorer = load_scorer(bundle)
    sea = bundle.feature_set.functions()["sea"]
    whole = score_rows(bundle, rows)
    for index, row in enumerate(rows.itertuples()):
        strain = float(sea(wind_mps=row.wind_mps, booked_ratio=row.booked_ratio)["strain"])
        raw = scorer.score_row([row.wind_mps, row.guess, row.booked_ratio, strain])
        assert raw == whole.raw[index]
        assert bundle.calibrator.apply_scalar(raw) == whole.probability[index]


def test_columns_are_found_by_name(bundle, rows) -> None:
    """Another order of columns and strangers among them change no bit."""
    shuffled = rows[["booked_ratio", "wind_mps", "guess"]].assign(stranger="x")
    assert np.array_equal(score_rows(bundle, shuffled).raw, score_rows(bundle, rows).raw)


def test_computed_features_are_never_taken_from_the_rows(bundle, rows) -> None:
    """A `strain` that somebody put into the rows is not looked at."""
    assert np.array_equal(score_rows(bundle, rows.assign(strain=99.0)).raw, score_rows(bundle, rows).raw)


def test_null_is_nan(bundle, rows) -> None:
    """A nullable pandas column with NA scores as the float column with NaN."""
    nullable = rows.astype({"booked_ratio": "Float64"})
    assert nullable["booked_ratio"].isna().sum() == rows["booked_ratio"].isna().sum() > 0
    assert np.array_equal(score_rows(bundle, nullable).raw, score_rows(bundle, rows).raw)


def test_missing_features_are_named(bundle, rows) -> None:
    """Every feature that the rows lack is named at once."""
    with pytest.raises(BundleError, match="rows lack: wind_mps, booked_ratio; declare them again, and take out"):
        score_rows(bundle, rows[["guess"]])


def test_no_rows_give_no_scores(bundle, rows) -> None:
    """An empty population is scored as such."""
    scores = score_rows(bundle, rows.iloc[:0])
    assert scores.raw.shape == scores.probability.shape == (0,)
