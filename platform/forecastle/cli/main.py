"""The `forecastle` command, and the verbs that make and run a system.

Belongs here: one function a verb, its arguments and its exit status; verbs about models and about rows stand in
`model_verbs.py` and `table_verbs.py`.
Does not belong here: what the verbs do (the rooms, and `cli/` modules for what needs a terminal).
"""

from __future__ import annotations

import signal
import sqlite3
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from forecastle.cli import model_verbs, table_verbs
from forecastle.cli.terminal import SystemName, around_here, console, errors, of_the_machine
from forecastle.contract.errors import ForecastleError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="The `forecastle` command."
)


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
    except (OSError, sqlite3.Error) as error:  # a full disk, a file that may not be read: the machine's refusal
        errors.print(f"[red]{type(error).__name__}[/red]", highlight=False)
        errors.print(of_the_machine(error), highlight=False, markup=False)
        sys.exit(1)


@app.command()
def check(
    system: Annotated[str | None, typer.Argument(help="One system; all of them when left out.")] = None,
) -> None:
    """Load declarations, SQL and code, and list every problem with file and line."""
    from forecastle.contract.load import discover, load_system

    around = around_here()
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
def run(
    system: SystemName,
    day: Annotated[
        str | None, typer.Option(help="A past UTC day, such as 2026-01-05: only what is made by day, of that day.")
    ] = None,
) -> None:
    """Materialise the whole graph of a system, from sources to a packed champion; or one day of what is daily."""
    from forecastle.cli.progress import materialise

    around = around_here()
    around.system(system)
    where = f"files of {around.data}" if around.data else "its simulated world (FORECASTLE_DATA is not set)"
    console.print(f"{system} on {where}", highlight=False)
    if not materialise(system, day=day, environment=around.of_children(), logs=around.logs, console=console):
        raise typer.Exit(1)


@app.command()
def serve(
    system: SystemName,
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback FORECASTLE_TOKEN is required.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for any.")] = 3000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
    waive_token: Annotated[bool, typer.Option("--waive-token", help="Something in front checks callers.")] = False,
) -> None:
    """Serve the champion of a system over HTTP until Ctrl-C."""
    from forecastle.serve import runner

    around = around_here()
    if not around.home.champion(system).exists():
        around.system(system)  # one that is known is waited for: its first champion needs no restart
    runner.serve(
        system,
        home=around.home.root,
        host=host,
        port=port,
        workers=workers,
        waive_token=waive_token,
        say=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
    )


@app.command()
def stream(
    system: SystemName,
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics there; 0 for any port.")] = None,
) -> None:
    """Take events of the system's streams and renew features online until Ctrl-C."""
    from threading import Event

    from forecastle.cli.streaming import stream as work

    try:
        work(system, around_here(), console=console, metrics_port=metrics_port, stop=Event())
    except KeyboardInterrupt:
        console.print("stopping")


@app.command()
def up(system: SystemName) -> None:
    """Start Dagster UI and daemon, MLflow UI and the prediction service; stop all on Ctrl-C."""
    from forecastle.cli.up import servers_up

    around = around_here()
    around.system(system)
    with servers_up(system, around, console=console) as (servers, urls):
        _print_urls(urls.service, urls.dagster, urls.mlflow)
        _wait(servers)


@app.command()
def demo(
    system: Annotated[str, typer.Argument()] = "prediction_markets",
    *,
    once: Annotated[bool, typer.Option("--once", help="Stop after the proof instead of waiting for Ctrl-C.")] = False,
) -> None:
    """Everything once: materialise, pack, serve, ask, trace; exit status 0 only if every step worked."""
    from forecastle.cli.demo import demonstrate, prepare
    from forecastle.cli.up import servers_up

    around = prepare(system, around_here(), console=console)
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

    around = around_here()
    found = findings(around.system(system), around, service=service, heartbeat=heartbeat)
    for finding in found:
        mark = "[green]✓[/green]" if finding.is_well else "[red]✗[/red]"
        console.print(f"{mark} {finding.part}: {escape(finding.reason)}", highlight=False)
    if not all(finding.is_well for finding in found):
        raise typer.Exit(1)


app.add_typer(model_verbs.app)
app.add_typer(table_verbs.app)


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
