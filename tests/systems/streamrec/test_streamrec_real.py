"""Streamrec on real ratings and a real log: better lists than the chart, and a naive lift that an experiment denies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.learn.backtest import Cut, answer_cut, visible_rows
from forecastle.store.leakage import leakage_check
from tests.systems.sources import sources_of, train_on

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("streamrec_real")]

MARCH = datetime(1998, 3, 1, tzinfo=UTC)
END = datetime(1998, 4, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def spring(streamrec: LoadedSystem, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What a model of 1 March 1998 says of the pages since; the leakage check looks at the training set first."""
    warehouse, training = train_on(streamrec, real_data, tmp_path_factory.mktemp("real_films"), now=END)
    report = leakage_check(warehouse, streamrec, training, instants=1)
    assert report.ok, report.sentence()
    cut = Cut(MARCH, END)
    rows = visible_rows(warehouse.frame(training), cut, embargo=timedelta(days=1))
    return answer_cut(streamrec, rows, cut, model="lightgbm")


def test_the_lists_are_better_than_the_chart(streamrec: LoadedSystem, spring: pd.DataFrame) -> None:
    """NDCG@10 gains on the chart on the same pages beyond chance, Recall@10 on average; Hit@10 is near 0.8."""
    table = streamrec.function("reports:rankings")(spring, depth=10, long_depth=20)
    found = table.set_index(["forecaster", "metric", "k"])
    assert 0.75 < found.loc[("model", "hit", 10), "estimate"] < 0.87
    assert found.loc[("difference", "ndcg", 10), "low"] > 0
    assert found.loc[("difference", "recall", 10), "estimate"] > 0
    assert 0.03 < found.loc[("difference", "ndcg", 10), "estimate"] < 0.12


def test_a_dashboard_would_have_been_believed(streamrec: LoadedSystem, real_data: Path) -> None:
    """The naive lift of what was clicked excludes 0 in both campaigns; under the uniform policy 0 lies inside both."""
    impressions = sources_of(streamrec, real_data).sql("SELECT * FROM impressions").to_arrow_table().to_pandas()
    table = streamrec.function("reports:off_policy")(impressions, seed=1).set_index(["method", "campaign"])
    assert (table.loc["naive", "low"] > 0).all()
    for method in ("off_policy", "experiment"):
        assert ((table.loc[method, "low"] < 0) & (table.loc[method, "high"] > 0)).all()
    assert table.loc[("naive", "men"), "estimate"] == pytest.approx(0.0106, abs=5e-4)
    assert table.loc[("experiment", "men"), "estimate"] == pytest.approx(-0.0011, abs=5e-4)
