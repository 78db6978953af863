"""Sensors that start runs, and failures that tell themselves: what is asked for, why, and what holds it back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from assets.alerts import alerts_metadata, close_mended_runs, failures_of, row_ages
from assets.automation import DECISION, REASON, retried
from forecastle.alert.alerts import Alert
from forecastle.contract.source import Freshness
from forecastle.promote.retrain import RETRAIN_COLUMNS
from forecastle.store.online import OnlineView
from resources.platform import Alerts, Platform
from tests.assets.conftest import Made
from tests.assets.world import NAME, NOW, World, metadata

pytestmark = pytest.mark.xdist_group("graph")


class Looker:
    """One sensor of a world, asked again and again with the cursor it left."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.repository = world.definitions.get_repository_def()
        self.sensor = self.repository.get_sensor_def(f"{NAME}_{name}")
        self.cursor: str | None = None

    def look(self) -> list[dg.RunRequest] | str:
        """Run requests, or why there are none."""
        ours = {"platform": self.world.platform, "alerts": Alerts(platform=self.world.platform)}
        wanted = self.sensor.required_resource_keys
        with dg.build_sensor_context(
            instance=self.world.instance,
            repository_def=self.repository,
            cursor=self.cursor,
            sensor_name=self.sensor.name,
            resources={name: value for name, value in ours.items() if name in wanted},
        ) as context:
            tick = self.sensor.evaluate_tick(context)
        self.cursor = tick.cursor or self.cursor
        return list(tick.run_requests or ()) or str(tick.skip_message)


def names(request: dg.RunRequest) -> set[str]:
    return {"/".join(key.path[1:]) for key in request.asset_selection or ()}


@pytest.fixture
def fresh(made: Made, tmp_path: Path) -> Iterator[World]:
    """The same source files and an empty home."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield replace(made.world, home=tmp_path / "home", instance=instance)


def test_first_sources_are_asked_for_up_to_the_online_rows(fresh: World) -> None:
    """Nothing is there: every source with files, its features and their online rows; nothing needs a champion yet."""
    looker = Looker(fresh, "sources")
    (request,) = looker.look()
    asked = names(request)
    assert {"source/quotes", "features/market_quotes", "online/market_quotes", "data_quality"} <= asked
    assert "retrain_decision" in asked
    assert not asked & {"drift/features", "training_set", "models/lightgbm"}
    assert "there is no champion to watch yet" in request.tags[REASON]
    assert looker.look() == "None of 7 sources has changed."


def test_a_changed_file_is_asked_for_with_what_follows(copied: World) -> None:
    """A first look at a home that is made starts nothing; a file that is written anew starts its part of the graph."""
    looker = Looker(copied, "sources")
    assert looker.look() == "None of 7 sources has changed."
    path = copied.data / NAME / "polls_races.parquet"
    os.utime(path, ns=(1, 1))
    (request,) = looker.look()
    asked = names(request)
    assert "source/polls" in asked
    assert {"features/market_polls", "online/market_polls", "drift/features", "retrain_decision"} <= asked
    assert not asked & {"source/trades", "features/market_trades", "training_set", "promotion"}
    assert request.tags[REASON] == "polls changed"


def test_what_another_run_has_read_is_not_read_again(copied: World) -> None:
    """A file changes, the schedule's run reads it first: the sensor has nothing to do until it changes once more."""
    looker = Looker(copied, "sources")
    looker.look()
    path = copied.data / NAME / "polls_races.parquet"
    os.utime(path, ns=(1, 1))
    assert copied.run("source/polls").success
    assert looker.look() == "None of 7 sources has changed."
    os.utime(path, ns=(2, 2))
    (request,) = looker.look()
    assert "source/polls" in names(request)


def test_a_failed_ingest_is_tried_again_later(fresh: World) -> None:
    """15 minutes after a failure, half an hour after two; the same assets; nothing after a success."""
    job = fresh.definitions.resolve_job_def(f"{NAME}_ingest")
    asked = frozenset({dg.AssetKey([NAME, "source", "quotes"])})
    began = fresh.instance.get_run_records
    assert retried(fresh.instance, job.name, now=NOW) is None

    def fail() -> datetime:
        fresh.instance.create_run_for_job(job, asset_selection=asked, status=dg.DagsterRunStatus.FAILURE)
        return began(limit=1)[0].create_timestamp

    at = fail()
    early = retried(fresh.instance, job.name, now=at + timedelta(minutes=14))
    assert isinstance(early, dg.SkipReason)
    assert "1 run(s) in a row failed" in str(early.skip_message)
    again = retried(fresh.instance, job.name, now=at + timedelta(minutes=15))
    assert isinstance(again, dg.RunRequest)
    assert set(again.asset_selection or ()) == asked
    at = fail()
    assert isinstance(retried(fresh.instance, job.name, now=at + timedelta(minutes=29)), dg.SkipReason)
    assert isinstance(retried(fresh.instance, job.name, now=at + timedelta(minutes=30)), dg.RunRequest)
    fresh.instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS)
    assert retried(fresh.instance, job.name, now=at + timedelta(days=1)) is None


def decide(world: World, decision: str, *, times: int = 1) -> None:
    """What the retrain_decision asset leaves."""
    for number in range(times):
        row = {"decision": decision, "cause": "age", "says": decision, "reason": f"the model is old ({number})"}
        frame = pd.DataFrame([row | {"value": 1.0, "limit": 1.0}])[list(RETRAIN_COLUMNS)]
        world.platform.warehouse().publish(f"{NAME}/retrain_decision/all", frame)


def start(world: World, status: dg.DagsterRunStatus, *, decision: int) -> None:
    """A training that a decision started, as the run storage has it."""
    job = world.definitions.resolve_job_def(f"{NAME}_train")
    world.instance.create_run_for_job(job, tags={DECISION: str(decision)}, status=status)


def test_a_decision_starts_one_training(fresh: World) -> None:
    """A decision to retrain starts a run with its reason; while it runs nothing starts again."""
    looker = Looker(fresh, "retraining")
    assert looker.look() == "retrain_decision was not made yet."
    decide(fresh, "watch")
    assert "watch: the model is old" in looker.look()
    decide(fresh, "retrain")
    (request,) = looker.look()
    version = int(request.tags[DECISION])
    assert request.tags[REASON] == "the model is old (0); training 1 of 4 of this UTC day"
    assert request.run_key == f"decision {version}, attempt 1"
    start(fresh, dg.DagsterRunStatus.STARTED, decision=version)
    assert "a training is running" in looker.look()


def test_a_training_that_failed_waits(fresh: World) -> None:
    """The tick says when the next may begin."""
    looker = Looker(fresh, "retraining")
    decide(fresh, "retrain")
    (request,) = looker.look()
    start(fresh, dg.DagsterRunStatus.FAILURE, decision=int(request.tags[DECISION]))
    # Runs are stamped by the system's clock, the platform's replays an earlier day: the wait is not over.
    assert "1 training(s) in a row failed; the next may begin at" in looker.look()


def test_rows_in_doubt_hold_a_training_back(fresh: World) -> None:
    """An open error of a source is named; once it recovers, the training starts."""
    looker = Looker(fresh, "retraining")
    decide(fresh, "retrain")
    log = Alerts(platform=fresh.platform).log()
    asset = f"{NAME}/features/market_trades"
    log.raise_alert(Alert(NAME, asset, "units", "error", "minutes", "ask"))
    said = looker.look()
    assert "rows are in doubt" in said
    assert f"{asset} units" in said
    log.recover(NAME, asset, "units", message="seconds again")
    assert len(looker.look()) == 1


def test_no_trial_asks_for_nothing(fresh: World) -> None:
    """Said in the tick."""
    assert Looker(fresh, "trial").look() == "No bundle is under trial."


def test_a_failed_run_is_an_alert_and_a_good_one_closes_it(copied: World) -> None:
    """The step's reason and the run stand in it; assets that were only skipped are not named."""
    path = copied.data / NAME / "quotes.parquet"
    saved = path.read_bytes()
    path.write_bytes(b"no parquet")
    result = copied.run("source/quotes", "features/market_quotes")
    run = copied.instance.get_run_by_id(result.run_id)
    assert run is not None
    (alert,) = failures_of(run, copied.instance, told="")
    assert (alert.asset, alert.cause, alert.severity, alert.run_id) == (
        f"{NAME}/source/quotes", "run_failure", "error", result.run_id,
    )  # fmt: skip
    assert "quotes" in alert.message
    alerts = Alerts(platform=copied.platform)
    log = alerts.log()
    log.raise_alert(alert)
    assert close_mended_runs(log, NAME, copied.instance) == []
    assert alerts_metadata(alerts, copied.system)["open"] == 1
    path.write_bytes(saved)
    copied.run("source/quotes")
    assert close_mended_runs(log, NAME, copied.instance) == [f"{NAME}/source/quotes: it was made again"]
    assert log.open(NAME) == []


def test_rows_grow_old_without_a_run(made: Made) -> None:
    """The same table is fine now, a warning after its `warn` and an error after its `fail`, and nothing ran between."""
    system, states = made.world.system, {}
    for days in (0, 4, 9):
        later = Platform(
            home=str(made.world.home), data=str(made.world.data), now=(NOW + timedelta(days=days)).isoformat()
        )
        states[days] = row_ages(system, later)[f"event_time_freshness:{NAME}/source/quotes"].state
    assert states == {0: "PASS", 4: "WARN", 9: "FAIL"}


def test_a_push_that_stands_still_is_named(copied: World) -> None:
    """The features are fresh and the online rows are of four days ago: their age is a warning of online, by itself."""
    name, keys = f"event_time_freshness:{NAME}/online/market_quotes", ["market_id"]
    assert row_ages(copied.system, copied.platform)[name].state == "PASS"
    view = copied.system.declaration.feature_views["market_quotes"]
    old = OnlineView("market_quotes", dict.fromkeys(keys, "int64"), {f: c.dtype for f, c in view.features.items()})
    path = copied.platform.layout.online(NAME)
    path.unlink()
    at_us = int((NOW - timedelta(days=4)).timestamp() * 1e6)
    with closing(copied.platform.online(NAME)) as store:
        store.write(old, [(1, at_us, at_us, *[0.5] * len(view.features))])
    ages = row_ages(copied.system, copied.platform)
    assert ages[name].state == "WARN"
    assert ages[name.replace("online", "features")].state == "PASS"


def test_old_rows_that_come_again_as_new_are_old(made: Made) -> None:
    """Knowledge times move and event times do not: the older of the two is the row's age."""
    from assets.freshness import state_of

    warehouse = made.world.platform.warehouse()
    version = warehouse.resolve(f"{NAME}/source/quotes")
    frame = warehouse.frame(version)
    replayed = frame.assign(event_at=frame["event_at"] - pd.Timedelta(days=20))
    again = warehouse.publish(f"{NAME}/source/replayed", replayed)
    limits = Freshness(warn=timedelta(days=3), fail=timedelta(days=7))
    state, sentence = state_of(warehouse, again, limits, now=NOW)
    assert state == "FAIL"
    assert "(known at 2026-0" in sentence


def test_the_quality_of_a_calm_world_is_as_usual(made: Made) -> None:
    """Every check of data_quality passes, and the asset shows its picture and most unusual series."""
    told = metadata(made.result, "data_quality")
    assert told["alarms"] == 0
    assert told["picture"].startswith("![")
    assert "features/market_quotes" in told["table"]


def test_the_experiment_without_a_trial_says_so(made: Made) -> None:
    """No table, no error."""
    assert metadata(made.result, "experiment")["reasons"] == "No bundle is under trial."


def test_what_is_made_without_being_asked(made: Made) -> None:
    """Features, online rows and watchers follow what they are made of; models are made by decisions only."""
    graph = made.world.definitions.resolve_asset_graph()
    follows = {"/".join(k.path[1:]) for k in graph.get_all_asset_keys() if graph.get(k).automation_condition}
    assert {"features/market_quotes", "online/market_quotes", "drift/features", "predictions"} <= follows
    assert not follows & {"training_set", "models/lightgbm", "promotion", "source/quotes", "bento"}
