"""The fixture that other tests of this room build on is itself right."""

from __future__ import annotations

import pytest

from tests.measure.minstd import fixture, triples


def test_first_draws_and_sums_are_the_published_ones():
    """The first three draws, the sum of a and the number of events equal what R and Python gave."""
    a, b, c = triples()
    assert (a[0], b[0], c[0]) == pytest.approx((0.277490120045, 0.725584676361, 0.697912643523), abs=5e-13)
    assert a.sum() == pytest.approx(1003.0829659305, abs=5e-11)
    assert fixture()["y"].sum() == 978


def test_each_call_gives_fresh_arrays():
    """A test that changes its copy cannot spoil another test."""
    a, _, _ = triples()
    first = a[0]
    a[:] = 0.0
    assert triples()[0][0] == first > 0.0
