"""The reports of streamrec: small tables whose numbers can be seen, and the simulated service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from forecastle.contract.load import LoadedSystem
from tests.systems.sources import sources_of

PAGES = 60


def pages_of(scores: list[float], liked: list[int], *, chart: list[float]) -> pd.DataFrame:
    """One page over and over, each of another user."""
    films = len(scores)
    genders = np.where(np.arange(PAGES) % 2 == 0, "F", "M")
    return pd.DataFrame({
        "user_id": np.repeat(np.arange(PAGES), films),
        "item_id": np.tile(np.arange(films), PAGES),
        "predict_at": pd.Timestamp("2026-01-05", tz="UTC"),
        "probability": np.tile(scores, PAGES),
        "liked_share": np.tile(chart, PAGES),
        "outcome": np.tile(liked, PAGES),
        "gender": np.repeat(genders, films),
        "age_band": "under_25",
        "genre": np.tile(["Drama", "Comedy"] * (films // 2), PAGES),
    })  # fmt: skip


def test_rankings_by_hand(streamrec: LoadedSystem) -> None:
    """The model puts the liked film first, the chart third: NDCG@2 is 1 beside 0, Recall@2 too, on every page."""
    answers = pages_of([0.9, 0.5, 0.4, 0.1], [1, 0, 0, 0], chart=[0.2, 0.5, 0.4, 0.1])
    table = streamrec.function("reports:rankings")(answers, depth=2, long_depth=3)
    found = table.set_index(["forecaster", "metric", "k"])["estimate"]
    assert [found["model", metric, 2] for metric in ("hit", "recall", "ndcg")] == [1, 1, 1]
    assert [found["chart", metric, 2] for metric in ("hit", "recall", "ndcg")] == [0, 0, 0]
    assert found["chart", "ndcg", 3] == pytest.approx(1 / np.log2(4))
    assert found["difference", "ndcg", 3] == pytest.approx(1 - 1 / np.log2(4))
    assert isinstance(streamrec.function("reports:draw_rankings")(table), Figure)


def test_exposure_by_hand(streamrec: LoadedSystem) -> None:
    """Of two places the first weighs 1, the second 1 / log2(3); the head is the first quarter of the chart's order."""
    answers = pages_of([0.9, 0.5, 0.4, 0.1], [1, 0, 0, 0], chart=[0.2, 0.5, 0.4, 0.1])
    table = streamrec.function("reports:exposure")(answers, depth=2, resamples=100, seed=1)
    shares = table[table["measure"] == "exposure"].set_index("group")["exposure_share"]
    second = 1 / np.log2(3)
    assert shares["Drama"] == pytest.approx(1 / (1 + second))
    assert shares["head"] == pytest.approx(second / (1 + second))


def test_an_audience_that_finds_nothing_fails(streamrec: LoadedSystem) -> None:
    """Men find something on every page, women on none: women fail, and their intersection with age does."""
    answers = pages_of([0.9, 0.5, 0.4, 0.1], [1, 0, 0, 0], chart=[0.2, 0.5, 0.4, 0.1])
    women = answers["gender"] == "F"
    answers.loc[women, "outcome"] = np.tile([0, 0, 0, 1], int(women.sum()) // 4)
    answers.loc[answers["user_id"] < 4, "age_band"] = "from_40"
    table = streamrec.function("reports:audience")(answers, depth=2, pages_min=20, tolerance=0.1)
    verdicts = table.set_index("group")["verdict"]
    assert verdicts["F"] == "FAIL"
    assert verdicts["M"] == "PASS"
    assert verdicts["F × under_25"] == "FAIL"
    # Two pages only are shown and not judged.
    assert pd.isna(verdicts["F × from_40"])


def test_naive_lift_is_twice_the_causal_one(streamrec: LoadedSystem, film_world: Path) -> None:
    """In the simulated log the policy shows its favourites at good hours: what a dashboard says is twice the truth."""
    impressions = sources_of(streamrec, film_world).sql("SELECT * FROM impressions").to_arrow_table().to_pandas()
    table = streamrec.function("reports:off_policy")(impressions, seed=1)
    means = table.groupby("method")["estimate"].mean()
    assert means["naive"] > 1.5 * means["experiment"] > 0
    assert abs(means["off_policy"] - means["experiment"]) < abs(means["naive"] - means["experiment"])
    own = table[table["method"] == "off_policy"].set_index("campaign")
    truth = table[table["method"] == "experiment"].set_index("campaign")["estimate"]
    assert ((own["low"] < truth) & (truth < own["high"])).all()


def test_three_levels_by_declared_thresholds(
    streamrec: LoadedSystem, film_world: Path, page_answers: pd.DataFrame
) -> None:
    """Every threshold of the declaration stands in the table; the verdict is its comparison with the interval's end."""
    params = streamrec.declaration.reports["levels"].params
    impressions = sources_of(streamrec, film_world).sql("SELECT * FROM impressions").to_arrow_table().to_pandas()
    table = streamrec.function("reports:levels")(page_answers, impressions, **params)
    assert set(table["level"]) == {"component", "system", "business"}
    assert set(table["threshold"]) == {value for name, value in params.items() if name.endswith(("_min", "_max"))}
    least = table["limit"] == "min"
    holds = np.where(least, table["low"] >= table["threshold"], table["high"] <= table["threshold"])
    assert list(table["verdict"]) == ["PASS" if held else "FAIL" for held in holds]
    gain = table.set_index("measure").loc["ndcg@10_gain_on_chart"]
    assert gain["verdict"] == "PASS"
    assert gain["low"] > 0


def test_a_least_share_costs_more_the_larger_it_is(streamrec: LoadedSystem, page_answers: pd.DataFrame) -> None:
    """The share holds on average, and expected likes fall with it."""
    table = streamrec.function("reports:minimum_exposure")(page_answers, depth=10)
    assert (table["share_after"] >= table["minimum_share"] - 1e-9).all()
    assert table["expected_likes_kept_ratio"].is_monotonic_decreasing
    assert (table["expected_likes_kept_ratio"] <= 1).all()
