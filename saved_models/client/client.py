import asyncio
import concurrent.futures
import contextlib
import pathlib
import random
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras.files.orientation import STORED_PIXELS
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.client.image_requests import (
    Files,
    ImageRequest,
    ImageRules,
    image_name,
    list_images,
    read_image_request,
    split_by_size,
    validate_spacing,
)
from scn_keras.saved_models.client.prediction_error import PredictionError
from scn_keras.saved_models.client.transport import (
    RefusedError,
    TooLargeError,
    Transport,
    UnavailableError,
)
from scn_keras.saved_models.predicting.prediction import (
    Prediction,
    prediction_of,
)

_URL = re.compile(
    r"(?P<scheme>https?|grpcs?)://(?P<address>[^/]+)"
    r"(?:/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+))?(?::predict)?)?/?"
)
_FIRST_PAUSE = 0.2  # seconds, doubled after each attempt
_CLOSED = "The client is closed."


class Client:
    """A client of served models: of TF Serving and of `scn-keras serve`.

    Files of all formats that SimpleITK reads are decoded by the client, with the
    spacing in their header; PNG, JPEG and BMP files are sent as they are. A call holds
    several images, and several calls are sent at a time. A call that fails because the
    server cannot be reached or is overloaded (502, 503, 429, UNAVAILABLE) is repeated
    after growing pauses. An image that the server cannot decode makes its whole call
    fail: the call is then divided until that image is alone, so that the other images
    are answered. A server with batching joins calls, which then fail together: an
    image that was refused alone is sent once more while this client sends no other.

    REST needs neither TensorFlow nor Keras; gRPC, which suits volumes, needs grpcio.
    `pip install scn-keras[client]` installs the packages for both.

    Args:
        url: Str, `http://HOST:8501`, `https://...`, `grpc://HOST:8500` or, with TLS,
            `grpcs://...`. A REST address may end with
            `/v1/models/NAME[/versions/VERSION]`.
        model: Str, the name of the model; `None` if the address contains it.
        version: Int, the version of the model; `None` for the latest.
        names: Sequence of str, the names of the landmarks; `None` to ask the model.
        batch_size: Int, the largest number of images in a call; it should not exceed
            the server's batch size.
        concurrency: Int, the largest number of calls at a time, of all callers.
        timeout: Float, seconds until a call is given up, with all its attempts.
        retries: Int, how often a call is repeated.
        headers: Mapping of str to str, sent with each call, for example for
            authentication.

    Raises:
        ImportError: If the packages for REST or gRPC are not installed.
        ValueError: If an argument is not valid.

    Example:

    ```python
    with Client("http://127.0.0.1:8501", model="hands") as client:
        for answer in client.predict(["hand.dcm", "films/"], spacing=(0.1, 0.1)):
            print(answer if isinstance(answer, Exception) else answer.points_mm)
    ```
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        version: int | None = None,
        names: Sequence[str] | None = None,
        batch_size: int = 8,
        concurrency: int = 4,
        timeout: float = 60.0,
        retries: int = 4,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        parts = _URL.fullmatch(url)
        if parts is None:
            raise ValueError(
                "`url` must be like http://localhost:8501 or grpc://localhost:8500. "
                f"Received: url={url!r}"
            )
        model = model or parts["model"]
        if not model:
            raise ValueError(f"Which model of {url}? Give its name: model='...'.")
        for key, value, minimum in (
            ("batch_size", batch_size, 1),
            ("concurrency", concurrency, 1),
            ("retries", retries, 0),
        ):
            if value < minimum:
                raise ValueError(
                    f"`{key}` must be at least {minimum}. Received: {key}={value}"
                )
        if not timeout > 0.0:
            raise ValueError(f"`timeout` must be above 0. Received: timeout={timeout}")
        if version is None and parts["version"]:
            version = int(parts["version"])
        self._names = None if names is None else tuple(names)
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._timeout = timeout
        self._retries = retries
        self._model_facts: tuple[ImageRules, str | None] | None = None
        self._connect = _connector(
            parts["scheme"], parts["address"], model, version, dict(headers or {})
        )
        self._transport: Transport | None = None
        self._calls = asyncio.Semaphore(concurrency)
        self._exclusive = asyncio.Lock()
        self._closed = False
        self._closing = threading.Lock()
        # All callers, of any thread or event loop, share one loop and its connections.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def predict(
        self,
        files: Files,
        spacing: Sequence[float] | None = None,
    ) -> list[Prediction | PredictionError]:
        """Finds the landmarks of images.

        Args:
            files: Sequence of paths of image files and folders, and of arrays
                `(y, x)` or `(z, y, x)`, or one of these. Arrays hold integers, whose
                type gives the range from black to white, or floats from 0 to 1.
            spacing: Sequence of floats, mm per pixel in x, y(, z), for arrays and for
                files without a spacing; `None` if it is unknown.

        Returns:
            List with an entry for each image, in order: a `Prediction`, or a
            `PredictionError` for an image that the client or the server cannot read.

        Raises:
            ConnectionError: If the server cannot be reached or stays overloaded.
            RuntimeError: If the server fails or has no such model, or if the client
                is closed.
            TimeoutError: If the server does not answer in time.
            ValueError: If `spacing` is not valid.
        """
        return self._wait(self._predict(files, spacing))

    async def predict_async(
        self,
        files: Files,
        spacing: Sequence[float] | None = None,
    ) -> list[Prediction | PredictionError]:
        """Finds landmarks like `predict`, without blocking the caller's event loop."""
        try:
            return await asyncio.wrap_future(self._run(self._predict(files, spacing)))
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._closed and not (caller and caller.cancelling()):
                raise RuntimeError(_CLOSED) from None
            raise

    def names(self, count: int) -> tuple[str, ...]:
        """Returns the names of the landmarks, or their numbers if they have no names.

        Args:
            count: Int, the number of landmarks of the model.
        """
        if self._names is None:
            self._names = self._wait(self._ask_names(count))
        return self._names

    def close(self) -> None:
        """Closes the connections; calls in progress end with a RuntimeError."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> concurrent.futures.Future:
        with self._closing:
            if not self._closed:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise RuntimeError(_CLOSED)

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        future = self._run(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise RuntimeError(_CLOSED) from error
        except BaseException:  # also after Ctrl-C, the calls are ended
            future.cancel()
            raise

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._transport is not None:
            await self._transport.close()

    async def _predict(self, files, spacing):
        spacing = validate_spacing(spacing)
        images = await asyncio.to_thread(list_images, files)
        if not images:
            return []
        facts = await self._ask_facts()

        async def predict_part(begin):
            async with self._calls:
                part = images[begin : begin + self._batch_size]
                return await self._predict_batch(part, begin, spacing, facts)

        begins = range(0, len(images), self._batch_size)
        tasks = [asyncio.create_task(predict_part(begin)) for begin in begins]
        try:
            parts = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        answers = [answer for part in parts for answer in part]
        refused = [n for n, a in enumerate(answers) if isinstance(a, RefusedError)]
        repeated = [n for n in refused if not isinstance(answers[n], TooLargeError)]
        if repeated:
            async with self._without_other_calls():
                for n in repeated:
                    (answers[n],) = await self._predict_batch(
                        [images[n]], n, spacing, facts
                    )
        for n in refused:
            if isinstance(answers[n], RefusedError):
                file = image_name(images[n], n)
                answers[n] = PredictionError(file, f"{file}: {answers[n]}")
        return answers

    @contextlib.asynccontextmanager
    async def _without_other_calls(self) -> AsyncIterator[None]:
        """Lets no other call with images run until the block ends."""
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(self._exclusive)
            for _ in range(self._concurrency):
                await held.enter_async_context(self._calls)
            yield

    async def _predict_batch(self, images, first_number, spacing, facts):
        """Reads images and sends them in as few calls as possible.

        Returns a `Prediction`, a `PredictionError` or a `RefusedError` for each.
        """
        rules, calibrated_on = facts
        answers: list[Any] = [None] * len(images)
        groups: dict[Any, list[tuple[int, ImageRequest]]] = {}
        for index, image in enumerate(images):
            request = await asyncio.to_thread(
                read_image_request, image, first_number + index, spacing, rules
            )
            if isinstance(request, PredictionError):
                answers[index] = request
            else:
                groups.setdefault(request.kind, []).append((index, request))
        for group in groups.values():
            for part in split_by_size(group):
                part_answers = await self._send([r for _, r in part], calibrated_on)
                for (index, _), answer in zip(part, part_answers, strict=True):
                    answers[index] = answer
        return answers

    async def _send(self, requests, calibrated_on):
        """Sends requests of one kind in one call, and in halves if it is refused."""
        inputs = requests[0].inputs
        if len(requests) > 1:
            inputs = {
                key: np.concatenate([request.inputs[key] for request in requests])
                for key in inputs
            }
        try:
            outputs = await self._call(requests[0].signature, inputs)
        except RefusedError as error:
            if len(requests) == 1:
                return [error]
            half = len(requests) // 2
            first = await self._send(requests[:half], calibrated_on)
            return first + await self._send(requests[half:], calibrated_on)
        return [
            prediction_of(
                request.source, {k: v[row] for k, v in outputs.items()}, calibrated_on
            )
            for row, request in enumerate(requests)
        ]

    async def _call(self, signature, inputs):
        """Calls a signature, and repeats the call while the server is unavailable."""
        if self._transport is None:
            self._transport = self._connect()
        deadline = time.monotonic() + self._timeout
        pause, failures = _FIRST_PAUSE, 0
        while True:
            remaining = deadline - time.monotonic()
            try:
                async with asyncio.timeout(remaining):
                    return await self._transport.call(signature, inputs, remaining)
            except TimeoutError as error:
                reason = str(error)
                late = (
                    f"in time: {reason}" if reason else f"within {self._timeout:g} s."
                )
                raise TimeoutError(f"The server did not answer {late}") from error
            except UnavailableError as error:
                is_last = failures >= self._retries
                if is_last or time.monotonic() + pause > deadline:
                    raise ConnectionError(
                        f"The server cannot be reached or is overloaded: {error}"
                    ) from error
                failures += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2.0

    async def _ask_facts(self):
        """Returns the `ImageRules` of the model and its `calibration_source`."""
        if self._model_facts is None:
            outputs = await self._describe_landmarks(0, 1)
            # Early exports do not have these outputs, and do not take stored values.
            orientation = _text(outputs.get("orientation", STORED_PIXELS))
            stored_values = bool(np.any(outputs.get("stored_values", False)))
            source = outputs.get("radii_calibrated_on")
            self._model_facts = (
                ImageRules(stored_values, orientation),
                None if source is None else _text(source),
            )
        return self._model_facts

    async def _ask_names(self, count):
        names: list[Any] = []
        for begin in range(0, count, self._batch_size):
            end = min(begin + self._batch_size, count)
            outputs = await self._describe_landmarks(begin, end)
            numbers = [str(number + 1) for number in range(begin, end)]
            names += np.asarray(outputs.get("name", numbers)).tolist()
        return tuple(n.decode() if isinstance(n, bytes) else n for n in names)

    async def _describe_landmarks(self, begin, end):
        """Calls the signature `landmarks`; returns `{}` if the model has none."""
        numbers = np.arange(begin, end, dtype=np.int32)
        try:
            return await self._call("landmarks", {"landmark": numbers})
        except RefusedError as error:
            if re.search("signature.*not found", str(error), re.IGNORECASE):
                return {}
            raise RuntimeError(
                f"The server does not say what the landmarks are: {error}"
            ) from error


def predict_served(
    url: str,
    files: Sequence[str | pathlib.Path],
    spacing: Sequence[float] | None = None,
) -> tuple[list[Prediction], list[str], LandmarkSchema]:
    """Finds landmarks with a served model, as `predict` does with a local one.

    Args:
        url: Str, see `Client`; it contains the model's name.
        files: Sequence of paths, see `Client.predict`.
        spacing: Sequence of floats or `None`, see `Client.predict`.

    Returns:
        `(predictions, problems, schema)`: the answers, a sentence for each image
        without one, and the landmarks without their links.
    """
    with Client(url) as client:
        answers = client.predict(files, spacing)
        predictions = [a for a in answers if isinstance(a, Prediction)]
        names = client.names(len(predictions[0].score)) if predictions else ()
    problems = [str(a) for a in answers if isinstance(a, PredictionError)]
    return predictions, problems, LandmarkSchema(names)


def _text(values):
    """Returns the first of the texts in an output."""
    value = np.ravel(values)[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def _connector(
    scheme: str,
    address: str,
    model: str,
    version: int | None,
    headers: dict[str, str],
) -> Callable[[], Transport]:
    """Returns a function that opens the connection in the running event loop."""
    try:
        if scheme.startswith("grpc"):
            from scn_keras.saved_models.client.grpc_transport import GrpcTransport

            secure = scheme == "grpcs"
            return lambda: GrpcTransport(address, model, version, secure, headers)
        from scn_keras.saved_models.client.rest_transport import RestTransport

        path = f"/v1/models/{model}" + (f"/versions/{version}" if version else "")
        return lambda: RestTransport(f"{scheme}://{address}{path}", headers)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"A client needs {error.name}: pip install 'scn-keras[client]'"
        ) from error
