"""What a trace says on the terminal of values that have no rows behind them."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from forecastle.cli.traced import print_trace

FACTS = {"model": "lightgbm", "model_version": "1", "mlflow_run_id": "m1", "dagster_run_id": "d1"}


def told(entity_json: str | None, features: dict[str, Any]) -> str:
    """The text of a trace with these features and no source rows."""
    trace = SimpleNamespace(
        prediction=SimpleNamespace(probability=0.25, entity_json=entity_json),
        predicted_at=datetime(2026, 6, 1, 12, tzinfo=UTC),
        bundle=SimpleNamespace(hash="b" * 64, facts=FACTS, feature_set=SimpleNamespace(hash="f" * 64)),
        promotion=None, training_set=None, run={"status": "FINISHED"}, features=features,
        lineage={"market_price": (("quotes", "value"),)}, sources=(), same_number=True, recomputed=0.25,
    )  # fmt: skip
    text = io.StringIO()
    print_trace(trace, console=Console(file=text, width=200))  # type: ignore[arg-type]
    return text.getvalue()


def feature(status: str, value: float | None = 0.6, known_at: str | None = None) -> dict[str, Any]:
    return {"value": value, "status": status, "known_at": known_at}


def test_values_of_a_request_come_from_the_request() -> None:
    """No entity, no raw columns, no source rows: nothing is claimed that the answer did not stand on."""
    text = told("null", {"market_price": feature("REQUEST"), "log_volume": feature("COMPUTED", None)})
    assert "0.250000 for features of the request at 2026-06-01 12:00:00 UTC" in text
    assert "market_price = 0.6 REQUEST ← the request" in text
    assert "log_volume = null COMPUTED ← on-demand" in text
    assert "no source rows: no value came from a feature view" in text


def test_values_of_a_view_come_from_raw_columns() -> None:
    """The columns behind a stored value are named, with when it was known."""
    text = told('{"market_id":7}', {"market_price": feature("PRESENT", known_at="2026-06-01T11:00:00+00:00")})
    assert '0.250000 for {"market_id":7} at' in text
    assert "market_price = 0.6 PRESENT, known 2026-06-01T11:00:00 ← quotes.value" in text
