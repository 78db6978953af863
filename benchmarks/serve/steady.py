"""Requests at a steady rate whatever the answers take, and how late each answer came (V2).

    python -m benchmarks.serve.steady PORT RATE SECONDS CONNECTIONS BODY_FILE

Belongs here: the schedule, the connections, the latencies; it runs as a process of its own.
Does not belong here: servers, tables. A latency counts from when the request was due, so that a stalled server is
not asked less: https://www.azul.com/files/HowNotToMeasureLatency_LLSummit_NYC_12Nov2013.pdf
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path


class _Connection(asyncio.Protocol):
    """One keep-alive connection: one request at a time, its answer read by its content length."""

    def __init__(self, load: Load) -> None:
        self._load, self._buffer, self._due = load, b"", 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._load.free(self)

    def ask(self, due: float) -> None:
        self._due = due
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            return
        self._buffer = b""
        self._load.answered(self._due, ok=head.startswith(b"HTTP/1.1 200"))
        self._load.free(self)


class Load:
    """Asks `rate` times a second for `seconds`; a request that finds no free connection waits for one."""

    def __init__(self, request: bytes, *, rate: float, seconds: float) -> None:
        self.request = request
        self._rate, self._total = rate, int(rate * seconds)
        self._idle: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self.late_seconds: list[float] = []
        self.failed = 0
        self._over = asyncio.Event()

    def free(self, connection: _Connection) -> None:
        """Give a connection its next request, if one is due."""
        if self._due:
            connection.ask(self._due.popleft())
        else:
            self._idle.append(connection)

    def answered(self, due: float, *, ok: bool) -> None:
        """Count one answer."""
        self.late_seconds.append(time.perf_counter() - due)
        self.failed += not ok
        if len(self.late_seconds) == self._total:
            self._over.set()

    async def run(self) -> None:
        """Ask on schedule, then wait up to ten seconds for the last answers."""
        start = time.perf_counter()
        for number in range(self._total):
            due = start + number / self._rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            if self._idle:
                self._idle.popleft().ask(due)
            else:
                self._due.append(due)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), timeout=10.0)


async def _main(port: int, rate: float, seconds: float, connections: int, body: bytes) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    load = Load(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body, rate=rate, seconds=seconds)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(load), "127.0.0.1", port)
    await load.run()
    late = sorted(load.late_seconds)
    told = {"asked": int(rate * seconds), "answered": len(late), "failed": load.failed}
    told |= {f"p{q}_ms": late[min(len(late) - 1, len(late) * q // 100)] * 1e3 for q in (50, 99)} if late else {}
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]),
                      Path(sys.argv[5]).read_bytes()))  # fmt: skip
