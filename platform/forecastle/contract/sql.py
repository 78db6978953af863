"""Feature and label SQL, parsed: what it reads, what it gives, and which raw column each output comes from.

Belongs here: sqlglot parsing, the one-SELECT rule, checks against source contracts, column lineage.
Does not belong here: running SQL (`store/`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope, traverse_scope

from forecastle.contract.errors import Problem, did_you_mean

DIALECT: Final = "duckdb"

Schema = Mapping[str, Sequence[str]]

# What these give depends on when or where they run, so no past table could be built again.
_UNREPEATABLE: Final = (
    exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.CurrentDatetime, exp.Localtimestamp,
    exp.Localtime, exp.CurrentUser, exp.CurrentSchema, exp.Rand, exp.Randn, exp.Uuid,
)  # fmt: skip
_UNREPEATABLE_NAMES: Final = frozenset({
    "now", "today", "get_current_timestamp", "get_current_time", "transaction_timestamp", "current_localtime",
    "current_localtimestamp", "random", "setseed", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "nextval",
    "currval", "txid_current", "current_setting", "getvariable", "getenv", "current_database", "version",
    "query", "query_table",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ParsedSql:
    """One SELECT: the sources it reads, the columns it gives in order, its tree with columns resolved."""

    file: str
    text: str
    expression: exp.Query
    tables: tuple[str, ...]
    outputs: tuple[str, ...]


def parse_select(
    text: str, *, file: str, schema: Schema, files: Collection[str] = ()
) -> tuple[ParsedSql | None, list[Problem]]:
    """Parse SQL that must be one SELECT over tables of `schema` (table → columns), with every column known.

    Unknown tables and columns become problems with "did you mean"; nothing is run. `file` is the name that
    problems carry, `files` what else could have been meant by a table.
    """
    try:
        statements = [s for s in sqlglot.parse(text, dialect=DIALECT) if s is not None]
        problems = _statements(statements, file)
        if problems:
            return None, problems
        query = statements[0].unnest()
        assert isinstance(query, exp.Query)
        problems = [*_forbidden(query, file), *_tables(query, file, schema, files)]
        # With a table unknown, every column of it would be unknown too.
        problems = problems or [*_columns(query, file, schema), *_outputs(query, file)]
        return (None, _ordered(problems)) if problems else (_resolved(query, text, file, schema), [])
    except ParseError as error:
        return None, [_not_sql(error, file)]
    except TokenError:
        return None, [Problem(file, 1, "is not SQL: a quote or a comment is never closed")]
    except SqlglotError as error:
        return None, [Problem(file, 1, f"cannot be resolved: {error}")]
    except RecursionError:
        return None, [Problem(file, 1, "nests too deeply to be read", "split it with WITH")]


def output_line(parsed: ParsedSql, name: str) -> int:
    """The line on which an output column stands; that of the first one for a column that is not given."""
    selects = {select.alias_or_name: select for select in parsed.expression.selects}
    return line_of(selects.get(name, parsed.expression.selects[0]))


def line_of(node: exp.Expression) -> int:
    """The line of a node's first word, or of what stands around it: some nodes keep no words."""
    around: exp.Expression | None = node
    while around is not None:
        lines = [int(part.meta["line"]) for part in around.walk() if "line" in part.meta]
        if lines:
            return min(lines)
        around = around.parent
    return 1


def column_lineage(parsed: ParsedSql, *, schema: Schema) -> dict[str, tuple[tuple[str, str], ...]]:
    """For every output column the raw columns (table, column) its value is computed from, sorted.

    Columns that only choose rows (WHERE, ON, GROUP BY) are no part of it; those of window clauses are.
    """
    scope = build_scope(parsed.expression)
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for output in parsed.outputs:
        root = lineage(output, parsed.expression, schema={}, dialect=DIALECT, scope=scope, copy=False)
        found[output] = tuple(sorted(leaf for leaf in _leaves(root) if leaf[0] in schema))
    return found


def _leaves(root: Node) -> set[tuple[str, str]]:
    return {
        (node.expression.this.name, node.name.rsplit(".", 1)[-1].strip('"'))
        for node in root.walk()
        if isinstance(node.expression, exp.Table) and not node.downstream
    }


def _not_sql(error: ParseError, file: str) -> Problem:
    first = error.errors[0] if error.errors else {}
    words = str(first.get("description") or error).rstrip(".")
    if "<class" in words:
        words = "a part is missing"
    near = f" at {first['highlight']!r}" if first.get("highlight") else ""
    return Problem(file, int(first.get("line") or 1), f"is not SQL{near}: {words}")


def _statements(statements: Sequence[exp.Expression], file: str) -> list[Problem]:
    if not statements:
        return [Problem(file, 1, "holds no statement", "write one SELECT")]
    first = statements[0]
    if not isinstance(first, exp.Query):
        return [Problem(file, line_of(first), f"holds {_kind(first)}; one SELECT is allowed")]
    if len(statements) > 1:
        line = line_of(statements[1])
        return [Problem(file, line, f"holds {len(statements)} statements; one SELECT is allowed")]
    return []


def _kind(statement: exp.Expression) -> str:
    return str(statement.name if isinstance(statement, exp.Command) else statement.key).upper()


def _forbidden(query: exp.Query, file: str) -> Iterator[Problem]:
    """A view reads what the system declares, by name, and gives the same whenever it runs."""
    for table in query.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            text = f"reads {table.sql(DIALECT)}; only declared sources may be read"
            yield Problem(file, line_of(table), text)
        elif table.db or table.args.get("version") or table.args.get("when"):
            yield Problem(file, line_of(table), f"reads {table.sql(DIALECT)}", f"write {table.name}")
    for select in query.find_all(exp.Select):
        if any(e.is_star or isinstance(e.unalias(), exp.Columns) for e in select.expressions):
            text = "uses SELECT *; name the columns, so that a new source column cannot become a feature"
            yield Problem(file, line_of(select), text)
    for node in query.find_all(exp.Into, exp.TableSample, exp.Pivot):
        yield Problem(file, line_of(node), f"uses {node.key.upper()}, which a view may not")
    for call in query.find_all(exp.Func):
        name = call.name.lower() if isinstance(call, exp.Anonymous) else ""
        if isinstance(call, _UNREPEATABLE) or name in _UNREPEATABLE_NAMES:
            text = f"calls {call.sql(DIALECT)}, which gives something else every time it runs"
            yield Problem(file, line_of(call), text, "use the times of the sources")


def _tables(query: exp.Query, file: str, schema: Schema, files: Collection[str]) -> Iterator[Problem]:
    local = set()
    for cte in query.find_all(exp.CTE):
        name = cte.alias_or_name.lower()
        local.add(name)
        if name in schema:
            yield Problem(file, line_of(cte), f"names a WITH part {name!r} like the source", "give it another name")
    for table in query.find_all(exp.Table):
        name = table.name.lower()
        if isinstance(table.this, exp.Identifier) and name not in local and name not in schema:
            hint = did_you_mean(name, {*schema, *local, *files})
            yield Problem(file, line_of(table), f"reads unknown source {table.name!r}", hint)


def _columns(query: exp.Query, file: str, schema: Schema) -> Iterator[Problem]:
    """Each column that the tables and subqueries in its reach do not have."""
    unsure: set[Scope] = set()
    for scope in traverse_scope(query):
        reach = _reach(scope, schema, unsure)
        columns = [column for column in scope.columns if _is_home(scope, column)]
        problems = [problem for column in columns for problem in _column(column, reach, scope, file)]
        # Innermost first: what reads a part with a wrong column would only echo it.
        if problems or unsure.intersection(scope.set_operation_scopes):
            unsure.add(scope)
        yield from problems


def _is_home(scope: Scope, column: exp.Column) -> bool:
    """A correlated column is listed in each scope around it too; only the innermost one is asked."""
    return column.find_ancestor(exp.Select, exp.SetOperation) is scope.expression


def _reach(scope: Scope, schema: Schema, unsure: set[Scope]) -> dict[str, set[str] | None]:
    """Columns by alias of every table in reach; None where they cannot be told (UNNEST, a wrong part)."""
    reach: dict[str, set[str] | None] = {}
    around: Scope | None = scope
    while around is not None:
        for alias, (_, source) in around.selected_sources.items():
            reach.setdefault(alias.lower(), None if source in unsure else _gives(source, schema))
        around = around.parent if around.is_subquery or around.is_udtf else None
    return reach


def _gives(source: exp.Expression | Scope, schema: Schema) -> set[str] | None:
    if isinstance(source, exp.Table):
        return {*schema.get(source.name.lower(), ())}
    inner = source.expression if isinstance(source, Scope) else source
    return {name.lower() for name in inner.named_selects} if isinstance(inner, exp.Query) else None


def _column(column: exp.Column, reach: Mapping[str, set[str] | None], scope: Scope, file: str) -> Iterator[Problem]:
    name, table = column.name.lower(), column.table.lower()
    known = {word for columns in reach.values() if columns is not None for word in columns}
    certain = None not in reach.values()
    if table in reach:
        columns = reach[table]
        if columns is not None and name not in columns:
            hint = did_you_mean(name, columns)
            yield Problem(file, line_of(column), f"reads unknown column {column.sql(DIALECT)!r}", hint)
    elif table:
        # A column that holds a struct is written like a table.
        if certain and table not in known:
            yield Problem(file, line_of(column), f"reads from unknown {table!r}", did_you_mean(table, reach))
    elif name in known:
        yield from _ambiguous(column, reach, scope, file)
    elif certain and name not in {n.lower() for n in scope.expression.named_selects}:
        yield Problem(file, line_of(column), f"reads unknown column {name!r}", did_you_mean(name, known))


def _ambiguous(column: exp.Column, reach: Mapping[str, set[str] | None], scope: Scope, file: str) -> Iterator[Problem]:
    name = column.name.lower()
    owners = [alias for alias in scope.selected_sources if name in (reach[alias.lower()] or ())]
    using = {i.name.lower() for join in scope.find_all(exp.Join) for i in join.args.get("using") or ()}
    if len(owners) > 1 and name not in using:
        text = f"reads column {name!r}, which stands in {' and '.join(owners)}"
        yield Problem(file, line_of(column), text, f"write {owners[0]}.{name}")


def _outputs(query: exp.Query, file: str) -> Iterator[Problem]:
    seen = set()
    for select in query.selects:
        name = select.alias_or_name.lower()
        if not name:
            yield Problem(file, line_of(select), f"gives {select.sql(DIALECT)} no name", "write AS name")
        elif name in seen:
            yield Problem(file, line_of(select), f"gives column {name!r} twice")
        seen.add(name)


def _resolved(query: exp.Query, text: str, file: str, schema: Schema) -> ParsedSql:
    typed = {table: dict.fromkeys(columns, "UNKNOWN") for table, columns in schema.items()}
    bound = qualify(query, schema=typed, dialect=DIALECT, identify=False, quote_identifiers=False)
    assert isinstance(bound, exp.Query)
    tables = {t.name for t in bound.find_all(exp.Table)} & set(schema)
    return ParsedSql(file, text, bound, tuple(sorted(tables)), tuple(bound.named_selects))


def _ordered(problems: Sequence[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
