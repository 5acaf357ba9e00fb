from collections.abc import Sequence
from typing import Any

import numpy as np

from scn_keras.alignment import align
from scn_keras.classical._landmark_method import LandmarkMethod
from scn_keras.classical._patch_model import PatchModel, patches_around
from scn_keras.classical._pixels import completed
from scn_keras.classical._reference_frame import ReferenceFrame, in_frame
from scn_keras.classical._stored_model import nested, part
from scn_keras.classical._votes import moments_around
from scn_keras.classical.shape_model import ShapeModel
from scn_keras.geometry import apply_affine

# A search ends when no point moves farther, in px of the frame.
_SMALL = 0.25


class ActiveShapeModel(LandmarkMethod):
    """Active shape model (Cootes et al., CVIU 61, 1995).

    From the paper: the search starts from the mean shape. Each landmark moves to the
    place nearby whose grey values have the least Mahalanobis distance from those of the
    training images; the shape model is fitted to the moved points; both are repeated,
    in coarse images first.

    Ours: small square patches of normalised grey values instead of profiles along the
    normals of a contour, because single landmarks have none; their covariance is that
    of principal components; the images are resampled to the pose of the shape.

    scikit-learn is not required. The search is local: if the mean shape is far from the
    landmarks, it fails. Expect larger errors than those of forests.

    Score: `exp(-distance / (2 P))` of the squared Mahalanobis distance of a patch of P
    pixels. Covariance: that of the pixels nearby, weighted by their distances.

    Args:
        frame_factors: Ints, the size of a pixel of each level in px of the image, from
            coarse to fine.
        patch_radius: Int in px of the level.
        search: Int in px of the level, the largest movement of a point at once.
        steps: Int, the largest number of steps of each level.
        variance: Float in (0, 1], the share of the variance of the shape model.
        limit: Float, the largest parameter of the shape in standard deviations.
        seed: Int, without effect: nothing is drawn.

    Raises:
        ValueError: If a setting is out of its range.

    Example:

    ```python
    model = scn_keras.classical.ActiveShapeModel(frame_factors=(4, 2))
    model.fit(images, points)  # (n, rows, columns), (n, N, 2)
    points = model.predict_on_batch(images[..., None])["points"]
    ```
    """

    _uses_forests = False
    _positive = ("patch_radius", "search", "steps", "variance", "limit")

    def __init__(
        self,
        frame_factors: Sequence[int] = (8, 4, 2, 1),
        patch_radius: int = 5,
        search: int = 4,
        steps: int = 10,
        variance: float = 0.98,
        limit: float = 3.0,
        seed: int = 0,
    ) -> None:
        self.frame_factors = tuple(frame_factors)
        self.patch_radius = patch_radius
        self.search = search
        self.steps = steps
        self.variance = variance
        self.limit = limit
        self.seed = seed
        self._require_positive()
        if not self.frame_factors or min(self.frame_factors) < 1:
            raise ValueError(
                "`frame_factors` must be positive integers. "
                f"Received: frame_factors={self.frame_factors}"
            )
        self._shape: Any = None
        self._start: Any = None
        self._levels: list[list[PatchModel]] = []

    def _num_parts(self, landmarks):
        return len(self.frame_factors)

    def _fit(self, images, points, store):
        shape = ShapeModel.from_points(points, self.variance, self.limit)
        whole = completed(points)
        middle = whole.mean(axis=0)
        self._start = apply_affine(align(shape.mean, middle), shape.mean)
        self._shape, self._levels = shape, []
        for factor in self.frame_factors:
            frame = self._frame(factor)
            patches: list[list[np.ndarray]] = [[] for _ in middle]
            for image, target, given in zip(images, whole, points, strict=True):
                affine = frame.to_image(shape.pose(target))
                framed = frame.resample(image, affine)
                for row, point in enumerate(in_frame(given, affine)):
                    if not np.isnan(point).any():
                        one, _ = patches_around(framed, point, self.patch_radius, 0)
                        patches[row].append(one[0])
            self._levels.append([PatchModel.fit(np.array(rows)) for rows in patches])
            store.done()

    def _frame(self, factor):
        margin = 2.0 * self.search + self.patch_radius
        return ReferenceFrame(self._shape.mean, factor, margin)

    def _locate(self, image):
        shape, points = self._shape, self._start
        for factor, models in zip(self.frame_factors, self._levels, strict=True):
            frame = self._frame(factor)
            for _ in range(self.steps):
                affine = frame.to_image(shape.pose(points))
                framed = frame.resample(image, affine)
                before = in_frame(points, affine)
                found = [
                    self._nearest(framed, model, point)
                    for model, point in zip(models, before, strict=True)
                ]
                after = shape.fit(np.array([point for point, *_ in found]))
                points = apply_affine(affine, after)
                if np.linalg.norm(after - before, axis=1).max() < _SMALL:
                    break
        linear = affine[:-1, :-1]
        covariances = linear @ np.array([c for *_, c in found]) @ linear.T
        return points, np.array([score for _, score, _ in found]), covariances

    def _nearest(self, framed, model, point):
        """Returns the best pixel near a point, its score and its covariance."""
        patches, centers = patches_around(framed, point, self.patch_radius, self.search)
        distances = model.distances(patches)
        best = int(np.argmin(distances))
        score = np.exp(-0.5 * max(distances[best], 0.0) / patches.shape[1])
        weights = np.exp(-0.5 * (distances - distances[best]))
        at = centers[best].astype("float64")
        return at, score, moments_around(at, centers, weights, 2.0 * self.search)

    def _arrays(self):
        arrays = nested("shape", self._shape.arrays()) | {"start": self._start}
        for level, models in enumerate(self._levels):
            for row, model in enumerate(models):
                arrays |= nested(f"{level}/{row}", model.arrays())
        return arrays

    def _restore(self, arrays):
        self._shape = ShapeModel.from_arrays(part("shape", arrays))
        self._start = arrays["start"]
        self._levels = [
            [
                PatchModel(**part(f"{level}/{row}", arrays))
                for row in range(self._landmarks)
            ]
            for level in range(len(self.frame_factors))
        ]
