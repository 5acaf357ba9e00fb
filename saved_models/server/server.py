"""A local server that speaks TF Serving's REST dialect, with a page to try a model.

It is for development and teaching. In production, the same exported folder goes into
the stock image of TF Serving, see docs/serving.md.
"""

import contextlib
import ipaddress
import pathlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from scn_keras.models import preset_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.server.page_api import PageApi
from scn_keras.saved_models.server.request_limits import RequestLimits
from scn_keras.saved_models.server.rest_api import RestApi
from scn_keras.saved_models.server.served_model import ServedModel, ServerBusyError
from scn_keras.training.run import Run

# Volumes travel as numbers in JSON, 2D images as the bytes of files.
_MAX_BYTES_2D, _MAX_BYTES_VOLUMES = 2**25, 2**27
# uvicorn answers connections beyond this number with 503.
_MAX_CONNECTIONS = 100


def serve(
    model: str | pathlib.Path,
    host: str = "127.0.0.1",
    port: int = 8501,
    batch_size: int = 8,
    report: Callable[[str], None] = print,
) -> None:
    """Serves a model until the process is interrupted.

    A run or a preset is exported to a temporary folder first.

    Args:
        model: Str or path: a run, a preset's name or folder, or the folder of an
            exported model or of one of its versions.
        host: Str, the address to listen at.
        port: Int, the port to listen at.
        batch_size: Int, see `ServedModel`.
        report: Function that is called with each line of text for the user.

    Raises:
        FileNotFoundError: If `model` is none of these.

    Example:

    ```python
    serve("synthetic_hand")  # http://127.0.0.1:8501/
    ```
    """
    with _exported(model) as (folder, name), ServedModel(folder, batch_size) as served:
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
            create_app(served, name, host),
            host=host,
            port=port,
            log_level="warning",
            ws="none",
            lifespan="off",
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
        )


def create_app(
    model: ServedModel,
    name: str,
    host: str = "127.0.0.1",
    max_request_bytes: int | None = None,
    timeout: float = 60.0,
) -> Starlette:
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

    Example:

    ```python
    with ServedModel("models/hands/1") as model:
        uvicorn.run(create_app(model, "hands"), port=8501)
    ```
    """
    if max_request_bytes is None:
        volumes = "volumes" in model.signatures
        max_request_bytes = _MAX_BYTES_VOLUMES if volumes else _MAX_BYTES_2D
    limits = RequestLimits(max_request_bytes, timeout)
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=_allowed_hosts(host))
    return Starlette(
        routes=[
            *PageApi(model, name, limits).routes(),
            *RestApi(model, name, limits).routes(),
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
def _exported(model: str | pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields the folder of an exported version and the model's name."""
    path = preset_path(model)
    exports = [file.parent for file in path.glob("*/saved_model.pb")]
    versions = [folder for folder in exports if folder.name.isdigit()]
    if versions:
        path = max(versions, key=lambda folder: int(folder.name))
    if (path / "saved_model.pb").is_file():
        path = path.resolve()
        yield path, path.parent.name if path.name.isdigit() else path.name
        return
    with tempfile.TemporaryDirectory() as folder:
        version = export(Run(path), folder)
        yield version, version.parent.name
