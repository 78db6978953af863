"""Verbs about models: who answers, who is on trial, what would have been.

Belongs here: one function a verb, its arguments and its exit status.
Does not belong here: what the verbs do (`history.py`, `operated.py`, `backtested.py`, `simulated.py`, the rooms).
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from forecastle.cli.terminal import SystemName, around_here, console
from forecastle.contract.errors import ForecastleError

app = typer.Typer()


@app.command()
def rollback(
    system: SystemName,
    to: Annotated[
        str | None, typer.Option(help="Bundle hash or its first digits; the champion before by default.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "no reason given",
    by: Annotated[str, typer.Option(help="Who; the login name by default.")] = "",
) -> None:
    """Let an earlier champion answer again; recorded like every promotion."""
    from forecastle.cli.operated import roll_back

    around = around_here()
    around.system(system)
    roll_back(system, around, to=to, reason=reason, by=by or getpass.getuser(), console=console)


@app.command()
def challenge(
    system: SystemName,
    bundle: Annotated[str | None, typer.Argument(help="Hash of the bundle, or its first digits.")] = None,
    *,
    stop: Annotated[bool, typer.Option("--stop", help="End the trial that is running.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept for ever.")] = "no reason given",
) -> None:
    """Put a bundle under trial beside the champion as `rollout` declares, or end its trial."""
    from forecastle.cli import operated

    around = around_here()
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

    around = around_here()
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

    around = around_here()
    around.system(system)
    print_approval(system, around, bundle=bundle, by=by, reason=reason, console=console)


@app.command()
def history(
    system: SystemName,
    *,
    at: Annotated[str | None, typer.Option(help="An instant with zone: what was live then.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data, with the evidence.")] = False,
) -> None:
    """Which bundle answered, since when, why that one, who approved it: all of them, or the one of an instant."""
    from forecastle.cli.history import moment_option, print_history

    around = around_here()
    moment = moment_option(at)
    around.system(system)
    print_history(system, around, at=moment, as_json=as_json, console=console)


@app.command()
def schedules(system: SystemName) -> None:
    """What runs when: looks for a new model, scoring by each promoted version; replaced ones since when."""
    from forecastle.cli.scheduled import print_schedules

    print_schedules(system, around_here(), console=console)


@app.command()
def backtest(
    system: SystemName,
    since: Annotated[str | None, typer.Option("--from", help="First cut: a day, or an instant with zone.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="End of the last cut's window.")] = None,
    every: Annotated[str | None, typer.Option(help="Time from one cut to the next, such as 1w.")] = None,
) -> None:
    """Train at past dates as if it were then, answer what was asked next, and score it."""
    from forecastle.cli.backtested import backtest_system, span

    backtest_system(system, span(since, until, every), around_here(), console=console)


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
    if not simulate_system(asked, around_here(), console=console):
        raise typer.Exit(1)
