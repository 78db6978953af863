"""What runs when: the retraining and the scoring schedules of a system on the terminal.

Belongs here: what `forecastle schedules` prints.
Does not belong here: which schedules there are (`promote/schedules.py`), running them (Dagster does).
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from forecastle.cli.surroundings import Surroundings
from forecastle.promote.schedules import schedule_table, scoring_schedules


def print_schedules(name: str, around: Surroundings, *, console: Console) -> None:
    """When models are trained, and when each promoted version scores the population; replaced ones say since when."""
    system = around.system(name)
    registry = around.registry()
    schedules = scoring_schedules(system.declaration, registry.history(name), registry.decisions(name))
    console.print(f"a new model is looked for: {system.declaration.retrain.schedule} (UTC)", highlight=False)
    if not schedules:
        console.print("scoring: no version was promoted yet")
        return
    shown = Table("scoring model", "version", "bundle", "cron (UTC)", "state", "since", "archived at", "next", box=None)
    for row in schedule_table(schedules, now=around.clock()).to_dict("records"):
        moments = (_moment(row[name]) for name in ("since", "archived_at", "next_at"))
        shown.add_row(
            row["model"], row["model_version"], row["bundle"][:12], row["cron"] or "-", row["state"], *moments
        )
    console.print(shown)


def _moment(value: Any) -> str:
    return "-" if pd.isna(value) else f"{value:%Y-%m-%d %H:%M}"
