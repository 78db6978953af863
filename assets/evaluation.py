"""`evaluation/*`, `calibration/*`: what each model is worth on rows it never saw.

Belongs here: the two kinds that read a model's test rows.
Does not belong here: all models beside each other (`comparison.py`), statistics (`forecastle.measure`), pictures
(`forecastle.draw`).
"""

from typing import Any

import dagster as dg
import numpy as np

from assets.champion import champion_bundle
from assets.describe import attributes, key, told_plainly, version_metadata
from assets.reports import miscalibration_result, miscalibration_spec, report_metadata
from forecastle.contract.load import LoadedSystem
from forecastle.draw.markdown import markdown_table
from forecastle.learn.build import evaluate_test
from forecastle.learn.calibration import calibration_of, write_report
from forecastle.learn.evaluate import Evaluation, table_of
from forecastle.learn.leaderboard import against_baseline
from forecastle.learn.score import score_rows
from resources.platform import Platform


def build_evaluation(system: LoadedSystem, model: str) -> dg.AssetsDefinition:
    """Scores of one model beside the baseline and the champion, on the same rows."""

    @dg.asset(
        **attributes(
            system,
            "evaluation",
            model,
            description=f"Scores of {model} beside the baseline and the champion, by slice, with paired intervals.",
            kinds={"python"},
            deps=[key(system, "models", model)],
        )
    )
    def evaluation_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            return dg.MaterializeResult(metadata=evaluated(platform, system, model))

    return evaluation_asset


def evaluated(platform: Platform, system: LoadedSystem, model: str) -> dict[str, Any]:
    """Evaluate one model and publish its scores; returns what the UI shows of them."""
    evaluation = evaluate(platform, system, model)
    version = platform.warehouse().publish(
        f"{system.name}/evaluation/{model}", evaluation.scores, facts={"against_baseline": against_baseline(evaluation)}
    )
    numbers = {name: value for name, value in evaluation.metrics().items() if "." in name and abs(value) < float("inf")}
    return {
        **version_metadata(version),
        "scores": dg.MetadataValue.md(markdown_table(evaluation.scores)),
        "comparisons": dg.MetadataValue.md(markdown_table(table_of(evaluation.comparisons))),
        **numbers,
    }


def build_calibration(system: LoadedSystem, model: str) -> dg.AssetsDefinition:
    """The calibration report of one model on its test rows."""
    asset_key = key(system, "calibration", model)

    @dg.asset(
        **attributes(
            system,
            "calibration",
            model,
            description=f"Does {model} mean what it says: the reliability diagram, its decomposition, the HTML report.",
            kinds={"python"},
            deps=[key(system, "models", model)],
        ),
        check_specs=[miscalibration_spec(system, asset_key)],
    )
    def calibration_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            return calibrated(platform, system, model, asset_key=asset_key)

    return calibration_asset


def calibrated(platform: Platform, system: LoadedSystem, model: str, *, asset_key: dg.AssetKey) -> dg.MaterializeResult:
    """The calibration report of one model's newest test rows, left as a page and in its MLflow run."""
    version = platform.warehouse().resolve(f"{system.name}/models/{model}")
    report = calibration_of(system, platform.warehouse().frame(version))
    folder = platform.layout.reports / system.name / f"calibration-{model}"
    page = write_report(report, folder, title=f"{system.name} / {model}", facts=version.facts)
    platform.tracking().log_report(version.facts["mlflow_run_id"], folder)
    check = miscalibration_result(system, asset_key, report, sentence="")
    metadata = {**report_metadata(report), "report": dg.MetadataValue.path(str(page))}
    return dg.MaterializeResult(metadata=metadata, check_results=[check])


def measured(platform: Platform, system: LoadedSystem, model: str) -> dict[str, Any]:
    """What the UI shows of one model's calibration, without the page and its many pictures."""
    rows = platform.warehouse().frame(f"{system.name}/models/{model}")
    return report_metadata(calibration_of(system, rows))


def evaluate(platform: Platform, system: LoadedSystem, model: str) -> Evaluation:
    """Evaluate a model's newest test rows, the champion (when there is one) scored on the same rows."""
    rows = platform.warehouse().frame(f"{system.name}/models/{model}")
    champion = champion_bundle(platform, system)
    forecast = None if champion is None else score_rows(champion, rows).probability
    if forecast is not None and np.isnan(forecast).any():
        forecast = None  # it has no model for some of these rows, so it cannot be compared on them
    return evaluate_test(system, rows, rows["probability"].to_numpy(), champion=forecast)
