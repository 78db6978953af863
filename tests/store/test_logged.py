"""The prediction log as a table: every answer once, in commit order, typed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from forecastle.contract.errors import ConflictError
from forecastle.store.logged import ingest_predictions, logged_predictions
from forecastle.store.prediction import Prediction
from forecastle.store.prediction_log import PredictionLog, PredictionReader
from forecastle.store.warehouse import Warehouse


def prediction(number: int, **changes: object) -> Prediction:
    values = {
        "prediction_id": f"p{number}", "request_id": f"r{number}", "request_sha256": "ab", "system": "toy",
        "entity_json": '{"market_id":7}', "predicted_at_us": 1_780_315_200_000_000 + number, "raw_score": 0.1 + 0.2,
        "probability": 1 / 3, "interval_low": None, "interval_high": 0.75, "model": "trees", "model_version": "3",
        "bundle": "b" * 64, "feature_set": "f" * 64, "variant": "champion", "features_json": "{}",
        "degraded_json": "[]", "vector_json": "[0.1,null]", "decision_json": "null", "latency_ms": 1.5,
    }  # fmt: skip
    return Prediction(**{**values, **changes})


def write(path: Path, predictions: list[Prediction]) -> None:
    log = PredictionLog(path)
    asyncio.run(log.append_many(predictions))
    log.close()


def test_no_log_is_an_empty_table(tmp_path) -> None:
    """Before the first answer there is a table with every column, typed, and no file is made."""
    path = tmp_path / "toy.sqlite"
    frame = logged_predictions(PredictionReader(path))
    assert len(frame) == 0
    assert {"prediction_id", "probability", "predicted_at", "sequence"} <= set(frame.columns)
    assert str(frame["predicted_at"].dtype) == "datetime64[us, UTC]"
    assert frame["probability"].dtype == np.float64
    assert not path.exists()


def test_answers_come_back_to_the_bit(tmp_path) -> None:
    """Floats to the last bit, times to the microsecond, null intervals as NaN, JSON as it was logged."""
    path = tmp_path / "toy.sqlite"
    write(path, [prediction(1)])
    (row,) = logged_predictions(PredictionReader(path)).to_dict("records")
    assert (row["raw_score"], row["probability"]) == (0.1 + 0.2, 1 / 3)
    assert np.isnan(row["interval_low"])
    assert row["predicted_at"] == datetime(2026, 6, 1, 12, 0, 0, 1, tzinfo=UTC)
    assert row["vector_json"] == "[0.1,null]"
    assert "predicted_at_us" not in row


def test_every_answer_stands_there_once(tmp_path) -> None:
    """More answers than one read of the log gives: all of them, each once, in commit order."""
    path = tmp_path / "toy.sqlite"
    for start in range(0, 10_250, 5_125):
        write(path, [prediction(number) for number in range(start, start + 5_125)])
    frame = logged_predictions(PredictionReader(path))
    assert frame["sequence"].tolist() == list(range(1, 10_251))
    assert frame["prediction_id"].tolist() == [f"p{number}" for number in range(10_250)]
    assert frame["predicted_at"].is_monotonic_increasing


def test_types_do_not_depend_on_the_rows(tmp_path) -> None:
    """A table of rows and a table without have the same columns and types, so that versions fit together."""
    write(tmp_path / "some.sqlite", [prediction(1, interval_high=None)])
    some, none = (
        logged_predictions(PredictionReader(tmp_path / "some.sqlite")),
        logged_predictions(PredictionReader(tmp_path / "none.sqlite")),
    )
    assert some.dtypes.to_dict() == none.dtypes.to_dict()


def warehouse_at(folder: Path) -> Warehouse:
    return Warehouse(folder, clock=lambda: datetime(2026, 6, 2, tzinfo=UTC))


def test_ingestion_takes_each_answer_once(tmp_path) -> None:
    """Ingesting after every three answers, twice each time: the table has each answer once, in order, and a run
    without news makes no version.
    """
    path, warehouse, table = tmp_path / "toy.sqlite", warehouse_at(tmp_path / "warehouse"), "toy/predictions/all"
    for start in (0, 3, 6):
        write(path, [prediction(number) for number in range(start, start + 3)])
        version = ingest_predictions(PredictionReader(path), warehouse, table=table)
        again = ingest_predictions(PredictionReader(path), warehouse, table=table)
        assert again.unchanged
        assert again.version == version.version
    held = warehouse.frame(table)
    assert sorted(held["prediction_id"]) == [f"p{number}" for number in range(9)]
    assert held["predicted_at"].dtype == logged_predictions(PredictionReader(path))["predicted_at"].dtype


def test_ingestion_reads_only_what_is_new(tmp_path) -> None:
    """The second ingestion asks the log for what comes after the last sequence it holds, and for nothing before."""
    path, warehouse, asked = tmp_path / "toy.sqlite", warehouse_at(tmp_path / "warehouse"), []

    class Watched(PredictionReader):
        def since(self, sequence: int, *, limit: int = 10_000) -> list[Prediction]:
            asked.append(sequence)
            return super().since(sequence, limit=limit)

    write(path, [prediction(number) for number in range(5)])
    ingest_predictions(Watched(path), warehouse, table="toy/predictions/all")
    asked.clear()
    ingest_predictions(Watched(path), warehouse, table="toy/predictions/all")
    assert asked == [5]


def test_a_move_to_another_log_keeps_what_was_ingested(tmp_path) -> None:
    """Answers of a log elsewhere, whose sequences begin anew and which holds one old answer too, are added once."""
    warehouse, table = warehouse_at(tmp_path / "warehouse"), "toy/predictions/all"

    class Elsewhere(PredictionReader):
        origin = "postgresql://elsewhere"

    write(tmp_path / "old.sqlite", [prediction(1), prediction(2)])
    write(tmp_path / "new.sqlite", [prediction(2), prediction(3)])
    ingest_predictions(PredictionReader(tmp_path / "old.sqlite"), warehouse, table=table)
    ingest_predictions(Elsewhere(tmp_path / "new.sqlite"), warehouse, table=table)
    assert sorted(warehouse.frame(table)["prediction_id"]) == ["p1", "p2", "p3"]


def test_two_ingestions_at_once_do_not_double(tmp_path) -> None:
    """A publish that begins before another's commit is refused: the answers stand there once."""
    path, table = tmp_path / "toy.sqlite", "toy/predictions/all"
    warehouse = warehouse_at(tmp_path / "warehouse")
    write(path, [prediction(1)])
    ingest_predictions(PredictionReader(path), warehouse, table=table)
    write(path, [prediction(2)])

    class Overtaken(PredictionReader):
        def since(self, sequence: int, *, limit: int = 10_000) -> list[Prediction]:
            found = super().since(sequence, limit=limit)
            if found:
                ingest_predictions(PredictionReader(path), warehouse, table=table)
            return found

    with pytest.raises(ConflictError):
        ingest_predictions(Overtaken(path), warehouse, table=table)
    assert sorted(warehouse.frame(table)["prediction_id"]) == ["p1", "p2"]
