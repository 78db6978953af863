"""The gauge of the newest online row of each view."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from forecastle.serve.metrics import Metrics
from forecastle.serve.online_ages import OnlineAges
from forecastle.store.online import OnlineView
from forecastle.store.online_stores import open_online

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp() * 1e6)


def test_the_age_of_the_newest_row_is_a_gauge(tmp_path: Path) -> None:
    """Two rows, 90 and 30 seconds old, give 30; a view without rows has no series; a missing store keeps the number."""
    path = tmp_path / "online.sqlite"
    view = OnlineView("prices", {"market_id": "int64"}, {"price": "float64"})
    store = open_online("", path=path, system="toy")
    store.write(view, [(1, NOON_US - 90_000_000, NOON_US, 0.5), (2, NOON_US - 30_000_000, NOON_US, 0.5)])
    store.close()
    metrics = Metrics()

    def ages(path: Path) -> OnlineAges:
        return OnlineAges(
            metrics,
            views=lambda: ["prices", "none"],
            open_store=lambda: open_online("", path=path, system="toy", read_only=True),
            clock=lambda: NOON,
        )

    assert ages(path).look() == {"prices": 30.0}
    assert ages(tmp_path / "gone.sqlite").look() == {}
    page = metrics.page(pending=0).decode()
    assert 'forecastle_online_newest_age_seconds{view="prices"} 30.0' in page
    assert 'view="none"' not in page
