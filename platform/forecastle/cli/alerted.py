"""`forecastle alerts`: the log on a terminal, and a test of those who are told.

Belongs here: printing entries, what was not delivered, the result of each target.
Does not belong here: the log, targets and sending (`forecastle.alert.alerts` and its neighbours).
"""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from forecastle.alert.alerts import Alert, AlertLog
from forecastle.alert.delivery import try_targets
from forecastle.alert.outbox import AlertOutbox
from forecastle.alert.targets import TARGETS_VARIABLE, read_targets
from forecastle.cli.surroundings import Surroundings
from forecastle.contract.clock import system_clock
from forecastle.contract.errors import ForecastleError


def print_alerts(around: Surroundings, *, count: int, console: Console) -> None:
    """The newest `count` entries with what to do first, then what targets have yet to be told."""
    newest = AlertLog(around.home.alerts, clock=around.clock).newest(count)
    if not newest:
        console.print("No alerts.")
        return
    for alert in newest:
        console.print(f"{alert.raised_at:%Y-%m-%d %H:%M} {_word(alert):5} {escape(alert.message)}", highlight=False)
        console.print(f"    {escape(alert.runbook)}", highlight=False)
    for target in AlertOutbox(around.home.alerts, clock=system_clock).waiting():
        told = f"{target.waiting} not delivered, {target.given_up} given up: {target.error or 'not tried yet'}"
        console.print(f"{target.target}: {told}", highlight=False)


def test_targets(around: Surroundings, *, console: Console) -> bool:
    """Send a test to every target and print what became of it; whether all took it.

    Raises:
        ForecastleError: there is no target, or its configuration is not understood.
    """
    targets = read_targets(around.home.alert_targets, around.environment).targets
    if not targets:
        raise ForecastleError(
            f"no alert target is configured; set {TARGETS_VARIABLE}, or write targets into {around.home.alert_targets}"
        )
    results = try_targets(targets)
    for target in targets:
        error = results[target.name]
        mark = "[green]✓[/green]" if error is None else "[red]✗[/red]"
        console.print(f"{mark} {target.name} (from {target.least}): {error or 'taken'}", highlight=False)
    return all(error is None for error in results.values())


def _word(alert: Alert) -> str:
    return "ok" if alert.kind == "recovered" else alert.severity
