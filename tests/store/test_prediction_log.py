"""What the prediction log promises: on disk before the answer, once per request id, in commit order."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from forecastle.contract.errors import StoreError
from forecastle.store.prediction import Prediction, predictions_in
from forecastle.store.prediction_batch import Layout, PredictionBatch
from forecastle.store.prediction_log import PredictionLog, PredictionReader
from forecastle.store.sqlite_turns import LOOK_SECONDS

PLATFORM = Path(__file__).parents[2] / "platform"


def prediction(number: int = 0, **changes: object) -> Prediction:
    made = Prediction(
        prediction_id=f"p{number}", request_id=f"r{number}", request_sha256="ab", system="toy",
        entity_json='{"market_id":7}', predicted_at_us=1_780_000_000_000_000 + number, raw_score=0.1 + 0.2,
        probability=1 / 3, interval_low=None, interval_high=0.75, model="lightgbm", model_version="3",
        bundle="b" * 64, feature_set="f" * 64, variant="champion", features_json="{}", degraded_json="[]",
        vector_json="[0.1,null]", decision_json="null", latency_ms=1.5,
    )  # fmt: skip
    return replace(made, **changes)


def batch(number: int = 0, *, rows: int = 3, **changes: object) -> PredictionBatch:
    """Answers to `rows` entities, with one stored feature, one computed, one that is no number of the model."""
    made = PredictionBatch(
        batch_id=f"{number:032x}", system="toy", predicted_at_us=prediction().predicted_at_us + number,
        model="lightgbm", model_version="3", bundle="b" * 64, feature_set="f" * 64, variant="champion", latency_ms=1.5,
        layout=Layout(("price", "is_new", "double"), (0, "REQUEST", "COMPUTED"), (2, 1)),
        values_json=f"[{','.join(f'[{row}.5,null,{row}]' for row in range(rows))}]",
        times=([(1_780_000_000_000_000 + row, 1_780_000_000_500_000) for row in range(rows)],),
        raw_scores=[1 / (3 + row) for row in range(rows)], probabilities=[1e-7 * row for row in range(rows)],
        intervals=([0.1] * rows, [0.75] * rows), entities=[f'{{"market_id":"ä:{row}"}}' for row in range(rows)],
        decisions=[f'{{"action":"bet","reasons":[],"stake":{row}}}' for row in range(rows)],
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture
def log(tmp_path: Path):
    opened = PredictionLog(tmp_path / "log" / "toy.sqlite")
    yield opened
    opened.close()


def test_what_was_appended_is_read_back_equal(log):
    """Every field, floats to the last bit, comes back by prediction id and by request id."""
    stored = asyncio.run(log.append(prediction()))
    assert stored == prediction(sequence=1)
    assert log.get("p0") == stored
    assert log.by_request("r0") == stored
    assert log.get("unknown") is None


def test_a_repeated_request_id_returns_the_first_answer(log):
    """The second prediction of a request id is dropped; its caller gets the stored first one."""
    first = asyncio.run(log.append(prediction()))
    again = asyncio.run(log.append(prediction(prediction_id="other", probability=0.9)))
    assert again == first
    assert log.count() == 1


def test_waiting_predictions_share_commits_and_keep_their_order(log):
    """A thousand concurrent appends all return their own prediction, numbered without gaps."""

    async def append_all() -> list[Prediction]:
        return await asyncio.gather(*(log.append(prediction(i)) for i in range(1_000)))

    stored = asyncio.run(append_all())
    assert [p.prediction_id for p in stored] == [f"p{i}" for i in range(1_000)]
    assert [p.sequence for p in log.since(0)] == list(range(1, 1_001))
    assert [p.sequence for p in log.since(997, limit=2)] == [998, 999]


WRITER = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.store.test_prediction_log import prediction
from forecastle.store.prediction_log import PredictionLog
log = PredictionLog(Path(sys.argv[1]))
async def main():
    for i in range(200):
        await log.append(prediction(prediction_id=f"{sys.argv[2]}-{i}", request_id=f"{sys.argv[2]}-{i}"))
        print(i, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def _writer(path: Path, name: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, root],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(PLATFORM)},
    )  # fmt: skip


def test_processes_append_to_one_file_and_a_killed_one_loses_nothing(tmp_path):
    """Two processes write 200 answers each, one is killed -9 right after its last: all 400 are there."""
    path = tmp_path / "toy.sqlite"
    processes = [_writer(path, "killed"), _writer(path, "other")]
    acknowledged = sum(len(process.communicate()[0].split()) for process in processes)
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 0]
    reader = PredictionReader(path)
    assert acknowledged == reader.count() == 400
    assert [p.sequence for p in reader.since(0)] == list(range(1, 401))


def test_a_failed_write_reaches_the_caller_and_the_log_goes_on(log):
    """A value that the strict schema refuses raises StoreError and leaves nothing; the next append works."""
    with pytest.raises(StoreError, match="cannot be written"):
        asyncio.run(log.append(prediction(raw_score="not a number")))
    assert log.count() == 0
    assert asyncio.run(log.append(prediction())).sequence == 1


def test_a_full_disk_is_an_error_and_heals(log):
    """With the file at its size limit an append raises; once the limit is lifted the same append succeeds."""
    asyncio.run(log.append(prediction()))
    log._writer.execute("PRAGMA max_page_count=1")
    with pytest.raises(StoreError, match="full"):
        asyncio.run(log.append(prediction(1, features_json="x" * 100_000)))
    log._writer.execute("PRAGMA max_page_count=100000")
    assert asyncio.run(log.append(prediction(1))).sequence == 2


def test_an_append_takes_its_turn_after_another_writer(log):
    """While another process holds the file the append waits; it is on disk once the other has committed."""

    async def append_beside(other: sqlite3.Connection) -> Prediction:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(log.append(prediction()))
        for _ in range(20):
            await asyncio.sleep(LOOK_SECONDS)
        assert (waiting.done(), log.pending, log.count()) == (False, 1, 0)
        other.execute("COMMIT")
        return await waiting

    with closing(sqlite3.connect(log._path, isolation_level=None)) as other:
        assert asyncio.run(append_beside(other)) == prediction(sequence=1)


def test_another_writer_that_never_ends_is_told(log, monkeypatch):
    """After the last look the caller hears that the file is taken, and nothing is logged; later appends go on."""
    monkeypatch.setattr("forecastle.store.sqlite_turns.BUSY_LOOKS", 3)
    with closing(sqlite3.connect(log._path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            asyncio.run(log.append(prediction()))
        other.execute("ROLLBACK")
    assert asyncio.run(log.append(prediction(1))).sequence == log.count() == 1


def test_closing_writes_what_waits(tmp_path):
    """Predictions handed over before `close` are on disk after it; later ones are refused."""
    log = PredictionLog(tmp_path / "toy.sqlite")

    async def append_and_close() -> list[Prediction]:
        waiting = [asyncio.ensure_future(log.append(prediction(i))) for i in range(50)]
        await asyncio.sleep(0)
        log.close()
        return await asyncio.gather(*waiting)

    assert [stored.sequence for stored in asyncio.run(append_and_close())] == list(range(1, 51))
    with pytest.raises(StoreError, match="closed"):
        asyncio.run(log.append(prediction(51)))


def test_a_caller_that_gave_up_does_not_stop_the_others(log):
    """A cancelled append is still logged, and what was appended beside it gets its answer."""

    async def give_up() -> Prediction:
        waiting = [asyncio.ensure_future(log.append(prediction(i))) for i in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        return await waiting[1]

    assert asyncio.run(give_up()).prediction_id == "p1"
    assert log.count() == 2


def test_repeats_within_one_group_share_the_first_answer(log):
    """Twenty appends of two request ids at once: each gets the first prediction of its request id."""

    async def append_all() -> list[Prediction]:
        made = [prediction(i, request_id=f"r{i % 2}") for i in range(20)]
        return await asyncio.gather(*(log.append(one) for one in made))

    assert [stored.prediction_id for stored in asyncio.run(append_all())] == ["p0", "p1"] * 10
    assert log.count() == 2


def test_reading_a_log_that_is_not_there_says_so(tmp_path):
    """A reader never creates a file: it names the one that is missing."""
    with pytest.raises(StoreError, match="no prediction was served yet"):
        PredictionReader(tmp_path / "none.sqlite").count()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_log_is_refused(tmp_path):
    """Bytes that are not SQLite are named, not overwritten."""
    path = tmp_path / "toy.sqlite"
    path.write_bytes(b"not a database, " * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        PredictionLog(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_log_from_before_batches_is_read(log):
    """A file without the table of batches gives what it has; opened by a service it takes batches."""
    asyncio.run(log.append(prediction()))
    log.close()
    with closing(sqlite3.connect(log._path)) as connection:
        connection.execute("DROP TABLE prediction_batches")
    reader = PredictionReader(log._path)
    assert [one.prediction_id for one in reader.since(0)] == ["p0"]
    assert (reader.count(), reader.newest(1)[0].sequence, reader.before(0)) == (1, 1, 0)
    assert reader.get(f"{0:032x}-0") is None
    again = PredictionLog(log._path)
    asyncio.run(again.append_many([], batch=batch()))
    assert reader.count() == 1 + len(batch())
    again.close()


def test_a_batch_takes_little_room(tmp_path):
    """A thousand rows of 25 features are a fraction of what they are as a row of the log each."""
    names = tuple(f"feature_{place:02d}" for place in range(25))
    values = ",".join(
        f"[{','.join(repr(0.1234567890123 + row + place) for place in range(25))}]" for row in range(1_000)
    )
    whole = batch(
        rows=1_000, layout=Layout(names, ("REQUEST",) * 25, tuple(range(25))), values_json=f"[{values}]", times=()
    )
    sizes = []
    for name, records, together in (("rows", predictions_in(whole), None), ("batch", [], whole)):
        log = PredictionLog(tmp_path / f"{name}.sqlite")
        asyncio.run(log.append_many(records, batch=together))
        assert log.count() == 1_000
        log.close()
        sizes.append((tmp_path / f"{name}.sqlite").stat().st_size)
    assert sizes[1] * 4 < sizes[0]


def test_a_batch_that_waits_counts_with_all_its_rows(log):
    """`pending` counts predictions: a batch of three waits as three."""
    with closing(sqlite3.connect(log._path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        async def waiting() -> int:
            task = asyncio.create_task(log.append_many([prediction()], batch=batch()))
            await asyncio.sleep(0)
            pending = log.pending
            other.execute("COMMIT")
            await task
            return pending

        assert asyncio.run(waiting()) == 4
    assert log.pending == 0
