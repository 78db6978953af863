"""The demonstration: the whole way once, proven by one answer and its trace.

Belongs here: what is skipped when it is there already, which question is asked, what is printed.
Does not belong here: the steps themselves.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from forecastle.cli.pages import ask, prove_dagster, prove_mlflow
from forecastle.cli.progress import materialise
from forecastle.cli.surroundings import Surroundings
from forecastle.cli.traced import print_trace, trace_here
from forecastle.cli.up import Addresses
from forecastle.contract.errors import ForecastleError
from forecastle.contract.load import LoadedSystem
from forecastle.store.sources import read_source
from forecastle.store.sql import one_row


def prepare(system: str, around: Surroundings, *, console: Console) -> Surroundings:
    """Materialise what is not there yet; returns the surroundings to serve in.

    History is replayed: with a data folder, the clock starts at the newest instant the data know, so that yesterday's
    prices are not years old.

    Raises:
        ForecastleError: an asset could not be made.
    """
    loaded = around.system(system)
    start = _newest_known(loaded, around) if around.data and not around.now else None
    if start is not None:
        around = around.at(start.isoformat())
        console.print(
            f"the clock replays from {start:%Y-%m-%d %H:%M} UTC, the newest instant the data know", highlight=False
        )
    if _is_made(system, around):
        console.print(f"{system} is made already: starting its servers (forecastle run {system} makes it anew)")
    else:
        _make(system, around, console=console)
    return around


def demonstrate(system: str, around: Surroundings, urls: Addresses, *, console: Console) -> None:
    """Ask one prediction, print the answer and its trace.

    Raises:
        ForecastleError: the service did not answer with a probability, the trace does not give the same number, or a
            page does not show what was made.
    """
    entity = _liveliest(system, around)
    question = json.dumps({"entity": entity})
    console.print(
        f"\n$ curl -X POST {urls.service}/predict -H 'content-type: application/json' -d '{question}'", highlight=False
    )
    answer = ask(f"{urls.service}/predict", {"entity": entity})
    if not 0 <= answer.get("probability", -1) <= 1:
        raise ForecastleError(f"the service gave no probability: {answer}")
    console.print_json(json.dumps(answer))
    console.print(f"\n$ forecastle trace {answer['prediction_id']}", highlight=False)
    found = trace_here(answer["prediction_id"], system, around)
    print_trace(found, console=console)
    if not found.same_number or answer["probability"] != found.recomputed:
        raise ForecastleError("the trace does not give the answered number again")
    run = prove_mlflow(urls.mlflow, system, found.bundle.facts["mlflow_run_id"])
    assets = prove_dagster(urls.dagster, system)
    console.print(f"\nDagster shows {assets} assets, all made; MLflow shows run {run}", highlight=False)


def _newest_known(system: LoadedSystem, around: Surroundings) -> datetime | None:
    """The newest knowledge time in the files that features are made from; None where no file has such a column."""
    declared = system.declaration
    names = sorted({name for view in declared.feature_views.values() for name in system.reads(view.sql)})
    told = {name: declared.sources[name] for name in names if isinstance(declared.sources[name].known_at, str)}
    found: list[datetime] = []
    with around.warehouse().connect() as connection:
        for name, source in told.items():
            if source.kind != "sql":
                read = read_source(name, source, data=Path(around.data), connection=connection)
                (newest,) = one_row(connection, f"SELECT max(known_at) FROM {read.table}")
                found += [newest] if newest else []
    return max(found, default=None)


def _make(system: str, around: Surroundings, *, console: Console) -> None:
    """Materialise everything; what is half made, from whichever data, does not count as made afterwards."""
    marker = _marker(system, around)
    marker.unlink(missing_ok=True)
    if not materialise(system, environment=around.of_children(), logs=around.logs, console=console):
        raise ForecastleError(f"{system} could not be made; nothing was started")
    marker.write_text(json.dumps(_wanted(system, around)))


def _is_made(system: str, around: Surroundings) -> bool:
    """Whether a champion was promoted from the kind of data that is asked for now, and packed."""
    try:
        made = json.loads(_marker(system, around).read_text()) == _wanted(system, around)
    except (OSError, ValueError):
        return False
    return made and around.home.champion(system).exists()


def _marker(system: str, around: Surroundings) -> Path:
    return around.home.root / f"demo-{system}.json"


def _wanted(system: str, around: Surroundings) -> dict[str, str]:
    return {"system": system, "data": around.data}


def _liveliest(system: str, around: Surroundings) -> dict[str, Any]:
    """Keys of the entity whose batch prediction stands on the newest row: one worth asking about."""
    loaded = around.system(system)
    keys = list(loaded.declaration.entity_of_label().keys)
    first = next(iter(loaded.declaration.feature_views))
    rows = around.warehouse().frame(f"{system}/batch_predictions/all", [*keys, f"{first}__known_at", "probability"])
    if rows.empty:
        raise ForecastleError(f"{system} has nobody to ask about: every entity's features are older than their ttl")
    uncertain = rows.assign(distance=(rows["probability"] - 0.5).abs())
    best = uncertain.sort_values([f"{first}__known_at", "distance"], ascending=[False, True]).iloc[0]
    return {key: best[key].item() if hasattr(best[key], "item") else best[key] for key in keys}
