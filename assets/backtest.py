"""`backtest`: what models trained at past decision times would have answered after them.

Belongs here: the asset, its pictures and its check.
Does not belong here: cuts, answers and the report (`forecastle.learn.backtest`, `forecastle.learn.backtest_report`).
"""

from typing import Any

import dagster as dg
import pandas as pd

from assets.describe import attributes, key, told_plainly, version_metadata
from assets.models import read_training_set
from assets.reports import miscalibration_result, miscalibration_spec, report_metadata
from forecastle.contract.load import LoadedSystem
from forecastle.draw.images import markdown_image
from forecastle.draw.markdown import markdown_table
from forecastle.learn.backtest import Backtest, plan_cuts, run_backtest
from forecastle.learn.backtest_report import (
    BacktestReport,
    history_picture,
    log_backtest,
    report_backtest,
    write_backtest,
)
from forecastle.learn.build import TrainingSetIdentity
from forecastle.store.kept_cuts import WarehouseCuts
from resources.platform import Platform

SHOWN_SKIPPED = 20


def build_backtest(system: LoadedSystem) -> dg.AssetsDefinition:
    """Out-of-time answers of one declared model, and the calibration report of all of them."""
    declared = system.declaration
    asset_key = key(system, "backtest")

    @dg.asset(
        **attributes(
            system,
            "backtest",
            description=f"{declared.backtested_model()} trained anew at each past cut: what it would have answered. "
            "The newest cuts hold only outcomes known by now, which are the ones quick to come.",
            kinds={"lightgbm", "mlflow", "python"},
            deps=[key(system, "training_set")],
        ),
        check_specs=[miscalibration_spec(system, asset_key)],
    )
    def backtest_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            warehouse = platform.warehouse()
            identity, frame = read_training_set(platform, system)
            backtest = run_backtest(
                system,
                frame,
                model=declared.backtested_model(),
                cuts=plan_cuts(frame, every=declared.backtest.every, history=declared.backtest.history),
                kept=WarehouseCuts(warehouse, system.name),
            )
            version = warehouse.publish(f"{system.name}/backtest/all", backtest.predictions)
            report = report_backtest(system, backtest)
            left = {}
            if report is not None:
                left = leave(
                    platform, system, backtest, report, identity=identity, frame=frame, run_id=context.run.run_id
                )
        check = miscalibration_result(
            system, asset_key, report and report.calibration, sentence="No cut could answer yet: see what was skipped."
        )
        metadata = {**version_metadata(version), **_cuts(backtest), **_pictures(report), **left}
        return dg.MaterializeResult(metadata=metadata, check_results=[check])

    return backtest_asset


def leave(
    platform: Platform,
    system: LoadedSystem,
    backtest: Backtest,
    report: BacktestReport,
    *,
    identity: TrainingSetIdentity,
    frame: pd.DataFrame,
    run_id: str,
) -> dict[str, Any]:
    """Leave the report among the reports and in an MLflow run of its own; returns where, as metadata."""
    folder = platform.layout.reports / system.name / "backtest"
    title = f"{system.name} / backtest of {backtest.model}"
    page = write_backtest(report, folder, title=title, facts={"training set": identity.content_hash})
    logged = log_backtest(
        system,
        frame,
        backtest,
        report,
        identity=identity,
        tracking=platform.tracking(),
        folder=folder,
        dagster_run_id=run_id,
    )
    return {"report": dg.MetadataValue.path(str(page)), "mlflow_run_id": logged}


def _cuts(backtest: Backtest) -> dict[str, Any]:
    return {
        "cuts_computed": backtest.computed,
        "cuts_kept": backtest.kept,
        "cuts_skipped": len(backtest.skipped),
        "skipped": dg.MetadataValue.md(markdown_table(backtest.skipped, max_rows=SHOWN_SKIPPED)),
    }


def _pictures(report: BacktestReport | None) -> dict[str, Any]:
    if report is None:
        return {}
    return {
        **report_metadata(report.calibration),
        "history": dg.MetadataValue.md(
            markdown_image(history_picture(report), label="Brier score by cut, minus the baseline")
        ),
        "cuts": dg.MetadataValue.md(markdown_table(report.scores)),
        "scores": dg.MetadataValue.md(markdown_table(report.evaluation.scores)),
    }
