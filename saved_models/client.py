import asyncio
import concurrent.futures
import pathlib
import random
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras.geometry import affine_from_spacing
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.image_source import (
    ImageSource,
    call_of,
    find_files,
    read_image_source,
)
from scn_keras.saved_models.prediction import Prediction
from scn_keras.saved_models.prediction_error import PredictionError
from scn_keras.saved_models.transport import Refused, Transport, Unavailable

_URL = re.compile(
    r"(?P<scheme>https?|grpcs?)://(?P<address>[^/]+)"
    r"(?:/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+))?(?::predict)?)?/?"
)
_FIRST_PAUSE = 0.2  # seconds, doubled from try to try
_BATCH_BYTES = 2**24  # of what one call carries; a larger image goes alone


class Client:
    """Asks a served model for landmarks: TF Serving, or `scn-keras serve`.

    Files of every format that SimpleITK reads are decoded here, and their spacing is
    taken from their header; PNG, JPEG and BMP go as they are. Several images travel in
    one call, several calls at a time. A call that fails because the server cannot be
    reached or is overloaded (503, 429, UNAVAILABLE) is repeated after growing pauses.
    An image that the server cannot decode makes its whole call fail: the call is
    divided until that image is alone, so that its neighbours get their answers.

    REST needs neither TensorFlow nor Keras; gRPC, which suits volumes, needs grpcio.
    Both come with `pip install scn-keras[client]`.

    Args:
        url: Str, `http://HOST:8501`, `https://...`, `grpc://HOST:8500` or, with TLS,
            `grpcs://...`; of REST also with `/v1/models/NAME[/versions/VERSION]`.
        model: Str, the model's name, where the address does not say it.
        version: Int; `None` for the latest.
        names: Sequence of str, the landmarks' names; `None` to ask the model.
        batch_size: Int, how many images travel in one call.
        concurrency: Int, how many calls are under way at a time.
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
        for key, value in (("batch_size", batch_size), ("concurrency", concurrency)):
            if value < 1:
                raise ValueError(f"`{key}` must be at least 1. Received: {value}")
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
        # One loop for all callers, of any thread or loop: connections stay open.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def predict(
        self,
        files: Sequence[str | pathlib.Path | np.ndarray],
        spacing: Sequence[float] | None = None,
    ) -> list[Prediction | PredictionError]:
        """Finds the landmarks of images.

        Args:
            files: Sequence of paths of image files and of folders of them, or of
                arrays `(y, x)` or `(z, y, x)`: integers of any type, whose range is
                that from black to white, or floats from 0 to 1.
            spacing: Millimetres per pixel, x, y(, z), of arrays and of files that do
                not say; `None` where it is not known.

        Returns:
            One entry an image, in order: a `Prediction`, or a `PredictionError` for an
            image that could not be read here or there.

        Raises:
            ConnectionError: If the server cannot be reached, or stays overloaded.
            RuntimeError: If it fails, or has no such model.
            TimeoutError: If it does not answer in time.
        """
        return self._run(self._predict(files, spacing)).result()

    async def predict_async(
        self,
        files: Sequence[str | pathlib.Path | np.ndarray],
        spacing: Sequence[float] | None = None,
    ) -> list[Prediction | PredictionError]:
        """As `predict`, without blocking the caller's event loop."""
        return await asyncio.wrap_future(self._run(self._predict(files, spacing)))

    def names(self, count: int) -> tuple[str, ...]:
        """Returns the names of the landmarks, or numbers where the model has none.

        Args:
            count: Int, how many landmarks the model has.
        """
        if self._names is None:
            self._names = self._run(self._ask_names(count)).result()
        return self._names

    def close(self) -> None:
        """Closes the connections."""
        if self._thread.is_alive():
            if self._transport is not None:
                self._run(self._transport.close()).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> concurrent.futures.Future:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _predict(self, files, spacing):
        entries = _entries(files)
        free = asyncio.Semaphore(self._concurrency)

        async def batch(begin):
            async with free:
                part = entries[begin : begin + self._batch_size]
                return await self._batch(part, spacing, begin)

        begins = range(0, len(entries), self._batch_size)
        batches = [asyncio.create_task(batch(begin)) for begin in begins]
        try:
            return [found for part in await asyncio.gather(*batches) for found in part]
        finally:
            for task in batches:
                task.cancel()

    async def _batch(self, entries, spacing, number):
        """Reads some images and asks for them, in as few calls as they fit into."""
        found: list[Any] = [None] * len(entries)
        groups: dict[Any, list[tuple[int, ImageSource, dict[str, np.ndarray]]]] = {}
        for index, entry in enumerate(entries):
            if isinstance(entry, PredictionError):
                found[index] = entry
                continue
            file = _name(entry, number + index)
            try:
                source = await asyncio.to_thread(_read, entry, file, spacing)
            except (ValueError, OSError) as error:
                found[index] = PredictionError(file, str(error))
                continue
            # Bytes are decoded there, whatever the model takes.
            stored = source.data is None and await self._takes_stored_values()
            signature, inputs = await asyncio.to_thread(call_of, source, stored)
            kind = (signature, *(array.shape[1:] for array in inputs.values()))
            groups.setdefault(kind, []).append((index, source, inputs))
        for (signature, *_), members in groups.items():
            for part in _within_bytes(members):
                answers = await self._answers(signature, part)
                for (index, *_), answer in zip(part, answers, strict=True):
                    found[index] = answer
        return found

    async def _answers(self, signature, members):
        inputs = {
            key: np.concatenate([inputs[key] for *_, inputs in members])
            for key in members[0][2]
        }
        try:
            outputs = await self._call(signature, inputs)
        except Refused:
            if len(members) > 1:
                half = len(members) // 2
                first = await self._answers(signature, members[:half])
                return first + await self._answers(signature, members[half:])
            try:  # of a server that batches, the fault may have been a stranger's
                outputs = await self._call(signature, inputs)
            except Refused as error:
                source = members[0][1]
                return [PredictionError(source.file, f"{source.file}: {error}")]
        return [
            Prediction.of(source, {key: value[row] for key, value in outputs.items()})
            for row, (_, source, _) in enumerate(members)
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
                raise TimeoutError(
                    f"The server did not answer within {self._timeout:g} s."
                ) from error
            except Unavailable as error:
                if tries >= self._retries or time.monotonic() + pause > deadline:
                    raise ConnectionError(
                        f"The server cannot be reached or is overloaded: {error}"
                    ) from error
                tries += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2.0

    async def _takes_stored_values(self):
        if self._stored_values is None:
            try:
                about = await self._call("landmarks", {"landmark": np.zeros(1, "i4")})
                self._stored_values = bool(about["stored_values"][0])
            except (Refused, KeyError):  # an export that does not say
                self._stored_values = False
        return self._stored_values

    async def _ask_names(self, count):
        try:
            about = await self._call(
                "landmarks", {"landmark": np.arange(count, dtype=np.int32)}
            )
        except Refused:
            return tuple(str(number) for number in range(1, count + 1))
        names = about["name"].tolist()
        return tuple(n.decode() if isinstance(n, bytes) else n for n in names)


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


def _entries(files) -> list[Any]:
    """What to read, folders by their images; an error for one without any."""
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


def _read(entry, file: pathlib.Path, spacing) -> ImageSource:
    if not isinstance(entry, np.ndarray):
        return read_image_source(file, spacing, None, False)
    if entry.ndim not in (2, 3) or entry.dtype.kind not in "uif":
        raise ValueError(
            "An image must be an array of numbers with the axes (y, x) or (z, y, x). "
            f"Received: {entry.dtype} {entry.shape}"
        )
    affine = affine_from_spacing([0.0] * entry.ndim if spacing is None else spacing)
    return ImageSource(file, None, entry, affine, ())


def _within_bytes(members) -> Iterator[list[Any]]:
    """Divides images into lists that one call can carry."""
    part: list[Any] = []
    size = 0
    for member in members:
        more = sum(
            sum(map(len, array)) if array.dtype == object else array.nbytes
            for array in member[2].values()
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
            from scn_keras.saved_models.grpc_transport import GrpcTransport

            secure = scheme == "grpcs"
            return lambda: GrpcTransport(address, model, version, secure, headers)
        from scn_keras.saved_models.rest_transport import RestTransport

        path = f"/v1/models/{model}" + (f"/versions/{version}" if version else "")
        return lambda: RestTransport(f"{scheme}://{address}{path}", headers)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"A client needs {error.name}: pip install 'scn-keras[client]'"
        ) from error
