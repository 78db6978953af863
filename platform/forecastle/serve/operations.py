"""What a caller may POST: each operation with its limits, and the files and threads they share.

Belongs here: wiring the operations of one service, opening and closing what they stand on.
Does not belong here: what an operation does (its own module), HTTP (`application.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from forecastle.serve.batch import BatchPredictor
from forecastle.serve.explain import Explainer
from forecastle.serve.feedback import Feedback
from forecastle.serve.online_reader import OnlineReader
from forecastle.serve.predict import Predictor
from forecastle.serve.push_events import EventPush
from forecastle.serve.push_stream import StreamPush
from forecastle.serve.settings import Settings
from forecastle.serve.together import Together
from forecastle.store.events import EventQueue
from forecastle.store.online import OnlineStore
from forecastle.store.online_stores import open_online
from forecastle.store.outcome_log import OutcomeLog

SMALL_BODY_BYTES: Final = 8_192


@dataclass(slots=True)
class Operation:
    """One POST route: body in, body out, and how much of it at once.

    A body that is not small, or does not say its size, counts as `large_weight` of `in_flight_limit`.
    """

    answer: Callable[[bytes], Awaitable[bytes]]
    body_limit_bytes: int
    in_flight_limit: int
    deadline_seconds: float
    large_weight: int = 1
    in_flight: int = field(default=0)

    def weight(self, content_length: bytes) -> int:
        """What a request counts while it is answered; `content_length` is what its head announces, if anything."""
        if self.large_weight == 1 or (content_length.isdigit() and int(content_length[:20]) <= SMALL_BODY_BYTES):
            return 1
        return self.large_weight


class Operations:
    """The operations of one service, from `start` to `close`.

    Whatever takes long or commits by itself works in one of two threads, so that single predictions go on: batches
    in one, everything else in the other, each with a reader of its own (a reader is for one thread).
    """

    def __init__(self, settings: Settings, predictor: Predictor) -> None:
        """Open the event queue and the outcome log.

        Raises:
            StoreError: one of the files cannot be opened.
        """
        home, system = settings.home, settings.system
        online = home.online(system)
        first, second = (OnlineReader(online, url=settings.online_url, system=system) for _ in range(2))
        self._readers = (first, second)
        self._batches = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._side = ThreadPoolExecutor(1, thread_name_prefix="side")
        limit = settings.queue_limit_bytes
        self._queue = EventQueue(home.events(system), disk_limit_bytes=limit)
        self._outcomes = OutcomeLog(home.outcome_log(system), disk_limit_bytes=limit)
        apart, aside = (replace(predictor, reader=reader) for reader in self._readers)
        self.push = EventPush(
            predictor.champion, self._queue, lambda: _online(settings), settings.clock, self._side, settings.rows_limit
        )
        self._raw = StreamPush(home.pushed(system), settings.clock, self._side, settings.rows_limit, limit)
        batch = BatchPredictor(predictor, apart, self._batches, settings.rows_limit)
        feedback = Feedback(
            system, predictor.champion, predictor.log, self._outcomes, settings.clock, predictor.new_id, self._side
        )
        explainer = Explainer(aside, home, system, self._side)
        small = (settings.body_limit_bytes, settings.in_flight_limit, settings.deadline_seconds)
        weight = max(1, settings.in_flight_limit // settings.rows_in_flight_limit)
        large = (settings.rows_body_limit_bytes, settings.in_flight_limit, settings.rows_deadline_seconds, weight)
        self.by_path: Mapping[str, Operation] = {
            "/predict": Operation(Together(predictor).predict, *small),
            "/predict_batch": Operation(batch.predict, *large),
            "/explain": Operation(explainer.explain, *small),
            "/outcome": Operation(feedback.tell, *small),
            "/events": Operation(self.push.push, *large),
            "/stream": Operation(self._raw.push, *large),
        }
        self._follower: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to bring the online store up to the event queue; needs a running loop."""
        self._follower = asyncio.create_task(self.push.follow())

    @property
    def events_pending(self) -> int:
        """Pushed rows that are on disk and not online yet."""
        return self.push.pending

    async def close(self) -> None:
        """Let the threads end what they began, then close the files."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await asyncio.to_thread(_ended, self._batches, self._side)
        for reader in self._readers:
            reader.close()
        self._queue.close()
        self._raw.close()
        self._outcomes.close()


def _online(settings: Settings) -> OnlineStore:
    """The online store, to be written to.

    Where feature views are materialised the store is theirs to make: a file that is away comes back with all its rows,
    and a new one in its place would say of every entity that nobody knows it.
    """
    home, system = settings.home, settings.system
    is_theirs = (home.warehouse / system).is_dir()
    return open_online(settings.online_url, path=home.online(system), system=system, must_exist=is_theirs)


def _ended(*executors: Executor) -> None:
    for executor in executors:
        executor.shutdown(wait=True, cancel_futures=True)
