"""`alerts`: what was noticed of a system, and the sensors that notice it and tell those who want to know.

Belongs here: states of checks, freshness and runs turned into alerts; the log as an asset; deliveries on a tick.
Does not belong here: when things run (`automation.py`), keeping and sending alerts (`forecastle.store`).
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
import pandas as pd
from dagster import AssetRecordsFilter, DagsterEventType, DagsterInstance, DagsterRun, RunsFilter
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

from assets.automation import BY_DECISION, LOOKED_AT, is_due
from assets.describe import attributes, key
from assets.failures import follows, reason
from assets.freshness import FRESHNESS_CHECK, judged, state_of
from forecastle.alert.alerts import Alert, AlertLog
from forecastle.alert.delivery import deliver
from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.source import Freshness
from forecastle.draw.markdown import markdown_table
from forecastle.store.watermark import online_watermark
from resources.platform import Alerts, Platform

RUN_FAILURE = "run_failure"
SHOWN = 30

_RUNBOOK = {
    "freshness": "Look at the source: does the upstream still deliver? Then materialise the asset again.",
    FRESHNESS_CHECK: "Its newest rows are old, whenever it ran: ask whoever delivers the source for newer ones.",
    "contract": "Read the quarantine table: which column, which rule, since when; ask whoever delivers the source.",
    "clocks": "A clock of the source is off: ask its owner for the zone before anybody trains on these rows.",
    "units": "Values are of another size than in training: ask the source's owner for the unit, and do not retrain.",
    "null_rate": "Open the picture of data_quality: which column, since when; ask whoever delivers it what changed.",
    "outlier_rate": "A part of the rows may be in another unit: compare some with their source, and do not retrain.",
    "unit_jump_rate": "A part of the rows is in another unit: ask the source's owner since when, and do not retrain.",
    "volume": "Fewer or more rows than usual: does the upstream still deliver everything, or something twice?",
    "drift": "Open the drift picture; if the world changed, retrain; if one source changed, mend it.",
    "gates": "Read the reasons of the promotion; the old champion goes on answering.",
    "every_model_made": "Read each model's reason, mend its declaration, make its partition again; the others went on.",
    "parity": "Online rows are not those of the warehouse: materialise online/* again; promotion waits for it.",
    "leakage": "A feature knows the future: read which one; the old training set stays.",
    "miscalibration": "Open the calibration report; retrain, or look whether outcomes were corrected.",
    "callers_agree": "A caller and a source tell other outcomes: ask the caller, or whoever delivers the source.",
    "rollout": "Read why the trial was stopped; the champion answers everybody.",
    "experiment": "Read the experiment's picture: a split that is not as declared makes its numbers worthless.",
    RUN_FAILURE: "Open the run, read the step's reason, mend it, run the asset again; the old rows stay until then.",
}


@dataclass(frozen=True, slots=True)
class Noticed:
    """The state of one thing that can be alarming, in a sentence; `mark` changes with each new look at it."""

    state: str
    sentence: str = ""
    run_id: str = ""
    mark: str = ""


def build_alerts(system: LoadedSystem) -> dg.AssetsDefinition:
    """The newest alerts of one system, where people look."""

    @dg.asset(
        **attributes(
            system,
            "alerts",
            description="The newest alerts and what is still open, newest first; the sensor renews it when one comes.",
            kinds={"sqlite"},
        )
    )
    def alerts_asset(alerts: Alerts) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata=alerts_metadata(alerts, system))

    return alerts_asset


def alerts_metadata(alerts: Alerts, system: LoadedSystem) -> dict[str, Any]:
    """The log of one system as tables, with what targets have yet to be told."""
    log = alerts.log()
    newest = [_shown(alert) for alert in log.newest(SHOWN, system=system.name)]
    still = [
        {"asset": i.asset, "cause": i.cause, "severity": i.severity, "open since": i.opened_at, "noticed": i.seen}
        for i in log.open(system.name)
    ]
    waiting = [f"{w.target}: {w.waiting} ({w.error or 'not tried yet'})" for w in alerts.outbox().waiting()]
    return {
        "open": len(still),
        "still_open": dg.MetadataValue.md(markdown_table(pd.DataFrame(still)) if still else "Nothing."),
        "newest": dg.MetadataValue.md(markdown_table(pd.DataFrame(newest)) if newest else "No alerts."),
        "not_delivered": "; ".join(waiting) or "none",
        "targets": ", ".join(target.name for target in alerts.targets().targets) or "none: the log is all there is",
    }


def build_alerts_sensor(system: LoadedSystem) -> dg.SensorDefinition:
    """Old rows, stale assets and failed checks become alerts, once for each change; recoveries close them."""

    @dg.sensor(
        name=f"{system.name}_alerts",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ages of rows, freshness states and failed checks go to the alert log, once for each change.",
    )
    def alerts_sensor(context: dg.SensorEvaluationContext, alerts: Alerts) -> dg.SkipReason:
        graph = context.repository_def.asset_graph
        found = notice(
            system,
            alerts.platform,
            context.instance,
            assets=[k for k in graph.get_all_asset_keys() if k.path[0] == system.name],
            checks=watched_checks(system, graph),
        )
        log = alerts.log()
        said = tell_changes(log, system.name, found, before=json.loads(context.cursor or "{}"))
        said += close_mended_runs(log, system.name, context.instance)
        reminded = log.remind(system.name)
        if said or reminded:
            renew_asset(alerts, system, context.instance)
        context.update_cursor(json.dumps(_cursor(found)))
        return dg.SkipReason("; ".join(said) or "Nothing new.")

    return alerts_sensor


def build_run_failures(systems: Iterable[LoadedSystem]) -> dg.SensorDefinition:
    """A failed run is an alert by itself, whatever started it: one for each asset that it did not make."""
    named = {system.name: system for system in systems}

    @dg.run_failure_sensor(
        name="run_failures",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Assets that a failed run did not make go to the alert log with the step's reason.",
    )
    def run_failures(context: dg.RunFailureSensorContext, alerts: Alerts) -> None:
        failed = failures_of(context.dagster_run, context.instance, told=context.failure_event.message or "")
        log = alerts.log()
        for alert in failed:
            if alert.system in named:
                log.raise_alert(alert)
                renew_asset(alerts, named[alert.system], context.instance)

    return run_failures


def build_delivery() -> dg.SensorDefinition:
    """Targets are told what they have yet to be told; one that is down is tried again later and holds up nobody."""

    @dg.sensor(
        name="alert_delivery",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts leave to the configured targets; what is not taken is tried again with back-off.",
    )
    def alert_delivery(alerts: Alerts) -> dg.SkipReason:
        targets = alerts.targets().targets
        if not targets:
            return dg.SkipReason("No target is configured: alerts stand in the log only.")
        sent = deliver(alerts.outbox(), targets, ui_url=alerts.ui_url())
        told = [f"{s.target}: {s.alert.asset} {s.alert.cause} {s.error or 'taken'}" for s in sent]
        return dg.SkipReason("; ".join(told) or "Nothing is due.")

    return alert_delivery


def notice(
    system: LoadedSystem,
    platform: Platform,
    instance: DagsterInstance,
    *,
    assets: list[dg.AssetKey],
    checks: list[dg.AssetCheckKey],
) -> dict[str, Noticed]:
    """Everything of a system that can be alarming, as it is now: `cause:asset` → its state.

    The age of rows is looked at here and now: a check of the last run cannot know that no run came since.
    """
    ages = awaited(freshness_states(instance, assets), model_is_due=is_due(platform, system))
    return ages | check_outcomes(instance, checks) | row_ages(system, platform)


def awaited(ages: Mapping[str, Noticed], *, model_is_due: bool) -> dict[str, Noticed]:
    """Freshness states of assets that somebody waits for.

    What only a training makes grows old rightly while no model is due; what people or events make is not awaited.
    """
    found = {}
    for name, noticed in ages.items():
        kind = name.partition(":")[2].split("/")[1]
        if kind in LOOKED_AT or (kind in BY_DECISION and model_is_due):
            found[name] = noticed
        elif kind in BY_DECISION:
            found[name] = Noticed("PASS", "no new model is due")
    return found


def freshness_states(instance: DagsterInstance, keys: list[dg.AssetKey]) -> dict[str, Noticed]:
    """Dagster's freshness state of each asset; the one place that asks for what is not yet a public API."""
    records = instance.get_freshness_state_records(keys)
    return {f"freshness:{k.to_user_string()}": Noticed(r.freshness_state.value) for k, r in records.items()}


def watched_checks(system: LoadedSystem, graph: BaseAssetGraph[Any]) -> list[dg.AssetCheckKey]:
    """The checks of a system; those of single days are not among them: the newest one judged may be of any day."""
    mine = [check for check in graph.asset_check_keys if check.asset_key.path[0] == system.name]
    return [check for check in mine if graph.get(check).partitions_def is None]


def check_outcomes(instance: DagsterInstance, checks: list[dg.AssetCheckKey]) -> dict[str, Noticed]:
    """The newest outcome of each asset check that ever ran: PASS, WARN or FAIL, and the check's own sentence."""
    outcomes = {}
    for check, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(checks).items():
        evaluation = record.event.asset_check_evaluation if record and record.event else None
        if evaluation is not None:
            bad = "FAIL" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "WARN"
            state = "PASS" if evaluation.passed else bad
            name = f"{check.name}:{check.asset_key.to_user_string()}"
            outcomes[name] = Noticed(state, evaluation.description or "", record.run_id, str(record.id))
    return outcomes


def row_ages(system: LoadedSystem, platform: Platform) -> dict[str, Noticed]:
    """How old the newest rows of every table with a declared freshness are now; tables not made yet are left out.

    Online rows are named where their view's table is fresh and they are not: else the table's own age says it.
    """
    declared, warehouse, now = system.declaration, platform.warehouse(), platform.clock()
    limits = {("source", name): source.freshness for name, source in declared.sources.items()}
    limits |= {("features", name): view.freshness for name, view in declared.feature_views.items()}
    found = {}
    for (kind, name), freshness in limits.items():
        version = warehouse.version(f"{system.name}/{kind}/{name}")
        if freshness is None or version is None:
            continue
        try:
            state, sentence = state_of(warehouse, version, freshness, now=now)
        except StoreError as error:
            state, sentence = "FAIL", str(error)
        found[f"{FRESHNESS_CHECK}:{system.name}/{kind}/{name}"] = Noticed(state, sentence)
        if kind == "features" and declared.feature_views[name].online and state == "PASS":
            found |= _online_age(system, platform, name, freshness)
    return found


def _online_age(system: LoadedSystem, platform: Platform, view: str, freshness: Freshness) -> dict[str, Noticed]:
    """How old a view's newest online row is; nothing where none was pushed yet."""
    asset = f"{FRESHNESS_CHECK}:{system.name}/online/{view}"
    try:
        with closing(platform.online(system.name)) as store:
            newest = online_watermark(store, view)
    except StoreError as error:
        return {asset: Noticed("FAIL", str(error))}
    return {asset: Noticed(*judged(newest, freshness, now=platform.clock()))} if newest.rows else {}


def tell_changes(log: AlertLog, system: str, found: Mapping[str, Noticed], *, before: Mapping[str, str]) -> list[str]:
    """Raise what became or was again found alarming since `before` (a cursor), close what is well; what was said."""
    said = []
    now = _cursor(found)
    for name, noticed in found.items():
        if before.get(name) == now[name]:
            continue
        alert = alert_for(system, name, noticed)
        cause, _, asset = name.partition(":")
        if alert is not None:
            if log.raise_alert(alert) is not None:
                said.append(alert.message)
        elif noticed.state == "PASS":
            message = f"{asset}: {cause} is well again" + (f": {noticed.sentence}" if noticed.sentence else "")
            if log.recover(system, asset, cause, message=message, run_id=noticed.run_id):
                said.append(message)
    return said


def alert_for(system: str, name: str, noticed: Noticed) -> Alert | None:
    """The alert that a state is worth, if any; a check's sentence says what was found."""
    if noticed.state not in {"WARN", "FAIL"}:
        return None
    cause, _, asset = name.partition(":")
    runbook = _RUNBOOK.get(cause, "Open the asset in the Dagster UI and read the check.")
    message = f"{asset}: {cause} is {noticed.state}" + (f": {noticed.sentence}" if noticed.sentence else "")
    severity = "error" if noticed.state == "FAIL" else "warn"
    return Alert(system, asset, cause, severity, message, runbook, run_id=noticed.run_id)  # type: ignore[arg-type]


def failures_of(run: DagsterRun, instance: DagsterInstance, *, told: str) -> list[Alert]:
    """One alert for each asset (partition) whose step failed, with the step's reason; else one for the whole run.

    Assets that were only skipped because of another are not named: their cause is. Nor is told what follows from
    another asset's decision: the gates that leave a system without champion have their own alert, and an approval that
    is awaited is no trouble.
    """
    logs = instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_FAILURE)
    events = [entry.dagster_event for entry in logs if entry.dagster_event]
    reasons = {event.step_key: reason(event) for event in events if not follows(event)}
    if events and not reasons:
        return []
    alerts = []
    for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED):
        event = entry.dagster_event
        if event is None or event.step_key not in reasons:
            continue
        planned = event.asset_materialization_planned_data
        asset = planned.asset_key.to_user_string() + (f"[{planned.partition}]" if planned.partition else "")
        alerts.append(_run_failure(planned.asset_key.path[0], asset, reasons[event.step_key], run.run_id))
    if alerts:
        return alerts
    systems = sorted({k.path[0] for k in run.asset_selection or ()}) or [_system_of(run.job_name)]
    said = "; ".join(reasons.values()) or told or "it ended without a reason"
    return [_run_failure(system, f"{system}/{run.job_name}", said, run.run_id) for system in systems]


def close_mended_runs(log: AlertLog, system: str, instance: DagsterInstance) -> list[str]:
    """Close failures of assets (and whole runs) that were made since."""
    said = []
    for incident in log.open(system):
        if incident.cause != RUN_FAILURE:
            continue
        record = instance.get_run_record_by_id(log.last(incident).run_id)
        since = record.create_timestamp if record else incident.opened_at
        if _made_since(instance, incident.asset, since):
            message = f"{incident.asset}: it was made again"
            log.recover(system, incident.asset, RUN_FAILURE, message=message)
            said.append(message)
    return said


def renew_asset(alerts: Alerts, system: LoadedSystem, instance: DagsterInstance) -> None:
    """Show the log as it is now in the UI, without a run."""
    told = dg.AssetMaterialization(key(system, "alerts"), metadata=alerts_metadata(alerts, system))
    instance.report_runless_asset_event(told)


def _run_failure(system: str, asset: str, said: str, run_id: str) -> Alert:
    return Alert(
        system, asset, RUN_FAILURE, "error", f"{asset} was not made: {said}", _RUNBOOK[RUN_FAILURE], run_id=run_id
    )


def _made_since(instance: DagsterInstance, asset: str, since: datetime) -> bool:
    name, _, partition = asset.removesuffix("]").partition("[")
    wanted = AssetRecordsFilter(
        dg.AssetKey(name.split("/")),
        asset_partitions=[partition] if partition else None,
        after_timestamp=since.timestamp(),
    )
    if instance.fetch_materializations(wanted, limit=1).records:
        return True
    job_name = name.partition("/")[2]
    runs = instance.get_runs(
        RunsFilter(job_name=job_name, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=since), limit=1
    )
    return bool(runs)


def _system_of(job_name: str) -> str:
    return job_name.rpartition("_")[0] or job_name


def _cursor(found: Mapping[str, Noticed]) -> dict[str, str]:
    return {name: f"{noticed.state}@{noticed.mark}" for name, noticed in found.items()}


def _shown(alert: Alert) -> dict[str, Any]:
    return {
        "raised": f"{alert.raised_at:%Y-%m-%d %H:%M}", "kind": alert.kind, "severity": alert.severity,
        "message": alert.message, "what to do": alert.runbook,
    }  # fmt: skip
