from typing import Any

import numpy as np

from scn_keras.alignment import align, fit_similarity
from scn_keras.classical._pixels import completed
from scn_keras.geometry import apply_affine

_STEPS = 10
_CONVERGED = 1e-4  # px of the mean shape


class ShapeModel:
    """A linear model of shapes: point distribution model (Cootes et al., 1995).

    The shapes of the training images are aligned to their mean by similarities
    (generalised Procrustes analysis). The principal components of the aligned
    coordinates are the modes. A shape is `affine(mean + modes.T @ b)`, with `b` limited
    to a number of standard deviations of each mode.

    From the paper (Computer Vision and Image Understanding 61, 1995): alignment, modes
    by their share of the variance, the limits of `b`, and the alternating fit of pose
    and `b`. Ours: the aligned shapes are projected on the tangent space of the mean;
    landmarks can have weights; missing ones follow the others.

    Args:
        mean: Array `(N, D)`, the mean shape in px.
        modes: Array `(M, N, D)` of orthonormal rows `(N * D,)`.
        deviations: Array `(M,)`, the standard deviations of the modes in px.
        limit: Float, the largest absolute value of an element of `b` in standard
            deviations.

    Example:

    >>> square = np.array([[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [0.0, 8.0]])
    >>> wide = square * [1.5, 1.0]
    >>> model = scn_keras.classical.ShapeModel.from_points(np.array([square, wide]))
    >>> len(model.modes)
    1
    >>> bool(np.abs(model.fit(wide + 30.0) - (wide + 30.0)).max() < 0.1)
    True
    """

    def __init__(
        self,
        mean: np.ndarray,
        modes: np.ndarray,
        deviations: np.ndarray,
        limit: float = 3.0,
    ) -> None:
        self.mean = np.asarray(mean, "float64")
        self.modes = np.asarray(modes, "float64")
        self.deviations = np.asarray(deviations, "float64")
        self.limit = limit
        if (
            self.mean.ndim != 2
            or self.modes.shape[1:] != self.mean.shape
            or self.deviations.shape != self.modes.shape[:1]
        ):
            raise ValueError(
                "`modes` must have the shape (modes, N, D) for a mean of shape (N, D), "
                "and `deviations` one element for each mode. Received: mean of shape "
                f"{self.mean.shape}, modes of shape {self.modes.shape}, deviations of "
                f"shape {self.deviations.shape}"
            )
        if not limit > 0.0:
            raise ValueError(f"`limit` must be positive. Received: limit={limit}")

    @classmethod
    def from_points(
        cls, points: np.ndarray, variance: float = 0.98, limit: float = 3.0
    ) -> "ShapeModel":
        """Fits the model to the points of training images.

        Args:
            points: Array `(n, N, D)` in px, NaN if missing. At least two shapes, whose
                missing points are completed by the mean shape.
            variance: Float in (0, 1], the share of the variance that the modes have
                together at least.
            limit: Float, as of the constructor.

        Returns:
            `ShapeModel`, whose mean has the mean size of the shapes.

        Raises:
            ValueError: If the shape is wrong or there are too few points.
        """
        points = np.asarray(points, "float64")
        if points.ndim != 3 or len(points) < 2 or points.shape[1] < points.shape[2]:
            raise ValueError(
                "`points` must have the shape (images, landmarks, D) with at least 2 "
                f"images and D landmarks. Received: points of shape {points.shape}"
            )
        if not 0.0 < variance <= 1.0:
            raise ValueError(
                f"`variance` must be in (0, 1]. Received: variance={variance}"
            )
        points = completed(points)
        mean, aligned = _aligned(points)
        flat, axis = aligned.reshape(len(points), -1), mean.reshape(-1)
        # In the tangent space, shapes of different sizes have equal projections.
        flat = flat * ((axis @ axis) / (flat @ axis))[:, None]
        centre = flat.mean(axis=0)
        _, singular, modes = np.linalg.svd(flat - centre, full_matrices=False)
        deviations = singular / np.sqrt(len(points) - 1)
        share = np.cumsum(deviations**2) / max(float(np.sum(deviations**2)), 1e-30)
        count = min(int(np.searchsorted(share, variance - 1e-9)) + 1, len(points) - 1)
        return cls(
            centre.reshape(mean.shape),
            modes[:count].reshape(count, *mean.shape),
            deviations[:count],
            limit,
        )

    def pose(self, points: np.ndarray, weights: np.ndarray | None = None) -> Any:
        """Returns the similarity from the mean shape to points, `(D + 1, D + 1)`."""
        return align(self.mean, points, weights)

    def fit(self, points: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Returns the shape of the model that is closest to points.

        Args:
            points: Array `(N, D)` in px, NaN if missing.
            weights: Array `(N,)`, not negative, or `None` for equal weights.

        Returns:
            Array `(N, D)` in px, without missing points.
        """
        points = np.asarray(points, "float64")
        present = ~np.isnan(points).any(axis=-1)
        weights = np.where(present, 1.0 if weights is None else weights, 0.0)
        root = np.sqrt(np.repeat(weights, points.shape[1]))
        modes = self.modes.reshape(len(self.modes), -1)
        shape, b = self.mean, np.zeros(len(modes))
        for _ in range(_STEPS):
            affine = align(shape, points, weights)
            back = apply_affine(np.linalg.inv(affine), np.nan_to_num(points))
            apart = (back - self.mean).reshape(-1)
            # The minimum-norm solution also exists with fewer points than modes.
            previous = b
            b = np.linalg.lstsq((modes * root).T, root * apart, rcond=1e-9)[0]
            b = np.clip(b, -self.limit * self.deviations, self.limit * self.deviations)
            shape = self.shape(b)
            if np.abs(b - previous).max(initial=0.0) < _CONVERGED:
                break
        return apply_affine(align(shape, points, weights), shape)

    def shape(self, b: np.ndarray) -> np.ndarray:
        """Returns the shape of parameters `(M,)` in the frame of the mean, `(N, D)`."""
        return self.mean + np.tensordot(b, self.modes, 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arguments of the constructor as arrays."""
        return {
            "mean": self.mean,
            "modes": self.modes,
            "deviations": self.deviations,
            "limit": np.array(self.limit),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "ShapeModel":
        """Creates a model from the result of `arrays`."""
        limit = float(arrays["limit"])
        return cls(arrays["mean"], arrays["modes"], arrays["deviations"], limit)


def _aligned(points):
    """Returns the mean shape around 0 and the shapes aligned to it.

    The mean has the mean pose and size of the shapes.
    """
    upright = points.mean(axis=0) - points.mean(axis=(0, 1))
    centred = points - points.mean(axis=1, keepdims=True)
    size = np.mean(np.linalg.norm(centred, axis=(1, 2)))
    mean = upright
    for _ in range(_STEPS):
        mean = mean * (size / np.linalg.norm(mean))
        aligned = apply_affine(fit_similarity(points, mean), points)
        mean = aligned.mean(axis=0)
        mean = apply_affine(align(mean, upright), mean)
        mean -= mean.mean(axis=0)
    mean = mean * (size / np.linalg.norm(mean))
    return mean, apply_affine(fit_similarity(points, mean), points)
