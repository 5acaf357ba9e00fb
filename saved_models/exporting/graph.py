import keras
import numpy as np
import tensorflow as tf

from scn_keras.array_api import TENSORFLOW
from scn_keras.geometry import has_usable_spacing, spacing_is_usable
from scn_keras.inference.decode import MAX_IMAGE_BYTES, decode_image
from scn_keras.inference.locator import Locator, at_least_one
from scn_keras.models._heatmap_stride import heatmap_stride
from scn_keras.models._node_in_network import node_in_network
from scn_keras.warp import sum_of_products

_INNER = ("local_appearance", "spatial_configuration")
OnGrid = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class GraphLocator:
    """A `Locator` as functions of tensors, for the signatures of one TensorFlow graph.

    All steps are those of the locator, so that a served model is identical to the
    evaluated model.

    Args:
        locator: `Locator` of Keras models.
        max_image_bytes: Int, see `decode_image`.
    """

    def __init__(
        self, locator: Locator, max_image_bytes: int = MAX_IMAGE_BYTES
    ) -> None:
        self.locator = locator
        self.max_image_bytes = max_image_bytes
        self.image_to_grid = locator.image_to_grid

    @property
    def models(self) -> list[keras.Model]:
        """All models whose weights are part of the graph."""
        return self.locator.models

    @property
    def takes_bytes(self) -> bool:
        """Whether images can be given as bytes of a file, without stored values."""
        to_grid = self.image_to_grid
        return to_grid.dimensions == 2 and not to_grid.uses_stored_values

    @property
    def has_heatmaps(self) -> bool:
        """Whether all networks predict heatmaps instead of votes."""
        axes = self.image_to_grid.dimensions + 2
        members = _members(self.locator.model)
        return all(len(member.network.output_shape) == axes for member in members)

    def from_bytes(self, image_bytes: tf.Tensor, spacing_mm: tf.Tensor) -> OnGrid:
        """Reads PNG, JPEG or BMP files; see `from_arrays`.

        Args:
            image_bytes: string `(n,)`.
            spacing_mm: float32 `(n, 2)`, x and y; zeros if it is unknown.
        """
        usable = spacing_is_usable(spacing_mm, TENSORFLOW)[:, None]
        spacing = tf.where(usable, spacing_mm, 0.0)
        affine = tf.linalg.diag(tf.pad(spacing, [[0, 0], [0, 1]], constant_values=1.0))
        images, to_source = self._map(
            lambda element: self.locator.to_grid_in_graph(
                decode_image(element[0], self.max_image_bytes), element[1]
            ),
            (image_bytes, affine),
        )
        return images, to_source, affine

    def from_arrays(self, image: tf.Tensor, affine: tf.Tensor) -> OnGrid:
        """Resamples images of one size to the grid.

        Args:
            image: float32 `(n, *sizes, 1)`, see `decode.grey_values`.
            affine: float32 `(n, D + 1, D + 1)`, from pixels to mm.

        Returns:
            `(images, grid_to_source, affine)`, `(n, V, *grid, 1)`,
            `(n, V, D + 1, D + 1)` and the affines, where affines without a usable
            spacing have a spacing of 0.
        """
        affine = usable_affine(affine, self.image_to_grid.dimensions)
        images, to_source = self._map(
            lambda element: self.locator.to_grid_in_graph(*element), (image, affine)
        )
        return images, to_source, affine

    def locate(
        self, images: tf.Tensor, to_source: tf.Tensor, affine: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Localises the landmarks; the arguments are the results of `from_arrays`.

        Returns:
            Dict of the outputs of an exported model, see `Locator.describe`.
        """
        peaks = self.locator.peaks_in_graph(images)
        return self.locator.describe(peaks, to_source, affine, TENSORFLOW)

    def heatmaps(
        self, images: tf.Tensor, to_source: tf.Tensor, affine: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns the heatmaps of the first view, with the arguments of `locate`."""
        members = _members(self.locator.model)
        batch, n = at_least_one(images[:, 0])
        maps = [
            {name: value[:n] for name, value in _maps(member, batch).items()}
            for member in members
        ]
        names = [name for name in maps[0] if all(name in others for others in maps)]
        stride = heatmap_stride(members[0].network)
        d = self.image_to_grid.dimensions
        to_grid = np.diag([float(stride)] * d + [1.0]).astype("float32")
        to_grid[:d, d] = 0.5 * (stride - 1)
        return {
            **{name: sum(m[name] for m in maps) / len(maps) for name in names},
            "grid_to_source": sum_of_products(to_source[:, 0], to_grid),
        }

    def _map(self, function, elements):
        views = self.locator.views
        count = 1 if views is None else len(views)
        grid, d = self.image_to_grid.grid, self.image_to_grid.dimensions
        return tf.map_fn(
            function,
            elements,
            fn_output_signature=(
                tf.TensorSpec((count, *grid, 1), tf.float32),
                tf.TensorSpec((count, d + 1, d + 1), tf.float32),
            ),
            # By default, the images of a batch would be decoded ten at a time.
            parallel_iterations=1,
        )


def usable_affine(affine: tf.Tensor, dimensions: int) -> tf.Tensor:
    """Replaces affines `(n, D + 1, D + 1)` without a usable spacing."""
    usable = has_usable_spacing(affine, TENSORFLOW)[:, None, None]
    return tf.where(usable, affine, np.diag([0.0] * dimensions + [1.0]))


def _members(model):
    return getattr(model, "members", [model])


def _maps(model, images):
    """Returns a network's inner heatmaps, and its output divided by target height."""
    network = model.network
    outputs = {
        layer.name: node_in_network(network, layer).outputs[0]
        for layer in network.layers
        if layer.name in _INNER
    }
    outputs["product"] = network.output
    maps = keras.Model(network.input, outputs)(images, training=False)
    maps = {name: tf.cast(value, tf.float32) for name, value in maps.items()}
    maps["product"] /= model.target.height()
    return maps
