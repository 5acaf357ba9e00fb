from collections.abc import Sequence
from typing import Any

import numpy as np

from scn_keras.classical._ebner_fit import EbnerFit
from scn_keras.classical._ebner_search import locate_globally
from scn_keras.classical._landmark_method import LandmarkMethod
from scn_keras.classical._pixels import completed
from scn_keras.classical._reference_frame import ReferenceFrame, in_frame, varied_pose
from scn_keras.classical._shape_search import fit_shape, response_of
from scn_keras.classical._stage import Stage, restored_stages, stage_arrays
from scn_keras.classical._stored_model import nested, part
from scn_keras.classical.box_differences import box_means
from scn_keras.classical.shape_model import ShapeModel
from scn_keras.geometry import apply_affine

_POSE = 3  # a part of the seed


class LindnerForest(LandmarkMethod):
    """Votes of regression forests with a shape model (Lindner et al., TPAMI 2015).

    From the paper: the image is resampled to a reference frame, in which the shape has
    no rotation and size of its own. For each landmark, a forest is trained with pixels
    near it, in frames of random rotations and sizes. Each tree of a pixel has one vote,
    the mean offset of its leaf; votes are accumulated in a response image. A shape
    model with modes from principal components is fitted to the response images of all
    landmarks, by the best pixel in discs which become smaller, in coarse frames first.

    Ours, as far as the paper is known to us from the texts of others: box differences
    instead of Haar-like features of a patch; a global forest as in `EbnerForest`
    instead of a search over poses; the heights of the maxima as weights of the shape;
    the last step, without the shape, within `free_radius`; the values of all arguments.

    Score and covariance: those of the votes, as in `EbnerForest`.

    Args:
        num_features: Int, features of each stage.
        trees: Int, trees of each forest.
        min_samples_leaf: Int, the least number of training pixels of a leaf.
        max_features: Float, the fraction of features that are tried at each node.
        global_factor: Int, the factor by which the image is reduced for the global
            forest.
        global_samples: Int, training pixels of the global forest.
        global_reach: Float in px, the range of the offsets of global features.
        vote_distance: Float in px, the length at which the weight of a global vote is
            1 / e.
        frame_factors: Ints, one for each stage: the size of a pixel of the reference
            frame in px of the image.
        local_radii: Floats in px of the frame, one for each stage: the distance of
            training pixels from the landmark. In the search, pixels vote within half
            of it, which is also the first radius of the discs.
        local_samples: Int, training pixels of each local forest.
        views: Int, frames of each training image, with different rotations and sizes.
        rotation: Float, the standard deviation of their angles in radians.
        scale: Float, the standard deviation of the logarithm of their sizes.
        variance: Float in (0, 1], the share of the variance of the shape model.
        disc_factor: Float below 1, from the radius of a disc to the next.
        smallest_disc: Float in px of the frame, the least radius of the discs.
        free_radius: Float in px of the last frame: the points are the maxima of the
            responses within this distance of the shape. 0 for the shape itself.
        widths: Odd ints, the widths of the boxes in px of the frame.
        seed: Int.

    Raises:
        ValueError: If a setting is out of its range.

    Example:

    ```python
    forest = scn_keras.classical.LindnerForest()
    forest.fit(images, points)  # (n, rows, columns), (n, N, 2)
    points = forest.predict_on_batch(images[..., None])["points"]
    ```
    """

    _positive = (
        *("num_features", "trees", "min_samples_leaf", "max_features"),
        *("global_factor", "global_samples", "global_reach", "vote_distance"),
        *("local_samples", "views", "smallest_disc", "disc_factor", "variance"),
    )

    def __init__(
        self,
        num_features: int = 400,
        trees: int = 20,
        min_samples_leaf: int = 3,
        max_features: float = 1.0 / 3.0,
        global_factor: int = 4,
        global_samples: int = 20_000,
        global_reach: float = 160.0,
        vote_distance: float = 80.0,
        frame_factors: Sequence[int] = (2, 1),
        local_radii: Sequence[float] = (24.0, 16.0),
        local_samples: int = 12_000,
        views: int = 1,
        rotation: float = 0.05,
        scale: float = 0.05,
        variance: float = 0.98,
        disc_factor: float = 0.75,
        smallest_disc: float = 2.0,
        free_radius: float = 4.0,
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
        self.frame_factors = tuple(frame_factors)
        self.local_radii = tuple(local_radii)
        self.local_samples = local_samples
        self.views = views
        self.rotation = rotation
        self.scale = scale
        self.variance = variance
        self.disc_factor = disc_factor
        self.smallest_disc = smallest_disc
        self.free_radius = free_radius
        self.widths = tuple(widths)
        self.seed = seed
        self._require_settings()
        self._stages: list[Stage] = []
        self._shape: Any = None

    def _num_parts(self, landmarks):
        return 1 + landmarks * len(self.local_radii)

    def _fit(self, images, points, store):
        shape = ShapeModel.from_points(points, self.variance)
        stages = [EbnerFit(self, images, points, store).fit_global()]
        for number in range(len(self.local_radii)):
            framed, moved = self._framed(images, points, shape, number)
            stages.append(EbnerFit(self, framed, moved, store).fit_local(number))
        self._shape, self._stages = shape, stages

    def _framed(self, images, points, shape, number):
        """Returns images and points in varied reference frames of a stage."""
        frame = self._frame(shape, number)
        random = np.random.default_rng([self.seed, _POSE, number])
        resampled, moved = [], []
        whole = completed(points)
        for image, target, present in zip(images, whole, points, strict=True):
            for _ in range(self.views):
                pose = varied_pose(
                    shape.pose(target),
                    target.mean(axis=0),
                    self.rotation,
                    self.scale,
                    random,
                )
                affine = frame.to_image(pose)
                resampled.append(frame.resample(image, affine))
                moved.append(in_frame(present, affine))
        return np.stack(resampled), np.stack(moved)

    def _frame(self, shape, number):
        return ReferenceFrame(
            shape.mean, self.frame_factors[number], 2.0 * self.local_radii[number]
        )

    def _locate(self, image):
        first = locate_globally(
            image, self._stages[0], self.global_factor, self.vote_distance
        )
        shape = self._shape
        points = np.array([point for point, *_ in first])
        scores = np.array([score for _, score, _ in first])
        points = shape.fit(points, np.maximum(scores / scores.max(), 1e-3))
        for number, stage in enumerate(self._stages[1:]):
            radius = 0.5 * self.local_radii[number]
            frame = self._frame(shape, number)
            affine = frame.to_image(shape.pose(points))
            means = box_means(frame.resample(image, affine), self.widths)
            framed = in_frame(points, affine)
            responses = [
                response_of(
                    *(means, stage.features, forest, point, radius),
                    max(1.0, radius / 8.0),
                )
                for forest, point in zip(stage.forests, framed, strict=True)
            ]
            framed = fit_shape(
                *(responses, shape, framed, radius),
                *(self.smallest_disc, self.disc_factor),
            )
            points = apply_affine(affine, framed)
        return self._result(responses, framed, affine)

    def _result(self, responses, framed, affine):
        """Returns points, scores and covariances in px of the image."""
        points, scores, covariances = [], [], []
        for response, point in zip(responses, framed, strict=True):
            peak, score = response.peak(point, self.free_radius)
            if self.free_radius > 0.0:
                point = peak
            points.append(point)
            scores.append(min(score, 1.0))
            covariances.append(response.covariance(point))
        linear = affine[:-1, :-1]
        moved = linear @ np.array(covariances) @ linear.T
        return apply_affine(affine, np.array(points)), np.array(scores), moved

    def _arrays(self):
        return stage_arrays(self._stages) | nested("shape", self._shape.arrays())

    def _restore(self, arrays):
        counts = [1, *[self._landmarks] * len(self.local_radii)]
        self._stages = restored_stages(arrays, counts, self.widths)
        self._shape = ShapeModel.from_arrays(part("shape", arrays))

    def _require_settings(self):
        self._require_positive()
        stages = {len(self.local_radii), len(self.frame_factors)}
        if len(stages) > 1 or 0 in stages:
            raise ValueError(
                "`local_radii` and `frame_factors` must have one element for each "
                f"stage. Received: local_radii={self.local_radii}, "
                f"frame_factors={self.frame_factors}"
            )
        if not all(radius >= 4.0 for radius in self.local_radii):
            raise ValueError(
                "`local_radii` must be at least 4 px each. "
                f"Received: local_radii={self.local_radii}"
            )
        if not self.disc_factor < 1.0:
            raise ValueError(
                "`disc_factor` must be below 1. "
                f"Received: disc_factor={self.disc_factor}"
            )
