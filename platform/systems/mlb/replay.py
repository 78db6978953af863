"""Replays recorded moneylines in the order they were entered, as fast as one likes, into a live stream.

Belongs here: reading recorded lines, pacing, posting them to `/stream` or to a Kafka topic.
Does not belong here: what happens to them (the stream worker), features, the simulator.

    python platform/systems/mlb/replay.py lines_2016.parquet --url http://127.0.0.1:3000 --speed 3600
    python platform/systems/mlb/replay.py lines_2016.parquet --kafka 127.0.0.1:9092 --topic lines --speed 0

A speed of 3600 plays an hour in a second; 0 does not wait at all. Lines posted twice are taken once.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

COLUMNS = ("game_id", "seq", "entered_ts", "ml_home", "ml_away", "total")
SOURCE = "live_lines"
AT_ONCE = 500

Event = dict[str, Any]


def events(path: Path) -> Iterator[Event]:
    """Lines of a recording in the order in which they were entered, as the stream takes them; NaN is null."""
    rows = pq.read_table(path, columns=list(COLUMNS)).sort_by([("entered_ts", "ascending"), ("seq", "ascending")])
    for row in rows.to_pylist():
        total = row["total"]
        known = total is not None and math.isfinite(total)
        yield {**row, "entered_ts": row["entered_ts"].isoformat(), "total": total if known else None}


def replay(
    lines: Iterator[Event],
    send: Callable[[list[Event]], None],
    *,
    speed: float,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Send every line when it is due, up to five hundred at once; how many were sent.

    Args:
        lines: in order of `entered_ts`.
        send: takes a batch.
        speed: recorded seconds for each second; 0 waits for nothing.
        clock: seconds of any origin.
        wait: sleeps so many seconds.
    """
    began, first, due, sent = clock(), None, [], 0
    for line in lines:
        at = _seconds(line)
        first = at if first is None else first
        ahead = (at - first) / speed - (clock() - began) if speed else 0.0
        if due and (ahead > 0 or len(due) == AT_ONCE):
            send(due)
            sent, due = sent + len(due), []
        if ahead > 0:
            wait(ahead)
        due.append(line)
    if due:
        send(due)
    return sent + len(due)


def pusher(url: str) -> Callable[[list[Event]], None]:
    """Posts batches to the service's `/stream`; each line's id is its game and number."""

    def send(batch: list[Event]) -> None:
        told = [{"event_id": f"{line['game_id']}-{line['seq']}", "event": line} for line in batch]
        body = json.dumps({"source": SOURCE, "events": told}).encode()
        request = urllib.request.Request(f"{url}/stream", body, {"content-type": "application/json"})  # noqa: S310
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310  the address is the caller's own

    return send


def producer(brokers: str, topic: str) -> Callable[[list[Event]], None]:
    """Writes batches to a Kafka topic, the lines of a game in one partition."""
    from confluent_kafka import Producer

    kafka = Producer({"bootstrap.servers": brokers})

    def send(batch: list[Event]) -> None:
        for line in batch:
            kafka.produce(topic, json.dumps(line).encode(), key=line["game_id"])
        kafka.flush()

    return send


def _seconds(line: Event) -> float:
    return datetime.fromisoformat(line["entered_ts"]).timestamp()


def main() -> None:
    """Read the arguments and replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    parser.add_argument("--kafka", default="", help="brokers as host:port; instead of --url")
    parser.add_argument("--topic", default="lines")
    parser.add_argument("--speed", type=float, default=3600.0)
    given = parser.parse_args()
    send = producer(given.kafka, given.topic) if given.kafka else pusher(given.url)
    sent = replay(events(given.recording), send, speed=given.speed)
    sys.stdout.write(f"{sent:,} lines sent\n")


if __name__ == "__main__":
    main()
