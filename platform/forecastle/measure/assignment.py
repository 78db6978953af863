"""Deterministic assignment of units to arms by a salted hash.

Belongs here: which arm a unit gets, one unit or many, the same in every process and on every machine.
Does not belong here: reading an experiment out (`experiment.py`) and routing a request (`serve/`).
The serving process imports this module, so it needs NumPy alone.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from forecastle.contract.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from forecastle.measure.arrays import FloatArray

Unit = str | int


def assignment_value(unit: Unit, *, salt: str) -> float:
    """Uniform number in [0, 1) that belongs to this unit under this salt: 53 bits of sha256("salt|unit").

    Different salts give independent numbers, so that experiments do not share their arms.

    Raises:
        MeasureError: the unit is neither text nor an integer, or the salt is empty or holds a "|".
    """
    return float(_values([unit], salt)[0])


def assign(unit: Unit, shares: Mapping[str, float], *, salt: str) -> str:
    """Arm of one unit; `shares` maps arm → share of the units, in the order of the arms, and adds up to 1.

    Growing the first of two arms keeps every unit that it has.

    Raises:
        MeasureError: as `assignment_value`, or shares that are not positive or do not add up to 1.
    """
    return str(assign_many([unit], shares, salt=salt)[0])


def assign_many(units: Iterable[Unit], shares: Mapping[str, float], *, salt: str) -> NDArray[np.str_]:
    """Arm of each unit, as an array of arm names; equal to `assign` of each.

    Raises:
        MeasureError: as `assign`.
    """
    names, thresholds = _arms(shares)
    return np.asarray(names)[np.searchsorted(thresholds, _values(units, salt), side="right")]


def _arms(shares: Mapping[str, float]) -> tuple[list[str], FloatArray]:
    total = sum(shares.values())
    if not shares or min(shares.values()) <= 0 or not abs(total - 1) < 1e-9:
        raise MeasureError(f"shares must be positive and add up to 1, got {dict(shares)}: remove arms without units")
    return list(shares), np.cumsum(list(shares.values()))[:-1]


def _values(units: Iterable[Unit], salt: str) -> FloatArray:
    if not salt or "|" in salt:
        raise MeasureError(f"salt must be text without '|', got {salt!r}: name the experiment")
    start = hashlib.sha256(f"{salt}|".encode())
    digests = b"".join(_digest(start.copy(), unit) for unit in units)
    return np.asarray((np.frombuffer(digests, dtype=">u8") >> np.uint64(11)) * 2.0**-53)


def _digest(state: hashlib._Hash, unit: Unit) -> bytes:
    if not isinstance(unit, str | int | np.integer):
        raise MeasureError(f"unit must be text or an integer, got {unit!r}: 5 and 5.0 must not be two units")
    state.update(str(unit).encode())
    return state.digest()[:8]
