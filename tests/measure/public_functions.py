"""Every public function of the room with one valid call, so that no function escapes a test of all of them.

Belongs here: discovery of the functions (`public_functions`) and `CALLS`, one working call for each.
Does not belong here: what is asked of them (`test_inputs.py`, `test_documented.py`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression

from forecastle import measure
from forecastle.measure.bands import honest_band
from forecastle.measure.calibrators import Platt
from forecastle.measure.cumulative import cumulative_calibration
from forecastle.measure.experiment import ArmSummary
from forecastle.measure.fairness import group_rates
from forecastle.measure.isotonic import pool_ties
from forecastle.measure.lift import aipw
from forecastle.measure.nuisance import Nuisance, default_models
from forecastle.measure.quality import judge_quality
from forecastle.measure.ranking import rank_users
from forecastle.measure.reference import reference
from forecastle.measure.refutation import Study
from forecastle.measure.segments import segment_calibration

ROWS = 240
_RNG = np.random.default_rng(7)
P = np.round(_RNG.uniform(0.05, 0.95, ROWS), 3)
Q = np.round(0.5 * P + 0.2, 3)
Y = (_RNG.random(ROWS) < P).astype(float)
T = (np.arange(ROWS) % 2).astype(float)
X = _RNG.normal(size=ROWS)
GROUP = np.array(["east", "west", "north"])[np.arange(ROWS) % 3]
DAY = np.array([f"d{i // 8:02d}" for i in range(ROWS)])
AT = pd.date_range("2026-01-01", periods=ROWS, freq="6h", tz="UTC")
PROFILE = pd.DataFrame({
    "table": "source/x", "column": "c", "measure": "null_rate", "day": AT[::8].date, "rows": 100, "found": 1,
})  # fmt: skip
ODDS = 1.0 / np.clip(P + 0.02, 0.0, 0.99)
W = _RNG.uniform(0.5, 2.0, ROWS)
COVARIATES = _RNG.normal(size=(ROWS, 2))
CLASSES = np.column_stack([P, (1 - P) * 0.6, (1 - P) * 0.4])
LABELS = np.array(["a", "b", "c"])
KIND = LABELS[np.where(Y == 1, 0, 1 + np.arange(ROWS) % 2)]
NUISANCE = Nuisance(np.full(ROWS, 0.5), Q, P)
ARMS = (ArmSummary(100, 0.2, 0.16), ArmSummary(120, 0.25, 0.19))
FRAME, LATER = (pd.DataFrame({"x": _RNG.normal(size=ROWS), "z": X}) for _ in range(2))
CELLS = pool_ties(Y, P)


@dataclass(frozen=True)
class Call:
    """Arguments of one working call."""

    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


def call(*args: Any, **options: Any) -> Call:
    """The arguments of `function(*args, **options)`."""
    return Call(args, options)


def public_functions() -> dict[str, Any]:
    """`module.function` of every public function defined in the modules of the room."""
    found = {}
    for info in pkgutil.iter_modules(measure.__path__):
        module = importlib.import_module(f"{measure.__name__}.{info.name}")
        for name, member in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("_") and member.__module__ == module.__name__:
                found[f"{info.name}.{name}"] = member
    return found


def _verdict_call() -> Call:
    return call(CELLS, cumulative_calibration(CELLS), 0.01, honest_band(CELLS), level=0.95, tolerance=0.02)


CALLS: dict[str, Call] = {
    "arrays.as_codes": call(GROUP, name="group"),
    "arrays.as_finite": call(X, name="x"),
    "arrays.as_numbers": call(COVARIATES, name="x"),
    "arrays.as_option": call(0.5, name="share"),
    "arrays.as_outcomes": call(Y),
    "arrays.as_probabilities": call(P),
    "arrays.as_weights": call(W, n=ROWS),
    "arrays.same_length": call(outcomes=Y, probabilities=P),
    "assignment.assign": call("user-1", {"a": 0.5, "b": 0.5}, salt="s"),
    "assignment.assign_many": call(["u", "v"], {"a": 0.5, "b": 0.5}, salt="s"),
    "assignment.assignment_value": call("user-1", salt="s"),
    "backtest.deflated_sharpe_test": call(X, np.linspace(-0.1, 0.2, 9)),
    "backtest.expected_best_sharpe": call(10, variance=0.1),
    "backtest.overfitting_probability": call(_RNG.normal(size=(64, 4)), blocks=4),
    "backtest.probabilistic_sharpe": call(0.1, 100),
    "backtest.sharpe_test": call(X),
    "bands.asymptotic_consistency_band": call(CELLS),
    "bands.chernoff_quantile": call(0.95),
    "bands.consistency_band": call(CELLS, resamples=20, seed=1),
    "bands.honest_band": call(CELLS),
    "bootstrap.interval_of": call(0.1, X, level=0.9, n=ROWS, clusters=None),
    "bootstrap.mean_interval": call(X, weights=W, clusters=DAY, resamples=50, seed=1),
    "bootstrap.resample_counts": call(5, resamples=3, seed=1),
    "bootstrap.score_intervals": call(Y, P, clusters=DAY, resamples=50, seed=1),
    "bootstrap.sums_interval": call(
        np.column_stack([X, np.ones(ROWS)]), lambda sums: sums[:, 0] / sums[:, 1], clusters=DAY, resamples=50, seed=1
    ),
    "calibration_report.calibration_report": call(
        Y, P, at=AT, segments={"side": GROUP}, clusters=DAY, baselines={"market": Q}, bands=False, seed=1
    ),
    "calibration_tests.binned_calibration": call(CELLS),
    "calibration_tests.calibration_in_the_large": call(CELLS),
    "calibration_tests.cox_calibration": call(CELLS),
    "calibration_tests.expected_over_observed": call(CELLS),
    "calibration_tests.hosmer_lemeshow": call(CELLS),
    "calibration_tests.ratio": call(2.0, 4.0),
    "calibration_tests.spiegelhalter_test": call(CELLS),
    "calibration_verdict.calibration_verdict": _verdict_call(),
    "calibrators.calibrator_from_json": call(Platt(1.0, 0.0).to_json()),
    "calibrators.inside": call(P),
    "calibrators.log_odds": call(P),
    "calibrators.sigmoid": call(X),
    "clocks.ahead_rows": call(X, W),
    "clocks.clock_gap": call(X, P),
    "comparison.compare_forecasts": call(Y, P, Q, clusters=DAY, seed=1),
    "comparison.paired_test": call(X),
    "comparison.score_differences": call(Y, P, Q),
    "confidence_sequence.asymptotic_half_width": call(np.array([0.1]), np.array([100.0])),
    "confidence_sequence.asymptotic_log_e": call(np.array([1.0]), np.array([100.0])),
    "confidence_sequence.asymptotic_sequence": call(X),
    "confidence_sequence.boundary": call(np.array([1.0, 10.0]), width=2.0),
    "confidence_sequence.confidence_sequence": call(P - Q, width=2.0),
    "confidence_sequence.log_mixture": call(np.array([1.0]), np.array([10.0]), width=2.0),
    "cumulative.brownian_maximum_survival": call(np.array([0.5, 1.5])),
    "cumulative.brownian_range_survival": call(np.array([0.5, 1.5])),
    "cumulative.cumulative_calibration": call(CELLS),
    "cumulative.in_sigma": call(0.1, 0.2),
    "curves.cumulative_curve": call(CELLS),
    "curves.murphy_curve": call(CELLS),
    "curves.probability_histogram": call(CELLS),
    "curves.reliability_curve": call(CELLS),
    "curves.roc_curve": call(CELLS),
    "decomposition.decompose": call(Y, P, weights=W),
    "decomposition.decompose_cells": call(CELLS),
    "decomposition.decompose_forecasts": call(Y, {"one": P, "two": Q}, weights=W),
    "decomposition.decompose_slices": call(Y, P, GROUP, weights=W),
    "decomposition.decomposition_intervals": call(Y, P, clusters=DAY, resamples=100, seed=1),
    "distance.chi2_p_value": call(np.array([10.0, 20.0]), np.array([12.0, 18.0])),
    "distance.divergence": call(np.array([10.0, 20.0]), np.array([12.0, 18.0])),
    "distance.excess_p_value": call(1, 100, 3, 100),
    "distance.ks_distance": call(np.sort(X), np.sort(P)),
    "distance.ks_p_value": call(0.1, 100, 100),
    "distance.wasserstein_distance": call(np.sort(X), np.sort(P)),
    "domain.domain_drift": call(FRAME, LATER, seed=1),
    "domain.density_ratios": call(FRAME, LATER, seed=1),
    "drift.drift_table": call({"x": reference(X), "side": reference(GROUP)}, {"x": X, "side": GROUP}),
    "drift.unit_change": call(reference(X), Q),
    "lift.aipw": call(Y, T, NUISANCE),
    "nuisance.balance_table": call(T, COVARIATES, np.full(ROWS, 0.5), ("a", "b")),
    "nuisance.cross_fit": call(Y, T, COVARIATES, models=(LogisticRegression, LinearRegression), folds=3, seed=1),
    "lift.e_value": call(2.0),
    "lift.effect_estimate": call("aipw", 0.1, 0.05, n=ROWS, level=0.95),
    "nuisance.as_arms": call(Y, T),
    "nuisance.as_covariates": call(COVARIATES, n=ROWS),
    "nuisance.clipped_propensity": call(P, n=ROWS),
    "nuisance.default_models": call(Y),
    "nuisance.is_binary": call(Y),
    "refutation.refutation_table": call(
        Study(Y, T, COVARIATES, default_models(Y), 2, 0.95), NUISANCE, aipw(Y, T, NUISANCE), repeats=1, seed=1
    ),
    "effect.estimate_effect": call(Y, T, COVARIATES, negative_control=X, repeats=1, folds=2, seed=1),
    "lift.ipw": call(Y, T, NUISANCE),
    "lift.naive_lift": call(Y, T),
    "nuisance.overlap": call(T, P),
    "estimated.estimate_by_chunk": call(P, DAY),
    "estimated.estimate_shifted_performance": call(Y, P, W, Q, decisions=T),
    "estimated.estimate_performance": call(P, decisions=T, scores=X),
    "experiment.arm_summary": call(X),
    "experiment.arm_summary_of_sums": call(10, 5.0, 4.0),
    "experiment.cuped": call(X, P, P, X),
    "experiment.fixed_read_out": call(*ARMS),
    "experiment.proportion_read_out": call((10, 100), (14, 100)),
    "experiment.ratio_summary": call(X, W),
    "experiment.sample_ratio": call({"a": 50, "b": 52}, {"a": 0.5, "b": 0.5}),
    "experiment.sequential_read_out": call(*ARMS),
    "exposure.exposure_equity": call(
        1.0 + np.arange(ROWS) % 10, GROUP, utility=P, clicks=Y, clusters=DAY, resamples=50, seed=1
    ),
    "exposure.position_weight": call(1.0 + np.arange(ROWS)),
    "exposure.rerank": call(P.reshape(24, 10), GROUP[:10], minimum_share={"west": 0.4}, k=5),
    "fairness.disparity": call(group_rates(Y, T, GROUP, minimum_rows=10), metric="selection_rate"),
    "fairness.group_auc": call(Y, P, GROUP),
    "fairness.group_rates": call(Y, T, GROUP),
    "fairness.intersections": call({"side": GROUP, "day": DAY}),
    "intervals.clustered_mean": call(P, DAY),
    "intervals.clopper_pearson": call(np.array([1.0, 5.0]), np.array([9.0, 9.0])),
    "intervals.two_proportions": call(np.array([1.0]), np.array([9.0]), np.array([4.0]), np.array([9.0])),
    "intervals.wilson": call(np.array([1.0, 5.0]), np.array([9.0, 9.0])),
    "isotonic.isotonic_fit": call(CELLS),
    "isotonic.need_unweighted": call(CELLS, what="test"),
    "isotonic.pool_groups": call(Y, P, np.arange(ROWS) % 3, weights=W),
    "isotonic.pool_scores": call(Y, X, weights=W),
    "isotonic.pool_ties": call(Y, P, weights=W),
    "isotonic.quantile_cells": call(CELLS, count=10),
    "market.american_from_decimal": call(ODDS),
    "market.closing_line_value": call(ODDS, P),
    "market.decimal_from_american": call(np.array([150.0, -200.0])),
    "market.fair_range": call(np.array([4.2, 3.7, 1.95])),
    "market.kelly": call(P, ODDS, market_probabilities=Q, shrink=0.5),
    "market.remove_margin": call(np.array([4.2, 3.7, 1.95])),
    "market.value": call(P, ODDS),
    "quality.judge_quality": call(PROFILE, today=AT[-1].date()),
    "quality.quality_bands": call(PROFILE, judge_quality(PROFILE, today=AT[-1].date())),
    "monitoring.log_e_value": call(0.01),
    "monitoring.maturity_curve": call(np.arange(1.0, 9.0), np.array([2.0, 3.0])),
    "monitoring.start_risk_monitor": call((Y - P) ** 2),
    "multiclass.class_cells": call(KIND, CLASSES, classes=LABELS.tolist(), weights=W),
    "multiclass.multiclass_calibration": call(KIND, CLASSES, classes=LABELS.tolist(), weights=W, minimum_rows=10),
    "multiple.benjamini_hochberg": call(np.array([0.01, 0.5])),
    "multiple.benjamini_yekutieli": call(np.array([0.01, 0.5])),
    "multiple.holm": call(np.array([0.01, 0.5])),
    "periods.calibration_by_period": call(Y, P, AT),
    "policy.off_policy_value": call(Y, Q, P, predicted_logged=P, predicted_target=Q, clusters=DAY, seed=1),
    "profit.profit_curve": call(W, ODDS, Y, bankroll=100.0, clusters=DAY, seed=1),
    "ranking.rank_users": call(DAY, X, Y, k=(1, 3)),
    "ranking.ranking_table": call(rank_users(DAY, X, Y, k=(1, 3))),
    "recalibration.choose_calibrator": call(Y, P, folds=3, groups=DAY, seed=1),
    "recalibration.fit_calibrator": call("platt", Y, P),
    "recalibration.isotonic_calibrator": call(CELLS),
    "records.json_ready": call({"x": X, "cells": CELLS}),
    "reference.as_column": call(X),
    "reference.category_counts": call(GROUP),
    "reference.kind_of": call(GROUP),
    "reference.reference": call(X),
    "reference.sorted_values": call(X),
    "scores.auc": call(Y, X, weights=W),
    "scores.auc_interval": call(Y, X, clusters=DAY),
    "scores.auc_interval_of": call(CELLS),
    "scores.brier_score": call(Y, P, weights=W),
    "scores.brier_scores": call(Y, P),
    "scores.compare_auc": call(Y, P, Q),
    "scores.elementary_scores": call(Y, P, np.array([0.2, 0.5]), weights=W),
    "scores.elementary_scores_of": call(CELLS, np.array([0.2, 0.5])),
    "scores.log_loss": call(Y, P, weights=W),
    "scores.log_scores": call(Y, P),
    "scores.normal_quantile": call(0.95),
    "scores.skill": call(0.2, 0.25),
    "segments.multicalibration_error": call(segment_calibration(Y, P, {"side": GROUP}, minimum_rows=10)),
    "segments.segment_calibration": call(Y, P, {"side": GROUP, "day": DAY}),
    "sequential_calibration.calibration_process": call(Y, P),
    "smooth.grid_positions": call(),
    "smooth.reflected_spectrum": call(P, W),
    "smooth.smooth_calibration_error": call(CELLS),
    "smooth.smoothed": call(np.ones(8192), 0.1),
    "units.related_factors": call("usd"),
    "units.suspected_factor": call(60.0),
    "units.unit_sentence": call(60.0, unit="minutes"),
}
