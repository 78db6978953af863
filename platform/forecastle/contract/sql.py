"""Feature and label SQL, parsed: what it reads, what it gives, and which raw column each output comes from.

Belongs here: sqlglot parsing, the one-SELECT rule, checks against source contracts, column lineage.
Does not belong here: running SQL (`store/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError, SqlglotError
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify

from forecastle.contract.errors import Problem, did_you_mean

DIALECT = "duckdb"

Schema = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ParsedSql:
    """One SELECT: the tables it reads and the columns it gives, in order."""

    file: str
    text: str
    expression: exp.Query
    tables: tuple[str, ...]
    outputs: tuple[str, ...]


def parse_select(text: str, *, file: str, schema: Schema) -> tuple[ParsedSql | None, list[Problem]]:
    """Parse SQL that must be one SELECT over tables of `schema` (table → columns), with every column known.

    Unknown tables and columns become problems with "did you mean"; nothing is run.
    """
    try:
        statements = [s for s in sqlglot.parse(text, dialect=DIALECT) if s is not None]
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        return None, [Problem(file, int(first.get("line") or 1), f"is not SQL: {first.get('description', error)}")]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        return None, [Problem(file, 1, f"holds {len(statements)} statements; one SELECT is allowed")]
    query = statements[0]
    problems = [*_forbidden(query, file), *_tables(query, file, schema)]
    if problems:
        return None, problems
    return _qualified(query, text, file, schema)


def column_lineage(parsed: ParsedSql, *, schema: Schema) -> dict[str, tuple[tuple[str, str], ...]]:
    """For every output column the raw columns (table, column) it is computed from, sorted."""
    typed = {table: dict.fromkeys(columns, "UNKNOWN") for table, columns in schema.items()}
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for output in parsed.outputs:
        root = lineage(output, parsed.text, schema=typed, dialect=DIALECT)
        leaves = {
            (node.expression.this.name, node.name.rsplit(".", 1)[-1])
            for node in root.walk()
            if isinstance(node.expression, exp.Table) and not node.downstream
        }
        found[output] = tuple(sorted(leaf for leaf in leaves if leaf[0] in schema))
    return found


def _forbidden(query: exp.Query, file: str) -> list[Problem]:
    """Files and outside tables are no sources: a view may read only what the system declares."""
    problems = []
    for table in query.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            problems.append(
                Problem(file, _line(table), f"reads {table.sql(DIALECT)}; only declared sources may be read")
            )
    problems.extend(
        Problem(file, 1, "uses SELECT *; name the columns, so that a new source column cannot become a feature")
        for select in query.find_all(exp.Select)
        if any(isinstance(e, exp.Star) or (isinstance(e, exp.Column) and e.name == "*") for e in select.expressions)
    )
    return problems


def _tables(query: exp.Query, file: str, schema: Schema) -> list[Problem]:
    local = {cte.alias_or_name for cte in query.find_all(exp.CTE)}
    problems = []
    for table in query.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and table.name not in local and table.name not in schema:
            hint = did_you_mean(table.name, schema)
            problems.append(Problem(file, _line(table), f"reads unknown source {table.name!r}", hint))
    return problems


def _qualified(
    query: exp.Query, text: str, file: str, schema: Schema
) -> tuple[ParsedSql | None, list[Problem]]:
    typed = {table: dict.fromkeys(columns, "UNKNOWN") for table, columns in schema.items()}
    lines = {column.name: _line(column) for column in query.find_all(exp.Column)}
    try:
        bound = qualify(query.copy(), schema=typed, dialect=DIALECT, validate_qualify_columns=True)
    except OptimizeError as error:
        return None, _unknown_columns(query, str(error), file, schema, lines)
    except SqlglotError as error:
        return None, [Problem(file, 1, f"cannot be resolved: {error}")]
    local = {cte.alias_or_name for cte in bound.find_all(exp.CTE)}
    tables = sorted({t.name for t in bound.find_all(exp.Table) if t.name not in local})
    return ParsedSql(file, text, query, tuple(tables), tuple(bound.named_selects)), []


def _unknown_columns(
    query: exp.Query, message: str, file: str, schema: Schema, lines: Mapping[str, int]
) -> list[Problem]:
    """Name each column that stands in no source of the query and is no alias of it."""
    read = {t.name for t in query.find_all(exp.Table)} & set(schema)
    known = {column for table in read for column in schema[table]}
    aliases = {a.alias for a in query.find_all(exp.Alias)}
    problems = [
        Problem(file, line, f"reads unknown column {name!r}", did_you_mean(name, known))
        for name, line in sorted(lines.items(), key=lambda item: item[1])
        if name not in known and name not in aliases
    ]
    return problems or [Problem(file, 1, f"cannot be resolved: {message}")]


def _line(node: exp.Expression) -> int:
    for part in node.walk():
        if isinstance(part, exp.Identifier) and "line" in part.meta:
            return int(part.meta["line"])
    return 1
