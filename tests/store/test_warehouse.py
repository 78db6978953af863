"""Publishing, reading, conflicts, crashes, corruption and retention of table versions."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import ConflictError, CorruptionError, StoreError
from forecastle.store.content_hash import content_hash
from forecastle.store.crash import CRASH_POINTS, crash_hook
from forecastle.store.delta_log import NO_VERSION, TableName
from forecastle.store.warehouse import Warehouse

START = datetime(2026, 6, 1, tzinfo=UTC)
NAME = TableName("toy", "source", "prices")


def ticking(start: datetime = START) -> Iterator[datetime]:
    """A clock that goes on by one minute each time it is asked."""
    return (start + timedelta(minutes=n) for n in count())


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    clock = ticking()
    return Warehouse(tmp_path / "warehouse", clock=lambda: next(clock))


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def rows(*values: int) -> pa.Table:
    return pa.table({"a": pa.array(values, pa.int64()), "b": [f"row {v}" for v in values]})


def files(warehouse: Warehouse, name: TableName = NAME) -> list[str]:
    folder = warehouse.root / name.system / name.kind / name.name
    return sorted(p.name for p in folder.iterdir() if p.is_file())


def test_a_published_table_reads_back(warehouse: Warehouse) -> None:
    """What was written is what is read, with its count, size, facts and the writer's clock beside it."""
    version = warehouse.publish(NAME, rows(1, 2, 3), facts={"origin": "test"})
    assert warehouse.arrow(NAME).to_pydict() == rows(1, 2, 3).to_pydict()
    assert (version.version, version.rows, version.facts) == (0, 3, {"origin": "test"})
    assert version.written_at == START
    assert version.bytes == version.path.stat().st_size
    assert warehouse.version(NAME) == version
    assert warehouse.tables() == (NAME,) == warehouse.tables("toy")


def test_a_version_is_a_delta_table(warehouse: Warehouse) -> None:
    """Any Delta reader sees the newest rows and, by version, the older ones."""
    warehouse.publish(NAME, rows(1))
    version = warehouse.publish(NAME, rows(2, 3))
    folder = str(version.path.parent)
    assert DeltaTable(folder).to_pyarrow_table().column("a").to_pylist() == [2, 3]
    assert DeltaTable(folder, version=0).to_pyarrow_table().column("a").to_pylist() == [1]
    assert len(DeltaTable(folder).file_uris()) == 1


def test_columns_may_change_between_versions(warehouse: Warehouse) -> None:
    """A new version has its own columns; the old version keeps the old ones."""
    warehouse.publish(NAME, rows(1))
    warehouse.publish(NAME, pa.table({"z": [1.5]}))
    assert warehouse.arrow(NAME).column_names == ["z"]
    assert warehouse.arrow(NAME, version=0).column_names == ["a", "b"]


def test_types_are_stored_wide(warehouse: Warehouse) -> None:
    """Narrow numbers are widened, so a schema does not depend on the sample it was made from."""
    query = "SELECT 1::TINYINT AS i, 1.5::FLOAT AS f, 2.5::DECIMAL(5, 2) AS d, sum(1) AS h, 'x'::ENUM('x') AS e"
    with warehouse.connect() as connection:
        version = warehouse.publish(NAME, query, connection=connection)
    assert version.columns == {"i": "BIGINT", "f": "DOUBLE", "d": "DOUBLE", "h": "BIGINT", "e": "VARCHAR"}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT TIMESTAMP '2026-01-01' AS t", "time without zone"),
        ("SELECT NULL AS t", "no type"),
        ("SELECT * FROM nowhere", "cannot be planned"),
        ("SELECT 'x'::INTEGER AS t", "the query"),
    ],
)
def test_what_cannot_be_stored_is_refused(warehouse: Warehouse, query: str, told: str) -> None:
    """A time without zone, a column without type and a failing query leave the old version alone."""
    warehouse.publish(NAME, rows(1))
    with warehouse.connect() as connection, pytest.raises(StoreError, match=told):
        warehouse.publish(NAME, query, connection=connection)
    assert warehouse.arrow(NAME).num_rows == 1
    assert len(files(warehouse)) == 1


def test_pandas_round_trip_keeps_dtypes(warehouse: Warehouse) -> None:
    """A frame comes back with UTC microseconds, `str`, float64 for null integers and dates as dates."""
    frame = pd.DataFrame(
        {
            "t": pd.to_datetime(["2026-01-01T00:00:00.000001Z", "2026-01-02T00:00:00Z"], format="ISO8601"),
            "s": ["x", None],
            "n": [1.0, None],
            "d": [datetime(2026, 1, 1, tzinfo=UTC).date(), None],
        }
    )
    warehouse.publish(NAME, frame)
    found = warehouse.frame(NAME)
    assert [str(d) for d in found.dtypes] == ["datetime64[us, UTC]", "str", "float64", "object"]
    assert found["t"].tolist() == frame["t"].tolist()
    assert found["d"].tolist() == frame["d"].tolist()


def test_audits_see_the_rows_before_anybody_else(warehouse: Warehouse) -> None:
    """Every problem of every audit is named, the old version stays, and no file is left behind."""
    warehouse.publish(NAME, rows(1))

    def audit(connection: duckdb.DuckDBPyConnection, relation: str) -> list[str]:
        found = connection.execute(f"SELECT max(a) FROM {relation}").fetchone()
        return [f"a reaches {found[0]}"] if found and found[0] > 5 else []

    with pytest.raises(StoreError, match=r"2 audit problem(?s:.*)a reaches 9(?s:.*)always") as refused:
        warehouse.publish(NAME, rows(9), audits=(audit, lambda c, r: ["always"]))
    assert "old version stays" in str(refused.value)
    assert warehouse.arrow(NAME)["a"].to_pylist() == [1]
    assert len(files(warehouse)) == 1
    assert warehouse.publish(NAME, rows(2), audits=(audit,)).version == 1


def test_the_same_rows_make_no_new_version(warehouse: Warehouse) -> None:
    """Rows that are there already, in any order, leave one version; a repeated row is another content."""
    first = warehouse.publish(NAME, rows(1, 2))
    again = warehouse.publish(NAME, rows(2, 1))
    assert again.unchanged
    assert (again.version, again.content_hash) == (0, first.content_hash)
    assert len(files(warehouse)) == 1
    assert warehouse.publish(NAME, rows(1, 2, 2)).version == 1


def test_the_same_rows_replace_a_damaged_file(warehouse: Warehouse) -> None:
    """Rows count as unchanged only in a whole file: publishing again is the way to mend a damaged one."""
    broken = warehouse.publish(NAME, rows(1, 2)).path
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    assert Warehouse(warehouse.root, clock=lambda: START).publish(NAME, rows(1, 2)).version == 1
    assert warehouse.arrow(NAME).num_rows == 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.sampled_from(["", "a", "NULL", "a', 'b", None]))), st.randoms())
def test_content_hash_ignores_order_alone(
    engine: duckdb.DuckDBPyConnection, values: list[tuple[int, str | None]], chance: random.Random
) -> None:
    """Equal multisets of rows, and only those, share a content hash."""
    shuffled = list(values)
    chance.shuffle(shuffled)

    def digest(items: list[tuple[int, str | None]]) -> str:
        engine.execute("CREATE OR REPLACE TABLE t (a BIGINT, b VARCHAR)")
        if items:
            places = ", ".join("(?, ?)" for _ in items)
            engine.execute(f"INSERT INTO t VALUES {places}", [value for item in items for value in item])
        return content_hash(engine, "t")

    assert digest(values) == digest(shuffled)
    changed = [(a + 1, b) if i == 0 else (a, b) for i, (a, b) in enumerate(values)]
    if values:
        assert digest(changed) != digest(values)
        assert digest(values[1:]) != digest(values)


def test_a_byte_flip_is_never_read(warehouse: Warehouse) -> None:
    """Each of 40 single-byte changes to a table's file is found before any row is read."""
    version = warehouse.publish(NAME, rows(*range(500)))
    whole = version.path.read_bytes()
    chance = random.Random(7)
    for _ in range(40):
        position = chance.randrange(len(whole))
        version.path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x20]) + whole[position + 1 :])
        with pytest.raises(CorruptionError, match="SHA-256"):
            Warehouse(warehouse.root, clock=lambda: START).arrow(NAME)
    version.path.write_bytes(whole)
    assert Warehouse(warehouse.root, clock=lambda: START).arrow(NAME).num_rows == 500


def test_a_change_after_the_first_read_is_found(warehouse: Warehouse) -> None:
    """The check is remembered for a file as it was, not for its name."""
    version = warehouse.publish(NAME, rows(1, 2))
    assert warehouse.arrow(NAME).num_rows == 2
    version.path.write_bytes(b"?" * version.bytes)
    os.utime(version.path, ns=(1, 1))
    with pytest.raises(CorruptionError):
        warehouse.arrow(NAME)


def test_an_altered_commit_is_found(warehouse: Warehouse) -> None:
    """A commit whose record or checksum was edited is refused, as is one that is no JSON."""
    version = warehouse.publish(NAME, rows(1), facts={"rows": "one"})
    log = version.path.parent / "_delta_log" / f"{0:020d}.json"
    whole = log.read_text()
    for altered in (whole.replace('"rows":"one"', '"rows":"two"'), whole[: len(whole) // 2], "{}"):
        assert altered != whole
        log.write_text(altered)
        with pytest.raises(StoreError):
            Warehouse(warehouse.root, clock=lambda: START).version(NAME)


def test_a_commit_by_another_tool_is_not_trusted(warehouse: Warehouse) -> None:
    """Rows that another writer appended carry no checksums, so they are refused; older versions still read."""
    version = warehouse.publish(NAME, rows(1))
    write_deltalake(str(version.path.parent), rows(2), mode="append")
    with pytest.raises(StoreError, match="another tool"):
        warehouse.arrow(NAME)
    assert warehouse.arrow(f"{NAME}@0").num_rows == 1


def test_a_lost_file_is_told(warehouse: Warehouse) -> None:
    """A version whose file is gone says so instead of being empty."""
    warehouse.publish(NAME, rows(1)).path.unlink()
    with pytest.raises(StoreError, match="gone"):
        warehouse.arrow(NAME)


def test_the_fence_refuses_a_stale_writer(warehouse: Warehouse) -> None:
    """A writer that expected another version is refused before it writes anything."""
    warehouse.publish(NAME, rows(1), expected_version=NO_VERSION)
    warehouse.publish(NAME, rows(2), expected_version=0)
    for stale in (NO_VERSION, 0, 7):
        with pytest.raises(ConflictError, match="newest version is 1"):
            warehouse.publish(NAME, rows(3), expected_version=stale)
    assert warehouse.arrow(NAME)["a"].to_pylist() == [2]


@pytest.mark.parametrize(
    "point", ["publish.start", "publish.after_write", "publish.after_audit", "publish.after_rename"]
)
def test_an_orphan_cannot_overwrite_its_retry(tmp_path: Path, point: str) -> None:
    """A writer held at any point before its commit is refused when a retry has committed meanwhile."""
    retry = Warehouse(tmp_path, clock=lambda: START)
    retry.publish(NAME, rows(1))

    def hold(passed: str) -> None:
        if passed == point:
            retry.publish(NAME, rows(2))

    orphan = Warehouse(tmp_path, clock=lambda: START, crash_at=hold)
    with pytest.raises(ConflictError, match="somebody else wrote first"):
        orphan.publish(NAME, rows(3))
    assert retry.arrow(NAME)["a"].to_pylist() == [2]
    assert len(files(retry)) == 2


def test_an_orphan_cannot_take_a_new_name(tmp_path: Path) -> None:
    """Two writers of a table that does not exist yet: the first commit wins, the other is refused."""
    first = Warehouse(tmp_path, clock=lambda: START)

    def hold(passed: str) -> None:
        if passed == "publish.after_rename":
            first.publish(NAME, rows(1))

    with pytest.raises(ConflictError):
        Warehouse(tmp_path, clock=lambda: START, crash_at=hold).publish(NAME, rows(2))
    assert first.arrow(NAME)["a"].to_pylist() == [1]


def test_concurrent_publishers_commit_one_after_another(tmp_path: Path) -> None:
    """Of six simultaneous writers each either commits whole or is refused; as many versions stand as committed."""
    barrier = threading.Barrier(6)
    outcomes: list[str] = []

    def write(number: int) -> None:
        own = Warehouse(tmp_path, clock=lambda: START, threads=1)
        barrier.wait()
        try:
            own.publish(NAME, rows(number, number + 100))
            outcomes.append("committed")
        except ConflictError:
            outcomes.append("refused")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    warehouse = Warehouse(tmp_path, clock=lambda: START)
    versions = warehouse.versions(NAME)
    assert len(outcomes) == 6
    assert len(versions) == outcomes.count("committed") >= 1
    for version in versions:
        low, high = warehouse.arrow(version)["a"].to_pylist()
        assert high == low + 100
    assert len(files(warehouse)) == len(versions)


PUBLISHER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
import pyarrow as pa
from forecastle.store.content_hash import content_hash
from forecastle.store.crash import crash_hook
from forecastle.store.warehouse import Warehouse
armed = os.environ["FORECASTLE_CRASH_AT"]
warehouse = Warehouse(Path(sys.argv[1]), clock=lambda: datetime(2026, 6, 1, tzinfo=UTC), crash_at=crash_hook(armed))
warehouse.publish("toy/source/prices", pa.table({"a": list(range(1000)), "b": ["new"] * 1000}))
"""


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_kill_9_leaves_the_old_version_or_the_new_one(tmp_path: Path, point: str) -> None:
    """A writer killed at any point leaves a whole table, and publishing again gives the same rows as without."""
    warehouse = Warehouse(tmp_path, clock=lambda: START)
    warehouse.publish(NAME, rows(1, 2))
    environment = {**os.environ, "FORECASTLE_CRASH_AT": point, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", PUBLISHER, str(tmp_path)], env=environment, check=False, timeout=60)
    assert run.returncode == -signal.SIGKILL
    seen = Warehouse(tmp_path, clock=lambda: START).arrow(NAME)
    committed = point == "publish.after_commit"
    assert (seen.num_rows, set(seen["b"].to_pylist())) == ((1000, {"new"}) if committed else (2, {"row 1", "row 2"}))
    again = warehouse.publish(NAME, pa.table({"a": list(range(1000)), "b": ["new"] * 1000}))
    assert (again.version, again.rows, again.unchanged) == (1, 1000, committed)
    leftovers = set(files(warehouse)) - {v.path.name for v in warehouse.versions(NAME)}
    assert len(leftovers) == (point in {"publish.after_write", "publish.after_audit", "publish.after_rename"})
    late = Warehouse(tmp_path, clock=lambda: datetime(2100, 1, 1, tzinfo=UTC))
    assert set(late.prune(NAME, keep=1, older_than=timedelta(days=1)).files) >= leftovers


def test_crash_hooks_are_strict() -> None:
    """An unknown point or signal is refused, and a hook counts passages."""
    for wrong in ("publish.nowhere", "publish.start:SIGNOTHING"):
        with pytest.raises(StoreError):
            crash_hook(wrong)
    hook = crash_hook("publish.start:SIGKILL:3")
    hook("publish.start")
    hook("publish.after_write")
    hook("publish.start")
    assert len(CRASH_POINTS) == len(set(CRASH_POINTS))


def test_a_full_disk_is_told_and_harmless(tmp_path: Path) -> None:
    """When the file cannot grow, the error says disk and the old version is still read."""
    warehouse = Warehouse(tmp_path, clock=lambda: START)
    warehouse.publish(NAME, rows(1))
    script = (
        "import resource, signal, sys\n"
        "from datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from forecastle.store.warehouse import Warehouse\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "w = Warehouse(Path(sys.argv[1]), clock=lambda: datetime(2026, 6, 1, tzinfo=UTC))\n"
        "c = w.connect()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    w.publish('toy/source/prices', 'SELECT random() AS a FROM range(200000)', connection=c)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("StoreError")
    assert "disk" in run.stdout
    assert warehouse.arrow(NAME).num_rows == 1
    assert len(files(warehouse)) == 1
    assert warehouse.publish(NAME, rows(5)).version == 1


def test_readers_see_whole_versions_while_a_writer_works(tmp_path: Path) -> None:
    """A reader that polls during fifteen publishes only ever sees rows of one version."""
    writer = Warehouse(tmp_path, clock=lambda: START, threads=1)
    writer.publish(NAME, pa.table({"a": [0] * 50}))
    done = threading.Event()
    seen: list[set[int]] = []

    def poll() -> None:
        reader = Warehouse(tmp_path, clock=lambda: START, threads=1)
        while not done.is_set():
            seen.append(set(reader.arrow(NAME)["a"].to_pylist()))

    thread = threading.Thread(target=poll)
    thread.start()
    for number in range(1, 16):
        writer.publish(NAME, pa.table({"a": [number] * 50}))
    done.set()
    thread.join()
    assert seen
    assert all(len(values) == 1 for values in seen)


def test_as_of_reads_what_stood_then(warehouse: Warehouse) -> None:
    """`at` and `attach(as_of=)` give the newest version written at or before an instant."""
    written = [warehouse.publish(NAME, rows(n)).written_at for n in range(3)]
    assert warehouse.at(NAME, written[0] - timedelta(microseconds=1)) is None
    for number, at in enumerate(written):
        found = warehouse.at(NAME, at)
        assert found is not None
        assert found.version == number
    with warehouse.connect() as connection:
        shown = warehouse.attach(connection, {"prices": NAME}, as_of=written[1])
        assert connection.execute("SELECT a FROM prices").fetchall() == [(1,)]
        assert shown["prices"].version == 1
        with pytest.raises(StoreError, match="materialise it first"):
            warehouse.attach(connection, {"prices": NAME}, as_of=START - timedelta(days=1))


def test_attached_rows_can_be_numbered(warehouse: Warehouse) -> None:
    """`row_id` numbers rows from zero in stored order beside the table's own columns."""
    warehouse.publish(NAME, rows(7, 8, 9))
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"prices": NAME}, row_id="number")
        assert connection.execute("SELECT a, number FROM prices").fetchall() == [(7, 0), (8, 1), (9, 2)]


def test_a_version_can_be_named_in_text(warehouse: Warehouse) -> None:
    """`system/kind/name@version` means that version; a number that is not there is told."""
    warehouse.publish(NAME, rows(1))
    warehouse.publish(NAME, rows(2))
    assert warehouse.arrow("toy/source/prices@0")["a"].to_pylist() == [1]
    for wrong in ("toy/source/prices@7", "toy/source/prices@x"):
        with pytest.raises(StoreError, match="no version"):
            warehouse.resolve(wrong)


def test_retention_keeps_the_newest_and_the_records(warehouse: Warehouse) -> None:
    """Old rows beyond `keep` go, their records stay, and what is gone is told when read."""
    for number in range(4):
        warehouse.publish(NAME, rows(number))
    report = warehouse.prune(NAME, keep=2, older_than=timedelta(0))
    assert report.versions == (0, 1)
    assert report.bytes_freed > 0
    assert [v.version for v in warehouse.versions(NAME)] == [0, 1, 2, 3]
    assert warehouse.arrow(NAME, version=2).num_rows == 1
    with pytest.raises(StoreError, match="gone"):
        warehouse.arrow(NAME, version=0)
    assert warehouse.prune(NAME, keep=1, older_than=timedelta(days=9)).versions == ()
    with pytest.raises(StoreError, match="at least 1"):
        warehouse.prune(NAME, keep=0, older_than=timedelta(0))


@pytest.mark.parametrize("name", ["toy/source", "toy/source/../x", "Toy/source/a", "/etc/source/a", "a/b/c/d", ""])
def test_names_never_leave_the_folder(warehouse: Warehouse, name: str) -> None:
    """Only three plain words name a table."""
    with pytest.raises(StoreError):
        warehouse.publish(name, rows(1))
    assert not warehouse.root.exists() or list(warehouse.root.iterdir()) == []


def test_an_unknown_table_is_told(warehouse: Warehouse) -> None:
    """A table that was never published has no version, and reading it says what to do."""
    assert warehouse.version(NAME) is None
    assert warehouse.versions(NAME) == ()
    with pytest.raises(StoreError, match="materialise it first"):
        warehouse.arrow(NAME)


def test_sql_needs_its_connection(warehouse: Warehouse) -> None:
    """A query without the connection it belongs to is refused."""
    with pytest.raises(StoreError, match="connection="):
        warehouse.publish(NAME, "SELECT 1 AS a")


def test_larger_than_memory_rows_are_streamed(tmp_path: Path) -> None:
    """A sort of rows far beyond the memory limit is published by spilling, and no row is left in the spill folder."""
    warehouse = Warehouse(tmp_path, clock=lambda: START, memory_limit="32MB", threads=1)
    query = "SELECT i, md5(i::VARCHAR) AS s FROM range(500000) t(i) ORDER BY s"
    with warehouse.connect() as connection:
        version = warehouse.publish(NAME, query, connection=connection)
    assert version.rows == 500_000
    assert sum(path.stat().st_size for path in warehouse.temp_directory.iterdir()) == 0
