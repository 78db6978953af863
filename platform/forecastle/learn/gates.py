"""Gates: the recorded conditions a bundle must meet before it may answer.

Belongs here: from an evaluation to `Decision(promote, reasons)`, each reason with its numbers.
Does not belong here: computing scores (`evaluate.py`), recording and promoting (`registry.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forecastle.contract.system import Gates
from forecastle.learn.evaluate import BASELINE, CHAMPION, MODEL, Comparison, Evaluation


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate: did it pass, and the sentence that says why."""

    gate: str
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a bundle may become champion; `reasons` has one sentence a gate, refusals first."""

    promote: bool
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]

    def evidence(self) -> list[dict[str, Any]]:
        """The gates as plain data, for the record."""
        return [{"gate": g.gate, "passed": g.passed, "reason": g.reason} for g in self.gates]


def decide(evaluation: Evaluation, gates: Gates) -> Decision:
    """Apply every declared gate; one failure refuses the promotion."""
    results = [_rows(evaluation, gates), _calibration(evaluation, gates), _leak(evaluation, gates)]
    results.append(_not_worse(evaluation.comparison(BASELINE), BASELINE, gates.brier_margin))
    if CHAMPION in evaluation.forecasters:
        results.append(_not_worse(evaluation.comparison(CHAMPION), CHAMPION, gates.champion_margin))
    promote = all(result.passed for result in results)
    ordered = sorted(results, key=lambda result: result.passed)
    return Decision(promote, tuple(result.reason for result in ordered), tuple(results))


def _rows(evaluation: Evaluation, gates: Gates) -> GateResult:
    passed = evaluation.rows >= gates.rows_min
    word = "enough" if passed else "too few"
    return GateResult("rows", passed, f"{evaluation.rows} test rows are {word} (at least {gates.rows_min})")


def _calibration(evaluation: Evaluation, gates: Gates) -> GateResult:
    value = evaluation.value(MODEL, "miscalibration")
    passed = value <= gates.miscalibration_max
    word = "is within" if passed else "is above"
    return GateResult("calibration", passed, f"miscalibration {value:.5f} {word} {gates.miscalibration_max:g}")


def _leak(evaluation: Evaluation, gates: Gates) -> GateResult:
    """The estimate itself is judged, not its interval: doubt speaks against a model here."""
    found = evaluation.comparison(BASELINE)
    if found is None:
        return GateResult("leak", False, "without a baseline to compare with, a leak cannot be told from skill")
    gain, limit = -found.difference.estimate, gates.suspicious_gain
    numbers = f"{gain:.5f} [{-found.difference.high:+.5f}, {-found.difference.low:+.5f}]"
    if gain <= limit:
        return GateResult("leak", True, f"gain on the baseline {numbers} is believable (at most {limit:g})")
    return GateResult(
        "leak",
        False,
        f"gain on the baseline {numbers} is above {limit:g}: "
        "so much is more likely a leak than skill; look for a feature that knows the outcome",
    )


def _not_worse(found: Comparison | None, against: str, margin: float) -> GateResult:
    """Non-inferiority: the whole interval of the Brier difference must lie at or below the margin."""
    if found is None:
        reason = f"the {against} answered rows of fewer than two clusters; nothing was compared"
        return GateResult(against, False, reason)
    d = found.difference
    numbers = f"{d.estimate:+.5f} [{d.low:+.5f}, {d.high:+.5f}] on {found.rows} rows"
    if d.high <= margin:
        return GateResult(against, True, f"Brier minus the {against}'s {numbers} is not worse by more than {margin:g}")
    return GateResult(against, False, f"Brier minus the {against}'s {numbers} may be worse by more than {margin:g}")
