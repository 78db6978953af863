"""The online store on Redis: one packed row per view and entity, for many machines that serve one system.

Belongs here: keys, the conditional write, reading by MGET, short timeouts without retries.
Does not belong here: the row's bytes (`packed_row.py`), choosing a store (`online_stores.py`).
Scripts run alone on the server, so each entity changes at once or not at all: https://redis.io/docs/latest/develop/programmability/eval-intro/

    forecastle:<system>:<view>              hash: keys, columns:<digest>, newest, count, event_at, known_at
    forecastle:<system>:<view>:<key JSON>   packed row
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.store.online import TIMEOUT_SECONDS, Key, Newest, OnlineRow, OnlineView, ViewColumns
from forecastle.store.packed_row import BIAS, RowColumns, unpack_head

WRITE_ROWS: Final = 500
"""Rows a script writes: the server answers nobody else meanwhile, about a millisecond."""

READ_KEYS: Final = 256
"""Entities that one MGET asks for: its answer comes well within the time that a reader waits."""

_COLUMNS: Final = b"columns:"

# Equal times store again: the same row of a view whose SQL was mended must not stay as it was.
# Times are compared as two 32-bit halves each: Lua has no 64-bit integers, and its text order is the locale's.
_WRITE: Final = """
local function newer(a, b, words)
  for i = 1, words do
    if a[i] ~= b[i] then return a[i] > b[i] end
  end
  return true
end
local keys = redis.call('HGET', KEYS[1], 'keys')
if keys and keys ~= ARGV[1] then return keys end
redis.call('HSET', KEYS[1], 'keys', ARGV[1], 'columns:' .. ARGV[2], ARGV[3], 'newest', ARGV[2])
local stored, added = 0, 0
local meta = redis.call('HMGET', KEYS[1], 'event_at', 'known_at')
local event, known = meta[1] or string.rep('\\0', 8), meta[2] or string.rep('\\0', 8)
for i = 2, #KEYS do
  local new = ARGV[i + 2]
  local old = redis.call('GETRANGE', KEYS[i], 0, 15)
  if old == '' or newer({struct.unpack('>I4I4I4I4', new)}, {struct.unpack('>I4I4I4I4', old)}, 4) then
    redis.call('SET', KEYS[i], new)
    stored = stored + 1
    if old == '' then added = added + 1 end
    local e, k = string.sub(new, 1, 8), string.sub(new, 9, 16)
    if newer({struct.unpack('>I4I4', e)}, {struct.unpack('>I4I4', event)}, 2) then event = e end
    if newer({struct.unpack('>I4I4', k)}, {struct.unpack('>I4I4', known)}, 2) then known = k end
  end
end
if stored > 0 then
  redis.call('HSET', KEYS[1], 'event_at', event, 'known_at', known)
  redis.call('HINCRBY', KEYS[1], 'count', added)
end
return stored
"""


class RedisOnlineStore:
    """Rows of one system in a Redis database (`redis://[[user]:password@]host[:port][/db]`, `rediss://` with TLS).

    Every call to the server ends within `timeout_seconds` and is never tried again by the client: whoever asks decides
    whether to ask again. What Redis loses (a restart without persistence) reads as "no row" until it is pushed again.
    Counts are of rows stored: rows that Redis evicts are still counted.
    """

    def __init__(
        self, url: str, system: str, *, read_only: bool = False, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Prepare a client; nothing is connected before the first call.

        Raises:
            StoreError: the URL is not one of Redis.
        """
        try:
            # Its own types allow for answers decoded to text, which these never are.
            self._client: Any = redis.Redis.from_url(
                url,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        except (ValueError, TypeError) as error:
            # The text of the error may hold the URL, and with it a password.
            raise StoreError("the online store's URL cannot be read; write redis://host:6379/0") from error
        options = self._client.connection_pool.connection_kwargs
        self.name = f"redis {options.get('host', 'at a socket')}:{options.get('port', '')}".rstrip(":")
        self._prefix = f"forecastle:{system}:"
        self._read_only = read_only
        self._script = self._client.register_script(_WRITE)
        self._columns: dict[bytes, RowColumns] = {}
        self._plans: dict[tuple[str, tuple[str, ...], tuple[str, ...], bytes], tuple[int | None, ...]] = {}

    def write(self, view: OnlineView, rows: Iterable[Sequence[Any]]) -> int:
        """Store rows (keys, event_at_us, known_at_us, features in the view's order), each entity by itself.

        A row replaces the stored one of its entity unless that one is newer by (event_at_us, known_at_us). A row that
        cannot be stored takes the whole call with it. Returns how many rows were stored.

        Raises:
            StoreError: the store is read-only or cannot be reached in time, a row does not fit, or the view's key
                changed.
        """
        if self._read_only:
            raise StoreError(f"{self.name} was opened readonly; open it for writing")
        for name in (*view.keys, *view.features):
            self._meta(name)
        columns, meta, width = RowColumns(view.feature_dtypes), self._meta(view.name), len(view.keys)
        told: list[str | bytes] = [json.dumps(list(view.keys)), columns.digest, columns.text]
        keys, packed = [], []
        for row in rows:
            keys.append(self._entity(view.name, row[:width]))
            packed.append(columns.pack(row[width], row[width + 1], row[width + 2 :]))
        stored = 0
        with self._told(f"write of {view.name}"):
            for start in range(0, len(keys) or 1, WRITE_ROWS):
                part = slice(start, start + WRITE_ROWS)
                done = self._script([meta, *keys[part]], [*told, *packed[part]])
                if isinstance(done, bytes):
                    raise _other_key(view, done)
                stored += int(done)
        return stored

    def read(self, views: Sequence[ViewColumns], key: Key) -> dict[str, OnlineRow | None]:
        """Each view's stored row of one entity; None where the entity (or the view itself) was never pushed.

        Raises:
            StoreError: a view was pushed without a feature asked for, or the server does not answer in time.
            CorruptionError: what is stored is no row.
        """
        return self.read_many(views, (key,))[0]

    def read_many(self, views: Sequence[ViewColumns], keys: Sequence[Key]) -> list[dict[str, OnlineRow | None]]:
        """`read` of many entities, `READ_KEYS` at once.

        Raises:
            StoreError, CorruptionError: as `read`.
        """
        made: list[dict[str, OnlineRow | None]] = []
        for start in range(0, len(keys), READ_KEYS):
            made += self._read_part(views, keys[start : start + READ_KEYS])
        return made

    def newest(self, view: str) -> Newest:
        """Newest event and knowledge time stored for a view."""
        with self._told(f"read of {view}"):
            event, known = self._client.hmget(self._meta(view), ["event_at", "known_at"])
        if event is None or known is None:
            return Newest(None, None)
        return Newest(int.from_bytes(event, "big") - BIAS, int.from_bytes(known, "big") - BIAS)

    def count(self, view: str) -> int:
        """Entities stored for a view; 0 when it was never pushed."""
        with self._told(f"read of {view}"):
            return int(self._client.hget(self._meta(view), "count") or 0)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def _read_part(self, views: Sequence[ViewColumns], keys: Sequence[Key]) -> list[dict[str, OnlineRow | None]]:
        with self._told("read"):
            found = self._client.mget([self._entity(view.name, key) for key in keys for view in views])
            if len(found) != len(views) * len(keys) or not all(row is None or isinstance(row, bytes) for row in found):
                raise TypeError("an answer of another shape")
            rows = iter(found)
            return [
                {view.name: None if (row := next(rows)) is None else self._row(view, row) for view in views}
                for _ in keys
            ]

    def _meta(self, view: str) -> str:
        if not view.isidentifier() or not view.isascii():
            raise StoreError(f"got the name {view!r}; letters, digits and _ are allowed; rename it")
        return self._prefix + view

    def _entity(self, view: str, key: Key) -> str:
        if not all(isinstance(part, int | str) for part in key):
            raise StoreError(f"view {view}: got the key {list(key)!r}; integers and texts are allowed; mend the row")
        return f"{self._meta(view)}:{json.dumps(list(key), separators=(',', ':'), ensure_ascii=False)}"

    def _row(self, view: ViewColumns, row: bytes) -> OnlineRow:
        event_at_us, known_at_us, digest = unpack_head(row)
        plan = self._plans.get((view.name, view.keys, view.features, digest)) or self._plan(view, digest)
        values = self._columns[digest].unpack(row)
        return OnlineRow(tuple(None if i is None else values[i] for i in plan), event_at_us, known_at_us)

    def _plan(self, view: ViewColumns, digest: bytes) -> tuple[int | None, ...]:
        """Where each feature asked for stands in a row; None for one that only newer rows hold."""
        meta = self._client.hgetall(self._meta(view.name))
        text = meta.get(_COLUMNS + digest)
        if text is None:
            raise CorruptionError(f"view {view.name} holds a row of unknown columns; push the view again")
        columns = self._columns[digest] = RowColumns.parse(text)
        newest = RowColumns.parse(meta.get(_COLUMNS + meta.get(b"newest", b""), text)).names
        absent = [key for key in view.keys if key not in json.loads(meta.get(b"keys", b"[]"))]
        absent += [feature for feature in view.features if feature not in {*columns.names, *newest}]
        if absent:
            raise StoreError(f"view {view.name} is stored without {', '.join(absent)}; push the view again")
        plan = tuple(columns.names.index(f) if f in columns.names else None for f in view.features)
        self._plans[view.name, view.keys, view.features, digest] = plan
        return plan

    def _forsake(self) -> None:
        """Let go of connections: what is left of an answer that was not understood must answer no later question."""
        self._client.connection_pool.disconnect(inuse_connections=False)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Redis's errors as ours, with what to do next."""
        try:
            yield
        except CorruptionError:
            self._forsake()
            raise
        except (redis.RedisError, OSError, ValueError, TypeError, AttributeError, IndexError) as error:
            self._forsake()
            raise StoreError(
                f"online store {self.name}: {what} failed: {type(error).__name__}: {error}; "
                "check the server; what it lost comes back when the view is pushed again"
            ) from error


def _other_key(view: OnlineView, stored: bytes) -> StoreError:
    return StoreError(
        f"view {view.name} is stored by key {', '.join(json.loads(stored))}, not {', '.join(view.keys)}; "
        "give the view another name, or remove it from Redis and push again"
    )
