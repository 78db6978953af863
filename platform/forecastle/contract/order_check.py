"""Feature SQL whose values depend on the order in which an engine happens to read rows.

Belongs here: aggregates that add floats, or keep the first of several rows, without an ORDER BY of their own.
Does not belong here: functions that depend on when they run, unknown names (`sql.py`).
Floats added in another order give other last digits, so the same rows would not make the same table again, and an
online value not the batch's: Goldberg (1991), https://doi.org/10.1145/103162.103163
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types

from forecastle.contract.errors import Problem
from forecastle.contract.sql import DIALECT, ParsedSql, line_of
from forecastle.contract.system import FeatureView, System

_SQL_TYPES: Final = {
    "float64": "DOUBLE", "int64": "BIGINT", "string": "VARCHAR", "bool": "BOOLEAN", "timestamp": "TIMESTAMPTZ",
    "date": "DATE",
}  # fmt: skip
_SUMS: Final = (exp.Sum, exp.Avg)
_MOMENTS: Final = (
    exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop, exp.Corr, exp.CovarPop, exp.CovarSamp,
)  # fmt: skip
_ORDERED: Final = (exp.First, exp.Last, exp.ArrayAgg, exp.GroupConcat)
_FLOATS: Final = frozenset({exp.DataType.Type.DOUBLE, exp.DataType.Type.FLOAT})


def order_problems(parsed: ParsedSql, system: System, *, file: str) -> Iterator[Problem]:
    """Aggregates of a view's or label's `file` that another order of rows would change.

    Frames of a window are added up by a tree over its partition: in one way as long as the whole of it is read. A view
    that is made by day, or follows a stream with a bounded history, reads a part.
    """
    in_parts = any(_reads_parts(view, system) for view in system.feature_views.values() if view.sql == file)
    typed = {
        name: {column: _SQL_TYPES[declared.dtype] for column, declared in source.columns.items()}
        for name, source in system.sources.items()
    }
    query = annotate_types(parsed.expression.copy(), schema=typed, dialect=DIALECT)
    for call in query.find_all(*_SUMS, *_MOMENTS, *_ORDERED):
        around = call.parent.parent if isinstance(call.parent, exp.Filter) else call.parent
        steady = isinstance(around, exp.Window) and (isinstance(call, _ORDERED) or not in_parts)
        if steady or call.find(exp.Order) or not _depends(call):
            continue
        said = f"{call.sql(DIALECT)} depends on the order in which rows are read"
        hint = f"write {call.sql_name()}(… ORDER BY …) with columns that tell its rows apart"
        if isinstance(call, _SUMS):
            hint += ", or add up CAST(… AS DECIMAL(18, 6)), which is exact"
        yield Problem(parsed.file, line_of(call), said, hint)


def _reads_parts(view: FeatureView, system: System) -> bool:
    stream = system.sources.get(view.stream) if view.stream else None
    return view.partition is not None or (stream is not None and stream.history is not None)


def _depends(call: exp.Expression) -> bool:
    return not isinstance(call, _SUMS) or (_is_float(call.this) and not _is_whole(call.this))


def _is_float(value: exp.Expression) -> bool:
    return value.type is not None and value.type.this in _FLOATS


def _is_whole(value: exp.Expression) -> bool:
    """Are these floats whole numbers, whose sums are exact?"""
    if isinstance(value, exp.Case):
        branches = [branch.args["true"] for branch in value.args["ifs"]]
        return all(_is_whole(branch) for branch in (*branches, *filter(None, [value.args.get("default")])))
    if isinstance(value, exp.Coalesce):
        return all(_is_whole(part) for part in (value.this, *value.expressions))
    if isinstance(value, exp.Cast | exp.Paren | exp.Neg):
        return _is_whole(value.this)
    if isinstance(value, exp.Literal):
        return value.is_number and float(value.this).is_integer()
    return isinstance(value, exp.Null) or (value.type is not None and value.type.this in exp.DataType.INTEGER_TYPES)
