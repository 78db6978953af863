"""`backtest` and `backtest_cut`: a cut is a partition, made alone or with all others, and kept where it is the same."""

from __future__ import annotations

import warnings

import dagster as dg
import pytest

from assets.backtest import build_backtest_cut, partition_of, partitions, planned
from assets.models import read_training_set
from tests.assets.conftest import Made
from tests.assets.world import NAME, World, metadata

pytestmark = pytest.mark.xdist_group("graph")

CUT = dg.AssetKey([NAME, "backtest_cut"])


def one_cut(world: World, partition: str) -> dg.ExecuteInProcessResult:
    world.instance.add_dynamic_partitions(partitions(world.system).name, [partition])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dg.materialize(
            [build_backtest_cut(world.system)],
            resources={"platform": world.platform},
            partition_key=partition,
            instance=world.instance,
            raise_on_error=False,
        )


def cuts_of(world: World) -> list[str]:
    _, frame = read_training_set(world.platform, world.system)
    return [partition_of(cut.at) for cut in planned(world.system, frame)]


def test_every_cut_that_answered_is_a_partition_with_its_scores(made: Made) -> None:
    """The refresh tells one materialisation a cut, and no cut that was skipped."""
    events = [e.materialization for e in made.result.get_asset_materialization_events() if e.asset_key == CUT]
    told = metadata(made.result, "backtest")
    assert len(events) == told["cuts_computed"] + told["cuts_kept"] > 3
    assert {event.partition for event in events} == set(
        made.world.instance.get_dynamic_partitions(partitions(made.world.system).name)
    )
    assert {event.partition for event in events} <= set(cuts_of(made.world))
    assert all(0 < event.metadata["brier"].value < 1 for event in events)


def test_what_the_decisions_earned_is_told_and_drawn(made: Made) -> None:
    """Profit, return with its interval, drawdown, and the picture; profits of the cuts add up."""
    told = metadata(made.result, "backtest")
    assert "bets of" in told["profit"]
    assert "largest drawdown" in told["profit"]
    assert "data:image/png;base64," in told["profit"]
    assert told["profit.return_ratio_low"] < told["profit.return_ratio"] < told["profit.return_ratio_high"]
    folder = made.world.platform.layout.reports / NAME / "backtest"
    assert {"bets.csv", "profit.csv", "profit.png"} <= {path.name for path in folder.iterdir()}


def test_a_cut_that_is_the_same_is_kept(copied: World) -> None:
    """Made alone after the whole: nothing is trained, the scores are the same."""
    done = one_cut(copied, cuts_of(copied)[-1])
    (event,) = done.get_asset_materialization_events()
    assert done.success
    assert event.materialization.metadata["kept"].value is True


def test_a_partition_that_is_no_cut_is_told(copied: World) -> None:
    """A typed date between two cuts: what there is instead."""
    done = one_cut(copied, "2026-01-01T13:37")
    failure = done.failure_data_for_node(f"{NAME}__backtest_cut").user_failure_data
    assert "2026-01-01T13:37 is no cut of the training set; there are" in failure.description
