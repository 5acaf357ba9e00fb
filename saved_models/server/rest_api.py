import asyncio
import contextlib
from collections.abc import Sequence

from google.protobuf import json_format
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scn_keras.saved_models.rest_dialect import format_answer, parse_call
from scn_keras.saved_models.server.request_limits import RequestLimits
from scn_keras.saved_models.server.rest_address import RestAddress
from scn_keras.saved_models.server.served_model import ServedModel
from scn_keras.saved_models.server.uploads import Uploads

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_IMAGES = ("image/", "application/dicom", "application/octet-stream")


class RestApi:
    """The endpoints of TF Serving's REST API, for one version of one model.

    https://www.tensorflow.org/tfx/serving/api_rest

    `:predict` also takes the bytes of an image as the body.

    Args:
        model: `ServedModel`.
        name: Str, the model's name in addresses.
        limits: `RequestLimits` of the application.
        labels: Sequence of str, the labels of the version.
    """

    def __init__(
        self,
        model: ServedModel,
        name: str,
        limits: RequestLimits,
        labels: Sequence[str] = (),
    ) -> None:
        self._model = model
        self._name = name
        self._limits = limits
        self._labels = tuple(labels)
        self._uploads = Uploads(model, name, limits)
        # Parsed JSON takes many times the memory of its text: one body at a time.
        self._parsing = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Returns the routes of the endpoints, all of them below `/v1/`."""
        answer = self._limits.with_timeout(self.answer)
        # Names of models keep their case; TF Serving ignores it in the rest.
        return [
            Route(f"/{start}/{{rest:path}}", answer, methods=_METHODS)
            for start in ("v1", "V1")
        ]

    async def answer(self, request: Request) -> Response:
        """Answers a request to any address of the API.

        Raises:
            HTTPException: If the address is not that of the model.
            ValueError: If the request is no call of the model.
        """
        method, path = request.method, request.url.path
        address = RestAddress.parse(method, request.scope["path"])
        if address is None:
            raise HTTPException(400, f"Malformed request: {method} {path[:200]}")
        self._check(address)
        if address.action == "status":
            return self._status()
        if address.action == "metadata":
            return self._metadata()
        if address.action == "predict":
            return await self._predict(request)
        raise HTTPException(
            400,
            f"The model {self._name} has no signature for :{address.action}. Its "
            "signatures are called with :predict.",
        )

    async def _predict(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.startswith("multipart/"):
            raise HTTPException(
                415,
                "Send JSON, or the bytes of one image with the Content-Type image/png, "
                f"not a form. Received: Content-Type: {kind[:80]}",
            )
        if kind.startswith(_IMAGES):
            text = await self._predict_bytes(request)
        else:
            text = await self._predict_json(request)
        return Response(text, media_type="application/json")

    async def _predict_json(self, request: Request) -> bytes:
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
                return await run_in_threadpool(format_answer, outputs, call.rows)

    async def _predict_bytes(self, request: Request) -> bytes:
        known = {"spacing_x", "spacing_y", "signature_name"}
        unknown = sorted(set(request.query_params) - known)
        if unknown:
            raise ValueError(
                f"The address may have the parameters {', '.join(sorted(known))}. "
                f"Received: {', '.join(unknown)[:200]}"
            )
        signature = request.query_params.get("signature_name") or None
        large = signature == "heatmaps"
        async with self._uploads.run(request, signature, large) as (_, outputs):
            return await run_in_threadpool(format_answer, outputs, True)

    def _metadata(self) -> Response:
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

    def _status(self) -> Response:
        failure = self._model.failure
        status = {
            "error_code": "INTERNAL" if failure else "OK",
            "error_message": failure,
        }
        entry = {
            "version": self._model.version,
            "state": self._model.state,
            "status": status,
        }
        return JSONResponse({"model_version_status": [entry]})

    def _check(self, address: RestAddress) -> None:
        """Raises HTTPException if the address is not that of the model."""
        if not address.model:
            raise HTTPException(
                400, f"Missing model name in request. There is {self._name}."
            )
        label = address.label
        if address.model == self._name and label not in (None, *self._labels):
            named = ", ".join(self._labels) or "none"
            raise HTTPException(
                400,
                f"Unrecognized servable version label: {str(label)[:80]}. The labels "
                f"of version {self._model.version}: {named}.",
            )
        version = address.version
        right = version is None or version.lstrip("0") == self._model.version
        if address.model != self._name or not right:
            model = address.model[:80]
            asked = f"Latest({model})"
            if version is not None:
                asked = f"Specific({model}, {version[:20]})"
            raise HTTPException(
                404,
                f"Servable not found for request: {asked}. There is {self._name}, "
                f"version {self._model.version}.",
            )
