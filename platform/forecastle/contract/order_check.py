"""Feature SQL whose values depend on the order in which an engine happens to read rows.

Belongs here: aggregates that add floats or keep some of several rows, places in a window, LIMIT: without an ORDER BY.
Does not belong here: functions that depend on when they run, unknown names (`sql.py`); ties of a declared order.
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

_Group = tuple[type[exp.Expression], ...]

_SQL_TYPES: Final = {
    "float64": "DOUBLE", "int64": "BIGINT", "string": "VARCHAR", "bool": "BOOLEAN", "timestamp": "TIMESTAMPTZ",
    "date": "DATE",
}  # fmt: skip
_SUMS: Final[_Group] = (exp.Sum, exp.Avg)
_MOMENTS: Final[_Group] = (
    exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop, exp.Corr, exp.CovarPop, exp.CovarSamp,
    exp.Skewness, exp.Kurtosis, exp.RegrSlope, exp.RegrIntercept, exp.RegrR2, exp.RegrSxx, exp.RegrSyy, exp.RegrSxy,
    exp.RegrAvgx, exp.RegrAvgy,
)  # fmt: skip
_KEPT: Final[_Group] = (exp.First, exp.Last, exp.AnyValue, exp.ArrayAgg, exp.GroupConcat)
_PLACES: Final[_Group] = (exp.RowNumber, exp.Ntile, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue)
_SKETCHES: Final[_Group] = (exp.ApproxQuantile, exp.ApproxTopK)
# Functions of DuckDB that the parser knows by name only.
_NAMES: Final[dict[str, _Group]] = {
    "mean": _SUMS,
    **dict.fromkeys(("fsum", "kahan_sum", "sumkahan", "favg", "product", "geomean", "geometric_mean"), _MOMENTS),
    **dict.fromkeys(("sem", "kurtosis_pop", "weighted_avg", "wavg"), _MOMENTS),
    **dict.fromkeys(("arbitrary", "json_group_array", "json_group_object"), _KEPT),
    "reservoir_quantile": _SKETCHES,
}
_FLOATS: Final = frozenset({exp.DataType.Type.DOUBLE, exp.DataType.Type.FLOAT})
_APART: Final = "with columns that tell its rows apart"


def order_problems(parsed: ParsedSql, system: System, *, file: str) -> Iterator[Problem]:
    """What another order of rows would change in a view's or label's `file`.

    Frames of a window are added up by a tree over its partition: in one way as long as the whole of it is read. A view
    that is made by day, or follows a stream with a bounded history, reads a part.
    """
    in_parts = any(_reads_parts(view, system) for view in system.feature_views.values() if view.sql == file)
    typed = {
        name: {column: _SQL_TYPES[declared.dtype] for column, declared in source.columns.items()}
        for name, source in system.sources.items()
    }
    query = annotate_types(parsed.expression.copy(), schema=typed, dialect=DIALECT)
    for call in query.find_all(*_SUMS, *_MOMENTS, *_KEPT, *_PLACES, *_SKETCHES, exp.Anonymous):
        hint = _way_out(call, in_parts=in_parts)
        if hint:
            said = f"{call.sql(DIALECT)} depends on the order in which rows are read"
            yield Problem(parsed.file, line_of(call), said, hint)
    yield from _some_rows(query, parsed.file)


def _reads_parts(view: FeatureView, system: System) -> bool:
    stream = system.sources.get(view.stream) if view.stream else None
    return view.partition is not None or (stream is not None and stream.history is not None)


def _way_out(call: exp.Expression, *, in_parts: bool) -> str:
    """What to write instead of a call that depends on the order of rows; empty for one that does not."""
    group, window = _group(call), _window(call)
    name = call.name.upper() if isinstance(call, exp.Anonymous) else call.sql_name()
    if not group or call.find(exp.Order) or (window is not None and _is_ordered(window, group, in_parts=in_parts)):
        return ""
    if group is _SKETCHES:
        return "write QUANTILE_CONT(…), or count values: both are the same in any order"
    if group is _PLACES or (window is not None and group is _KEPT):
        return f"write {name}(…) OVER (… ORDER BY …) {_APART}"
    if group is _SUMS and not _is_float_sum(call):
        return ""
    also = ", or add up CAST(… AS DECIMAL(18, 6)), which is exact" if group is _SUMS else ""
    also = ", or MIN(…), which is the same in any order" if isinstance(call, exp.AnyValue) else also
    return f"write {name}(… ORDER BY …) {_APART}{also}"


def _group(call: exp.Expression) -> _Group:
    """Which of the groups above a call belongs to; an empty one where it belongs to none."""
    if isinstance(call, exp.Anonymous):
        return _NAMES.get(call.name.lower(), ())
    return next(group for group in (_SUMS, _MOMENTS, _KEPT, _PLACES, _SKETCHES) if isinstance(call, group))


def _window(call: exp.Expression) -> exp.Window | None:
    around = call.parent
    while isinstance(around, exp.Filter | exp.IgnoreNulls | exp.RespectNulls):
        around = around.parent
    return around if isinstance(around, exp.Window) else None


def _is_ordered(window: exp.Window, group: _Group, *, in_parts: bool) -> bool:
    """Does the window itself say in which order this kind of call reads its rows?"""
    if group is _SUMS or group is _MOMENTS:
        return not in_parts
    select = window.find_ancestor(exp.Select)
    named = select.args.get("windows") or [] if select else []
    bases = [base for base in named if base.name == window.alias and window.alias]
    return any(one.args.get("order") is not None for one in (window, *bases))


def _some_rows(query: exp.Query, file: str) -> Iterator[Problem]:
    """SELECTs that keep the first rows that come, whichever those are."""
    for select in query.find_all(exp.Query):
        distinct = select.args.get("distinct")
        taken = {
            "DISTINCT ON": isinstance(distinct, exp.Distinct) and distinct.args.get("on") is not None,
            "LIMIT": select.args.get("limit") is not None,
            "OFFSET": select.args.get("offset") is not None,
        }
        kept = next((word for word, is_there in taken.items() if is_there), None)
        if kept and select.args.get("order") is None:
            said = f"{kept} without ORDER BY depends on the order in which rows are read"
            yield Problem(file, line_of(select), said, f"write ORDER BY … {_APART}")


def _is_float_sum(call: exp.Expression) -> bool:
    value = call.expressions[0] if isinstance(call, exp.Anonymous) else call.this
    return value.type is not None and value.type.this in _FLOATS and not _is_whole(value)


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
