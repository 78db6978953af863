"""Quarantine: rows of a source that break its contract stand apart, whole, with the rule that each broke.

Belongs here: the columns of `quarantine/<name>`, its lines in SQL, the share of rows above which a source is refused.
Does not belong here: rules (`rules.py`), reading rows (`sources.py`), dead letters of streams (`stream_source.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import duckdb

from forecastle.contract.column import Column
from forecastle.contract.errors import SourceError
from forecastle.contract.source import Source
from forecastle.store.rules import describe_violation
from forecastle.store.sql import quote_ident, quote_text

QUARANTINE_COLUMNS: Final = ("file", "row_number", "column", "value", "rule", "row_json")
"""`row_json` holds the row's declared columns as they came, in JSON; of a stream the event's first bytes."""


class QuarantineError(SourceError):
    """More rows than allowed break the contract: `quarantined` of `rows`. They stand in quarantine all the same."""

    def __init__(self, text: str, *, quarantined: int, rows: int) -> None:
        self.quarantined = quarantined
        self.rows = rows
        super().__init__(text)


def check_limit(
    name: str,
    source: Source,
    *,
    quarantined: int,
    rows: int,
    what: str = "rows",
    sender: str = "file",
    listed: str = "",
) -> None:
    """Refuse a source when more of its rows than `quarantine_limit` break the contract; `listed` tells which.

    Raises:
        QuarantineError: they are more.
    """
    if quarantined > source.quarantine_limit * rows:
        raise QuarantineError(
            f"source {name}: {quarantined} of {rows} {what} break the contract, limit {source.quarantine_limit:.2%}; "
            f"mend the {sender}, the contract or the limit; the last good table stays, quarantine.{name} holds what "
            f"was refused{listed}",
            quarantined=quarantined,
            rows=rows,
        )


def quarantine_relation(name: str) -> str:
    """The DuckDB table that holds the broken rows of a source while it is read."""
    return quote_ident(f"__quarantine_{name}")


def quarantine_lines(raw: str, rules: Mapping[str, tuple[str, str]], *, broken: str) -> str:
    """SQL of one line per broken rule of relation `raw`, by file, row and declared order.

    `rules`: column → SQL of the rule that its value breaks, SQL of that value as text; `broken`: SQL that is true for
    rows that break any.
    """
    row = ", ".join(f"{quote_text(name)}: {text}" for name, (_, text) in rules.items())
    lines = " UNION ALL ".join(
        f'SELECT __file AS file, __row AS row_number, {quote_text(name)} AS "column", {text} AS value, {rule} AS rule,'
        f" to_json({{{row}}})::VARCHAR AS row_json, {position} AS position FROM {raw} WHERE {broken}"
        for position, (name, (rule, text)) in enumerate(rules.items())
    )
    return f"SELECT * EXCLUDE (position) FROM ({lines}) WHERE rule IS NOT NULL ORDER BY file, row_number, position"


def told_rules(connection: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, Column]) -> str:
    """A line for each file, column and rule in the quarantine of a source: how many rows, and one of the values."""
    rows = connection.execute(
        f'SELECT "column", rule, count(*), any_value(value), min(file) FROM {quarantine_relation(name)}'
        " GROUP BY ALL ORDER BY 3 DESC, 1, 2"
    ).fetchall()
    told = [
        f"{file}: {describe_violation(column, columns[column], rule, count, example)}"
        for column, rule, count, example, file in rows
    ]
    return ":" + "".join(f"\n  {line}" for line in told)
