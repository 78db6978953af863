"""What happens without being asked: jobs, schedules and sensors of a system.

Belongs here: when something runs, and why, in words that the UI shows (`forecastle/reason` of the run, else the tick).
Does not belong here: what a run computes, what is alarming (`alerts.py`).
https://docs.dagster.io/guides/automate
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import takewhile

import dagster as dg
import pandas as pd
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from assets.describe import key
from assets.matrix import partitioned_keys
from assets.rest import rest_of_run
from assets.source_marks import is_new, source_marks
from forecastle.contract.load import LoadedSystem
from forecastle.promote.retrain_budget import Attempt, may_train, wait_after
from forecastle.promote.rollout import RolloutRecord
from forecastle.store.told import told_until
from resources.platform import Alerts, Platform

MAX_RUNTIME_SECONDS = 3600
RETRIED = 20
REASON = "forecastle/reason"
DECISION = "forecastle/decision"

_INGESTED = ("source", "features", "online", "data_quality", "parity")
_WATCHED = (
    "drift",
    "predictions",
    "outcomes",
    "live_performance",
    "live_calibration",
    "experiment",
    "retrain_decision",
)
_TRAINED = (
    "training_set", "models", "factory", "evaluation", "calibration", "comparison", "ensemble", "parity", "promotion",
    "bento", "batch_predictions", "reports", *_WATCHED,
)  # fmt: skip
# Made with every look at the sources, and so expected as often.
LOOKED_AT = frozenset(_INGESTED + _WATCHED)
BY_DECISION = frozenset(_TRAINED) - LOOKED_AT
_ADVANCED = ("predictions", "outcomes", "shadow", "rollout", "experiment")
# Assets whose trouble makes training pointless: a model of wrong rows is worse than an older one.
_IN_DOUBT = ("source", "features", "data_quality")

Asked = Iterator[dg.RunRequest | dg.SkipReason]


def build_job(system: LoadedSystem) -> UnresolvedAssetJobDefinition:
    """One job for the whole graph of a system, in one process: empty steps cost milliseconds there, not seconds."""
    return _job(
        system,
        "refresh",
        dg.AssetSelection.groups(system.name),
        f"All of {system.name}: from sources to a packed champion.",
    )


def build_ingest_job(system: LoadedSystem) -> UnresolvedAssetJobDefinition:
    """New rows and what watches them; what the schedule and the sensor of sources start."""
    kinds = _of_kinds(system, *_INGESTED, *_WATCHED)
    return _job(system, "ingest", kinds, "New rows, up to online features, watchers and the decision to retrain.")


def build_schedule(system: LoadedSystem, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """The declared time to look whether a new model is due, also when no source has changed."""
    cron = system.declaration.retrain.schedule

    @dg.schedule(
        name=f"{system.name}_retrain",
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Reads the sources and decides whether a new model is due; the decision starts the training.",
    )
    def retrain_schedule(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest:
        return dg.RunRequest(
            asset_selection=looked_at(context.repository_def, platform, system, list(system.declaration.sources)),
            tags={REASON: f"the declared time {cron} UTC has come to look whether a new model is due"},
        )

    return retrain_schedule


def build_source_sensor(system: LoadedSystem, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """New data: its sources, the features that read them, online rows and what watches them are made again."""

    @dg.sensor(
        name=f"{system.name}_sources",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks at names, sizes and times of files, watermarks of databases and what streams took in; a "
        "run that failed is tried again, later after each failure.",
    )
    def source_sensor(context: dg.SensorEvaluationContext, platform: Platform) -> Asked:
        if busy := _at_work(context.instance, system):
            yield dg.SkipReason(f"Changes are looked at when it is done: {busy}.")
            return
        before: dict[str, str] = json.loads(context.cursor or "{}")
        marks, troubles = source_marks(platform, system)
        instance = context.instance
        changed = [n for n, m in marks.items() if is_new(instance, platform, system, n, m, before=before.get(n))]
        context.update_cursor(json.dumps(before | marks))
        if not changed:
            again = retried(context.instance, job.name, now=platform.clock())
            yield again or dg.SkipReason("; ".join(troubles) or f"None of {len(marks)} sources has changed.")
            return
        has_champion = platform.registry().champion(system.name) is not None
        reason = f"{', '.join(changed)} changed" + ("" if has_champion else "; there is no champion to watch yet")
        yield dg.RunRequest(
            run_key=f"{context.sensor_name}:{json.dumps([(n, marks[n]) for n in changed])}",
            asset_selection=looked_at(context.repository_def, platform, system, changed),
            tags={REASON: reason},
        )

    return source_sensor


def build_retrain_sensor(system: LoadedSystem) -> dg.SensorDefinition:
    """`retrain_decision` says retrain: train, judge, decide, pack; the service swaps by itself."""
    job = _job(system, "train", _of_kinds(system, *_TRAINED), "From the training set to a packed champion.")

    @dg.sensor(
        name=f"{system.name}_retraining",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the training that retrain_decision asks for, within its budget, later after failures, not "
        "while its rows are in doubt.",
    )
    def retrain_sensor(context: dg.SensorEvaluationContext, platform: Platform, alerts: Alerts) -> Asked:
        if rest := _rest(context.instance, system):
            yield rest
            return
        version = platform.warehouse().version(f"{system.name}/retrain_decision/all")
        if version is None:
            yield dg.SkipReason("retrain_decision was not made yet.")
            return
        decision, why = _read_decision(platform.warehouse().frame(version))
        if decision != "retrain":
            yield dg.SkipReason(f"{decision}: {why or 'nothing speaks for a new model'}")
            return
        permission = may_train(
            attempts(context.instance, job.name),
            decision=version.version,
            now=platform.clock(),
            max_per_day=system.declaration.retrain.max_per_day,
        )
        held = "its rows are in doubt: " + "; ".join(doubts) if (doubts := in_doubt(alerts, system)) else ""
        held = held or ("" if permission.granted else permission.reason) or _at_work(context.instance, system)
        if held:
            yield dg.SkipReason(f"A new model is due ({why}), but {held}.")
            return
        tags = {REASON: f"{why}; {permission.reason}", DECISION: str(version.version)}
        yield dg.RunRequest(run_key=f"decision {version.version}, attempt {permission.number}", tags=tags)

    return retrain_sensor


def build_rollout_sensor(system: LoadedSystem) -> dg.SensorDefinition:
    """While a bundle is under trial: its phase is looked at whenever there are new answers or outcomes, or daily."""
    job = _job(system, "rollout", _of_kinds(system, *_ADVANCED), "The next step of a running trial.")

    @dg.sensor(
        name=f"{system.name}_trial",
        job=job,
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Advances, holds or stops the canary when there is new evidence.",
    )
    def rollout_sensor(context: dg.SensorEvaluationContext, platform: Platform) -> Asked:
        trial = RolloutRecord(platform.layout.registry, clock=platform.clock).running(system.name)
        if trial is None:
            yield dg.SkipReason("No bundle is under trial.")
            return
        if busy := _at_work(context.instance, system):
            yield dg.SkipReason(f"{trial.bundle[:12]} is in phase {trial.phase + 1}, but {busy}.")
            return
        seen = json.dumps({"bundle": trial.bundle, "phase": trial.phase, **evidence_marks(platform, system)})
        if seen == context.cursor:
            yield dg.SkipReason(f"{trial.bundle[:12]} is in phase {trial.phase + 1}; no answer or outcome since.")
            return
        context.update_cursor(seen)
        yield dg.RunRequest(
            tags={REASON: f"{trial.bundle[:12]} is in phase {trial.phase + 1} and there is new evidence"}
        )

    return rollout_sensor


def build_conditions_sensor() -> dg.AutomationConditionSensorDefinition:
    """Assets with an automation condition (`describe.py`) are made again when what they are made of was."""
    return dg.AutomationConditionSensorDefinition(
        "conditions",
        target=dg.AssetSelection.all(),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        run_tags={REASON: "its automation condition came true: what it is made of is newer, or its hour has come"},
        description="Features follow sources, online rows follow features, watchers follow what they watch.",
    )


def running(instance: DagsterInstance, system: LoadedSystem) -> str | None:
    """Id of a run of the system's jobs that has not ended."""
    for job in ("refresh", "ingest", "train", "rollout"):
        wanted = RunsFilter(job_name=f"{system.name}_{job}", statuses=IN_PROGRESS_RUN_STATUSES)
        found = instance.get_runs(wanted, limit=1)
        if found:
            return found[0].run_id
    return None


def looked_at(
    repository: dg.RepositoryDefinition | None, platform: Platform, system: LoadedSystem, sources: list[str]
) -> list[dg.AssetKey]:
    """The sources, those that wait for them, and what follows: without a champion all but what watches one."""
    if platform.registry().champion(system.name) is None:
        return [*downstream(repository, system, sources, kinds=_INGESTED), key(system, "retrain_decision")]
    return downstream(repository, system, sources, kinds=_INGESTED + _WATCHED)


def downstream(
    repository: dg.RepositoryDefinition | None, system: LoadedSystem, sources: list[str], *, kinds: tuple[str, ...]
) -> list[dg.AssetKey]:
    """The sources, the sources that wait for them, and everything of `kinds` that follows from them."""
    assert repository is not None
    graph = repository.asset_graph
    reached = [key(system, "source", name) for name in sources]
    reached += [key(system, "predictions")] if "predictions" in kinds else []
    for found in reached:  # grows while it is walked
        children = sorted(graph.get(found).child_keys)
        reached += [c for c in children if c not in reached and c.path[0] == system.name and c.path[1] in kinds]
    return reached


def retried(instance: DagsterInstance, job_name: str, *, now: datetime) -> dg.RunRequest | dg.SkipReason | None:
    """The newest run of a job once more if it failed, after the wait that its failures in a row ask for."""
    records = instance.get_run_records(RunsFilter(job_name=job_name), limit=RETRIED)
    failures = list(takewhile(lambda record: record.dagster_run.status == DagsterRunStatus.FAILURE, records))
    if not failures:
        return None
    newest = failures[0]
    due = newest.create_timestamp + wait_after(len(failures))
    if now < due:
        return dg.SkipReason(f"{len(failures)} run(s) in a row failed; the next begins at {due:%Y-%m-%d %H:%M} UTC.")
    run = newest.dagster_run
    return dg.RunRequest(
        run_key=f"after {run.run_id}",
        asset_selection=sorted(run.asset_selection) if run.asset_selection else None,
        tags={REASON: f"run {run.run_id[:8]} failed; {len(failures)} failure(s) in a row"},
    )


def attempts(instance: DagsterInstance, job_name: str) -> list[Attempt]:
    """Trainings that decisions started, newest hundred."""
    found = []
    for record in instance.get_run_records(RunsFilter(job_name=job_name), limit=100):
        run, status = record.dagster_run, "failed"
        if run.status in IN_PROGRESS_RUN_STATUSES:
            status = "running"
        elif run.status == DagsterRunStatus.SUCCESS:
            status = "succeeded"
        decision = run.tags.get(DECISION, "")
        if decision.isdigit():
            found.append(Attempt(record.create_timestamp, int(decision), status))
    return found


def in_doubt(alerts: Alerts, system: LoadedSystem) -> list[str]:
    """Open errors of sources and features: a model that is trained now would learn from them."""
    return [
        f"{incident.asset} {incident.cause} since {incident.opened_at:%Y-%m-%d %H:%M} UTC"
        for incident in alerts.log().open(system.name)
        if incident.severity == "error" and incident.asset.split("/")[1:2][0] in _IN_DOUBT
    ]


def evidence_marks(platform: Platform, system: LoadedSystem) -> Mapping[str, int | str]:
    """How many answers there are, how far outcomes were told or came in by sources, and the day.

    Answers become final by time alone, so that a trial which nobody asks any more is looked at once a day.
    """
    log = platform.prediction_log(system.name)
    try:
        answers = log.count() if log.exists() else 0
    finally:
        log.close()
    told = told_until(platform.layout.outcome_log(system.name))
    labels = [
        platform.warehouse().version(f"{system.name}/source/{name}")
        for name in system.reads(system.declaration.label.sql)
    ]
    versions = ",".join(str(v.version) for v in labels if v)
    return {"answers": answers, "told": told, "labels": versions, "day": platform.clock().date().isoformat()}


def is_due(platform: Platform, system: LoadedSystem) -> bool:
    """Does the newest `retrain_decision` ask for a new model?"""
    version = platform.warehouse().version(f"{system.name}/retrain_decision/all")
    return version is not None and _read_decision(platform.warehouse().frame(version))[0] == "retrain"


def _read_decision(table: pd.DataFrame) -> tuple[str, str]:
    """What the newest `retrain_decision` says, and which of its questions say so."""
    decision = str(table["decision"].iloc[0]) if len(table) else "wait"
    return decision, "; ".join(table.loc[table["says"] == decision, "reason"]) if "says" in table else ""


def _rest(instance: DagsterInstance, system: LoadedSystem) -> dg.RunRequest | None:
    """What the newest training has left to do where a model failed alone; None while a run is at work."""
    newest = [
        record
        for job in ("train", "refresh")
        for record in instance.get_run_records(RunsFilter(job_name=f"{system.name}_{job}"), limit=1)
    ]
    ended = max(newest, key=lambda record: record.create_timestamp, default=None)
    if ended is None or ended.dagster_run.status != DagsterRunStatus.FAILURE or running(instance, system):
        return None
    run_id = ended.dagster_run.run_id
    # A refresh makes more than a training does, such as `shadow`: that comes with the next refresh.
    rest = [asset for asset in rest_of_run(instance, run_id) if asset.path[1] in _TRAINED]
    why = {REASON: f"a model of run {run_id[:8]} failed; the others go on without it"}
    return dg.RunRequest(run_key=f"rest of {run_id}", asset_selection=rest, tags=why) if rest else None


def _at_work(instance: DagsterInstance, system: LoadedSystem) -> str:
    """Which run of the system has not ended, "" when none."""
    busy = running(instance, system)
    return f"run {busy[:8]} is at work" if busy else ""


def _job(
    system: LoadedSystem, name: str, selection: dg.AssetSelection, description: str
) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        f"{system.name}_{name}",
        selection=selection - dg.AssetSelection.assets(*partitioned_keys(system)),
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(MAX_RUNTIME_SECONDS)},
        description=description,
    )


def _of_kinds(system: LoadedSystem, *kinds: str) -> dg.AssetSelection:
    return dg.AssetSelection.key_prefixes(*([system.name, kind] for kind in dict.fromkeys(kinds)))
