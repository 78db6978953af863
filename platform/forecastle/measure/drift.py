"""Has a feature moved away from its training data: one table over all features, with alarms and reasons.

Belongs here: tests of each feature, their tolerances, the correction for many tests, the sentence of each
alarm.
Does not belong here: references (`reference.py`), distances (`distance.py`), false alarms over many days
(`monitoring.py`), several features at once (`domain.py`), pictures (`draw/`).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError, did_you_mean
from forecastle.measure.arrays import as_option
from forecastle.measure.distance import (
    chi2_p_value,
    divergence,
    excess_p_value,
    ks_distance,
    ks_p_value,
    wasserstein_distance,
)
from forecastle.measure.intervals import two_proportions
from forecastle.measure.multiple import benjamini_hochberg
from forecastle.measure.reference import Reference, category_counts, reference, sorted_values
from forecastle.measure.units import related_factors, suspected_factor, unit_sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forecastle.measure.arrays import FloatArray, IntArray

__all__ = [
    "FEATURE_COLUMNS",
    "TEST_COLUMNS",
    "DriftTable",
    "Reference",
    "Tolerance",
    "drift_table",
    "reference",
    "unit_change",
]

FEATURE_COLUMNS = (
    "feature", "kind", "n_reference", "n_current", "null_rate_reference", "null_rate_current",
    "psi", "psi_null_corrected", "psi_p_value", "psi_tolerance_p_value", "jensen_shannon", "hellinger",
    "ks", "ks_p_value", "wasserstein_sd", "median_ratio", "tail_rate", "tail_rate_expected",
    "chi2_p_value", "l_infinity", "unseen_rate", "unseen_rate_expected",
    "p_value", "q_value", "alarm", "reason",
)  # fmt: skip
TEST_COLUMNS = ("feature", "test", "effect_size", "tolerance", "p_value", "q_value", "alarm", "reason")

_LEFT_SHARE = 1 / 3
_SMALL_CELL = 5  # below this expected count the chi2 law of a cell is a poor one (Cochran 1954)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Changes that nobody would act on; an alarm needs a larger effect and evidence for it.

    `psi`: population stability index beyond its sampling part (0.1 is a shift of about 0.32 sd). `null_rate`,
    `unseen_rate`, `tail_rate`: change in the share of rows, absolute, from what the reference lets expect.
    """

    psi: float = 0.1
    null_rate: float = 0.02
    unseen_rate: float = 0.005
    tail_rate: float = 0.005

    def __post_init__(self) -> None:
        for field in fields(self):
            as_option(getattr(self, field.name), name=f"tolerance {field.name}", high=np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class DriftTable:
    """The read-out: `features` has one row a feature (`FEATURE_COLUMNS`), `tests` one row a feature and test.

    Cells that do not apply are NaN (a category has no Kolmogorov-Smirnov distance). `q_value` is
    Benjamini-Hochberg over every test of the table. An `alarm` needs an effect above its tolerance and
    q <= alpha. A feature's `p_value` is the smallest among its tests with such an effect, times its number of
    tests (1 when there is none), its `q_value` the smallest of theirs.
    """

    features: pd.DataFrame
    tests: pd.DataFrame
    tolerance: Tolerance
    alpha: float

    @property
    def alarms(self) -> tuple[str, ...]:
        """Names of the alarming features, in table order."""
        return tuple(self.features.loc[self.features["alarm"], "feature"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line for each alarming test: `feature: reason`."""
        loud = self.tests[self.tests["alarm"]]
        return tuple(f"{name}: {reason}" for name, reason in zip(loud["feature"], loud["reason"], strict=True))


def drift_table(
    references: Mapping[str, Reference],
    current: Mapping[str, Any] | pd.DataFrame,
    *,
    tolerance: Tolerance | None = None,
    alpha: float = 0.01,
    independent_share: float = 1.0,
) -> DriftTable:
    """Compare the current values of every referenced feature with its reference.

    `current` maps feature names to columns of shape (n,), nulls allowed; columns without a reference are not
    looked at. Few rows cannot alarm by noise and many rows cannot alarm by a trifle: see `DriftTable`.

    `independent_share` is entities over rows where an entity stands in several: whether a feature is null is the same
    in all rows of an entity (nobody reports its trades), so that share of nulls are independent draws, on both sides
    (design effect, Kish 1965, Survey Sampling). Its values move and count row by row.

    Raises:
        MeasureError: no references, a referenced feature is not in `current`, has no rows, or has text for
            numbers; `independent_share` is not above 0 and at most 1.
    """
    if not references:
        raise MeasureError("got no references; at least one feature is needed; the bundle carries them")
    missing = [name for name in references if name not in current]
    if missing:
        hint = did_you_mean(missing[0], [str(name) for name in current])
        raise MeasureError(f"got no current values for the features {', '.join(missing)}; {hint}")
    as_option(alpha, name="alpha")
    if not 0 < independent_share <= 1:
        raise MeasureError(f"independent_share must be above 0 and at most 1, got {independent_share}; entities / rows")
    limits = tolerance or Tolerance()
    compared = {
        name: _compare(name, ref, current[name], limits, share=independent_share) for name, ref in references.items()
    }
    tests = _test_table(compared, alpha)
    return DriftTable(features=_feature_table(compared, tests), tests=tests, tolerance=limits, alpha=alpha)


def unit_change(ref: Reference, values: Any, *, alpha: float = 0.001) -> str | None:
    """What to tell a person when values of a feature look like the reference's in another unit, else None.

    One known factor (`units.SUSPECTED_FACTORS`) must halve the Kolmogorov-Smirnov distance, and the distance must be
    beyond chance (`alpha`). Rows may be others than the reference's: only a common factor is looked for.

    Raises:
        MeasureError: values are not numbers.
    """
    as_option(alpha, name="alpha")
    if ref.kind != "numeric" or not ref.n:
        return None
    ordered, _ = sorted_values(values)
    if not ordered.size:
        return None
    distance = ks_distance(np.array(ref.sample), ordered)
    numbers = {"ks": distance, "ks_p_value": ks_p_value(distance, ref.n, ordered.size)}
    found = _unit(ref, np.array(ref.sample), ordered, numbers)
    return found.seen if found.effect_size > found.tolerance and found.p_value < alpha else None


@dataclass(frozen=True, slots=True)
class _Test:
    """One question put to one feature, and what was seen in words."""

    test: str
    effect_size: float
    tolerance: float
    p_value: float
    seen: str


@dataclass(frozen=True, slots=True)
class _Compared:
    numbers: dict[str, Any]
    tests: tuple[_Test, ...]


def _compare(name: str, ref: Reference, values: Any, tolerance: Tolerance, *, share: float) -> _Compared:
    numbers: dict[str, Any] = {}
    tests: list[_Test] = []
    try:
        if ref.kind == "numeric":
            ordered, rows = sorted_values(values)
            n = ordered.size
            if n and ref.n:
                numbers, tests = _numeric(ref, ordered, tolerance)
        else:
            counts, rows = category_counts(values)
            n = sum(counts.values())
            if n and ref.n:
                numbers, tests = _category(ref, counts, tolerance)
    except MeasureError as error:
        raise MeasureError(f"{name}: {error}") from None
    nulls = _nulls(ref, rows - n, rows, tolerance, share=share)
    numbers |= {
        "feature": name, "kind": ref.kind, "n_reference": ref.n, "n_current": n,
        "null_rate_reference": ref.null_rate, "null_rate_current": 1 - n / rows,
    }  # fmt: skip
    return _Compared(numbers, (*tests, nulls))


def _numeric(ref: Reference, ordered: FloatArray, tolerance: Tolerance) -> tuple[dict[str, Any], list[_Test]]:
    n, m = ref.n, ordered.size
    sample = np.array(ref.sample)
    numbers = {"ks": ks_distance(sample, ordered)}
    numbers["ks_p_value"] = ks_p_value(numbers["ks"], n, m)
    distance = wasserstein_distance(sample, ordered)
    sd = ref.sd or 0.0
    numbers["wasserstein_sd"] = distance / sd if sd else (np.inf if distance else 0.0)
    upto = np.searchsorted(ordered, np.array(ref.edges), side="right")
    shape = _shape(ref.counts, np.diff(upto, prepend=0, append=m), tolerance, numbers)
    unit = _unit(ref, sample, ordered, numbers)
    return numbers, [shape, _tails(ref, ordered, tolerance, numbers), unit]


def _category(ref: Reference, counts: dict[str, int], tolerance: Tolerance) -> tuple[dict[str, Any], list[_Test]]:
    n, m = ref.n, sum(counts.values())
    known = set(ref.categories)
    unseen = {name: count for name, count in counts.items() if name not in known}
    before, now = _cells(ref, counts, unseen)
    # A category met once was unseen by all other rows: their share is what new rows will hold (Good 1953).
    expected = ref.counts[-1] + ref.counts[:-1].count(1)
    share = sum(unseen.values()) / m
    numbers: dict[str, Any] = {
        "chi2_p_value": chi2_p_value(*_pooled(before, now)),
        "l_infinity": float(np.max(np.abs(before / n - now / m))),
        "unseen_rate": share,
        "unseen_rate_expected": expected / n,
    }
    shape = _shape(*_pooled(before, now), tolerance, numbers)
    if ref.counts[-1]:
        # The kept categories were partly frequent by luck: more than the expected share falls outside them.
        return numbers, [shape]
    names = sorted(unseen, key=lambda name: (-unseen[name], name))
    shown = ", ".join(repr(name) for name in names[:3]) + (", …" if len(names) > 3 else "")
    seen = f"{share:.2%} of rows hold categories not in the reference ({shown}), {expected / n:.2%} expected"
    p_value = excess_p_value(expected, n, sum(unseen.values()), m)
    return numbers, [shape, _Test("unseen", share - expected / n, tolerance.unseen_rate, p_value, seen)]


def _cells(ref: Reference, counts: dict[str, int], unseen: dict[str, int]) -> tuple[IntArray, IntArray]:
    """Counts by category on both sides; unseen ones share a cell with those the reference did not keep."""
    before, now = list(ref.counts), [counts.get(name, 0) for name in ref.categories]
    if ref.counts[-1]:
        return np.array(before), np.array([*now, sum(unseen.values())])
    return np.array([*before[:-1], *[0] * len(unseen)]), np.array([*now, *unseen.values()])


def _shape(before: Any, now: Any, tolerance: Tolerance, numbers: dict[str, Any]) -> _Test:
    found = divergence(before, now, tolerance=tolerance.psi)
    numbers |= {
        "psi": found.psi, "psi_null_corrected": found.psi_null_corrected, "psi_p_value": found.p_value,
        "psi_tolerance_p_value": found.tolerance_p_value, "jensen_shannon": found.jensen_shannon,
        "hellinger": found.hellinger,
    }  # fmt: skip
    seen = f"PSI {found.psi:.3g} over {found.cells} cells, {found.psi_null_corrected:.3g} beyond sampling"
    return _Test("distribution", found.psi_null_corrected, tolerance.psi, found.tolerance_p_value, seen)


def _tails(ref: Reference, ordered: FloatArray, tolerance: Tolerance, numbers: dict[str, Any]) -> _Test:
    m = ordered.size
    low, high = np.asarray((ref.low, ref.high), np.float64)
    below, upto = np.searchsorted(ordered, low, side="left"), np.searchsorted(ordered, high, side="right")
    beyond = int(below + m - upto)
    spacings = ref.below + ref.above + 2
    expected = min(1.0, spacings / (ref.n + 1))
    numbers |= {"tail_rate": beyond / m, "tail_rate_expected": expected}
    seen = (
        f"{beyond / m:.2%} of values lie outside {low:.6g} to {high:.6g}, {expected:.2%} expected: "
        "part of the rows may come in another unit or from another source"
    )
    p_value = excess_p_value(spacings - 1, ref.n, beyond, m)
    return _Test("tails", beyond / m - expected, tolerance.tail_rate, p_value, seen)


def _unit(ref: Reference, sample: FloatArray, ordered: FloatArray, numbers: dict[str, Any]) -> _Test:
    """A unit change is suspected when one factor explains most of the distance, not by the medians alone."""
    numbers["median_ratio"] = float(np.median(ordered)) / ref.median if ref.median else np.nan
    mean_ratio = float(ordered.mean()) / ref.mean if ref.mean else np.nan
    ratio = numbers["median_ratio"] if ref.median else mean_ratio
    factor = suspected_factor(ratio, unit=ref.unit) or _explaining_factor(ref, sample, ordered)
    if factor is None or ks_distance(sample, ordered / factor) > numbers["ks"] / 2:
        return _Test("unit", 1.0, 1.0, 1.0, "no known unit factor")
    # Both directions are the same size of fault, so the effect is how many times off, never less than 1.
    times_off, seen = max(factor, 1 / factor), unit_sentence(factor, unit=ref.unit)
    return _Test("unit", times_off, 1.0, numbers["ks_p_value"], seen)


def _explaining_factor(ref: Reference, sample: FloatArray, ordered: FloatArray) -> float | None:
    """A factor to a relative of the unit that leaves a third of the distance at most: medians of few rows vary."""
    left = {factor: ks_distance(sample, ordered / factor) for factor in related_factors(ref.unit)}
    best = min(left, key=lambda factor: left[factor], default=None)
    return best if best is not None and left[best] <= _LEFT_SHARE * ks_distance(sample, ordered) else None


def _nulls(ref: Reference, nulls: int, rows: int, tolerance: Tolerance, *, share: float) -> _Test:
    counts = (_fewer(count, share) for count in (nulls, rows, ref.nulls, ref.rows))
    p_value = float(two_proportions(*counts).p_value)
    seen = f"null rate {nulls / rows:.2%}, {ref.null_rate:.2%} in the reference"
    return _Test("nulls", abs(nulls / rows - ref.null_rate), tolerance.null_rate, p_value, seen)


def _fewer(count: int, share: float) -> int:
    """How many independent draws rows are worth; any row is worth one."""
    return max(round(count * share), min(count, 1))


def _pooled(before: Any, now: Any) -> tuple[Any, Any]:
    """Cells too small for the chi2 law joined into one last cell."""
    smaller_share = min(before.sum(), now.sum()) / (before.sum() + now.sum())
    large = (before + now) * smaller_share >= _SMALL_CELL
    return np.append(before[large], before[~large].sum()), np.append(now[large], now[~large].sum())


def _test_table(compared: Mapping[str, _Compared], alpha: float) -> pd.DataFrame:
    flat = [(name, test) for name, found in compared.items() for test in found.tests]
    q_values = benjamini_hochberg([test.p_value for _, test in flat])
    rows = [
        (name, *astuple(test)[:4], q, _is_alarm(test, q, alpha), _reason(test, q, alpha))
        for (name, test), q in zip(flat, q_values.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=list(TEST_COLUMNS))


def _is_alarm(test: _Test, q_value: float, alpha: float) -> bool:
    return test.effect_size > test.tolerance and q_value <= alpha


def _reason(test: _Test, q_value: float, alpha: float) -> str:
    if test.effect_size <= test.tolerance:
        return "within tolerance"
    if q_value > alpha:
        return f"{test.seen}; too few rows to tell (q {q_value:.2g})"
    return f"{test.seen} (tolerance {test.tolerance:g}, q {q_value:.2g})"


def _feature_table(compared: Mapping[str, _Compared], tests: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, own in tests.groupby("feature", sort=False):
        numbers = compared[str(name)].numbers
        large = own[own["effect_size"] > own["tolerance"]]
        said = large[large["alarm"]] if large["alarm"].any() else large
        evidence = {
            "p_value": min(1.0, float(large["p_value"].min()) * len(own)) if len(large) else 1.0,
            "q_value": float(large["q_value"].min()) if len(large) else 1.0,
            "alarm": bool(large["alarm"].any()),
            "reason": "; ".join(said["reason"]) or _quiet(numbers),
        }
        rows.append(numbers | evidence)
    return pd.DataFrame(rows, columns=list(FEATURE_COLUMNS))


def _quiet(numbers: Mapping[str, Any]) -> str:
    if "psi" in numbers:
        return "within tolerance"
    return f"nothing to compare: no value in the {'current rows' if numbers['n_reference'] else 'reference'}"
