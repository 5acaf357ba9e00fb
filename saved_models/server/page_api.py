import asyncio
import contextlib
import pathlib
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Mapping

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scn_keras.geometry import MAX_SPACING, MIN_SPACING
from scn_keras.saved_models.predicting.image_source import ImageSource, call_of
from scn_keras.saved_models.predicting.predict import schema_of
from scn_keras.saved_models.server.page_answers import (
    heatmaps_answer,
    points_answer,
    read_upload,
)
from scn_keras.saved_models.server.request_limits import Endpoint, RequestLimits
from scn_keras.saved_models.server.served_model import ServedModel

_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src "
    "'self'; connect-src 'self'; img-src 'self' blob: data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class PageApi:
    """The page for trying a model in a browser, and the endpoints that it calls.

    Args:
        model: `ServedModel`.
        name: Str, the model's name.
        limits: `RequestLimits` of the application.
    """

    def __init__(self, model: ServedModel, name: str, limits: RequestLimits) -> None:
        self._model = model
        self._name = name
        self._limits = limits
        self._schema = schema_of(model.folder)
        default = model.signatures["serving_default"]
        self._stored_values = "image_bytes" not in default

    def routes(self) -> list[Route]:
        """Returns the routes of the page's files and of its endpoints."""
        with_timeout = self._limits.with_timeout
        return [
            *(Route(path, _send_file(*file)) for path, file in _FILES.items()),
            Route("/page/model", self.describe_model),
            Route("/page/locate", with_timeout(self.locate), methods=["POST"]),
            Route("/page/heatmaps", with_timeout(self.heatmaps), methods=["POST"]),
        ]

    async def describe_model(self, request: Request) -> Response:
        """Answers with name, version, signatures and landmarks of the model."""
        calibration = self._model.folder / "assets.extra" / "calibration.json"
        return JSONResponse(
            {
                "name": self._name,
                "version": self._model.version,
                "signatures": [*self._model.signatures],
                "schema": self._schema.to_dict(),
                "has_calibration": calibration.is_file(),
            }
        )

    async def locate(self, request: Request) -> Response:
        """Answers with the landmarks of the image in the body, see `points_answer`."""
        title = urllib.parse.unquote(request.headers.get("x-file-name", "image"))
        async with self._run_model(request) as (source, outputs):
            return JSONResponse(
                await run_in_threadpool(
                    points_answer, source, outputs, self._schema, title[:200]
                )
            )

    async def heatmaps(self, request: Request) -> Response:
        """Answers with the heatmaps of the image in the body."""
        async with self._run_model(request, "heatmaps") as (_, outputs):
            return JSONResponse(await run_in_threadpool(heatmaps_answer, outputs))

    @contextlib.asynccontextmanager
    async def _run_model(
        self, request: Request, signature: str | None = None
    ) -> AsyncIterator[tuple[ImageSource, dict[str, np.ndarray]]]:
        """Yields an uploaded image and the outputs of the model for it.

        The temporary file of the image exists until the block ends.

        Args:
            request: `Request` with the file in its body and the spacing in its query.
            signature: Str; `None` for the one that takes such an image.
        """
        spacing = _spacing(request.query_params)
        stored_values = self._stored_values
        async with (
            self._limits.read_body(request) as data,
            self._limits.large_answers,
        ):
            with tempfile.TemporaryDirectory() as folder:
                source = await run_in_threadpool(
                    read_upload, data, spacing, pathlib.Path(folder), stored_values
                )
                default, inputs = await run_in_threadpool(
                    call_of, source, stored_values
                )
                signature = signature or default
                if signature not in self._model.signatures:
                    raise ValueError(
                        f"The model {self._name} has no signature {signature!r}."
                    )
                future = await run_in_threadpool(self._model.submit, signature, inputs)
                outputs = await asyncio.wrap_future(future)
                yield source, {key: value[0] for key, value in outputs.items()}


def _send_file(file: str, media_type: str) -> Endpoint:
    content = (pathlib.Path(__file__).with_name("page") / file).read_bytes()

    async def send(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return send


def _spacing(query: Mapping[str, str]) -> tuple[float, float] | None:
    if "spacing_x" not in query or "spacing_y" not in query:
        return None
    x, y = float(query["spacing_x"]), float(query["spacing_y"])
    if not (MIN_SPACING < x < MAX_SPACING and MIN_SPACING < y < MAX_SPACING):
        raise ValueError(f"A spacing is a number of millimetres. Received: {x}, {y}")
    return x, y
