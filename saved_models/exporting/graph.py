from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scn_keras.array_api import TENSORFLOW
from scn_keras.geometry import apply_affine, apply_to_covariance, has_usable_spacing
from scn_keras.inference import decode, resample
from scn_keras.inference.calibration import uncertainty
from scn_keras.inference.locator import mean_of_views, to_views
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.models._heatmap_stride import heatmap_stride
from scn_keras.training.run import Run
from scn_keras.warp import sum_of_products

_INNER = ("local_appearance", "spatial_configuration")
_OnGrid = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class GraphLocator:
    """What a run does with images, written for one TensorFlow graph.

    Letterbox, placement from coarse to fine, views, members of an ensemble, peaks and
    calibration: each step is the function that evaluation and prediction call.

    Args:
        run: `Run`, finished.
        model: Its model, if it is not to be loaded: for example in another precision.
    """

    def __init__(
        self, run: Run, model: LandmarkModel | LandmarkEnsemble | None = None
    ) -> None:
        self.recipe = run.recipe
        self.views = run.views
        self.calibration = run.calibration
        self.model = run.load_model() if model is None else model
        self.placement: Any = run.placement
        self.coarse: GraphLocator | None = None
        if self.placement is not None and self.placement.coarse is not None:
            self.coarse = GraphLocator(self.placement.coarse)

    @property
    def models(self) -> list[keras.Model]:
        """Every model whose weights the graph needs."""
        return [self.model, *(self.coarse.models if self.coarse else ())]

    @property
    def takes_bytes(self) -> bool:
        """Whether images may come as bytes of a file, which lose stored values."""
        return len(self.recipe.grid) == 2 and self.recipe.normalization != "window"

    @property
    def has_heatmaps(self) -> bool:
        """Whether its networks make heatmaps: patches give votes instead."""
        axes = len(self.recipe.grid) + 2
        members = _members(self.model)
        return all(len(member.network.output_shape) == axes for member in members)

    def from_bytes(self, image_bytes: tf.Tensor, spacing_mm: tf.Tensor) -> _OnGrid:
        """Reads PNG, JPEG or BMP files; see `from_arrays`.

        Args:
            image_bytes: string `(n,)`.
            spacing_mm: float32 `(n, 2)`, x and y; none where it is not positive.
        """
        usable = resample.is_calibrated(spacing_mm)
        spacing = tf.where(usable, spacing_mm, 0.0)
        affine = tf.linalg.diag(tf.pad(spacing, [[0, 0], [0, 1]], constant_values=1.0))
        images, to_source = self._map(
            lambda one: self._to_grid(decode.decode_image(one[0]), one[1]),
            (image_bytes, affine),
        )
        return images, to_source, affine

    def from_arrays(self, image: tf.Tensor, affine: tf.Tensor) -> _OnGrid:
        """Brings images of one size to the grid.

        Args:
            image: float32 `(n, *sizes, 1)`, see `decode.grey_values`.
            affine: float32 `(n, D + 1, D + 1)`, from pixels to mm.

        Returns:
            `(images, grid_to_source, affine)`, `(n, V, *grid, 1)`,
            `(n, V, D + 1, D + 1)` and the affines, with a spacing of 0 in those that
            are of no use.
        """
        d = len(self.recipe.grid)
        usable = has_usable_spacing(affine, TENSORFLOW)[:, None, None]
        affine = tf.where(usable, affine, np.diag([0.0] * d + [1.0]))
        images, to_source = self._map(lambda one: self._to_grid(*one), (image, affine))
        return images, to_source, affine

    def locate(
        self, images: tf.Tensor, to_source: tf.Tensor, affine: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Finds the landmarks; arguments as `from_arrays` returns them.

        Returns:
            Dict of the outputs that `export` documents.
        """
        peaks = mean_of_views(self._peaks(images), self.views, TENSORFLOW)
        points, score, covariance = peaks
        place = to_source[:, 0]
        calibrated = has_usable_spacing(affine, TENSORFLOW)
        to_mm = tf.where(calibrated[:, None, None], affine, float("nan"))
        points_px = apply_affine(place, points)
        covariance_px2 = apply_to_covariance(place, covariance)
        sure = uncertainty(self.calibration, *peaks, to_mm @ place)
        in_px = uncertainty(self.calibration, *peaks, place)
        return {
            "points_px": points_px,
            "points_mm": apply_affine(to_mm, points_px),
            "score": score,
            "covariance_px2": covariance_px2,
            "covariance_mm2": apply_to_covariance(to_mm, covariance_px2),
            "radius90_px": in_px["radius90"],
            "radius90_mm": sure["radius90"],
            "present": sure["present"],
            "trusted": sure["trusted"],
            "calibrated": calibrated,
        }

    def heatmaps(
        self, images: tf.Tensor, to_source: tf.Tensor, affine: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns heatmaps of the first view; arguments as of `locate`."""
        members = _members(self.model)
        given, n = _at_least_one(images[:, 0])
        maps = [
            {name: value[:n] for name, value in _maps(member, given).items()}
            for member in members
        ]
        names = [name for name in maps[0] if all(name in one for one in maps)]
        stride = heatmap_stride(members[0].network)
        d = len(self.recipe.grid)
        to_grid = np.diag([float(stride)] * d + [1.0]).astype("float32")
        to_grid[:d, d] = 0.5 * (stride - 1)
        return {
            **{name: sum(one[name] for one in maps) / len(maps) for name in names},
            "grid_to_source": sum_of_products(to_source[:, 0], to_grid),
        }

    def _map(self, function, elements):
        count = 1 if self.views is None else len(self.views)
        grid, d = self.recipe.grid, len(self.recipe.grid)
        return tf.map_fn(
            function,
            elements,
            fn_output_signature=(
                tf.TensorSpec((count, *grid, 1), tf.float32),
                tf.TensorSpec((count, d + 1, d + 1), tf.float32),
            ),
        )

    def _to_grid(self, image, affine):
        spacing = usable_spacing(affine, TENSORFLOW)
        if self.coarse is None:
            return to_views(image, spacing, self.recipe, self.views)
        # As `Placement` does, twice: over what the coarse run finds, and again.
        coarse = self.coarse
        found = coarse._found(coarse._to_grid(image, affine), coarse.views)
        once = to_views(image, spacing, self.recipe, place=self._place(found, affine))
        place = self._place(self._found(once, None), affine)
        return to_views(image, spacing, self.recipe, self.views, place)

    def _found(self, on_grid, views):
        """Points and scores of one image."""
        images, to_source = on_grid
        points, score, _ = mean_of_views(self._peaks(images[None]), views, TENSORFLOW)
        return apply_affine(to_source[:1], points)[0], score[0]

    def _place(self, found, affine):
        points, score = found
        return self.placement.by_found(points, affine, score, TENSORFLOW)

    def _peaks(self, images):
        count = images.shape[1]
        images, n = _at_least_one(images)
        found = self.model.localizer(
            tf.reshape(images, [-1, *self.recipe.grid, 1]), training=False
        )
        return {
            name: tf.reshape(value, [-1, count, *value.shape[1:]])[:n]
            for name, value in found.items()
        }


def _at_least_one(images):
    """Images, an empty one if there are none, and how many there are."""
    # TensorFlow's convolutions on a CPU fail on a batch of none.
    n = tf.shape(images)[0]
    lacking = [[0, tf.cast(n == 0, tf.int32)], *[[0, 0]] * (len(images.shape) - 1)]
    return tf.pad(images, lacking), n


def _members(model):
    return getattr(model, "members", [model])


def _maps(model, images):
    """The inner heatmaps that a network has, and its own relative to their targets'."""
    network = model.network
    inner = [layer.name for layer in network.layers if layer.name in _INNER]
    outputs = {name: network.get_layer(name).output for name in inner}
    outputs["product"] = network.output
    maps = keras.Model(network.input, outputs)(images, training=False)
    maps = {name: tf.cast(value, tf.float32) for name, value in maps.items()}
    maps["product"] /= model.target.height()
    return maps
