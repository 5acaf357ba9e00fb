import asyncio
import contextlib

from google.protobuf import json_format
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scn_keras.saved_models.rest_dialect import format_answer, parse_call
from scn_keras.saved_models.server.request_limits import RequestLimits
from scn_keras.saved_models.server.served_model import ServedModel


class RestApi:
    """The endpoints of TF Serving's REST API, for one version of one model.

    https://www.tensorflow.org/tfx/serving/api_rest

    Args:
        model: `ServedModel`.
        name: Str, the model's name in addresses.
        limits: `RequestLimits` of the application.
    """

    def __init__(self, model: ServedModel, name: str, limits: RequestLimits) -> None:
        self._model = model
        self._name = name
        self._limits = limits
        # Parsed JSON takes many times the memory of its text: one body at a time.
        self._parsing = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Returns the routes of the endpoints, all of them below `/v1/`."""
        routes = []
        for path in ("/v1/models/{model}/versions/{version}", "/v1/models/{model}"):
            routes += [
                Route(
                    f"{path}:predict",
                    self._limits.with_timeout(self.predict),
                    methods=["POST"],
                ),
                Route(f"{path}/metadata", self.metadata),
                Route(path, self.status),
            ]
        methods = ["GET", "POST", "PUT", "DELETE"]
        return [*routes, Route("/v1/{rest:path}", self.refuse, methods=methods)]

    async def predict(self, request: Request) -> Response:
        """Answers a `:predict` call."""
        self._check_address(request)
        async with self._limits.read_body(request) as body:
            async with self._parsing:
                call = await run_in_threadpool(parse_call, body, self._model.signatures)
            large = call.signature == "heatmaps"
            async with (
                self._limits.large_answers if large else contextlib.nullcontext()
            ):
                future = await run_in_threadpool(
                    self._model.submit, call.signature, call.inputs
                )
                outputs = await asyncio.wrap_future(future)
                text = await run_in_threadpool(format_answer, outputs, call.rows)
        return Response(text, media_type="application/json")

    async def metadata(self, request: Request) -> Response:
        """Answers with the signatures of the model, as TF Serving describes them."""
        self._check_address(request)
        definitions = {
            key: json_format.MessageToDict(
                definition,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for key, definition in self._model.signature_defs.items()
        }
        spec = {
            "name": self._name,
            "signature_name": "",
            "version": self._model.version,
        }
        signatures = {"signature_def": {"signature_def": definitions}}
        return JSONResponse({"model_spec": spec, "metadata": signatures})

    async def status(self, request: Request) -> Response:
        """Answers that the version is available."""
        self._check_address(request)
        entry = {
            "version": self._model.version,
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        return JSONResponse({"model_version_status": [entry]})

    async def refuse(self, request: Request) -> Response:
        """Answers requests that no other endpoint takes."""
        raise _malformed(request)

    def _check_address(self, request: Request) -> None:
        """Raises HTTPException if the address is not that of the model."""
        model = request.path_params["model"]
        if ":" in model:  # a verb with the wrong method
            raise _malformed(request)
        version = request.path_params.get("version", self._model.version)
        if model != self._name or version != self._model.version:
            raise HTTPException(
                404,
                f"Servable not found for request: {model[:80]}, "
                f"version {version[:20]}. There is {self._name}, version "
                f"{self._model.version}.",
            )


def _malformed(request: Request) -> HTTPException:
    address = f"{request.method} {request.url.path[:200]}"
    return HTTPException(400, f"Malformed request: {address}")
