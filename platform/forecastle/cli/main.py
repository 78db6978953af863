"""The `forecastle` command.

Belongs here: one function a verb, its arguments and its exit status.
Does not belong here: what the verbs do (the rooms, and `cli/` modules for what needs a terminal).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from forecastle.cli.surroundings import Surroundings, surroundings
from forecastle.contract.errors import ForecastleError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__.split("\n")[0]
)
console = Console()
errors = Console(stderr=True)

SystemName = Annotated[str, typer.Argument(help="Name of the system, such as prediction_markets.")]


def main() -> None:
    """Run the command; a refusal is one plain message and exit status 1, never a traceback."""
    # A shell's background job ignores SIGINT; both signals mean the same here: stop what was started, then end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except ForecastleError as error:
        errors.print(f"[red]{type(error).__name__}[/red]", highlight=False)
        errors.print(str(error), highlight=False, markup=False)
        sys.exit(1)


def _around() -> Surroundings:
    return surroundings(os.environ)


@app.command()
def check(
    system: Annotated[str | None, typer.Argument(help="One system; all of them when left out.")] = None,
) -> None:
    """Load declarations, SQL and code, and list every problem with file and line."""
    from forecastle.contract.load import discover, load_system

    around = _around()
    found = discover(around.systems)
    names = [system] if system else sorted(found)
    failed = False
    for name in names:
        try:
            loaded = around.system(name) if name not in found else load_system(found[name])
        except ForecastleError as error:
            failed = True
            errors.print(f"[red]✗[/red] {name}", highlight=False)
            errors.print(str(error), highlight=False, markup=False)
            continue
        features = len(loaded.declaration.features())
        console.print(
            f"[green]✓[/green] {name}: {len(loaded.declaration.sources)} sources, {features} features", highlight=False
        )
    if failed:
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the system: lower-case letters, digits and _.")],
    folder: Annotated[Path, typer.Option(help="Folder of your systems; made when it is not there.")] = Path("systems"),
) -> None:
    """Write a small system that works, to start from."""
    from forecastle.cli.new import write_system

    written = write_system(name, folder.resolve())
    console.print(f"wrote {written}", highlight=False, soft_wrap=True)
    console.print(
        f"next: export FORECASTLE_SYSTEMS={written.parent} && forecastle run {name}", highlight=False, soft_wrap=True
    )


@app.command()
def run(system: SystemName) -> None:
    """Materialise the whole graph of a system, from sources to a packed champion."""
    from forecastle.cli.progress import materialise

    around = _around()
    around.system(system)
    where = f"files of {around.data}" if around.data else "its simulated world (FORECASTLE_DATA is not set)"
    console.print(f"{system} on {where}", highlight=False)
    if not materialise(system, environment=around.of_children(), logs=around.logs, console=console):
        raise typer.Exit(1)


@app.command()
def serve(
    system: SystemName,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback FORECASTLE_TOKEN is required.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 3000,
    workers: Annotated[int, typer.Option(help="Processes that share the port.")] = 1,
    waive_token: Annotated[bool, typer.Option("--waive-token", help="Something in front checks callers.")] = False,
) -> None:
    """Serve the champion of a system over HTTP until Ctrl-C."""
    from forecastle.serve import runner

    around = _around()
    runner.serve(system, home=around.home.root, host=host, port=port, workers=workers, waive_token=waive_token)


@app.command()
def stream(
    system: SystemName,
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics there; 0 for any port.")] = None,
) -> None:
    """Take events of the system's streams and renew features online until Ctrl-C."""
    from threading import Event

    from forecastle.cli.streaming import stream as work

    try:
        work(system, _around(), console=console, metrics_port=metrics_port, stop=Event())
    except KeyboardInterrupt:
        console.print("stopping")


@app.command()
def up(system: SystemName) -> None:
    """Start Dagster UI and daemon, MLflow UI and the prediction service; stop all on Ctrl-C."""
    from forecastle.cli.up import servers_up

    around = _around()
    around.system(system)
    with servers_up(system, around, console=console) as (servers, urls):
        _print_urls(urls.service, urls.dagster, urls.mlflow)
        _wait(servers)


@app.command()
def demo(
    system: Annotated[str, typer.Argument()] = "prediction_markets",
    once: Annotated[bool, typer.Option("--once", help="Stop after the proof instead of waiting for Ctrl-C.")] = False,
) -> None:
    """Everything once: materialise, pack, serve, ask, trace; exit status 0 only if every step worked."""
    from forecastle.cli.demo import demonstrate, prepare
    from forecastle.cli.up import servers_up

    around = prepare(system, _around(), console=console)
    with servers_up(system, around, console=console) as (servers, urls):
        demonstrate(system, around, urls, console=console)
        _print_urls(urls.service, urls.dagster, urls.mlflow)
        if not once:
            _wait(servers)


@app.command()
def health(
    system: SystemName,
    service: Annotated[str, typer.Option(help="Address of the prediction service.")] = "http://127.0.0.1:3000",
    heartbeat: Annotated[str, typer.Option(help="A daemon without a heartbeat for this long is dead.")] = "2m",
) -> None:
    """Is everything at work: daemon, prediction service, age of the data; exit status 1 when something is not."""
    from forecastle.cli.health import findings

    around = _around()
    found = findings(around.system(system), around, service=service, heartbeat=heartbeat)
    for finding in found:
        mark = "[green]✓[/green]" if finding.is_well else "[red]✗[/red]"
        console.print(f"{mark} {finding.part}: {escape(finding.reason)}", highlight=False)
    if not all(finding.is_well for finding in found):
        raise typer.Exit(1)


@app.command()
def trace(
    prediction_id: Annotated[str, typer.Argument(help="The receipt's prediction_id.")],
    system: Annotated[str | None, typer.Option(help="System that gave the answer; looked up when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data.")] = False,
) -> None:
    """Walk one answer back: bundle, promotion, MLflow run, training set, features, source rows."""
    from forecastle.cli.traced import print_trace
    from forecastle.serve.trace import trace_prediction

    around = _around()
    system = system or around.answered_by(prediction_id)
    found = trace_prediction(
        prediction_id,
        system=around.system(system),
        home=around.home,
        log=around.prediction_log(system),
        warehouse=around.warehouse(),
        registry=around.registry(),
        tracking=around.tracking(),
    )
    if as_json:
        sys.stdout.write(json.dumps(found.to_dict(), indent=1) + "\n")
    else:
        print_trace(found, console=console)
    if not found.same_number:
        raise typer.Exit(1)


@app.command()
def rollback(
    system: SystemName,
    to: Annotated[
        str | None, typer.Option(help="Bundle hash or its first digits; the champion before by default.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "no reason given",
) -> None:
    """Let an earlier champion answer again; recorded like every promotion."""
    from forecastle.cli.operated import roll_back

    around = _around()
    around.system(system)
    roll_back(system, around, to=to, reason=reason, console=console)


@app.command()
def challenge(
    system: SystemName,
    bundle: Annotated[str | None, typer.Argument(help="Hash of the bundle, or its first digits.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the trial that is running.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept for ever.")] = "no reason given",
) -> None:
    """Put a bundle under trial beside the champion as `rollout` declares, or end its trial."""
    from forecastle.cli import operated

    around = _around()
    if stop == (bundle is not None):
        raise ForecastleError("name a bundle to put it under trial, or --stop to end the trial that is running")
    if bundle is None:
        operated.stop_challenger(system, around, reason=reason, console=console)
    else:
        operated.challenge(system, bundle, around, reason=reason, console=console)


@app.command()
def replay(
    subject: Annotated[str, typer.Argument(help="A prediction_id; with --candidate a system.")],
    system: Annotated[str | None, typer.Option(help="System that gave the answer; looked up when left out.")] = None,
    candidate: Annotated[
        str | None, typer.Option(help="Bundle hash that answers instead, as an offline shadow.")
    ] = None,
    last: Annotated[str, typer.Option(help="With --candidate: how far back.")] = "7d",
) -> None:
    """Compute a logged answer again, to the same number; or let a candidate answer what was asked."""
    from forecastle.cli.operated import replay_candidate, replay_one

    around = _around()
    if candidate:
        around.system(subject)
        replay_candidate(subject, around, candidate=candidate, last=last, console=console)
        return
    system = system or around.answered_by(subject)
    around.system(system)
    if not replay_one(system, subject, around, console=console):
        raise typer.Exit(1)


@app.command()
def approve(
    system: SystemName,
    by: Annotated[str, typer.Option(help="Who approves; kept for ever.")],
    bundle: Annotated[
        str | None, typer.Option(help="Hash of the bundle or its first digits; the one that waits by default.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
) -> None:
    """Let a bundle that passed its gates and waits for a person become champion."""
    from forecastle.cli.history import print_approval

    around = _around()
    around.system(system)
    print_approval(system, around, bundle=bundle, by=by, reason=reason, console=console)


@app.command()
def history(
    system: SystemName,
    at: Annotated[str | None, typer.Option(help="An instant with zone: what was live then.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data, with the evidence.")] = False,
) -> None:
    """Which bundle answered, since when, why that one, who approved it: all of them, or the one of an instant."""
    from forecastle.cli.history import moment_option, print_history

    around = _around()
    moment = moment_option(at)
    around.system(system)
    print_history(system, around, at=moment, as_json=as_json, console=console)


@app.command()
def schedules(system: SystemName) -> None:
    """What runs when: training, and the scoring of each promoted version; replaced ones with when they were archived."""
    from forecastle.cli.scheduled import print_schedules

    print_schedules(system, _around(), console=console)


@app.command()
def backtest(
    system: SystemName,
    since: Annotated[str | None, typer.Option("--from", help="First cut: a day, or an instant with zone.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="End of the last cut's window.")] = None,
    every: Annotated[str | None, typer.Option(help="Time from one cut to the next, such as 1w.")] = None,
) -> None:
    """Train at past dates as if it were then, answer what was asked next, and score it."""
    from forecastle.cli.backtested import backtest_system, span

    backtest_system(system, span(since, until, every), _around(), console=console)


@app.command()
def simulate(
    system: SystemName,
    *,
    story: Annotated[str, typer.Option(help="What happens: stale, unit, drift, …, calm; all of them one by one.")],
    days: Annotated[int, typer.Option(min=1, help="Length of the month.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the world.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="How many worlds, from that seed on.")] = 1,
    every: Annotated[str, typer.Option(help="Time from one look of the automation to the next.")] = "1d",
    world: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER for the simulator, as markets=600.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Leave homes and data there.")] = None,
) -> None:
    """Live through a month in which something goes wrong; exit status 1 when it was not noticed and handled."""
    from forecastle.cli.simulated import plan, simulate_system

    asked = plan(system, story, days=days, seed=seed, seeds=seeds, every=every, world=world or [], folder=keep)
    if not simulate_system(asked, _around(), console=console):
        raise typer.Exit(1)


@app.command()
def sql(
    system: SystemName,
    query: Annotated[str | None, typer.Argument(help="One SELECT; without it the tables are listed.")] = None,
    as_of: Annotated[str | None, typer.Option(help="An instant with zone: tables as they stood then.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every row as CSV.")] = False,
) -> None:
    """Ask a system's tables in SQL, read-only; `source.quotes`, `features.…` and `training_set` are views."""
    from forecastle.cli.tables import instant_option, print_answer, print_tables

    around = _around()
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

    system, _, name = feature.partition(".")
    print_lineage(_around().system(system), name, console=console)


@app.command()
def rebuild(
    system: SystemName,
    as_of: Annotated[str, typer.Option(help="An instant with zone, such as a training set's knowledge_until.")],
) -> None:
    """Make the training set of an earlier moment again; exit status 1 when it is not the one built then."""
    from forecastle.cli import tables

    around = _around()
    moment = tables.instant_option("--as-of", as_of)
    if moment is None or not tables.rebuild(system, around, as_of=moment, console=console):
        raise typer.Exit(1)


@app.command()
def prune(system: SystemName) -> None:
    """Remove rows of old table versions and queues by the declared retention; records, and what is live, stay."""
    from forecastle.cli import tables

    tables.prune(system, _around(), console=console)


alerts_app = typer.Typer(invoke_without_command=True, help="What was noticed, and who is told of it.")
app.add_typer(alerts_app, name="alerts")


@alerts_app.callback()
def alerts(context: typer.Context, count: Annotated[int, typer.Option(help="How many, newest first.")] = 20) -> None:
    """The newest entries of the alert log, and what targets have yet to be told."""
    from forecastle.cli.alerted import print_alerts

    if context.invoked_subcommand is None:
        print_alerts(_around(), count=count, console=console)


@alerts_app.command("test")
def alerts_test() -> None:
    """Send one message to every alert target; exit status 1 when one of them did not take it."""
    from forecastle.cli.alerted import test_targets

    if not test_targets(_around(), console=console):
        raise typer.Exit(1)


def _print_urls(service: str, dagster: str, mlflow: str) -> None:
    console.print(f"\nprediction service  {service}/docs", highlight=False)
    console.print(f"Dagster UI          {dagster}", highlight=False)
    console.print(f"MLflow UI           {mlflow}", highlight=False)


def _wait(servers: object) -> None:
    from forecastle.cli.processes import Servers

    assert isinstance(servers, Servers)
    try:
        console.print("\nCtrl-C stops everything.")
        ended = servers.wait()
    except KeyboardInterrupt:
        console.print("stopping")
        return
    raise ForecastleError(f"{ended} ended by itself; its log is in {Path('logs')} of the home folder")


if __name__ == "__main__":
    main()
