"""`evaluation/*`, `calibration/*`, `comparison`: what each model is worth on rows it never saw.

Belongs here: the three kinds that read a model's test rows.
Does not belong here: statistics (`forecastle.measure`), pictures (`forecastle.draw`).
"""

import dagster as dg
import pandas as pd

from assets.champion import champion_bundle
from assets.describe import attributes, key, told_plainly, version_metadata
from assets.reports import miscalibration_result, miscalibration_spec, report_metadata
from forecastle.contract.load import LoadedSystem
from forecastle.draw.markdown import markdown_table
from forecastle.learn.build import evaluate_test
from forecastle.learn.calibration import calibration_of, write_report
from forecastle.learn.evaluate import Evaluation, table_of
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
            evaluation = evaluate(platform, system, model)
            version = platform.warehouse().publish(f"{system.name}/evaluation/{model}", evaluation.scores)
        metadata = {
            "scores": dg.MetadataValue.md(markdown_table(evaluation.scores)),
            "comparisons": dg.MetadataValue.md(markdown_table(table_of(evaluation.comparisons))),
            **{
                name: value for name, value in evaluation.metrics().items() if "." in name and abs(value) < float("inf")
            },
        }
        return dg.MaterializeResult(metadata={**version_metadata(version), **metadata})

    return evaluation_asset


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
            version = platform.warehouse().resolve(f"{system.name}/models/{model}")
            report = calibration_of(system, platform.warehouse().frame(version))
            folder = platform.layout.reports / system.name / f"calibration-{model}"
            page = write_report(report, folder, title=f"{system.name} / {model}", facts=version.facts)
            platform.tracking().log_report(version.facts["mlflow_run_id"], folder)
        check = miscalibration_result(system, asset_key, report, sentence="")
        metadata = {**report_metadata(report), "report": dg.MetadataValue.path(str(page))}
        return dg.MaterializeResult(metadata=metadata, check_results=[check])

    return calibration_asset


def build_comparison(system: LoadedSystem) -> dg.AssetsDefinition:
    """All models of a system in one table, best Brier first."""
    models = list(system.declaration.models)

    @dg.asset(
        **attributes(
            system,
            "comparison",
            description="Every model, the baseline and the champion in one table, best Brier first.",
            kinds={"python"},
            deps=[key(system, "evaluation", model) for model in models],
        )
    )
    def comparison_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            warehouse = platform.warehouse()
            scores = {model: warehouse.frame(f"{system.name}/evaluation/{model}") for model in models}
            table = compared(scores)
            version = warehouse.publish(f"{system.name}/comparison/all", table)
        metadata = {**version_metadata(version), "table": dg.MetadataValue.md(markdown_table(table))}
        return dg.MaterializeResult(metadata=metadata)

    return comparison_asset


def evaluate(platform: Platform, system: LoadedSystem, model: str) -> Evaluation:
    """Evaluate a model's newest test rows, the champion (when there is one) scored on the same rows."""
    rows = platform.warehouse().frame(f"{system.name}/models/{model}")
    champion = champion_bundle(platform, system)
    forecast = None if champion is None else score_rows(champion, rows).probability
    return evaluate_test(system, rows, rows["probability"].to_numpy(), champion=forecast)


def compared(scores: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a forecaster: each model under its name; baseline and champion once."""
    tables = [frame.assign(forecaster=frame["forecaster"].replace("model", name)) for name, frame in scores.items()]
    overall = pd.concat(tables, ignore_index=True).query("slice == 'all'").drop_duplicates("forecaster")
    return overall.sort_values("brier", kind="stable").reset_index(drop=True)
