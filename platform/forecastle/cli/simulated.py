"""Simulated months on a terminal: a day-by-day log a person can read, then one line a story.

Belongs here: what each event looks like, the table of verdicts.
Does not belong here: living through a month (another process does, the library does not know Dagster), verdicts
(`forecastle.story.verdict`).
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from forecastle.cli.surroundings import Surroundings
from forecastle.contract.errors import ForecastleError, did_you_mean
from forecastle.contract.load import LoadedSystem
from forecastle.contract.types import parse_duration
from forecastle.story.stories import story_named

SHORT: Final = 160
LOOK_SECONDS: Final = 300.0
GIVEN: Final = ("seed", "now", "until")
"""What a month tells the simulator itself."""
COLUMNS: Final = ("story", "seed", "begins", "detected", "time to detect", "cause named", "alerts", "verdict")

Event = Mapping[str, Any]


def plan(
    system: str, story: str, *, days: int, seed: int, seeds: int, every: str, world: list[str], folder: Path | None
) -> dict[str, Any]:
    """What the child process is asked for, as plain data.

    Raises:
        ForecastleError: an unknown story, a time that is none, or a world's argument that is not NAME=NUMBER.
    """
    if story != "all":
        story_named(story)
    try:
        seconds = parse_duration(every).total_seconds()
        sizes = {name: int(value) for name, value in (part.split("=", 1) for part in world)}
    except ValueError as error:
        raise ForecastleError(f"--every or --world: {error}; write --every 6h, --world markets=600") from None
    return {
        "system": system, "story": story, "days": days, "seed": seed, "seeds": seeds, "every_seconds": seconds,
        "look_seconds": LOOK_SECONDS, "world": sizes, "folder": str(folder.resolve()) if folder else "",
    }  # fmt: skip


def simulate_system(plan: Mapping[str, Any], around: Surroundings, *, console: Console) -> bool:
    """Live through the months of a plan in a child process; True only when every story ended right.

    What libraries log goes to `logs/simulate.log`.

    Raises:
        ForecastleError: there is no such system, its simulator takes no such argument, or the child ended by itself.
    """
    _check_world(around.system(plan["system"]), plan["world"])
    log = around.logs / "simulate.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("wb") as errors:
        child = subprocess.Popen(  # noqa: S603  our own command, no shell
            [sys.executable, "-m", "assets.simulate", json.dumps(dict(plan))],
            env=around.of_children(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert child.stdout is not None
    verdicts: list[Event] = []
    with child:
        try:
            for event in map(_event, child.stdout):
                show(event, console=console)
                verdicts += [event] if event.get("event") == "verdict" else []
        except BaseException:
            child.terminate()
            raise
    if verdicts:
        console.print(table(verdicts))
    for verdict in verdicts:
        for reason in verdict["reasons"]:
            console.print(f"[red]{verdict['story']}[/red]: {escape(reason)}", highlight=False)
    if child.returncode not in (0, 1) or not verdicts:
        raise ForecastleError(f"the simulation ended with status {child.returncode}; its log is {log}")
    return child.returncode == 0


def show(event: Event, *, console: Console) -> None:
    """One event as lines of the log; what nobody would miss is left out."""
    for line in lines(event):
        console.print(line, highlight=False)


def lines(event: Event) -> Iterable[str]:
    """The lines of one event, with Rich's markup."""
    kind, at = event.get("event"), _day(event.get("at"))
    if kind == "month":
        yield f"\n[bold]{event['system']}: {event['days']} days, story {event['story']}, seed {event['seed']}[/bold]"
    elif kind == "failed":
        yield f"[red]✗[/red] {escape(str(event['message']))}"
    elif kind == "story":
        yield f"[magenta]{at} · the story begins: {escape(str(event['message']))}[/magenta]"
    elif kind == "ran":
        yield from _ran(event, at)
    elif kind == "asked":
        if event["status"] != 200 or event["degraded"] or event["answered"] < event["asked"]:
            told = f"; {event['degraded']} degraded: {', '.join(event['reasons'])}" if event["degraded"] else ""
            yield f"{at} · asked   {event['answered']} of {event['asked']} answered{escape(told)}"
    elif kind == "promoted":
        reasons = escape(_short("; ".join(event["reasons"])))
        yield f"[green]{at} · promoted version {event['version']}[/green]: {reasons}"
    elif kind == "skipped":
        yield f"{at} · waits   {escape(_short(str(event['message'])))}"
    elif kind == "alert":
        yield from _alert(event, at)


def table(verdicts: Iterable[Event]) -> Table:
    """One row a story."""
    drawn = Table(*COLUMNS, title="What was noticed, and how soon")
    for verdict in verdicts:
        seconds, past = verdict["to_detect_seconds"], verdict["past_window_seconds"]
        took = _span(seconds) if seconds is not None else "–"
        if past is not None:
            took += f" ({_span(past)} past the window)"
        named = f"{verdict['cause']} of {verdict['asset'].partition('/')[2]}" if verdict["cause"] else "nothing"
        ended = "[green]right[/green]" if verdict["right"] else "[red]wrong[/red]"
        begins, detected = _day(verdict["since"]), _day(verdict["detected_at"]) or "–"
        month = (verdict["story"], str(verdict["seed"]), begins, detected)
        drawn.add_row(*month, took, named, str(verdict["alerts"]), ended)
    return drawn


def _check_world(system: LoadedSystem, sizes: Mapping[str, int]) -> None:
    """Refuse a size that the system's simulator does not know, or that is none, before a month begins."""
    if system.declaration.simulate is None:
        raise ForecastleError(f"{system.name} declares no simulator; a month needs a world to live in")
    known = inspect.signature(system.function(system.declaration.simulate)).parameters.values()
    allowed = [one.name for one in known if one.name not in GIVEN and one.kind is one.KEYWORD_ONLY]
    for name, size in sizes.items():
        if name not in allowed:
            raise ForecastleError(f"--world {name}: the simulator has no such size; {did_you_mean(name, allowed)}")
        if size < 1:
            raise ForecastleError(f"--world {name}={size}: a size is 1 or more")


def _ran(event: Event, at: str) -> Iterable[str]:
    for asset, said in event["failed"].items():
        yield f"[red]{at} · refused {asset}[/red]: {escape(_short(said))}"
    if event["trained"]:
        yield f"{at} · trained {', '.join(event['trained'])}: {escape(_short(event['why']))}"
    elif event["made"]:
        yield f"[dim]{at} · made    {len(event['made'])} assets: {escape(_short(event['why']))}[/dim]"


def _alert(event: Event, at: str) -> Iterable[str]:
    if event["kind"] == "again":
        return
    said = str(event["message"]).split("\n", 1)[0]
    if event["kind"] == "recovered":
        yield f"[green]{at} · well    {escape(_short(said))}[/green]"
        return
    colour = "red" if event["severity"] == "error" else "yellow"
    yield f"[{colour}]{at} · alert   {event['cause']}[/{colour}] {escape(_short(said))}"


def _day(instant: str | None) -> str:
    return f"{datetime.fromisoformat(instant):%d %b %H:%M}" if instant else ""


def _span(seconds: float) -> str:
    """Days, hours and minutes; the two largest that count."""
    minutes = round(timedelta(seconds=seconds) / timedelta(minutes=1))
    days, hours = divmod(minutes // 60, 24)
    parts = [(days, "d"), (hours, "h"), (minutes % 60, "min")]
    told = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(told[:2]) or "0 min"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHORT else f"{flat[: SHORT - 1]}…"


def _event(line: str) -> Event:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
