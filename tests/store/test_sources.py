"""Reading sources: types, zones, quarantine, duplicates, and files that are not what the contract says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecastle.contract.errors import SourceError, StoreError
from forecastle.contract.source import Source
from forecastle.store import sql
from forecastle.store.quarantine import QUARANTINE_COLUMNS, QuarantineError
from forecastle.store.sources import SourceRead, ingest, read_source
from forecastle.store.warehouse import Warehouse

START = datetime(2026, 6, 1, tzinfo=UTC)
NAIVE_JULY = datetime(2026, 7, 1, 12)  # noqa: DTZ001
NAIVE_JANUARY = datetime(2026, 1, 1, 12)  # noqa: DTZ001

COLUMNS: dict[str, Any] = {
    "id": {"dtype": "int64", "unit": "id"},
    "at": {"dtype": "timestamp", "unit": "utc"},
    "price": {"dtype": "float64", "unit": "probability", "min": 0, "max": 1},
    "side": {"dtype": "string", "unit": "category", "allowed": ["yes", "no"], "nullable": True},
}


def source(**changes: Any) -> Source:
    declared = {
        "kind": "parquet",
        "path": "${DATA}/toy/prices.parquet",
        "event_at": "at",
        "known_at": {"delay": "1h"},
        "key": ["id", "at"],
        "quarantine_limit": 0.5,
        "columns": COLUMNS,
    }
    return Source.model_validate({**declared, **changes})


def table(count: int = 4, **columns: Any) -> pa.Table:
    data: dict[str, Any] = {
        "id": pa.array(range(count), pa.int64()),
        "at": pa.array([START + timedelta(hours=n) for n in range(count)], pa.timestamp("us", tz="UTC")),
        "price": pa.array([0.5] * count, pa.float64()),
        "side": pa.array(["yes"] * count),
    }
    return pa.table({**data, **columns})


def put(data: Path, rows: pa.Table, name: str = "prices.parquet") -> Path:
    path = data / "toy" / name
    path.parent.mkdir(exist_ok=True)
    pq.write_table(rows, path)
    return path


def put_csv(data: Path, text: str) -> Source:
    path = data / "toy" / "prices.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return source(kind="csv", path="${DATA}/toy/prices.csv", key=["id"])


def read(data: Path, declared: Source) -> tuple[SourceRead, list[dict[str, Any]], list[tuple[Any, ...]]]:
    with sql.connect() as connection:
        result = read_source("prices", declared, data=data, connection=connection)
        rows = connection.sql(f"SELECT * FROM {result.table}").to_arrow_table().to_pylist()
        broken = connection.sql(f"SELECT * FROM {result.quarantine}")
        assert tuple(broken.columns) == QUARANTINE_COLUMNS
        return result, rows, broken.fetchall()


def test_rows_gain_event_and_knowledge_time(tmp_path: Path) -> None:
    """Contract columns stay, `event_at` is the declared column and `known_at` an hour later."""
    put(tmp_path, table(1))
    result, rows, _ = read(tmp_path, source())
    assert rows == [
        {"id": 0, "at": START, "price": 0.5, "side": "yes", "event_at": START, "known_at": START + timedelta(hours=1)}
    ]
    assert (result.rows, result.quarantined, result.duplicates, result.absent) == (1, 0, 0, False)
    assert [file.path for file in result.files] == ["toy/prices.parquet"]


@pytest.mark.parametrize(
    ("values", "zone", "expected"),
    [
        (pa.array([NAIVE_JULY], pa.timestamp("ns")), "UTC", datetime(2026, 7, 1, 12, tzinfo=UTC)),
        (pa.array([NAIVE_JULY], pa.timestamp("ms")), "Europe/London", datetime(2026, 7, 1, 11, tzinfo=UTC)),
        (pa.array([NAIVE_JANUARY], pa.timestamp("s")), "America/New_York", datetime(2026, 1, 1, 17, tzinfo=UTC)),
        (
            pa.array([datetime(2026, 7, 1, 12, tzinfo=UTC)], pa.timestamp("ns", tz="Asia/Tokyo")),
            "Europe/London",
            datetime(2026, 7, 1, 12, tzinfo=UTC),
        ),
    ],
)
def test_naive_times_are_local_to_the_declared_zone(
    tmp_path: Path, values: pa.Array, zone: str, expected: datetime
) -> None:
    """A time without zone is read in the source's zone, summer time included; one with a zone is left alone."""
    put(tmp_path, table(1, at=values))
    _, rows, _ = read(tmp_path, source(time_zone=zone))
    assert rows[0]["event_at"] == rows[0]["at"] == expected


def test_a_column_of_another_zone_is_read_in_its_own(tmp_path: Path) -> None:
    """Noon by a clock in Lagos is 11:00 UTC; noon by the clock beside it, which is UTC, is 12:00."""
    noon = pa.array([datetime(2026, 7, 1, 12)], pa.timestamp("us"))  # noqa: DTZ001
    put(tmp_path, table(1, at=noon).append_column("asked_at", noon))
    columns = {**COLUMNS, "asked_at": {"dtype": "timestamp", "unit": "utc"}}
    _, rows, _ = read(tmp_path, source(time_zone="Africa/Lagos", time_zones={"asked_at": "UTC"}, columns=columns))
    assert rows[0]["at"] == rows[0]["event_at"] == datetime(2026, 7, 1, 11, tzinfo=UTC)
    assert rows[0]["asked_at"] == datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_a_date_is_its_midnight_in_the_declared_zone(tmp_path: Path) -> None:
    """1 July in Tokyo begins at 15:00 UTC on 30 June; the date column itself stays a date."""
    day = datetime(2026, 7, 1, tzinfo=UTC).date()
    put(tmp_path, table(1, at=pa.array([day])))
    columns = {**COLUMNS, "at": {"dtype": "date", "unit": "date"}}
    _, rows, _ = read(tmp_path, source(time_zone="Asia/Tokyo", columns=columns))
    assert rows[0]["at"] == day
    assert rows[0]["event_at"] == datetime(2026, 6, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize("kind", [pa.float32(), pa.int32(), pa.int64(), pa.decimal128(5, 2)])
def test_narrower_numbers_are_widened(tmp_path: Path, kind: pa.DataType) -> None:
    """float32, integers and decimals are taken for float64 without a word."""
    put(tmp_path, table(2, price=pa.array([0, 1]).cast(pa.decimal128(21, 2) if pa.types.is_decimal(kind) else kind)))
    _, rows, _ = read(tmp_path, source())
    assert [row["price"] for row in rows] == [0.0, 1.0]


def test_broken_rows_stand_apart_with_row_column_value_and_rule(tmp_path: Path) -> None:
    """Each broken rule of each row is one line of quarantine; the other rows go through."""
    rows = table(
        6,
        price=pa.array([0.5, 1.5, -0.1, float("nan"), None, 0.5]),
        side=pa.array(["yes", None, "maybe", "no", "no", "no"]),
    )
    put(tmp_path, rows)
    result, good, broken = read(tmp_path, source(quarantine_limit=0.7))
    assert [row["id"] for row in good] == [0, 5]
    assert (result.rows, result.quarantined) == (2, 4)
    assert [line[:-1] for line in broken] == [
        ("toy/prices.parquet", 2, "price", "1.5", "max"),
        ("toy/prices.parquet", 3, "price", "-0.1", "min"),
        ("toy/prices.parquet", 3, "side", "maybe", "allowed"),
        ("toy/prices.parquet", 4, "price", "nan", "finite"),
        ("toy/prices.parquet", 5, "price", None, "nullable"),
    ]
    at = [f"{START + timedelta(hours=n):%Y-%m-%d %H:%M:%S}+00" for n in range(6)]
    assert json.loads(broken[0][-1]) == {"id": "1", "at": at[1], "price": "1.5", "side": None}
    assert broken[1][-1] == broken[2][-1], "both rules of one row tell the whole row"


def test_null_keys_and_times_are_broken_rows(tmp_path: Path) -> None:
    """A key or a time is never null, even where the contract lets the column be."""
    columns = {**COLUMNS, "id": {"dtype": "int64", "unit": "id", "nullable": True}}
    at = pa.array([START, None, START], pa.timestamp("us", tz="UTC"))
    put(tmp_path, table(3, id=pa.array([1, 2, None]), at=at))
    _, good, broken = read(tmp_path, source(columns=columns, quarantine_limit=1.0))
    assert [row["id"] for row in good] == [1]
    assert [(row, column, rule) for _, row, column, _, rule, _ in broken] == [
        (2, "at", "nullable"),
        (3, "id", "nullable"),
    ]


def test_too_many_broken_rows_fail_the_source(tmp_path: Path) -> None:
    """Above the declared share nothing is read, and column, rule, count and an example are named."""
    put(tmp_path, table(4, price=pa.array([0.5, 0.5, 7.0, 0.5])))
    with pytest.raises(SourceError, match=r"1 of 4 rows break the contract, limit 20(?s:.*)price(?s:.*)max(?s:.*)7\.0"):
        read(tmp_path, source(quarantine_limit=0.2))
    assert read(tmp_path, source(quarantine_limit=0.25))[0].quarantined == 1


def test_a_refused_source_leaves_its_broken_rows_in_quarantine(tmp_path: Path) -> None:
    """The last good table stays, and whoever mends the file can ask for what was refused."""
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    put(tmp_path, table(4))
    good = ingest(warehouse, "toy", "prices", source(quarantine_limit=0.2), data=tmp_path).source
    put(tmp_path, table(4, price=pa.array([0.5, 0.5, 7.0, 0.5])))
    with pytest.raises(QuarantineError, match=r"quarantine\.prices holds") as refused:
        ingest(warehouse, "toy", "prices", source(quarantine_limit=0.2), data=tmp_path)
    assert (refused.value.quarantined, refused.value.rows) == (1, 4)
    assert warehouse.version("toy/source/prices") == good
    (line,) = warehouse.arrow("toy/quarantine/prices").to_pylist()
    assert (line["row_number"], line["column"], line["rule"]) == (3, "price", "max")
    assert json.loads(line["row_json"])["id"] == "2"


def test_a_quarantine_of_an_earlier_version_is_read_and_followed(tmp_path: Path) -> None:
    """A home that is older than the column `row_json`: the old lines stay readable, the next run writes whole ones."""
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    put(tmp_path, table(4, price=pa.array([0.5, 0.5, 7.0, 0.5])))
    ingest(warehouse, "toy", "prices", source(), data=tmp_path)
    line = warehouse.arrow("toy/quarantine/prices")
    earlier = warehouse.publish("toy/quarantine/prices", line.drop_columns(["row_json"]))
    assert warehouse.arrow("toy/quarantine/prices").to_pylist() == line.drop_columns(["row_json"]).to_pylist()
    ingest(warehouse, "toy", "prices", source(), data=tmp_path)
    assert warehouse.arrow("toy/quarantine/prices").to_pylist() == line.to_pylist()
    assert "row_json" not in warehouse.arrow(earlier).column_names


def test_of_equal_keys_the_first_known_stays(tmp_path: Path) -> None:
    """Rows equal in the key are one row, whichever file or order they came in."""
    columns = {**COLUMNS, "seen": {"dtype": "timestamp", "unit": "utc"}}
    declared = source(path="${DATA}/toy/*.parquet", known_at="seen", key=["id"], columns=columns)
    for name, hours, price in (("a", 5, 0.1), ("b", 2, 0.2), ("c", 9, 0.3)):
        seen = pa.array([START + timedelta(hours=hours)], pa.timestamp("us", tz="UTC"))
        put(tmp_path, table(1, price=pa.array([price]), seen=seen), f"{name}.parquet")
    result, rows, _ = read(tmp_path, declared)
    assert [row["price"] for row in rows] == [0.2]
    assert (result.rows, result.duplicates, len(result.files)) == (1, 2, 3)


def test_a_row_known_before_its_event_is_ordinary(tmp_path: Path) -> None:
    """A schedule is known before it happens: knowledge before event is no fault."""
    columns = {**COLUMNS, "seen": {"dtype": "timestamp", "unit": "utc"}}
    seen = pa.array([START - timedelta(days=9)], pa.timestamp("us", tz="UTC"))
    put(tmp_path, table(1, seen=seen))
    result, rows, _ = read(tmp_path, source(known_at="seen", columns=columns))
    assert (result.quarantined, rows[0]["known_at"]) == (0, START - timedelta(days=9))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            table().drop_columns(["price"]),
            r"prices\.parquet(?s:.*)column price: expected float64, found no such column",
        ),
        (table().rename_columns(["id", "at", "prices", "side"]), r"column price(?s:.*)did you mean 'prices'"),
        (table(price=pa.array(["0.5"] * 4)), r"column price: expected float64, found VARCHAR"),
        (table(id=pa.array([1.0, 2.0, 3.0, 4.0])), r"column id: expected int64, found DOUBLE"),
        (table(at=pa.array(["2026-01-01"] * 4)), r"column at: expected timestamp, found VARCHAR"),
    ],
)
def test_changed_columns_are_named(tmp_path: Path, rows: pa.Table, told: str) -> None:
    """A column that was dropped, renamed or retyped fails with file, column, expected and found."""
    put(tmp_path, rows)
    with pytest.raises(SourceError, match=told):
        read(tmp_path, source())


def test_every_changed_column_is_named_at_once(tmp_path: Path) -> None:
    """Two faults are one error with two lines."""
    put(tmp_path, table(id=pa.array(["x"] * 4)).drop_columns(["side"]))
    with pytest.raises(SourceError) as refused:
        read(tmp_path, source())
    assert "column id:" in str(refused.value)
    assert "column side:" in str(refused.value)


def test_an_added_column_is_noted_and_order_is_harmless(tmp_path: Path) -> None:
    """New columns are said, not read; columns are found by name wherever they stand."""
    rows = table(2, extra=pa.array([1, 2]))
    put(tmp_path, rows.select(["extra", "side", "price", "at", "id"]))
    result, found, _ = read(tmp_path, source())
    assert result.added_columns == ("extra",)
    assert list(found[0]) == ["id", "at", "price", "side", "event_at", "known_at"]


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, keep: float) -> None:
    """A Parquet file cut short anywhere is an error that names it."""
    path = put(tmp_path, table(1000))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(SourceError, match=r"prices\.parquet"):
        read(tmp_path, source())


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    """Text under a Parquet name is an error that names the file and the kind expected."""
    put(tmp_path, table()).write_text("id,at,price,side\n")
    with pytest.raises(SourceError, match=r"prices\.parquet cannot be read as parquet"):
        read(tmp_path, source())


def test_a_missing_file_is_told_unless_optional(tmp_path: Path) -> None:
    """No file is an error; for an optional source it is an empty table with the right columns, and said."""
    with pytest.raises(SourceError, match="optional: true"):
        read(tmp_path, source())
    with sql.connect() as connection:
        result = read_source("prices", source(optional=True), data=tmp_path, connection=connection)
        found = sql.describe(connection, f"SELECT * FROM {result.table}")
    assert result.absent
    assert result.rows == 0
    assert found == {
        "id": "BIGINT", "at": "TIMESTAMP WITH TIME ZONE", "price": "DOUBLE", "side": "VARCHAR",
        "event_at": "TIMESTAMP WITH TIME ZONE", "known_at": "TIMESTAMP WITH TIME ZONE",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", ["${DATA}/../secret.parquet", "/etc/passwd", "toy/x.parquet", "${DATA}/", "${DATA}//etc/x"]
)
def test_paths_stay_in_the_data_folder(tmp_path: Path, path: str) -> None:
    """Only paths below ${DATA}, without `..`, are read."""
    with pytest.raises(SourceError, match="DATA"):
        read(tmp_path, source(path=path))


def test_links_out_of_the_data_folder_are_refused(tmp_path: Path) -> None:
    """A symbolic link that leads elsewhere is not followed."""
    outside = put(tmp_path, table(), "outside.parquet")
    data = tmp_path / "data"
    (data / "toy").mkdir(parents=True)
    (data / "toy" / "prices.parquet").symlink_to(outside)
    with pytest.raises(SourceError, match="leads out of the data folder"):
        read(data, source())


def test_csv_text_becomes_typed_rows(tmp_path: Path) -> None:
    """Numbers, quoted text, empty cells, zoned, naive and bare-date times are read as the contract says."""
    declared = put_csv(
        tmp_path,
        'id,at,price,side\n1,2026-07-01 12:00:00,0.5,yes\n2,2026-07-01T12:00:00Z,1e-1,"no"\n'
        "3,2026-07-01T12:00:00+02:00,1,\n4,2026-07-01,0,\n",
    )
    _, rows, _ = read(tmp_path, declared.model_copy(update={"time_zone": "Europe/London"}))
    by_id = {row["id"]: row for row in rows}
    day = datetime(2026, 7, 1, tzinfo=UTC)
    hours = {n: (row["event_at"] - day) / timedelta(hours=1) for n, row in by_id.items()}
    assert hours == {1: 11, 2: 12, 3: 10, 4: -1}
    assert [by_id[n]["price"] for n in (1, 2, 3, 4)] == [0.5, 0.1, 1.0, 0.0]
    assert [by_id[n]["side"] for n in (1, 2, 3, 4)] == ["yes", "no", None, None]


def test_csv_text_that_is_no_number_breaks_dtype(tmp_path: Path) -> None:
    """Text that cannot be read as the contract's dtype is quarantined as it stands in the file; 1.5 is no integer."""
    declared = put_csv(
        tmp_path,
        "id,at,price,side\n1,2026-07-01,0.5,yes\n1.5,2026-07-01,0.5,yes\n3,yesterday,0.5,yes\n4,2026-07-01,half,yes\n",
    )
    _, good, broken = read(tmp_path, declared.model_copy(update={"quarantine_limit": 1.0}))
    assert [row["id"] for row in good] == [1]
    assert [b[1:-1] for b in broken] == [
        (2, "id", "1.5", "dtype"),
        (3, "at", "yesterday", "dtype"),
        (4, "price", "half", "dtype"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id,id,price,side\n",
        "id,at,price,side\n1,2026-07-01,0.5\n",
        'id,at,price,side\n1,2026-07-01,0.5,"yes\n',
        "id,at,price\n1,2026-07-01,0.5\n",
    ],
)
def test_csv_that_is_cut_short_is_refused_by_name(tmp_path: Path, text: str) -> None:
    """A header without names or with doubles, a short row, an open quote: an error that names the file."""
    with pytest.raises(SourceError, match=r"prices\.csv"):
        read(tmp_path, put_csv(tmp_path, text))


def test_a_declared_time_column_must_be_the_sources_own(tmp_path: Path) -> None:
    """A column called known_at that is not the knowledge time would hide it, so it is refused."""
    put(tmp_path, table(known_at=pa.array([START] * 4, pa.timestamp("us", tz="UTC"))))
    with pytest.raises(SourceError, match="rename the column"):
        read(tmp_path, source(columns={**COLUMNS, "known_at": {"dtype": "timestamp", "unit": "utc"}}))


def test_ingest_publishes_both_tables_or_none(tmp_path: Path) -> None:
    """Rows and quarantine are published with the files' hashes; a bad file later leaves both as they were."""
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    data = tmp_path / "data"
    data.mkdir()
    path = put(data, table(4, price=pa.array([0.5, 0.5, 0.5, 2.0])))
    done = ingest(warehouse, "toy", "prices", source(), data=data)
    assert (done.source.rows, done.quarantine.rows) == (3, 1)
    assert done.source.facts["files"] == f"toy/prices.parquet@{done.read.files[0].sha256}"
    assert ingest(warehouse, "toy", "prices", source(), data=data).source.unchanged
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError):
        ingest(warehouse, "toy", "prices", source(), data=data)
    assert warehouse.version("toy/source/prices") == done.source
    assert warehouse.version("toy/quarantine/prices") == done.quarantine


def test_reading_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Same files, same table, to the byte."""
    data = tmp_path / "data"
    data.mkdir()
    put(data, table(5000, id=pa.array([n * 7919 % 5000 for n in range(5000)])))
    digests = {
        ingest(Warehouse(tmp_path / str(n), clock=lambda: START), "toy", "prices", source(), data=data).source.sha256
        for n in range(3)
    }
    assert len(digests) == 1


def test_what_is_announced_ahead_is_known_a_lead_before(tmp_path: Path) -> None:
    """A row about an instant is an announcement: event and knowledge time lie the lead before that instant."""
    put(tmp_path, table())
    declared = source(known_at={"lead": "2d", "before": "at"}, event_at="known_at")
    _, rows, _ = read(tmp_path, declared)
    assert rows
    for row in rows:
        assert row["event_at"] == row["known_at"] == row["at"] - timedelta(days=2)


LISTED = {"latest": "lists", "on": ["id"]}


@pytest.mark.parametrize(("word", "hour_of_first"), [("latest", 5), ("earliest", 1)])
def test_knowledge_time_is_that_of_a_row_of_another_source(tmp_path: Path, word: str, hour_of_first: int) -> None:
    """Each row is known from the last (or first) list that names it; a row on no list is quarantined."""
    put(tmp_path, table(3))
    declared = source(known_at={word: "lists", "on": ["id"]}, event_at="known_at", key=["id"])
    hours = {0: (1, 5, 3), 1: (2,), 7: (4,)}
    with sql.connect() as connection:
        connection.execute("CREATE TABLE lists (id BIGINT, known_at TIMESTAMPTZ)")
        for number, listed in hours.items():
            for hour in listed:
                connection.execute("INSERT INTO lists VALUES (?, ?)", [number, START + timedelta(hours=hour)])
        result = read_source("prices", declared, data=tmp_path, connection=connection, seen="lists")
        rows = connection.execute(f"SELECT id, event_at, known_at FROM {result.table} ORDER BY id").fetchall()
        broken = connection.execute(f"SELECT * FROM {result.quarantine}").fetchall()
    told = {0: START + timedelta(hours=hour_of_first), 1: START + timedelta(hours=2)}
    assert rows == [(number, at, at) for number, at in told.items()]
    assert [line[:-1] for line in broken] == [("toy/prices.parquet", 3, "known_at", None, "nullable")]
    assert (result.rows, result.quarantined) == (2, 1)


def test_a_source_waits_for_the_one_that_tells_its_knowledge_time(tmp_path: Path) -> None:
    """Before the other source was read nothing is published; afterwards the commit names the version read."""
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    data = tmp_path / "data"
    data.mkdir()
    put(data, table(3))
    listed = source(known_at=LISTED, key=["id"], quarantine_limit=0)
    with pytest.raises(StoreError, match="lists"):
        ingest(warehouse, "toy", "prices", listed, data=data)
    put(data, table(3), "lists.parquet")
    ingest(warehouse, "toy", "lists", source(path="${DATA}/toy/lists.parquet"), data=data)
    done = ingest(warehouse, "toy", "prices", listed, data=data)
    assert done.source.facts["input.lists"] == "toy/source/lists@0"
    rows = warehouse.frame(done.source)
    assert (rows["known_at"] == rows["event_at"] + timedelta(hours=1)).all()


def test_rows_that_no_list_names_count_against_the_limit(tmp_path: Path) -> None:
    """The refusal names known_at and the rule, and a reader without the other source is told to bring it."""
    put(tmp_path, table(2))
    with sql.connect() as connection:
        connection.execute("CREATE TABLE lists (id BIGINT, known_at TIMESTAMPTZ)")
        with pytest.raises(SourceError, match=r"known_at: 2 row\(s\) break nullable"):
            read_source("prices", source(known_at=LISTED), data=tmp_path, connection=connection, seen="lists")
        with pytest.raises(SourceError, match="read lists first"):
            read_source("prices", source(known_at=LISTED), data=tmp_path, connection=connection)


def test_a_damaged_page_is_an_error_of_the_file(tmp_path: Path) -> None:
    """A page that no longer decompresses names the file, not a row."""
    path = put(tmp_path, table(5000, side=pa.array(["yes", "no"] * 2500)))
    whole = bytearray(path.read_bytes())
    whole[4:200] = b"\xff" * 196
    path.write_bytes(bytes(whole))
    with pytest.raises(SourceError, match=r"prices\.parquet"):
        read(tmp_path, source())


def test_real_quotes_are_all_good(real_data: Path) -> None:
    """The 246,953 quotes and 1,764 resolved markets of SOURCE.md are read without a broken row or a duplicate."""
    quotes = Source.model_validate(
        {
            "kind": "parquet",
            "path": "${DATA}/prediction_markets/quotes.parquet",
            "event_at": "value_date",
            "known_at": "known_at",
            "key": ["mid", "value_date", "known_at"],
            "columns": {
                "mid": {"dtype": "int64", "unit": "id"},
                "value_date": {"dtype": "date", "unit": "date"},
                "value": {"dtype": "float64", "unit": "probability", "min": 0, "max": 1},
                "known_at": {"dtype": "timestamp", "unit": "utc"},
            },
        }
    )
    with sql.connect() as connection:
        result = read_source("quotes", quotes, data=real_data, connection=connection)
        early = connection.execute(f"SELECT count(*) FROM {result.table} WHERE known_at < event_at").fetchone()
    assert (result.rows, result.quarantined, result.duplicates) == (246_953, 0, 0)
    assert result.added_columns == ("source",)
    assert early == (0,)
