"""What happens without being asked: one schedule and one sensor a system.

Belongs here: the daily refresh, and alerts for stale assets and failed checks.
Does not belong here: what a refresh computes, how alerts are kept (`forecastle.store.alerts`).
"""

import json

import dagster as dg
from dagster import DagsterInstance
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from forecastle.contract.load import LoadedSystem
from forecastle.store.alerts import Alert
from resources.platform import Alerts

MAX_RUNTIME_SECONDS = 3600

_RUNBOOK = {
    "freshness": "Look at the source: does the upstream still deliver? Then materialise the asset again.",
    "event_time_freshness": "The asset runs but its rows are old: ask whoever delivers the source for newer ones.",
    "drift": "Open the drift picture; if the world changed, retrain; if one source changed, mend it.",
    "gates": "Read the reasons of the promotion; the old champion goes on answering.",
}


def build_job(system: LoadedSystem) -> UnresolvedAssetJobDefinition:
    """One job for the whole graph of a system, in one process: empty steps cost milliseconds there, not seconds."""
    return dg.define_asset_job(
        f"{system.name}_refresh",
        selection=dg.AssetSelection.groups(system.name),
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(MAX_RUNTIME_SECONDS)},
        description=f"From sources to a packed champion: everything of {system.name}.",
    )


def build_schedule(system: LoadedSystem, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """The declared retraining time."""
    return dg.ScheduleDefinition(
        name=f"{system.name}_retrain",
        job=job,
        cron_schedule=system.declaration.retrain.schedule,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def build_sensor(system: LoadedSystem) -> dg.SensorDefinition:
    """Stale assets and failed checks become alerts, once for each change."""

    @dg.sensor(
        name=f"{system.name}_alerts",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Freshness states and failed checks go to the alert log, once for each change.",
    )
    def alerts_sensor(context: dg.SensorEvaluationContext, alerts: Alerts) -> dg.SkipReason:
        graph = context.repository_def.asset_graph
        keys = [k for k in graph.get_all_asset_keys() if k.path[0] == system.name]
        checks = [c for c in graph.asset_check_keys if c.asset_key.path[0] == system.name]
        outcomes = check_outcomes(context.instance, checks)
        states = freshness_states(context.instance, keys) | {name: state for name, (state, _) in outcomes.items()}
        before = json.loads(context.cursor or "{}")
        new = [
            alert_for(system.name, name, state, sentence=outcomes.get(name, (state, ""))[1])
            for name, state in states.items()
            if before.get(name) != state
        ]
        log = alerts.log()
        raised = [alert for alert in new if alert is not None]
        for alert in raised:
            log.raise_alert(alert)
        context.update_cursor(json.dumps(states))
        return dg.SkipReason(
            f"{len(raised)} alert(s): " + "; ".join(a.message for a in raised) if raised else "Nothing new."
        )

    return alerts_sensor


def freshness_states(instance: DagsterInstance, keys: list[dg.AssetKey]) -> dict[str, str]:
    """Dagster's freshness state of each asset; the one place that asks for what is not yet a public API."""
    records = instance.get_freshness_state_records(keys)
    return {f"freshness:{k.to_user_string()}": r.freshness_state.value for k, r in records.items()}


def check_outcomes(instance: DagsterInstance, checks: list[dg.AssetCheckKey]) -> dict[str, tuple[str, str]]:
    """The newest outcome of each asset check that ever ran: PASS, WARN or FAIL, and the check's own sentence."""
    outcomes = {}
    for check in checks:
        record = instance.event_log_storage.get_latest_asset_check_execution_by_key([check]).get(check)
        evaluation = record.event.asset_check_evaluation if record and record.event else None
        if evaluation is not None:
            bad = "FAIL" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "WARN"
            state = "PASS" if evaluation.passed else bad
            outcomes[f"{check.name}:{check.asset_key.to_user_string()}"] = (state, evaluation.description or "")
    return outcomes


def alert_for(system: str, name: str, state: str, *, sentence: str = "") -> Alert | None:
    """The alert that a state is worth, if any; a check's sentence says what was found."""
    if state not in {"WARN", "FAIL"}:
        return None
    cause, _, asset = name.partition(":")
    severity = "error" if state == "FAIL" else "warn"
    runbook = _RUNBOOK.get(cause, "Open the asset in the Dagster UI and read the check.")
    message = f"{asset}: {cause} is {state}" + (f": {sentence}" if sentence else "")
    return Alert(system, asset, cause, severity, message, runbook)
