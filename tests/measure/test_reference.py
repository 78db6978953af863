"""What `measure.reference` freezes: bins, sketch, nulls, categories and an exact JSON form."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forecastle.contract.errors import MeasureError
from forecastle.measure.reference import Reference, category_counts, reference
from tests.measure.minstd import triples


def test_edges_are_order_statistics():
    """The MINSTD fixture: edges at ranks 100, 200, … 900 of 1,000, 100 values in each right-closed bin."""
    values = triples()[0][:1000]
    found = reference(values)
    assert found.edges == tuple(np.sort(values)[[99, 199, 299, 399, 499, 599, 699, 799, 899]])
    assert found.counts == (100,) * 10


def test_moments_and_tails_by_hand():
    """1..4000 without noise: the 0.05 % tails start after floor(4000 * 0.0005) = 2 values a side."""
    found = reference(np.arange(1.0, 4001.0), unit="seconds")
    assert (found.median, found.mean) == (2000.5, 2000.5)
    assert found.sd == pytest.approx(np.sqrt((4000**2 - 1) / 12 * 4000 / 3999))
    assert (found.low, found.high, found.below, found.above) == (3.0, 3998.0, 2, 2)
    assert found.unit == "seconds"


def test_nulls_and_infinities_have_no_value():
    """NaN, None and infinity are rows without a usable value."""
    found = reference([1.0, None, float("nan"), float("inf"), 2.0])
    assert (found.rows, found.nulls, found.n) == (5, 3, 2)
    assert found.null_rate == 3 / 5


def test_few_distinct_values_get_a_bin_each():
    """A 5 %/95 % indicator keeps its two bins; quantile edges alone would have joined them."""
    found = reference([0] * 5 + [1] * 95)
    assert (found.edges, found.counts) == ((0.0,), (5, 95))


def test_constant_and_all_null_columns_are_references_too():
    """Limit values: a constant has one bin and sd 0; a column of nulls has no moments at all."""
    constant = reference([3.0, 3.0])
    assert (constant.edges, constant.counts, constant.sd) == ((), (2,), 0.0)
    empty = reference([None, None])
    assert (empty.n, empty.median, empty.sample) == (0, None, ())


def test_sketch_holds_mid_quantiles():
    """1,000 values in 100 points: the value at rank 10 i + 5 stands for ten (from zero)."""
    found = reference(np.arange(1000.0), points=100)
    assert found.sample == tuple(np.arange(5.0, 1000.0, 10.0))


def test_categories_by_frequency_then_name():
    """Ties are ordered by name; what is not kept is counted in the last cell."""
    found = reference(["b", "a", "c", "c", None, "d"], max_categories=2)
    assert (found.kind, found.categories, found.counts) == ("category", ("c", "a"), (2, 1, 2))
    assert found.nulls == 1


def test_codes_are_one_category_as_integer_float_or_text():
    """A column of codes becomes float when a null joins it, and its categories keep their names."""
    counts, rows = category_counts(pd.Series([3, 3.0, "3", True, None], dtype=object))
    assert counts == {"3": 3, "true": 1}
    assert rows == 5
    assert reference([1, 2], kind="category").categories == reference([1.0, 2.0], kind="category").categories


def test_booleans_with_nulls_are_numeric():
    """An object column of True, False and None is the share of True."""
    found = reference(pd.Series([True, False, None, True], dtype=object))
    assert (found.kind, found.mean, found.nulls) == ("numeric", 2 / 3, 1)


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        ([], {}, "no rows"),
        ([[1, 2], [3, 4]], {}, "one column"),
        (pd.to_datetime(["2026-01-01"]), {}, "moments always drift"),
        (["a", "b"], {"kind": "numeric"}, "pass kind='category'"),
        ([1.0], {"bins": 1}, "at least 2 bins"),
        ([1.0], {"points": 10}, "100 points"),
    ],
)
def test_refusals_say_what_to_do(values, options, says):
    """Each impossible input is refused with its remedy."""
    with pytest.raises(MeasureError, match=says):
        reference(values, **options)


def test_json_of_another_shape_is_refused():
    """A dictionary with missing keys is not a reference."""
    with pytest.raises(MeasureError, match="a reference has the keys"):
        Reference.from_json({"kind": "numeric"})


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(width=64)))
def test_json_round_trip_is_exact(values):
    """Through text and back the record is equal to the last bit, without NaN tokens."""
    found = reference(values)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Reference.from_json(json.loads(text)) == found


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 500), elements=st.integers(-5, 20).map(float)))
def test_counts_are_the_counts_of_the_bins(values):
    """Counts add up to the rows and equal a count by hand of every right-closed bin."""
    found = reference(values)
    bounds = [-np.inf, *found.edges, np.inf]
    by_hand = [int(np.sum((values > a) & (values <= b))) for a, b in pairwise(bounds)]
    assert list(found.counts) == by_hand
    assert sum(found.counts) == found.n
    assert min(found.counts) > 0
