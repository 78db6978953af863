"""The drift table: what alarms, what does not, and why it says so."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import MeasureError
from forecastle.measure.drift import FEATURE_COLUMNS, TEST_COLUMNS, Tolerance, drift_table, reference, unit_change
from tests.measure.minstd import triples


def row(table, name="x"):
    """One feature's row as a Series."""
    return table.features.set_index("feature").loc[name]


def test_minstd_row():
    """All five statistics of the fixture in one row: D .112, W1 .0420959311, PSI .2375296962."""
    a, b, _ = triples()
    before, now = a[:1000], np.minimum(1.0, 0.9 * a + 0.05 * b)[1000:]
    table = drift_table({"x": reference(before)}, {"x": now})
    found = row(table)
    assert found["ks"] == pytest.approx(0.112)
    assert found["wasserstein_sd"] * before.std(ddof=1) == pytest.approx(0.0420959311)
    assert found["psi"] == pytest.approx(0.2375296962)
    assert table.alarms == ("x",)
    assert "PSI 0.238 over 10 cells" in table.reasons[0]


def test_columns_are_fixed():
    """Both tables always have their columns, also for categories and empty comparisons."""
    refs = {"n": reference([1.0, 2.0]), "c": reference(["a", "b"]), "e": reference([None])}
    table = drift_table(refs, {"n": [1.0], "c": ["a"], "e": [1.0]})
    assert tuple(table.features.columns) == FEATURE_COLUMNS
    assert tuple(table.tests.columns) == TEST_COLUMNS
    assert list(table.features["feature"]) == ["n", "c", "e"]


def test_large_samples_do_not_alarm_on_a_trifle():
    """A 0.02 sd shift at 100,000 rows has KS p near 1e-5 and PSI near 0.0007: significant and irrelevant."""
    rng = np.random.default_rng(1)
    table = drift_table({"x": reference(rng.normal(size=100_000))}, {"x": rng.normal(0.02, 1, 100_000)})
    assert row(table)["ks_p_value"] < 0.001
    assert row(table)["psi"] < 0.01
    assert table.alarms == ()
    assert row(table)["reason"] == "within tolerance"


def test_small_samples_do_not_alarm_by_noise():
    """At 100 rows PSI exceeds 0.1 in 39 % of windows without drift; the table alarms in almost none."""
    rng = np.random.default_rng(2)
    ref = {"x": reference(rng.normal(size=10_000))}
    tables = [drift_table(ref, {"x": rng.normal(size=100)}) for _ in range(100)]
    assert np.mean([row(t)["psi"] > 0.1 for t in tables]) > 0.2
    assert sum(bool(t.alarms) for t in tables) <= 2


def test_fifty_features_without_drift():
    """At most one of 20 days has any alarm among 50 features (uncorrected p < 0.05: 93 % of days)."""
    rng = np.random.default_rng(3)
    refs = {str(i): reference(rng.normal(size=2_000)) for i in range(50)}
    days = [drift_table(refs, {str(i): rng.normal(size=500) for i in range(50)}) for _ in range(20)]
    assert sum(bool(day.alarms) for day in days) <= 1


def test_a_real_shift_alarms():
    """Half a standard deviation (PSI about 0.238) is found with 1,000 rows."""
    rng = np.random.default_rng(4)
    table = drift_table({"x": reference(rng.normal(size=10_000))}, {"x": rng.normal(0.5, 1, 1_000)})
    assert table.alarms == ("x",)


def test_an_outlier_does_not_hide_drift():
    """One value of 1e4 leaves the decile PSI of a 0.5 sd shift alone (equal-width bins fall to 0.02)."""
    rng = np.random.default_rng(5)
    ref = {"x": reference(rng.normal(size=10_000))}
    now = rng.normal(0.5, 1, 10_000)
    clean, dirty = drift_table(ref, {"x": now}), drift_table(ref, {"x": np.append(now, 1e4)})
    assert row(clean)["psi"] == pytest.approx(0.238, abs=0.02)
    assert row(dirty)["psi"] == pytest.approx(row(clean)["psi"], abs=1e-3)


def test_minutes_for_seconds_is_named():
    """All rows in another unit: the reason says which, not only that something moved."""
    rng = np.random.default_rng(6)
    seconds = rng.lognormal(7, 1, 5_000)
    table = drift_table({"age": reference(seconds, unit="seconds")}, {"age": rng.lognormal(7, 1, 300) / 60})
    assert any("values look like minutes, contract says seconds" in reason for reason in table.reasons)


def test_a_median_ratio_alone_is_not_a_unit_change():
    """A feature concentrated near 7 times its old median, but of another shape, names no unit."""
    rng = np.random.default_rng(7)
    ref = {"x": reference(rng.exponential(1.0, 5_000), unit="days")}
    table = drift_table(ref, {"x": rng.normal(7 * np.log(2), 0.01, 500)})
    assert row(table)["median_ratio"] == pytest.approx(7, abs=0.5)
    assert table.alarms == ("x",)
    assert not any("look like" in reason or "change of unit" in reason for reason in table.reasons)


def test_unit_change_in_two_percent_of_rows():
    """Four of 200 rows in the wrong unit: PSI stays below its tolerance, the tail test alarms."""
    rng = np.random.default_rng(8)
    ref = {"x": reference(rng.lognormal(7, 0.5, 20_000), unit="seconds")}
    now = rng.lognormal(7, 0.5, 200)
    now[:4] /= 60
    table = drift_table(ref, {"x": now})
    assert row(table)["psi_null_corrected"] < 0.1
    assert set(table.tests.loc[table.tests["alarm"], "test"]) == {"tails"}
    assert "another unit or from another source" in table.reasons[0]


def test_nulls_alarm_in_both_directions():
    """A feature that stops arriving, and one that suddenly always does."""
    some = np.where(np.arange(1000) % 5 == 0, np.nan, np.arange(1000.0))
    refs = {"gone": reference(np.arange(1000.0)), "full": reference(some)}
    table = drift_table(refs, {"gone": np.full(200, np.nan), "full": np.arange(1000.0)})
    assert table.alarms == ("gone", "full")
    assert "null rate 100.00%, 0.00% in the reference" in row(table, "gone")["reason"]


def test_unseen_category_and_changed_shares():
    """A new category is named; a changed mix alarms through PSI with its chi-squared beside it."""
    refs = {"new": reference(["a", "b"] * 500), "mix": reference(["a", "b"] * 500)}
    table = drift_table(refs, {"new": ["a", "b"] * 95 + ["zz"] * 10, "mix": ["a"] * 180 + ["b"] * 20})
    assert "('zz')" in row(table, "new")["reason"]
    assert row(table, "new")["unseen_rate"] == 10 / 200
    assert "PSI" in row(table, "mix")["reason"]
    assert row(table, "mix")["l_infinity"] == pytest.approx(0.4)
    assert row(table, "mix")["chi2_p_value"] < 1e-20


def test_rare_categories_do_not_alarm_without_drift():
    """A thousand rare categories: new rows hold about as many unseen ones as the reference had met once."""
    rng = np.random.default_rng(13)
    names = np.array([f"c{i}" for i in range(1000)])
    before, now = rng.choice(names, 2_000), rng.choice(names, 1_000)
    # Poisson(2) a category: e^-2 are unseen, and 2 e^-2 of 1,000 were met once in 2,000 rows.
    table = drift_table({"city": reference(before)}, {"city": now})
    assert table.alarms == ()
    assert row(table, "city")["unseen_rate_expected"] == pytest.approx(np.exp(-2), abs=0.02)
    assert row(table, "city")["unseen_rate"] == pytest.approx(np.exp(-2), abs=0.03)


def test_a_capped_reference_does_not_alarm_without_drift():
    """5,000 categories with frequencies 1 / rank, 1,000 of them kept: the rest is one cell on both sides."""
    rng = np.random.default_rng(14)
    share = 1 / np.arange(1, 5001)
    before, now = (rng.choice(5000, n, p=share / share.sum()) for n in (20_000, 5_000))
    table = drift_table({"city": reference(before, kind="category")}, {"city": now})
    assert table.alarms == ()
    found = row(table, "city")
    assert found["unseen_rate"] == pytest.approx(found["unseen_rate_expected"], abs=0.05)
    assert "unseen" not in set(table.tests["test"])
    flood = drift_table({"city": reference(before, kind="category")}, {"city": ["new"] * 500 + now.tolist()[:1000]})
    assert flood.alarms == ("city",)


def test_too_few_rows_is_said():
    """An effect above tolerance without evidence is a remark, not an alarm."""
    rng = np.random.default_rng(9)
    table = drift_table({"x": reference(rng.normal(size=1_000))}, {"x": rng.normal(0.8, 1, 12)})
    assert table.alarms == ()
    assert "too few rows to tell" in row(table)["reason"]


def test_constant_feature_that_changes():
    """A constant has no bins; the tail test still sees that it left, infinitely many of its own sd away."""
    table = drift_table({"x": reference([3.0] * 500)}, {"x": [4.0] * 50})
    assert table.alarms == ("x",)
    assert row(table)["ks"] == 1.0
    assert np.isposinf(row(table)["wasserstein_sd"])
    assert row(drift_table({"x": reference([3.0] * 500)}, {"x": [3.0] * 50}))["wasserstein_sd"] == 0.0


def test_nothing_to_compare_is_said():
    """A reference without values cannot be compared; its null rate can."""
    table = drift_table({"x": reference([None] * 100)}, {"x": [None] * 50})
    assert row(table)["reason"] == "nothing to compare: no value in the reference"


def test_all_zero_median_uses_the_mean():
    """A zero-inflated feature in cents instead of dollars is still named."""
    rng = np.random.default_rng(10)
    spent = np.where(rng.random(5_000) < 0.6, 0.0, rng.lognormal(3, 0.3, 5_000))
    table = drift_table({"x": reference(spent, unit="usd")}, {"x": rng.permutation(spent)[:1000] * 100})
    assert any("values look like hundredths of usd, contract says usd" in reason for reason in table.reasons)


def test_refusals_name_the_feature():
    """No references, a missing feature (with a hint), and text where numbers are wanted."""
    with pytest.raises(MeasureError, match="no references"):
        drift_table({}, {})
    with pytest.raises(MeasureError, match="did you mean 'spread'"):
        drift_table({"sprea": reference([1.0])}, pd.DataFrame({"spread": [1.0]}))
    with pytest.raises(MeasureError, match=r"^age: numbers are needed"):
        drift_table({"age": reference([1.0])}, {"age": ["young"]})
    with pytest.raises(MeasureError, match=r"^age: got no rows"):
        drift_table({"age": reference([1.0])}, {"age": []})


def test_tolerance_is_the_callers():
    """The same shift is an alarm or not by the tolerance that the business states."""
    rng = np.random.default_rng(11)
    ref, now = {"x": reference(rng.normal(size=10_000))}, {"x": rng.normal(0.5, 1, 5_000)}
    assert drift_table(ref, now, tolerance=Tolerance(psi=0.1)).alarms == ("x",)
    assert drift_table(ref, now, tolerance=Tolerance(psi=0.5)).alarms == ()


COLUMN = st.lists(st.one_of(st.floats(), st.none(), st.integers(-3, 3)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(COLUMN, COLUMN, st.sampled_from(["numeric", "category"]))
def test_every_column_has_a_verdict(before, now, kind):
    """Nulls, infinities, constants and single rows: p, q, alarm and reason are always there."""
    table = drift_table({"x": reference(before, kind=kind)}, {"x": now})
    verdict = row(table)
    assert 0 <= verdict["p_value"] <= 1
    assert 0 <= verdict["q_value"] <= 1
    assert isinstance(verdict["reason"], str)
    assert verdict["reason"]
    assert table.tests["p_value"].between(0, 1).all()
    assert drift_table({"x": reference(before, kind=kind)}, {"x": before}).alarms == ()


def test_line_movement_of_real_games(real_data):
    """Real totals of 2016: half of the games against the other half is quiet, in cents it is loud."""
    lines = pd.read_parquet(real_data / "mlb/lines_2016.parquet", columns=["game_id", "seq", "total"])
    totals = lines.dropna().groupby("game_id", sort=True)["total"].last().to_numpy()
    rng = np.random.default_rng(12)
    mixed = rng.permutation(totals)
    ref = {"total": reference(mixed[:1200])}
    assert drift_table(ref, {"total": mixed[1200:]}).alarms == ()
    assert drift_table(ref, {"total": mixed[1200:] * 100}).alarms == ("total",)


def test_a_feature_in_another_unit_is_named():
    """Seconds that arrive as minutes are named as such; the same rows again, and a shift by half, are not."""
    rng = np.random.default_rng(4)
    seconds = rng.lognormal(6.0, 1.0, 2000)
    ref = reference(seconds, unit="seconds")
    assert unit_change(ref, seconds / 60) == "values look like minutes, contract says seconds"
    assert unit_change(ref, rng.permutation(seconds)[:500]) is None
    assert unit_change(ref, seconds * 1.5) is None


def test_nulls_of_one_entity_count_as_one_draw() -> None:
    """Four rows of each of 100 entities hold 100 draws of nulls: the p-value is that of one row of each.

    24 of 100 null against 13 of 100: pooled share 0.185, z = 0.11 / sqrt(0.185 · 0.815 · 2 / 100) = 2.003, p = 0.045.
    """
    values = np.random.default_rng(3).normal(size=100)
    one = {size: np.where(np.arange(100) < size, np.nan, values) for size in (13, 24)}
    four = {size: np.repeat(found, 4) for size, found in one.items()}
    single = drift_table({"x": reference(one[13])}, {"x": one[24]}).tests.set_index("test")
    shared = drift_table({"x": reference(four[13])}, {"x": four[24]}, independent_share=0.25).tests.set_index("test")
    alone = drift_table({"x": reference(four[13])}, {"x": four[24]}).tests.set_index("test")
    z = 0.11 / math.sqrt(0.185 * 0.815 * 2 / 100)
    assert shared.loc["nulls", "p_value"] == pytest.approx(math.erfc(z / math.sqrt(2)))
    assert shared.loc["nulls", "p_value"] == pytest.approx(single.loc["nulls", "p_value"])
    assert alone.loc["nulls", "p_value"] < 1e-4
    assert shared["effect_size"]["nulls"] == pytest.approx(0.11)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    """More draws than rows, or none at all."""
    with pytest.raises(MeasureError, match="entities / rows"):
        drift_table({"x": reference([1.0, 2.0])}, {"x": [1.0]}, independent_share=share)
