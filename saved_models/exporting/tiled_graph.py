import tensorflow as tf

from scn_keras.array_api import TENSORFLOW
from scn_keras.inference.locator import at_least_one, tiles_of, to_views
from scn_keras.saved_models.exporting.graph import GraphLocator, OnGrid, usable_affine


class TiledGraphLocator(GraphLocator):
    """A `GraphLocator` of images that may be longer than the grid, in tiles.

    All images of a call have as many tiles as the one with the most. Further tiles of
    the others repeat their last one, which changes no result.
    """

    @property
    def takes_bytes(self) -> bool:
        """`False`: files of images in two dimensions do not state a spacing."""
        return False

    def from_arrays(self, image: tf.Tensor, affine: tf.Tensor) -> OnGrid:
        affine = usable_affine(affine, self.image_to_grid.dimensions)
        grid, d = self.image_to_grid.grid, self.image_to_grid.dimensions
        counts = tf.map_fn(
            lambda element: tiles_of(element[0], element[1], self.image_to_grid),
            (image, affine),
            fn_output_signature=tf.int32,
        )
        tiles = tf.maximum(tf.reduce_max(counts), 1)
        images, to_source = tf.map_fn(
            lambda element: to_views(
                element[0], element[1], self.image_to_grid, tiles=tiles
            ),
            (image, affine),
            fn_output_signature=(
                tf.TensorSpec((None, *grid, 1), tf.float32),
                tf.TensorSpec((None, d + 1, d + 1), tf.float32),
            ),
            parallel_iterations=1,
        )
        return images, to_source, affine

    def locate(
        self, images: tf.Tensor, to_source: tf.Tensor, affine: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        peaks, tile = self._merged(images)
        to_source = tf.gather(to_source, tile, batch_dims=1)[:, None]
        return self.locator.describe(peaks, to_source, affine, TENSORFLOW)

    def heatmaps(
        self, images: tf.Tensor, to_source: tf.Tensor, affine: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns the heatmaps of the tile with the highest sum of scores."""
        _, tile = self._merged(images)
        return super().heatmaps(
            tf.gather(images, tile, batch_dims=1)[:, None],
            tf.gather(to_source, tile, batch_dims=1)[:, None],
            affine,
        )

    def _merged(self, images):
        """Returns peaks with an axis of one view, and the tile of their grid."""
        grid, localizer = self.image_to_grid.grid, self.locator.model.localizer
        images, n = at_least_one(images)
        tiles = tf.shape(images)[1]
        names = ("points", "score", "covariance")

        def located(image):
            peaks = localizer(image[None], training=False)
            return tuple(peaks[name][0] for name in names)

        # One by one, since each takes the memory of a training step.
        peaks = tf.map_fn(
            located,
            tf.reshape(images, [-1, *grid, 1]),
            fn_output_signature=(tf.float32, tf.float32, tf.float32),
            parallel_iterations=1,
        )
        # Axes: image, landmark, tile.
        found = {
            name: tf.experimental.numpy.swapaxes(
                tf.reshape(value, [-1, tiles, *value.shape[1:]])[:n], 1, 2
            )
            for name, value in zip(names, peaks, strict=True)
        }
        best = tf.argmax(found["score"], axis=2, output_type=tf.int32)
        tile = tf.argmax(
            tf.reduce_sum(found["score"], axis=1), axis=1, output_type=tf.int32
        )
        merged = {
            name: tf.gather(value, best, batch_dims=2) for name, value in found.items()
        }
        step = float(self.image_to_grid.tile_step or 1)
        shift = step * tf.cast(best - tile[:, None], tf.float32)
        points = merged["points"]
        last = tf.one_hot(points.shape[-1] - 1, points.shape[-1])
        merged["points"] = points + shift[..., None] * last
        return {name: value[:, None] for name, value in merged.items()}, tile
