"""Gaussian models of the patches around landmarks."""

import numpy as np

_MAX_MODES = 30
# The variance outside the modes, at least, relative to the mean variance of an element.
_MIN_REST = 0.05


class PatchModel:
    """A Gaussian distribution of normalised patches.

    The covariance is that of the largest principal components, and of equal variances
    in all other directions, so that fewer patches than pixels suffice.

    Args:
        mean: Array `(P,)`.
        modes: Array `(K, P)` of orthonormal rows.
        variances: Array `(K,)`, at least `rest` each.
        rest: Float, the variance in all other directions.
    """

    def __init__(self, mean, modes, variances, rest):
        self.mean, self.modes = mean, modes
        self.variances, self.rest = variances, float(rest)

    @classmethod
    def fit(cls, patches):
        """Fits the model to normalised patches `(n, P)`."""
        mean = patches.mean(axis=0)
        _, singular, modes = np.linalg.svd(patches - mean, full_matrices=False)
        count = min(_MAX_MODES, len(patches) - 1)
        variances = singular**2 / max(len(patches) - 1, 1)
        size = patches.shape[1]
        rest = variances[count:].sum() / max(size - count, 1)
        # A patch that never varies would otherwise have an infinite distance.
        rest = max(rest, _MIN_REST * variances.sum() / size, 1e-6)
        return cls(mean, modes[:count], np.maximum(variances[:count], rest), rest)

    def distances(self, patches):
        """Returns squared Mahalanobis distances of normalised patches `(n, P)`."""
        apart = patches - self.mean
        along = apart @ self.modes.T
        total = np.sum(apart**2, axis=1) / self.rest
        return total - along**2 @ (1.0 / self.rest - 1.0 / self.variances)

    def arrays(self):
        """Returns the arguments of the constructor as arrays."""
        return {
            "mean": self.mean.astype("float32"),
            "modes": self.modes.astype("float32"),
            "variances": self.variances,
            "rest": np.array(self.rest),
        }


def patches_around(image, point, radius, search):
    """Returns normalised patches around the pixels near a point.

    A patch has mean 0 and norm 1. The border of the image is repeated.

    Args:
        image: Array `(*grid)`.
        point: Array `(D,)` in px.
        radius: Int in px, of each patch.
        search: Int in px, the largest distance of the centre of a patch from the
            rounded point, along each axis.

    Returns:
        Patches `(C, P)` and their centres `(C, D)`, columns x, y(, z).
    """
    d, reach = image.ndim, radius + search
    center = np.rint(np.asarray(point)).astype("int64")
    index = np.ix_(
        *[
            np.clip(np.arange(at - reach, at + reach + 1), 0, size - 1)
            for at, size in zip(center[::-1], image.shape, strict=True)
        ]
    )
    width = 2 * radius + 1
    views = np.lib.stride_tricks.sliding_window_view(image[index], (width,) * d)
    patches = views.reshape(-1, width**d).astype("float64")
    patches -= patches.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(patches, axis=1, keepdims=True)
    steps = np.meshgrid(*[np.arange(-search, search + 1)] * d, indexing="ij")[::-1]
    centers = center + np.stack([step.reshape(-1) for step in steps], axis=-1)
    return patches / np.maximum(norm, 1e-9), centers
