"""One suite for every prediction log: the embedded file and a real PostgreSQL server pass the same tests."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from forecastle.contract.errors import StoreError
from forecastle.store import prediction_log_postgres
from forecastle.store.logged import logged_predictions, streamed
from forecastle.store.prediction import Prediction, WritableLog
from forecastle.store.prediction_log import PredictionLog
from forecastle.store.prediction_log_postgres import PostgresPredictionLog, PostgresPredictionReader
from forecastle.store.prediction_logs import open_log, open_log_reader
from tests.store import postgresql
from tests.store.tcp_proxy import TcpProxy
from tests.store.test_prediction_log import PLATFORM, batch, prediction

Opener = Callable[[], WritableLog]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgresql.server() as running:
        yield running.replace("+psycopg", "")


@pytest.fixture(params=["file", "postgresql"])
def opener(request, tmp_path) -> Iterator[Opener]:
    """Opens the same empty log as often as asked; everything is closed after the test."""
    opened: list[WritableLog] = []
    server = request.getfixturevalue("url") if request.param == "postgresql" else ""
    if server:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {prediction_log_postgres.TABLE}")

    def open_one() -> WritableLog:
        opened.append(open_log(server, path=tmp_path / "toy.sqlite", system="toy"))
        return opened[-1]

    yield open_one
    for log in opened:
        log.close()


def test_what_was_appended_is_read_back_equal(opener):
    """Every field, floats to the last bit, comes back by prediction id and by request id."""
    log = opener()
    stored = asyncio.run(log.append(prediction()))
    assert stored == prediction(sequence=stored.sequence)
    assert log.get("p0") == log.by_request("r0") == asyncio.run(log.answered("r0")) == stored
    assert log.get("unknown") is None
    assert log.exists()
    asyncio.run(log.append_many([prediction(i) for i in range(1, 9)]))
    assert [p.prediction_id for p in log.newest(3)] == ["p6", "p7", "p8"]
    assert asyncio.run(log.answered("unknown")) is None


def test_a_repeated_request_id_returns_the_first_answer(opener):
    """Later predictions of a request id, alone or in one group, are dropped; their callers get the stored first one."""
    log = opener()

    async def append_all() -> list[Prediction]:
        made = [prediction(i, request_id=f"r{i % 2}") for i in range(20)]
        return await asyncio.gather(*(log.append(one) for one in made))

    assert [stored.prediction_id for stored in asyncio.run(append_all())] == ["p0", "p1"] * 10
    assert asyncio.run(log.append(prediction(99, request_id="r1"))).prediction_id == "p1"
    assert log.count() == 2


def test_a_batch_is_one_transaction(opener):
    """A batch with a value that no log takes leaves nothing of the batch; the next one is stored."""
    log = opener()
    with pytest.raises(StoreError):
        asyncio.run(log.append_many([prediction(1), prediction(2, raw_score="not a number")]))
    assert log.count() == 0
    assert len(asyncio.run(log.append_many([prediction(i) for i in range(1_000)]))) == 1_000
    assert log.count() == 1_000


def test_every_row_of_a_batch_is_a_prediction(opener):
    """Each has its id, its own numbers and its features' text, found by id, by request id, by cursor and by count."""
    log = opener()
    alone = asyncio.run(log.append_many([prediction(1), prediction(2)], batch=batch()))
    assert [one.prediction_id for one in alone] == ["p1", "p2"]
    third = log.get(f"{0:032x}-2")
    assert third is not None
    assert third == log.by_request(f"{0:032x}-2") == asyncio.run(log.answered(third.prediction_id))
    assert (third.raw_score, third.probability, third.interval_high) == (1 / 5, 1e-7 * 2, 0.75)
    assert (third.entity_json, third.vector_json, third.degraded_json) == ('{"market_id":"ä:2"}', "[2.0,null]", "[]")
    assert third.decision_json == '{"action":"bet","reasons":[],"stake":2}'
    assert third.features_json == (
        '{"price":{"value":2.5,"status":"PRESENT","age_seconds":-2e-6,"event_at":"2026-05-28T20:26:40.000002+00:00",'
        '"known_at":"2026-05-28T20:26:40.500000+00:00"},'
        '"is_new":{"value":null,"status":"REQUEST","age_seconds":null,"event_at":null,"known_at":null},'
        '"double":{"value":2,"status":"COMPUTED","age_seconds":null,"event_at":null,"known_at":null}}'
    )
    for unknown in (f"{0:032x}-3", f"{0:032x}-02", f"{1:032x}-0", f"{0:032x}"):
        assert log.get(unknown) is None
    assert log.count() == 5


def test_batches_and_single_predictions_share_one_order(opener):
    """Sequences rise over both kinds, a cursor may stop inside a batch, and the newest and a moment cut through it."""
    log = opener()
    asyncio.run(log.append(prediction(0)))
    asyncio.run(log.append_many([], batch=batch(1, rows=4)))
    asyncio.run(log.append_many([prediction(2)], batch=batch(3, rows=2)))
    asyncio.run(log.append(prediction(4)))
    whole = log.since(0)
    named = [one.prediction_id.lstrip("0") for one in whole]
    assert named == ["p0", "1-0", "1-1", "1-2", "1-3", "p2", "3-0", "3-1", "p4"]
    assert [one.sequence for one in whole] == sorted({one.sequence for one in whole})
    for limit in (1, 2, 3, 5, 9):
        seen: list[Prediction] = []
        while found := log.since(seen[-1].sequence if seen else 0, limit=limit):
            assert len(found) <= limit
            seen += found
        assert seen == whole
        assert log.newest(limit) == whole[-limit:]
    assert log.newest(100) == whole
    start_us = prediction().predicted_at_us
    assert [one.prediction_id.lstrip("0") for one in log.since(log.before(start_us + 3))] == ["3-0", "3-1", "p4"]
    assert log.since(log.before(start_us + 5)) == []
    assert list(streamed(log, since_us=start_us + 1)) == whole[1:]


def test_a_batch_that_cannot_be_written_leaves_nothing(opener):
    """A prediction that no log takes, beside a batch: neither is stored, and the next transaction is."""
    log = opener()
    with pytest.raises(StoreError):
        asyncio.run(log.append_many([prediction(1, raw_score="not a number")], batch=batch()))
    assert log.count() == 0
    asyncio.run(log.append_many([prediction(1)], batch=batch()))
    assert log.count() == 4


def test_a_cursor_skips_nothing_while_several_append(opener):
    """Two logs append at once in threads while a reader follows: it sees each prediction once, in rising order."""
    first, second = opener(), opener()

    async def append_all(log: WritableLog, start: int) -> None:
        for number in range(start, start + 200, 4):
            await asyncio.gather(*(log.append(prediction(number + i)) for i in range(4)))
            await log.append_many([], batch=batch(number + 1))

    reader, seen = opener(), []
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(asyncio.run, append_all(log, start)) for log, start in ((first, 0), (second, 200))]
        while True:
            ended = all(future.done() for future in futures)
            found = reader.since(seen[-1].sequence if seen else 0, limit=7)
            seen.extend(found)
            if ended and not found:
                break
        for future in futures:
            future.result()
    batched = [f"{i + 1:032x}-{row}" for i in range(0, 400, 4) for row in range(3)]
    assert sorted(p.prediction_id for p in seen) == sorted([*(f"p{i}" for i in range(400)), *batched])
    assert [p.sequence for p in seen] == sorted({p.sequence for p in seen})


def test_closing_writes_what_waits(opener):
    """Predictions handed over before `close` are stored after it; later ones are refused."""
    log = opener()

    async def append_and_close() -> list[Prediction]:
        waiting = [asyncio.ensure_future(log.append(prediction(i))) for i in range(50)]
        await asyncio.sleep(0)
        await asyncio.to_thread(log.close)
        return await asyncio.gather(*waiting)

    assert [stored.prediction_id for stored in asyncio.run(append_and_close())] == [f"p{i}" for i in range(50)]
    with pytest.raises(StoreError, match="closed"):
        asyncio.run(log.append(prediction(51)))
    assert opener().count() == 50


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.store.test_prediction_log import prediction
from forecastle.store.prediction_logs import open_log
log = open_log(sys.argv[1], path=Path(sys.argv[2]), system="toy")
async def main():
    for i in range(100):
        await log.append(prediction(i))
        print(i, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def test_a_process_killed_after_its_last_answer_loses_none(opener, tmp_path, request):
    """Kill -9 right after the hundredth acknowledged answer: all hundred are in the log."""
    log = opener()
    server = request.getfixturevalue("url") if isinstance(log, PostgresPredictionLog) else ""
    command = [sys.executable, "-c", KILLED, server, str(tmp_path / "toy.sqlite"), str(PLATFORM.parent)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(PLATFORM)}, capture_output=True, check=False)
    assert (done.returncode, len(done.stdout.split())) == (-signal.SIGKILL, 100)
    assert log.count() == 100


def test_systems_do_not_see_each_other(url):
    """Two systems on one server: ids asked of one are not found in the other, and a request id may stand in both."""
    one, other = (PostgresPredictionLog(url, name) for name in ("one", "other"))
    tag = uuid.uuid4().hex
    asyncio.run(one.append(prediction(prediction_id=f"{tag}-1", request_id=tag, system="one")))
    assert other.get(f"{tag}-1") is None
    stored = asyncio.run(other.append(prediction(prediction_id=f"{tag}-2", request_id=tag, system="other")))
    assert stored.prediction_id == f"{tag}-2"
    assert {p.system for p in one.since(0)} == {"one"}
    one.close()
    other.close()


def test_a_broken_connection_is_replaced(url):
    """The server ends every connection of ours: the next append and the next read work, nothing is lost or doubled."""
    log = PostgresPredictionLog(url, "cut")
    tag = uuid.uuid4().hex
    made = [replace(prediction(i), prediction_id=f"{tag}{i}", request_id=f"{tag}{i}", system="cut") for i in range(2)]
    asyncio.run(log.append(made[0]))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'forecastle'"
        )
    asyncio.run(log.append(made[1]))
    assert log.count() == 2
    log.close()


def test_a_server_that_is_away_is_told_without_the_password(unused_port):
    """Nobody listens: opening says so; the password stays out of the text."""
    address = f"postgresql://tester:{postgresql.PASSWORD}@127.0.0.1:{unused_port}/postgres"
    with pytest.raises(StoreError, match="cannot be asked") as told:
        PostgresPredictionLog(address, "toy")
    assert postgresql.PASSWORD not in str(told.value)


def test_a_server_that_went_away_is_asked_again_only_after_a_moment(unused_port, monkeypatch):
    """After one failed connection a second read is refused at once, and after the pause the server is asked again."""
    now = [100.0]
    monkeypatch.setattr(prediction_log_postgres.time, "monotonic", lambda: now[0])
    reader = PostgresPredictionReader(f"postgresql://127.0.0.1:{unused_port}/postgres", "toy")
    for text in ("cannot be asked", "a moment ago"):
        with pytest.raises(StoreError, match=text):
            reader.count()
    now[0] += 2.0
    with pytest.raises(StoreError, match="cannot be asked"):
        reader.count()


def test_an_unknown_scheme_is_refused(tmp_path):
    """mysql:// is named with what is known; the file of that system is not made."""
    with pytest.raises(StoreError, match="'mysql'; postgresql://"):
        open_log("mysql://x", path=tmp_path / "toy.sqlite", system="toy")
    assert isinstance(open_log_reader("postgresql://x", path=tmp_path, system="toy"), PostgresPredictionReader)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["postgresql//u:secret@host/x", "u:secret@host", "secret", "se:cr://et"])
def test_what_is_no_url_is_not_repeated(tmp_path, url):
    """A slip of the pen before a password must not bring it into a log."""
    with pytest.raises(StoreError, match="FORECASTLE_LOG_URL is no URL; postgresql://") as told:
        open_log(url, path=tmp_path / "toy.sqlite", system="toy")
    assert url not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_the_table_is_the_same_from_either_log(url, tmp_path):
    """What `predictions` ingests has the same columns, types and values, wherever the log is kept."""
    tag = uuid.uuid4().hex
    made = [prediction(i, prediction_id=f"{tag}{i}", request_id=f"{tag}{i}", system="same") for i in range(3)]
    frames = []
    for log in (PredictionLog(tmp_path / "same.sqlite"), PostgresPredictionLog(url, "same")):
        asyncio.run(log.append_many(made))
        frames.append(logged_predictions(log).drop(columns="sequence"))
        log.close()
    assert frames[0].equals(frames[1])
    assert frames[0].dtypes.equals(frames[1].dtypes)
    assert Path(tmp_path / "same.sqlite").is_file()


@pytest.fixture
def unused_port() -> int:
    return postgresql._free_port()


def test_a_time_is_a_cursor(opener):
    """From a moment on, every later prediction is read and, where clocks stood in order, none before it."""
    log = opener()
    start_us = prediction().predicted_at_us
    assert log.before(start_us) == 0
    asyncio.run(log.append_many([prediction(i) for i in range(200)]))
    found = log.since(log.before(start_us + 150))
    assert [p.prediction_id for p in found] == [f"p{i}" for i in range(150, 200)]
    assert log.since(log.before(start_us + 200)) == []
    asyncio.run(log.append(prediction(500, predicted_at_us=start_us + 10)))  # a clock that was set back
    late = list(streamed(log, since_us=start_us + 150))
    assert [p.prediction_id for p in late] == [f"p{i}" for i in range(150, 200)]
    assert len(list(streamed(log))) == 201


def test_a_commit_whose_answer_is_cut_is_stored_once(url: str) -> None:
    """Ended after any number of bytes of the server's answers: each prediction is there once, or its caller was told.

    A connection that broke is made anew and the commit done again; what the first one stored is found then.
    """
    origin = psycopg.conninfo.conninfo_to_dict(url)
    proxy = TcpProxy(int(origin["port"]))
    log = PostgresPredictionLog(psycopg.conninfo.make_conninfo(url, port=proxy.port), "cut")
    asyncio.run(log.append(prediction(7_000, system="cut")))
    acknowledged, told = ["p7000"], ""
    for number, cut_at in enumerate(range(0, 1_200, 120), start=7_001):
        proxy.arm(cut_at=cut_at)
        try:
            acknowledged.append(asyncio.run(log.append(prediction(number, system="cut"))).prediction_id)
        except StoreError as error:
            told += str(error)
    assert postgresql.PASSWORD not in told
    direct = PostgresPredictionReader(url, "cut")
    stored = [p.prediction_id for p in direct.since(0)]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert len(acknowledged) > 5
    direct.close()
    log.close()
    proxy.close()
