"""What every online store must do: one suite, run on each of them."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.store.online import Newest, OnlineRow, OnlineStore, OnlineView
from forecastle.store.online_stores import open_online

VIEW = OnlineView("prices", {"market_id": "int64"}, {"price": "float64", "is_open": "bool", "bids": "int64"})
names = (f"toy{number}" for number in itertools.count())

Open = Callable[..., OnlineStore]


@pytest.fixture(params=["sqlite", "redis"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Open]]:
    """Each call gives a way to open one new, empty store."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("redis_server").url
    opened: list[OnlineStore] = []

    def make() -> Open:
        system = next(names)

        def open_one(**options: bool) -> OnlineStore:
            opened.append(open_online(url, path=tmp_path / f"{system}.sqlite", system=system, **options))
            return opened[-1]

        return open_one

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def open_store(fresh: Callable[[], Open]) -> Open:
    return fresh()


@pytest.fixture
def store(open_store: Open) -> OnlineStore:
    return open_store()


def test_a_row_reads_back_with_its_times_and_types(store: OnlineStore) -> None:
    """Floats, booleans, integers and nulls come back as what they were, and times before 1970 too."""
    rows = [(1, 10, 20, 0.5, True, 2**62), (2, 11, 21, None, None, None), (4, -7, -5, -0.25, False, -(2**63))]
    assert store.write(VIEW, rows) == 3
    assert store.read([VIEW], (1,)) == {"prices": OnlineRow((0.5, True, 2**62), 10, 20)}
    assert store.read([VIEW], (2,)) == {"prices": OnlineRow((None, None, None), 11, 21)}
    row = store.read([VIEW], (4,))["prices"]
    assert row == OnlineRow((-0.25, False, -(2**63)), -7, -5)
    assert store.read([VIEW], (3,)) == {"prices": None}
    assert (store.count("prices"), store.newest("prices")) == (3, Newest(11, 21))


def test_features_are_read_by_name(store: OnlineStore) -> None:
    """A reader that asks in another order, or for fewer features, gets the values of those names."""
    store.write(VIEW, [(1, 10, 20, 0.5, False, 7)])
    asked = OnlineView("prices", {"market_id": "int64"}, {"bids": "int64", "price": "float64"})
    assert store.read([asked], (1,))["prices"] == OnlineRow((7, 0.5), 10, 20)


def test_several_views_of_one_entity_are_read_at_once(store: OnlineStore) -> None:
    """Each view answers by its name, whether it has a row or not."""
    other = OnlineView("polls", {"market_id": "int64"}, {"poll": "float64"})
    store.write(other, [(1, 1, 2, 0.25)])
    assert store.read([VIEW, other], (1,)) == {"prices": None, "polls": OnlineRow((0.25,), 1, 2)}


def test_many_entities_are_read_as_each_alone(store: OnlineStore) -> None:
    """In the order of their keys, composite ones, unknown ones and one asked twice included; none is none."""
    keys = {"market_id": "int64", "venue": "string"}
    first = OnlineView("first", keys, {"price": "float64", "is_open": "bool"})
    second = OnlineView("second", keys, {"bids": "int64"})
    store.write(first, [(2**62, "a", 10, 20, 0.5, True), (2, 'quote " and é', 11, 21, None, None)])
    asked = [(2**62, "a"), (2, 'quote " and é'), (2, "a"), (2**62, "a")]
    for views in ([first], [first, second], [second, first]):  # `second` is not pushed yet
        assert store.read_many(views, asked) == [store.read(views, key) for key in asked]
    store.write(second, [(2, 'quote " and é', 12, 22, 7), (2, "a", 13, 23, -(2**63))])
    for views in ([first], [first, second], [second, first]):
        assert store.read_many(views, asked) == [store.read(views, key) for key in asked]
    assert store.read_many([first, second], []) == []


def test_a_view_that_was_never_pushed_is_missing(open_store: Open) -> None:
    """Nothing pushed is "no row", and becomes readable as soon as it is pushed, in the same reader."""
    writer, reader = open_store(), open_store(read_only=True)
    assert reader.read([VIEW], (1,)) == {"prices": None}
    assert (reader.count("prices"), reader.newest("prices")) == (0, Newest(None, None))
    writer.write(VIEW, [(1, 10, 20, 0.5, False, 7)])
    assert reader.read([VIEW], (1,))["prices"] == OnlineRow((0.5, False, 7), 10, 20)


def test_a_feature_that_was_never_pushed_is_told(store: OnlineStore) -> None:
    """A new feature is an error until its view is pushed again; then old rows hold null and new ones the value."""
    store.write(VIEW, [(1, 10, 20, 0.5, False, 7), (2, 10, 20, 0.5, False, 7)])
    wider = OnlineView("prices", {"market_id": "int64"}, {**VIEW.feature_dtypes, "asks": "int64"})
    with pytest.raises(StoreError, match="without asks"):
        store.read([wider], (1,))
    store.write(wider, [(1, 10, 20, 0.5, False, 7, 9)])
    assert store.read([wider], (1,))["prices"] == OnlineRow((0.5, False, 7, 9), 10, 20)
    assert store.read([wider], (2,))["prices"] == OnlineRow((0.5, False, 7, None), 10, 20)


def test_a_changed_key_is_refused(store: OnlineStore) -> None:
    """Rows stored by one key cannot be found by another, so the push is refused."""
    store.write(VIEW, [])
    with pytest.raises(StoreError, match="stored by key market_id"):
        store.write(OnlineView("prices", {"other_id": "int64"}, {"price": "float64"}), [(1, 1, 1, 0.5)])


def test_composite_keys_find_their_row(store: OnlineStore) -> None:
    """Keys of two columns, one of them text of any letters, are matched in the order declared."""
    view = OnlineView("pairs", {"user": "string", "item": "int64"}, {"score": "float64"})
    store.write(view, [("a:1", 1, 1, 1, 0.1), ("a:1", 2, 1, 1, 0.2), ('é"', 1, 1, 1, 0.3)])
    values = [(row := store.read([view], key)["pairs"]) and row.values for key in (("a:1", 2), ('é"', 1), ("a", 1))]
    assert values == [(0.2,), (0.3,), None]


def test_a_batch_with_a_row_that_does_not_fit_stores_nothing(store: OnlineStore) -> None:
    """A row that cannot be stored takes its whole batch with it."""
    store.write(VIEW, [(1, 10, 20, 0.5, True, 1)])
    with pytest.raises((StoreError, CorruptionError)):
        store.write(VIEW, [(1, 11, 21, 0.9, True, 1), (None, 11, 21, 0.9, True, 1)])
    assert store.read([VIEW], (1,))["prices"] == OnlineRow((0.5, True, 1), 10, 20)
    assert store.write(VIEW, [(1, 12, 22, 0.9, True, 1)]) == 1


def test_names_are_words(store: OnlineStore) -> None:
    """A view or feature name that is no word is refused: it would become SQL or another view's key."""
    for view in (OnlineView('x"; DROP TABLE prices; --', {"a": "int64"}, {}), OnlineView("x", {"a b": "int64"}, {})):
        with pytest.raises(StoreError, match="rename it"):
            store.write(view, [])


def test_a_reader_cannot_write(open_store: Open) -> None:
    """Serving holds a store that refuses to change."""
    open_store().write(VIEW, [])
    with pytest.raises(StoreError, match="readonly"):
        open_store(read_only=True).write(VIEW, [(1, 1, 1, 0.5, True, 1)])


events = st.lists(st.tuples(st.integers(0, 2), st.integers(-2, 3), st.integers(-2, 3)), max_size=25)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=events, chance=st.randoms(), size=st.integers(1, 5))
def test_the_newest_row_wins_in_any_order(
    fresh: Callable[[], Open], rows: list[tuple[int, int, int]], chance: random.Random, size: int
) -> None:
    """In any order and batches, and twice, each entity ends with its row of the latest event, then knowledge."""
    store = fresh()()
    valued = [(*row, float(row[1] * 10 + row[2]), None, None) for row in rows]
    for _ in range(2):
        chance.shuffle(valued)
        for start in range(0, len(valued), size):
            store.write(VIEW, valued[start : start + size])
    for entity in range(3):
        newest = max(((e, k) for n, e, k in rows if n == entity), default=None)
        row = store.read([VIEW], (entity,))["prices"]
        assert (row and (row.event_at_us, row.known_at_us)) == newest
        assert row is None or row.values[0] == row.event_at_us * 10 + row.known_at_us
    assert store.count("prices") == len({n for n, _, _ in rows})


def test_the_last_of_equal_times_wins_within_and_between_batches(store: OnlineStore) -> None:
    """The same row of a view whose SQL was mended replaces the one stored before; an older one never does."""
    assert store.write(VIEW, [(1, 10, 20, 0.1, True, 1), (1, 10, 20, 0.2, True, 1)]) == 2
    assert store.write(VIEW, [(1, 10, 19, 0.3, True, 1), (1, 9, 99, 0.3, True, 1)]) == 0
    row = store.read([VIEW], (1,))["prices"]
    assert row == OnlineRow((0.2, True, 1), 10, 20)


def test_threads_read_while_one_writes(store: OnlineStore) -> None:
    """Readers of four threads always see one whole row of one write."""
    store.write(VIEW, [(1, 0, 0, 0.0, True, 0)])
    torn: list[OnlineRow | None] = []
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            row = store.read([VIEW], (1,))["prices"]
            if row is None or not row.event_at_us == row.known_at_us == row.values[0] == row.values[2]:
                torn.append(row)

    threads = [threading.Thread(target=poll) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 200):
        store.write(VIEW, [(1, number, number, float(number), True, number)])
    done.set()
    for thread in threads:
        thread.join()
    assert torn == []


def test_an_unknown_url_is_told(tmp_path: Path) -> None:
    """A scheme that names no store is refused with those that do, and no URL is repeated: it may hold a password."""
    for url, told_of in (("postgresql://u:secret@host/db", "begins with 'postgresql'"), ("u:secret@host", "is no URL")):
        with pytest.raises(StoreError, match=f"{told_of}; redis://…, rediss://… and unix://…") as told:
            open_online(url, path=tmp_path / "x", system="toy")
        assert "secret" not in str(told.value)
    with pytest.raises(StoreError, match="cannot be read") as told:
        open_online("redis://u:secret@host:port/db", path=tmp_path / "x", system="toy")
    assert "secret" not in str(told.value)
