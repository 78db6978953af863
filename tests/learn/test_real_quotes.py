"""The declared model on the real quotes: an honest comparison with the market price, and a leak that is caught."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem, load_system
from forecastle.learn.build import cluster_column, evaluate_test
from forecastle.learn.evaluate import BASELINE, MODEL, Evaluation
from forecastle.learn.train import TrainedModel, train_model
from forecastle.promote.gate_evidence import Checked, GateEvidence
from forecastle.promote.gates import decide
from tests.systems.prediction_markets.conftest import FOLDER, train_on

END = datetime(2026, 8, 21, 6, tzinfo=UTC)

pytestmark = pytest.mark.slow

SOUND = GateEvidence(
    miscalibration=(0.0, 0.0), parity=Checked(True, "none differ"), leakage=Checked(True, "none differ")
)


@pytest.fixture(scope="module")
def markets() -> LoadedSystem:
    return load_system(FOLDER)


@pytest.fixture(scope="module")
def rows(markets: LoadedSystem, real_data: Path, tmp_path_factory) -> pd.DataFrame:
    """The training set as the store builds it from the real quotes."""
    warehouse, version = train_on(markets, real_data, tmp_path_factory.mktemp("real"), now=END)
    return warehouse.frame(version)


def judged(
    markets: LoadedSystem, rows: pd.DataFrame, *, further: tuple[str, ...] = ()
) -> tuple[TrainedModel, Evaluation]:
    declared = markets.declaration
    trained = train_model(
        rows,
        name="lightgbm",
        model=declared.models["lightgbm"],
        features=(*declared.model_features("lightgbm"), *further),
        split=declared.evaluate.split,
        cluster=cluster_column(markets),
    )
    return trained, evaluate_test(markets, rows.iloc[trained.split.test], trained.test_probability, champion=None)


def test_the_model_is_no_better_than_is_believable(markets, rows) -> None:
    """Model and price are within the suspicious gain of each other on thousands of questions of hundreds of markets."""
    trained, evaluation = judged(markets, rows)
    found = evaluation.comparison(BASELINE)
    assert found.rows == evaluation.rows > 1_000
    assert found.difference.clusters > 200
    assert abs(found.difference.estimate) < markets.declaration.gates.suspicious_gain
    assert 0.01 < evaluation.value(BASELINE, "brier") < 0.15
    assert np.isfinite(trained.test_probability).all()
    gates = {gate.gate: gate.passed for gate in decide(evaluation, markets.declaration.gates, measured=SOUND).gates}
    assert gates["suspicious_gain"]
    assert gates[BASELINE] == (found.difference.high <= markets.declaration.gates.brier_margin)


def test_no_outcome_was_known_before_its_part_ended(markets, rows) -> None:
    """On real knowledge times, which come weeks late for some: what trains was known in time."""
    split = judged(markets, rows)[0].split
    embargo = markets.declaration.evaluate.split.embargo
    assert (rows["known_at"].iloc[split.train] <= split.test_from - embargo).all()
    assert (rows["predict_at"].iloc[split.train] < split.test_from).all()
    assert split.purged > 0


def test_most_rows_before_the_test_train(markets, rows) -> None:
    """Of 6,628 rows asked before the test thousands train: no window of its own for the calibrator purges them."""
    trained = judged(markets, rows)[0]
    before = (rows["predict_at"] < trained.split.test_from).sum()
    assert len(trained.split.train) == before - trained.split.purged > before / 2
    assert [row.rounds for row in trained.rounds.table] == list(range(10, 201, 10))
    assert trained.start_from == "market_price"


def test_a_planted_outcome_is_refused_as_a_leak(markets, rows) -> None:
    """A further feature that is a noisy view of the outcome beats the price by far, and the gate says leak."""
    planted = rows["outcome"] + np.random.default_rng(1).normal(0, 0.3, len(rows))
    _, evaluation = judged(markets, rows.assign(planted=planted), further=("planted",))
    decision = decide(evaluation, markets.declaration.gates, measured=SOUND)
    assert evaluation.value(MODEL, "brier") < evaluation.value(BASELINE, "brier")
    assert not decision.promote
    assert "more likely a leak than skill" in decision.reasons[0]
