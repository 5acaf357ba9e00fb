import collections
import concurrent.futures
import pathlib
import re
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from scn_keras.inference.decode import MAX_DECODED_PIXELS, promised_size
from scn_keras.saved_models.rest_dialect import Input

MAX_IMAGES = 64  # of one call; of heatmaps, no more than go through the model together

# As a graph: ten times as fast.
_promised_size = tf.function(
    promised_size, input_signature=[tf.TensorSpec((), tf.string)]
)


class ServerBusyError(RuntimeError):
    """More calls wait than the server keeps; the caller should come again."""


class ServedModel:
    """A SavedModel that many threads ask at once, as TF Serving's batching does.

    What waits when the model becomes free goes through it together, up to a number of
    images and of pixels: a single caller never waits for others, and memory is
    bounded however many there are. If the images that went together fail, each call
    is asked alone: nobody gets another one's error. One call has `MAX_IMAGES` at most,
    of `heatmaps` a batch.

    Args:
        folder: Path, that of a version: it holds `saved_model.pb`.
        batch_size: Int, how many images go through the model together; 1 for no
            batching.
        max_waiting: Int, how many calls may wait.
        threads: Int, how many batches are worked on at a time: one is decoded while
            the network looks at another.

    Example:

    ```python
    with ServedModel("models/hands/1") as model:
        spacing = np.array([[0.1, 0.1]], np.float32)
        inputs = {"image_bytes": np.array([data], object), "spacing_mm": spacing}
        answer = model.submit("serving_default", inputs)
        points = answer.result()["points_px"]
    ```
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        batch_size: int = 8,
        max_waiting: int = 64,
        threads: int = 2,
    ) -> None:
        self.folder = pathlib.Path(folder)
        self.batch_size = batch_size
        self.max_waiting = max_waiting
        self._model = tf.saved_model.load(str(self.folder))
        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((self.folder / "saved_model.pb").read_bytes())
        self.signature_defs = {
            name: definition
            for name, definition in saved.meta_graphs[0].signature_def.items()
            if name in self._model.signatures
        }
        self.signatures = {
            name: {key: _input(info) for key, info in definition.inputs.items()}
            for name, definition in self.signature_defs.items()
        }
        self._waiting: collections.deque[_Job] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> "concurrent.futures.Future[dict[str, np.ndarray]]":
        """Asks the model; the answer comes into a future.

        Args:
            signature: Str, the name of one.
            inputs: Mapping of names to arrays, see `rest_dialect.parse_call`.

        Returns:
            A future of the outputs by name, or of a ValueError where the inputs were
            refused by the model.

        Raises:
            RuntimeError: If the model is closed.
            ServerBusyError: If too many calls wait.
            ValueError: If there are too many images, or one promises more than
                `MAX_DECODED_PIXELS`.
        """
        count = len(next(iter(inputs.values())))
        most = self.batch_size if signature == "heatmaps" else MAX_IMAGES
        if count > most:
            raise ValueError(
                f"A call of {signature} may hold {most} at most. Received: {count}. "
                "Divide it."
            )
        pixels = _pixels(inputs)
        answer: concurrent.futures.Future = concurrent.futures.Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("The model is closed.")
            if len(self._waiting) >= self.max_waiting:
                raise ServerBusyError(
                    f"{self.max_waiting} calls are waiting already. Ask again later."
                )
            self._waiting.append(_Job(signature, dict(inputs), pixels, answer))
            self._changed.notify()
        return answer

    def close(self) -> None:
        """Ends the threads; what waits is cancelled."""
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.answer.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "ServedModel":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _work(self):
        while (jobs := self._next_jobs()) is not None:
            if jobs:
                self._answer(jobs)

    def _answer(self, jobs):
        try:
            _share_out(jobs, self._run_pieces(_together(jobs)))
        except Exception as error:
            if isinstance(error, ValueError) and len(jobs) > 1:
                for job in jobs:
                    self._answer([job])
                return
            for job in jobs:
                job.answer.set_exception(error)

    def _next_jobs(self):
        """What goes through the model together next; `None` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            first = self._waiting.popleft()
            jobs = [first]
            rest: collections.deque[_Job] = collections.deque()
            count, pixels = len(first.pixels), sum(first.pixels)
            for job in self._waiting:
                more, larger = count + len(job.pixels), pixels + sum(job.pixels)
                fits = more <= self.batch_size and larger <= MAX_DECODED_PIXELS
                if fits and job.kind == first.kind:
                    jobs.append(job)
                    count, pixels = more, larger
                else:
                    rest.append(job)
            self._waiting = rest
        # A caller that went away has cancelled.
        return [job for job in jobs if job.answer.set_running_or_notify_cancel()]

    def _run_pieces(self, job):
        """Runs one job, in as many pieces as its number and size ask for."""
        outputs = [
            self._run(job.signature, {k: v[begin:end] for k, v in job.inputs.items()})
            for begin, end in _pieces(job.pixels, self.batch_size)
        ]
        if len(outputs) == 1:
            return outputs[0]
        return {k: np.concatenate([o[k] for o in outputs]) for k in outputs[0]}

    def _run(self, signature, inputs):
        tensors = {
            key: tf.constant(array.tolist(), tf.string, array.shape)
            if array.dtype == object
            else tf.constant(array)
            for key, array in inputs.items()
        }
        try:
            outputs = self._model.signatures[signature](**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(_plain(error.message)) from error
        return {key: value.numpy() for key, value in outputs.items()}


class _Job(NamedTuple):
    signature: str
    inputs: dict[str, np.ndarray]
    pixels: list[int]
    answer: concurrent.futures.Future

    @property
    def kind(self):
        """Equal for jobs whose arrays can be one."""
        return self.signature, [a.shape[1:] for a in self.inputs.values()]


def _input(info) -> Input:
    dtype = tf.as_dtype(info.dtype)
    sizes = [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
    numbers = np.dtype(object if dtype == tf.string else dtype.as_numpy_dtype)
    return Input(numbers, tuple(sizes))


def _pixels(inputs: Mapping[str, np.ndarray]) -> list[int]:
    """How many pixels each image has or, of bytes, its header promises."""
    largest = np.zeros(len(next(iter(inputs.values()))), int)
    for array in inputs.values():
        if array.dtype == object:
            sizes = np.array([_promised_pixels(data) for data in array], int)
        else:
            sizes = np.full(len(array), np.prod(array.shape[1:], dtype=int))
        largest = np.maximum(largest, sizes)
    for index, size in enumerate(largest):
        if size > MAX_DECODED_PIXELS:
            raise ValueError(
                f"Image {index} has more than {MAX_DECODED_PIXELS:,} pixels. Received: "
                f"{size:,}. Make it smaller."
            )
    return largest.tolist()


def _promised_pixels(data: bytes) -> int:
    try:
        rows, columns = map(int, _promised_size(tf.constant(data)).numpy())
    except tf.errors.InvalidArgumentError:
        return 0  # no header: the graph refuses it
    return rows * columns


def _together(jobs: list[_Job]) -> _Job:
    first = jobs[0]
    if len(jobs) == 1:
        return first
    inputs = {
        key: np.concatenate([job.inputs[key] for job in jobs]) for key in first.inputs
    }
    return first._replace(inputs=inputs, pixels=sum([job.pixels for job in jobs], []))


def _share_out(jobs: list[_Job], outputs: dict[str, np.ndarray]) -> None:
    begin = 0
    for job in jobs:
        end = begin + len(job.pixels)
        job.answer.set_result({key: v[begin:end] for key, v in outputs.items()})
        begin = end


def _pieces(pixels: list[int], batch_size: int) -> list[tuple[int, int]]:
    pieces, begin = [], 0
    for end in range(1, len(pixels) + 1):
        full = end - begin == batch_size
        if full or sum(pixels[begin : end + 1]) > MAX_DECODED_PIXELS:
            pieces.append((begin, end))
            begin = end
    if begin < len(pixels) or not pieces:  # also of no image at all
        pieces.append((begin, len(pixels)))
    return pieces


def _plain(message: str) -> str:
    """An error of TensorFlow without its list of nodes and source files."""
    message = re.split(r"\n\s*\[\[|\nDetected at node|Detected at node", message)[0]
    return re.sub(r"\{\{.*?\}\}\s*", "", message).strip()[:500]
