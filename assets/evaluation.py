"""`evaluation/*`, `calibration/*`: what each model is worth on rows it never saw.

Belongs here: the two kinds that read a model's test rows.
Does not belong here: all models beside each other (`comparison.py`), statistics (`forecastle.measure`), pictures
(`forecastle.draw`).
"""

from datetime import datetime
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from assets.champion import champion_bundle
from assets.describe import attributes, key, told_plainly, version_metadata
from assets.reports import brief_report_metadata, miscalibration_result, miscalibration_spec, report_metadata
from assets.shown import shown_table
from forecastle import __version__
from forecastle.contract.load import LoadedSystem
from forecastle.learn.build import BuiltModel, cluster_column, evaluate_test
from forecastle.learn.bundle import Bundle, canonical_json
from forecastle.learn.calibration import brief_calibration_of, calibration_of, write_report
from forecastle.learn.evaluate import Evaluation, comparisons_text, kept_evaluation, table_of
from forecastle.learn.score import score_rows
from forecastle.measure.calibration_report import CalibrationReport
from forecastle.promote.leaderboard import against_baseline
from forecastle.store.delta_log import TableVersion
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


def evaluated(
    platform: Platform, system: LoadedSystem, model: str, *, trained: BuiltModel | None = None
) -> dict[str, Any]:
    """Evaluate one model and publish its scores; returns what the UI shows of them.

    `trained` has judged itself already; that stands where there is no champion to be compared with.
    """
    champion, warehouse = champion_bundle(platform, system), platform.warehouse()
    rows = warehouse.resolve(f"{system.name}/models/{model}")
    if trained is not None and champion is None:
        evaluation = trained.evaluation
    else:
        evaluation = _evaluate(system, warehouse.frame(rows), champion)
    facts = {
        "against_baseline": against_baseline(evaluation),
        "comparisons": comparisons_text(evaluation),
        "basis": _basis(system, rows, champion),
    }
    version = warehouse.publish(f"{system.name}/evaluation/{model}", evaluation.scores, facts=facts)
    numbers = {name: value for name, value in evaluation.metrics().items() if "." in name and abs(value) < float("inf")}
    return {
        **version_metadata(version),
        "scores": shown_table(evaluation.scores),
        "comparisons": shown_table(table_of(evaluation.comparisons)),
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
    report, metadata = reported(platform, system, model)
    check = miscalibration_result(system, asset_key, report, sentence="")
    return dg.MaterializeResult(metadata=metadata, check_results=[check])


def reported(platform: Platform, system: LoadedSystem, model: str) -> tuple[CalibrationReport, dict[str, Any]]:
    """The report of one model's newest test rows as a page, there and in its MLflow run, and what the UI shows."""
    version = platform.warehouse().resolve(f"{system.name}/models/{model}")
    report = calibration_of(system, platform.warehouse().frame(version))
    folder = platform.layout.reports / system.name / f"calibration-{model}"
    page = write_report(report, folder, title=f"{system.name} / {model}", facts=version.facts)
    platform.tracking().log_report(version.facts["mlflow_run_id"], folder)
    told = {"bundle": version.facts["bundle"], "report": dg.MetadataValue.path(str(page))}
    return report, {**report_metadata(report), **told}


def brief_calibration(system: LoadedSystem, rows: pd.DataFrame) -> dict[str, Any]:
    """What the UI shows of one model of many, whose card page has the picture; the chosen ones get a report.

    `rows` are its test rows with their probabilities.
    """
    return brief_report_metadata(brief_calibration_of(system, rows))


def evaluate(platform: Platform, system: LoadedSystem, model: str) -> Evaluation:
    """A model's newest test rows beside the present champion's: as once evaluated, or anew where something changed."""
    champion, warehouse = champion_bundle(platform, system), platform.warehouse()
    rows = warehouse.resolve(f"{system.name}/models/{model}")
    kept = warehouse.version(f"{system.name}/evaluation/{model}")
    if kept is not None and kept.facts.get("basis") == _basis(system, rows, champion):
        return kept_evaluation(warehouse.frame(kept), kept.facts["comparisons"])
    return _evaluate(system, warehouse.frame(rows), champion)


def _evaluate(system: LoadedSystem, rows: pd.DataFrame, champion: Bundle | None) -> Evaluation:
    """The champion (when there is one) is scored on the same rows, but for those that it may have learnt from."""
    forecast = None if champion is None else score_rows(champion, rows).probability
    if forecast is not None and np.isnan(forecast).any():
        forecast = None  # it has no model for some of these rows, so it cannot be compared on them
    told = champion and champion.facts.get("test_from")
    since = datetime.fromisoformat(told) if told else None
    return evaluate_test(system, rows, rows["probability"].to_numpy(), champion=forecast, champion_from=since)


def _basis(system: LoadedSystem, rows: TableVersion, champion: Bundle | None) -> str:
    """All that an evaluation is made of: equal bases give equal numbers."""
    declared = [system.declaration.evaluate.model_dump(mode="json"), cluster_column(system)]
    return canonical_json([__version__, rows.facts["bundle"], champion and champion.hash, declared]).decode()
