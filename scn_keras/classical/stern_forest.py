from collections.abc import Sequence
from typing import Any

import numpy as np

from scn_keras.classical import _pixels as pixels
from scn_keras.classical._ebner_fit import EbnerFit
from scn_keras.classical._ebner_search import locate_locally, peak_of_votes
from scn_keras.classical._landmark_method import LandmarkMethod
from scn_keras.classical._stage import restored_stages, stage_arrays
from scn_keras.classical.box_differences import box_means


class SternForest(LandmarkMethod):
    """One forest for each landmark, from local to global (Štern et al., MICCAI 2016).

    From the paper: a single forest for each landmark, without a global forest before it
    and without a shape model. It is trained with local pixels, which are accurate, and
    global knowledge is added in the same forest. All pixels of an image vote; then only
    those near the result do.

    Ours, as far as the paper is known to us from the texts of others: global knowledge
    is a share of training pixels from the whole image, with which pixels of similar
    places learn that the landmark is far; the weight of a vote is `exp(-length / d)`;
    the votes are accumulated as in `EbnerForest`; the values of all arguments.

    Score and covariance: as of `EbnerForest`.

    Args:
        num_features: Int, the number of features.
        trees: Int, trees of each forest.
        min_samples_leaf: Int, the least number of training pixels of a leaf.
        max_features: Float, the fraction of features that are tried at each node.
        local_radius: Float in px, the distance of local training pixels from the
            landmark.
        feature_reach: Float in px, the range of the offsets of half of the features; a
            quarter of it is that of the others. Beyond `local_radius`, features add
            global knowledge.
        local_samples: Int, training pixels of each forest, an equal number of each
            image.
        global_share: Float from 0 to 1, exclusive of 1: the share of the training
            pixels that are drawn in the whole image.
        vote_distance: Float in px, the length at which the weight of a vote is 1 / e
            when all pixels vote.
        step: Int in px, the distance of pixels that vote at first.
        widths: Odd ints, the widths of the boxes in px.
        seed: Int.

    Raises:
        ValueError: If a setting is out of its range.

    Example:

    ```python
    forest = scn_keras.classical.SternForest(local_radius=30.0)
    forest.fit(images, points)  # (n, rows, columns), (n, N, 2)
    points = forest.predict_on_batch(images[..., None])["points"]
    ```
    """

    _positive = (
        *("num_features", "trees", "min_samples_leaf", "max_features"),
        *("feature_reach", "local_samples", "vote_distance", "step"),
    )

    def __init__(
        self,
        num_features: int = 400,
        trees: int = 20,
        min_samples_leaf: int = 3,
        max_features: float = 1.0 / 3.0,
        local_radius: float = 40.0,
        feature_reach: float = 120.0,
        local_samples: int = 16_000,
        global_share: float = 0.4,
        vote_distance: float = 20.0,
        step: int = 8,
        widths: Sequence[int] = (1, 3, 7, 13),
        seed: int = 0,
    ) -> None:
        self.num_features = num_features
        self.trees = trees
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.local_radius = local_radius
        self.feature_reach = feature_reach
        self.local_samples = local_samples
        self.global_share = global_share
        self.vote_distance = vote_distance
        self.step = step
        self.widths = tuple(widths)
        self.seed = seed
        self._require_positive()
        if not local_radius >= 2.0:
            raise ValueError(
                "`local_radius` must be at least 2 px. "
                f"Received: local_radius={local_radius}"
            )
        if not 0.0 <= global_share < 1.0:
            raise ValueError(
                "`global_share` must be at least 0 and below 1. "
                f"Received: global_share={global_share}"
            )
        self._stage: Any = None

    @property
    def local_radii(self) -> tuple[float]:
        """The radius of the only stage."""
        return (self.local_radius,)

    def _num_parts(self, landmarks):
        return landmarks

    def _fit(self, images, points, store):
        self._stage = EbnerFit(self, images, points, store).fit_local(0)

    def _locate(self, image):
        means = box_means(image, self.widths)
        features = self._stage.features
        at = pixels.grid_pixels(image.shape, self.step)
        values = features.at(means, at)
        sigma, located = float(self.step), []
        for forest in self._stage.forests:
            offsets = forest.votes(values)[:, :, 0]
            weights = np.exp(-np.linalg.norm(offsets, axis=-1) / self.vote_distance)
            # Accumulated in pixels of half a step, since a maximum is broad.
            factor = max(1, self.step // 2)
            votes = (at[:, None] + offsets).reshape(-1, image.ndim)
            reduced = (votes - 0.5 * (factor - 1.0)) / factor
            sizes = [-(-size // factor) for size in image.shape]
            point, *_ = peak_of_votes(
                reduced, weights.reshape(-1), sizes, sigma / factor
            )
            point = pixels.in_grid(point, factor)
            located.append(
                locate_locally(means, features, forest, point, self.local_radius)
            )
        return tuple(np.array(values) for values in zip(*located, strict=True))

    def _arrays(self):
        return stage_arrays([self._stage])

    def _restore(self, arrays):
        (self._stage,) = restored_stages(arrays, [self._landmarks], self.widths)
