"""The licence-free fixture that R, Python and this library agree on: MINSTD draws, no data file.

Belongs here: the generator (s0 = 12345, s <- 48271 s mod 2147483647, u = s / 2147483647; Park, Miller and
Stockmeyer 1993, CACM 36(7), p. 108) and the four forecasts made from it.
Does not belong here: expected values; each test states its own.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def triples() -> tuple[Array, Array, Array]:
    """2,000 triples (a, b, c) of consecutive MINSTD draws in (0, 1), as three new arrays."""
    draws = _draws().copy()
    return draws[0::3].copy(), draws[1::3].copy(), draws[2::3].copy()


def fixture() -> dict[str, Array]:
    """Outcomes `y` and probabilities `a` calibrated, `A` over-confident, `B` under-confident, `C` tied."""
    a, _, c = triples()
    return {
        "y": (c < a).astype(np.float64),
        "a": a,
        "A": a**2 * (3.0 - 2.0 * a),
        "B": 0.05 + 0.9 * a,
        "C": np.clip(np.round(20.0 * a) / 20.0, 0.05, 0.95),
    }


@functools.cache
def _draws() -> Array:
    state, states = 12345, []
    for _ in range(6000):
        state = 48271 * state % 2147483647
        states.append(state)
    return np.array(states) / 2147483647
