"""Live performance: which rows are final, what is said before outcomes come, and scores that hands can check."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.learn.calibration import calibration_of
from forecastle.learn.time_blocks import cluster_labels
from forecastle.measure.scores import auc, brier_score, log_loss
from forecastle.promote.live import (
    CALIBRATION_ROWS_MIN,
    COVERAGE_COLUMNS,
    LIVE_COLUMNS,
    calibration_rows,
    caller_conflicts,
    cohorts,
    coverage,
    live_scores,
    live_sentence,
)
from tests.learn import ferries

DAY = timedelta(days=1)
NOW = datetime.fromisoformat("2026-03-05T12:00:00+00:00")  # a Thursday
MATURES = 10 * DAY

STATUS = {"final": "known", "so_far": "known", "late": "asked_too_late", "waiting": "waiting", "overdue": "overdue"}


def answered(
    *rows: tuple[str, float, float | None], age: dict[str, float] | None = None, **columns: Any
) -> pd.DataFrame:
    """Rows of the outcomes table: (kind, probability, outcome); kinds are the keys of STATUS."""
    ages = {"final": 20.0, "overdue": 20.0, "so_far": 2.0, "waiting": 2.0, "late": 2.0} | (age or {})
    at = pd.to_datetime([NOW - ages[kind] * DAY for kind, _, _ in rows], utc=True).as_unit("us")
    frame = pd.DataFrame(
        {
            "crossing_id": np.arange(len(rows)),
            "predicted_at": at,
            "probability": np.array([p for _, p, _ in rows], dtype=np.float64),
            "outcome": np.array([np.nan if y is None else y for _, _, y in rows], dtype=np.float64),
            "status": pd.Series([STATUS[kind] for kind, _, _ in rows], dtype="str"),
            "is_mature": at + MATURES <= NOW,
            "guess": np.full(len(rows), 0.5),
            "route": pd.Series(["north"] * len(rows), dtype="str"),
            "model_version": pd.Series(["1"] * len(rows), dtype="str"),
        }
    )
    return frame.assign(**columns)


def scores(frame: pd.DataFrame, **options: Any) -> pd.DataFrame:
    return live_scores(frame, baseline="guess", cluster="crossing_id", **options)


def pick(table: pd.DataFrame, cohort: str, forecaster: str, metric: str, slice_name: str = "all") -> Any:
    wanted = (cohort, slice_name, forecaster, metric)
    (row,) = [r for r in table.itertuples() if (r.cohort, r.slice, r.forecaster, r.metric) == wanted]
    return row


def mixed(rows: int, *, seed: int = 0, kind: str = "final") -> pd.DataFrame:
    """Calibrated answers whose outcomes are drawn from them."""
    generator = np.random.default_rng(seed)
    p = generator.uniform(0.05, 0.95, rows)
    y = (generator.random(rows) < p).astype(float)
    return answered(*((kind, float(a), float(b)) for a, b in zip(p, y, strict=True)))


def test_only_old_known_rows_are_final() -> None:
    """Two final, one known early, one waiting, one overdue, one asked too late: 2, 3 and 2 rows."""
    frame = answered(
        ("final", 0.2, 0), ("final", 0.8, 1), ("so_far", 0.9, 1), ("waiting", 0.4, None), ("overdue", 0.5, None),
        ("late", 0.99, None),
    )  # fmt: skip
    assert {name: len(part) for name, part in cohorts(frame).items()} == {"final": 2, "so_far": 3, "open": 2}


def test_scores_by_hand() -> None:
    """Brier (0.04 + 0.09 + 0.16) / 3; the baseline of 0.5 has 0.25; CBPE expects the mean of p (1 − p)."""
    table = scores(answered(("final", 0.2, 0), ("final", 0.7, 1), ("final", 0.6, 1), ("waiting", 0.1, None)))
    assert tuple(table.columns) == LIVE_COLUMNS
    assert pick(table, "final", "model", "brier").estimate == pytest.approx((0.04 + 0.09 + 0.16) / 3)
    assert pick(table, "final", "baseline", "brier").estimate == pytest.approx(0.25)
    assert pick(table, "final", "baseline", "log_loss").estimate == pytest.approx(np.log(2))
    expected = (0.2 * 0.8 + 0.7 * 0.3 + 0.6 * 0.4) / 3
    assert pick(table, "final", "estimated", "brier").estimate == pytest.approx(expected)
    assert pick(table, "open", "estimated", "brier").estimate == pytest.approx(0.1 * 0.9)
    assert table[(table["cohort"] == "open") & (table["forecaster"] != "estimated")].empty


def test_intervals_hold_their_estimate_and_come_from_clusters() -> None:
    """200 rows of 20 crossings: the interval holds the estimate, and is another one than with 200 crossings."""
    frame = mixed(200)
    apart = pick(scores(frame), "final", "model", "brier")
    together = pick(scores(frame.assign(crossing_id=np.repeat(np.arange(20), 10))), "final", "model", "brier")
    assert apart.low < apart.estimate < apart.high
    assert (apart.rows, apart.clusters, together.clusters) == (200, 200, 20)
    assert together.estimate == apart.estimate
    assert (together.low, together.high) != (apart.low, apart.high)


def test_too_few_or_one_sided_rows_have_no_interval_and_no_auc() -> None:
    """One outcome only: Brier and log loss stand without an interval, the AUC is left out, nothing fails."""
    table = scores(answered(("final", 0.2, 0), ("final", 0.4, 0)))
    row = pick(table, "final", "model", "brier")
    assert row.estimate == pytest.approx((0.04 + 0.16) / 2)
    assert np.isnan(row.low)
    assert not ((table["metric"] == "auc") & (table["forecaster"] == "model")).any()


def test_a_baseline_that_was_not_logged_is_left_out() -> None:
    """Rows without a logged baseline count for the model only; with none at all there is no baseline row."""
    frame = mixed(60)
    half = frame.assign(guess=np.where(np.arange(60) < 30, 0.5, np.nan))
    assert pick(scores(half), "final", "baseline", "brier").rows == 30
    assert pick(scores(half), "final", "model", "brier").rows == 60
    none = scores(frame.assign(guess=np.nan))
    assert "baseline" not in set(none["forecaster"])


def test_slices_and_versions_add_up() -> None:
    """Rows by route and by model version are those of `all`; a null slice is in `all` only."""
    frame = mixed(90)
    frame["route"] = pd.Series(["north", "south", None] * 30, dtype="str")
    frame["model_version"] = pd.Series(["1", "2", "2"] * 30, dtype="str")
    table = scores(frame, slices=["route"])
    rows = {
        name: pick(table, "final", "model", "brier", name).rows
        for name in ("all", "route=north", "route=south", "model_version=1", "model_version=2")
    }
    assert rows == {"all": 90, "route=north": 30, "route=south": 30, "model_version=1": 30, "model_version=2": 60}


def test_nothing_served_gives_empty_tables_and_says_so() -> None:
    """No rows: empty tables with their columns and types, and a plain sentence."""
    frame = answered()
    assert list(scores(frame).columns) == list(LIVE_COLUMNS)
    assert scores(frame).empty
    assert list(coverage(frame, now=NOW).columns) == list(COVERAGE_COLUMNS)
    assert live_sentence(frame, matures=MATURES) == "Nothing has been asked yet."
    assert calibration_rows(frame).rows is None


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        (["waiting"] * 3, "No outcome is known yet for 3 predictions; only the estimate can be shown."),
        (
            ["so_far", "waiting"],
            "1 of 2 predictions have an outcome, none is older than 10 days: these scores are not final.",
        ),
        (["final", "so_far", "waiting"], "1 of 3 predictions are final, 1 more have an outcome so far."),
        (
            ["final", "late", "overdue"],
            (
                "1 of 3 predictions are final, 0 more have an outcome so far."
                " Asked after the outcome was known, and not counted: 1. Overdue: 1."
            ),
        ),
    ],
)
def test_the_sentence_tells_how_far_outcomes_are(kinds: list[str], sentence: str) -> None:
    """What is final, what is not, what never counts and what is missing is said in words."""
    frame = answered(*((kind, 0.5, 1.0 if kind in {"final", "so_far"} else None) for kind in kinds))
    assert live_sentence(frame, matures=MATURES) == sentence


def test_coverage_by_week_by_hand() -> None:
    """A mature week with 2 of 3 known and one asked too late, a fresh week with 1 of 2."""
    frame = answered(
        ("final", 0.5, 1), ("final", 0.5, 0), ("overdue", 0.5, None), ("late", 0.5, None), ("so_far", 0.5, 1),
        ("waiting", 0.5, None), age={"late": 20.0},
    )  # fmt: skip
    old, new = coverage(frame, now=NOW).to_dict("records")
    # NOW − 20 d is Friday 2026-02-13, of the week of Monday the 9th; NOW − 2 d is Tuesday, of Monday March the 2nd.
    assert [week["week"].date().isoformat() for week in (old, new)] == ["2026-02-09", "2026-03-02"]
    assert (old["predictions"], old["known"], old["asked_too_late"], old["overdue"]) == (4, 2, 1, 1)
    assert old["share_known"] == pytest.approx(2 / 3)
    assert new["share_known"] == pytest.approx(1 / 2)
    assert (old["is_mature"], new["is_mature"]) == (True, False)
    assert new["age_days"] == pytest.approx(3.5)  # Monday 00:00 to Thursday 12:00


def test_a_report_needs_rows_and_both_outcomes() -> None:
    """One row short, or one outcome only, gives no report and the reason with its numbers."""
    short = calibration_rows(mixed(CALIBRATION_ROWS_MIN - 1))
    assert short.rows is None
    assert short.sentence.startswith(f"No report yet: {CALIBRATION_ROWS_MIN - 1} predictions have an outcome")
    ones = calibration_rows(answered(*[("final", 0.9, 1.0)] * CALIBRATION_ROWS_MIN))
    assert ones.rows is None
    assert "50 of them 1; at least 50 and both outcomes" in ones.sentence


def test_a_report_prefers_final_rows() -> None:
    """With enough final rows the early ones stay out; with too few all known ones are taken and called not final."""
    final, early = mixed(60), mixed(70, seed=1, kind="so_far")
    both = calibration_rows(pd.concat([final, early], ignore_index=True))
    assert both.rows is not None
    assert (len(both.rows), both.excluded_rows) == (60, 70)
    assert both.sentence == "60 predictions with final outcomes."
    few = calibration_rows(pd.concat([final.iloc[:10], early], ignore_index=True))
    assert few.rows is not None
    assert (len(few.rows), few.sentence) == (80, "80 predictions with outcomes known so far, not final.")


def test_live_rows_make_a_report(tmp_path) -> None:
    """The rows fit the calibration report as they are, and its header says how many were left out."""
    frame = pd.concat([mixed(120), answered(("waiting", 0.5, None))], ignore_index=True)
    found = calibration_rows(frame)
    assert found.rows is not None
    report = calibration_of(ferries.write_system(tmp_path), found.rows, excluded_rows=found.excluded_rows)
    assert (report.n, report.excluded_rows) == (120, 1)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(0.01, 0.99), st.integers(0, 1)), min_size=2, max_size=60),
    waiting=st.integers(0, 5),
)
def test_estimates_are_those_of_the_plain_scores(rows: list[tuple[float, int]], waiting: int) -> None:
    """Whatever the rows, each estimate is the score's own function on the known rows, and waiting rows change none."""
    frame = answered(*(("final", p, float(y)) for p, y in rows), *[("waiting", 0.5, None)] * waiting)
    y, p = np.array([y for _, y in rows], dtype=float), np.array([p for p, _ in rows])
    table = scores(frame)
    assert pick(table, "final", "model", "brier").estimate == pytest.approx(brier_score(y, p))
    assert pick(table, "final", "model", "log_loss").estimate == pytest.approx(log_loss(y, p))
    told = table[(table["cohort"] == "final") & (table["forecaster"] == "model") & (table["metric"] == "auc")]
    assert told.empty or told["estimate"].iloc[0] == pytest.approx(auc(y, p))


def test_rows_without_a_cluster_stand_alone() -> None:
    """Clusters 7, 7, 9 and two rows without: four units; without missing labels nothing is changed."""
    rows = pd.DataFrame({"team": [7.0, np.nan, 7.0, np.nan, 9.0]})
    found = cluster_labels(rows, "team")
    assert found[0] == found[2]
    assert found.nunique() == 4
    assert cluster_labels(rows.dropna(), "team").tolist() == [7.0, 7.0, 9.0]
    assert cluster_labels(rows[rows["team"].isna()], "team").nunique() == 2


def test_rows_that_only_a_caller_knows_are_scored_with_intervals(tmp_path) -> None:
    """Neither entity nor label columns: scores, intervals and a report stand, with `unknown` for the slice."""
    rows = [("final", 0.3, float(i % 2)) for i in range(80)]
    frame = answered(*rows, crossing_id=np.nan, route=pd.Series([None] * 80, dtype="str"))
    row = scores(frame, slices=["route"]).query("cohort == 'final' and forecaster == 'model' and metric == 'brier'")
    assert row[["rows", "clusters"]].to_numpy().tolist() == [[80, 80]] * 2  # all, and of one model version
    assert row["low"].notna().all()
    found = calibration_rows(frame)
    report = calibration_of(ferries.write_system(tmp_path), found.rows)
    assert set(report.segments["value"]) == {"unknown"}


def test_callers_that_contradict_a_source_are_counted() -> None:
    """Three outcomes of both, two of which differ; what only one of them told is no conflict."""
    table = pd.DataFrame(
        {
            "prediction_id": ["a", "b", "c", "d", "e"], "outcome": [1.0, 0.0, 1.0, 1.0, 0.0],
            "told_by": ["source", "source", "source", "caller", "source"],
            "caller_outcome": [1.0, 1.0, 0.0, 1.0, np.nan],
        }
    )  # fmt: skip
    differ, sentence = caller_conflicts(table)
    assert differ["prediction_id"].tolist() == ["b", "c"]
    assert sentence.startswith("2 of 3 outcomes that a source and a caller told differ, such as that of prediction b")
    alike, sentence = caller_conflicts(table.iloc[[0, 3, 4]])
    assert alike.empty
    assert sentence == "1 outcomes were told by a source and by a caller, all of them alike."
