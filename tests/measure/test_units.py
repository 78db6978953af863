"""Suspected unit changes: which factors, and the sentence a person reads."""

from __future__ import annotations

import pytest

from forecastle.measure.units import related_factors, suspected_factor, unit_sentence


@pytest.mark.parametrize(
    ("ratio", "factor"),
    [
        (60.0, 60.0),
        (1 / 58, 1 / 60),
        (1000.0, 1000.0),
        (3500.0, 3600.0),
        (0.01, 1 / 100),
        (26.0, 24.0),
        (6.5, 7.0),
    ],
)
def test_ratios_near_a_known_factor_are_suspected(ratio, factor):
    """Within 20 % of 7, 24, 60, 100, 1000, 3600 or an inverse."""
    assert suspected_factor(ratio) == pytest.approx(factor)


@pytest.mark.parametrize("ratio", [1.0, 2.0, 15.0, 300.0, 0.0, -60.0, float("inf"), float("nan")])
def test_other_ratios_are_not(ratio):
    """Ordinary drift, sign changes and impossible ratios name no unit."""
    assert suspected_factor(ratio) is None


@pytest.mark.parametrize(("ratio", "unit"), [(7.0, "days"), (1 / 24, "seconds"), (60.0, "probability"), (24.0, "usd")])
def test_a_factor_that_leads_to_no_relative_of_the_unit_is_ordinary_drift(ratio, unit):
    """Days that grew sevenfold are no other unit; the same factor on an unknown unit is suspected."""
    assert suspected_factor(ratio, unit=unit) is None
    assert suspected_factor(ratio, unit="furlongs") == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("factor", "unit", "sentence"),
    [
        (1 / 60, "seconds", "values look like minutes, contract says seconds"),
        (60.0, "hours", "values look like minutes, contract says hours"),
        (3600.0, "hours", "values look like seconds, contract says hours"),
        (100.0, "usd", "values look like hundredths of usd, contract says usd"),
        (100.0, "ratio", "values look like percent, contract says ratio"),
        (24.0, "day", "values look like hours, contract says day"),
        (7.0, "weeks", "values look like days, contract says weeks"),
    ],
)
def test_sentence_names_both_units(factor, unit, sentence):
    """The unit that explains the factor stands beside the contract's."""
    assert unit_sentence(factor, unit=unit) == sentence


def test_sentence_without_a_known_unit_gives_the_factor():
    """Nothing is guessed when the contract's unit is not in the list."""
    assert unit_sentence(1 / 60, unit="") == (
        "values are 1/60 of the reference's, as after a change of unit; contract names no unit"
    )
    assert "60 times the reference's" in unit_sentence(60.0, unit="furlongs")


def test_related_factors_are_those_that_lead_to_a_relative():
    """Seconds become minutes, hours or milliseconds; dollars cents; an unknown unit nothing."""
    assert related_factors("seconds") == pytest.approx((1000.0, 1 / 60, 1 / 3600))
    assert related_factors("usd") == pytest.approx((100.0, 1 / 1000))
    assert related_factors("furlongs") == ()
    for unit in ("seconds", "usd", "percent"):
        assert all(suspected_factor(factor, unit=unit) == pytest.approx(factor) for factor in related_factors(unit))
