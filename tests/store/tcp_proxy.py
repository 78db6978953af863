"""A small TCP proxy on loopback: between a client and a real server it can be late, cut, garble, and go away.

Belongs here: the proxy. Does not belong here: what a store must do then (the tests).
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class TcpProxy:
    """Hands bytes on both ways. Damage is armed, happens once, and is then over; `fired` says that it happened."""

    def __init__(self, port: int, *, late_seconds: float = 0.0, announces: bool = False) -> None:
        """Listen in front of a server's port.

        Args:
            port: the server's, on loopback.
            late_seconds: each answer is late by so much.
            announces: answers name the server's address (as Kafka's do): name the proxy's instead.
        """
        self.to, self.late_seconds, self._announces = port, late_seconds, announces
        self.stopped, self.fired = threading.Event(), threading.Event()
        self._cut_at: int | None = None
        self._flip: tuple[int, int] | None = None
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._listen()

    def arm(self, *, cut_at: int | None = None, flip: tuple[int, int] | None = None) -> None:
        """From now on: after so many bytes of answers end the connection, or change one byte (at, by xor) of them."""
        self.fired.clear()
        self._cut_at, self._flip = cut_at, flip

    def down(self) -> None:
        """Refuse and end every connection, as a server does that is stopped."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def up(self) -> None:
        """Listen again, at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listen()

    def close(self) -> None:
        """End everything."""
        self.stopped.set()
        self.down()

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while not self.stopped.is_set():
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self._open |= {client, server}
            threading.Thread(target=self._hand_on, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._hand_on, args=(server, client, True), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket, answers: bool) -> None:  # noqa: FBT001
        with suppress(OSError):
            while data := source.recv(65_536):
                if answers:
                    self.stopped.wait(self.late_seconds)
                    data = self._damaged(data)
                target.sendall(data)
                if answers and self._cut_at is not None and self._cut_at <= 0:
                    self._cut_at = None
                    self.fired.set()
                    break
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()  # each of the two threads closes its own
        self._open.discard(source)

    def _damaged(self, data: bytes) -> bytes:
        if self._announces:
            host = b"127.0.0.1"
            data = data.replace(host + self.to.to_bytes(4, "big"), host + self.port.to_bytes(4, "big"))
        if self._cut_at is not None:
            data, self._cut_at = data[: self._cut_at], self._cut_at - len(data)
        if self._flip is not None:
            at, by = self._flip
            self._flip = (at - len(data), by)
            if at < len(data):
                data = data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]
                self._flip = None
                self.fired.set()
        return data
