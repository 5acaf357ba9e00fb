import inspect
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scn_keras.classical._ebner_fit import EbnerFit, Stage
from scn_keras.classical._ebner_search import locate_globally, locate_locally
from scn_keras.classical._fitted_parts import FittedParts
from scn_keras.classical._stored_model import load_arrays, nested, part, save_arrays
from scn_keras.classical.box_differences import BoxDifferences, box_means
from scn_keras.classical.offset_forest import OffsetForest, require_scikit_learn


class EbnerForest:
    """Global and local regression forests (Ebner et al., MICCAI 2014).

    From the paper: one forest, whose features compare distant boxes, votes from pixels
    of the whole image for all landmarks. The weight of a vote decreases with its
    length. A second forest for each landmark votes from pixels near the first result
    only. There is no shape model. The paper is on 3D MR images of hands, this class
    accepts images of 2 or 3 axes.

    Ours, as far as the paper is known to us from the texts of others: the forests of
    `OffsetForest`; global features of a reduced image; weights `exp(-length / d)`; the
    votes of a stage are accumulated on pixels, smoothed by a Gaussian, and the maximum
    is refined by parabolas; further local stages of smaller radius; the values of all
    arguments.

    Score: the height of the smoothed maximum, relative to that of votes which all agree
    (0 to 1). Covariance: that of the weighted votes within three sigmas of the point.

    Args:
        num_features: Int, features of each stage.
        trees: Int, trees of each forest.
        min_samples_leaf: Int, the least number of training pixels of a leaf.
        max_features: Float, the fraction of features that are tried at each node.
        global_factor: Int, the factor by which the image is reduced for the global
            forest.
        global_samples: Int, training pixels of the global forest, an equal number
            of each image.
        global_reach: Float in px, the range of the offsets of global features.
        vote_distance: Float in px, the length at which the weight of a global vote is
            1 / e.
        local_radii: Floats in px, one for each local stage: training pixels are drawn
            within this distance of the landmark. In the search, pixels vote within
            half of it around the point of the stage before.
        local_samples: Int, training pixels of each local forest, an equal number of
            each image. The time of a training hardly depends on the number of images.
        widths: Odd ints, the widths of the boxes in px; those of the global forest are
            in px of its reduced image.
        seed: Int.

    Raises:
        ValueError: If a setting is out of its range.

    Example:

    ```python
    forest = scn_keras.classical.EbnerForest(local_radii=(30.0,))
    forest.fit(images, points)  # (n, rows, columns), (n, N, 2)
    points = forest.predict_on_batch(images[..., None])["points"]
    forest.save("forest.npz")
    ```
    """

    def __init__(
        self,
        num_features: int = 400,
        trees: int = 20,
        min_samples_leaf: int = 3,
        max_features: float = 1.0 / 3.0,
        global_factor: int = 4,
        global_samples: int = 20_000,
        global_reach: float = 120.0,
        vote_distance: float = 60.0,
        local_radii: Sequence[float] = (40.0, 16.0),
        local_samples: int = 12_000,
        widths: Sequence[int] = (1, 3, 7, 13),
        seed: int = 0,
    ) -> None:
        self.num_features = num_features
        self.trees = trees
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.global_factor = global_factor
        self.global_samples = global_samples
        self.global_reach = global_reach
        self.vote_distance = vote_distance
        self.local_radii = tuple(local_radii)
        self.local_samples = local_samples
        self.widths = tuple(widths)
        self.seed = seed
        self._require_settings()
        self._global: Stage | None = None
        self._local: list[Stage] = []

    @property
    def localizer(self) -> "EbnerForest":
        """The object itself, as in `LandmarkModel`."""
        return self

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names}

    def fit(
        self,
        images: np.ndarray,
        points: np.ndarray,
        parts: str | pathlib.Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "EbnerForest":
        """Fits all forests with scikit-learn.

        Args:
            images: Array `(n, *grid)`.
            points: Array `(n, N, D)` in px, columns x, y(, z), NaN if missing.
            parts: A folder in which every forest is stored when it is fitted. Forests
                that exist there are not fitted again; they must be of the same images
                and settings.
            progress: Function of the number of fitted forests and their total.

        Returns:
            The object itself.

        Raises:
            ImportError: If scikit-learn is not installed.
            ValueError: If shapes do not match, or a landmark is missing from all
                images.
        """
        require_scikit_learn()
        images = np.asarray(images, "float32")
        points = np.asarray(points, "float64")
        _require_data(images, points)
        total = 1 + points.shape[1] * len(self.local_radii)
        fit = EbnerFit(self, images, points, FittedParts(parts, total, progress))
        self._global = fit.fit_global()
        self._local = [fit.fit_local(n) for n in range(len(self.local_radii))]
        return self

    def predict_on_batch(self, images: Any) -> dict[str, np.ndarray]:
        """Localises the landmarks of images.

        Args:
            images: Array `(n, *grid, 1)` of any size.

        Returns:
            Dict of float32: `points` `(n, N, D)` in px, `score` `(n, N)` and
            `covariance` `(n, N, D, D)` in px².

        Raises:
            RuntimeError: If the forests are not fitted.
        """
        self._require_fitted()
        located = [self._locate(image) for image in np.asarray(images)[..., 0]]
        names = ("points", "score", "covariance")
        return {
            name: np.stack(values).astype("float32")
            for name, values in zip(names, zip(*located, strict=True), strict=True)
        }

    def save(self, path: str | pathlib.Path) -> None:
        """Writes settings and forests to one `.npz` file, without pickle."""
        stages = [self._require_fitted(), *self._local]
        arrays: dict[str, np.ndarray] = {}
        for number, stage in enumerate(stages):
            features = stage.features
            drawn = {"offsets": features.offsets, "boxes": features.boxes}
            arrays |= nested(f"{number}/features", drawn)
            for row, forest in enumerate(stage.forests):
                arrays |= nested(f"{number}/{row}", forest.arrays())
        landmarks = stages[0].forests[0].leaf_offsets.shape[1]
        settings = {
            "kind": "EbnerForest",
            "landmarks": landmarks,
            "config": self.get_config(),
        }
        save_arrays(path, settings, arrays)

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "EbnerForest":
        """Loads a model that `save` has written. scikit-learn is not required.

        Raises:
            ValueError: If the file is not that of an `EbnerForest`.
        """
        settings, arrays = load_arrays(path, "EbnerForest")
        forest = cls(**settings["config"])

        def stage(number, count):
            drawn = part(f"{number}/features", arrays)
            return Stage(
                BoxDifferences(drawn["offsets"], drawn["boxes"], forest.widths),
                [
                    OffsetForest.from_arrays(part(f"{number}/{row}", arrays))
                    for row in range(count)
                ],
            )

        forest._global = stage(0, 1)
        forest._local = [
            stage(1 + number, settings["landmarks"])
            for number in range(len(forest.local_radii))
        ]
        return forest

    def _locate(self, image):
        """Returns points, scores and covariances of one image."""
        located = locate_globally(
            image, self._require_fitted(), self.global_factor, self.vote_distance
        )
        means = box_means(image, self.widths)
        for radius, stage in zip(self.local_radii, self._local, strict=True):
            located = [
                locate_locally(means, stage.features, forest, point, radius)
                for (point, *_), forest in zip(located, stage.forests, strict=True)
            ]
        return tuple(np.array(values) for values in zip(*located, strict=True))

    def _require_fitted(self) -> Stage:
        if self._global is None:
            raise RuntimeError("EbnerForest is not fitted. Call `fit` or `load` first.")
        return self._global

    def _require_settings(self):
        for name in (
            *("num_features", "trees", "min_samples_leaf", "max_features"),
            *("global_factor", "global_samples", "global_reach", "vote_distance"),
            "local_samples",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`{name}` must be positive. Received: {name}={getattr(self, name)}"
                )
        if not all(radius >= 2.0 for radius in self.local_radii):
            raise ValueError(
                "`local_radii` must be at least 2 px each. "
                f"Received: local_radii={self.local_radii}"
            )


def _require_data(images, points):
    rank = images.ndim - 1
    if (
        rank not in (2, 3)
        or points.ndim != 3
        or points.shape[::2]
        != (
            len(images),
            rank,
        )
    ):
        raise ValueError(
            "`images` must have the shape (n, rows, columns) or (n, slices, rows, "
            "columns) and `points` (n, landmarks, D). "
            f"Received: images {images.shape}, points {points.shape}"
        )
    missing = np.flatnonzero(np.isnan(points).any(axis=-1).all(axis=0))
    if missing.size:
        raise ValueError(
            "Every landmark must be present in at least one image. "
            f"Received: landmarks {missing.tolist()} are missing from all images"
        )
