"""What arrived each day, counted in SQL as it is counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.column import Column
from forecastle.contract.load import load_system
from forecastle.measure.quality import judge_quality
from forecastle.store.quality import PROFILE_COLUMNS, ProfiledTable, daily_profile, profiled_tables
from forecastle.store.warehouse import Warehouse

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TABLE = ProfiledTable(
    "source",
    "calls",
    {"caller": Column(dtype="int64", unit="id"), "wait_seconds": Column(dtype="float64", unit="seconds")},
    ("caller",),
)


def calls(*, wrong_share: float, between: float = 0.0, within: float = 0.3) -> pd.DataFrame:
    """Forty days of 60 callers who wait about ten minutes; on the last day a share is written in minutes.

    `between` callers and `within` the days of one: standard deviations of the logarithm.
    """
    random = np.random.default_rng(5)
    days = np.repeat(np.arange(40), 60)
    at = pd.Series([NOW - timedelta(days=int(39 - day), hours=2) for day in days]).astype("datetime64[us, UTC]")
    usual = np.tile(random.normal(np.log(600), between, 60), 40)
    wait = np.exp(usual + random.normal(0.0, within, len(days)))
    wrong = (days == 39) & (random.random(len(days)) < wrong_share)
    wait = np.where(wrong, wait / 60, wait)
    wait[5] = np.nan
    return pd.DataFrame({"caller": np.tile(np.arange(60), 40), "wait_seconds": wait, "event_at": at, "known_at": at})


def profile(tmp_path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: NOW)
    version = warehouse.publish("toy/source/calls", frame)
    return daily_profile(warehouse, TABLE, version, now=NOW)


def test_counts_are_those_of_pandas(tmp_path: Path) -> None:
    """Rows, nulls and outliers a day; ids are no numbers."""
    frame = calls(wrong_share=0.0)
    found = profile(tmp_path, frame)
    assert list(found.columns) == list(PROFILE_COLUMNS)
    days = frame["known_at"].dt.date
    volume = found[found["measure"] == "volume"].set_index("day")["found"].sort_index()
    assert volume.to_dict() == frame.groupby(days).size().to_dict()
    nulls = found[(found["measure"] == "null_rate") & (found["column"] == "wait_seconds")].set_index("day")["found"]
    assert nulls.to_dict() == frame["wait_seconds"].isna().groupby(days).sum().to_dict()
    before = frame.loc[days < days.max(), "wait_seconds"].dropna()
    low, high = before.quantile([0.0005, 0.9995])
    beyond = (frame["wait_seconds"] < low) | (frame["wait_seconds"] > high)
    outliers = found[found["measure"] == "outlier_rate"].set_index("day")["found"]
    assert outliers.to_dict() == beyond.groupby(days).sum().to_dict()
    assert set(found.loc[found["measure"] == "unit_jump_rate", "column"]) == {"wait_seconds"}


@pytest.mark.parametrize(
    ("between", "within", "seen"),
    [
        # All callers alike: ten seconds are beyond the extremes, and lie anywhere beside the factor.
        (0.0, 0.3, "outlier_rate"),
        # Callers as different as seconds and hours, each of them steady: nothing is extreme, the factor is exact.
        (2.5, 0.05, "unit_jump_rate"),
    ],
)
def test_minutes_in_a_part_of_the_rows_are_seen(tmp_path: Path, between: float, within: float, seen: str) -> None:
    """One row in seven on the first day, 60 rows in all; without them nothing is unusual."""
    for share, alarms in ((0.0, set()), (0.15, {seen})):
        frame = calls(wrong_share=share, between=between, within=within)
        judged = judge_quality(profile(tmp_path, frame), today=NOW.date())
        assert set(judged.loc[judged["alarm"], "measure"]) == alarms


def test_later_and_older_rows_are_left_out(tmp_path: Path) -> None:
    """What becomes known after now is not there yet; nine weeks are looked at."""
    frame = calls(wrong_share=0.0)
    frame.loc[0, "known_at"] = NOW + timedelta(hours=1)
    frame.loc[1, "known_at"] = NOW - timedelta(days=64)
    found = profile(tmp_path, frame)
    assert found.loc[found["measure"] == "volume", "found"].sum() == len(frame) - 2


def test_rows_are_about_what_comes_again() -> None:
    """Quotes are of a market, trades of one too though each has an id, polls of a candidate in a race."""
    system = load_system(Path(__file__).parents[2] / "platform" / "systems" / "prediction_markets")
    keys = {table.name: table.keys for table in profiled_tables(system)}
    assert keys["quotes"] == ("mid",)
    assert keys["trades"] == ("mid",)
    assert keys["polls"] == ("race_id", "candidate_name")
    assert keys["market_quotes"] == ("market_id",)


def test_each_day_is_counted_up_to_this_time_of_day_as_well(tmp_path: Path) -> None:
    """Three rows a day at 8, 12 and 20 o'clock, looked at on a noon: two of them so far, the one at 8 is null."""
    hours = [NOW - timedelta(days=days) + timedelta(hours=after) for days in range(3) for after in (-4, 0, 8)]
    at = pd.Series([hour for hour in hours if hour <= NOW]).astype("datetime64[us, UTC]")
    wait = pd.Series(np.where(at.dt.hour == 8, np.nan, 600.0))
    found = profile(tmp_path, pd.DataFrame({"caller": 1, "wait_seconds": wait, "event_at": at, "known_at": at}))
    nulls = found[(found["measure"] == "null_rate") & (found["column"] == "wait_seconds")].sort_values("day")
    assert nulls[["rows", "found", "rows_so_far", "found_so_far"]].to_numpy().tolist() == [[3, 1, 2, 1]] * 2 + [
        [2, 1, 2, 1]
    ]


def test_outliers_are_counted_by_entity(tmp_path: Path) -> None:
    """One caller waits for hours eight times on one morning: that is one outlier among 60 callers, and no alarm.

    Eight of 67 rows where one in a thousand is usual would be one: the chance is about C(67, 8) / 1000⁸ < 1e-13.
    """
    frame = calls(wrong_share=0.0)
    last = frame[frame["known_at"] == frame["known_at"].max()].iloc[[0] * 7]
    busy = pd.concat([frame, last], ignore_index=True)
    waits = [-67, *range(-7, 0)]
    busy.loc[busy.index[waits], "wait_seconds"] = 1e6
    assert set(busy.iloc[waits]["caller"]) == {0}
    found = profile(tmp_path, busy)
    newest = found[(found["measure"] == "outlier_rate") & (found["day"] == NOW.date())].iloc[0]
    assert (newest["rows"], newest["found"], newest["rows_so_far"], newest["found_so_far"]) == (60, 1, 60, 1)
    assert not judge_quality(found, today=NOW.date())["alarm"].any()
    by_row = found[found["measure"] == "outlier_rate"].reset_index(drop=True)
    by_row.loc[by_row["day"] == NOW.date(), ["rows", "found", "rows_so_far", "found_so_far"]] = (67, 8, 67, 8)
    assert judge_quality(by_row, today=NOW.date())["alarm"].all()


def test_an_entity_of_two_keys_is_one(tmp_path: Path) -> None:
    """Two callers of the same number in two countries are two."""
    keys = ("caller", "country")
    columns = {**TABLE.columns, "country": Column(dtype="string", unit="category")}
    frame = calls(wrong_share=0.0).assign(country="a")
    both = pd.concat([frame, frame.assign(country="b")], ignore_index=True)
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: NOW)
    version = warehouse.publish("toy/source/calls", both)
    found = daily_profile(warehouse, ProfiledTable("source", "calls", columns, keys), version, now=NOW)
    assert set(found.loc[found["measure"] == "outlier_rate", "rows"]) == {120, 118}
