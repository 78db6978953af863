"""The calibration report as one standalone HTML page: inline pictures, no script, nothing fetched.

Belongs here: which pictures and tables of a `CalibrationReport` the page shows, and in which order.
Does not belong here: statistics (`measure.calibration_report`), how one picture looks, files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from markupsafe import Markup

from forecastle.draw.calibration import cumulative_diagram, reliability_diagram
from forecastle.draw.discrimination import (
    miscalibration_discrimination_diagram,
    murphy_diagram,
    roc_diagram,
)
from forecastle.draw.history import calibration_history
from forecastle.draw.images import inline_svg
from forecastle.draw.markdown import value_text
from forecastle.draw.page_template import page_template
from forecastle.draw.segments import segment_diagram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from forecastle.measure.calibration_report import CalibrationReport

_LABELS = {
    "reliability": "Reliability diagram: event rate against forecast probability, over a histogram",
    "cumulative": "Cumulative differences between outcomes and probabilities, lowest forecast first",
    "murphy": "Murphy diagram: mean elementary score by decision threshold",
    "roc": "ROC curve: true against false positive rate",
    "forecasts": "Miscalibration against discrimination of all forecasts, by Brier score",
    "segments": "Expected over observed events of each segment, with intervals",
    "weeks": "Brier score and its parts by week, and the running gap with its confidence sequence",
}
_RULE_NAMES = {"brier": "Brier score", "log_loss": "log loss (nats)"}
_PARTS = ("score", "miscalibration", "discrimination", "uncertainty", "skill")
_SHOWN_SEGMENTS = 10


@dataclass(frozen=True, slots=True)
class HtmlTable:
    """Text cells by row; `is_number` says which columns stand to the right."""

    headings: tuple[str, ...]
    is_number: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]


def calibration_page(report: CalibrationReport, *, title: str, facts: Mapping[str, Any] | None = None) -> str:
    """The report as an HTML document; the same report gives the same text.

    `title` names the model and version, `facts` what else its reader must know first, in order: data window,
    label maturity, training set, links are plain text.
    """
    pictures = {
        name: Markup(inline_svg(figure, name=name, label=_LABELS[name]))  # noqa: S704  # our own SVG: matplotlib escapes text
        for name, figure in calibration_pictures(report).items()
    }
    return page_template("calibration_report.html.j2").render(
        title=title,
        facts={name: value_text(value) for name, value in (facts or {}).items()},
        report=report,
        pictures=pictures,
        scores=_score_table(report),
        numbers=_number_rows(report),
        tables=_tables(report),
        shown_segments=_SHOWN_SEGMENTS,
    )


def reliability_picture(report: CalibrationReport) -> Figure:
    """The first picture of the report alone, where all of them would take too long."""
    return reliability_diagram(
        report.curves.reliability,
        report.curves.histogram,
        consistency=report.consistency_band,
        honest=report.honest_band,
    )


def calibration_pictures(report: CalibrationReport) -> dict[str, Figure]:
    """Every picture of the report by name, in reading order; what the report does not hold is left out.

    Names: `reliability`, `cumulative`, `murphy`, `roc`, `forecasts`, `segments`, `weeks`.
    """
    curves = report.curves
    pictures = {
        "reliability": reliability_picture(report),
        "cumulative": cumulative_diagram(curves.cumulative, report.numbers.cumulative),
        "murphy": murphy_diagram(curves.murphy),
    }
    if curves.roc is not None:
        pictures["roc"] = roc_diagram(curves.roc, auc=report.scores.auc)
    pictures["forecasts"] = miscalibration_discrimination_diagram(report.forecasts)
    if report.segments is not None:
        pictures["segments"] = segment_diagram(report.segments)
    if report.weeks is not None:
        pictures["weeks"] = calibration_history(report.weeks)
    return pictures


def _score_table(report: CalibrationReport) -> HtmlTable:
    """One row for each rule's parts with their intervals, and one for the AUC."""
    rows = []
    for parts, intervals in zip(report.scores.decompositions, report.scores.intervals, strict=True):
        for part in _PARTS:
            interval = getattr(intervals, part)
            name = _RULE_NAMES[parts.rule] if part == "score" else f"· {part}"
            rows.append((name, value_text(getattr(parts, part)), _interval_text(interval)))
    auc = report.scores.auc
    if auc is not None:
        rows.append(("AUC", value_text(auc.auc), _interval_text((auc.low, auc.high))))
    headings = ("", "estimate", f"{report.level:.0%} interval")
    return HtmlTable(headings, (False, True, True), tuple(rows))


def _number_rows(report: CalibrationReport) -> list[tuple[str, str, str]]:
    """(name, value, what a calibrated forecast has) of each single number."""
    numbers, rows = report.numbers, []
    cumulative, ratio, binned = numbers.cumulative, numbers.expected_over_observed, numbers.binned
    if numbers.in_the_large is not None:
        large = numbers.in_the_large
        rows.append(("calibration in the large", _plus_minus(large.intercept, large.standard_error), "0"))
    if numbers.cox is not None:
        cox = numbers.cox
        rows.append(("calibration slope", _plus_minus(cox.slope, cox.slope_standard_error), "1"))
        rows.append(("calibration intercept", _plus_minus(cox.intercept, cox.intercept_standard_error), "0"))
        rows.append(("forecasts of exactly 0 or 1", value_text(cox.certain_rows), ""))
    texts = (
        (
            "expected over observed",
            f"{value_text(ratio.ratio)} ({_interval_text((ratio.low, ratio.high))})",
            "1",
        ),
        ("expected, observed events", f"{value_text(ratio.expected)}, {value_text(ratio.observed)}", "equal"),
        ("smooth calibration error", value_text(numbers.smooth_calibration_error), "near 0"),
        ("ECCE-R", _sigmas(cumulative.range, cumulative.range_in_sigma, cumulative.range_p_value), "1.6 σ"),
        (
            "ECCE-MAD",
            _sigmas(cumulative.maximum, cumulative.maximum_in_sigma, cumulative.maximum_p_value),
            "1.25 σ",
        ),
        ("σ of the cumulative differences", value_text(cumulative.sigma), ""),
        ("Spiegelhalter Z", _test(numbers.spiegelhalter.z, numbers.spiegelhalter.p_value), "0"),
        (f"ECE, {binned.bins} bins", value_text(binned.absolute), "above 0 even then"),
        ("squared binned error, plain", value_text(binned.squared), "above 0 even then"),
        ("squared binned error, debiased", value_text(binned.debiased_squared), "near 0"),
        (
            f"Hosmer–Lemeshow χ², {numbers.hosmer_lemeshow.degrees_of_freedom} degrees of freedom",
            _test(numbers.hosmer_lemeshow.statistic, numbers.hosmer_lemeshow.p_value),
            value_text(numbers.hosmer_lemeshow.degrees_of_freedom),
        ),
    )
    return [*rows, *texts]


def _tables(report: CalibrationReport) -> dict[str, HtmlTable]:
    frames = {
        "forecasts": report.forecasts,
        "segments": report.segments,
        "weeks": report.weeks,
        "months": report.months,
        "reliability": report.curves.reliability,
        "candidates": None if report.recalibration is None else pd.DataFrame(report.recalibration.table),
    }
    return {name: html_table(frame) for name, frame in frames.items() if frame is not None}


def html_table(frame: pd.DataFrame) -> HtmlTable:
    """`frame` as text for a page, without its index; headings are the column names in words."""
    return HtmlTable(
        headings=tuple(str(column).replace("_", " ") for column in frame.columns),
        is_number=tuple(pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes),
        rows=tuple(tuple(value_text(value) for value in row) for row in frame.itertuples(index=False)),
    )


def _interval_text(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{value_text(interval[0])} to {value_text(interval[1])}"


def _plus_minus(value: float, standard_error: float) -> str:
    return f"{value_text(value)} ± {value_text(standard_error)}"


def _sigmas(value: float, in_sigma: float, p_value: float) -> str:
    return f"{value_text(value)} = {value_text(in_sigma)} σ, p = {value_text(p_value)}"


def _test(statistic: float, p_value: float) -> str:
    return f"{value_text(statistic)}, p = {value_text(p_value)}"
