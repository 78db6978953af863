"""The calibration report: every number and table a person reads about how probabilities came true.

Belongs here: the record, the one call that fills it from arrays with one sort, and its JSON form.
Does not belong here: formulas (their own modules), pictures and HTML (`draw/`), model names and versions
(`learn/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from forecastle.contract.errors import MeasureError
from forecastle.measure import calibration_tests, curves
from forecastle.measure.arrays import as_outcomes, as_probabilities, same_length
from forecastle.measure.bands import ConsistencyBand, HonestBand, consistency_band, honest_band
from forecastle.measure.calibration_verdict import Verdict, calibration_verdict
from forecastle.measure.cumulative import CumulativeCalibration, cumulative_calibration
from forecastle.measure.decomposition import (
    RULES,
    Decomposition,
    DecompositionIntervals,
    decompose_cells,
    decompose_forecasts,
    decomposition_intervals,
)
from forecastle.measure.isotonic import Cells, isotonic_fit, pool_ties
from forecastle.measure.periods import Period, calibration_by_period
from forecastle.measure.recalibration import CalibratorChoice, choose_calibrator
from forecastle.measure.records import json_ready
from forecastle.measure.scores import AucInterval, auc_interval, auc_interval_of
from forecastle.measure.segments import MulticalibrationError, multicalibration_error, segment_calibration
from forecastle.measure.smooth import smooth_calibration_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from forecastle.measure.arrays import FloatArray, IntArray
    from forecastle.measure.isotonic import IsotonicFit

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class ReportScores:
    """Both decompositions and their intervals, one record for each of `decomposition.RULES`, and the AUC."""

    decompositions: tuple[Decomposition, ...]
    intervals: tuple[DecompositionIntervals, ...]
    auc: AucInterval | None


@dataclass(frozen=True, slots=True)
class ReportNumbers:
    """The line of single numbers."""

    cumulative: CumulativeCalibration
    smooth_calibration_error: float
    spiegelhalter: calibration_tests.SpiegelhalterTest
    cox: calibration_tests.CoxCalibration | None
    in_the_large: calibration_tests.CalibrationInTheLarge | None
    expected_over_observed: calibration_tests.ExpectedOverObserved
    binned: calibration_tests.BinnedCalibration
    hosmer_lemeshow: calibration_tests.HosmerLemeshow


@dataclass(frozen=True, slots=True, eq=False)
class ReportCurves:
    """Tables to draw, with the columns of the functions of the same names in `curves`."""

    reliability: pd.DataFrame
    histogram: pd.DataFrame
    cumulative: pd.DataFrame
    murphy: pd.DataFrame
    roc: pd.DataFrame | None


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationReport:
    """Every number of one report.

    `notes` says in words why a field is None though it was asked for. `forecasts` is the table behind the
    miscalibration-discrimination plot, this forecast (named "forecast") first. `segments`, `weeks` and
    `months` are the tables of `segment_calibration` and `calibration_by_period`; `segments` holds the
    declared ones and their pairs.
    """

    n: int
    excluded_rows: int
    base_rate: float
    mean_probability: float
    level: float
    verdict: Verdict
    notes: tuple[str, ...]
    scores: ReportScores
    numbers: ReportNumbers
    curves: ReportCurves
    consistency_band: ConsistencyBand | None
    honest_band: HonestBand | None
    forecasts: pd.DataFrame
    segments: pd.DataFrame | None
    multicalibration: MulticalibrationError | None
    weeks: pd.DataFrame | None
    months: pd.DataFrame | None
    recalibration: CalibratorChoice | None

    def to_dict(self) -> dict[str, Any]:
        """The whole report as JSON-ready values: None for missing, the text "inf" for infinite."""
        record: dict[str, Any] = json_ready(self)
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """How to measure; every option has the default that most reports use.

    `pairs`: cross every two segments. `minimum_rows`: smaller segment values are shown, not tested. `bands`:
    the 90 % consistency band (100 refits) and the 90 % honest band. `recalibrate`: the cross-validated choice
    of a calibrator. `resamples` and `level`: of the intervals. `tolerance`: the smooth calibration error, in
    probability, below which miscalibration does not matter here. `excluded_rows`: left out beforehand (no
    label yet, void), for the header.
    """

    pairs: bool = True
    minimum_rows: int = 100
    recalibrate: bool = False
    resamples: int = 1000
    level: float = 0.95
    tolerance: float = 0.02
    excluded_rows: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """Clean rows, sorted once (`order` is the argsort of `p`), what was asked, and the notes so far."""

    y: FloatArray
    p: FloatArray
    order: IntArray
    cells: Cells
    fit: IsotonicFit
    at: Any | None
    segments: Mapping[str, Any]
    clusters: Any | None
    baselines: Mapping[str, Any]
    options: ReportOptions
    seed: int
    notes: list[str]


def calibration_report(
    outcomes: Any,
    probabilities: Any,
    *,
    at: Any | None = None,
    segments: Mapping[str, Any] | None = None,
    clusters: Any | None = None,
    baselines: Mapping[str, Any] | None = None,
    bands: bool = True,
    options: ReportOptions | None = None,
    seed: int,
) -> CalibrationReport:
    """Measure n `outcomes` (0/1) against n `probabilities`; the same input and `seed` give the same report.

    `at` (n UTC times of the forecasts) adds the tables by week and month, `segments` (name → n labels) the
    segment table, `baselines` (name → n probabilities of the same rows: market, champion) rows of the table
    of forecasts. Intervals resample whole `clusters` (n labels of what settles together: day, entity), or
    rows when None. `bands` adds the 90 % consistency band (100 refits) and the 90 % honest band, two thirds
    of the time of a large report.

    Raises:
        MeasureError: empty, missing or mismatched input, outcomes not 0/1, probabilities outside [0, 1].
    """
    y, p = as_outcomes(outcomes), as_probabilities(probabilities)
    same_length(outcome=y, probability=p)
    order = np.argsort(p)
    cells = pool_ties(y, p, order=order)
    named, others = segments or {}, baselines or {}
    options, notes = options or ReportOptions(), list[str]()
    fit = isotonic_fit(cells)
    inputs = _Inputs(y, p, order, cells, fit, at, named, clusters, others, options, seed, notes)
    return _measured(inputs, bands=bands)


def _measured(inputs: _Inputs, *, bands: bool) -> CalibrationReport:
    cells, options = inputs.cells, inputs.options
    numbers, segments = _numbers(inputs), _segments(inputs)
    honest = honest_band(cells) if bands else None
    return CalibrationReport(
        n=cells.rows,
        excluded_rows=options.excluded_rows,
        base_rate=cells.base_rate,
        mean_probability=cells.mean_probability,
        level=options.level,
        verdict=_verdict(inputs, numbers, honest),
        scores=_scores(inputs),
        numbers=numbers,
        curves=_curves(inputs),
        consistency_band=consistency_band(cells, seed=inputs.seed) if bands else None,
        honest_band=honest,
        forecasts=decompose_forecasts(inputs.y, {"forecast": cells, **inputs.baselines}),
        segments=segments,
        multicalibration=None if segments is None else multicalibration_error(segments),
        weeks=_by_period(inputs, "week"),
        months=_by_period(inputs, "month"),
        recalibration=_recalibration(inputs),
        notes=tuple(dict.fromkeys(inputs.notes)),  # last: every measure above may have added one
    )


def _scores(inputs: _Inputs) -> ReportScores:
    cells, level = inputs.cells, inputs.options.level
    return ReportScores(
        decompositions=tuple(decompose_cells(cells, rule=rule, rates=inputs.fit.rates) for rule in RULES),
        intervals=decomposition_intervals(
            inputs.y,
            inputs.p,
            clusters=inputs.clusters,
            resamples=inputs.options.resamples,
            level=level,
            cells=cells,
            seed=inputs.seed,
        ),
        auc=_noted(inputs, lambda: _auc(inputs)),
    )


def _auc(inputs: _Inputs) -> AucInterval:
    level = inputs.options.level
    if inputs.clusters is None:
        return auc_interval_of(inputs.cells, level=level)
    return auc_interval(inputs.y, inputs.p, clusters=inputs.clusters, order=inputs.order, level=level)


def _numbers(inputs: _Inputs) -> ReportNumbers:
    cells = inputs.cells
    return ReportNumbers(
        cumulative=cumulative_calibration(cells),
        smooth_calibration_error=smooth_calibration_error(cells),
        spiegelhalter=calibration_tests.spiegelhalter_test(cells),
        cox=_noted(inputs, lambda: calibration_tests.cox_calibration(cells)),
        in_the_large=_noted(inputs, lambda: calibration_tests.calibration_in_the_large(cells)),
        expected_over_observed=calibration_tests.expected_over_observed(cells, level=inputs.options.level),
        binned=calibration_tests.binned_calibration(cells),
        hosmer_lemeshow=calibration_tests.hosmer_lemeshow(cells),
    )


def _curves(inputs: _Inputs) -> ReportCurves:
    cells, fit = inputs.cells, inputs.fit
    return ReportCurves(
        reliability=curves.reliability_curve(cells, fit=fit),
        histogram=curves.probability_histogram(cells),
        cumulative=curves.cumulative_curve(cells),
        murphy=curves.murphy_curve(cells, fit=fit),
        roc=_noted(inputs, lambda: curves.roc_curve(cells)),
    )


def _verdict(inputs: _Inputs, numbers: ReportNumbers, honest: HonestBand | None) -> Verdict:
    return calibration_verdict(
        inputs.cells,
        numbers.cumulative,
        numbers.smooth_calibration_error,
        honest,
        slope=numbers.cox,
        level=inputs.options.level,
        tolerance=inputs.options.tolerance,
    )


def _segments(inputs: _Inputs) -> pd.DataFrame | None:
    if not inputs.segments:
        return None
    return segment_calibration(
        inputs.y,
        inputs.p,
        inputs.segments,
        pairs=inputs.options.pairs,
        minimum_rows=inputs.options.minimum_rows,
        level=inputs.options.level,
        order=inputs.order,
    )


def _by_period(inputs: _Inputs, period: Period) -> pd.DataFrame | None:
    if inputs.at is None:
        return None
    return calibration_by_period(
        inputs.y, inputs.p, inputs.at, period=period, level=inputs.options.level, order=inputs.order
    )


def _recalibration(inputs: _Inputs) -> CalibratorChoice | None:
    if not inputs.options.recalibrate:
        return None
    return _noted(inputs, lambda: choose_calibrator(inputs.y, inputs.p, groups=inputs.clusters, seed=inputs.seed))


def _noted(inputs: _Inputs, measure: Callable[[], _Result]) -> _Result | None:
    """The result, or None with the refusal's text among the notes, so that one number stops no report."""
    try:
        return measure()
    except MeasureError as refusal:
        inputs.notes.append(str(refusal))
        return None
