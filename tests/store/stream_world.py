"""A home folder with the trades system in it: what the stream worker needs, and what batch would make of the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from forecastle.contract.load import LoadedSystem, load_system
from forecastle.store.delta_log import TableVersion
from forecastle.store.events import EventQueue
from forecastle.store.feature_views import publish_view
from forecastle.store.home import Home
from forecastle.store.online import OnlineRow, OnlineStore, OnlineView
from forecastle.store.online_sqlite import SQLiteOnlineStore
from forecastle.store.push import online_view, push_view
from forecastle.store.sources import ingest
from forecastle.store.stream_events import to_us
from forecastle.store.stream_inputs import PushInput, StreamInput, push_events
from forecastle.store.stream_log import StreamLog
from forecastle.store.stream_source import ingest_stream
from forecastle.store.streams import StreamWorker, lock_path
from forecastle.store.warehouse import Warehouse
from tests.store.trades import NOW, Trade, write_prices, write_trades

MARKETS = range(5)


@dataclass
class StreamWorld:
    """One home folder, opened again where it is there already; `now` is what every clock says."""

    root: Path
    origin: str = ""
    now: datetime = NOW
    system: LoadedSystem = field(init=False)
    warehouse: Warehouse = field(init=False)
    online: OnlineStore = field(init=False)
    _opened: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        folder = self.root / "systems" / "trades"
        is_new = not folder.exists()
        self.system = write_trades(folder, origin=self.origin) if is_new else load_system(folder)
        self.warehouse = Warehouse(self.home.warehouse, clock=lambda: self.now, memory_limit="500MB", threads=1)
        if is_new:
            write_prices(self.root / "data", markets=len(MARKETS))
            prices = self.system.declaration.sources["prices"]
            ingest(self.warehouse, "trades", "prices", prices, data=self.root / "data")
        self.queue = EventQueue(self.home.pushed("trades"))
        self.log = StreamLog(self.home.streams("trades"))
        self.online = SQLiteOnlineStore(self.home.online("trades"))
        for opened in (self.queue, self.log, self.online):
            self._opened.callback(opened.close)

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def view(self) -> OnlineView:
        declared = self.system.declaration
        return online_view("activity", declared.feature_views["activity"], declared.entity["market"])

    def close(self) -> None:
        self._opened.close()

    def push(self, bodies: Sequence[bytes], *, prefix: str = "e") -> None:
        """Queue events, each with a new id."""
        start = len(self.queue.since(0, limit=1_000_000))
        ids = [f"{prefix}{start + number}" for number in range(len(bodies))]
        push_events(self.queue, "trades", bodies, ids=ids, now_us=to_us(self.now))

    def push_trades(self, trades: Iterable[Trade]) -> None:
        self.push([trade.body() for trade in trades])

    def worker(self, *, inputs: Mapping[str, StreamInput] | None = None, **options: Any) -> StreamWorker:
        return StreamWorker(
            self.system,
            warehouse=self.warehouse,
            online=options.pop("online", self.online),
            log=self.log,
            inputs=inputs or {"trades": PushInput(self.queue, "trades")},
            clock=lambda: self.now,
            lock=lock_path(self.home, "trades"),
            **options,
        )

    def drain(self, **options: Any) -> None:
        """Step until nothing waits."""
        with self.worker(**options) as worker:
            while worker.step(timeout_seconds=0).stored or worker.lag()[0].waiting:
                pass

    def compact(self, **options: Any) -> TableVersion:
        source = self.system.declaration.sources["trades"]
        return ingest_stream(self.warehouse, "trades", "trades", source, log=self.log, now=self.now, **options).source

    def batch_rows(self) -> pa.Table:
        """The view's table as the whole history gives it."""
        self.compact()
        return self.warehouse.arrow(publish_view(self.warehouse, self.system, "activity"))

    def batch_online(self) -> dict[int, OnlineRow | None]:
        """What the batch push would have served for every market."""
        self.batch_rows()
        store = SQLiteOnlineStore(self.root / "batch.sqlite")
        push_view(self.warehouse, store, self.system, "activity", now=self.now)
        served = self.served(store)
        store.close()
        for part in self.root.glob("batch.sqlite*"):
            part.unlink()
        return served

    def served(self, store: OnlineStore | None = None) -> dict[int, OnlineRow | None]:
        """What is online for every market."""
        store = store or self.online
        return {market: store.read([self.view], (market,))["activity"] for market in MARKETS}

    def later(self, span: timedelta) -> None:
        self.now += span
