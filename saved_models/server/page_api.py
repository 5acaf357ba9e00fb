import pathlib
import urllib.parse

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scn_keras.inference.calibration_source import NOT_CALIBRATED, radii_sentence
from scn_keras.saved_models.export_folder import calibration_source_of
from scn_keras.saved_models.predicting.predict import schema_of
from scn_keras.saved_models.server.page_answers import heatmaps_answer, points_answer
from scn_keras.saved_models.server.request_limits import Endpoint, RequestLimits
from scn_keras.saved_models.server.served_model import ServedModel
from scn_keras.saved_models.server.uploads import Uploads

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
        self._uploads = Uploads(model, name, limits)

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
        """Answers with name, version, signatures, landmarks and calibration."""
        source = calibration_source_of(self._model.folder)
        return JSONResponse(
            {
                "name": self._name,
                "version": self._model.version,
                "signatures": [*self._model.signatures],
                "schema": self._schema.to_dict(),
                "has_calibration": source != NOT_CALIBRATED,
                "calibration": radii_sentence(source),
            }
        )

    async def locate(self, request: Request) -> Response:
        """Answers with the landmarks of the image in the body, see `points_answer`."""
        title = urllib.parse.unquote(request.headers.get("x-file-name", "image"))
        async with self._uploads.run(request, large=True) as (source, outputs):
            only = {key: value[0] for key, value in outputs.items()}
            return JSONResponse(
                await run_in_threadpool(
                    points_answer, source, only, self._schema, title[:200]
                )
            )

    async def heatmaps(self, request: Request) -> Response:
        """Answers with the heatmaps of the image in the body."""
        async with self._uploads.run(request, "heatmaps", True) as (_, outputs):
            only = {key: value[0] for key, value in outputs.items()}
            return JSONResponse(await run_in_threadpool(heatmaps_answer, only))


def _send_file(file: str, media_type: str) -> Endpoint:
    content = (pathlib.Path(__file__).with_name("page") / file).read_bytes()

    async def send(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return send
