"""Recalibration: fitting calibrators on held-out rows and choosing one by cross-validated log loss.

Belongs here: the fits (likelihood, isotonic, Venn-Abers) and the choice with its table and reasons.
Does not belong here: applying a calibrator (`calibrators.py`) and measuring miscalibration
(`decomposition.py`). SciPy is imported inside the fits, so that a process that only applies calibrators never
pays for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecastle.contract.errors import MeasureError, did_you_mean
from forecastle.measure.arrays import (
    FloatArray,
    IntArray,
    as_codes,
    as_outcomes,
    as_probabilities,
    same_length,
)
from forecastle.measure.calibrators import (
    CALIBRATORS,
    SCORE_MARGIN,
    Beta,
    Calibrator,
    Identity,
    Isotonic,
    Platt,
    Temperature,
    VennAbers,
    calibrator_from_json,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from forecastle.measure.isotonic import Cells

__all__ = [
    "CALIBRATORS",
    "DEFAULT_CANDIDATES",
    "Calibrator",
    "CalibratorChoice",
    "CandidateScore",
    "calibrator_from_json",
    "choose_calibrator",
    "fit_calibrator",
    "isotonic_calibrator",
]

DEFAULT_CANDIDATES = ("identity", "temperature", "platt", "beta", "venn_abers")
# Total penalty on the distance from the identity: it only bites when the outcomes are perfectly separated.
SEPARATION_PENALTY = 1e-8


@dataclass(frozen=True, slots=True)
class CandidateScore:
    """Cross-validated log loss (nats a row) of one candidate.

    `excess` is its loss above the lowest one, `excess_se` the standard error of that paired difference (over
    groups where groups were given), `gain` the loss of the raw scores minus this one: what recalibrating is
    worth out of sample. An infinite loss means that a row was declared impossible and happened.
    """

    name: str
    parameters: int | None
    log_loss: float
    excess: float
    excess_se: float
    gain: float


@dataclass(frozen=True, slots=True)
class CalibratorChoice:
    """The chosen calibrator, fitted on all rows, with the table of all candidates and the reasons."""

    name: str
    calibrator: Calibrator
    table: tuple[CandidateScore, ...]
    reasons: tuple[str, ...]


def fit_calibrator(name: str, outcomes: ArrayLike, scores: ArrayLike) -> Calibrator:
    """Fit one calibrator on held-out rows: 1-d `outcomes` (0 or 1) and `scores` in [0, 1] of the same length.

    Logistic families maximise the likelihood by damped Newton steps with non-negative slopes (a slope that
    wants to be negative is set to 0); isotonic and Venn-Abers pool tied scores first.

    Raises:
        MeasureError: the name is unknown, the input is not clean, or only one outcome occurs.
    """
    if name not in CALIBRATORS:
        raise MeasureError(f"unknown calibrator {name!r}: {did_you_mean(name, CALIBRATORS)}")
    y, p = _as_pairs(outcomes, scores)
    if name == "identity":
        return Identity()
    if y.min() == y.max():
        raise MeasureError(
            f"calibrator {name!r} needs both outcomes, got only {y[0]:g} in {y.size} rows: "
            "use a longer calibration window"
        )
    if name == "isotonic":
        from forecastle.measure.isotonic import pool_ties

        return isotonic_calibrator(pool_ties(y, p))
    if name == "venn_abers":
        return _fit_venn_abers(y, p)
    p = np.clip(p, SCORE_MARGIN, 1.0 - SCORE_MARGIN)
    log_p, minus_log_q = np.log(p), -np.log1p(-p)
    if name == "temperature":
        return Temperature(*_fit_logistic(y, [log_p + minus_log_q], intercept=False))
    if name == "platt":
        return Platt(*_fit_logistic(y, [log_p + minus_log_q], intercept=True))
    return Beta(*_fit_logistic(y, [log_p, minus_log_q], intercept=True))


def isotonic_calibrator(cells: Cells) -> Isotonic:
    """Isotonic calibrator of pooled, possibly weighted, cells; the one fit in which rows may count unequally.

    Values keep 1/(n + 2) from 0 and 1, n being the effective number of rows (sum w)² / sum w².
    """
    from scipy.optimize import isotonic_regression

    x, weights = cells.probabilities, cells.weights
    effective = cells.total**2 / float(cells.squared_weights.sum()) if cells.is_weighted else cells.rows
    floor = 1.0 / (effective + 2)
    fit = isotonic_regression(cells.events / weights, weights=weights)
    if x.size == 1:
        x, values = np.array([0.0, 1.0]), np.repeat(fit.x, 2)
    else:
        ends = np.unique(np.concatenate([fit.blocks[:-1], fit.blocks[1:] - 1]))
        x, values = x[ends], fit.x[ends]
    return Isotonic(tuple(x.tolist()), tuple(np.clip(values, floor, 1.0 - floor).tolist()))


def choose_calibrator(
    outcomes: ArrayLike,
    scores: ArrayLike,
    *,
    candidates: Sequence[str] = DEFAULT_CANDIDATES,
    folds: int = 5,
    seed: int,
    groups: ArrayLike | None = None,
) -> CalibratorChoice:
    """Choose by cross-validated log loss: the fewest parameters within one standard error of the lowest loss.

    `groups` (one label a row: day, entity) keeps rows that settle together in one fold and makes the standard
    error that of group sums. One-standard-error rule: Breiman et al. 1984, section 3.4.3, on paired
    differences.

    Raises:
        MeasureError: unknown or no candidates, too few rows or groups, or a fold with one outcome only.
    """
    y, p = _as_pairs(outcomes, scores)
    names = [name for name in CALIBRATORS if name in candidates]
    if len(names) != len(set(candidates)) or not names:
        unknown = next((name for name in candidates if name not in CALIBRATORS), "")
        raise MeasureError(f"unknown candidate {unknown!r}: {did_you_mean(unknown, CALIBRATORS)}")
    codes = np.arange(y.size) if groups is None else as_codes(groups, name="groups")[0]
    same_length(outcomes=y, groups=codes)
    fold = _folds(y, codes, folds=folds, seed=seed, grouped=groups is not None)
    losses = {name: _held_out_losses(name, y, p, fold) for name in names}
    table = _candidate_table(losses, _log_losses(y, p), codes)
    chosen = next(row for row in table if row.excess <= row.excess_se)
    return CalibratorChoice(
        name=chosen.name,
        calibrator=fit_calibrator(chosen.name, y, p),
        table=table,
        reasons=_choice_reasons(chosen, table, rows=y.size, folds=folds),
    )


def _as_pairs(outcomes: ArrayLike, scores: ArrayLike) -> tuple[FloatArray, FloatArray]:
    y, p = as_outcomes(outcomes), as_probabilities(scores, name="score")
    same_length(outcomes=y, scores=p)
    return y, p


def _fit_logistic(y: FloatArray, features: list[FloatArray], *, intercept: bool) -> list[float]:
    """Coefficients of the features, then the intercept; a negative slope is dropped and the rest refitted."""
    active = list(range(len(features)))
    while True:
        columns = [features[i] for i in active] + ([np.ones_like(y)] if intercept else [])
        identity = np.array([1.0] * len(active) + [0.0] * intercept)
        coefficients = _newton(np.column_stack(columns), y, start=identity) if columns else identity
        slopes = dict(zip(active, coefficients.tolist(), strict=False))
        if all(slope >= 0.0 for slope in slopes.values()):
            break
        active.remove(min(slopes, key=lambda i: slopes[i]))
    tail = [float(coefficients[-1])] if intercept else []
    return [slopes.get(i, 0.0) for i in range(len(features))] + tail


def _newton(x: FloatArray, y: FloatArray, *, start: FloatArray) -> FloatArray:
    """Maximum likelihood by Newton steps, halved until the loss falls: undamped ones may diverge."""
    from scipy.special import expit

    def loss(b: FloatArray) -> float:
        z = x @ b
        return float(np.sum(np.logaddexp(0.0, z) - y * z) + SEPARATION_PENALTY / 2 * np.sum((b - start) ** 2))

    b, current = start, loss(start)
    for _ in range(100):
        q = expit(x @ b)
        gradient = x.T @ (q - y) + SEPARATION_PENALTY * (b - start)
        curvature = (x * (q * (1 - q))[:, None]).T @ x + SEPARATION_PENALTY * np.eye(b.size)
        step = np.linalg.solve(curvature, gradient)
        promised, size = float(gradient @ step), 1.0
        while (following := loss(b - size * step)) > current - 1e-4 * size * promised and size > 1e-10:
            size /= 2
        if following > current:
            break
        b, current = b - size * step, following
        if promised < 1e-12:
            break
    return b


def _fit_venn_abers(y: FloatArray, p: FloatArray) -> VennAbers:
    from forecastle.measure.isotonic import pool_ties

    cells = pool_ties(y, p)
    x, count, ones = cells.probabilities, cells.weights, cells.events
    upper = _values_with_a_one(count, ones)
    lower = 1.0 - _values_with_a_one(count[::-1], (count - ones)[::-1])[::-1]
    up, down = np.flatnonzero(np.diff(upper)), np.flatnonzero(np.diff(lower))
    return VennAbers(
        lower_scores=tuple(x[down].tolist()),
        lower_values=tuple(lower[np.append(down, x.size)].tolist()),
        upper_scores=tuple(x[up].tolist()),
        upper_values=tuple(upper[np.append(up, x.size)].tolist()),
    )


def _values_with_a_one(count: FloatArray, ones: FloatArray) -> FloatArray:
    """Isotonic value at each distinct score when one more outcome 1 is added there; the last is beyond all.

    In the diagram of cumulative (rows, ones) the added case shifts everything right of it by (1, 1). The
    value is the slope of the bridge between the lower hulls of both sides. Only the hull vertices (block
    ends) matter on the right, and only points of the own block on the left, so it is a running maximum of
    tangent slopes to one convex chain; each tangent is found by bisection, all at once: O(n log n) without a
    loop over rows.
    """
    from scipy.optimize import isotonic_regression

    blocks = isotonic_regression(ones / count, weights=count).blocks
    width = np.concatenate([[0.0], np.cumsum(count)])
    height = np.concatenate([[0.0], np.cumsum(ones)])
    chain_x, chain_y = width[blocks], height[blocks]
    x, y = width[:-1] - 1.0, height[:-1] - 1.0
    low = np.repeat(np.arange(1, blocks.size), np.diff(blocks))
    high = np.full_like(low, blocks.size - 1)
    while (low < high).any():
        middle = (low + high) // 2
        following = np.minimum(middle + 1, blocks.size - 1)
        rise, run = chain_y[following] - chain_y[middle], chain_x[following] - chain_x[middle]
        turned = rise * (chain_x[middle] - x) >= (chain_y[middle] - y) * run
        low, high = np.where(turned, low, middle + 1), np.where(turned, middle, high)
        low = np.minimum(low, high)
    slopes = (chain_y[low] - y) / (chain_x[low] - x)
    return np.append(np.maximum.accumulate(slopes), 1.0)


def _folds(y: FloatArray, codes: IntArray, *, folds: int, seed: int, grouped: bool) -> IntArray:
    """Fold of each row; whole groups together, else each outcome spread evenly."""
    units = int(codes.max()) + 1
    if not 2 <= folds <= units:
        raise MeasureError(
            f"folds must lie between 2 and the number of {'groups' if grouped else 'rows'}, got {folds} "
            f"for {units}: use fewer folds or more rows"
        )
    shuffled = np.random.default_rng(seed).permutation(units)
    if grouped:
        return np.asarray((np.argsort(shuffled) % folds)[codes])
    fold = np.empty(units, dtype=np.int64)
    fold[shuffled[np.argsort(y[shuffled], kind="stable")]] = np.arange(units) % folds
    return fold


def _held_out_losses(name: str, y: FloatArray, p: FloatArray, fold: IntArray) -> FloatArray:
    losses = np.empty_like(p)
    for number in range(int(fold.max()) + 1):
        held_out = fold == number
        calibrator = fit_calibrator(name, y[~held_out], p[~held_out])
        losses[held_out] = _log_losses(y[held_out], calibrator.apply(p[held_out]))
    return losses


def _log_losses(y: FloatArray, q: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(np.where(y == 1.0, q, 1.0 - q)))


def _candidate_table(losses: dict[str, FloatArray], raw: FloatArray, codes: IntArray) -> tuple[CandidateScore, ...]:
    best = losses[min(losses, key=lambda name: float(losses[name].mean()))]
    # Imported late: it needs SciPy, which a process that only applies calibrators does without.
    from forecastle.measure.intervals import clustered_mean

    rows = []
    for name, loss in losses.items():
        mean, excess, se = float(loss.mean()), 0.0, 0.0
        if loss is not best:
            excess, se = clustered_mean(loss - best, codes) if np.isfinite(mean) else (np.inf, 0.0)
        gain = float(raw.mean()) - mean if np.isfinite(mean) else 0.0
        rows.append(CandidateScore(name, CALIBRATORS[name].parameters, mean, excess, se, gain))
    return tuple(rows)


def _choice_reasons(
    chosen: CandidateScore, table: tuple[CandidateScore, ...], *, rows: int, folds: int
) -> tuple[str, ...]:
    best = min(table, key=lambda row: row.excess)
    reasons = [f"{best.name} has the lowest log loss, {best.log_loss:.6f}, over {folds} folds of {rows} rows"]
    if chosen.name != best.name:
        reasons.append(
            f"{chosen.name} has fewer parameters and is within one standard error of it "
            f"({chosen.excess:+.6f}, standard error {chosen.excess_se:.6f})"
        )
    reasons.extend(
        f"{row.name} is worse by {row.excess:.6f}, more than one standard error ({row.excess_se:.6f})"
        for row in table[: table.index(chosen)]
    )
    reasons.append(f"expected gain over the raw scores: {chosen.gain:.6f} nats a row")
    return tuple(reasons)
