"""A feature whose values are a known factor away from their reference has probably changed its unit.

Belongs here: the factors worth suspecting, the sizes of units, the sentence a person reads.
Does not belong here: evidence that the values moved at all (`drift.py`), unit declarations (`contract/`).
"""

from __future__ import annotations

import math

from forecastle.contract.errors import MeasureError

SUSPECTED_FACTORS = (7.0, 24.0, 60.0, 100.0, 1000.0, 3600.0)

# Units that are mistaken for each other, in the size of the first; contract units beside ones a contract cannot name.
_SIZES = (
    {
        "seconds": 1.0,
        "milliseconds": 0.001,
        "minutes": 60.0,
        "hours": 3600.0,
        "days": 86_400.0,
        "weeks": 604_800.0,
    },
    {"ratio": 1.0, "probability": 1.0, "percent": 0.01, "percentage_points": 0.01},
    *(
        {money: 1.0, f"hundredths of {money}": 0.01, f"thousands of {money}": 1000.0}
        for money in ("usd", "gbp", "ntd", "ngn")
    ),
    {"metres": 1.0, "kilometres": 1000.0},
)
_RATIO_BAND = 0.2  # relative; medians of a changed unit also drift a little


def suspected_factor(ratio: float, *, unit: str = "") -> float | None:
    """The suspected unit factor or its inverse within 20 % of `ratio` (current over reference), else None.

    Where `unit` is one whose relatives are known, only a factor that leads to one of them is suspected: days that grew
    sevenfold are no other unit, weeks that did are days.
    """
    if not (ratio > 0 and math.isfinite(ratio)):
        return None
    candidates = [factor for size in SUSPECTED_FACTORS for factor in (size, 1 / size)]
    nearest = min(candidates, key=lambda factor: abs(math.log(ratio / factor)))
    if abs(math.log(ratio / nearest)) > math.log1p(_RATIO_BAND):
        return None
    return nearest if _sizes_of(unit) is None or _unit_behind(nearest, unit) else None


def related_factors(unit: str) -> tuple[float, ...]:
    """By how much values of a unit change when they are written in one of its relatives, largest first.

    Only factors that `SUSPECTED_FACTORS` holds, or inverses of such; none for a unit without known relatives.
    """
    known = _sizes_of(unit)
    if known is None:
        return ()
    declared, sizes = known
    suspected = (*SUSPECTED_FACTORS, *(1 / factor for factor in SUSPECTED_FACTORS))
    factors = {declared / size for size in sizes.values()}
    return tuple(sorted((f for f in factors if any(math.isclose(f, s, rel_tol=1e-9) for s in suspected)), reverse=True))


def unit_sentence(factor: float, *, unit: str) -> str:
    """What to tell a person whose feature of `unit` arrived `factor` times too large.

    Raises:
        MeasureError: a factor that is not finite and above 0.
    """
    if not 0 < factor < math.inf:
        raise MeasureError(f"factor: got {factor}; a finite number above 0 is allowed; see `suspected_factor`")
    actual = _unit_behind(factor, unit)
    if actual:
        return f"values look like {actual}, contract says {unit}"
    said = f"contract says {unit}" if unit else "contract names no unit"
    shown = f"{factor:g} times" if factor > 1 else f"1/{1 / factor:g} of"
    return f"values are {shown} the reference's, as after a change of unit; {said}"


def _unit_behind(factor: float, unit: str) -> str | None:
    """A quantity written in a unit 60 times smaller gives values 60 times larger."""
    known = _sizes_of(unit)
    if known is None:
        return None
    declared, sizes = known
    return next((name for name, size in sizes.items() if math.isclose(size, declared / factor, rel_tol=1e-9)), None)


def _sizes_of(unit: str) -> tuple[float, dict[str, float]] | None:
    """The size of a unit and those of its relatives; "second" and "seconds" are the same word."""
    for sizes in _SIZES:
        for name, size in sizes.items():
            if name.rstrip("s") == unit.rstrip("s"):
                return size, sizes
    return None
