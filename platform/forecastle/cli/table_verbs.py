"""Verbs about rows and what was noticed of them: traces, tables, lineage, alerts.

Belongs here: one function a verb, its arguments and its exit status.
Does not belong here: what the verbs do (`traced.py`, `tables.py`, `lineage.py`, `alerted.py`, the rooms).
"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from forecastle.cli.terminal import SystemName, around_here, console
from forecastle.contract.errors import ForecastleError

app = typer.Typer()


@app.command()
def trace(
    prediction_id: Annotated[str, typer.Argument(help="The receipt's prediction_id.")],
    *,
    system: Annotated[str | None, typer.Option(help="System that gave the answer; looked up when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data.")] = False,
) -> None:
    """Walk one answer back: bundle, promotion, MLflow run, training set, features, source rows."""
    from forecastle.cli.traced import print_trace, trace_here

    around = around_here()
    system = system or around.answered_by(prediction_id)
    found = trace_here(prediction_id, system, around)
    if as_json:
        sys.stdout.write(json.dumps(found.to_dict(), indent=1) + "\n")
    else:
        print_trace(found, console=console)
    if not found.same_number:
        raise typer.Exit(1)


@app.command()
def sql(
    system: SystemName,
    query: Annotated[str | None, typer.Argument(help="One SELECT; without it the tables are listed.")] = None,
    *,
    as_of: Annotated[str | None, typer.Option(help="An instant with zone: tables as they stood then.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every row as CSV.")] = False,
) -> None:
    """Ask a system's tables in SQL, read-only; `source.quotes`, `features.…` and `training_set` are views."""
    from forecastle.cli.tables import instant_option, print_answer, print_tables

    around = around_here()
    around.system(system)
    moment = instant_option("--as-of", as_of)
    if query is None:
        print_tables(system, around, as_of=moment, console=console)
    else:
        print_answer(system, query, around, as_of=moment, as_csv=as_csv, console=console)


@app.command()
def lineage(
    feature: Annotated[str, typer.Argument(help="SYSTEM.FEATURE, such as prediction_markets.market_price.")],
) -> None:
    """Show what a feature is made of, down to raw columns, and which models use it."""
    from forecastle.cli.lineage import print_lineage

    system, dot, name = feature.partition(".")
    if not (dot and name):
        raise ForecastleError(f"{feature!r} is no SYSTEM.FEATURE; write one, such as prediction_markets.market_price")
    print_lineage(around_here().system(system), name, console=console)


@app.command()
def rebuild(
    system: SystemName,
    *,
    as_of: Annotated[str | None, typer.Option(help="An instant with zone: what was known then.")] = None,
    version: Annotated[int | None, typer.Option(help="Of the training set: what was known when it was made.")] = None,
) -> None:
    """Make the training set of an earlier moment again; exit status 1 when it is not the one built then."""
    from forecastle.cli import tables

    around = around_here()
    if (as_of is None) == (version is None):
        raise ForecastleError("say either --as-of INSTANT or --version NUMBER")
    moment = tables.instant_option("--as-of", as_of)
    if version is not None:
        moment = tables.knowledge_of_version(system, around, version)
    if moment is None or not tables.rebuild(system, around, as_of=moment, console=console):
        raise typer.Exit(1)


@app.command()
def prune(system: SystemName) -> None:
    """Remove rows of old table versions and queues by the declared retention; records, and what is live, stay."""
    from forecastle.cli import tables

    tables.prune(system, around_here(), console=console)


alerts_app = typer.Typer(invoke_without_command=True, help="What was noticed, and who is told of it.")
app.add_typer(alerts_app, name="alerts")


@alerts_app.callback()
def alerts(context: typer.Context, count: Annotated[int, typer.Option(help="How many, newest first.")] = 20) -> None:
    """The newest entries of the alert log, and what targets have yet to be told."""
    from forecastle.cli.alerted import print_alerts

    if context.invoked_subcommand is None:
        print_alerts(around_here(), count=count, console=console)


@alerts_app.command("test")
def alerts_test() -> None:
    """Send one message to every alert target; exit status 1 when one of them did not take it."""
    from forecastle.cli.alerted import test_targets

    if not test_targets(around_here(), console=console):
        raise typer.Exit(1)
