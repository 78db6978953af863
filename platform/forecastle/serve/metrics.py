"""Prometheus metrics of one service, bound once so that a request pays for numbers only.

Belongs here: names, labels, buckets and the text page; all names start with `forecastle_`.
Does not belong here: deciding what counts as degraded. Workers share PROMETHEUS_MULTIPROC_DIR.
Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
import os
import threading
from bisect import bisect_left
from collections import Counter as Counted
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from forecastle.serve.plan import Served
from forecastle.serve.resolve import MICROSECONDS
from forecastle.store.prediction_batch import PredictionBatch

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
GATHERED_LIMIT: Final = 128
_LATENCY_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_AGE_SECONDS: Final = (1, 10, 60, 300, 900, 3_600, 21_600, 86_400, 259_200, 604_800, 2_592_000)

_Item = TypeVar("_Item")


class _Histogram(Histogram):  # type: ignore[misc]  # the client's types are incomplete
    """A histogram that takes many observations at the price of a few."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """`observe` each."""
        self._sum.inc(math.fsum(amounts))
        for bucket, count in Counted(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)


class _Answers:
    """What every answer counts: gathered as plain values and handed to the client many at a time.

    Each number of the client takes a lock, and with several workers a place in a mapped file; gathering takes neither.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered: deque[tuple[str, int]] = deque()
        self._made: deque[tuple[Served, float, float | None]] = deque()
        self._settling = threading.Lock()
        known = {"registry": registry}
        self._requests = Counter(
            "forecastle_requests_total", "Answers by route and status.", ["route", "status"], **known
        )
        self._latency = _Histogram(
            "forecastle_predict_seconds", "Time from body to receipt, log included.", buckets=_LATENCY_SECONDS, **known
        )
        self._status = Counter("forecastle_features_total", "Features by where they came from.", ["status"], **known)
        self._degraded = Counter("forecastle_degraded_total", "Features served by fallback.", ["feature"], **known)
        self._age = _Histogram(
            "forecastle_feature_age_seconds", "Age of the oldest stored feature used.", buckets=_AGE_SECONDS, **known
        )

    def answered(self, route: str, status: int) -> None:
        self._answered.append((route, status))
        if len(self._answered) >= GATHERED_LIMIT:
            self.settle()

    def predicted(self, served: Served, *, now_us: int, seconds: float) -> None:
        age_seconds = None if served.oldest_us is None else (now_us - served.oldest_us) / MICROSECONDS
        self._made.append((served, seconds, age_seconds))
        if len(self._made) >= GATHERED_LIMIT:
            self.settle()

    def predicted_batch(self, batch: PredictionBatch, *, seconds: Sequence[float]) -> None:
        oldest_us = [min(event_at_us for event_at_us, _ in row) for row in zip(*batch.times, strict=True)]
        origins = ("PRESENT" if isinstance(one, int) else one for one in batch.layout.origins)
        with self._settling:
            self._latency.observe_all(seconds)
            self._age.observe_all([(batch.predicted_at_us - event_at_us) / MICROSECONDS for event_at_us in oldest_us])
            for origin, count in Counted(origins).items():
                self._status.labels(origin).inc(count * len(batch))

    def settle(self) -> None:
        """Hand over what was gathered; any thread may ask, while others gather."""
        with self._settling:
            for (route, status), count in Counted(_taken(self._answered)).items():
                self._requests.labels(route, status).inc(count)
            made = _taken(self._made)
            self._latency.observe_all([seconds for _, seconds, _ in made])
            self._age.observe_all([age_seconds for _, _, age_seconds in made if age_seconds is not None])
            statuses: Counted[str] = Counted()
            for served, _, _ in made:
                for origin, count in served.counts.items():
                    statuses[origin] += count
            for origin, count in (+statuses).items():
                self._status.labels(origin).inc(count)
            for feature, count in Counted(item.feature for served, _, _ in made for item in served.degraded).items():
                self._degraded.labels(feature).inc(count)


class Metrics:
    """Counters and gauges of one process."""

    def __init__(self, *, shared_folder: str | None = None) -> None:
        """`shared_folder` is PROMETHEUS_MULTIPROC_DIR where several workers serve; None for one process."""
        self._shared_folder = shared_folder
        self._bundle: tuple[str, str] | None = None
        self._registry = CollectorRegistry()
        known = {"registry": self._registry}
        self._answers = _Answers(self._registry)
        self._swaps = Counter("forecastle_swaps_total", "Champion changes by outcome.", ["outcome"], **known)
        self._champion = Gauge(
            "forecastle_champion_info", "1 for the bundle in use, 0 for former ones.", ["bundle", "model_version"],
            multiprocess_mode="livemax", **known,
        )  # fmt: skip
        self._pending = Gauge(
            "forecastle_log_pending", "Predictions waiting for the disk.", multiprocess_mode="livesum", **known
        )
        self._online_age = Gauge(
            "forecastle_online_newest_age_seconds",
            "Age of the newest row of each view in the online store, by event time.",
            ["view"], multiprocess_mode="livemin", **known,
        )  # fmt: skip
        self._failures = Counter(
            "forecastle_challenger_failures_total", "Answers by the champion because the challenger failed.",
            ["error"], **known,
        )  # fmt: skip
        self._shadows = Counter(
            "forecastle_shadows_dropped_total", "Shadow predictions dropped because too many waited.", **known
        )

    def answered(self, route: str, status: int) -> None:
        """One answer has left."""
        self._answers.answered(route, status)

    def predicted(self, served: Served, *, now_us: int, seconds: float) -> None:
        """One prediction was made from these features in this time."""
        self._answers.predicted(served, now_us=now_us, seconds=seconds)

    def predicted_batch(self, batch: PredictionBatch, *, seconds: Sequence[float]) -> None:
        """The predictions of a batch were made, in this time each."""
        self._answers.predicted_batch(batch, seconds=seconds)

    def settle(self) -> None:
        """Show what was counted to the other workers, which cannot see what waits here."""
        self._answers.settle()

    def swapped(self, outcome: str) -> None:
        """The champion changed (`swapped`) or kept its place because its successor failed (`refused`)."""
        self._swaps.labels(outcome).inc()

    def champion(self, *, bundle: str, model_version: str) -> None:
        """This bundle answers from now on."""
        if self._bundle is not None:  # workers that share a folder cannot take labels back
            self._champion.labels(*self._bundle).set(0)
        self._bundle = (bundle, model_version)
        self._champion.labels(*self._bundle).set(1)

    def online_ages(self, seconds: Mapping[str, float]) -> None:
        """How old the newest online row of each view is; a view that cannot be read keeps what it said last."""
        for view, age in seconds.items():
            self._online_age.labels(view).set(age)

    def challenger_failed(self, error: str) -> None:
        """The challenger could not answer an entity of its own; the champion did."""
        self._failures.labels(error).inc()

    def shadow_dropped(self) -> None:
        """One shadow prediction was not made: too many waited."""
        self._shadows.inc()

    def page(self, *, pending: int) -> bytes:
        """The exposition text, of all workers where they share a folder."""
        self._answers.settle()
        self._pending.set(pending)
        if self._shared_folder is None:
            shared = self._registry
        else:
            shared = CollectorRegistry()
            MultiProcessCollector(shared, path=self._shared_folder)
        page: bytes = generate_latest(shared)
        return page


def _taken(waiting: deque[_Item]) -> list[_Item]:
    """What waits, no longer there."""
    return [waiting.popleft() for _ in range(len(waiting))]


def shared_folder() -> str | None:
    """The folder that the process manager gave its workers for metrics, if any."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return folder if folder and os.path.isdir(folder) else None  # noqa: PTH112  compared as text by the client
