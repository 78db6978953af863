"""Tables on the terminal: SQL over them, their versions, a training set made again, old versions removed.

Belongs here: what the verbs `sql`, `rebuild` and `prune` print.
Does not belong here: reading and removing (`forecastle.store`).
"""

from __future__ import annotations

import csv
import sys
from datetime import datetime
from itertools import islice
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from forecastle.cli.surroundings import Surroundings
from forecastle.contract.errors import ForecastleError
from forecastle.store.delta_log import TableName
from forecastle.store.query import ask, view_versions
from forecastle.store.retention import prune_queues, prune_system
from forecastle.store.training_set import knowledge_of, rebuild_training_set

SHOWN_ROWS: Final = 50
SHOWN_VERSIONS: Final = 10
MIB: Final = 2**20


def instant_option(option: str, text: str | None) -> datetime | None:
    """An option that is an instant with zone.

    Raises:
        ForecastleError: it is none.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ForecastleError(f"{option} is {text!r}; write an instant with zone, such as 2026-11-21T14:05:00+00:00")
    return moment


def print_tables(system: str, around: Surroundings, *, as_of: datetime | None, console: Console) -> None:
    """Every table that SQL can name, with the version shown."""
    versions = view_versions(around.warehouse(), system, as_of=as_of)
    if not versions:
        until = f" by {as_of.isoformat()}" if as_of else ""
        console.print(f"{system} has no table{until}; forecastle run {system} makes them", highlight=False)
        return
    shown = Table("table", "rows", "columns", "version", "written (UTC)", box=None)
    for name, version in versions.items():
        when = f"{version.written_at:%Y-%m-%d %H:%M:%S}"
        shown.add_row(name, f"{version.rows:,}", str(len(version.columns)), str(version.version), when)
    console.print(shown)


def print_answer(
    system: str, text: str, around: Surroundings, *, as_of: datetime | None, as_csv: bool, console: Console
) -> None:
    """Rows of one SELECT: all of them as CSV on standard output, or the first ones as a table."""
    with ask(around.warehouse(), system, text, as_of=as_of) as answer:
        rows = (row for batch in answer.batches for row in zip(*(c.to_pylist() for c in batch.columns), strict=True))
        if as_csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(answer.columns)
            writer.writerows([_csv_cell(value) for value in row] for row in rows)
            return
        shown = Table(*answer.columns, box=None)
        for row in islice(rows, SHOWN_ROWS):
            shown.add_row(*("" if value is None else str(value) for value in row))
        console.print(shown)
        if next(rows, None) is not None:
            console.print(f"… the first {SHOWN_ROWS} rows; --csv prints all of them")


def rebuild(system: str, around: Surroundings, *, as_of: datetime, console: Console) -> bool:
    """Make an earlier training set again; is it the same, bit for bit, as the one built then?"""
    rebuilt = rebuild_training_set(around.warehouse(), around.system(system), as_of=as_of)
    version = rebuilt.version
    console.print(f"{version.name}: {version.rows:,} rows, content hash {version.content_hash}", highlight=False)
    if rebuilt.original is None:
        console.print(f"No training set was built with what was known at {as_of.isoformat()}; nothing to compare with.")
        console.print(_built(system, around), highlight=False)
        return True
    said = "the same rows, bit for bit" if rebuilt.same else f"other rows, content hash {rebuilt.original.content_hash}"
    console.print(f"{rebuilt.original.name}@{rebuilt.original.version}: {said}", highlight=False)
    return rebuilt.same


def knowledge_of_version(system: str, around: Surroundings, number: int) -> datetime:
    """What was known when a version of a system's training set was made.

    Raises:
        ForecastleError: there is no such version; those there are, are told.
    """
    for version in around.warehouse().versions(_training_set(system)):
        if version.version == number:
            return knowledge_of(version)
    raise ForecastleError(f"{system} has no version {number} of its training set; {_built(system, around)}")


def _built(system: str, around: Surroundings) -> str:
    """The newest training sets with what was known to each, for `--version` and `--as-of`."""
    newest = around.warehouse().versions(_training_set(system))[-SHOWN_VERSIONS:]
    told = "".join(f"\n  version {v.version}  {knowledge_of(v).isoformat()}  {v.rows:,} rows" for v in newest)
    return f"newest training sets and what each knew:{told}" if told else "none was made yet"


def _training_set(system: str) -> TableName:
    return TableName(system, "training_set", "all")


def prune(system: str, around: Surroundings, *, console: Console) -> None:
    """Apply the declared retention to tables and queues; the champion's training set and what it was made of stay."""
    retention = around.system(system).declaration.retention
    warehouse = around.warehouse()
    standing = [v for v in [warehouse.version(f"{system}/training_set/all")] if v is not None]
    champion = around.registry().champion(system)
    if champion is not None:
        standing += [
            version
            for table in warehouse.tables(system)
            if table.kind == "models"
            for version in warehouse.versions(table)
            if version.facts.get("bundle") == champion.bundle
        ]
        standing += _trained_on(around, system, champion.bundle)
    freed = 0
    for table, report in prune_system(warehouse, system, retention, standing=standing).items():
        freed += report.bytes_freed
        if report.files:
            console.print(
                f"{table}: {len(report.versions)} version(s), {len(report.files)} file(s), "
                f"{report.bytes_freed / MIB:.1f} MiB",
                highlight=False,
            )
    for path, rows in prune_queues(around.home, system, retention, now=around.clock()).items():
        if rows:
            console.print(f"{path.relative_to(around.home.root)}: {rows:,} row(s)", highlight=False)
    console.print(f"{freed / MIB:.1f} MiB freed; records of removed versions stay.", highlight=False)


def _trained_on(around: Surroundings, system: str, bundle: str) -> list[Any]:
    """The training set version that a bundle names."""
    from forecastle.learn.bundle import load_bundle

    facts = load_bundle(around.home.bundles(system) / bundle, expected_hash=bundle).facts
    wanted = int(facts["training_set_version"])
    return [v for v in around.warehouse().versions(f"{system}/training_set/all") if v.version == wanted]


def _csv_cell(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
