"""A Kafka topic as a stream: all of its partitions, from the offsets that the stream log keeps.

Belongs here: the consumer and its settings, assignment, which errors are waited out and which are told.
Does not belong here: other inputs (`stream_inputs.py`), what messages say (`stream_events.py`).
https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from forecastle.contract.errors import StoreError
from forecastle.contract.source import Kafka, Variable
from forecastle.store.stream_inputs import Taken, Waiting

ANSWER_SECONDS: Final = 10.0
PARTITIONS_SECONDS: Final = 60.0
"""How often a topic is asked for new partitions."""

_LOST: Final = frozenset({KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET})  # noqa: SLF001  its name
_FATAL: Final = frozenset({
    KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._AUTHENTICATION,  # noqa: SLF001
})  # fmt: skip


class KafkaInput:
    """One topic, all of its partitions; brokers that go away are waited for, by librdkafka, for ever."""

    def __init__(
        self, kafka: Kafka, *, system: str, environment: Mapping[str, str], answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        """Prepare a consumer; nothing is connected before the first `take`.

        Raises:
            StoreError: an environment variable is not set, or a setting is not librdkafka's.
        """
        self._topic, self._answer_seconds = kafka.topic, answer_seconds
        self._positions: dict[int, int] = {}
        self._look_at = 0.0
        settings = {key: _value(value, environment) for key, value in kafka.settings.items()}
        try:
            self._consumer = Consumer({
                # Memory stays bounded whatever the producers do.
                "queued.max.messages.kbytes": 16_384,
                "queued.min.messages": 10_000,
                "fetch.error.backoff.ms": 100,
                "reconnect.backoff.max.ms": 2_000,
                **settings,
                "bootstrap.servers": _value(kafka.bootstrap, environment),
                "group.id": f"forecastle-{system}",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "log_level": 0,
            })  # fmt: skip
        except (KafkaException, ValueError, TypeError) as error:
            raise StoreError(
                f"topic {self._topic}: no consumer with these settings: {error}; mend the declaration"
            ) from error

    def take(self, following: Mapping[int, int], *, limit: int, timeout_seconds: float) -> list[Taken]:
        """Up to `limit` messages; fewer, or none, when no more came in time or no broker answers.

        Raises:
            StoreError: the topic is not there or may not be read, or no longer holds an offset that was to be taken.
        """
        self._go(following)
        taken: list[Taken] = []
        for message in self._consumer.consume(limit, timeout_seconds):
            self._refuse(message)
            if message.error() is None:
                taken.append((int(message.partition() or 0), int(message.offset() or 0), message.value() or b""))
        for partition, offset, _ in taken:
            self._positions[partition] = offset + 1
        return taken

    def waiting(self, following: Mapping[int, int]) -> Waiting:
        """How many messages wait, by the newest watermarks that fetching has brought; since when is not told."""
        waiting = 0
        for partition in self._positions:
            # Asked of memory, not of the broker.
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            waiting += max(0, high - max(low, following.get(partition, 0)))
        return Waiting(waiting)

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def _go(self, following: Mapping[int, int]) -> None:
        """Stand where `following` says, on every partition there is."""
        now = time.monotonic()
        if now >= self._look_at:
            partitions = self._partitions()
            self._look_at = now + (PARTITIONS_SECONDS if partitions else 1.0)
        else:
            partitions = list(self._positions)
        wanted = {p: following.get(p, OFFSET_BEGINNING) for p in partitions}
        if wanted != self._positions:
            self._consumer.assign([TopicPartition(self._topic, p, offset) for p, offset in wanted.items()])
            self._positions = wanted

    def _partitions(self) -> list[int]:
        try:
            found = self._consumer.list_topics(self._topic, timeout=self._answer_seconds).topics[self._topic]
        except KafkaException as error:
            if error.args[0].code() in _FATAL:
                raise self._unreadable(error.args[0]) from error
            return list(self._positions)
        if found.error is not None:
            if found.error.code() in _FATAL:
                raise self._unreadable(found.error)
            return list(self._positions)
        return sorted(found.partitions)

    def _refuse(self, message: KafkaMessage) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() in _LOST:
            self._positions = {}
            raise StoreError(
                f"topic {self._topic}, partition {message.partition()}: the offset to go on from is gone "
                f"({error.str()}); events were removed before they were taken; restore them, or start a new stream log"
            )
        if error.code() in _FATAL:
            raise self._unreadable(error)

    def _unreadable(self, error: Any) -> StoreError:
        return StoreError(
            f"topic {self._topic} cannot be read: {error.str()}; create it, or mend the address and rights"
        )


def _value(value: str | Variable, environment: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return value
    found = environment.get(value.env)
    if not found:
        raise StoreError(f"{value.env} is not set; the stream's declaration takes a value from it; export it")
    return found
