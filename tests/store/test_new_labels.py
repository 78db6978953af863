"""New labels: counted by when they were first known, corrections and what is not known yet left out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from forecastle.store.new_labels import count_new_labels
from tests.learn import ferries
from tests.learn.ferries import HOUR, NOW, arrival, booking, put, report, warehouse_of

ASKED = NOW - 10 * HOUR


def test_labels_are_counted_by_when_they_were_first_known(tmp_path: Path) -> None:
    """Known before, at the edge, within, corrected within, within and corrected, in the future: 2 of 6."""
    system, data = ferries.write_system(tmp_path / "systems"), tmp_path / "data"
    since = NOW - 5 * HOUR
    put(data, "reports", [report(1, ASKED)])
    put(data, "bookings", [booking(1, ASKED, 0.5)])
    put(
        data,
        "arrivals",
        [
            arrival(1, ASKED, 0, since - HOUR),
            arrival(2, ASKED, 0, since),
            arrival(3, ASKED, 1, since + timedelta(microseconds=1)),
            arrival(4, ASKED, 0, since - HOUR),
            arrival(4, ASKED, 1, since + HOUR),
            arrival(5, ASKED, 1, since + HOUR),
            arrival(5, ASKED, 0, since + 2 * HOUR),
            arrival(6, ASKED, 1, NOW + HOUR),
        ],
    )
    warehouse = warehouse_of(system, tmp_path / "warehouse", data)
    assert count_new_labels(warehouse, system, after=since, until=NOW) == 2
    assert count_new_labels(warehouse, system, after=NOW, until=NOW) == 0
    assert count_new_labels(warehouse, system, after=since - 2 * HOUR, until=NOW + HOUR) == 6
