import asyncio
import contextlib
import pathlib
import tempfile
from collections.abc import AsyncIterator, Mapping

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from scn_keras.files.image_kinds import DECODED_IN_GRAPH
from scn_keras.geometry import MAX_SPACING, MIN_SPACING
from scn_keras.saved_models.export_folder import orientation_of
from scn_keras.saved_models.predicting.image_source import ImageSource, call_of
from scn_keras.saved_models.server.page_answers import read_upload
from scn_keras.saved_models.server.request_limits import RequestLimits
from scn_keras.saved_models.server.served_model import ServedModel


class Uploads:
    """Runs a model on the bytes of an image in the body of a request.

    Args:
        model: `ServedModel`.
        name: Str, the model's name.
        limits: `RequestLimits` of the application.
    """

    def __init__(self, model: ServedModel, name: str, limits: RequestLimits) -> None:
        self._model = model
        self._name = name
        self._limits = limits
        default = model.signatures["serving_default"]
        self._stored_values = "image_bytes" not in default
        self._orientation = orientation_of(model.folder)

    @contextlib.asynccontextmanager
    async def run(
        self, request: Request, signature: str | None = None, large: bool = False
    ) -> AsyncIterator[tuple[ImageSource, dict[str, np.ndarray]]]:
        """Yields an uploaded image and the outputs of the model for it.

        The temporary file of the image exists until the block ends.

        Args:
            request: `Request` with a PNG, JPEG, BMP or DICOM file in its body and, in
                its query, `spacing_x` and `spacing_y` in mm per pixel, for files
                without a spacing.
            signature: Str; `None` for the one that takes such an image.
            large: Bool, whether the answer takes much memory. Of these, and of images
                that are decoded outside of the graph, two are made at a time.

        Yields:
            An `ImageSource` and a dict of arrays, whose first axis has length 1.

        Raises:
            ValueError: If the image cannot be read, or the model takes no images.
        """
        if "volumes" in self._model.signatures:
            raise ValueError(
                f"The model {self._name} takes volumes, which are sent as JSON or by "
                "gRPC, see `scn-keras predict`."
            )
        spacing = _spacing(request.query_params)
        async with self._limits.read_body(request) as data:
            large |= self._stored_values or not data.startswith(DECODED_IN_GRAPH)
            async with (
                self._limits.large_answers if large else contextlib.nullcontext()
            ):
                with tempfile.TemporaryDirectory() as folder:
                    source, outputs = await self._run(
                        data, spacing, pathlib.Path(folder), signature
                    )
                    yield source, outputs

    async def _run(self, data, spacing, folder, signature):
        source = await run_in_threadpool(
            read_upload,
            *(data, spacing, folder, self._stored_values, self._orientation),
        )
        default, inputs = await run_in_threadpool(call_of, source, self._stored_values)
        signature = signature or default
        taken = self._model.signatures.get(signature)
        if taken is None or set(taken) != set(inputs):
            fitting = [
                k for k, v in self._model.signatures.items() if set(v) == set(inputs)
            ]
            raise ValueError(
                f"The model {self._name} has no signature {signature[:80]!r} for this "
                f"image. There are: {', '.join(fitting)}"
            )
        future = await run_in_threadpool(self._model.submit, signature, inputs)
        return source, await asyncio.wrap_future(future)


def _spacing(query: Mapping[str, str]) -> tuple[float, float] | None:
    given = [key for key in ("spacing_x", "spacing_y") if key in query]
    if not given:
        return None
    if len(given) == 1:
        raise ValueError(f"Give both spacing_x and spacing_y. Received: {given[0]}")
    x, y = float(query["spacing_x"]), float(query["spacing_y"])
    if not (MIN_SPACING < x < MAX_SPACING and MIN_SPACING < y < MAX_SPACING):
        raise ValueError(f"A spacing is a number of millimetres. Received: {x}, {y}")
    return x, y
