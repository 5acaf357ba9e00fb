import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import draw_overlay, to_png

_MAX_IMAGES = 4


class TensorBoardLog(keras.callbacks.Callback):
    """A callback that logs training curves and example images for TensorBoard.

    After each epoch it logs all metrics, the learning rate, learned sigmas, and the
    predicted and true points on the first images of the batches. `tensorboard
    --logdir FOLDER` shows them.

    Args:
        folder: Path of the log. Existing files are kept, so that a resumed training
            continues its log.
        batches: Iterable of batches `(image, {"points", "affine"})` of the validation
            images, or of the training images if there are none.
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
        self.samples = list(itertools.islice(_samples(batches), _MAX_IMAGES))

    @staticmethod
    def require() -> None:
        """Validates that TensorBoard is installed.

        Raises:
            ImportError: If TensorBoard is not installed.
        """
        try:
            import tensorboard  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "TensorBoard is not installed. Install it with `pip install "
                "scn-keras[tensorboard]`, or omit --tensorboard."
            ) from error

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # `epoch` starts at 0 in every call of `fit`; the optimiser counts all steps.
        step = int(_to_numpy(self.model.optimizer.iterations))
        with self.writer.as_default(step=step):
            for name, value in (logs or {}).items():
                tf.summary.scalar(name, value)
            rate = _to_numpy(self.model.optimizer.learning_rate)
            tf.summary.scalar("learning_rate", float(rate))
            if hasattr(self.model.target, "sigma"):
                tf.summary.histogram("sigma", _to_numpy(self.model.target.sigma))
            for number, picture in enumerate(self._pictures()):
                tf.summary.image(f"points/{number}", picture[None])
        self.writer.flush()

    def _pictures(self) -> Iterator[tf.Tensor]:
        """Yields the example images with predicted and true points."""
        for image, truth in self.samples:
            outputs = self.model.localizer.predict_on_batch(image[None])
            drawing = draw_overlay(
                image,
                self.schema,
                np.asarray(outputs["points"])[0],
                truth["points"],
                truth["affine"],
            )
            yield tf.io.decode_png(to_png(drawing, dpi=100), channels=3)


def _samples(batches: Iterable[Any]) -> Iterator[Any]:
    """Yields the samples of batches one by one, as NumPy arrays."""
    for batch in batches:
        batch = keras.tree.map_structure(_to_numpy, batch)
        for row in range(len(batch[0])):
            yield keras.tree.map_structure(lambda values, row=row: values[row], batch)


def _to_numpy(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)
