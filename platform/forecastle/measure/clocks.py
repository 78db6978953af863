"""Do two clocks of the same rows run in one zone? A clock in the wrong one is whole or half hours off, for all rows.

Belongs here: the densest gap between two clocks, how near it lies to a shift of zone, rows of the future.
Does not belong here: which columns are clocks (`contract/`), reading them (`store/`), whether a check blocks.

Method: what is recorded when it happens is recorded within minutes, so the gaps of two clocks of one zone crowd near
zero. If at least half of the gaps lie within a quarter of an hour of each other, and the median of those is within five
minutes of a multiple of 30 minutes other than zero, up to 14 hours, that multiple is the suspected shift. Limits: two
clocks whose gaps never crowd (a nightly load, say) say nothing; a delay of exactly one hour looks like a shift of one;
zones that are a quarter of an hour off (Nepal) are not looked for; of a shift that comes and goes with summer time the
longer half is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_option

STEP_SECONDS: Final = 1800.0
WIDTH_SECONDS: Final = 900.0
NEAR_SECONDS: Final = 300.0
FARTHEST_SECONDS: Final = 14 * 3600.0
SHARE_MIN: Final = 0.5
ROWS_MIN: Final = 30


@dataclass(frozen=True, slots=True)
class ClockGap:
    """How far the second clock runs ahead of the first.

    `gap_seconds` is the median of the densest quarter of an hour of gaps, `share` the part of all rows that lie in it,
    `shift_seconds` the suspected shift of zone (None: none, or nothing can be said), `crowded` whether something can.
    """

    rows: int
    gap_seconds: float
    share: float
    crowded: bool
    shift_seconds: float | None

    def sentence(self, first: str, second: str) -> str:
        """What to tell a person; `first` and `second` name the clocks."""
        if self.rows < ROWS_MIN:
            return f"{second} and {first} are compared on {self.rows} rows, which is too few to say anything."
        if not self.crowded:
            return f"{second} and {first} have no common delay: nothing is said of their zones."
        said = f"{second} is {_span(self.gap_seconds)} {first} for {self.share:.0%} of the rows"
        if self.shift_seconds is None:
            return f"{said}: one zone."
        hours = abs(self.shift_seconds) / 3600
        return f"{said}: one of the two clocks is probably {hours:g} h off, as one in the wrong time zone is."


def clock_gap(first_seconds: ArrayLike, second_seconds: ArrayLike) -> ClockGap:
    """Compare two clocks of the same rows, both in seconds since one instant; rows with a NaN are left out.

    Raises:
        MeasureError: the two are not equally long.
    """
    first, second = _seconds(first_seconds), _seconds(second_seconds)
    if first.shape != second.shape or first.ndim != 1:
        raise MeasureError(f"got clocks of shape {first.shape} and {second.shape}; give one time a row for both")
    gaps = np.sort(second - first)
    gaps = gaps[np.isfinite(gaps)]
    if not len(gaps):
        return ClockGap(0, 0.0, 0.0, crowded=False, shift_seconds=None)
    inside = _densest(gaps)
    gap, share = float(np.median(inside)), len(inside) / len(gaps)
    crowded = len(gaps) >= ROWS_MIN and share >= SHARE_MIN
    return ClockGap(len(gaps), gap, share, crowded, _shift(gap) if crowded else None)


def ahead_rows(seconds: ArrayLike, limit_seconds: ArrayLike, *, allowed_seconds: float = NEAR_SECONDS) -> int:
    """How many times lie further beyond their limit (one, or one a row) than two good clocks can differ.

    Raises:
        MeasureError: limits are neither one nor as many as times, or a negative or missing allowance.
    """
    as_option(allowed_seconds, name="allowed_seconds", high=np.inf)
    times, limits = _seconds(seconds), _seconds(limit_seconds)
    if limits.ndim and limits.shape != times.shape:
        raise MeasureError(f"got {times.shape} times and {limits.shape} limits; give one limit, or one a time")
    return int(np.count_nonzero(times - limits > allowed_seconds))


def _seconds(values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MeasureError(f"got times that are no numbers ({error}); give seconds since one instant") from None


def _densest(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """The most populous stretch of `WIDTH_SECONDS`; of equally populous ones the nearest to zero."""
    ends = np.searchsorted(ordered, ordered + WIDTH_SECONDS, side="right")
    counts = ends - np.arange(len(ordered))
    candidates = np.flatnonzero(counts == counts.max())
    start = int(candidates[np.argmin(np.abs(ordered[candidates]))])
    return ordered[start : int(ends[start])]


def _shift(gap: float) -> float | None:
    nearest = round(gap / STEP_SECONDS) * STEP_SECONDS
    near = abs(gap - nearest) <= NEAR_SECONDS and 0 < abs(nearest) <= FARTHEST_SECONDS
    return nearest if near else None


def _span(seconds: float) -> str:
    """A gap in words that need no arithmetic."""
    size = abs(seconds)
    shown = f"{size / 3600:.2f} h" if size >= 3600 else f"{size / 60:.1f} min"
    return f"{shown} {'behind' if seconds < 0 else 'ahead of'}"
