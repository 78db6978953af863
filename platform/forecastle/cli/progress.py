"""Progress of a graph being materialised, drawn from the lines that `assets.run` prints.

Belongs here: one line an asset, what failed and why, what checks had to say.
Does not belong here: materialising (another process does, the library does not know Dagster).
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

FULL_BYTES: Final = 2**20
"""With less than this left nothing worth having can be written."""


def materialise(
    system: str, *, environment: Mapping[str, str], logs: Path, console: Console, day: str | None = None
) -> bool:
    """Materialise a system's whole graph in a child process; True only when every asset was made.

    With a `day` (UTC, such as 2026-01-05) only the daily assets' partition of that day. Dagster's own log
    goes to `logs/run.log`.
    """
    log = logs / "run.log"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("wb") as errors:
        child = subprocess.Popen(  # noqa: S603  our own command, no shell
            [sys.executable, "-m", "assets.run", system, *([day] if day else [])],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert child.stdout is not None
    with child:
        try:
            failures = draw(map(_event, child.stdout), console=console)
        except BaseException:
            child.terminate()
            raise
    if child.returncode != 0 and not failures:
        console.print(f"the run ended {_how(child.returncode)}: {_last_line(log)}", highlight=False, markup=False)
    return child.returncode == 0


def draw(events: Iterable[Mapping[str, Any]], *, console: Console) -> int:
    """Draw events as they come; returns how many assets failed."""
    failures = 0
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("loading the definitions", total=None)
        for event in events:
            kind, asset = event.get("event"), str(event.get("asset", "")).replace("__", "/")
            if kind == "planned":
                progress.update(task, total=len(event["assets"]))
            elif kind == "started":
                progress.update(task, description=asset)
            elif kind == "made":
                progress.advance(task)
                console.print(f"[green]✓[/green] {asset} [dim]{event['seconds']:.2f} s[/dim]", highlight=False)
            elif kind == "model":
                progress.update(task, description=f"{asset}: {event['model']} is made")
            elif kind == "failed":
                failures += 1
                console.print(f"[red]✗ {asset or 'the run'}[/red]\n  {escape(event['message'])}", highlight=False)
            elif kind == "check":
                mark = "[red]![/red]" if event["severity"] == "ERROR" else "[yellow]![/yellow]"
                console.print(f"{mark} {asset} {event['check']}: {escape(event['message'])}", highlight=False)
    return failures


def _event(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _how(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    return f"by signal {signal.Signals(-status).name}" + (" (too little memory?)" if status == -signal.SIGKILL else "")


def _last_line(log: Path) -> str:
    """What the child said last, which of a traceback is the error itself, and where the rest is."""
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    full = "; its disk is full" if shutil.disk_usage(log.parent).free < FULL_BYTES else ""
    return f"{said[-1] if said else 'it said nothing'} (its log is {log}{full})"
