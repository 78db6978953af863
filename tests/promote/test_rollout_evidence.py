"""Evidence of a trial, with the arithmetic in sight, and what follows from it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.system import Canary, Phase, Rollout
from forecastle.measure.confidence_sequence import confidence_sequence
from forecastle.promote.rollout import RolloutAct, advance
from forecastle.promote.rollout_evidence import judged_answers, once_each, rollout_evidence

AT = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROLLOUT = Rollout(canary=Canary(phases=[Phase(share=0.1, gates=["predictive", "fairness"], rows_min=100)], margin=0.01))


def declared(*slices: str, miscalibration_max: float = 0.02) -> Any:
    return SimpleNamespace(
        entity_of_label=lambda: SimpleNamespace(keys={"market_id": "int64"}),
        gates=SimpleNamespace(miscalibration_max=miscalibration_max),
        evaluate=SimpleNamespace(slices=list(slices)),
        rollout=ROLLOUT,
    )


def asked(outcomes: list[float], **columns: Any) -> pd.DataFrame:
    """One answer an outcome, a minute apart, each about its own market, all final."""
    n = len(outcomes)
    at = pd.Series([AT + timedelta(minutes=i) for i in range(n)])
    rows = pd.DataFrame(
        {
            "sequence": range(1, n + 1), "prediction_id": [f"p{i}" for i in range(n)], "market_id": range(n),
            "predicted_at": at, "outcome": outcomes, "first_known_at": at + DAY, "matures_at": at + 7 * DAY,
            "is_mature": True, "status": "known",
        }
    )  # fmt: skip
    return rows.assign(**columns)


def said(outcomes: pd.DataFrame, champion: Any, challenger: Any, *, is_said: Any = True) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prediction_id": outcomes["prediction_id"], "champion": champion, "challenger": challenger,
            "is_said": is_said,
        }
    )  # fmt: skip


def step_for(evidence) -> str:
    act = RolloutAct(1, "toy", "start", "b" * 64, "2", 0, 0.1, AT, "ann", ())
    return advance(act, evidence, ROLLOUT).action


def test_the_bounds_are_those_of_the_differences_of_squared_errors():
    """Outcomes 1, 1, 0; champion 0.5 everywhere: (0.8-1)²-(0.5-1)² = -0.21, the same again, 0.8²-0.5² = 0.39."""
    rows = asked([1.0, 1.0, 0.0])
    found = rollout_evidence(rows, said(rows, 0.5, 0.8), declared=declared())
    bounds = confidence_sequence([0.04 - 0.25, 0.04 - 0.25, 0.64 - 0.25], width=2.0, v_opt=10.0)
    assert (found.rows, found.waiting) == (3, 0)
    assert (found.low, found.high) == pytest.approx((bounds.low[-1], bounds.high[-1]))


def test_outcomes_that_are_not_final_wait():
    """Of four answers one is known too early, one has no outcome yet and one is overdue: one is judged, two wait."""
    rows = asked([1.0, 1.0, math.nan, math.nan], is_mature=[True, False, False, True])
    rows["status"] = ["known", "known", "waiting", "overdue"]
    found = rollout_evidence(rows, said(rows, 0.5, 0.8), declared=declared())
    assert (found.rows, found.waiting) == (1, 2)
    act = RolloutAct(1, "toy", "start", "b" * 64, "2", 0, 0.1, AT, "ann", ())
    assert advance(act, found, ROLLOUT).reasons == ("1 answers have outcomes; phase 1 needs 100 (2 wait)",)


def test_one_outcome_counts_once():
    """Three answers about one market wait for one outcome: the first of them counts; another's outcome is its own."""
    rows = asked([1.0] * 4, market_id=[7, 7, 7, 8])
    rows["first_known_at"] = [AT + DAY] * 3 + [AT + 2 * DAY]
    assert rollout_evidence(rows, said(rows, 0.5, 0.8), declared=declared()).rows == 2


def test_rows_are_what_the_challenger_said_itself():
    """Of ten pairs the challenger spoke in three; all ten tighten the bounds."""
    rows = asked([1.0, 0.0] * 5)
    spoken = said(rows, 0.5, 0.6, is_said=[True] * 3 + [False] * 7)
    all_spoken = said(rows, 0.5, 0.6)
    found, other = (rollout_evidence(rows, pairs, declared=declared()) for pairs in (spoken, all_spoken))
    assert (found.rows, other.rows) == (3, 10)
    assert (found.low, found.high) == (other.low, other.high)


def test_late_outcomes_come_last():
    """An outcome that came after its maturity takes its place when it came, so that earlier rows keep theirs."""
    rows = asked([1.0, 1.0, 0.0])
    rows.loc[0, "first_known_at"] = AT + 30 * DAY
    assert judged_answers(rows)["prediction_id"].tolist() == ["p1", "p2", "p0"]


def test_no_pair_no_ground():
    """Before the first pair the bounds are those of any two forecasts, no gate has a result, and the trial holds."""
    rows = asked([1.0])
    found = rollout_evidence(rows, said(rows, 0.5, 0.8).iloc[:0], declared=declared())
    assert (found.rows, found.low, found.high, found.predictive, found.fairness) == (0, -1.0, 1.0, (), ())
    assert step_for(found) == "hold"


def test_a_better_challenger_wins_and_a_worse_one_is_stopped():
    """Eight of ten outcomes are 1: 0.8 costs 0.16, 0.2 costs 0.52; with 400 rows the bounds tell them apart."""
    rows = asked([1.0, 1.0, 1.0, 1.0, 0.0] * 80)
    assert step_for(rollout_evidence(rows, said(rows, 0.2, 0.8), declared=declared())) == "promote"
    assert step_for(rollout_evidence(rows, said(rows, 0.8, 0.2), declared=declared())) == "stop"
    few = rows.iloc[:20]
    assert step_for(rollout_evidence(few, said(few, 0.2, 0.8), declared=declared())) == "hold"


def test_certain_miscalibration_fails_the_predictive_gate():
    """Half of the outcomes are 1 and the challenger says 0.9: its mean error 0.4 means miscalibration of 0.16."""
    rows = asked([1.0, 0.0] * 500)
    (gate,) = rollout_evidence(rows, said(rows, 0.5, 0.9), declared=declared(miscalibration_max=0.02)).predictive
    assert not gate.passed
    (lenient,) = rollout_evidence(rows, said(rows, 0.5, 0.9), declared=declared(miscalibration_max=0.16)).predictive
    assert lenient.passed


def test_a_group_that_is_worse_off_fails_the_fairness_gate():
    """North: 0.1² - 0.5² = -0.24, better; south: 0.8² - 0.5² = 0.39, worse: it is named, and the trial stops."""
    rows = asked([1.0] * 1000, region=["north", "south"] * 500)
    challenger = np.where(rows["region"] == "north", 0.9, 0.2)
    found = rollout_evidence(rows, said(rows, 0.5, challenger), declared=declared("region", miscalibration_max=1.0))
    (gate,) = found.fairness
    assert not gate.passed
    assert "south (+0.3900 on 500 rows" in gate.reason
    assert "north" not in gate.reason
    assert step_for(found) == "stop"
    fair = rollout_evidence(rows, said(rows, 0.5, 0.9), declared=declared("region", miscalibration_max=1.0))
    assert [g.passed for g in fair.fairness] == [True]


NEITHER_READS = "each on its own entities: neither logs what the other reads"


def apart(rows: pd.DataFrame, champion: float, challenger: Any) -> pd.DataFrame:
    """Every other answer is the challenger's; each knows only its own."""
    is_said = np.arange(len(rows)) % 2 == 1
    return said(rows, np.where(is_said, math.nan, champion), np.where(is_said, challenger, math.nan), is_said=is_said)


def test_bundles_of_other_features_are_compared_on_their_own_entities():
    """Losses of 0.25 and, of 0.8, 0.04, 0.04, 0.64: the bounds are those of two means, each at 97.5 %."""
    rows = asked([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    found = rollout_evidence(rows, apart(rows, 0.5, 0.8), declared=declared())
    theirs, ours = (
        confidence_sequence(np.array(losses) - 0.5, width=1.0, level=0.975, v_opt=10.0)
        for losses in ([0.25, 0.25, 0.25], [0.04, 0.04, 0.64])
    )
    assert (found.rows, found.is_paired) == (3, False)
    assert (found.low, found.high) == pytest.approx((ours.low[-1] - theirs.high[-1], ours.high[-1] - theirs.low[-1]))


def test_a_trial_of_other_features_ends_too():
    """0.8 against 0.2 where four of five come, 1,000 answers of each: stopped or promoted, and it is said how."""
    rows = asked([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0] * 200)
    act = RolloutAct(1, "toy", "start", "b" * 64, "2", 0, 0.1, AT, "ann", ())
    better = advance(act, rollout_evidence(rows, apart(rows, 0.2, 0.8), declared=declared()), ROLLOUT)
    worse = declared(miscalibration_max=1.0)
    stopped = advance(act, rollout_evidence(rows, apart(rows, 0.8, 0.2), declared=worse), ROLLOUT)
    assert (better.action, stopped.action) == ("promote", "stop")
    assert NEITHER_READS in better.reasons[0]
    assert NEITHER_READS in stopped.reasons[0]
    fewer = rows.iloc[:200]
    assert step_for(rollout_evidence(fewer, apart(fewer, 0.8, 0.8), declared=declared())) == "hold"


def test_a_challenger_that_reads_less_is_compared_where_the_champion_spoke():
    """What it answered itself has no champion's number; it counts towards the rows and its calibration all the same."""
    rows = asked([1.0, 1.0, 1.0, 1.0, 0.0] * 80)
    is_said = np.arange(len(rows)) % 2 == 1
    pairs = said(rows, np.where(is_said, math.nan, 0.2), 0.8, is_said=is_said)
    found = rollout_evidence(rows, pairs, declared=declared())
    spoken = rows[~is_said]
    alone = rollout_evidence(spoken, said(spoken, 0.2, 0.8), declared=declared())
    assert (found.rows, found.is_paired, found.low, found.high) == (200, True, alone.low, alone.high)
    assert step_for(found) == "promote"


def test_a_group_that_is_worse_off_is_named_where_nothing_is_paired():
    """South, 0.1 instead of 0.9 where all come: 0.81 - 0.01 = +0.80 between 500 rows of each; north is the same."""
    rows = asked([1.0] * 2000, region=["north", "north", "south", "south"] * 500)
    challenger = np.where(rows["region"] == "north", 0.9, 0.1)
    found = rollout_evidence(rows, apart(rows, 0.9, challenger), declared=declared("region", miscalibration_max=1.0))
    (gate,) = found.fairness
    assert not gate.passed
    assert "south (+0.8000 between 500 and 500 rows)" in gate.reason
    assert "north" not in gate.reason


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_pairs_does_not_matter(seed):
    """Shuffled outcomes and pairs give the same evidence: the order is that of the outcomes' arrival."""
    generator = np.random.default_rng(seed)
    rows = asked(generator.integers(0, 2, 40).astype(float).tolist(), region=generator.choice(["a", "b"], 40))
    pairs = said(rows, generator.random(40), generator.random(40))
    found = rollout_evidence(rows, pairs, declared=declared("region"))
    order, other = generator.permutation(40), generator.permutation(40)
    assert rollout_evidence(rows.iloc[order], pairs.iloc[other], declared=declared("region")) == found


def test_what_callers_told_of_an_entity_counts_once() -> None:
    """Four answers about market 1, one told by a source: two outcomes; what has no entity counts by itself."""
    rows = asked([1.0] * 6, told_by=["caller", "caller", "source", "caller", "caller", "caller"])
    rows = rows.assign(market_id=[1, 1, 1, 1, np.nan, np.nan])
    assert once_each(rows, ["market_id"])["prediction_id"].tolist() == ["p0", "p2", "p4", "p5"]
    assert len(once_each(rows.assign(told_by="source"), ["market_id"])) == 6  # each became known at another moment
