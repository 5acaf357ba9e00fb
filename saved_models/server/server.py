"""A local server that speaks TF Serving's REST dialect, with a page to try a model.

It is for development and teaching. In production the same exported folder goes into
the stock image of TF Serving, see docs/serving.md.
"""

import asyncio
import contextlib
import ipaddress
import pathlib
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import uvicorn
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scn_keras.models import preset_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.predicting.image_source import ImageSource, call_of
from scn_keras.saved_models.predicting.predict import schema_of
from scn_keras.saved_models.rest_dialect import format_answer, parse_call
from scn_keras.saved_models.server.page_answers import (
    heatmaps_answer,
    points_answer,
    read_upload,
)
from scn_keras.saved_models.server.served_model import ServedModel, ServerBusyError
from scn_keras.training.run import Run

LOOPBACK = ("127.0.0.1", "localhost")
_PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src "
    "'self'; connect-src 'self'; img-src 'self' blob: data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# Of uvicorn: connections beyond it get a 503.
_MAX_CONNECTIONS = 100
_BODIES = 8  # of the largest size, held at a time
# Of pages and heatmaps: what they hold is many times the size of a request.
_LARGE_ANSWERS = 2
_Endpoint = Callable[[Request], Awaitable[Response]]


def serve(
    model: str | pathlib.Path,
    host: str = "127.0.0.1",
    port: int = 8501,
    batch_size: int = 8,
    report: Callable[[str], None] = print,
) -> None:
    """Serves a model until it is interrupted.

    Args:
        model: A run, a preset's name or folder, or an exported model's folder.
        host: Str, the address to listen at.
        port: Int.
        batch_size: Int, see `ServedModel`.
        report: What takes the lines for the person who started it.

    Raises:
        FileNotFoundError: If `model` is none of these.
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
            requests that name another host are refused: a page of somewhere else
            sends them after it has pointed its own name here.
        max_request_bytes: Int; a larger request is refused before it is read. `None`
            for 32 MB or, of a model of volumes, which travel as numbers, 128 MB.
        timeout: Float, seconds after which a request is given up.
    """
    version = model.folder.name if model.folder.name.isdigit() else "1"
    schema = schema_of(model.folder)
    if max_request_bytes is None:
        max_request_bytes = 2**27 if "volumes" in model.signatures else 2**25
    bodies = _Bodies(max_request_bytes)
    # What JSON becomes in memory is many times its length: one at a time.
    parsing = asyncio.Lock()
    large = asyncio.Semaphore(_LARGE_ANSWERS)
    stored_values = "image_bytes" not in model.signatures["serving_default"]

    def check(request: Request) -> None:
        if ":" in request.path_params["model"]:  # a verb by the wrong method
            raise _malformed(request)
        wanted = request.path_params.get("version", version)
        if request.path_params["model"] != name or wanted != version:
            raise HTTPException(
                404,
                f"Servable not found for request: {request.path_params['model'][:80]}, "
                f"version {wanted[:20]}. There is {name}, version {version}.",
            )

    async def status(request: Request) -> Response:
        check(request)
        state = {"error_code": "OK", "error_message": ""}
        entry = {"version": version, "state": "AVAILABLE", "status": state}
        return JSONResponse({"model_version_status": [entry]})

    async def metadata(request: Request) -> Response:
        check(request)
        definitions = {
            key: json_format.MessageToDict(
                definition,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for key, definition in model.signature_defs.items()
        }
        spec = {"name": name, "signature_name": "", "version": version}
        tree = {"signature_def": {"signature_def": definitions}}
        return JSONResponse({"model_spec": spec, "metadata": tree})

    async def predict(request: Request) -> Response:
        check(request)
        async with bodies.read(request) as body:
            async with parsing:
                call = await run_in_threadpool(parse_call, body, model.signatures)
            heatmaps = call.signature == "heatmaps"
            async with large if heatmaps else contextlib.nullcontext():
                answer = await run_in_threadpool(
                    model.submit, call.signature, call.inputs
                )
                outputs = await asyncio.wrap_future(answer)
                text = await run_in_threadpool(format_answer, outputs, call.rows)
        return Response(text, media_type="application/json")

    async def about(request: Request) -> Response:
        calibration = model.folder / "assets.extra" / "calibration.json"
        return JSONResponse(
            {
                "name": name,
                "version": version,
                "signatures": [*model.signatures],
                "schema": schema.to_dict(),
                "vouches": calibration.is_file(),
            }
        )

    async def locate(request: Request) -> Response:
        title = urllib.parse.unquote(request.headers.get("x-file-name", "image"))
        async with page_question(request) as (source, found):
            return JSONResponse(
                await run_in_threadpool(
                    points_answer, source, found, schema, title[:200]
                )
            )

    async def heatmaps(request: Request) -> Response:
        async with page_question(request, "heatmaps") as (_, found):
            return JSONResponse(await run_in_threadpool(heatmaps_answer, found))

    @contextlib.asynccontextmanager
    async def page_question(
        request: Request, signature: str | None = None
    ) -> AsyncIterator[tuple[ImageSource, dict[str, np.ndarray]]]:
        """Yields the image that a page sent, and what the model finds in it."""
        spacing = _spacing(request.query_params)
        async with bodies.read(request) as data, large:
            with tempfile.TemporaryDirectory() as folder:
                source = await run_in_threadpool(
                    read_upload, data, spacing, pathlib.Path(folder), stored_values
                )
                own, inputs = await run_in_threadpool(call_of, source, stored_values)
                if (signature := signature or own) not in model.signatures:
                    raise ValueError(
                        f"The model {name} has no signature {signature!r}."
                    )
                answer = await run_in_threadpool(model.submit, signature, inputs)
                outputs = await asyncio.wrap_future(answer)
                yield source, {key: value[0] for key, value in outputs.items()}

    def page_file(file: str, kind: str) -> _Endpoint:
        content = (pathlib.Path(__file__).with_name("page") / file).read_bytes()

        async def send(request: Request) -> Response:
            return Response(content, media_type=kind, headers=_PAGE_HEADERS)

        return send

    def within(endpoint: _Endpoint) -> _Endpoint:
        async def limited(request: Request) -> Response:
            async with asyncio.timeout(timeout):
                return await endpoint(request)

        return limited

    async def malformed(request: Request) -> Response:
        raise _malformed(request)

    routes = [Route(path, page_file(*file)) for path, file in _PAGE.items()]
    for path in ("/v1/models/{model}/versions/{version}", "/v1/models/{model}"):
        routes += [
            Route(f"{path}:predict", within(predict), methods=["POST"]),
            Route(f"{path}/metadata", metadata),
            Route(path, status),
        ]
    routes += [
        Route("/page/model", about),
        Route("/page/locate", within(locate), methods=["POST"]),
        Route("/page/heatmaps", within(heatmaps), methods=["POST"]),
        Route("/v1/{rest:path}", malformed, methods=["GET", "POST", "PUT", "DELETE"]),
    ]
    allowed = [*LOOPBACK, host] if _is_loopback(host) else ["*"]
    if ":" in host:  # of an address in brackets, Starlette 1.0 sees the first alone
        allowed += [f"[{host}]", "["]
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=allowed)],
        exception_handlers={
            HTTPException: _refuse,
            ValueError: _answer_with(400),
            ClientDisconnect: _answer_with(400, "The client went away."),
            ServerBusyError: _answer_with(503),
            TimeoutError: _answer_with(504, "Deadline exceeded: the model is slow."),
            # Its log has the traceback.
            Exception: _answer_with(500, "The server failed. See its log."),
        },
    )


class _Bodies:
    """Reads the bodies of requests, and holds no more than a few of the largest."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        origin = request.headers.get("origin")
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            raise HTTPException(
                403, f"A page of {origin[:80]} may not ask this server."
            )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._largest:
            raise self._too_large()
        size, chunks = 0, []
        try:
            async for chunk in request.stream():
                size += len(chunk)
                self._held += len(chunk)
                if size > self._largest:
                    raise self._too_large()
                if self._held > _BODIES * self._largest:
                    raise ServerBusyError("Too many large requests. Ask again later.")
                chunks.append(chunk)
            yield b"".join(chunks)
        finally:
            self._held -= size

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The request has more than {self._largest:,} bytes.")


def _answer_with(status: int, text: str = "") -> Callable[..., Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": text or str(error)}, status)

    return handle


def _malformed(request: Request) -> HTTPException:
    where = f"{request.method} {request.url.path[:200]}"
    return HTTPException(400, f"Malformed request: {where}")


async def _refuse(request: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _spacing(query) -> tuple[float, float] | None:
    if "spacing_x" not in query or "spacing_y" not in query:
        return None
    x, y = float(query["spacing_x"]), float(query["spacing_y"])
    if not (1e-6 < x < 1e6 and 1e-6 < y < 1e6):
        raise ValueError(f"A spacing is a number of millimetres. Received: {x}, {y}")
    return x, y


@contextlib.contextmanager
def _exported(model: str | pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields the folder of an exported version and the model's name."""
    path = preset_path(model)
    saved = [file.parent for file in path.glob("*/saved_model.pb")]
    versions = [folder for folder in saved if folder.name.isdigit()]
    if versions:
        path = max(versions, key=lambda folder: int(folder.name))
    if (path / "saved_model.pb").is_file():
        path = path.resolve()
        yield path, path.parent.name if path.name.isdigit() else path.name
        return
    with tempfile.TemporaryDirectory() as folder:
        version = export(Run(path), folder)
        yield version, version.parent.name
