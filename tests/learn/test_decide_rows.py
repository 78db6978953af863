"""The decision of a batch is row by row that of a request, from the bundle's own rule."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.decision import DecisionRule
from forecastle.contract.errors import DecisionError
from forecastle.learn.score import decide_rows, score_rows

CODE = """
def sail(*, probability, strain, booked_ratio, predict_at, limit):
    if booked_ratio is None:
        return {"action": "closed", "reasons": ["nobody books"]}
    return {"action": "sail" if probability < limit else "stay", "strain": strain, "hour": predict_at.hour}
"""
RULE = DecisionRule("ferries", "decide:sail", ("strain", "booked_ratio", "predict_at"), {"limit": 0.4}, CODE)


@pytest.fixture(scope="module")
def rows(frame) -> pd.DataFrame:
    return frame.iloc[:80].reset_index(drop=True)


def test_each_row_is_decided_by_its_own_values(built, rows):
    """Computed features, missing ones and each row's own moment reach the rule, as one call by hand says."""
    bundle = dataclasses.replace(built.bundle, decision=RULE)
    scores = score_rows(bundle, rows)
    decided = decide_rows(bundle, scores, rows["predict_at"])
    assert decided.is_open.tolist() == rows["booked_ratio"].notna().tolist()
    assert 0 < decided.is_open.sum() < len(rows)
    for row in np.flatnonzero(decided.is_open):
        made = json.loads(decided.json[row])
        assert made["strain"] == scores.columns["strain"][row]
        assert made["hour"] == rows["predict_at"][row].hour
        assert made["action"] == ("sail" if scores.probability[row] < 0.4 else "stay")


def test_without_a_rule_every_row_is_open_and_decides_nothing(built, rows):
    """JSON null for each row, as a receipt has it."""
    decided = decide_rows(built.bundle, score_rows(built.bundle, rows), rows["predict_at"])
    assert set(decided.json) == {"null"}
    assert decided.is_open.all()


def test_a_rule_that_fails_for_one_row_fails_the_batch(built, rows):
    """No table with half the decisions."""
    bundle = dataclasses.replace(
        built.bundle, decision=dataclasses.replace(RULE, code=CODE.replace("limit else", "limit[0] else"))
    )
    with pytest.raises(DecisionError, match="decide:sail fails"):
        decide_rows(bundle, score_rows(bundle, rows), rows["predict_at"])
