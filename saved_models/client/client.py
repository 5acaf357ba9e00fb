import asyncio
import concurrent.futures
import contextlib
import os
import pathlib
import random
import re
import threading
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, NamedTuple

import numpy as np

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.client.prediction_error import PredictionError
from scn_keras.saved_models.client.transport import (
    RefusedError,
    TooLargeError,
    Transport,
    UnavailableError,
)
from scn_keras.saved_models.predicting.image_source import (
    ImageSource,
    affine_of,
    call_of,
    find_files,
    read_image_source,
)
from scn_keras.saved_models.predicting.prediction import Prediction

_URL = re.compile(
    r"(?P<scheme>https?|grpcs?)://(?P<address>[^/]+)"
    r"(?:/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+))?(?::predict)?)?/?"
)
_FIRST_PAUSE = 0.2  # seconds, doubled from try to try
_BATCH_BYTES = 2**24  # of what one call carries; a larger image goes alone
_CLOSED = "The client is closed."

_Files = Sequence[str | os.PathLike[str] | np.ndarray]


class Client:
    """Asks a served model for landmarks: TF Serving, or `scn-keras serve`.

    Files of every format that SimpleITK reads are decoded here, and their spacing is
    taken from their header; PNG, JPEG and BMP go as they are. Several images travel in
    one call, several calls at a time. A call that fails because the server cannot be
    reached or is overloaded (502, 503, 429, UNAVAILABLE) is repeated after growing
    pauses. An image that the server cannot decode makes its whole call fail: the call
    is divided until that image is alone, so that its neighbours get their answers. A
    server that batches puts calls together, and fails them together: an image that was
    refused alone is asked for once more when no other call of this client is under way.

    REST needs neither TensorFlow nor Keras; gRPC, which suits volumes, needs grpcio.
    Both come with `pip install scn-keras[client]`.

    Args:
        url: Str, `http://HOST:8501`, `https://...`, `grpc://HOST:8500` or, with TLS,
            `grpcs://...`; of REST also with `/v1/models/NAME[/versions/VERSION]`.
        model: Str, the model's name, where the address does not say it.
        version: Int; `None` for the latest.
        names: Sequence of str, the landmarks' names; `None` to ask the model.
        batch_size: Int, how many images travel in one call; no more than the server's
            batches hold.
        concurrency: Int, how many calls are under way at a time, of all callers.
        timeout: Float, seconds until a call is given up, all its tries together.
        retries: Int, how often a call is repeated.
        headers: Mapping of str, sent with each call, for example for log-in.

    Raises:
        ValueError: If the address or a number is not one.

    Example:

    ```python
    with Client("http://127.0.0.1:8501", model="hands") as client:
        for found in client.predict(["hand.dcm", "films/"], spacing=(0.1, 0.1)):
            print(found if isinstance(found, Exception) else found.points_mm)
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
        for key, value, least in (
            ("batch_size", batch_size, 1),
            ("concurrency", concurrency, 1),
            ("retries", retries, 0),
        ):
            if value < least:
                raise ValueError(f"`{key}` must be at least {least}. Received: {value}")
        if not timeout > 0.0:
            raise ValueError(f"`timeout` must be above 0. Received: {timeout}")
        if version is None and parts["version"]:
            version = int(parts["version"])
        self._names = None if names is None else tuple(names)
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._timeout = timeout
        self._retries = retries
        self._stored_values: bool | None = None
        self._connect = _connector(
            parts["scheme"], parts["address"], model, version, dict(headers or {})
        )
        self._transport: Transport | None = None
        self._free = asyncio.Semaphore(concurrency)
        self._lone = asyncio.Lock()
        self._closed = False
        self._closing = threading.Lock()
        # One loop for all callers, of any thread or loop: connections stay open.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def predict(
        self,
        files: _Files | str | os.PathLike[str] | np.ndarray,
        spacing: Sequence[float] | None = None,
    ) -> list[Prediction | PredictionError]:
        """Finds the landmarks of images.

        Args:
            files: Sequence of paths of image files and of folders of them, or of
                arrays `(y, x)` or `(z, y, x)`: integers of any type, whose range is
                that from black to white, or floats from 0 to 1. Or one of these.
            spacing: Millimetres per pixel, x, y(, z), of arrays and of files that do
                not say; `None` where it is not known.

        Returns:
            One entry an image, in order: a `Prediction`, or a `PredictionError` for an
            image that could not be read here or there.

        Raises:
            ConnectionError: If the server cannot be reached, or stays overloaded.
            RuntimeError: If it fails, or has no such model; if the client is closed.
            TimeoutError: If it does not answer in time.
            ValueError: If `spacing` is none.
        """
        return self._wait(self._predict(files, spacing))

    async def predict_async(
        self,
        files: _Files | str | os.PathLike[str] | np.ndarray,
        spacing: Sequence[float] | None = None,
    ) -> list[Prediction | PredictionError]:
        """As `predict`, without blocking the caller's event loop."""
        try:
            return await asyncio.wrap_future(self._run(self._predict(files, spacing)))
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._closed and not (caller and caller.cancelling()):
                raise RuntimeError(_CLOSED) from None
            raise

    def names(self, count: int) -> tuple[str, ...]:
        """Returns the names of the landmarks, or numbers where the model has none.

        Args:
            count: Int, how many landmarks the model has.
        """
        if self._names is None:
            self._names = self._wait(self._ask_names(count))
        return self._names

    def close(self) -> None:
        """Closes the connections; calls that are under way end with a RuntimeError."""
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
        except BaseException:  # Ctrl-C: the calls end, too
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
        spacing = _checked_spacing(spacing)
        entries = await asyncio.to_thread(_entries, files)
        if not entries:
            return []
        stored = await self._takes_stored_values()

        async def batch(begin):
            async with self._free:
                part = entries[begin : begin + self._batch_size]
                return await self._batch(part, begin, spacing, stored)

        begins = range(0, len(entries), self._batch_size)
        batches = [asyncio.create_task(batch(begin)) for begin in begins]
        try:
            found = [one for part in await asyncio.gather(*batches) for one in part]
        finally:
            for task in batches:
                task.cancel()
        refused = [n for n, one in enumerate(found) if isinstance(one, RefusedError)]
        again = [n for n in refused if not isinstance(found[n], TooLargeError)]
        if again:
            async with self._quiet():
                for n in again:
                    (found[n],) = await self._batch([entries[n]], n, spacing, stored)
        for n in refused:
            if isinstance(found[n], RefusedError):
                file = _name(entries[n], n)
                found[n] = PredictionError(file, f"{file}: {found[n]}")
        return found

    @contextlib.asynccontextmanager
    async def _quiet(self) -> AsyncIterator[None]:
        """While it is open, no other call for images is under way."""
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(self._lone)
            for _ in range(self._concurrency):
                await held.enter_async_context(self._free)
            yield

    async def _batch(self, entries, number, spacing, stored):
        """Reads some images and asks for them, in as few calls as they fit into.

        Returns a `Prediction`, a `PredictionError` or a `RefusedError` for each.
        """
        found: list[Any] = [None] * len(entries)
        groups: dict[Any, list[tuple[int, _Question]]] = {}
        for index, entry in enumerate(entries):
            read = await asyncio.to_thread(
                _question, entry, number + index, spacing, stored
            )
            if isinstance(read, PredictionError):
                found[index] = read
                continue
            kind = (read.signature, *(a.shape[1:] for a in read.inputs.values()))
            groups.setdefault(kind, []).append((index, read))
        for members in groups.values():
            for part in _within_bytes(members):
                answers = await self._answers([question for _, question in part])
                for (index, _), answer in zip(part, answers, strict=True):
                    found[index] = answer
        return found

    async def _answers(self, questions):
        inputs = questions[0].inputs
        if len(questions) > 1:
            inputs = {
                key: np.concatenate([one.inputs[key] for one in questions])
                for key in inputs
            }
        try:
            outputs = await self._call(questions[0].signature, inputs)
        except RefusedError as error:
            if len(questions) == 1:
                return [error]
            half = len(questions) // 2
            first = await self._answers(questions[:half])
            return first + await self._answers(questions[half:])
        return [
            Prediction.of(one.source, {k: value[row] for k, value in outputs.items()})
            for row, one in enumerate(questions)
        ]

    async def _call(self, signature, inputs):
        """Asks once, and again while that is worth it and there is time."""
        if self._transport is None:
            self._transport = self._connect()
        deadline = time.monotonic() + self._timeout
        pause, tries = _FIRST_PAUSE, 0
        while True:
            left = deadline - time.monotonic()
            try:
                async with asyncio.timeout(left):
                    return await self._transport.call(signature, inputs, left)
            except TimeoutError as error:
                late = (
                    f"in time: {error}"
                    if str(error)
                    else f"within {self._timeout:g} s."
                )
                raise TimeoutError(f"The server did not answer {late}") from error
            except UnavailableError as error:
                if tries >= self._retries or time.monotonic() + pause > deadline:
                    raise ConnectionError(
                        f"The server cannot be reached or is overloaded: {error}"
                    ) from error
                tries += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2.0

    async def _takes_stored_values(self):
        if self._stored_values is None:
            about = await self._about_landmarks(0, 1)
            # Of an export that does not say: no.
            self._stored_values = bool(np.any(about.get("stored_values", False)))
        return self._stored_values

    async def _ask_names(self, count):
        names: list[Any] = []
        for begin in range(0, count, self._batch_size):
            end = min(begin + self._batch_size, count)
            about = await self._about_landmarks(begin, end)
            numbers = [str(number + 1) for number in range(begin, end)]
            names += np.asarray(about.get("name", numbers)).tolist()
        return tuple(n.decode() if isinstance(n, bytes) else n for n in names)

    async def _about_landmarks(self, begin, end):
        """What the model says of some landmarks; nothing where it does not."""
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
    """Asks a served model as `predict` asks one on this machine.

    Args:
        url: Str, see `Client`; it says the model's name.
        files: Sequence of paths, see `Client.predict`.
        spacing: Likewise.

    Returns:
        `(predictions, problems, schema)`: one sentence for each file that was not
        answered; the landmarks without links.
    """
    with Client(url) as client:
        found = client.predict(files, spacing)
        results = [entry for entry in found if isinstance(entry, Prediction)]
        names = client.names(len(results[0].score)) if results else ()
    problems = [str(entry) for entry in found if isinstance(entry, PredictionError)]
    return results, problems, LandmarkSchema(names)


class _Question(NamedTuple):
    """An image as a signature takes it."""

    source: ImageSource
    signature: str
    inputs: dict[str, np.ndarray]


def _checked_spacing(spacing) -> tuple[float, ...] | None:
    if spacing is None:
        return None
    numbers = tuple(map(float, spacing))
    if len(numbers) not in (2, 3) or not all(0.0 < one < np.inf for one in numbers):
        raise ValueError(
            "`spacing` must be two or three numbers above 0, in millimetres: x, y(, "
            f"z). Received: spacing={spacing}"
        )
    return numbers


def _entries(files) -> list[Any]:
    """What to read, folders by their images; an error for one without any."""
    if isinstance(files, str | os.PathLike | np.ndarray):
        files = [files]
    entries: list[Any] = []
    for file in files:
        if isinstance(file, np.ndarray):
            entries.append(file)
            continue
        paths, problems = find_files([file])
        entries += paths
        entries += [PredictionError(pathlib.Path(file), text) for text in problems]
    return entries


def _name(entry, number: int) -> pathlib.Path:
    return pathlib.Path(f"array {number}") if isinstance(entry, np.ndarray) else entry


def _question(
    entry, number: int, spacing: tuple[float, ...] | None, stored: bool
) -> _Question | PredictionError:
    if isinstance(entry, PredictionError):
        return entry
    file = _name(entry, number)
    try:
        source = _read(entry, file, spacing, stored)
        return _Question(source, *call_of(source, stored))
    except (ValueError, OSError) as error:
        return PredictionError(file, str(error))


def _read(entry, file: pathlib.Path, spacing, stored: bool) -> ImageSource:
    if not isinstance(entry, np.ndarray):
        return read_image_source(file, spacing, None, stored)
    if entry.ndim not in (2, 3) or entry.dtype.kind not in "uif":
        raise ValueError(
            "An image must be an array of numbers with the axes (y, x) or (z, y, x). "
            f"Received: {entry.dtype} {entry.shape}"
        )
    if not entry.size:
        raise ValueError(f"{file} holds no pixel. Received: shape {entry.shape}")
    return ImageSource(file, None, entry, affine_of(file, spacing, entry.ndim), ())


def _within_bytes(
    members: list[tuple[int, _Question]],
) -> Iterator[list[tuple[int, _Question]]]:
    """Divides images into lists that one call can carry."""
    part: list[tuple[int, _Question]] = []
    size = 0
    for member in members:
        more = sum(
            sum(map(len, array)) if array.dtype == object else array.nbytes
            for array in member[1].inputs.values()
        )
        if part and size + more > _BATCH_BYTES:
            yield part
            part, size = [], 0
        part.append(member)
        size += more
    yield part


def _connector(
    scheme: str,
    address: str,
    model: str,
    version: int | None,
    headers: dict[str, str],
) -> Callable[[], Transport]:
    """Returns what opens the connection, inside of the event loop that uses it."""
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
