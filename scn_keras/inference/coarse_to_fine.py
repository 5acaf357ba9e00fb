"""Coarse to fine: where a network's grid lies in an image of any pose."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras import warp
from scn_keras.alignment import align, mean_shape
from scn_keras.array_api import TENSORFLOW
from scn_keras.geometry import apply_affine, has_usable_spacing
from scn_keras.inference import locator as inference
from scn_keras.training.input.selection import observed_points
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run, write_json


class Placement:
    """Lays the grid of a recipe over points that another run has found coarsely.

    A similarity takes the mean shape of the training images to the points of an image,
    and the grid, whose centre is that of the mean shape, goes with it. So the network
    sees every image in one pose and size. Training images are placed by their true
    points; the recipe's augmentation is to cover what the coarse run is off by. Where
    points are to be found, the grid is laid twice: over those of the coarse run, and
    again over those that the network then finds.

    Samples get an entry `grid_to_source`, which the pipeline and `inference.locate`
    obey.

    Args:
        recipe: `Recipe` of the finer network.
        shape: Array `(N, D)`, the mean shape in mm, see `alignment.mean_shape`.
        coarse: `Run` that finds the points where they are not known; `None` where they
            always are.

    Example:

    ```python
    run = Run("runs/mouse_skull")
    found = inference.locate(
        run.load_model(), images, run.recipe, placement=run.placement
    )
    ```
    """

    def __init__(
        self, recipe: Recipe, shape: np.ndarray, coarse: Run | None = None
    ) -> None:
        self.recipe = recipe
        self.coarse = coarse
        self._shape = shape
        spacing = np.asarray(recipe.grid_spacing)
        center = (np.array(recipe.grid[::-1]) - 1.0) / 2.0
        self._grid_to_shape = np.diag([*spacing, 1.0])
        self._grid_to_shape[:-1, -1] = -spacing * center

    @classmethod
    def of(cls, run: Run) -> "Placement":
        """Returns that of a run whose recipe has a coarse one."""
        shape = np.array(json.loads(run.shape_path.read_text("utf-8")), np.float64)
        return cls(run.recipe, shape, Run(run.path / "coarse"))

    def by_truth(self, samples: tf.data.Dataset) -> tf.data.Dataset:
        """Places stored samples by their points."""
        d = len(self.recipe.grid)

        def placed(sample):
            to_source = tf.numpy_function(
                self.grid_to_source,
                [true_points(sample, self.recipe, TENSORFLOW), sample["affine"]],
                tf.float32,
            )
            return {**sample, "grid_to_source": tf.ensure_shape(to_source, [d + 1] * 2)}

        return samples.map(placed, tf.data.AUTOTUNE)

    def by_coarse(self, samples: tf.data.Dataset) -> tf.data.Dataset:
        """Places samples, which need have no points, by what the coarse run finds."""
        coarse = self.coarse
        if coarse is None:
            raise ValueError("Only a placement with a coarse run finds points.")
        return self._by_found(
            samples, coarse.load_model(), coarse.recipe, coarse.views, coarse.placement
        )

    def again(
        self, samples: tf.data.Dataset, model: inference.Locator
    ) -> tf.data.Dataset:
        """Places placed samples anew, by what the finer network finds in them.

        What the coarse run was off by is gone then.
        """
        return self._by_found(samples, model, self.recipe)

    def _by_found(self, samples, model, recipe, views=None, placement=None):
        d, spec = len(self.recipe.grid), samples.element_spec

        def placed() -> Iterator[Mapping[str, Any]]:
            for found in inference.locate(
                model,
                samples,
                recipe,
                batch_size=1,  # images are of unlike sizes
                views=views,
                placement=placement,
                keep_image=True,
            ):
                to_source = self.by_found(
                    found["points_px"], found["affine"], found["score"]
                )
                yield {**{k: found[k] for k in spec}, "grid_to_source": to_source}

        place = tf.TensorSpec((d + 1, d + 1), tf.float32)
        made = tf.data.Dataset.from_generator(
            placed, output_signature={**spec, "grid_to_source": place}
        )
        count = samples.cardinality()
        if count < 0:  # not known
            return made
        return made.apply(tf.data.experimental.assert_cardinality(count))

    def grid_to_source(
        self,
        points: Any,
        affine: Any,
        weights: Any = None,
        robust: bool = False,
        xp: Any = NUMPY,
    ) -> Any:
        """Returns the map from the grid to the image that points place it in.

        Args:
            points: Array `(N, D)` in pixels of the image; NaN rows are missing.
            affine: Array `(D + 1, D + 1)`, from those to millimetres.
            weights, robust, xp: See `alignment.align`.

        Returns:
            Float32 array `(D + 1, D + 1)`.
        """
        to_space = _to_space(affine, xp)
        points = apply_affine(to_space, xp.cast(points, "float64"))
        shape_to_space = align(self._shape, points, weights, robust, xp)
        to_source = xp.inv(to_space) @ shape_to_space @ self._grid_to_shape
        return xp.cast(to_source, "float32")

    def by_found(self, points: Any, affine: Any, score: Any, xp: Any = NUMPY) -> Any:
        """Returns that map for points that a network found, see `grid_to_source`.

        They count by their scores, and those that are far off for little.

        Args:
            points, affine, xp: See `grid_to_source`.
            score: Array `(N,)`.
        """
        # A landmark without any score is still somewhere.
        return self.grid_to_source(points, affine, score + 1e-6, True, xp)


def place(
    run: Run, training: tf.data.Dataset, validation: tf.data.Dataset | None
) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
    """Places the samples of a run whose coarse part is trained.

    Training samples by their points, those for validation as at any later use. The
    mean shape of the former is kept in the run.
    """
    if not run.shape_path.is_file():
        shape = shape_of(training.as_numpy_iterator(), run.recipe)
        rows = np.where(np.isnan(shape), np.array(None), shape)
        write_json(run.shape_path, rows.tolist())
    placement = Placement.of(run)
    if validation is not None:
        validation = placement.by_coarse(validation)
    return placement.by_truth(training), validation


def shape_of(samples: Iterable[Mapping[str, Any]], recipe: Recipe) -> np.ndarray:
    """Returns the mean shape of stored samples in mm, see `alignment.mean_shape`."""
    shapes = [
        apply_affine(_to_space(sample["affine"]), true_points(sample, recipe))
        for sample in samples
    ]
    return mean_shape(shapes)


def true_points(sample: Mapping[str, Any], recipe: Recipe, xp: Any = NUMPY) -> Any:
    """Returns a recipe's points of a sample, the mean of those it would draw from."""
    observer = "mean" if recipe.observer == "random" else recipe.observer
    return observed_points(sample, observer, xp=xp)


def _to_space(affine, xp=NUMPY):
    """An affine to millimetres, or to square pixels where it has no usable spacing."""
    affine = xp.cast(affine, "float64")
    return xp.where(has_usable_spacing(affine, xp), affine, np.eye(affine.shape[-1]))
