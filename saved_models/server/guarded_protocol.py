import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds for the header of a request, from the connection or from its first byte.
HEADER_SECONDS = 10.0
# Seconds for a client to fetch the rest of an answer after the connection has ended.
_FETCH_SECONDS = 60.0
# More than the requests that are answered at a time, less than the files of a process.
_MAX_CONNECTIONS = 500


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 connections of uvicorn that cannot be held open without a request.

    uvicorn ends a connection that is idle after an answer, but waits without limit for
    the header of a request, and its limit of connections also counts idle ones: a
    hundred idle connections would keep everyone else out. Here a header has
    `HEADER_SECONDS`. Beyond 500 connections, the oldest one without a request is
    closed for a new one.
    """

    _deadline: asyncio.TimerHandle | None = None
    _connected_at = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._connected_at = self.loop.time()
        self._watch_header()
        if len(self.connections) > _MAX_CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_header()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_deadline()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # Closing waits for the client to fetch what was written.
        self.loop.call_later(_FETCH_SECONDS, self.transport.abort)

    @property
    def is_idle(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _watch_header(self) -> None:
        if not self.is_idle:
            self._cancel_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _make_room(self) -> None:
        guarded = [c for c in self.connections if isinstance(c, GuardedProtocol)]
        idle = [connection for connection in guarded if connection.is_idle]
        oldest = min(idle, key=lambda connection: connection._connected_at)
        oldest.transport.abort()
