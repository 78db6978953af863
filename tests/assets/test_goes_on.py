"""The world of a system without data, looked at on two days in one home: the same world, further on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from assets.factory import build_system
from assets.parity import compare_online, fed_views
from forecastle.contract.load import LoadedSystem, discover, load_system
from forecastle.store.parity import ParityReport
from resources.environment import BUILT_IN_SYSTEMS, resources_from
from resources.platform import Alerts, Platform

pytestmark = pytest.mark.slow

FIRST = datetime(2026, 6, 1, 12, tzinfo=UTC)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Refreshed:
    """What one refresh of sources, features and online rows left behind."""

    sources: dict[str, pd.DataFrame]
    parity: ParityReport


def refreshed(system: LoadedSystem, home: Path, now: datetime, instance: dg.DagsterInstance) -> Refreshed:
    """Make every source, feature view and online table as they are at `now`."""
    platform = Platform(home=str(home), now=now.isoformat())
    ours = {"platform": platform, "alerts": Alerts(platform=platform)}
    definitions = dg.Definitions.merge(dg.Definitions(resources=resources_from({}) | ours), build_system(system))
    job = definitions.resolve_job_def(f"{system.name}_refresh")
    keys = [k for k in job.asset_layer.executable_asset_keys if k.path[1] in ("source", "features", "online")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job.execute_in_process(instance=instance, asset_selection=keys, run_config=QUIET)
    warehouse, views = platform.warehouse(), list(system.declaration.feature_views)
    names = [f"{system.name}/source/{name}" for name in system.declaration.sources]
    tables = {name: warehouse.frame(name) for name in names if warehouse.version(name) is not None}
    fed = fed_views(system, platform.layout)
    return Refreshed(tables, compare_online(platform, system, views, now=now, fed=fed))


@pytest.mark.parametrize("name", ["churn", "mlb", "prediction_markets"])
def test_a_day_later_the_same_world_has_gone_on(name: str, tmp_path: Path) -> None:
    """Every row of the first day is there on the second and others came; what is online is what the tables say."""
    system = load_system(discover([BUILT_IN_SYSTEMS])[name])
    with dg.DagsterInstance.ephemeral() as instance:
        first, second = (refreshed(system, tmp_path, FIRST + timedelta(days=days), instance) for days in (0, 1))
    came = 0
    for table, before in first.sources.items():
        after = second.sources[table]
        key = list(system.declaration.sources[table.rsplit("/", 1)[1]].key)
        both = before[key].merge(after[key], on=key, how="left", indicator=True)
        assert (both["_merge"] == "both").all(), table
        came += len(after) - len(before)
    assert came > 0
    for made in (first, second):
        assert made.parity.ok
        assert made.parity.compared > 0
