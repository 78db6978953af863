"""One sentence on calibration that a person can act on, with its status and reasons.

Belongs here: how findings (ranges, cumulative error, smooth error, tolerance) become a verdict.
Does not belong here: the findings (`bands`, `cumulative`, `smooth`), gates that act on a verdict (`promote/`).
A p-value alone is never the alarm: it needs evidence and an effect above the tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from forecastle.measure.arrays import as_option
from forecastle.measure.scores import normal_quantile

if TYPE_CHECKING:
    from forecastle.measure.bands import HonestBand, MiscalibratedRange
    from forecastle.measure.calibration_tests import CoxCalibration
    from forecastle.measure.cumulative import CumulativeCalibration
    from forecastle.measure.isotonic import Cells

Status: TypeAlias = Literal["calibrated", "immaterial", "miscalibrated"]
_SHOWN_RANGES = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """`status`, the `sentence` that heads the report, and the findings it rests on.

    "calibrated": no evidence against it. "immaterial": evidence, but the smooth calibration error is within
    tolerance. "miscalibrated": evidence, and the error is above it.
    """

    status: Status
    sentence: str
    reasons: tuple[str, ...]


def calibration_verdict(
    cells: Cells,
    cumulative: CumulativeCalibration,
    smooth_error: float,
    band: HonestBand | None,
    *,
    slope: CoxCalibration | None = None,
    level: float,
    tolerance: float,
) -> Verdict:
    """The verdict on pooled cells from their cumulative error, smooth error (smECE) and honest band."""
    normal_quantile(level)
    as_option(tolerance, name="tolerance")
    ranges = band.miscalibrated if band else ()
    has_evidence = bool(ranges) or cumulative.range_p_value < 1.0 - level
    status: Status = (
        "calibrated" if not has_evidence else "immaterial" if smooth_error <= tolerance else "miscalibrated"
    )
    heads = {
        "calibrated": f"No evidence of miscalibration in {cells.rows:,} rows",
        "immaterial": "Miscalibrated by less than the tolerance",
        "miscalibrated": "Miscalibrated",
    }
    finding = _finding(cells, ranges, slope, level) if has_evidence else _average(cells)
    size = f"smooth calibration error {smooth_error:.3g}, tolerance {tolerance:g}"
    return Verdict(
        status=status,
        sentence=f"{heads[status]}: {finding} ({size}).",
        reasons=(
            f"ECCE-R is {cumulative.range_in_sigma:.2f} sigma (p = {cumulative.range_p_value:.3g})",
            _band_reason(band),
            size,
        ),
    )


def _finding(cells: Cells, ranges: tuple[MiscalibratedRange, ...], slope: CoxCalibration | None, level: float) -> str:
    if not ranges:
        return f"{_shape(slope, level)}{_average(cells)}, and no single range stands out"
    ranges = _joined(ranges)
    widest = sorted(ranges, key=lambda item: item.low - item.high)[:_SHOWN_RANGES]
    shown = [_range_text(item) for item in sorted(widest, key=lambda item: item.low)]
    more = f" and in {len(ranges) - len(shown)} more ranges" if len(ranges) > len(shown) else ""
    return "forecasts are " + ", ".join(shown) + more


def _joined(ranges: tuple[MiscalibratedRange, ...]) -> tuple[MiscalibratedRange, ...]:
    """Neighbouring ranges of one direction as one, where the two decimals that are shown leave no gap."""
    joined: list[MiscalibratedRange] = []
    for item in ranges:
        last = joined[-1] if joined else None
        if last and last.direction == item.direction and round(item.low, 2) <= round(last.high, 2):
            joined[-1] = replace(last, high=item.high)
        else:
            joined.append(item)
    return tuple(joined)


def _shape(slope: CoxCalibration | None, level: float) -> str:
    if slope is None or abs(slope.slope - 1.0) <= normal_quantile(level) * slope.slope_standard_error:
        return ""
    word = "over-confident" if slope.slope < 1.0 else "under-confident"
    return f"forecasts are {word} (calibration slope {slope.slope:.2f}), "


def _range_text(item: MiscalibratedRange) -> str:
    words = item.direction.replace("_", " ")
    is_upper, is_lower = item.low >= 0.5, item.high <= 0.5
    too_high = item.direction == "too_high"
    confidence = ""
    if is_upper or is_lower:
        confidence = "over-confident, " if too_high == is_upper else "under-confident, "
    return f"{confidence}{words} between {item.low:.2f} and {item.high:.2f}"


def _average(cells: Cells) -> str:
    return f"mean forecast {cells.mean_probability:.3f}, event rate {cells.base_rate:.3f}"


def _band_reason(band: HonestBand | None) -> str:
    if band is None:
        return "no honest band was computed"
    if not band.miscalibrated:
        return f"the honest {band.level:.0%} band holds the diagonal everywhere"
    return f"the honest {band.level:.0%} band excludes the diagonal in {len(band.miscalibrated)} range(s)"
