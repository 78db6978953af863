"""The model card: everything it promises to say stands there, from the facts themselves."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import re

import numpy as np
import pytest

from forecastle.contract.gates import FairnessGate
from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import Decide
from forecastle.learn.build import train_declared
from forecastle.learn.card import ModelCard, model_card
from forecastle.learn.train import TrainedModel
from tests.learn.conftest import Built
from tests.learn.ferries import FEATURES, NOW


def test_every_feature_stands_there_with_its_origin(built) -> None:
    """One row a feature, in the estimator's order, with unit, range, rule, share of gain and raw columns."""
    card = built.bundle.card
    table = card[card.index("## Features") : card.index("## Limits")]
    lines = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][2:]
    assert tuple(lines) == FEATURES
    assert "| guess | probability | 0…1 | refuse |" in table
    assert "| booked_ratio | ratio | 0…1, null | default |" in table
    assert "bookings.ratio, reports.wind |" in table
    assert "| What the captain says. |" in table


def test_hashes_and_runs_stand_there(built) -> None:
    """Feature set and training set by hash, the MLflow and the Dagster run."""
    card = built.bundle.card
    assert built.bundle.feature_set.hash in card
    assert "version 4, " + "ab" * 32 in card
    assert built.model.mlflow_run_id in card
    assert "Dagster run: run-1" in card


def test_windows_and_row_counts_stand_there(built) -> None:
    """From when to when the model learned and was tested, with how many rows each, and what calibrated it."""
    card, split = built.bundle.card, built.model.trained.split
    assert f"Trained on: {len(split.train)} rows asked from 2026-01-01" in card
    assert f"outcome known before {split.test_from:%Y-%m-%d}" in card
    assert "Calibrated on: scores of these rows by models of the other of 4 folds" in card
    assert f"rows asked from {split.test_from:%Y-%m-%d} to {split.last_at:%Y-%m-%d}" in card
    assert f"Purged: {split.purged} rows" in card
    assert f"Knowledge until: {NOW.isoformat()}" in card


def test_scores_intervals_and_reasons_stand_there(built) -> None:
    """Scores of model and baseline, the difference with both ends, and why this calibrator."""
    card = built.bundle.card
    assert "| model | all |" in card
    assert "| baseline | route=north |" in card
    assert "| against | brier_difference | low | high | rows | clusters |" in card
    for reason in built.model.trained.calibrator_reasons:
        assert f"- {reason}" in card


def test_rounds_and_start_stand_there(built) -> None:
    """How many rounds, their held-out loss, and that the trees start from the base rate."""
    card, rounds, rows = built.bundle.card, built.model.trained.rounds, len(built.model.trained.split.train)
    assert (
        f"- 15 rounds are declared; their log loss on 4 held-out folds of {rows} rows is {rounds.log_loss:.6f}" in card
    )
    assert "| rounds | log_loss |" in card
    assert "Starts from: the base rate" in card
    assert "MLflow's logged LightGBM model" not in card


def test_who_and_what_for_stand_there(built) -> None:
    """Purpose, owner and limits."""
    card = built.bundle.card
    assert card.startswith("# Model card: ferries / trees\n\nWill the crossing arrive late?")
    assert "Owner: team:tests" in card
    assert "- strain may be null." in card
    assert "guess may be null" not in card


def test_what_never_varied_in_training_is_a_limit(built) -> None:
    """One value or null alone, whatever the test rows have; two values are no limit, nor is the column of a segment."""
    train = built.model.trained.split.train
    frame = built.frame.assign(wind_mps=7.0, strain=np.nan)
    frame.loc[frame.index.difference(train), "wind_mps"] = 8.0
    trained = train_declared(built.system, "trees", frame, test_from=None)
    assert trained.unvaried == ("wind_mps", "strain")
    limits = limits_of(card_of(built, built.system, trained=trained))
    assert [line.split()[1] for line in limits if "one value, or null alone" in line] == ["wind_mps", "strain"]
    assert not any("one value" in line for line in limits_of(card_of(built, built.system)))
    models = {"trees": built.system.declaration.models["trees"].of_group("trees", {"wind_mps": 7})}
    declared = built.system.declaration.model_copy(update={"models": models})
    own = limits_of(card_of(built, dataclasses.replace(built.system, declaration=declared), trained=trained))
    assert [line.split()[1] for line in own if "one value, or null alone" in line] == ["strain"]


def test_the_page_says_what_the_markdown_says_with_the_picture(built) -> None:
    """One standalone page: every section, the calibration picture, no script, nothing fetched."""
    markdown, page = built.bundle.card, built.bundle.card_page
    titles = [line.removeprefix("## ") for line in markdown.splitlines() if line.startswith("## ")]
    assert titles == [html.unescape(found) for found in re.findall("<h2>(.*?)</h2>", page)]
    assert {"Calibration", "Slices", "Fairness", "Limits", "Hashes"} <= set(titles)
    assert 'aria-label="Reliability diagram of the test rows"' in page
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert built.bundle.feature_set.hash in page


def test_scores_have_intervals(built) -> None:
    """Brier, its parts, log loss and AUC, each between its ends."""
    card = built.bundle.card
    lines = card[card.index("| score | estimate | low | high |") :].split("\n\n")[0].splitlines()[2:]
    found = {cells[1].strip(): [float(c.strip()) for c in cells[2:5]] for cells in (line.split("|") for line in lines)}
    assert {"brier", "brier miscalibration", "log_loss", "auc"} <= set(found)
    assert all(low <= estimate <= high for estimate, low, high in found.values())
    assert found["brier"][0] == pytest.approx(built.model.evaluation.value("model", "brier"), abs=1e-4)


def test_model_and_calibrator_stand_there_by_hash(built) -> None:
    """The hash of the model in the card is that of the bundle's file."""
    assert f"Model: {built.bundle.model_sha256}" in built.bundle.card


def test_a_changed_declaration_changes_card_and_bundle(built) -> None:
    """Another owner, another parameter: another card, so another hash in the manifest and another bundle."""
    assert hashlib.sha256(built.bundle.card.encode()).hexdigest() == manifest(built)["card.md"]["sha256"]
    assert hashlib.sha256(built.bundle.card_page.encode()).hexdigest() == manifest(built)["card.html"]["sha256"]
    cards = {card_of(built, built.system)}
    for change in (
        {"owner": "team:others"},
        {"description": "Will it be early?"},
        {"gates": built.system.declaration.gates.model_copy(update={"fairness": [FAIR]})},
        {"decide": Decide(function="decide:go", params={"edge": 0.1})},
    ):
        declaration = built.system.declaration.model_copy(update=change)
        cards.add(card_of(built, dataclasses.replace(built.system, declaration=declaration)))
    assert len(cards) == 5


def test_declared_groups_stand_there_with_their_intervals(built) -> None:
    """Each group beside all others, with the limit of the gate."""
    gates = built.system.declaration.gates.model_copy(update={"fairness": [FAIR]})
    declaration = built.system.declaration.model_copy(update={"gates": gates})
    card = card_of(built, dataclasses.replace(built.system, declaration=declaration)).markdown
    assert "## Fairness: brier by route" in card
    assert "| route=north |" in card
    assert "a group may differ by at most 0.2" in card


def test_the_same_build_gives_the_same_card(built) -> None:
    """Pictures too: no dates, no random ids."""
    assert card_of(built, built.system) == card_of(built, built.system)


FAIR = FairnessGate(groups=["route"], measure="brier", difference_max=0.2, rows_min=20)


def manifest(built: Built) -> dict[str, dict[str, str]]:
    return json.loads((built.bundles / built.model.bundle / "manifest.json").read_text())["files"]


def limits_of(card: ModelCard) -> list[str]:
    """The lines under "Limits"."""
    return card.markdown.partition("## Limits")[2].partition("## ")[0].strip().splitlines()


def card_of(built: Built, system: LoadedSystem, *, trained: TrainedModel | None = None) -> ModelCard:
    model = built.model
    return model_card(
        system,
        trained or model.trained,
        model.evaluation,
        test=built.frame.iloc[model.trained.split.test].reset_index(drop=True),
        cluster="crossing_id",
        facts=built.bundle.facts,
        lineage={},
    )
