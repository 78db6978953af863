"""Gates: each refuses for its own reason, with its numbers, and doubt never promotes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.gates import FairnessGate, Gates, LatencyGate
from forecastle.contract.system import Evaluate
from forecastle.learn.evaluate import BASELINE, CHAMPION, Comparison, Evaluation, evaluate_model
from forecastle.learn.group_differences import GroupDifference
from forecastle.measure.bootstrap import Interval
from forecastle.promote.gate_evidence import Checked, GateEvidence, Latency
from forecastle.promote.gates import GateResult, decide

GATES = Gates(brier_margin=0.01, champion_margin=0.005, miscalibration_max=0.03, suspicious_gain=0.05, rows_min=100)

# What a bundle of sound data under it brings along.
SOUND = GateEvidence(
    miscalibration=(0.0, 0.02),
    parity=Checked(passed=True, sentence="1,000 values, 0 differ"),
    leakage=Checked(passed=True, sentence="1,000 values, 0 differ"),
)


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
    decision = decide(evaluation(difference(-0.004, -0.012, 0.003)), GATES, measured=SOUND)
    assert decision.promote
    assert [gate.gate for gate in decision.gates] == [
        "rows", "calibration", "suspicious_gain", "baseline", "parity", "leakage",
    ]  # fmt: skip
    assert "-0.00400 [-0.01200, +0.00300] on 200 rows is not worse by more than 0.01" in " ".join(decision.reasons)


@pytest.mark.parametrize(
    ("found", "gate", "reason"),
    [
        (evaluation(difference(-0.004, -0.012, 0.003), rows=99), "rows", "99 test rows are too few (at least 100)"),
        (
            evaluation(difference(-0.004, -0.012, 0.003), miscalibration=0.04),
            "calibration",
            "miscalibration 0.04000 [0.00000, 0.02000] is above 0.03",
        ),
        (
            evaluation(difference(-0.08, -0.09, -0.07)),
            "suspicious_gain",
            "gain on the baseline 0.08000 [+0.07000, +0.09000] is above 0.05: so much is more likely a leak",
        ),
        (evaluation(difference(0.02, 0.012, 0.03)), "baseline", "may be worse by more than 0.01"),
        (evaluation(difference(-0.002, -0.03, 0.02)), "baseline", "may be worse by more than 0.01"),
        (evaluation(difference(0.0, np.nan, np.nan)), "baseline", "may be worse"),
        (
            evaluation(difference(-0.004, -0.012, 0.003), miscalibration=np.nan),
            "calibration",
            "nan [0.00000, 0.02000] is above",
        ),
    ],
)
def test_one_failed_gate_refuses(found: Evaluation, gate: str, reason: str) -> None:
    """Too few rows, miscalibrated, leaked, worse, or merely not shown to be no worse: refused, that reason first."""
    decision = decide(found, GATES, measured=SOUND)
    assert not decision.promote
    assert [result.gate for result in decision.gates if not result.passed] == [gate]
    assert reason in decision.reasons[0]


def test_the_champion_has_a_margin_of_its_own() -> None:
    """An interval that ends at +0.006 keeps the baseline's margin of 0.01 and breaks the champion's of 0.005."""
    both = (difference(0.001, -0.004, 0.006), difference(0.001, -0.004, 0.006, CHAMPION))
    decision = decide(evaluation(*both), GATES, measured=SOUND)
    assert [result.gate for result in decision.gates if not result.passed] == [CHAMPION]


def test_a_champion_that_could_not_be_compared_refuses() -> None:
    """A champion exists but no interval could be made: the gate fails, it is not skipped."""
    found = evaluation(difference(-0.004, -0.012, 0.003), forecasters=(BASELINE, CHAMPION))
    decision = decide(found, GATES, measured=SOUND)
    assert not decision.promote
    assert "the champion answered rows of fewer than two clusters; nothing was compared" in decision.reasons


def test_without_a_baseline_nothing_is_promoted() -> None:
    """A baseline that never spoke leaves both the comparison and the leak undecided."""
    decision = decide(evaluation(forecasters=(BASELINE,)), GATES, measured=SOUND)
    assert not decision.promote
    assert {result.gate for result in decision.gates if not result.passed} == {BASELINE, "suspicious_gain"}


def test_a_planted_leak_is_refused_end_to_end() -> None:
    """A model that has read the outcome beats an honest price by 0.2 of Brier and is refused as a leak."""
    generator = np.random.default_rng(4)
    price = generator.beta(2, 2, 500)
    outcome = (generator.random(500) < price).astype(float)
    test = pd.DataFrame({"outcome": outcome, "price": price, "entity": np.arange(500)})
    declared = Evaluate.model_validate({"split": {"embargo": "1d"}, "baseline": "price"})

    def judged(probability):
        return decide(
            evaluate_model(test, probability, declared=declared, cluster="entity", champion=None, seed=0),
            GATES,
            measured=SOUND,
        )

    leaked, honest = judged(0.02 + 0.96 * outcome), judged(price)
    assert [result.gate for result in leaked.gates if not result.passed] == ["suspicious_gain"]
    assert "look for a feature that knows the outcome" in leaked.reasons[0]
    assert honest.promote


def test_evidence_is_plain_data() -> None:
    """Every gate with its verdict and sentence, ready for the record."""
    decision = decide(evaluation(difference(-0.004, -0.012, 0.003)), GATES, measured=SOUND)
    assert decision.evidence[0] == {
        "gate": "rows",
        "passed": True,
        "reason": "200 test rows are enough (at least 100)",
        "value": 200,
        "limit": 100,
        "rows": 200,
    }


FAIR = GATES.model_copy(
    update={"fairness": [FairnessGate(groups=["region"], measure="mean_error", difference_max=0.05, rows_min=50)]}
)


def group(name: str, estimate: float, low: float, high: float, rows: int = 100) -> GroupDifference:
    return GroupDifference(
        name, rows, Interval(estimate, low, high, level=0.975, method="percentile", n=200, clusters=9)
    )


def sound(**changes: object) -> GateEvidence:
    return dataclasses.replace(SOUND, **changes)


def judged(measured: GateEvidence, gates: Gates = GATES) -> dict[str, GateResult]:
    found = decide(evaluation(difference(-0.004, -0.012, 0.003)), gates, measured=measured)
    return {result.gate: result for result in found.gates}


def test_miscalibration_that_may_be_too_large_refuses() -> None:
    """The estimate keeps the limit and its interval does not: may be above is not within."""
    found = judged(sound(miscalibration=(0.0, 0.031)))["calibration"]
    assert not found.passed
    assert found.reason == "miscalibration 0.01000 [0.00000, 0.03100] may be above 0.03"
    assert (found.value, found.low, found.high, found.limit) == (0.01, 0.0, 0.031, 0.03)


def test_miscalibration_without_an_interval_refuses() -> None:
    """Rows that all settle together say nothing of the next ones."""
    assert "has no interval" in judged(sound(miscalibration=None))["calibration"].reason


@pytest.mark.parametrize(
    ("groups", "passed", "says"),
    [
        ((group("region=n", 0.04, 0.01, 0.07),), True, "not known to be beyond ±0.05"),
        ((group("region=n", 0.09, 0.06, 0.12),), False, "region=n minus all others' +0.0900 [+0.0600, +0.1200] on 100"),
        ((group("region=n", 0.2, 0.04, 0.3), group("region=s", -0.1, -0.14, -0.06)), False, "of region=s minus"),
        ((GroupDifference("region=n", 7, None),), False, "no group has rows enough"),
        ((group("region=n", 0.0, -0.01, 0.01), GroupDifference("region=w", 7, None)), True, "judge: region=w (7 rows)"),
        ((), False, "no group has rows enough"),
    ],
)
def test_groups_must_not_be_known_to_be_treated_unlike(
    groups: tuple[GroupDifference, ...],
    passed: bool,  # noqa: FBT001
    says: str,
) -> None:
    """A difference that lies beyond the limit with its whole interval refuses; one that may be chance does not."""
    found = judged(sound(fairness=(groups,)), FAIR)["fairness/mean_error/region"]
    assert (found.passed, says in found.reason) == (passed, True)


def test_a_declared_gate_that_was_not_measured_refuses() -> None:
    """Fairness, latency, parity and leakage without evidence are refusals, each with what to do."""
    gates = FAIR.model_copy(update={"latency": LatencyGate(p99_ms=1.0)})
    found = judged(GateEvidence(miscalibration=(0.0, 0.02)), gates)
    refused = {name for name, result in found.items() if not result.passed}
    assert refused == {"fairness/mean_error/region", "latency", "parity", "leakage"}
    assert "materialise its asset" in found["parity"].reason


@pytest.mark.parametrize(("high", "passed"), [(0.9, True), (1.1, False)])
def test_latency_is_judged_by_the_upper_end(high: float, passed: bool) -> None:  # noqa: FBT001
    """p99 0.5 ms keeps 1 ms; an interval that reaches beyond does not."""
    gates = GATES.model_copy(update={"latency": LatencyGate(p99_ms=1.0)})
    found = judged(sound(latency=Latency(0.5, 0.4, high, rows=2_000, warm_up_rows=200)), gates)["latency"]
    assert found.passed == passed
    assert "2000 rows after 200 to warm up" in found.reason


@pytest.mark.parametrize("gate", ["parity", "leakage"])
def test_a_failed_check_of_the_data_refuses_unless_waived(gate: str) -> None:
    """What the check said is the reason; a declaration that waives the gate leaves it out."""
    failed = sound(**{gate: Checked(passed=False, sentence="3 values differ")})
    assert judged(failed)[gate].reason == f"{gate}: 3 values differ"
    assert gate not in judged(failed, GATES.model_copy(update={gate: False}))
