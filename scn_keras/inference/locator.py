from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from scn_keras import warp
from scn_keras.array_api import NUMPY, TENSORFLOW
from scn_keras.geometry import (
    apply_affine,
    apply_to_covariance,
    has_usable_spacing,
    usable_spacing,
)
from scn_keras.inference.calibration import Calibration, uncertainty
from scn_keras.inference.coarse_to_fine import CoarseToFine
from scn_keras.inference.decode import grey_values
from scn_keras.inference.image_to_grid import ImageToGrid
from scn_keras.inference.patient_axes import from_stored, to_patient_axes
from scn_keras.inference.point_offsets import PointOffsets
from scn_keras.inference.resample import (
    letterbox_or_grid_spacing,
    reduce_image,
    resample_to_grid,
)
from scn_keras.inference.test_time_augmentation import mean_of_views
from scn_keras.inference.tiles import locate_in_tiles, tile_count, tile_places


class HasLocalizer(Protocol):
    """Interface of models that localise points on the grid, as in `scn_keras.models`.

    `localizer.predict_on_batch` is called with images `(n, *grid, 1)`. It returns a
    dict of `points` `(n, N, D)`, `score` `(n, N)` and `covariance` `(n, N, D, D)` in
    pixels of the grid.
    """

    @property
    def localizer(self) -> Any: ...


class Locator:
    """Localises landmarks in images of any size.

    This class implements the steps from pixels to points. The image is reduced and
    resampled to the grid, in several views for test-time augmentation. The model
    predicts points on the grid, which are mapped to pixels and millimetres. The
    calibration adds radii, presence and trust. With a coarse stage, its points place
    the grid first. The offsets of an adapted model are added to its points. Evaluation,
    prediction and calibration call `locate` on a stream of images; the exported graph
    executes the same steps on tensors.

    Args:
        model: Model with a `localizer`, see `HasLocalizer`.
        image_to_grid: `ImageToGrid`, the preprocessing of the model.
        views: Result of `test_time_views`, for the mean of the points in all views, or
            `None` for a single view.
        coarse_to_fine: `CoarseToFine` with a coarse locator, or `None`.
        calibration: `Calibration` or `None`.
        offsets: `PointOffsets` of an adapted model, or `None`.

    Raises:
        ValueError: If tiles (`ImageToGrid.tile_step`) are combined with several views
            or a coarse stage.

    Example:

    ```python
    run = scn_keras.training.Run("runs/cephalogram_fast")
    for outputs in run.locator().locate(samples):
        print(outputs["id"], outputs["points_px"])
    ```
    """

    def __init__(
        self,
        model: HasLocalizer,
        image_to_grid: ImageToGrid,
        views: np.ndarray | None = None,
        coarse_to_fine: CoarseToFine | None = None,
        calibration: Calibration | None = None,
        offsets: PointOffsets | None = None,
    ) -> None:
        if image_to_grid.tile_step is not None and not (
            views is None and coarse_to_fine is None
        ):
            raise ValueError(
                "Tiles cannot be combined with several views or a coarse stage. Set "
                "image_to_grid.tile_step=None, or use a single view. "
                f"Received: tile_step={image_to_grid.tile_step}"
            )
        self.model = model
        self.image_to_grid = image_to_grid
        self.views = views
        self.coarse_to_fine = coarse_to_fine
        self.calibration = calibration
        self.offsets = offsets

    @property
    def models(self) -> list[Any]:
        """The model and the models of coarser stages."""
        coarse = self.coarse_to_fine.coarse if self.coarse_to_fine else None
        return [self.model, *(coarse.models if coarse else ())]

    @property
    def has_graph(self) -> bool:
        """Whether all models are Keras models, which a TensorFlow graph can contain."""
        return all(isinstance(m.localizer, keras.Model) for m in self.models)

    def locate(
        self, samples: tf.data.Dataset, batch_size: int = 4, keep_image: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Localises the landmarks of a stream of images, without keeping heatmaps.

        Args:
            samples: Dataset of dicts with `image` `(*sizes, 1)`, integers or floats
                from 0 to 1, and `affine` `(D + 1, D + 1)`. Other entries are passed
                through. An entry `grid_to_source` `(D + 1, D + 1)` places the grid.
            batch_size: Int, the number of images per batch of the network.
            keep_image: Bool, whether `image` is passed through as well. This requires
                images of one size or a batch size of 1.

        Yields:
            A dict of NumPy arrays for each image, in order: the entries of the sample
            without `image`, the outputs of `describe`, and `grid_image` `(*grid, 1)`
            and `grid_to_source` `(D + 1, D + 1)` for pictures.
        """
        if self.coarse_to_fine is not None:
            samples = self.coarse_to_fine.place_by_coarse(samples)
            # The second placement corrects for the errors of the coarse network.
            samples = self.coarse_to_fine.place_by(self._in_place(), samples)
        yield from self._locate_placed(samples, batch_size, keep_image)

    def describe(
        self, peaks: Mapping[str, Any], to_source: Any, affine: Any, xp: Any = NUMPY
    ) -> dict[str, Any]:
        """Converts peaks on the grid to the outputs of a model.

        Args:
            peaks: Output of a localizer with an axis of views, see `mean_of_views`.
            to_source: float32 `(n, V, D + 1, D + 1)`, from the grid to the image.
            affine: float32 `(n, D + 1, D + 1)`, from pixels of the image to mm.
            xp: The array namespace, NumPy or TensorFlow.

        Returns:
            Dict of `points_px` and `points_mm` `(n, N, D)`, `score` `(n, N)`,
            `covariance_px2` and `covariance_mm2` `(n, N, D, D)`, `radius90_px` and
            `radius90_mm` `(n, N)`, `present` `(n, N)`, `trusted` and
            `novelty` `(n,)`, and `calibrated` `(n,)`, whether the spacing is usable.
            Millimetres are NaN without a usable spacing. Radii and novelty are NaN
            without a calibration, see `uncertainty`.
        """
        points, score, covariance = mean_of_views(peaks, self.views, xp)
        place = to_source[:, 0]
        calibrated = has_usable_spacing(affine, xp)
        to_mm = xp.where(calibrated[:, None, None], affine, float("nan"))
        grid_to_mm = xp.matmul(to_mm, place)
        covariance_px2 = apply_to_covariance(place, covariance)
        # The shapes of a calibration are those of the points without offsets.
        arguments = self.calibration, points, score, covariance
        grid = self.image_to_grid.grid
        in_mm = uncertainty(*arguments, grid_to_mm, grid)
        in_px = uncertainty(*arguments, place, grid)
        if self.offsets is not None:
            # Pixels without a usable spacing are taken for squares.
            space = xp.where(calibrated[:, None, None], grid_to_mm, place)
            points = self.offsets.apply(points, score, space, xp)
        points_px = apply_affine(place, points)
        return {
            "points_px": points_px,
            "points_mm": apply_affine(to_mm, points_px),
            "score": score,
            "covariance_px2": covariance_px2,
            "covariance_mm2": apply_to_covariance(to_mm, covariance_px2),
            "radius90_px": in_px["radius90"],
            "radius90_mm": in_mm["radius90"],
            "present": in_mm["present"],
            "trusted": in_mm["trusted"],
            "novelty": in_mm["novelty"],
            "calibrated": calibrated,
        }

    def to_grid(
        self, image: tf.Tensor, affine: tf.Tensor, place: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Resamples one image to the grid, in all views.

        Args:
            image: float32 `(*sizes, 1)`, see `decode.grey_values`.
            affine: float32 `(D + 1, D + 1)`, from pixels of the image to mm.
            place: float32 `(D + 1, D + 1)`, from the grid to the image, or `None` for
                the default placement of `ImageToGrid`.

        Returns:
            `(grid_images, grid_to_source)`, `(V, *grid, 1)` and `(V, D + 1, D + 1)`.
        """
        return to_views(image, affine, self.image_to_grid, self.views, place)

    def to_grid_in_graph(
        self, image: tf.Tensor, affine: tf.Tensor, place: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Resamples one image to the grid, with coarse-to-fine placement.

        Arguments and results are those of `to_grid`. The models run in the graph.
        """
        coarse_to_fine = self.coarse_to_fine
        if coarse_to_fine is not None and coarse_to_fine.coarse and place is None:
            # The same two placements as in `locate`.
            for locator in (coarse_to_fine.coarse, self._in_place()):
                images, to_source = locator.to_grid_in_graph(image, affine, place)
                points, score, _ = mean_of_views(
                    locator.peaks_in_graph(images[None]), locator.views, TENSORFLOW
                )
                points = apply_affine(to_source[:1], points)
                place = coarse_to_fine.place_by_peaks(
                    points[0], affine, score[0], TENSORFLOW
                )
        return self.to_grid(image, affine, place)

    def peaks_in_graph(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the peaks of grid images `(n, V, *grid, 1)`, in a graph."""
        views, grid = images.shape[1], self.image_to_grid.grid
        images, n = at_least_one(images)
        peaks = self.model.localizer(tf.reshape(images, [-1, *grid, 1]), training=False)
        return {
            name: tf.reshape(value, [-1, views, *value.shape[1:]])[:n]
            for name, value in peaks.items()
        }

    def _in_place(self):
        """Returns a locator of the same model for placed grids, with a single view."""
        return Locator(self.model, self.image_to_grid)

    def _locate_placed(self, samples, batch_size, keep_image):
        if self.image_to_grid.tile_step is not None:
            yield from locate_in_tiles(self, samples, keep_image)
            return

        def prepare(sample):
            dropped = () if keep_image else ("image",)
            rest = {key: value for key, value in sample.items() if key not in dropped}
            grey = grey_values(sample["image"], self.image_to_grid.normalization)
            place = sample.get("grid_to_source")
            return rest, *self.to_grid(grey, sample["affine"], place)

        batches = samples.map(prepare, tf.data.AUTOTUNE).batch(batch_size)
        for rest, images, to_source in batches.prefetch(
            tf.data.AUTOTUNE
        ).as_numpy_iterator():
            # Images and views are merged to one batch axis for the network.
            rows, views = images.shape[:2]
            peaks = self.model.localizer.predict_on_batch(
                images.reshape(-1, *images.shape[2:])
            )
            peaks = {
                name: np.asarray(value).reshape(rows, views, *value.shape[1:])
                for name, value in peaks.items()
            }
            outputs = self.describe(peaks, to_source, rest["affine"], NUMPY)
            batch = {
                **rest,
                "grid_image": images[:, 0],
                "grid_to_source": to_source[:, 0],
                **{k: keras.ops.convert_to_numpy(v) for k, v in outputs.items()},
            }
            for row in range(rows):
                yield {name: value[row] for name, value in batch.items()}


def to_views(
    image: tf.Tensor,
    affine: tf.Tensor,
    image_to_grid: ImageToGrid,
    views: np.ndarray | None = None,
    place: tf.Tensor | None = None,
    tiles: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resamples one image to a grid in V views or tiles, see `Locator.to_grid`.

    The number of tiles is `tiles` or, if that is `None`, depends on the image.
    """
    to_stored = None
    if image_to_grid.uses_patient_axes:
        image, to_stored = to_patient_axes(image, affine)
        affine = warp.sum_of_products(affine, to_stored)
        if place is not None:
            place = warp.sum_of_products(from_stored(to_stored), place)
    spacing = usable_spacing(affine, TENSORFLOW)
    reduced = reduce_image(image, image_to_grid, spacing)
    grid = image_to_grid.grid
    if place is None and image_to_grid.tile_step is not None:
        to_source = tile_places(
            reduced.grid_to_source, reduced.size, image_to_grid, tiles
        )
        images = tf.map_fn(
            lambda tile: resample_to_grid(reduced, grid, tile, image_to_grid),
            to_source,
            parallel_iterations=1,
        )
    else:
        place = reduced.grid_to_source if place is None else place
        placed = (
            [place]
            if views is None
            else [warp.sum_of_products(place, view) for view in views]
        )
        images = tf.stack(
            [resample_to_grid(reduced, grid, view, image_to_grid) for view in placed]
        )
        to_source = tf.stack(placed)
    if to_stored is not None:
        to_source = warp.sum_of_products(to_stored, to_source)
    return images, to_source


def tiles_of(
    image: tf.Tensor, affine: tf.Tensor, image_to_grid: ImageToGrid
) -> tf.Tensor:
    """Returns the number of tiles of one image, int32, see `to_views`."""
    if image_to_grid.uses_patient_axes:
        image, to_stored = to_patient_axes(image, affine)
        affine = warp.sum_of_products(affine, to_stored)
    size = tf.cast(tf.shape(image)[-2::-1], tf.float32)
    spacing = usable_spacing(affine, TENSORFLOW)
    scale, _ = letterbox_or_grid_spacing(tf.unstack(size), image_to_grid, spacing)
    return tile_count(size, tf.stack(scale), image_to_grid)


def at_least_one(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a batch of at least one image, padded if empty, and the true count."""
    # TensorFlow's convolutions on a CPU fail on an empty batch.
    n = tf.shape(images)[0]
    lacking = [[0, tf.cast(n == 0, tf.int32)], *[[0, 0]] * (len(images.shape) - 1)]
    return tf.pad(images, lacking), n
