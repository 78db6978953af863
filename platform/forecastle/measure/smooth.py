"""Smooth calibration error: calibration error at a bandwidth that the data choose.

Belongs here: smECE and the reflected Gaussian smoothing on [0, 1] that it needs.
Does not belong here: binned errors (`calibration_tests`), cumulative ones (`cumulative`).
Source: Błasiok and Nakkiran 2024, ICLR, arXiv:2309.12236.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import dct, idct

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_finite, as_probabilities, same_length

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray
    from forecastle.measure.isotonic import Cells

_GRID = 2**13


def smooth_calibration_error(cells: Cells) -> float:
    """SmECE of pooled cells, in [0, 1]: the bandwidth s at which the mean absolute smoothed residual equals
    s.

    Residuals p - y are spread over 8,192 points of [0, 1] and smoothed by the reflected Gaussian kernel of
    width s, so the result is exact to about 1e-4. 0 means that no smoothing scale sees a residual.
    """
    residuals = cells.weights * cells.probabilities - cells.events
    spectrum = reflected_spectrum(cells.probabilities, residuals / cells.total)

    def excess(bandwidth: float) -> float:
        return float(np.abs(smoothed(spectrum, bandwidth)).mean()) - bandwidth

    # Imported late, as in `isotonic`: definitions load without a fit.
    from scipy.optimize import brentq

    return float(brentq(excess, 0.0, 1.0, xtol=1e-12)) if excess(0.0) > 1e-12 else 0.0


def reflected_spectrum(positions: FloatArray, masses: FloatArray) -> FloatArray:
    """Cosine coefficients of `masses` at `positions` in [0, 1], each shared by two grid points.

    Raises:
        MeasureError: empty, missing or mismatched input, or positions outside [0, 1].
    """
    positions, masses = as_probabilities(positions, name="position"), as_finite(masses, name="mass")
    same_length(position=positions, mass=masses)
    place = np.clip(positions * _GRID - 0.5, 0.0, _GRID - 1.0)
    left = np.minimum(place.astype(np.int64), _GRID - 2)
    right_share = place - left
    grid = np.bincount(left, weights=masses * (1.0 - right_share), minlength=_GRID)
    grid += np.bincount(left + 1, weights=masses * right_share, minlength=_GRID)
    spectrum: FloatArray = dct(grid * _GRID, type=2)
    return spectrum


def smoothed(spectrum: FloatArray, bandwidth: float) -> FloatArray:
    """Density on the midpoints of the grid after Gaussian smoothing reflected at 0 and 1.

    Reflection makes smoothing diagonal in the cosine basis: coefficient k shrinks by exp(-(pi k s)²/2).

    Raises:
        MeasureError: a spectrum that `reflected_spectrum` did not make, or a bandwidth that is not a number.
    """
    if np.shape(spectrum) != (_GRID,) or not math.isfinite(bandwidth):
        raise MeasureError(
            f"got a spectrum of shape {np.shape(spectrum)} and bandwidth {bandwidth}; shape ({_GRID},), as "
            "`reflected_spectrum` makes it, and a finite bandwidth are allowed"
        )
    as_finite(spectrum, name="spectrum")
    waves = np.pi * np.arange(_GRID) * bandwidth
    density: FloatArray = idct(spectrum * np.exp(-0.5 * waves**2), type=2)
    return density


def grid_positions() -> FloatArray:
    """The midpoints at which `smoothed` gives its values."""
    return (np.arange(_GRID) + 0.5) / _GRID
