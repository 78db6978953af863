"""Champion against challenger on the entities that each answered."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecastle.promote.experiment import experiment_read_out

SHARES = {"champion": 0.5, "challenger": 0.5}
START = pd.Timestamp("2026-06-01", tz="UTC")


def answers(entities: int, *, better: float = 0.0, share: float = 0.5, mature: bool = True) -> pd.DataFrame:
    """Two answers an entity; the challenger's probabilities are moved towards the outcome by `better`."""
    random = np.random.default_rng(3)
    ids = np.repeat(np.arange(entities), 2)
    variant = np.where(random.random(entities) < share, "challenger", "champion")[ids]
    outcome = (random.random(entities) < 0.5).astype(float)[ids]
    moved = np.where(variant == "challenger", better, 0.0)
    probability = np.clip(0.5 + (outcome - 0.5) * 2 * moved + random.normal(0, 0.05, len(ids)), 0.01, 0.99)
    return pd.DataFrame({
        "sequence": np.arange(len(ids)), "market_id": ids, "variant": variant, "probability": probability,
        "outcome": outcome, "is_mature": mature, "status": "known", "predicted_at": START, "first_known_at": START,
        "matures_at": START, "revenue_usd": outcome * 10.0,
    })  # fmt: skip


def test_a_better_challenger_has_a_lower_brier() -> None:
    """The difference of the means over entities, by hand, within an interval that leaves zero out."""
    rows = answers(2_000, better=0.2)
    found = experiment_read_out(rows, shares=SHARES, keys=["market_id"])
    brier = (rows["probability"] - rows["outcome"]) ** 2
    means = brier.groupby([rows["variant"], rows["market_id"]]).mean().groupby("variant").mean()
    (row,) = found.table.itertuples()
    assert np.isclose(row.difference, means["challenger"] - means["champion"])
    assert row.high < 0
    assert row.verdict == "lower"
    assert row.control + row.treatment == 2_000


def test_equal_bundles_are_undecided_and_a_metric_is_read_too() -> None:
    """Zero lies within both intervals."""
    found = experiment_read_out(answers(2_000), shares=SHARES, keys=["market_id"], metric="revenue_usd")
    assert list(found.table["metric"]) == ["brier", "revenue_usd"]
    assert list(found.table["verdict"]) == ["undecided", "undecided"]


def test_another_split_than_declared_makes_it_invalid() -> None:
    """70 % where 50 % were declared: the numbers are shown and no verdict rests on them."""
    found = experiment_read_out(answers(2_000, better=0.2, share=0.7), shares=SHARES, keys=["market_id"])
    assert found.ratio is not None
    assert found.ratio.is_mismatch
    assert list(found.table["verdict"]) == ["invalid"]


def test_outcomes_that_are_not_final_do_not_count() -> None:
    """They wait, and the reason says what is missing."""
    found = experiment_read_out(answers(500, mature=False), shares=SHARES, keys=["market_id"])
    assert len(found.table) == 0
    assert found.waiting == 1_000
    assert any("0 and 0 entities with a final outcome" in reason for reason in found.reasons)


def test_an_entity_of_both_arms_is_left_out() -> None:
    """Its answers are nobody's; it is counted in a reason."""
    rows = answers(200)
    rows.loc[0, "variant"], rows.loc[1, "variant"] = "champion", "challenger"
    found = experiment_read_out(rows, shares=SHARES, keys=["market_id"])
    assert "1 entities were answered by both arms and are left out" in found.reasons


def test_shadows_and_nobody() -> None:
    """Shadow answers are no arm; without any answer there is nothing to read."""
    rows = answers(10).assign(variant="shadow")
    found = experiment_read_out(rows, shares=SHARES, keys=["market_id"])
    assert found.ratio is None
    assert found.reasons == ("nobody was asked about in this phase yet",)
