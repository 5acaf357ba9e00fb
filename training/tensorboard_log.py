import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import draw_overlay, to_png

_IMAGES = 4


class TensorBoardLog(keras.callbacks.Callback):
    """Writes the curves of a training, and its points on images, for TensorBoard.

    After each epoch: every number that Keras reports, the learning rate, learned
    sigmas, and the points found in the first images of the validation (or, where
    there is none, of the training) beside the true ones. Read it with
    `tensorboard --logdir FOLDER`.

    Args:
        folder: Path. What is there stays, for a training that continues.
        batches: Batches `(image, {"points", "affine"})`.
        schema: `LandmarkSchema`.

    Raises:
        ImportError: If TensorBoard is not installed.
    """

    def __init__(
        self, folder: pathlib.Path, batches: Iterable[Any], schema: LandmarkSchema
    ) -> None:
        super().__init__()
        self.require()
        self.writer = tf.summary.create_file_writer(str(folder))
        self.schema = schema
        self.samples = list(itertools.islice(_samples(batches), _IMAGES))

    @staticmethod
    def require() -> None:
        """Raises ImportError if TensorBoard is not installed."""
        try:
            import tensorboard  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "TensorBoard is not installed. Install it with `pip install "
                "scn-keras[tensorboard]`, or leave --tensorboard out."
            ) from error

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # Keras counts epochs from 0 in every call of `fit`; the optimiser does not.
        step = int(_number(self.model.optimizer.iterations))
        with self.writer.as_default(step=step):
            for name, value in (logs or {}).items():
                tf.summary.scalar(name, value)
            rate = _number(self.model.optimizer.learning_rate)
            tf.summary.scalar("learning_rate", float(rate))
            if hasattr(self.model.target, "sigma"):
                tf.summary.histogram("sigma", _number(self.model.target.sigma))
            for number, picture in enumerate(self._pictures()):
                tf.summary.image(f"points/{number}", picture[None])
        self.writer.flush()

    def _pictures(self):
        for image, truth in self.samples:
            found = self.model.localizer.predict_on_batch(image[None])["points"]
            drawing = draw_overlay(
                image,
                self.schema,
                np.asarray(found)[0],
                truth["points"],
                truth["affine"],
            )
            yield tf.io.decode_png(to_png(drawing, dpi=100), channels=3)


def _samples(batches: Iterable[Any]) -> Iterator[Any]:
    for batch in batches:
        batch = keras.tree.map_structure(_number, batch)
        for row in range(len(batch[0])):
            yield keras.tree.map_structure(lambda values, row=row: values[row], batch)


def _number(tensor):
    return keras.ops.convert_to_numpy(tensor)
