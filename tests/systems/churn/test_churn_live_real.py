"""Churn lived through on real orders: a model of January is served, found out, and replaced by the platform itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.world import World

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("churn_live_real")]

JANUARY = datetime(2011, 1, 2, 9, tzinfo=UTC)
FEBRUARY = datetime(2011, 2, 1, 9, tzinfo=UTC)
MAY = datetime(2011, 5, 4, 9, tzinfo=UTC)
LIVE = ("predictions", "outcomes", "live_performance", "live_calibration", "drift/features", "retrain_decision")


def asked(world, now):
    world.made([*world.online, "batch_predictions"], now=now)
    ids = world.frame("batch_predictions/all")["customer_id"].tolist()
    out = []
    with world.service(lambda: now) as service:
        for s in range(0, len(ids), 500):
            body = service.post("/predict_batch", {"requests": [{"entity": {"customer_id": i}} for i in ids[s:s+500]]}).body
            out += body["answers"]
    return out


def show(world, ran):
    import pprint
    for e in ran.get_asset_materialization_events():
        print(e.asset_key.to_user_string()); pprint.pprint({k: str(v.value)[:1500] for k, v in e.materialization.metadata.items() if "image" not in k and "picture" not in k})
    for c in ran.get_asset_check_evaluations():
        print(c.check_name, c.passed, c.description)


def test_x(churn, real_data, tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(churn, tmp_path, real_data, instance)
        world.made([*world.tables, *world.online, *world.training], now=JANUARY)
        print(world.platform(JANUARY).registry().decisions("churn")[0])
        a = asked(world, FEBRUARY)
        print(len(a), a[0].get("probability"), sum(r.get("probability", 0) for r in a)/len(a), sum("probability" in r for r in a))
        ran = world.made(["drift/features", "retrain_decision"], now=FEBRUARY)
        show(world, ran)
        ran = world.made(LIVE, now=MAY)
        show(world, ran)
        print(world.frame("live_performance/all").to_string())
        ran = world.made([*world.online, *world.training], now=MAY)
        print(world.platform(MAY).registry().decisions("churn")[0])
        print(world.champion())
