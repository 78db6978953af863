"""The population that drift is looked for in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assets.drift import newest_weeks
from forecastle.contract.errors import StoreError
from tests.learn import ferries
from tests.learn.ferries import HOUR, NOW, arrival, booking, put, report


def test_recorded_data_that_end_long_ago_are_told_with_a_way_out(tmp_path) -> None:
    """Within the window somebody can be asked about, ten years later nobody, and the error says what to do."""
    system = ferries.write_system(tmp_path / "systems")
    put(tmp_path, "reports", [report(1, NOW - 13 * HOUR, wind=3.0)])
    put(tmp_path, "bookings", [booking(1, NOW - 13 * HOUR, 0.5)])
    put(tmp_path, "arrivals", [arrival(1, NOW, 1, NOW + HOUR)])
    warehouse = ferries.warehouse_of(system, tmp_path / "warehouse", tmp_path)
    assert newest_weeks(warehouse, system, now=NOW)["crossing_id"].unique().tolist() == [1]
    with pytest.raises(StoreError, match=r"no entity has features of the last \d+ days at 2036.*FORECASTLE_NOW"):
        newest_weeks(warehouse, system, now=NOW + timedelta(days=3653))
