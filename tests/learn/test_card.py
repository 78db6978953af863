"""The model card: everything it promises to say stands there, from the facts themselves."""

from __future__ import annotations

from tests.learn.ferries import FEATURES, NOW


def test_every_feature_stands_there_with_its_origin(built) -> None:
    """One row a feature, in the estimator's order, with unit, range, rule, share of gain and raw columns."""
    card = built.bundle.card
    table = card[card.index("## Features") : card.index("## Limits")]
    lines = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
    assert tuple(lines) == FEATURES
    assert "| guess | probability | 0…1 | refuse |" in table
    assert "| booked_ratio | ratio | 0…1, null | default |" in table
    assert "bookings.ratio, reports.wind |" in table


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
