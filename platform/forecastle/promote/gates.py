"""Gates: the recorded conditions a bundle must meet before it may answer.

Belongs here: from an evaluation and further evidence to `Decision(promote, reasons, evidence)`.
Does not belong here: measuring (`evaluate.py`, `gate_evidence.py`), recording and promoting (`registry.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from forecastle.contract.gates import FairnessGate, Gates, LatencyGate
from forecastle.learn.evaluate import BASELINE, CHAMPION, MODEL, Comparison, Evaluation
from forecastle.learn.group_differences import GroupDifference
from forecastle.promote.gate_evidence import Checked, GateEvidence, Latency


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate: did it pass, the sentence that says why, and its numbers where it has any."""

    gate: str
    passed: bool
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    rows: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data without what is not there: JSON has no NaN."""
        numbers = {name: getattr(self, name) for name in ("value", "low", "high", "limit", "rows")}
        kept = {name: number for name, number in numbers.items() if number is not None and math.isfinite(number)}
        return {"gate": self.gate, "passed": self.passed, "reason": self.reason, **kept}


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a bundle may become champion; `reasons` has one sentence a gate, refusals first."""

    promote: bool
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]

    @property
    def evidence(self) -> list[dict[str, Any]]:
        """The gates as plain data, for the record."""
        return [gate.to_dict() for gate in self.gates]


def decide(evaluation: Evaluation, gates: Gates, *, measured: GateEvidence) -> Decision:
    """Apply every declared gate; one failure refuses the promotion, and so does what was not measured."""
    results = [
        _rows(evaluation, gates),
        _calibration(evaluation, measured.miscalibration, limit=gates.miscalibration_max),
        _leak(evaluation, gates),
        _not_worse(evaluation.comparison(BASELINE), BASELINE, gates.brier_margin),
    ]
    if CHAMPION in evaluation.forecasters:
        results.append(_not_worse(evaluation.comparison(CHAMPION), CHAMPION, gates.champion_margin))
    results += _fairness(gates.fairness, measured.fairness)
    if gates.latency is not None:
        results.append(_latency(gates.latency, measured.latency))
    if gates.parity:
        results.append(_checked("parity", measured.parity))
    if gates.leakage:
        results.append(_checked("leakage", measured.leakage))
    if measured.withdrawn is not None:
        results.append(_checked("withdrawn", measured.withdrawn))
    promote = all(result.passed for result in results)
    ordered = sorted(results, key=lambda result: result.passed)
    return Decision(promote, tuple(result.reason for result in ordered), tuple(results))


def _rows(evaluation: Evaluation, gates: Gates) -> GateResult:
    passed = evaluation.rows >= gates.rows_min
    word = "enough" if passed else "too few"
    reason = f"{evaluation.rows} test rows are {word} (at least {gates.rows_min})"
    return GateResult("rows", passed, reason, value=evaluation.rows, limit=gates.rows_min, rows=evaluation.rows)


def _calibration(evaluation: Evaluation, ends: tuple[float, float] | None, *, limit: float) -> GateResult:
    """The whole interval must lie within the limit; it holds the estimate, which chance alone makes larger than 0."""
    value = evaluation.value(MODEL, "miscalibration")
    if ends is None:
        reason = f"miscalibration {value:.5f} has no interval: all rows settle together or have one outcome"
        return GateResult("calibration", passed=False, reason=reason, value=value, limit=limit)
    low, high = ends
    passed = max(value, high) <= limit
    word = "is within" if passed else "may be above" if value <= limit else "is above"
    reason = f"miscalibration {value:.5f} [{low:.5f}, {high:.5f}] {word} {limit:g}"
    return GateResult("calibration", passed, reason, value, low, high, limit, evaluation.rows)


def _leak(evaluation: Evaluation, gates: Gates) -> GateResult:
    """The estimate itself is judged, not its interval: doubt speaks against a model here."""
    found = evaluation.comparison(BASELINE)
    if found is None:
        reason = "without a baseline to compare with, a leak cannot be told from skill"
        return GateResult("suspicious_gain", passed=False, reason=reason, limit=gates.suspicious_gain)
    gain, limit = -found.difference.estimate, gates.suspicious_gain
    low, high = -found.difference.high, -found.difference.low
    numbers = f"{gain:.5f} [{low:+.5f}, {high:+.5f}]"
    passed = gain <= limit
    reason = f"gain on the baseline {numbers} " + (
        f"is believable (at most {limit:g})"
        if passed
        else f"is above {limit:g}: so much is more likely a leak than skill; look for a feature that knows the outcome"
    )
    return GateResult("suspicious_gain", passed, reason, gain, low, high, limit, found.rows)


def _not_worse(found: Comparison | None, against: str, margin: float) -> GateResult:
    """Non-inferiority: the whole interval of the Brier difference must lie at or below the margin."""
    if found is None:
        reason = f"the {against} answered rows of fewer than two clusters; nothing was compared"
        return GateResult(against, False, reason)
    d = found.difference
    passed = d.high <= margin
    word = "is not worse" if passed else "may be worse"
    numbers = f"{d.estimate:+.5f} [{d.low:+.5f}, {d.high:+.5f}] on {found.rows} rows"
    reason = f"Brier minus the {against}'s {numbers} {word} by more than {margin:g}"
    return GateResult(against, passed, reason, d.estimate, d.low, d.high, margin, found.rows)


def _fairness(gates: Sequence[FairnessGate], measured: Sequence[tuple[GroupDifference, ...]]) -> Iterator[GateResult]:
    for number, gate in enumerate(gates):
        name = f"fairness/{gate.measure}/{'+'.join(gate.groups)}"
        yield _alike(name, gate, measured[number] if number < len(measured) else ())


def _alike(name: str, gate: FairnessGate, groups: Sequence[GroupDifference]) -> GateResult:
    """Fails where a difference is known to be too large: in small groups a large one is mostly chance.

    Groups that can carry no interval are named and not judged; without one that can, nothing was shown, and it fails.
    """
    judged = [(g, g.difference) for g in groups if g.difference is not None]
    small = ", ".join(f"{g.group} ({g.rows} rows)" for g in groups if g.difference is None)
    left_out = f"; too small to judge: {small}" if small else ""
    limit = gate.difference_max
    if not judged:
        reason = f"no group has rows enough to compare {gate.measure}{left_out}"
        return GateResult(name, passed=False, reason=reason, limit=limit)
    unlike = [(g, d) for g, d in judged if d.low > limit or d.high < -limit]
    group, d = max(unlike or judged, key=lambda pair: abs(pair[1].estimate))
    numbers = f"{gate.measure} of {group.group} minus all others' {d.estimate:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
    word = "is beyond" if unlike else "is the largest difference and not known to be beyond"
    more = f", as are {len(unlike) - 1} other groups" if len(unlike) > 1 else ""
    reason = f"{numbers} on {group.rows} rows {word} ±{limit:g}{more}{left_out}"
    return GateResult(name, not unlike, reason, d.estimate, d.low, d.high, limit, group.rows)


def _latency(gate: LatencyGate, found: Latency | None) -> GateResult:
    if found is None:
        return GateResult("latency", passed=False, reason="the bundle's latency was not measured", limit=gate.p99_ms)
    passed = found.high_ms <= gate.p99_ms
    word = "is within" if passed else "may be above" if found.p99_ms <= gate.p99_ms else "is above"
    reason = (
        f"p99 of one row {found.p99_ms:.3f} ms [{found.low_ms:.3f}, {found.high_ms:.3f}] {word} {gate.p99_ms:g} ms "
        f"(model and calibrator in process, {found.rows} rows after {found.warm_up_rows} to warm up)"
    )
    return GateResult(
        "latency", passed, reason, found.p99_ms, found.low_ms, found.high_ms, limit=gate.p99_ms, rows=found.rows
    )


def _checked(name: str, found: Checked | None) -> GateResult:
    if found is None:
        return GateResult(name, passed=False, reason=f"the {name} check has not run; materialise its asset")
    return GateResult(name, found.passed, f"{name}: {found.sentence}")
