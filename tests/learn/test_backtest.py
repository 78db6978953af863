"""Backtests: no cut sees later than its time, cuts are computed once, and scores are the arithmetic they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import ContractError, LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.learn.backtest import (
    ORIGIN,
    SCORE_COLUMNS,
    Cut,
    answer_cut,
    cut_scores,
    plan_cuts,
    run_backtest,
    visible_rows,
)
from forecastle.learn.backtest_report import log_backtest, report_backtest, write_backtest
from forecastle.learn.train import train_model
from forecastle.store.kept_cuts import WarehouseCuts
from forecastle.store.warehouse import Warehouse
from tests.learn import ferries

DAY = timedelta(days=1)
WEEKS = timedelta(weeks=4)


@dataclass
class FakeCuts:
    """Keeps cuts in memory, counts what is asked of it, and stops the run after so many when told to."""

    kept: dict[tuple[datetime, str], pd.DataFrame] = field(default_factory=dict)
    stop_after: int | None = None

    def read(self, cut: Cut, *, model: str, inputs: str) -> pd.DataFrame | None:
        return self.kept.get((cut.at, inputs))

    def keep(self, cut: Cut, rows: pd.DataFrame, *, model: str, inputs: str) -> None:
        if len(self.kept) == self.stop_after:
            raise KeyboardInterrupt
        self.kept[cut.at, inputs] = rows


def asked(*days: float) -> pd.DataFrame:
    """Rows asked at days after ORIGIN."""
    at = pd.to_datetime([ORIGIN + day * DAY for day in days], utc=True).as_unit("us")
    return pd.DataFrame({"predict_at": at})


def run(system: LoadedSystem, frame: pd.DataFrame, kept: FakeCuts | None = None, *, every: timedelta = WEEKS):
    cuts = plan_cuts(frame, every=every)
    return run_backtest(system, frame, model="trees", cuts=cuts, kept=kept or FakeCuts())


def changed(system_of: Path, old: str, new: str) -> LoadedSystem:
    """The ferries with one text of their declaration replaced."""
    assert old in ferries.DECLARATION
    return ferries.write_system(system_of, declaration=ferries.DECLARATION.replace(old, new))


def test_cuts_are_whole_steps_after_a_monday_whatever_the_first_row() -> None:
    """Rows of days 3 to 30 with a step of a week are cut on days 7, 14, 21 and 28; earlier rows move nothing."""
    found = plan_cuts(asked(3, 30), every=7 * DAY)
    assert [cut.at for cut in found] == [ORIGIN + day * DAY for day in (7, 14, 21, 28)]
    assert all(cut.until - cut.at == 7 * DAY for cut in found)
    assert ORIGIN.weekday() == 0
    assert plan_cuts(asked(6.5, 30), every=7 * DAY) == found


def test_cuts_begin_and_end_where_they_are_told() -> None:
    """From day 10 to day 25 by weeks: 10–17, 17–24, and 24–25, cut short."""
    found = plan_cuts(asked(0, 90), every=7 * DAY, since=ORIGIN + 10 * DAY, until=ORIGIN + 25 * DAY)
    spans = [((c.at - ORIGIN) / DAY, (c.until - ORIGIN) / DAY) for c in found]
    assert spans == [(10, 17), (17, 24), (24, 25)]


def test_history_keeps_the_newest_cuts_only() -> None:
    """Of cuts on days 7, 14, 21, 28 the last ten days before row 30 hold 21 and 28."""
    found = plan_cuts(asked(3, 30), every=7 * DAY, history=10 * DAY)
    assert [(cut.at - ORIGIN) / DAY for cut in found] == [21, 28]


def test_a_span_without_time_or_rows_is_refused() -> None:
    """An end before the beginning, and a training set without rows, are said plainly."""
    with pytest.raises(LearnError, match="has no time in it"):
        plan_cuts(asked(1, 2), every=DAY, since=ORIGIN + DAY, until=ORIGIN)
    with pytest.raises(LearnError, match="has no rows"):
        plan_cuts(asked().astype({"predict_at": "datetime64[us, UTC]"}), every=DAY)


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60)), min_size=1, max_size=40),
    at=st.integers(0, 60),
    embargo=st.integers(0, 5),
)
def test_no_cut_sees_what_was_not_known(days: list[tuple[float, float]], at: int, embargo: int) -> None:
    """A visible row was asked before the cut and known an embargo before it, or is one that the cut answers."""
    frame = asked(*(day for day, _ in days))
    frame["known_at"] = frame["predict_at"] + pd.to_timedelta([lag for _, lag in days], unit="D")
    cut = Cut(ORIGIN + at * DAY, ORIGIN + (at + 7) * DAY)
    seen = visible_rows(frame, cut, embargo=embargo * DAY)
    learned = seen[seen["predict_at"] < cut.at]
    assert (learned["known_at"] <= cut.at - embargo * DAY).all()
    assert (seen["predict_at"] < cut.until).all()
    answered = (frame["predict_at"] >= cut.at) & (frame["predict_at"] < cut.until)
    assert len(seen) - len(learned) == answered.sum()


def test_every_row_after_the_first_model_is_answered_once(system, frame) -> None:
    """600 crossings over 150 days: windows from the first cut that trains hold each later row exactly once."""
    found = run(system, frame)
    first = found.predictions["cut"].min()
    later = frame[frame["predict_at"] >= first]
    assert sorted(found.predictions["crossing_id"]) == sorted(later["crossing_id"])
    assert (found.predictions["predict_at"] >= found.predictions["cut"]).all()
    assert (found.predictions["predict_at"] < found.predictions["cut"] + WEEKS).all()
    assert found.computed == found.predictions["cut"].nunique()
    assert found.predictions["probability"].between(0, 1).all()


def test_early_cuts_are_skipped_with_their_reason(system, frame) -> None:
    """The first cut has hardly any history: its reason stands in the table, and the run goes on."""
    found = run(system, frame, every=7 * DAY)
    assert len(found.skipped) > 0
    assert found.skipped["reason"].str.contains("rows; at least 20 are required").all()
    assert found.skipped["cut"].max() < found.predictions["cut"].min()


def test_a_window_without_questions_is_skipped(system, frame) -> None:
    """Where nothing was asked there is nothing to answer, and no model is trained."""
    cuts = [Cut(ferries.START - 30 * DAY, ferries.START - 20 * DAY)]
    found = run_backtest(system, frame, model="trees", cuts=cuts, kept=FakeCuts())
    assert found.predictions.empty
    assert found.skipped["reason"].tolist() == ["nothing was asked in its window"]
    assert report_backtest(system, found) is None


def test_a_planted_future_row_never_trains(system, frame) -> None:
    """Rows asked before a cut whose outcome came after it leave its answers as they were, to the last bit."""
    cut = Cut(ferries.START + 90 * DAY, ferries.START + 110 * DAY)
    planted = frame.iloc[:200].assign(crossing_id=lambda rows: rows["crossing_id"] + 10_000)
    planted["outcome"] = 1 - planted["outcome"]
    planted["known_at"] = pd.Timestamp(cut.at) - 1 * DAY + pd.Timedelta(1, "us")  # the embargo is one day
    embargo = system.declaration.evaluate.split.embargo
    clean = visible_rows(frame, cut, embargo=embargo)
    both = visible_rows(pd.concat([planted, frame], ignore_index=True), cut, embargo=embargo)
    pd.testing.assert_frame_equal(clean, both)
    known = planted.assign(known_at=pd.Timestamp(cut.at) - DAY)
    allowed = visible_rows(pd.concat([known, frame], ignore_index=True), cut, embargo=embargo)
    answers, misled = (answer_cut(system, rows, cut, model="trees") for rows in (clean, allowed))
    assert not np.array_equal(answers["probability"], misled["probability"])  # it would have told had it been seen


def test_a_cut_is_what_train_model_makes_of_its_rows(system, frame) -> None:
    """The answers of a cut are the test probabilities of the ordinary training on the rows known then."""
    cut = Cut(ferries.START + 100 * DAY, ferries.START + 120 * DAY)
    rows = visible_rows(frame, cut, embargo=DAY)
    declared = system.declaration
    trained = train_model(
        rows, name="trees", model=declared.models["trees"], features=ferries.FEATURES,
        split=declared.evaluate.split, cluster="crossing_id", test_from=cut.at,
    )  # fmt: skip
    answers = answer_cut(system, rows, cut, model="trees")
    assert answers["probability"].tolist() == trained.test_probability.tolist()
    # 20 days of four crossings each.
    assert len(answers) == 80
    # Known by day 99: every six hours, five hours late, so 99 · 4 = 396 rows.
    assert answers["trained_rows"].iloc[0] == 396


def test_a_stopped_run_goes_on_where_it_was(system, frame) -> None:
    """After a stop in the third cut, two are kept, the others are computed, and the answers are those of one run."""
    kept = FakeCuts(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        run(system, frame, kept)
    kept.stop_after = None
    resumed, whole = run(system, frame, kept), run(system, frame)
    assert (resumed.kept, resumed.computed) == (2, whole.computed - 2)
    pd.testing.assert_frame_equal(resumed.predictions, whole.predictions)
    again = run(system, frame, kept)
    assert (again.kept, again.computed) == (whole.computed, 0)


def test_new_rows_leave_old_cuts_as_they_are(system, frame) -> None:
    """Rows appended later change the newest window only."""
    kept = FakeCuts()
    early = run(system, frame.iloc[:560], kept)
    late = run(system, frame, kept)
    assert late.kept == early.computed - 1
    assert late.computed >= 1


def test_another_declaration_is_computed_anew(system, frame, tmp_path) -> None:
    """A changed parameter or on-demand function shares no answers with what was before."""
    kept = FakeCuts()
    first = run(system, frame, kept)
    other = changed(tmp_path / "other", "n_estimators: 15", "n_estimators: 16")
    code = ferries.write_system(tmp_path / "code", code=ferries.CODE.replace("log1p", "sqrt"))
    for system_now in (other, code):
        found = run(system_now, frame, kept)
        assert (found.kept, found.computed) == (0, first.computed)


def test_a_corrected_outcome_is_computed_anew(system, frame) -> None:
    """One outcome that is another now recomputes its own window and every later cut, and no earlier one."""
    kept = FakeCuts()
    before = run(system, frame, kept)
    cuts = sorted(before.predictions["cut"].unique())
    row = int(frame.index[frame["predict_at"] >= cuts[1]][0])
    corrected = frame.copy()
    corrected.loc[row, "outcome"] = 1 - corrected.loc[row, "outcome"]
    after = run(system, corrected, kept)
    assert (after.kept, after.computed) == (1, len(cuts) - 1)


def test_the_warehouse_keeps_cuts(system, frame, tmp_path) -> None:
    """Through real tables the second run computes nothing and publishes the very same rows."""
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: ferries.NOW)
    cuts = plan_cuts(frame, every=WEEKS)
    kept = WarehouseCuts(warehouse, "ferries")
    first = run_backtest(system, frame, model="trees", cuts=cuts, kept=kept)
    version = warehouse.publish("ferries/backtest/all", first.predictions)
    second = run_backtest(system, frame, model="trees", cuts=cuts, kept=WarehouseCuts(warehouse, "ferries"))
    assert (second.computed, second.kept) == (0, first.computed)
    assert warehouse.publish("ferries/backtest/all", second.predictions).unchanged
    assert kept.read(cuts[-1], model="trees", inputs="another digest") is None
    version_of_cut = warehouse.resolve(str(next(t for t in warehouse.tables() if t.kind == "backtest_cut")))
    version_of_cut.path.unlink()
    third = run_backtest(system, frame, model="trees", cuts=cuts, kept=WarehouseCuts(warehouse, "ferries"))
    assert (third.computed, third.kept) == (1, first.computed - 1)
    assert warehouse.publish("ferries/backtest/all", third.predictions).content_hash == version.content_hash


def test_scores_of_a_cut_by_hand(system) -> None:
    """Brier (0.04 + 0.25 + 0.01) / 3 = 0.1; the baseline's 0.36 and 0.16 on two rows; their difference −0.115."""
    rows = pd.DataFrame(
        {
            "crossing_id": [1, 2, 3],
            "outcome": [1, 0, 0],
            "probability": [0.8, 0.5, 0.1],
            "guess": [0.4, 0.4, np.nan],
            "cut": pd.Timestamp(ferries.START),
            "trained_rows": 7,
        }
    )
    (found,) = cut_scores(system, rows).to_dict("records")
    assert tuple(found) == SCORE_COLUMNS
    assert found["brier"] == pytest.approx((0.2**2 + 0.5**2 + 0.1**2) / 3)
    assert found["baseline_brier"] == pytest.approx((0.6**2 + 0.4**2) / 2)
    assert found["difference"] == pytest.approx(((0.04 - 0.36) + (0.25 - 0.16)) / 2)
    assert found["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.5) + np.log(0.9)) / 3)
    assert found["auc"] == 1.0
    assert found["brier_low"] <= found["brier"] <= found["brier_high"]
    assert (found["rows"], found["clusters"], found["trained_rows"]) == (3, 3, 7)


def test_scores_without_what_they_need_are_nan(system) -> None:
    """One cluster carries no interval, one outcome no AUC, no price no baseline; Brier is there all the same."""
    rows = pd.DataFrame(
        {
            "crossing_id": [1, 1],
            "outcome": [1, 1],
            "probability": [0.5, 0.7],
            "guess": [np.nan, np.nan],
            "cut": pd.Timestamp(ferries.START),
            "trained_rows": 7,
        }
    )
    (found,) = cut_scores(system, rows).to_dict("records")
    assert found["brier"] == pytest.approx((0.25 + 0.09) / 2)
    assert all(np.isnan(found[name]) for name in ("brier_low", "auc", "baseline_brier", "difference"))


def test_the_report_is_left_and_logged(mlflow, doors, system, frame, tmp_path) -> None:
    """Page, JSON, pictures and scores by cut lie in the folder and in an MLflow run that names the training set."""
    found = run(system, frame)
    report = report_backtest(system, found)
    assert report is not None
    assert report.evaluation.rows == len(found.predictions)
    page = write_backtest(report, tmp_path / "backtest", title="ferries", facts={})
    files = {path.name for path in page.parent.iterdir()}
    assert {"index.html", "report.json", "reliability.png", "history.png", "cuts.csv"} <= files
    assert len((page.parent / "cuts.csv").read_text().splitlines()) == 1 + len(report.scores)
    tracking = doors.tracking
    run_id = log_backtest(
        system, frame, found, report, identity=ferries.identity(tmp_path), tracking=tracking,
        folder=page.parent, dagster_run_id="run-1",
    )  # fmt: skip
    told = tracking.describe(run_id)
    assert told["status"] == "FINISHED"
    assert told["tags"]["kind"] == "backtest"
    assert told["metrics"]["model.brier"] == pytest.approx(
        float(((found.predictions["probability"] - found.predictions["outcome"]) ** 2).mean())
    )
    logged = mlflow.MlflowClient(tracking.uri, tracking.uri).list_artifacts(run_id, "backtest")
    assert {Path(item.path).name for item in logged} == files


def test_a_backtest_need_not_be_declared(system) -> None:
    """Without a word in the declaration the first model is trained every four weeks over all of the history."""
    declared = system.declaration
    assert declared.backtested_model() == "trees"
    assert declared.backtest.every == WEEKS
    assert declared.backtest.history is None


def test_the_declared_model_must_exist(tmp_path) -> None:
    """A misspelt model is refused when the declaration loads, with the one that was meant."""
    with pytest.raises(ContractError, match=r"names unknown model 'tree'.*did you mean 'trees'"):
        changed(tmp_path, "gates:", "backtest: {model: tree, every: 2w}\ngates:")
