from collections.abc import Sequence
from typing import Any

import numpy as np

from scn_keras.classical._ebner_fit import EbnerFit
from scn_keras.classical._ebner_search import (
    global_maps,
    global_votes,
    locate_globally,
    locate_locally,
)
from scn_keras.classical._landmark_method import LandmarkMethod
from scn_keras.classical._springs import Springs
from scn_keras.classical._stage import Stage, restored_stages, stage_arrays
from scn_keras.classical._stored_model import nested, part
from scn_keras.classical.box_differences import box_means


class EbnerForest(LandmarkMethod):
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
        spring_weight: Float, 0 for the maximum of the global votes of each landmark
            separately, as in the paper. Otherwise (ours) the global points are the
            best configuration of `PictorialStructures` with springs of this weight,
            fitted to the training points; Keras is then required. The local stages
            are the same.
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

    _positive = (
        *("num_features", "trees", "min_samples_leaf", "max_features"),
        *("global_factor", "global_samples", "global_reach", "vote_distance"),
        "local_samples",
    )

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
        spring_weight: float = 0.0,
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
        self.spring_weight = spring_weight
        self.seed = seed
        self._require_settings()
        self._stages: list[Stage] = []
        self._springs: Springs | None = None

    def vote_maps(self, images: Any) -> np.ndarray:
        """Returns the smoothed votes of the global forest as response maps.

        Args:
            images: Array `(n, *grid, 1)`.

        Returns:
            Float32 array `(n, *reduced, N)`. Pixel i of a map lies at
            `global_factor * i + (global_factor - 1) / 2` of the image.

        Raises:
            RuntimeError: If the forests are not fitted.
        """
        self._require_fitted()
        maps = [
            global_maps(
                *global_votes(
                    image, self._stages[0], self.global_factor, self.vote_distance
                )
            )
            for image in np.asarray(images)[..., 0]
        ]
        return np.stack(maps).astype("float32")

    def _num_parts(self, landmarks):
        return 1 + landmarks * len(self.local_radii)

    def _fit(self, images, points, store):
        if self.spring_weight:
            self._springs = Springs.fit(points, self.global_factor, self.spring_weight)
        fit = EbnerFit(self, images, points, store)
        local = range(len(self.local_radii))
        self._stages = [fit.fit_global(), *map(fit.fit_local, local)]

    def _arrays(self):
        arrays = stage_arrays(self._stages)
        if self._springs is not None:
            arrays |= nested("springs", self._springs.arrays())
        return arrays

    def _restore(self, arrays):
        counts = [1, *[self._landmarks] * len(self.local_radii)]
        self._stages = restored_stages(arrays, counts, self.widths)
        if self.spring_weight:
            springs = part("springs", arrays)
            self._springs = Springs(**springs, weight=self.spring_weight)

    def _locate(self, image):
        located = locate_globally(
            image,
            self._stages[0],
            self.global_factor,
            self.vote_distance,
            self._springs,
        )
        means = box_means(image, self.widths)
        for radius, stage in zip(self.local_radii, self._stages[1:], strict=True):
            located = [
                locate_locally(means, stage.features, forest, point, radius)
                for (point, *_), forest in zip(located, stage.forests, strict=True)
            ]
        return tuple(np.array(values) for values in zip(*located, strict=True))

    def _require_settings(self):
        self._require_positive()
        if not all(radius >= 2.0 for radius in self.local_radii):
            raise ValueError(
                "`local_radii` must be at least 2 px each. "
                f"Received: local_radii={self.local_radii}"
            )
        if not 0.0 <= self.spring_weight < np.inf:
            raise ValueError(
                "`spring_weight` must not be negative. "
                f"Received: spring_weight={self.spring_weight}"
            )
