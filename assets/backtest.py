"""`backtest` and `backtest_cut`: what models trained at past decision times would have answered after them.

Belongs here: the whole and one cut of it by itself, pictures and check.
Does not belong here: cuts, answers and the report (`forecastle.learn.backtest`, `forecastle.learn.backtest_report`).
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd

from assets.describe import attributes, key, told_plainly, version_metadata
from assets.models import read_training_set
from assets.reports import miscalibration_result, miscalibration_spec, report_metadata
from assets.shown import shown_picture, shown_table
from forecastle.contract.errors import LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.draw.images import markdown_image
from forecastle.learn.backtest import Backtest, Cut, cut_scores, plan_cuts, run_backtest
from forecastle.learn.backtest_report import (
    BacktestReport,
    history_picture,
    log_backtest,
    profit_picture,
    report_backtest,
    write_backtest,
)
from forecastle.learn.build import TrainingSetIdentity
from forecastle.learn.settled_bets import SettledBets
from forecastle.store.kept_cuts import WarehouseCuts
from resources.platform import Platform

SHOWN_SKIPPED = 20


def build_backtest(system: LoadedSystem) -> dg.AssetsDefinition:
    """Out-of-time answers of one declared model, the calibration report of all of them, and what they earned."""
    declared = system.declaration
    asset_key = key(system, "backtest")

    @dg.asset(
        **attributes(
            system,
            "backtest",
            description=f"{declared.backtested_model()} trained anew at each past cut: what it would have answered. "
            "The newest cuts hold only outcomes known by now, which are the ones quick to come.",
            kinds={"lightgbm", "mlflow", "python"},
            deps=[key(system, "training_set"), key(system, "backtest_cut")],
        ),
        check_specs=[miscalibration_spec(system, asset_key)],
    )
    def backtest_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            warehouse = platform.warehouse()
            identity, frame = read_training_set(platform, system)
            backtest = _run(platform, system, frame, planned(system, frame))
            version = warehouse.publish(f"{system.name}/backtest/all", backtest.predictions)
            report = report_backtest(system, backtest)
            left = {}
            if report is not None:
                _tell_cuts(context, system, report)
                left = leave(
                    platform, system, backtest, report, identity=identity, frame=frame, run_id=context.run.run_id
                )
        check = miscalibration_result(
            system, asset_key, report and report.calibration, sentence="No cut could answer yet: see what was skipped."
        )
        metadata = {**version_metadata(version), **_cuts(backtest), **_pictures(report), **left}
        return dg.MaterializeResult(metadata=metadata, check_results=[check])

    return backtest_asset


def build_backtest_cut(system: LoadedSystem) -> dg.AssetsDefinition:
    """One cut of the backtest by itself: a partition is the decision time; what it gives is kept for the whole."""

    @dg.asset(
        **attributes(
            system,
            "backtest_cut",
            description=f"{system.declaration.backtested_model()} as it would have been trained at one past time, and "
            "what it would have answered until the next; `backtest` makes all of them, and keeps what stays the same.",
            kinds={"python"},
            deps=[key(system, "training_set")],
        ),
        partitions_def=partitions(system),
    )
    def backtest_cut_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            _, frame = read_training_set(platform, system)
            cuts = {partition_of(cut.at): cut for cut in planned(system, frame)}
            if context.partition_key not in cuts:
                raise LearnError(f"{context.partition_key} is no cut of the training set; there are {', '.join(cuts)}")
            backtest = _run(platform, system, frame, (cuts[context.partition_key],))
            if backtest.predictions.empty:
                raise LearnError(f"cut {context.partition_key}: {backtest.skipped['reason'].iloc[0]}")
            scores = cut_scores(system, backtest.predictions)
        return dg.MaterializeResult(metadata=_scored(scores.iloc[0]) | {"kept": bool(backtest.kept)})

    return backtest_cut_asset


def partitions(system: LoadedSystem) -> dg.DynamicPartitionsDefinition:
    """Cuts of a system's backtest; `backtest` adds them as the history grows."""
    return dg.DynamicPartitionsDefinition(name=f"{system.name}_backtest_cuts")


def partition_of(at: datetime) -> str:
    """The partition of a cut: its time in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M}"


def planned(system: LoadedSystem, frame: pd.DataFrame) -> tuple[Cut, ...]:
    """The declared cuts of a training set."""
    declared = system.declaration.backtest
    return plan_cuts(frame, every=declared.every, history=declared.history)


def _run(platform: Platform, system: LoadedSystem, frame: pd.DataFrame, cuts: Sequence[Cut]) -> Backtest:
    kept = WarehouseCuts(platform.warehouse(), system.name)
    return run_backtest(system, frame, model=system.declaration.backtested_model(), cuts=cuts, kept=kept)


def _tell_cuts(context: dg.AssetExecutionContext, system: LoadedSystem, report: BacktestReport) -> None:
    """Each cut that answered is a partition of its own, with its scores."""
    rows = {partition_of(row["cut"]): row for _, row in report.scores.iterrows()}
    context.instance.add_dynamic_partitions(str(partitions(system).name), list(rows))
    for partition, row in rows.items():
        told = dg.AssetMaterialization(key(system, "backtest_cut"), partition=partition, metadata=_scored(row))
        context.log_event(told)


def _scored(row: pd.Series) -> dict[str, Any]:
    """Scores of one cut, without those that could not be computed."""
    numbers = {name: row[name] for name in row.index if name != "cut"}
    counts = {"rows", "clusters", "trained_rows"}
    return {n: int(v) if n in counts else float(v) for n, v in numbers.items() if math.isfinite(v)}


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
        "skipped": shown_table(backtest.skipped, max_rows=SHOWN_SKIPPED),
    }


def _pictures(report: BacktestReport | None) -> dict[str, Any]:
    if report is None:
        return {}
    return {
        **report_metadata(report.calibration),
        "history": shown_picture(history_picture(report), label="Brier score by cut, minus the baseline"),
        "cuts": shown_table(report.scores),
        "scores": shown_table(report.evaluation.scores),
        **_profit(report.bets),
    }


def _profit(bets: SettledBets | None) -> dict[str, Any]:
    if bets is None:
        return {}
    picture = markdown_image(profit_picture(bets), label="Bankroll and drawdown of the backtest's bets")
    return {
        "profit": dg.MetadataValue.md(f"{bets.sentence}\n\n{picture}"),
        "profit_by_cut": shown_table(bets.by_cut()),
        **bets.metrics(),
    }
