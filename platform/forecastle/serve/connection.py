"""One HTTP connection under uvicorn: at the end of its worker it waits for a request that may be on its way.

Belongs here: what differs from uvicorn's own protocol.
Does not belong here: requests (`application.py`), workers (`runner.py`).
https://uvicorn.dev/settings/#implementation (`--http` takes a protocol class)
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

GRACE_SECONDS: Final = 1.0


class PatientProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, except that a connection without a request yet is not closed at once.

    A worker that is replaced has taken connections from the shared socket whose first request is still travelling;
    closing them would fail requests that the new worker cannot see.
    """

    def shutdown(self) -> None:
        """End after the answer that is being given, or after `GRACE_SECONDS` where none was asked for yet."""
        if getattr(self, "cycle", None) is None:
            self.loop.call_later(GRACE_SECONDS, super().shutdown)
        else:
            super().shutdown()
