"""A backtest as a person reads it: scores by cut, the calibration report, and an MLflow run of its own.

Belongs here: what of a backtest is shown and where it is left.
Does not belong here: making answers (`backtest.py`), the report's numbers and page (`calibration.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle.contract.load import LoadedSystem
from forecastle.draw.history import score_history
from forecastle.draw.images import png_bytes
from forecastle.draw.profit import profit_diagram
from forecastle.learn.backtest import Backtest, cut_scores
from forecastle.learn.build import TrainingSetIdentity, evaluate_test
from forecastle.learn.calibration import calibration_of, write_report
from forecastle.learn.evaluate import Evaluation
from forecastle.learn.settled_bets import SettledBets, settle_bets
from forecastle.learn.tracking import Tracking
from forecastle.measure.calibration_report import CalibrationReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class BacktestReport:
    """What all cuts together are worth beside the baseline, each cut's scores, how calibrated they were, and the bets.

    `bets` is None where no profit is declared, or nothing was bet on.
    """

    evaluation: Evaluation
    scores: pd.DataFrame
    calibration: CalibrationReport
    bets: SettledBets | None


def report_backtest(system: LoadedSystem, backtest: Backtest) -> BacktestReport | None:
    """Measure a backtest; None when no cut could answer, or fewer than two rows were answered.

    Raises:
        MeasureError: answers that are no probabilities.
        DecisionError: the decision rule fails for an answer.
        LearnError: the rule's bets have no stake.
    """
    rows = backtest.predictions
    if len(rows) < 2:
        return None
    evaluation = evaluate_test(system, rows, rows["probability"].to_numpy(np.float64), champion=None)
    return BacktestReport(evaluation, cut_scores(system, rows), calibration_of(system, rows), settle_bets(system, rows))


def history_picture(report: BacktestReport) -> Figure:
    """Brier of each cut minus the baseline's, with its interval; Brier itself where no row has a baseline."""
    compared = bool(report.scores["difference"].notna().any())
    value = "difference" if compared else "brier"
    return score_history(
        report.scores,
        value=value,
        period="cut",
        low=f"{value}_low",
        high=f"{value}_high",
        reference=0.0 if compared else None,
        reference_name="baseline",
        title="Backtest: Brier score of each cut" + (" minus the baseline's" if compared else ""),
        subtitle=f"{len(report.scores)} cuts, {report.evaluation.rows:,} answers out of time"
        + ("; below 0 the model is better" if compared else ""),
    )


def profit_picture(bets: SettledBets) -> Figure:
    """Bankroll and drawdown of the bets, with what they came to."""
    return profit_diagram(
        bets.bets, bankroll_usd=bets.bankroll_usd, title="Backtest: what its decisions earned", subtitle=bets.sentence
    )


def write_backtest(report: BacktestReport, folder: Path, *, title: str, facts: Mapping[str, Any]) -> Path:
    """Leave the calibration report, `history.png` and `cuts.csv` in `folder`; returns the report's page.

    Where there were bets, `bets.csv`, `profit.csv` (by cut) and `profit.png` are left as well.
    """
    page = write_report(report.calibration, folder, title=title, facts=facts)
    (folder / "history.png").write_bytes(png_bytes(history_picture(report)))
    report.scores.to_csv(folder / "cuts.csv", index=False, lineterminator="\n")
    if report.bets is not None:
        (folder / "profit.png").write_bytes(png_bytes(profit_picture(report.bets)))
        report.bets.bets.to_csv(folder / "bets.csv", index=False, lineterminator="\n")
        report.bets.by_cut().to_csv(folder / "profit.csv", index=False, lineterminator="\n")
    return page


def log_backtest(
    system: LoadedSystem,
    frame: pd.DataFrame,
    backtest: Backtest,
    report: BacktestReport,
    *,
    identity: TrainingSetIdentity,
    tracking: Tracking,
    folder: Path,
    dagster_run_id: str,
) -> str:
    """Log a backtest as an MLflow run: training set, declaration, scores of all cuts, the report's files.

    Returns the run's id.
    """
    features = system.feature_set(backtest.model)
    model = system.declaration.models[backtest.model]
    tags = {
        "system": system.name,
        "kind": "backtest",
        "feature_set": features.hash,
        "training_set": identity.content_hash,
        "training_set_version": str(identity.version),
        "dagster_run_id": dagster_run_id,
    }
    cuts = {"cuts": len(report.scores), "cuts_skipped": len(backtest.skipped)}
    with tracking.run(system.name, name=f"backtest {backtest.model}", tags=tags) as run:
        tracking.log_training(
            frame[[*features.model_features, "outcome"]],
            name="training_set",
            digest=identity.content_hash,
            source=identity.path.as_uri(),
            params={"model": backtest.model, "estimator": model.estimator, **model.params, **cuts},
            metrics=report.evaluation.metrics() | (report.bets.metrics() if report.bets else {}),
        )
        tracking.log_files(folder, under=folder.name)
    return run.run_id
