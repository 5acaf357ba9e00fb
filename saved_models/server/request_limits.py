import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from scn_keras.saved_models.server.served_model import ServerBusyError

Endpoint = Callable[[Request], Awaitable[Response]]

# How many bodies of the largest size are held in memory at a time.
_MAX_LARGEST_BODIES = 8
# Seconds in which the next bytes of a body must arrive, and bytes a second after them:
# otherwise, callers that send a byte from time to time would keep others out.
_MAX_PAUSE = 10.0
_MIN_RATE = 10_000
# Answers to the page and heatmaps take many times the memory of their request.
_MAX_LARGE_ANSWERS = 2


class RequestLimits:
    """Limits the memory and the time that the requests to a server take.

    All endpoints of one application share it.

    Args:
        max_bytes: Int, the size of the largest request body.
        timeout: Float, seconds after which a request is given up.

    Attributes:
        large_answers: `asyncio.Semaphore`, held while an answer is made that takes
            much memory: those of the page, and heatmaps.
        held_bytes: Int, the size of all bodies that are held.
    """

    def __init__(self, max_bytes: int, timeout: float) -> None:
        self.large_answers = asyncio.Semaphore(_MAX_LARGE_ANSWERS)
        self._max_bytes = max_bytes
        self._timeout = timeout
        self.held_bytes = 0

    @contextlib.asynccontextmanager
    async def read_body(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the body of a request; it counts as held until the block ends.

        Raises:
            HTTPException: 403 if a page of another origin sends the request, 408 if
                its body stops arriving, 413 if it is too large, 415 if it is
                compressed otherwise than by gzip.
            ServerBusyError: If too many large bodies are held.
            ValueError: If it is not a whole gzip file.
        """
        origin = request.headers.get("origin")
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            raise HTTPException(
                403, f"A page of {origin[:80]} may not ask this server."
            )
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            raise HTTPException(
                415,
                "Send the body by gzip or without compression. Received: "
                f"Content-Encoding: {encoding[:80]}",
            )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise self._too_large()
        size, chunks = 0, []
        try:
            async for chunk in _without_pauses(request.stream()):
                size += len(chunk)
                self.held_bytes += len(chunk)
                if size > self._max_bytes:
                    raise self._too_large()
                if self.held_bytes > _MAX_LARGEST_BODIES * self._max_bytes:
                    raise ServerBusyError("Too many large requests. Ask again later.")
                chunks.append(chunk)
            body = b"".join(chunks)
            if encoding == "gzip":
                body = await run_in_threadpool(self._unpack, body)
                size += len(body)
                self.held_bytes += len(body)
            yield body
        finally:
            self.held_bytes -= size

    def with_timeout(self, endpoint: Endpoint) -> Endpoint:
        """Returns an endpoint that raises TimeoutError when it takes too long."""

        async def endpoint_with_timeout(request: Request) -> Response:
            async with asyncio.timeout(self._timeout):
                return await endpoint(request)

        return endpoint_with_timeout

    def _unpack(self, body: bytes) -> bytes:
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            unpacked = unpacker.decompress(body, self._max_bytes + 1)
        except zlib.error as error:
            raise ValueError(f"The body is no gzip file: {error}") from error
        if len(unpacked) > self._max_bytes:
            raise self._too_large()
        if not unpacker.eof:
            raise ValueError("The body is the beginning of a gzip file only.")
        return unpacked

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413, f"The request has more than {self._max_bytes:,} bytes."
        )


async def _without_pauses(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    began, size = time.monotonic(), 0
    while True:
        seconds = time.monotonic() - began
        try:
            if seconds > _MAX_PAUSE + size / _MIN_RATE:
                raise TimeoutError
            async with asyncio.timeout(_MAX_PAUSE):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise HTTPException(
                408, f"The body is too slow: {size:,} bytes in {seconds:.0f} seconds."
            ) from error
        size += len(chunk)
        yield chunk
