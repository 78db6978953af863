"""What one feature looked like when its model was trained: the frozen record that a bundle carries for drift.

Belongs here: the `Reference` of a feature, how values become numbers or categories, its exact JSON form.
Does not belong here: comparing new values with it (`drift.py`), contracts, files, pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from forecastle.contract.errors import MeasureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["numeric", "category"]

LARGEST = 1e150  # squares of larger numbers overflow: such a value is as little a measurement as infinity
TAIL_SHARE = 0.0005  # each side; partial unit errors show beyond it long before PSI moves


@dataclass(frozen=True, slots=True)
class Reference:
    """Distribution of one feature in the training data.

    `rows` counts all rows, `nulls` those without a usable value (null, NaN or infinite; no model can use
    them).
    Numeric: `edges` are inner bin edges taken from the order statistics, bins are closed on the right, and
    `counts` has one more entry than `edges`. `sample` holds increasing values of equal weight: every value,
    or its mid-quantiles when there were more than `points`. Beyond `low` and `high` lie `below` and `above`
    values.
    Category: `counts` follow `categories` (most frequent first), its last entry is every category not kept.
    `median`, `mean`, `sd`, `low`, `high` are None for categories and when no row had a value.
    """

    kind: Kind
    rows: int
    nulls: int
    counts: tuple[int, ...]
    unit: str = ""
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    sample: tuple[float, ...] = ()
    median: float | None = None
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    below: int = 0
    above: int = 0

    @property
    def n(self) -> int:
        """Rows that had a value."""
        return self.rows - self.nulls

    @property
    def null_rate(self) -> float:
        """Share of rows without a value."""
        return self.nulls / self.rows

    def to_json(self) -> dict[str, Any]:
        """JSON-ready dictionary; `from_json` gives the equal record back, also through `json.dumps`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Reference:
        """The record written by `to_json`.

        Raises:
            MeasureError: a key is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if set(data) != names:
            raise MeasureError(
                f"a reference has the keys {sorted(names)}, got {sorted(data)}; rebuild it with `reference(values)`"
            )
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**arguments)


def reference(
    values: Any,
    *,
    kind: Kind | None = None,
    bins: int = 10,
    points: int = 5_000,
    max_categories: int = 1_000,
    unit: str = "",
) -> Reference:
    """Record the distribution of one feature, shape (n,), nulls allowed.

    `kind` None: numbers and booleans are numeric, everything else is a category. `bins` quantile bins are
    frozen at the order statistics of rank ceil(n i / bins); up to `bins` distinct values get one bin each.
    `unit` is the contract's word (seconds, usd, …), used to name a suspected unit change. Of more than
    `max_categories` the most frequent are kept; unseen ones then cannot be told from the rest and are not
    tested.

    Raises:
        MeasureError: no rows, more than one dimension, dates, text where numbers are wanted, fewer than 2
            bins, fewer than 100 points.
    """
    if bins < 2 or points < 100 or max_categories < 1:
        raise MeasureError(
            f"got bins={bins}, points={points}, max_categories={max_categories}; "
            "at least 2 bins, 100 points and 1 category are needed"
        )
    column = as_column(values)
    if (kind or kind_of(column)) == "category":
        return _category_reference(column, unit=unit, max_categories=max_categories)
    return _numeric_reference(column, unit=unit, bins=bins, points=points)


def kind_of(column: Any) -> Kind:
    """`numeric` for numbers and booleans (also inside object arrays), else `category`."""
    import pandas as pd

    return "numeric" if pd.api.types.infer_dtype(column, skipna=True) in _NUMERIC else "category"


def sorted_values(values: Any) -> tuple[NDArray[np.float64], int]:
    """Usable values in increasing order as float64, and how many rows there were in all.

    Raises:
        MeasureError: no rows, more than one dimension, or something that is not a number.
    """
    column = as_column(values)
    try:
        array = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise MeasureError(f"numbers are needed, got {column.dtype} values ({error}); pass kind='category'") from None
    usable = array[np.abs(array) <= LARGEST]
    usable.sort()
    return usable, array.size


def category_counts(values: Any) -> tuple[dict[str, int], int]:
    """Counts by category name, nulls left out, and how many rows there were in all.

    A whole number is named without its decimals, so that 3, 3.0 and "3" are one category: a column of codes
    turns into floats when a null joins it.

    Raises:
        MeasureError: no rows, or more than one dimension.
    """
    import pandas as pd

    column = as_column(values)
    codes, labels = pd.factorize(column)
    counts: dict[str, int] = {}
    for label, count in zip(labels, np.bincount(codes[codes >= 0], minlength=len(labels)), strict=True):
        name = _category_name(label)
        counts[name] = counts.get(name, 0) + int(count)
    return counts, len(column)


def as_column(values: Any) -> Any:
    """`values` as a pandas Series with at least one row.

    Raises:
        MeasureError: no rows, more than one dimension, or dates (which drift by nature).
    """
    import pandas as pd

    if np.ndim(values) != 1:
        raise MeasureError(f"got values of shape {np.shape(values)}; one column is needed; pass features one by one")
    column = values if isinstance(values, pd.Series) else pd.Series(values)
    if column.size == 0:
        raise MeasureError("got no rows; a distribution needs at least one; check the window and the filter")
    if column.dtype.kind in "mM":
        raise MeasureError(f"got {column.dtype} values; moments always drift; pass the seconds before the prediction")
    return column


_NUMERIC = frozenset({"integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty"})


def _numeric_reference(column: Any, *, unit: str, bins: int, points: int) -> Reference:
    ordered, rows = sorted_values(column)
    n = ordered.size
    if n == 0:
        return Reference(kind="numeric", rows=rows, nulls=rows, counts=(0,), unit=unit)
    edges = _edges(ordered, bins)
    upto = np.searchsorted(ordered, edges, side="right")
    tail = int(n * TAIL_SHARE)
    low, high = ordered[tail], ordered[n - 1 - tail]
    return Reference(
        kind="numeric",
        rows=rows,
        nulls=rows - n,
        counts=tuple(np.diff(upto, prepend=0, append=n).tolist()),
        unit=unit,
        edges=tuple(edges.tolist()),
        sample=tuple(_sketch(ordered, points).tolist()),
        median=float(np.median(ordered)),
        mean=float(ordered.mean()),
        sd=float(ordered.std(ddof=1)) if n > 1 else 0.0,
        low=float(low),
        high=float(high),
        below=int(np.searchsorted(ordered, low, side="left")),
        above=int(n - np.searchsorted(ordered, high, side="right")),
    )


def _edges(ordered: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Inner edges: the distinct values but the last when they are few, else distinct order statistics."""
    n = ordered.size
    distinct = ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]
    if distinct.size <= bins:
        return distinct[:-1]
    ranks = -(-n * np.arange(1, bins) // bins)
    edges: NDArray[np.float64] = np.unique(ordered[ranks - 1])
    return edges[: np.searchsorted(edges, ordered[-1])]


def _sketch(ordered: NDArray[np.float64], points: int) -> NDArray[np.float64]:
    n = ordered.size
    if n <= points:
        return ordered
    middles = ((np.arange(points) + 0.5) * n / points).astype(np.int64)
    kept: NDArray[np.float64] = ordered[middles]
    return kept


def _category_reference(column: Any, *, unit: str, max_categories: int) -> Reference:
    counts, rows = category_counts(column)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept, rest = ranked[:max_categories], ranked[max_categories:]
    return Reference(
        kind="category",
        rows=rows,
        nulls=rows - sum(counts.values()),
        counts=(*(count for _, count in kept), sum(count for _, count in rest)),
        unit=unit,
        categories=tuple(name for name, _ in kept),
    )


def _category_name(label: Any) -> str:
    if isinstance(label, bool | np.bool_):
        return str(bool(label)).lower()
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)
