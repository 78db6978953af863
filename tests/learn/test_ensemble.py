"""Several models as one: chosen without the test rows, routed by segment, one bundle, bit-equal by row and matrix."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import BundleError, LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.learn.build import LearnedModel, learn_model, record_model
from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.learn.choose import Choice, choose, cross_calibrated, held_out_rows
from forecastle.learn.combine import Ingredient, asks_for_ensemble, combine
from forecastle.learn.ensemble import Ensemble, ensemble_bytes, open_ensemble
from forecastle.learn.golden import golden_faults
from forecastle.learn.score import score_rows
from forecastle.learn.scorer import load_scorer
from forecastle.learn.scoring import PICKLE, Scoring
from forecastle.measure.scores import log_loss
from tests.learn import ferries
from tests.learn.fleet import EVERYBODY, MATRIX, fleet_frame, write_fleet


@dataclass(frozen=True)
class Fleet:
    """Every model of a small factory, trained and bundled; do not write to it."""

    system: LoadedSystem
    frame: pd.DataFrame
    learned: dict[str, LearnedModel]
    bundles: dict[str, Bundle]
    held_out: dict[str, pd.DataFrame]
    folder: Path

    def ingredients(self, choice: Choice) -> list[Ingredient]:
        names = [member.model for member in choice.members]
        return [
            Ingredient(m, self.bundles[n], self.held_out[n], self.learned[n].trained.importances)
            for m, n in zip(choice.members, names, strict=True)
        ]


@pytest.fixture(scope="module")
def fleet(mlflow, tmp_path_factory) -> Fleet:
    """Four models of two segments and one for all rows."""
    folder = tmp_path_factory.mktemp("fleet")
    system, frame = write_fleet(folder / "systems"), fleet_frame()
    learned, bundles, held_out = {}, {}, {}
    for name in system.declaration.models:
        learned[name] = learn_model(system, name, frame)
        built = record(system, learned[name], frame, folder)
        bundles[name] = load_bundle(folder / "bundles" / built, expected_hash=built)
        held_out[name] = held_out_rows(system, learned[name].trained, frame)
    return Fleet(system, frame, learned, bundles, held_out, folder)


def record(system: LoadedSystem, learned: LearnedModel, frame: pd.DataFrame, folder: Path) -> str:
    """The hash of a recorded model's bundle."""
    return record_model(system, learned, frame, ferries.recording(folder)).bundle


def promoting(system: LoadedSystem, **changed: object) -> LoadedSystem:
    """The system with another way to choose."""
    promote = system.declaration.promote.model_copy(update=changed)
    return replace(system, declaration=system.declaration.model_copy(update={"promote": promote}))


def test_a_model_of_a_segment_is_trained_and_judged_on_its_rows_alone(fleet: Fleet) -> None:
    """Every third row is by night, and the test part begins for all models at one instant."""
    night, everybody = fleet.learned["trees__1__short"], fleet.learned["everybody"]
    rows = night.trained.split
    assert len(rows.train) + len(rows.test) + rows.purged == int(fleet.frame["is_night"].sum())
    assert rows.test_from == everybody.trained.split.test_from
    held = fleet.held_out["trees__1__short"]
    assert (fleet.frame["is_night"].iloc[held["row"]] == 1).all()
    assert (fleet.frame["outcome"].iloc[held["row"]].to_numpy() == held["outcome"].to_numpy()).all()


def test_the_choice_is_the_lowest_held_out_log_loss_of_each_segment(fleet: Fleet) -> None:
    """Arithmetic in sight: the mean log loss of what each model said of rows it had not seen."""
    choice = choose(fleet.system, fleet.held_out)
    loss = {n: log_loss(t["outcome"].to_numpy(float), t["probability"].to_numpy()) for n, t in fleet.held_out.items()}
    expected = {
        min(("trees__0__short", "trees__0__long"), key=loss.__getitem__),
        min(("trees__1__short", "trees__1__long"), key=loss.__getitem__),
        "everybody",
    }
    assert {member.model for member in choice.members} == expected
    assert not choice.is_one_model
    assert dict(zip(choice.table["model"], choice.table["log_loss"], strict=True)) == pytest.approx(loss, abs=1e-12)


def test_the_test_rows_choose_nothing(fleet: Fleet) -> None:
    """The choice reads held-out rows only, all of which were asked before the test part."""
    for table in fleet.held_out.values():
        asked = fleet.frame["predict_at"].iloc[table["row"]]
        assert (asked < fleet.learned["everybody"].trained.split.test_from).all()


def test_one_plain_model_is_its_own_candidate(fleet: Fleet) -> None:
    """Nothing is combined where nothing asks for it."""
    choice = choose(fleet.system, {"everybody": fleet.held_out["everybody"]})
    assert choice.is_one_model
    assert asks_for_ensemble(fleet.system)


def test_models_of_other_rows_are_not_compared(fleet: Fleet) -> None:
    """A lower loss on easier rows is no better model."""
    shorter = fleet.held_out["trees__0__long"].iloc[:-5].reset_index(drop=True)
    with pytest.raises(LearnError, match="different rows"):
        choose(fleet.system, {"trees__0__short": fleet.held_out["trees__0__short"], "trees__0__long": shorter})


def test_no_model_is_said_plainly(fleet: Fleet) -> None:
    """Every model failed."""
    with pytest.raises(LearnError, match="no model was made"):
        choose(fleet.system, {})


def test_cross_calibration_never_sees_its_own_cluster() -> None:
    """Isotonic steps fitted on the row itself would give each cluster its own outcome."""
    generator = np.random.default_rng(0)
    scores, outcomes = generator.random(60), np.tile([0.0, 1.0], 30)
    given_all = cross_calibrated("isotonic", outcomes, scores, np.arange(60))
    assert log_loss(outcomes, np.clip(given_all, 1e-6, 1 - 1e-6)) > math.log(2) * 0.9


@pytest.fixture(scope="module")
def combined(fleet: Fleet) -> Bundle:
    """The routed ensemble as a bundle, read back from disk."""
    choice = choose(fleet.system, fleet.held_out)
    described, learned = combine(fleet.system, choice, fleet.ingredients(choice), fleet.frame)
    built = record(described, learned, fleet.frame, fleet.folder)
    return load_bundle(fleet.folder / "bundles" / built, expected_hash=built)


def test_an_ensemble_is_one_bundle_with_golden_rows_and_a_card(combined: Bundle) -> None:
    """One hash over all members; the card names them."""
    assert golden_faults(combined) == ()
    assert combined.scoring.kind == "ensemble"
    assert combined.facts["model"] == "ensemble"
    for member in json.loads(combined.model_bytes)["members"]:
        assert member["name"] in combined.card


def test_what_divides_the_members_varies_for_the_ensemble(fleet: Fleet, combined: Bundle) -> None:
    """By day and by night a member saw one value of the column, the one of everybody both, and so did the ensemble."""
    members = [m["name"] for m in json.loads(combined.model_bytes)["members"]]
    assert [fleet.learned[name].trained.unvaried for name in members] == [("is_night",), ("is_night",), ()]
    assert "is_night had one value" not in combined.card


def test_a_row_is_answered_by_its_segments_member(fleet: Fleet, combined: Bundle) -> None:
    """Independent way: the member's own bundle, its calibrator, then the ensemble's."""
    choice = choose(fleet.system, fleet.held_out)
    of = {None if m.segment is None else m.segment["is_night"]: m.model for m in choice.members}
    rows = fleet.frame.tail(60).reset_index(drop=True)
    raw = score_rows(combined, rows).raw
    for value in (0, 1):
        alone = score_rows(fleet.bundles[of[value]], rows).probability
        mask = (rows["is_night"] == value).to_numpy()
        assert (raw[mask] == alone[mask]).all()


def test_a_row_of_no_segment_falls_back_or_is_refused(fleet: Fleet, combined: Bundle) -> None:
    """Null is of no segment: the model of all rows answers, and without one there is no answer."""
    rows = fleet.frame.tail(5).assign(is_night=pd.Series(dtype="float64")).reset_index(drop=True)
    alone = score_rows(fleet.bundles["everybody"], rows).probability
    assert (score_rows(combined, rows).raw == alone).all()
    choice = choose(fleet.system, {n: t for n, t in fleet.held_out.items() if n != "everybody"})
    described, learned = combine(fleet.system, choice, fleet.ingredients(choice), fleet.frame)
    built = record(described, learned, fleet.frame, fleet.folder)
    divided = load_bundle(fleet.folder / "bundles" / built)
    assert np.isnan(score_rows(divided, rows).raw).all()
    assert np.isnan(score_rows(divided, rows).probability).all()


def test_an_ensemble_says_the_mean_of_its_members(fleet: Fleet) -> None:
    """Top two of each segment: (p₁ + p₂) / 2, calibrated as one afterwards."""
    system = promoting(fleet.system, choose="ensemble", top=2)
    choice = choose(system, {n: t for n, t in fleet.held_out.items() if n != "everybody"})
    assert len(choice.members) == 4
    _, learned = combine(system, choice, fleet.ingredients(choice), fleet.frame)
    test = fleet.frame.iloc[learned.trained.split.test]
    short, long = (score_rows(fleet.bundles[f"trees__0__{name}"], test).probability for name in ("short", "long"))
    day = (test["is_night"] == 0).to_numpy()
    assert learned.trained.test_raw[day] == pytest.approx((short[day] + long[day]) / 2, abs=1e-15)
    assert learned.evaluation.rows == len(test)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 50), st.floats(0, 1), st.one_of(st.floats(0, 1), st.just(math.nan)),
            st.sampled_from([0.0, 1.0, 2.0, math.nan]),
        ),
        min_size=1,
        max_size=12,
    )
)  # fmt: skip
def test_a_row_and_a_matrix_have_the_same_bits(combined: Bundle, rows: list[tuple[float, ...]]) -> None:
    """Whatever the rows are and however many, each gets the score that it gets alone."""
    scorer = load_scorer(combined)
    order = combined.feature_set.model_features
    known = dict(zip(("wind_mps", "guess", "booked_ratio", "is_night"), zip(*rows, strict=True), strict=True))
    strain = np.log1p(np.array(known["wind_mps"])) * np.exp(np.array(known["booked_ratio"]))
    matrix = np.column_stack([known.get(name, strain) for name in order]).astype(np.float64)
    many = scorer.scores(np.ascontiguousarray(matrix))
    one = np.array([scorer.score_row(row) for row in matrix.tolist()])
    assert many.tobytes() == one.tobytes()


def test_the_receipts_name_is_that_of_the_members(combined: Bundle) -> None:
    """By night another model answers than by day."""
    scorer = load_scorer(combined)
    assert isinstance(scorer, Ensemble)
    at = combined.feature_set.model_features.index("is_night")
    row = [0.5] * scorer.width
    named = {value: scorer.answered_by([*row[:at], value, *row[at + 1 :]]) for value in (0.0, 1.0, 5.0)}
    assert named[0.0].startswith("trees__0__")
    assert named[1.0].startswith("trees__1__")
    assert named[5.0] == "everybody"


def test_a_pickle_never_enters_an_ensemble(fleet: Fleet) -> None:
    """Its bytes would be opened without the leave that a pickle needs, so they are refused on both sides."""
    member = replace(fleet.bundles["everybody"], scoring=Scoring(kind=PICKLE))
    with pytest.raises(BundleError, match="pickle"):
        ensemble_bytes([("everybody", None, member)])
    content = json.loads(ensemble_bytes([("everybody", None, fleet.bundles["everybody"])]))
    content["members"][0]["scoring"]["kind"] = PICKLE
    with pytest.raises(BundleError, match="pickle"):
        open_ensemble(json.dumps(content).encode(), features=["wind_mps", "guess"])


@pytest.mark.parametrize("content", [b"{}", b'{"members": []}', b"[", b'{"members": [{"name": "x"}]}'])
def test_a_damaged_file_is_one_refusal(content: bytes) -> None:
    """Whatever it holds instead of members."""
    with pytest.raises(BundleError, match="build the bundle again"):
        open_ensemble(content, features=["a"])


def test_segments_of_other_columns_are_refused(tmp_path: Path) -> None:
    """A row would have two segments."""
    second = MATRIX.replace("trees:", "more:").replace("{is_night: [0, 1]}", "{guess: [1]}")
    with pytest.raises(Exception, match="segments of other columns"):
        write_fleet(tmp_path, models=MATRIX + second + EVERYBODY)
