"""Gates: each refuses for its own reason, with its numbers, and doubt never promotes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.system import Evaluate, Gates
from forecastle.learn.evaluate import BASELINE, CHAMPION, Comparison, Evaluation, evaluate_model
from forecastle.learn.gates import decide
from forecastle.measure.bootstrap import Interval

GATES = Gates(brier_margin=0.01, champion_margin=0.005, miscalibration_max=0.03, suspicious_gain=0.05, rows_min=100)


def difference(estimate: float, low: float, high: float, against: str = BASELINE) -> Comparison:
    interval = Interval(estimate, low, high, level=0.95, method="percentile", n=200, clusters=200)
    return Comparison(against, interval, 200)


def evaluation(
    *comparisons: Comparison, rows: int = 200, miscalibration: float = 0.01, forecasters: tuple[str, ...] = ()
) -> Evaluation:
    names = ("model", *(forecasters or (c.against for c in comparisons)))
    scores = pd.DataFrame({"forecaster": names, "slice": "all", "miscalibration": miscalibration})
    return Evaluation(rows, scores, comparisons)


def test_a_model_that_keeps_every_gate_is_promoted() -> None:
    """Better than the baseline, calibrated, enough rows, no champion: promoted, with a reason for every gate."""
    decision = decide(evaluation(difference(-0.004, -0.012, 0.003)), GATES)
    assert decision.promote
    assert [gate.gate for gate in decision.gates] == ["rows", "calibration", "leak", "baseline"]
    assert "-0.00400 [-0.01200, +0.00300] on 200 rows is not worse by more than 0.01" in " ".join(decision.reasons)


@pytest.mark.parametrize(
    ("found", "gate", "reason"),
    [
        (evaluation(difference(-0.004, -0.012, 0.003), rows=99), "rows", "99 test rows are too few (at least 100)"),
        (
            evaluation(difference(-0.004, -0.012, 0.003), miscalibration=0.04),
            "calibration",
            "miscalibration 0.04000 is above 0.03",
        ),
        (
            evaluation(difference(-0.08, -0.09, -0.07)),
            "leak",
            "gain on the baseline 0.08000 [+0.07000, +0.09000] is above 0.05: so much is more likely a leak",
        ),
        (evaluation(difference(0.02, 0.012, 0.03)), "baseline", "may be worse by more than 0.01"),
        (evaluation(difference(-0.002, -0.03, 0.02)), "baseline", "may be worse by more than 0.01"),
        (evaluation(difference(0.0, np.nan, np.nan)), "baseline", "may be worse"),
        (evaluation(difference(-0.004, -0.012, 0.003), miscalibration=np.nan), "calibration", "nan is above"),
    ],
)
def test_one_failed_gate_refuses(found: Evaluation, gate: str, reason: str) -> None:
    """Too few rows, miscalibrated, leaked, worse, or merely not shown to be no worse: refused, that reason first."""
    decision = decide(found, GATES)
    assert not decision.promote
    assert [result.gate for result in decision.gates if not result.passed] == [gate]
    assert reason in decision.reasons[0]


def test_the_champion_has_a_margin_of_its_own() -> None:
    """An interval that ends at +0.006 keeps the baseline's margin of 0.01 and breaks the champion's of 0.005."""
    both = (difference(0.001, -0.004, 0.006), difference(0.001, -0.004, 0.006, CHAMPION))
    decision = decide(evaluation(*both), GATES)
    assert [result.gate for result in decision.gates if not result.passed] == [CHAMPION]


def test_a_champion_that_could_not_be_compared_refuses() -> None:
    """A champion exists but no interval could be made: the gate fails, it is not skipped."""
    found = evaluation(difference(-0.004, -0.012, 0.003), forecasters=(BASELINE, CHAMPION))
    decision = decide(found, GATES)
    assert not decision.promote
    assert "the champion answered rows of fewer than two clusters; nothing was compared" in decision.reasons


def test_without_a_baseline_nothing_is_promoted() -> None:
    """A baseline that never spoke leaves both the comparison and the leak undecided."""
    decision = decide(evaluation(forecasters=(BASELINE,)), GATES)
    assert not decision.promote
    assert {result.gate for result in decision.gates if not result.passed} == {BASELINE, "leak"}


def test_a_planted_leak_is_refused_end_to_end() -> None:
    """A model that has read the outcome beats an honest price by 0.2 of Brier and is refused as a leak."""
    generator = np.random.default_rng(4)
    price = generator.beta(2, 2, 500)
    outcome = (generator.random(500) < price).astype(float)
    test = pd.DataFrame({"outcome": outcome, "price": price, "entity": np.arange(500)})
    declared = Evaluate.model_validate({"split": {"embargo": "1d"}, "baseline": "price"})

    def judged(probability):
        return decide(
            evaluate_model(test, probability, declared=declared, cluster="entity", champion=None, seed=0), GATES
        )

    leaked, honest = judged(0.02 + 0.96 * outcome), judged(price)
    assert [result.gate for result in leaked.gates if not result.passed] == ["leak"]
    assert "look for a feature that knows the outcome" in leaked.reasons[0]
    assert honest.promote


def test_evidence_is_plain_data() -> None:
    """Every gate with its verdict and sentence, ready for the record."""
    decision = decide(evaluation(difference(-0.004, -0.012, 0.003)), GATES)
    assert decision.evidence()[0] == {
        "gate": "rows",
        "passed": True,
        "reason": "200 test rows are enough (at least 100)",
    }
