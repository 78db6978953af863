"""librdkafka's mock cluster: brokers in this process that speak the protocol over real TCP on loopback.

https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer


class MockCluster:
    """Brokers that live as long as this producer, which also fills their topics."""

    def __init__(self, *, brokers: int = 1) -> None:
        self.producer = Producer({
            "bootstrap.servers": "mock",
            "test.mock.num.brokers": brokers,
            "enable.idempotence": True,
            "linger.ms": 0,
            "log_level": 0,
        })  # fmt: skip

    @property
    def bootstrap(self) -> str:
        """Addresses as another client needs them."""
        found = self.producer.list_topics(timeout=10).brokers.values()
        return ",".join(f"{broker.host}:{broker.port}" for broker in found)

    def send(self, topic: str, bodies: list[bytes], *, partition: int | None = None) -> None:
        """Send and wait until all are acknowledged."""
        failed: list[object] = []
        for number, body in enumerate(bodies):
            self.producer.produce(
                topic,
                body,
                partition=number % 3 if partition is None else partition,
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )
            self.producer.poll(0)
        assert self.producer.flush(20) == 0
        assert failed == []


@contextmanager
def mock_cluster() -> Iterator[MockCluster]:
    cluster = MockCluster()
    yield cluster
    cluster.producer.flush(1)
