"""The service answers with several models as with one, names the members, and refuses a row that has none."""

from __future__ import annotations

import math

import pytest

from forecastle.learn.build import learn_model, record_model
from forecastle.learn.bundle import load_bundle
from forecastle.learn.choose import choose, held_out_rows
from forecastle.learn.combine import Ingredient, combine
from forecastle.serve.champion import Champion, load_champion
from tests.learn import ferries
from tests.learn.fleet import MATRIX, PARAMS, fleet_frame, write_fleet

ONE_EACH = MATRIX[: MATRIX.index("        long:")]


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Champion:
    """A bundle of one model for crossings by day and one for those by night, none for others."""
    assert PARAMS in ONE_EACH
    folder = tmp_path_factory.mktemp("ensemble")
    system, frame = write_fleet(folder / "systems", models=ONE_EACH), fleet_frame(600)
    recording = ferries.recording(folder)
    learned = {name: learn_model(system, name, frame) for name in system.declaration.models}
    held_out = {name: held_out_rows(system, one.trained, frame) for name, one in learned.items()}
    choice = choose(system, held_out)
    ingredients = []
    for member in choice.members:
        one = learned[member.model]
        built = record_model(system, one, frame, recording)
        bundle = load_bundle(folder / "bundles" / built.bundle)
        ingredients.append(Ingredient(member, bundle, held_out[member.model], one.trained.importances))
    described, made = combine(system, choice, ingredients, frame)
    built = record_model(described, made, frame, recording)
    return load_champion(folder / "bundles" / built.bundle, system="ferries", expected_hash=built.bundle)


def vector(champion: Champion, *, is_night: float) -> list[float]:
    """A row in the bundle's order."""
    given = {"wind_mps": 5.0, "guess": 0.4, "booked_ratio": 0.5, "strain": 2.0, "is_night": is_night}
    return [given[name] for name in champion.bundle.feature_set.model_features]


def test_the_member_that_answers_is_named(champion: Champion) -> None:
    """By day one model, by night the other, each with a probability."""
    for value in (0.0, 1.0):
        row = vector(champion, is_night=value)
        assert champion.answering(row) == f"ensemble: trees__{value:.0f}__short"
        assert 0 <= champion.bundle.calibrator.apply_scalar(champion.scorer.score_row(row)) <= 1


def test_a_row_of_no_segment_is_refused_plainly(champion: Champion) -> None:
    """NaN never reaches a caller as a probability: 422 with the values that have no model."""
    row = vector(champion, is_night=7.0)
    assert math.isnan(champion.scorer.score_row(row))
    refusal = champion.unanswered(row)
    assert (refusal.status, refusal.code) == (422, "no_model")
    assert "is_night = 7" in str(refusal)
