"""Features that are words: one number a word, the same in training, in batch, for one request, and in a segment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.learn.build import learn_model, record_model
from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.learn.choose import choose, held_out_rows
from forecastle.learn.combine import Ingredient, combine
from forecastle.learn.feature_matrix import feature_matrix
from forecastle.learn.golden import golden_faults
from forecastle.learn.score import score_rows
from forecastle.learn.scorer import load_scorer
from forecastle.learn.tracking import Tracking
from forecastle.serve.plan import Plan, served_of
from forecastle.serve.resolve import Resolver
from tests.learn import ferries
from tests.learn.fleet import PARAMS, fleet_frame, write_fleet

SKIES = ("calm", "rough", "fog, thick")
CONTRACT = "      sky: {dtype: string, unit: category, allowed: [calm, rough, 'fog, thick'], nullable: true}\n"
MODELS = f"""\
  trees:
    features: [wind_mps, guess, sky]
    matrix:
      segments: {{sky: [calm, rough]}}
      estimators:
        boosted: {{estimator: lightgbm.LGBMClassifier, params: {{n_estimators: 10, {PARAMS}}}}}
  everybody:
    estimator: sklearn.linear_model.LogisticRegression
    features: [wind_mps, guess, sky, is_night]
    preprocess: standard
    one_hot: [sky]
"""
NAMES = ("trees__calm__boosted", "trees__rough__boosted", "everybody")


@dataclass(frozen=True)
class Fleet:
    """A system with a feature of words, and what was made of it; do not write to it."""

    system: LoadedSystem
    frame: pd.DataFrame
    alone: dict[str, Bundle]
    combined: Bundle
    tracking: Tracking


def skies(rows: int) -> pd.Series:
    """Three words in turn, and a null now and then."""
    words = np.array(SKIES, dtype=object)[np.arange(rows) % 3]
    words[::50] = None
    return pd.Series(words, dtype="str")


def written(parent: Path) -> LoadedSystem:
    """The fleet with `sky` in the view of bookings."""
    folder = write_fleet(parent).folder
    text = (folder / "system.yaml").read_text()
    begin, end = text.index("models:\n"), text.index("evaluate:")
    text = text[:begin] + "models:\n" + MODELS + text[end:]
    (folder / "system.yaml").write_text(text.replace("      booked_ratio:", CONTRACT + "      booked_ratio:"))
    sql = folder / "load.sql"
    sql.write_text(sql.read_text().replace("AS is_night", "AS is_night, 'calm' AS sky"))
    return ferries.load_system(folder)


@pytest.fixture(scope="module")
def fleet(mlflow, tmp_path_factory) -> Fleet:
    """A model for each of two words, one for all rows, and their ensemble."""
    folder = tmp_path_factory.mktemp("words")
    system, frame = written(folder / "systems"), fleet_frame(900)
    frame = frame.assign(sky=skies(len(frame)))
    tracking, bundles = Tracking(folder / "mlflow"), folder / "bundles"
    recording = ferries.recording(folder, tracking=tracking)
    learned = {name: learn_model(system, name, frame) for name in NAMES}
    hashes = {name: record_model(system, one, frame, recording).bundle for name, one in learned.items()}
    alone = {name: load_bundle(bundles / digest, expected_hash=digest) for name, digest in hashes.items()}
    held_out = {name: held_out_rows(system, one.trained, frame) for name, one in learned.items()}
    choice = choose(system, held_out)
    given = [
        Ingredient(m, alone[m.model], held_out[m.model], learned[m.model].trained.importances) for m in choice.members
    ]
    described, whole = combine(system, choice, given, frame)
    digest = record_model(described, whole, frame, recording).bundle
    return Fleet(system, frame, alone, load_bundle(bundles / digest, expected_hash=digest), tracking)


def test_a_word_is_its_place_among_the_allowed_ones(fleet: Fleet) -> None:
    """calm, rough and fog are 0, 1 and 2; null is NaN; another word is refused by name."""
    codes = fleet.system.feature_set("everybody").codes
    rows = pd.DataFrame({"sky": ["rough", None, "calm", "fog, thick"]})
    found = feature_matrix(rows, ["sky"], codes=codes)[:, 0]
    assert np.array_equal(found, [1.0, np.nan, 0.0, 2.0], equal_nan=True)
    with pytest.raises(LearnError, match="sky is 'hail' in 1 rows; its contract allows 'calm', 'rough'"):
        feature_matrix(pd.DataFrame({"sky": ["hail", "calm"]}), ["sky"], codes=codes)


def test_a_segment_of_a_word_is_trained_on_its_rows_alone(fleet: Fleet) -> None:
    """Its reference counts one word only."""
    reference = fleet.alone["trees__rough__boosted"].reference["sky"]
    assert (reference["kind"], reference["categories"]) == ("category", ["rough"])


def test_rows_go_to_the_model_of_their_word(fleet: Fleet) -> None:
    """Independent way: each member's own bundle; fog and null have none and are answered by the model of all rows."""
    rows = fleet.frame.tail(120).reset_index(drop=True)
    raw = score_rows(fleet.combined, rows).raw
    members = {"calm": NAMES[0], "rough": NAMES[1]}
    assert golden_faults(fleet.combined) == ()
    for word, answers in rows["sky"].fillna("none").groupby(rows["sky"].fillna("none")):
        alone = score_rows(fleet.alone[members.get(str(word), "everybody")], rows).probability
        assert (raw[answers.index] == alone[answers.index]).all()


@pytest.mark.parametrize("name", [*NAMES, "ensemble"])
def test_one_request_gives_the_bits_of_the_batch(fleet: Fleet, name: str) -> None:
    """Resolved by name from what a caller says in words, then scored: the number of `score_rows`."""
    bundle = fleet.combined if name == "ensemble" else fleet.alone[name]
    resolver, scorer = Resolver(bundle.feature_set), load_scorer(bundle)
    asked = [spec.name for spec in bundle.feature_set.features if spec.view is not None]
    rows = fleet.frame.tail(7).reset_index(drop=True)
    batch = score_rows(bundle, rows).raw
    for place, row in enumerate(rows.astype(object).where(rows.notna(), None).to_dict("records")):
        given = {feature: row[feature] for feature in asked}
        assert resolver.check_given(given, complete=True) == []
        # Words are looked at by the careful way: the quick one joins numbers only.
        assert Plan(resolver).usual(given, None, now_us=0) is None
        answer = served_of(resolver.resolve(given, None, now_us=0), resolver, now_us=0)
        assert answer.values["sky"] == row["sky"]  # noqa: PD011  not of pandas
        assert scorer.score_row(answer.vector) == batch[place]


def test_mlflow_takes_words_and_whole_numbers_as_pandas_holds_them(fleet: Fleet, mlflow) -> None:
    """The ensemble's registered version gives the calibrated probabilities of the batch."""
    mlflow.set_tracking_uri(fleet.tracking.uri)
    mlflow.set_registry_uri(fleet.tracking.uri)
    loaded = mlflow.pyfunc.load_model(f"models:/ferries/{fleet.combined.facts['model_version']}")
    rows = fleet.frame.tail(40)
    assert rows["is_night"].dtype == np.int64
    found = loaded.predict(rows)
    assert np.array_equal(found["probability"], score_rows(fleet.combined, rows).probability)


def test_a_word_that_is_not_allowed_is_refused_by_name(fleet: Fleet) -> None:
    """The same rule and words as for any other contract."""
    resolver = Resolver(fleet.alone["everybody"].feature_set)
    (fault,) = resolver.check_given({"sky": "hail"}, complete=False)
    assert (fault.feature, fault.rule) == ("sky", "allowed")
    assert "allowed: calm, rough, fog, thick" in fault.text


def test_numbers_are_shown_as_words_again(fleet: Fleet) -> None:
    """What a person reads of a vector; other features stay numbers."""
    feature_set = fleet.alone["everybody"].feature_set
    assert [feature_set.shown("sky", code) for code in (0.0, 2.0)] == ["calm", "fog, thick"]
    assert feature_set.shown("guess", 0.0) == 0.0
    assert fleet.combined.medians()[feature_set.model_features.index("sky")] in (0.0, 1.0, 2.0)
    replaced = replace(fleet.combined, reference={})
    assert set(replaced.medians()) == {None}
