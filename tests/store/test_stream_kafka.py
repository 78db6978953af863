"""A Kafka topic as a stream: over the real protocol, from stored offsets on, each event once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forecastle.contract.errors import StoreError
from forecastle.contract.source import Kafka
from forecastle.store.stream_kafka import KafkaInput
from forecastle.store.streams import open_inputs
from tests.store.kafka import MockCluster, mock_cluster
from tests.store.stream_world import StreamWorld
from tests.store.tcp_proxy import TcpProxy
from tests.store.trades import Trade

KAFKA = Kafka.model_validate({"bootstrap": {"env": "BROKERS"}, "topic": "trades"})
ORIGIN = "\n    kafka: {bootstrap: {env: BROKERS}, topic: trades}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    with mock_cluster() as made:
        yield made


@pytest.fixture
def topic(cluster: MockCluster, request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("[", "_").strip("]")


@pytest.fixture
def opened(cluster: MockCluster, topic: str) -> Iterator[Callable[[], KafkaInput]]:
    """Each call gives an input on this test's topic."""
    inputs: list[KafkaInput] = []

    def make() -> KafkaInput:
        kafka = KAFKA.model_copy(update={"topic": topic})
        inputs.append(KafkaInput(kafka, system="toy", environment={"BROKERS": cluster.bootstrap}))
        return inputs[-1]

    yield make
    for each in inputs:
        each.close()


def take(each: KafkaInput, following: dict[int, int], count: int) -> list[tuple[int, int, bytes]]:
    """Take until so many have come."""
    taken: list[tuple[int, int, bytes]] = []
    for _ in range(100):
        more = each.take(following, limit=10, timeout_seconds=0.2)
        taken += more
        following = {**following, **{p: offset + 1 for p, offset, _ in more}}
        if len(taken) >= count:
            break
    return taken


def test_every_partition_is_taken_in_order(cluster: MockCluster, topic: str, opened: Callable[[], KafkaInput]) -> None:
    """Thirty messages over three partitions: each once, each partition's offsets without a gap."""
    cluster.send(topic, [b"%d" % n for n in range(30)])
    taken = take(opened(), {}, 30)
    assert sorted(int(body) for _, _, body in taken) == list(range(30))
    for partition in range(3):
        assert [offset for p, offset, _ in taken if p == partition] == list(range(10))


def test_taking_goes_on_from_the_offsets_given(
    cluster: MockCluster, topic: str, opened: Callable[[], KafkaInput]
) -> None:
    """Another consumer starts where the log says; one whose messages were not stored is given them again."""
    cluster.send(topic, [b"%d" % n for n in range(12)])
    assert sorted(body for _, _, body in take(opened(), {0: 3, 1: 4, 2: 2}, 3)) == [b"11", b"8", b"9"]
    again = opened()
    first = take(again, {}, 12)
    assert len(first) == 12
    assert sorted(take(again, {0: 2}, 10))[:2] == [(0, 2, b"6"), (0, 3, b"9")]


def test_waiting_counts_what_was_not_taken(cluster: MockCluster, topic: str, opened: Callable[[], KafkaInput]) -> None:
    """The lag is what the brokers hold beyond the stored offsets."""
    each = opened()
    cluster.send(topic, [b"x"] * 9)
    take(each, {}, 9)
    told = [each.waiting(following).messages for following in ({}, {0: 3, 1: 3, 2: 1}, {0: 3, 1: 3, 2: 3})]
    assert told == [9, 2, 0]


def test_a_lost_offset_is_told(cluster: MockCluster, topic: str, opened: Callable[[], KafkaInput]) -> None:
    """Going on from an offset that the topic does not hold would lose events silently: it is refused."""
    cluster.send(topic, [b"x"] * 3)
    each = opened()
    with pytest.raises(StoreError, match="the offset to go on from is gone"):
        take(each, {0: 500}, 100)


def test_brokers_that_are_away_are_waited_for() -> None:
    """No broker answers: nothing is taken, in bounded time, and nothing is raised."""
    from tests.store.redis_server import free_port

    away = KafkaInput(KAFKA, system="toy", environment={"BROKERS": f"127.0.0.1:{free_port()}"}, answer_seconds=0.2)
    assert away.take({}, limit=10, timeout_seconds=0.1) == []
    away.close()


def test_variables_and_settings_are_checked() -> None:
    """An address that is not set and a setting that does not exist are told before anything is connected."""
    with pytest.raises(StoreError, match="BROKERS is not set"):
        KafkaInput(KAFKA, system="toy", environment={})
    wrong = KAFKA.model_copy(update={"settings": {"security.protocl": "ssl"}})
    with pytest.raises(StoreError, match="mend the declaration"):
        KafkaInput(wrong, system="toy", environment={"BROKERS": "127.0.0.1:1"})


CHILD = """
import sys
from pathlib import Path
from forecastle.store.crash import crash_hook
from forecastle.store.streams import open_inputs
from tests.store.stream_world import StreamWorld
world = StreamWorld(Path(sys.argv[1]))
inputs = open_inputs(world.system, queue=world.queue, environment={"BROKERS": sys.argv[2]})
with world.worker(inputs=inputs, batch_events=20, crash_at=crash_hook(sys.argv[3])) as worker:
    while world.log.counts("trades").rows < int(sys.argv[4]):
        worker.step()
print("done")
"""


def test_kills_lose_and_double_nothing_of_a_topic(cluster: MockCluster, tmp_path: Path) -> None:
    """Killed before and after commits, with poison among the events: each stored once, each poison a dead letter."""
    world = StreamWorld(tmp_path, origin=ORIGIN + "\n    quarantine_limit: 1")
    trades = [Trade(n, n % 5, n, 0.25) for n in range(120)]
    cluster.send(
        "trades", [body for t in trades for body in ([t.body(), b"poison"] if t.trade_id % 20 == 0 else [t.body()])]
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    for armed in ("stream.before_commit::2", "stream.after_commit::2", "stream.after_compute::1"):
        command = [sys.executable, "-c", CHILD, str(tmp_path), cluster.bootstrap, armed, "1000"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    inputs = open_inputs(world.system, queue=world.queue, environment={"BROKERS": cluster.bootstrap})
    with world.worker(inputs=inputs) as worker:
        while (
            world.log.counts("trades").rows < 120
            or world.log.counts("trades").dead_letters < 6
            or worker.lag()[0].waiting
            or worker.lag()[0].unapplied
        ):
            worker.step()
    stored = [(r.partition, r.offset) for batch in world.log.rows("trades", after=0) for r in batch]
    assert (len(stored), len(set(stored))) == (120, 120)
    assert {letter.rule for letter in world.log.dead_letters("trades")} == {"json"}
    assert world.compact().rows == 120
    assert world.served() == world.batch_online()
    world.close()


def test_a_broker_that_restarts_with_its_data_is_gone_on_with(cluster: MockCluster, tmp_path: Path) -> None:
    """Cut in the middle of an answer, then away, then back with what it held: each event once, nothing raised."""
    name = "restarted"
    origin = ORIGIN.replace("topic: trades", f"topic: {name}")
    world = StreamWorld(tmp_path, origin=origin)
    proxy = TcpProxy(int(cluster.bootstrap.rpartition(":")[2]), announces=True)
    cluster.send(name, [Trade(n, n % 5, n, 0.25).body() for n in range(40)])
    inputs = open_inputs(world.system, queue=world.queue, environment={"BROKERS": f"127.0.0.1:{proxy.port}"})
    with world.worker(inputs=inputs, batch_events=10) as worker:
        while world.log.counts("trades").rows < 10:
            worker.step()
        held = world.log.counts("trades").rows
        assert held < 40
        proxy.arm(cut_at=100)
        cluster.send(name, [Trade(n, n % 5, n, 0.25).body() for n in range(40, 80)])
        while not proxy.fired.is_set():
            worker.step()
        proxy.down()
        assert [worker.step().online for _ in range(3)] == [True] * 3
        proxy.up()
        while world.log.counts("trades").rows < 80 or worker.lag()[0].unapplied:
            worker.step()
    proxy.close()
    stored = [(r.partition, r.offset) for batch in world.log.rows("trades", after=0) for r in batch]
    assert (len(stored), len(set(stored))) == (80, 80)
    assert world.compact().rows == 80
    assert world.served() == world.batch_online()
    world.close()
