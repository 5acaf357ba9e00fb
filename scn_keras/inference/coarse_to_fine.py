from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from scn_keras.alignment import align
from scn_keras.array_api import NUMPY
from scn_keras.geometry import apply_affine, has_usable_spacing
from scn_keras.inference.image_to_grid import ImageToGrid

if TYPE_CHECKING:
    from scn_keras.inference.locator import Locator


class CoarseToFine:
    """Places the grid of a fine network by the points of a coarse network.

    A similarity transform maps the mean shape of the training images to the points of
    an image. The grid, which is centred at the mean shape, is mapped by the same
    transform, so that all images of the fine network have the same pose and size.
    Training images are placed by their true points, and the augmentation of the fine
    network must cover the errors of the coarse network. In inference the grid is placed
    twice: by the points of the coarse network, then by the points of the fine network.

    Args:
        image_to_grid: `ImageToGrid` of the fine network, with a `grid_spacing`.
        shape: Array `(N, D)`, the mean shape in mm, see `alignment.mean_shape`.
        coarse: `Locator` of the coarse network, or `None` if all points are known.

    Example:

    >>> placed = scn_keras.inference.CoarseToFine(
    ...     scn_keras.inference.ImageToGrid((8, 8), (1.0, 1.0)),
    ...     np.array([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]]),
    ... )
    >>> points = np.array([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]]) + 10.0
    >>> placed.grid_to_source(points, np.eye(3))[:2, 2].round(2)
    array([6.5, 6.5], dtype=float32)
    """

    def __init__(
        self,
        image_to_grid: ImageToGrid,
        shape: np.ndarray,
        coarse: "Locator | None" = None,
    ) -> None:
        self.image_to_grid = image_to_grid
        self.shape = shape
        self.coarse = coarse
        spacing = np.asarray(image_to_grid.grid_spacing)
        center = (np.array(image_to_grid.grid[::-1]) - 1.0) / 2.0
        self._grid_to_shape = np.diag([*spacing, 1.0])
        self._grid_to_shape[:-1, -1] = -spacing * center

    def grid_to_source(
        self,
        points: Any,
        affine: Any,
        weights: Any = None,
        robust: bool = False,
        xp: Any = NUMPY,
    ) -> Any:
        """Returns the map from the grid to the image, placed by points.

        Args:
            points: Array `(N, D)` in pixels of the image; NaN rows are missing.
            affine: Array `(D + 1, D + 1)`, from pixels of the image to millimetres.
            weights, robust, xp: See `alignment.align`.

        Returns:
            Float32 array `(D + 1, D + 1)`.
        """
        to_space = affine_or_pixels(affine, xp)
        points = apply_affine(to_space, xp.cast(points, "float64"))
        shape_to_space = align(self.shape, points, weights, robust, xp)
        to_source = xp.inv(to_space) @ shape_to_space @ self._grid_to_shape
        return xp.cast(to_source, "float32")

    def place_by_peaks(
        self, points: Any, affine: Any, score: Any, xp: Any = NUMPY
    ) -> Any:
        """Returns the map from the grid to the image, placed by a network's points.

        The points are weighted by their scores, and outliers have little influence.

        Args:
            points, affine, xp: See `grid_to_source`.
            score: Array `(N,)`.
        """
        # The sum of the weights is positive even if all scores are 0.
        return self.grid_to_source(points, affine, score + 1e-6, True, xp)

    def place_by_coarse(self, samples: tf.data.Dataset) -> tf.data.Dataset:
        """Adds `grid_to_source` to samples, placed by points of the coarse network.

        Args:
            samples: Dataset of dicts, see `Locator.locate`.

        Raises:
            ValueError: If there is no coarse locator.
        """
        if self.coarse is None:
            raise ValueError(
                "Coarse-to-fine localisation requires a coarse locator. Received: "
                "coarse=None"
            )
        return self.place_by(self.coarse, samples)

    def place_by(self, locator: "Locator", samples: tf.data.Dataset) -> tf.data.Dataset:
        """Adds `grid_to_source` to samples, placed by the points of a locator."""
        d, spec = self.image_to_grid.dimensions, samples.element_spec

        def place() -> Iterator[Mapping[str, Any]]:
            # Images have different sizes, so that batches have one image.
            for outputs in locator.locate(samples, batch_size=1, keep_image=True):
                points, score = outputs["points_px"], outputs["score"]
                to_source = self.place_by_peaks(points, outputs["affine"], score)
                yield {**{k: outputs[k] for k in spec}, "grid_to_source": to_source}

        to_source = tf.TensorSpec((d + 1, d + 1), tf.float32)
        placed = tf.data.Dataset.from_generator(
            place, output_signature={**spec, "grid_to_source": to_source}
        )
        count = samples.cardinality()
        if count < 0:  # unknown
            return placed
        return placed.apply(tf.data.experimental.assert_cardinality(count))

    def place_by_truth(
        self,
        samples: tf.data.Dataset,
        points_of: Callable[[Mapping[str, tf.Tensor]], tf.Tensor],
    ) -> tf.data.Dataset:
        """Adds `grid_to_source` to samples, placed by their true points.

        Args:
            samples: Dataset of dicts with `affine` `(D + 1, D + 1)`.
            points_of: Function that returns the points `(N, D)` of a sample.
        """
        d = self.image_to_grid.dimensions

        def place(sample):
            to_source = tf.numpy_function(
                self.grid_to_source, [points_of(sample), sample["affine"]], tf.float32
            )
            return {**sample, "grid_to_source": tf.ensure_shape(to_source, [d + 1] * 2)}

        return samples.map(place, tf.data.AUTOTUNE)


def affine_or_pixels(affine: Any, xp: Any = NUMPY) -> Any:
    """Returns an affine, or the identity if its spacing is not usable.

    Args:
        affine: Array `(D + 1, D + 1)`, pixels to millimetres.
        xp: The array namespace, see `scn_keras.array_api`.
    """
    affine = xp.cast(affine, "float64")
    return xp.where(has_usable_spacing(affine, xp), affine, np.eye(affine.shape[-1]))
