import collections
import concurrent.futures
import logging
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from scn_keras.inference.decode import MAX_DECODED_PIXELS
from scn_keras.saved_models.export_folder import max_image_bytes_of
from scn_keras.saved_models.exporting.tf_serving import read_warm_up
from scn_keras.saved_models.graph_errors import sentence_of
from scn_keras.saved_models.rest_dialect import Input
from scn_keras.saved_models.server._batches import (
    Job,
    concatenated,
    distribute,
    pieces,
)
from scn_keras.saved_models.server.checked_images import pixels_of, require_types

_log = logging.getLogger("scn_keras.server")

# How many images one call may hold; calls of `heatmaps` may hold one batch.
MAX_IMAGES = 64


class ServerBusyError(RuntimeError):
    """The server takes no call now; the caller should ask again later."""


class ServedModel:
    """A SavedModel for many concurrent callers, with batching as in TF Serving.

    When the model becomes free, the calls that are waiting run as one batch, up to a
    number of images and of pixels. A single caller never waits for others, and memory
    is bounded for any number of callers. If a batch fails, its calls run one by one,
    so that no caller gets the error of another. One call may hold `MAX_IMAGES`
    images, or `batch_size` for the signature `heatmaps`.

    Args:
        folder: Str or path, the folder of a version, which holds `saved_model.pb`.
        batch_size: Int, the largest number of images in a batch; 1 disables batching.
        max_waiting: Int, how many calls may wait.
        threads: Int, how many batches run at a time: one is decoded while another is
            in the network.
        warm_up: Bool, whether to answer the requests that the export holds for this
            purpose before any other. Calls wait meanwhile.

    Attributes:
        state: Str, in TF Serving's words: `"LOADING"` during the warm-up, then
            `"AVAILABLE"`, or `"END"` if the warm-up failed.
        failure: Str, the error of the warm-up, otherwise empty.
        signatures: Dict of the signatures' names to their inputs, by name, see
            `rest_dialect.Input`.
        signature_defs: Dict of the signatures' names to their `SignatureDef` messages.

    Example:

    ```python
    with ServedModel("models/hands/1") as model:
        spacing = np.array([[0.1, 0.1]], np.float32)
        inputs = {"image_bytes": np.array([data], object), "spacing_mm": spacing}
        future = model.submit("serving_default", inputs)
        points = future.result()["points_px"]
    ```
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        batch_size: int = 8,
        max_waiting: int = 64,
        threads: int = 2,
        warm_up: bool = False,
    ) -> None:
        self.folder = pathlib.Path(folder)
        self.batch_size = batch_size
        self.max_waiting = max_waiting
        self._model = tf.saved_model.load(str(self.folder))
        self._max_bytes = max_image_bytes_of(self.folder)
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
        self._waiting: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self.state = "LOADING" if warm_up else "AVAILABLE"
        self.failure = ""
        self._threads = [
            threading.Thread(target=self._work, args=(warm_up and first,), daemon=True)
            for first in [True] + [False] * (threads - 1)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def version(self) -> str:
        """The number of the version: the folder's name, `"1"` if that is no number."""
        return self.folder.name if self.folder.name.isdigit() else "1"

    @property
    def waiting(self) -> int:
        """The number of calls that wait."""
        return len(self._waiting)

    def submit(
        self, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> "concurrent.futures.Future[dict[str, np.ndarray]]":
        """Queues a call of a signature.

        Args:
            signature: Str, the name of the signature.
            inputs: Mapping of names to arrays, see `rest_dialect.parse_call`.

        Returns:
            A future of the outputs by name. It raises a ValueError if the model
            refuses the inputs.

        Raises:
            RuntimeError: If the model is closed.
            ServerBusyError: If too many calls are waiting, or the warm-up failed.
            ValueError: If there are too many images, or one is damaged, too large or
                of a form that is not read.
        """
        count = len(next(iter(inputs.values())))
        max_images = self.batch_size if signature == "heatmaps" else MAX_IMAGES
        if count > max_images:
            raise ValueError(
                f"A call of {signature} may hold {max_images} at most. Received: "
                f"{count}. Divide it."
            )
        require_types(signature, self.signatures[signature], inputs)
        pixels = pixels_of(inputs, self._max_bytes)
        answer: concurrent.futures.Future = concurrent.futures.Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("The model is closed.")
            if self.failure:
                raise ServerBusyError(f"The model is out of order: {self.failure}")
            if len(self._waiting) >= self.max_waiting:
                raise ServerBusyError(
                    f"{self.max_waiting} calls are waiting already. Ask again later."
                )
            self._waiting.append(Job(signature, dict(inputs), pixels, answer))
            self._changed.notify()
        return answer

    def close(self) -> None:
        """Ends the threads and cancels the calls that are waiting."""
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

    def _work(self, warm_up):
        if warm_up:
            self._warm_up()
        while (jobs := self._next_jobs()) is not None:
            if jobs:
                self._answer(jobs)

    def _warm_up(self):
        failure = ""
        try:
            for signature, inputs in read_warm_up(self.folder):
                if self._closed:
                    return
                self._run(signature, inputs)
        except Exception as error:
            _log.exception("The warm-up of %s failed.", self.folder)
            failure = str(error)[:500]
        with self._changed:
            self.failure = failure
            self.state = "END" if failure else "AVAILABLE"
            while failure and self._waiting:
                refusal = ServerBusyError(f"The model is out of order: {failure}")
                self._waiting.popleft().answer.set_exception(refusal)
            self._changed.notify_all()

    def _answer(self, jobs):
        try:
            distribute(jobs, self._run_pieces(concatenated(jobs)))
        except Exception as error:
            if isinstance(error, ValueError) and len(jobs) > 1:
                for job in jobs:
                    self._answer([job])
                return
            for job in jobs:
                job.answer.set_exception(error)

    def _next_jobs(self):
        """Returns the calls of the next batch, or `None` if the model is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (self._waiting and self.state == "AVAILABLE")
            )
            if self._closed:
                return None
            first = self._waiting.popleft()
            jobs = [first]
            rest: collections.deque[Job] = collections.deque()
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
        # Callers that went away have cancelled their futures.
        return [job for job in jobs if job.answer.set_running_or_notify_cancel()]

    def _run_pieces(self, job):
        """Runs one job in pieces that keep to the limits of a batch."""
        outputs = [
            self._run(job.signature, {k: v[begin:end] for k, v in job.inputs.items()})
            for begin, end in pieces(job.pixels, self.batch_size)
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
            raise ValueError(sentence_of(error)) from error
        return {key: value.numpy() for key, value in outputs.items()}


def _input(info) -> Input:
    dtype = tf.as_dtype(info.dtype)
    sizes = [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
    numpy_dtype = np.dtype(object if dtype == tf.string else dtype.as_numpy_dtype)
    return Input(numpy_dtype, tuple(sizes))
