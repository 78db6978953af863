"""The asset `shadow`: which bundle is compared, and what stands in its table."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.rollout import build_shadow, candidate_of, recent_answers
from forecastle.promote.registry import Registry
from forecastle.promote.rollout import RolloutRecord
from forecastle.serve.settings import Settings
from forecastle.store.home import Home
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import running


@pytest.fixture
def served(tmp_path) -> SimpleNamespace:
    """A home where bundle 1 has given three answers and bundle 2 was refused; and a platform as the asset asks it."""
    home = toy.home_with_champion(tmp_path / "home")
    registry = Registry(home.registry, clock=lambda: toy.NOW)
    first = next(home.bundles("toy").iterdir()).name
    second = toy.make_bundle(home, seed=2, version="2")
    registry.promote("toy", bundle=first, model_version="1", approved_by="gates", expected=None)
    for bundle, promote in ((first, True), (second, False)):
        registry.record_decision(
            "toy", model="lightgbm", bundle=bundle, model_version="1", promote=promote, reasons=[], evidence={}
        )
    toy.push(home.online("toy"), market_id=1)
    with running(Settings("toy", home, None, lambda: toy.NOW)) as client:
        for _ in range(3):
            assert client.predict({"entity": {"market_id": 1}}).status == 200
    platform = SimpleNamespace(
        layout=home,
        clock=lambda: toy.NOW,
        registry=lambda: registry,
        prediction_log=lambda name: PredictionReader(home.prediction_log(name)),
    )
    return SimpleNamespace(platform=platform, first=first, second=second)


def a_system(days: int = 7) -> Any:
    return SimpleNamespace(name="toy", declaration=SimpleNamespace(drift=SimpleNamespace(window=timedelta(days=days))))


def test_the_refused_bundle_is_compared_until_one_is_under_trial(served):
    """Without a trial it is the newest judged bundle that does not answer; a trial's bundle comes first."""
    assert candidate_of(served.platform, a_system()) == served.second
    record = RolloutRecord(served.platform.layout.registry, clock=lambda: toy.NOW)
    record.start("toy", bundle="c" * 64, model_version="3", share=0.1, approved_by="ann", reason="")
    assert candidate_of(served.platform, a_system()) == "c" * 64


def test_a_bundle_that_is_gone_is_not_compared(served, tmp_path):
    """The refused bundle's folder was removed: there is nothing to compare."""
    folder: Home = served.platform.layout
    (folder.bundles("toy") / served.second).rename(tmp_path / "elsewhere")
    assert candidate_of(served.platform, a_system()) is None


def test_answers_of_the_window_are_taken(served):
    """Three answers of now lie in a week's window; with a clock eight days on, none does."""
    assert len(list(recent_answers(served.platform, a_system()))) == 3
    served.platform.clock = lambda: toy.NOW + timedelta(days=8)
    assert list(recent_answers(served.platform, a_system())) == []


def test_the_asset_stands_behind_promotion_and_predictions():
    """Its key and its upstreams, for a system that ships with the platform."""
    from forecastle.contract.load import discover, load_system
    from resources.environment import system_folders

    folder = discover(system_folders({}))["prediction_markets"]
    asset = build_shadow(load_system(folder))
    assert asset.key == dg.AssetKey(["prediction_markets", "shadow"])
    assert {k.path[-1] for k in asset.asset_deps[asset.key]} == {"promotion", "predictions"}
