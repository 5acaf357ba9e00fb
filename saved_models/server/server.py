"""A local server that speaks TF Serving's REST dialect, with a page to try a model.

It is for development and teaching. In production, the same exported folder goes into
the stock image of TF Serving, see docs/guides/serving.md.
"""

import contextlib
import ipaddress
import logging
import pathlib
import signal
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from scn_keras.models import preset_path
from scn_keras.saved_models.export_folder import verify_checksums
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.server.guarded_protocol import GuardedProtocol
from scn_keras.saved_models.server.monitoring_api import MonitoringApi
from scn_keras.saved_models.server.page_api import PageApi
from scn_keras.saved_models.server.request_limits import RequestLimits
from scn_keras.saved_models.server.request_watch import RequestWatch
from scn_keras.saved_models.server.rest_api import RestApi
from scn_keras.saved_models.server.served_model import ServedModel, ServerBusyError
from scn_keras.saved_models.server.server_metrics import ServerMetrics
from scn_keras.training.run import Run

# Volumes travel as numbers in JSON, 2D images as the bytes of files.
_MAX_BYTES_2D, _MAX_BYTES_VOLUMES = 2**25, 2**27
# Seconds for running requests after SIGTERM; they have 60 themselves.
_MAX_END_SECONDS = 75
# How uvicorn runs the application.
UVICORN_SETTINGS: dict[str, Any] = {
    "http": GuardedProtocol,
    "ws": "none",
    "lifespan": "off",
    "log_level": "warning",
    "server_header": False,
    "timeout_graceful_shutdown": _MAX_END_SECONDS,
}


def serve(
    model: str | pathlib.Path,
    host: str = "127.0.0.1",
    port: int = 8501,
    batch_size: int = 8,
    report: Callable[[str], None] = print,
    labels: Sequence[str] = (),
    access_log: bool = True,
) -> None:
    """Serves a model until the process is interrupted or gets SIGTERM.

    A run or a preset is exported to a temporary folder first. At the end, running
    requests are answered and new ones refused. The logs `scn_keras.access` and
    `scn_keras.server` are written to standard error.

    Args:
        model: Str or path: a run, a preset's name or folder, or the folder of an
            exported model or of one of its versions.
        host: Str, the address to listen at.
        port: Int, the port to listen at.
        batch_size: Int, see `ServedModel`.
        report: Function that is called with each line of text for the user.
        labels: Sequence of str, names of the version in addresses, as in TF Serving.
        access_log: Bool, whether each request is logged, see `RequestWatch`.

    Raises:
        FileNotFoundError: If `model` is none of these.
        ValueError: If a file differs from the checksum of its export.

    Example:

    ```python
    serve("synthetic_hand")  # http://127.0.0.1:8501/
    ```
    """
    with (
        _log_to_stderr(access_log),
        _exit_on_sigterm(),
        _exported(model) as (folder, name),
        ServedModel(folder, batch_size, warm_up=True) as served,
    ):
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        report(f"Serving {name}: {url}/ is a page to try it.")
        report(f"REST, as TF Serving: {url}/v1/models/{name}:predict")
        report("For development and teaching; in production: TF Serving, see docs.")
        if not _is_loopback(host):
            report(
                f"{host} can be reached from other machines: nothing is encrypted, and "
                "anyone may ask. Put a proxy with TLS and log-in before it."
            )
        uvicorn.run(
            create_app(served, name, host, labels=labels),
            host=host,
            port=port,
            **UVICORN_SETTINGS,
        )


def create_app(
    model: ServedModel,
    name: str,
    host: str = "127.0.0.1",
    max_request_bytes: int | None = None,
    timeout: float = 60.0,
    labels: Sequence[str] = (),
) -> ASGIApp:
    """Returns the ASGI application that serves one version of one model.

    Args:
        model: `ServedModel`.
        name: Str, the model's name in addresses.
        host: Str, the address that the server listens at. At a loopback address,
            requests to any other host name are refused: a foreign page whose name
            was rebound to this address sends such requests.
        max_request_bytes: Int, the size of the largest request; a larger one is
            refused before it is read. `None` for 32 MB, or 128 MB for a model of
            volumes.
        timeout: Float, seconds after which a request is given up.
        labels: Sequence of str, names of the version in addresses.

    Example:

    ```python
    with ServedModel("models/hands/1", warm_up=True) as model:
        uvicorn.run(create_app(model, "hands"), port=8501, **UVICORN_SETTINGS)
    ```
    """
    if max_request_bytes is None:
        volumes = "volumes" in model.signatures
        max_request_bytes = _MAX_BYTES_VOLUMES if volumes else _MAX_BYTES_2D
    limits = RequestLimits(max_request_bytes, timeout)
    metrics = ServerMetrics(model, name, limits)
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=_allowed_hosts(host))
    app = Starlette(
        routes=[
            *PageApi(model, name, limits).routes(),
            *MonitoringApi(model, metrics).routes(),
            *RestApi(model, name, limits, labels).routes(),
        ],
        middleware=[hosts],
        exception_handlers={
            HTTPException: _refuse,
            ValueError: _answer_with(400),
            ClientDisconnect: _answer_with(400, "The client went away."),
            ServerBusyError: _answer_with(503),
            TimeoutError: _answer_with(504, "Deadline exceeded: the model is slow."),
            # The log of the server holds the traceback.
            Exception: _answer_with(500, "The server failed. See its log."),
        },
    )
    return RequestWatch(app, metrics)


def _answer_with(status: int, text: str = "") -> Callable[..., Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": text or str(error)}, status)

    return handle


async def _refuse(request: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def _allowed_hosts(host: str) -> list[str]:
    if not _is_loopback(host):
        return ["*"]
    allowed = ["127.0.0.1", "localhost", host]
    if ":" in host:
        # Starlette 1.0 takes "[" for the host of an address in brackets.
        allowed += [f"[{host}]", "["]
    return allowed


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def _log_to_stderr(access_log: bool) -> Iterator[None]:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    log, access = logging.getLogger("scn_keras"), logging.getLogger("scn_keras.access")
    level, propagate = access.level, log.propagate
    log.addHandler(handler)
    # Libraries give the root a handler of its own.
    log.propagate = False
    access.setLevel(logging.INFO if access_log else logging.WARNING)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
        access.setLevel(level)


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turns SIGTERM into an exit with code 0, which leaves no temporary files.

    uvicorn answers what is running first and then raises the signal again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _exported(model: str | pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields the folder of an exported version and the model's name."""
    path = preset_path(model)
    exports = [file.parent for file in path.glob("*/saved_model.pb")]
    versions = [folder for folder in exports if folder.name.isdigit()]
    if versions:
        path = max(versions, key=lambda folder: int(folder.name))
    if (path / "saved_model.pb").is_file():
        path = path.resolve()
        verify_checksums(path)
        yield path, path.parent.name if path.name.isdigit() else path.name
        return
    with tempfile.TemporaryDirectory() as folder:
        version = export(Run(path), folder)
        yield version, version.parent.name
