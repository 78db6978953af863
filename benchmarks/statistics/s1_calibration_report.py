"""S1: every number of the calibration report on a million predictions, beside what people use today.

Belongs here: our functions and their peers in one run on the same rows, medians and ratios.
Does not belong here: drift (s2), comparison (s3), bootstrap (s4).
Run: python -m benchmarks.statistics.s1_calibration_report [--rows 1000000] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve
from sklearn.metrics import log_loss as sklearn_log_loss

from benchmarks.table import measure_seconds, median_ratio, print_table
from forecastle.measure import (
    bands,
    calibration_tests,
    cumulative,
    curves,
    decomposition,
    isotonic,
    scores,
    smooth,
)
from forecastle.measure.calibration_report import calibration_report

if TYPE_CHECKING:
    from collections.abc import Callable

Array: TypeAlias = np.ndarray
Work: TypeAlias = "Callable[[], object]"
TARGETS_SECONDS = {"without bands": 1.5, "with bands": 5.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    y, p = _rows(arguments.rows)
    size = f"{arguments.rows:,} predictions, median of {arguments.repeats}"
    packages = ("numpy", "scipy", "scikit-learn", "pandas")
    print_table(f"S1: single numbers, {size}", _against_peers(y, p, arguments.repeats), packages=packages)
    print_table(f"S1: whole report, {size}", _whole_report(y, p, arguments.repeats), packages=packages)


def _rows(n: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(1)
    truth = generator.beta(1.5, 1.5, n)
    return (generator.random(n) < truth).astype(float), expit(1.3 * logit(truth))


def _against_peers(y: Array, p: Array, repeats: int) -> list[dict[str, object]]:
    rows = [_pair_row(*pair, repeats) for pair in _pairs(y, p)]
    for name, ours in _without_peer(y, p).items():
        rows.append({"what": name, "ours_seconds": statistics.median(measure_seconds(ours, repeats=repeats))})
    return rows


def _pairs(y: Array, p: Array) -> list[tuple[str, Work, str, Work]]:
    """Name, our work, the peer's name, its work; "sorted" means that the report has paid for the sort."""
    cells = isotonic.pool_ties(y, p)
    bins = {"n_bins": 15, "strategy": "quantile"}
    return [
        ("Brier score", lambda: scores.brier_score(y, p), "scikit-learn", lambda: brier_score_loss(y, p)),
        ("log loss", lambda: scores.log_loss(y, p), "scikit-learn", lambda: sklearn_log_loss(y, p)),
        (
            "AUC with interval",
            lambda: scores.auc_interval(y, p),
            "scikit-learn, AUC",
            lambda: roc_auc_score(y, p),
        ),
        ("ROC table", lambda: _our_roc(y, p), "scikit-learn", lambda: roc_curve(y, p)),
        ("isotonic fit", lambda: _our_fit(y, p), "scikit-learn", lambda: IsotonicRegression().fit(p, y)),
        ("CORP, both scores", lambda: _both(y, p), "scikit-learn parts", lambda: _peer_parts(y, p)),
        (
            "reliability",
            lambda: _our_curve(y, p),
            "scikit-learn, bins",
            lambda: calibration_curve(y, p, **bins),
        ),
        (
            "slope, sorted",
            lambda: calibration_tests.cox_calibration(cells),
            "scikit-learn",
            lambda: _peer_slope(y, p),
        ),
        (
            "in the large, sorted",
            lambda: calibration_tests.calibration_in_the_large(cells),
            "SciPy",
            lambda: _peer_large(y, p),
        ),
    ]


def _without_peer(y: Array, p: Array) -> dict[str, Work]:
    cells = isotonic.pool_ties(y, p)
    return {
        "ECCE-R and ECCE-MAD with p, sorted": lambda: cumulative.cumulative_calibration(cells),
        "smooth calibration error, sorted": lambda: smooth.smooth_calibration_error(cells),
        "1,000 bootstrap decompositions, sorted": lambda: _intervals(y, p, cells),
        "consistency band, 100 exact refits": lambda: bands.consistency_band(cells, seed=1),
        "honest band, 200 cells": lambda: bands.honest_band(cells),
    }


def _pair_row(name: str, ours: Work, peer: str, theirs: Work, repeats: int) -> dict[str, object]:
    own, other = measure_seconds(ours, repeats=repeats), measure_seconds(theirs, repeats=repeats)
    return {
        "what": name,
        "ours_seconds": statistics.median(own),
        "peer": peer,
        "peer_seconds": statistics.median(other),
        "times_faster": median_ratio(own, other),
    }


def _whole_report(y: Array, p: Array, repeats: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, with_bands in (("without bands", False), ("with bands", True)):
        seconds = measure_seconds(
            lambda with_bands=with_bands: calibration_report(y, p, bands=with_bands, seed=1), repeats=repeats
        )
        target = TARGETS_SECONDS[name]
        median = statistics.median(seconds)
        rows.append(
            {
                "report": name,
                "seconds": median,
                "slowest": max(seconds),
                "target": target,
                "met": median < target,
            }
        )
    return rows


def _our_roc(y: Array, p: Array) -> object:
    return curves.roc_curve(isotonic.pool_scores(y, p))


def _our_fit(y: Array, p: Array) -> object:
    return isotonic.isotonic_fit(isotonic.pool_ties(y, p))


def _our_curve(y: Array, p: Array) -> object:
    return curves.reliability_curve(isotonic.pool_ties(y, p))


def _intervals(y: Array, p: Array, cells: isotonic.Cells) -> object:
    return decomposition.decomposition_intervals(y, p, cells=cells, seed=1)


def _both(y: Array, p: Array) -> object:
    cells = isotonic.pool_ties(y, p)
    rates = isotonic.isotonic_fit(cells).rates
    return [decomposition.decompose_cells(cells, rule=rule, rates=rates) for rule in decomposition.RULES]


def _peer_parts(y: Array, p: Array) -> object:
    recalibrated = IsotonicRegression().fit_transform(p, y)
    constant = np.full_like(p, y.mean())
    return [[score(y, f) for f in (p, recalibrated, constant)] for score in (brier_score_loss, sklearn_log_loss)]


def _peer_slope(y: Array, p: Array) -> object:
    return LogisticRegression(C=np.inf, tol=1e-8).fit(logit(p)[:, None], y)


def _peer_large(y: Array, p: Array) -> object:
    x = logit(p)
    return minimize(
        lambda a: (np.logaddexp(0.0, x + a[0]) - y * (x + a[0])).mean(),
        x0=np.zeros(1),
        jac=lambda a: np.array([(expit(x + a[0]) - y).mean()]),
        method="BFGS",
    )


if __name__ == "__main__":
    main()
