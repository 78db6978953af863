"""Curves as tidy tables, ready to be drawn: reliability, ROC, Murphy, cumulative differences, histogram.

Belongs here: tables with fixed columns, thinned so that a picture of a million rows stays small.
Does not belong here: intervals and tests (`bands`, `cumulative`), pictures (`draw/`).
Which curves, and why these: Dimitriadis, Gneiting, Jordan and Vogel 2024 (triptych),
doi:10.1016/j.ijforecast.2023.09.007.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.isotonic import Cells, isotonic_fit
from forecastle.measure.scores import elementary_scores_of

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray, IntArray
    from forecastle.measure.isotonic import IsotonicFit

POINTS = 1000


def reliability_curve(cells: Cells, *, fit: IsotonicFit | None = None) -> pd.DataFrame:
    """One row for each isotonic block: `probability_low`, `probability_high`, `event_rate`, `weight`,
    `events`.

    Between `probability_low` and `probability_high` (the block's first and last probability, both in it)
    forecasts come true at `event_rate`; `weight` is the number of rows when unweighted. `fit` is the isotonic
    fit, when known.
    """
    fit = isotonic_fit(cells) if fit is None else fit
    last = np.append(fit.starts[1:], cells.probabilities.size) - 1
    return pd.DataFrame(
        {
            "probability_low": cells.probabilities[fit.starts],
            "probability_high": cells.probabilities[last],
            "event_rate": fit.rates[fit.starts],
            "weight": np.add.reduceat(cells.weights, fit.starts),
            "events": np.add.reduceat(cells.events, fit.starts),
        }
    )


def probability_histogram(cells: Cells, *, bins: int = 50) -> pd.DataFrame:
    """`bins` equal-width bins of [0, 1]: `probability_low`, `probability_high`, `weight`, `events`.

    A bin holds its lower edge and not its upper one; the last holds both.
    """
    if bins < 1:
        raise MeasureError(f"bins: got {bins}; at least 1 is allowed; 50 shows most shapes")
    bin_of_cell = np.minimum((cells.probabilities * bins).astype(np.int64), bins - 1)
    edges = np.arange(bins + 1) / bins
    return pd.DataFrame(
        {
            "probability_low": edges[:-1],
            "probability_high": edges[1:],
            "weight": np.bincount(bin_of_cell, weights=cells.weights, minlength=bins),
            "events": np.bincount(bin_of_cell, weights=cells.events, minlength=bins),
        }
    )


def roc_curve(cells: Cells, *, points: int = POINTS) -> pd.DataFrame:
    """`threshold`, `false_positive_rate`, `true_positive_rate` for the rule "positive when score >=
    threshold".

    Starts at (0, 0) with an infinite threshold and ends at (1, 1); at most about 2 `points` rows, spread
    evenly over both rates. Cells of any finite score (`pool_scores`) are welcome.

    Raises:
        MeasureError: outcomes of one class only.
    """
    non_events = cells.weights - cells.events
    positives, negatives = float(cells.events.sum()), float(non_events.sum())
    if min(positives, negatives) <= 0.0:
        raise MeasureError(
            f"ROC curve: got {positives:g} positive and {negatives:g} negative outcomes; both are needed; "
            "widen the window, or leave the curve out"
        )
    true_rate = np.concatenate([[0.0], np.cumsum(cells.events[::-1]) / positives])
    false_rate = np.concatenate([[0.0], np.cumsum(non_events[::-1]) / negatives])
    threshold = np.concatenate([[np.inf], cells.probabilities[::-1]])
    kept = np.union1d(_thinned(true_rate, points), _thinned(false_rate, points))
    return pd.DataFrame(
        {
            "threshold": threshold[kept],
            "false_positive_rate": np.minimum(false_rate[kept], 1.0),
            "true_positive_rate": np.minimum(true_rate[kept], 1.0),
        }
    )


def murphy_curve(cells: Cells, *, points: int = 501, fit: IsotonicFit | None = None) -> pd.DataFrame:
    """Mean elementary score by `threshold`: `score`, `recalibrated_score`, `reference_score` (constant base
    rate).

    The areas under the three columns are the Brier score, its value after isotonic recalibration, and its
    uncertainty (Ehm et al. 2016, JRSS B 78, 505), so gaps between them are miscalibration and discrimination.
    """
    if points < 2:
        raise MeasureError(f"points: got {points}; at least 2 are allowed; 501 draws well")
    fit = isotonic_fit(cells) if fit is None else fit
    thresholds = np.linspace(0.0, 1.0, points)
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "score": elementary_scores_of(cells, thresholds),
            "recalibrated_score": elementary_scores_of(_with_forecast(cells, fit.rates), thresholds),
            "reference_score": elementary_scores_of(_constant(cells), thresholds),
        }
    )


def cumulative_curve(cells: Cells, *, points: int = POINTS) -> pd.DataFrame:
    """Cumulative differences in the order of probability: `share`, `probability`, `difference`.

    `difference` is the sum of weight x (outcome - probability) over forecasts up to `probability`, over the
    total weight; its slope against `share` is the miscalibration there. Starts at (0, 0); the extremes are
    always kept.
    Source: Arrieta-Ibarra, Gujral, Tannen, Tygert and Xu 2022, JMLR 23(351).
    """
    share = np.concatenate([[0.0], np.cumsum(cells.weights) / cells.total])
    difference = np.concatenate([[0.0], np.cumsum(cells.events - cells.weights * cells.probabilities) / cells.total])
    probability = np.concatenate([[0.0], cells.probabilities])
    extremes = np.array([np.argmin(difference), np.argmax(difference)])
    kept = np.union1d(_thinned(share, points), extremes)
    return pd.DataFrame({"share": share[kept], "probability": probability[kept], "difference": difference[kept]})


def _with_forecast(cells: Cells, forecast: FloatArray) -> Cells:
    return Cells(forecast, cells.weights, cells.events, cells.squared_weights, cells.rows, cells.is_weighted)


def _constant(cells: Cells) -> Cells:
    return Cells(
        np.array([cells.base_rate]),
        np.array([cells.total]),
        np.array([cells.events.sum()]),
        np.array([cells.squared_weights.sum()]),
        cells.rows,
        cells.is_weighted,
    )


def _thinned(increasing: FloatArray, points: int) -> IntArray:
    """Positions of at most `points` + 1 entries, evenly spread over the range, first and last among them."""
    if increasing.size <= points:
        return np.arange(increasing.size)
    targets = np.linspace(increasing[0], increasing[-1], points)
    found = np.minimum(np.searchsorted(increasing, targets), increasing.size - 1)
    return np.unique(np.concatenate([[0], found, [increasing.size - 1]]))
