"""One HTTP connection under uvicorn: patient at the end of its worker, and every refusal in the one documented shape.

Belongs here: what differs from uvicorn's own protocol.
Does not belong here: requests (`application.py`), workers (`runner.py`).
https://uvicorn.dev/settings/#implementation (`--http` takes a protocol class)
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from forecastle.serve.refusal import Refusal

GRACE_SECONDS: Final = 1.0
HEAD_LIMIT_BYTES: Final = 64 << 10


class PatientProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, except that a connection without a request yet is not closed at once.

    A worker that is replaced has taken connections from the shared socket whose first request is still travelling;
    closing them would fail requests that the new worker cannot see. What is no HTTP is refused in JSON, and a head
    that does not end is not read for ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Everything is uvicorn's."""
        super().__init__(*args, **kwargs)
        self._is_in_head = False
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Read on; a head that is longer than `HEAD_LIMIT_BYTES` and one piece of the network is refused."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
                self._refuse(Refusal("head_too_large", f"the request's head is larger than {HEAD_LIMIT_BYTES} bytes"))

    def on_message_begin(self) -> None:
        """A request begins with its head."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is over."""
        self._is_in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser does not take."""
        self._refuse(Refusal("not_http", f"this is no HTTP request: {msg}"))

    def shutdown(self) -> None:
        """End after the answer that is being given, or after `GRACE_SECONDS` where none was asked for yet."""
        if getattr(self, "cycle", None) is None:
            self.loop.call_later(GRACE_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without asking the application, and close: what follows on this connection cannot be read."""
        body = refusal.body()
        phrase = {400: "Bad Request", 431: "Request Header Fields Too Large"}[refusal.status]
        head = (
            f"HTTP/1.1 {refusal.status} {phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
