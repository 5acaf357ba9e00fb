import asyncio
import logging
import re
import time
import urllib.parse
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scn_keras.saved_models.server.server_metrics import ServerMetrics

access_log = logging.getLogger("scn_keras.access")
_ID = re.compile(r"[\w.:@/+=~-]{1,128}", re.ASCII)
# Requests of probes and of Prometheus would be most of the log.
_NOT_LOGGED = ("health", "metrics")


class RequestWatch:
    """An ASGI application that numbers, counts, limits and logs requests to another.

    Each answer has the header `X-Request-ID`: that of the request, if it is of at most
    128 letters, digits and `.:@/+=~_-`, otherwise a new one. A line of the log
    `scn_keras.access` has the id, client, method, path without its query, status,
    sizes and milliseconds of a request, and nothing of its content.

    Args:
        app: ASGI application.
        metrics: `ServerMetrics` of the application.
        max_running: Int, how many requests are answered at a time; more get a 503.
        max_seconds: Float, after which an answer that the client does not fetch is
            given up.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: ServerMetrics,
        max_running: int = 100,
        max_seconds: float = 120.0,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_running = max_running
        self._max_seconds = max_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id", ""))
        began = time.perf_counter()
        status = written = 0

        async def send_watched(message: Message) -> None:
            nonlocal status, written
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            written += len(message.get("body", b""))
            await send(message)

        endpoint = endpoint_of(scope["path"])
        self._metrics.running += 1
        try:
            async with asyncio.timeout(self._max_seconds):
                await self._admitted(endpoint)(scope, receive, send_watched)
        except TimeoutError:
            # The server closes the connection of an incomplete answer.
            status = 504
        finally:
            self._metrics.running -= 1
            seconds = time.perf_counter() - began
            self._metrics.count(endpoint, status or 500, seconds)
            if endpoint not in _NOT_LOGGED:
                access_log.info(
                    "id=%s client=%s method=%s path=%s status=%d in=%s out=%d ms=%.1f",
                    request_id,
                    (scope.get("client") or ("-",))[0],
                    scope["method"],
                    _path(scope),
                    status or 500,
                    headers.get("content-length", "-")[:20],
                    written,
                    1e3 * seconds,
                )

    def _admitted(self, endpoint: str) -> ASGIApp:
        running = self._metrics.running
        if endpoint in _NOT_LOGGED or running <= self._max_running:
            return self._app
        return JSONResponse(
            {"error": f"{running - 1} requests are answered already. Ask again later."},
            503,
            {"Retry-After": "1"},
        )


def endpoint_of(path: str) -> str:
    """Returns the kind of an address, one of few, as a label of metrics."""
    path = path.lower()
    if path.startswith("/v1/"):
        verb = re.search(r":(predict|classify|regress)$|/(metadata)$", path)
        return (verb[1] or verb[2]) if verb else "status"
    if path in ("/page/locate", "/page/heatmaps"):
        return path.removeprefix("/page/")
    if path in ("/healthz", "/readyz"):
        return "health"
    if path in ("/metrics", "/monitoring/prometheus/metrics"):
        return "metrics"
    return "page" if path in ("/", "/page.css", "/page.js", "/page/model") else "other"


def _request_id(given: str) -> str:
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _path(scope: Scope) -> str:
    """Returns the path as it was sent, percent-encoded, so that it is one word."""
    raw = scope.get("raw_path")
    path = raw.decode("latin-1") if raw else scope["path"]
    return urllib.parse.quote(path.partition("?")[0], "/:%~")[:200]
