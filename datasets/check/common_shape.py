import numpy as np

from scn_keras.datasets.check.alignment import Alignment, align

# Fewer shapes have no common one to differ from.
MIN_SHAPES = 5
_STARTS = 25
_ITERATIONS = 6


class CommonShape:
    """The median shape of a set, how far shapes are from it and how they are turned.

    It starts from the one shape, of 25, to which the others are nearest, and is the
    median, landmark by landmark, of all shapes aligned to it, six times over. So it
    is that of the majority, whatever the others are.

    Args:
        shapes: Array `(R, N, D)`, in mm or in pixels, NaN for missing; not all in one
            place.

    Attributes:
        points: Array `(N, D)`, the shape, of root mean square radius 1; NaN for a
            landmark that is missing everywhere.
        alignment: `Alignment` of the shapes to it.
        far: Float, the distance above which a shape is not such a shape: 3 times the
            median of all, at least 0.02. (Of 600 annotations of cephalograms and
            910 of hands the farthest is at 2.6 and 3.0 times; mirrored ones are at
            8 and more.)
        turn: Float, radians: who is turned farther from the set's usual direction
            than this is turned otherwise. Three times the median angle, from 30 to
            60 degrees; infinite if directions are mixed (a tenth beyond 45 degrees).
    """

    def __init__(self, shapes: np.ndarray) -> None:
        here = ~np.isnan(shapes).any(axis=-1)
        known = here.any(axis=0)
        # The most complete first.
        order = np.argsort(-here.sum(axis=1), kind="stable")
        starts = [_unit(shapes[i]) for i in order[:_STARTS]]
        points = min(starts, key=lambda s: np.median(align(shapes, s, 5).distance))
        for _ in range(_ITERATIONS):
            aligned = align(shapes, points).shapes[:, known]
            points = np.full_like(points, np.nan)
            points[known] = np.nanmedian(aligned, axis=0)
            points = _unit(points)
        self.points = points
        self.alignment: Alignment = align(shapes, points)
        self.far = max(3.0 * float(np.median(self.alignment.distance)), 0.02)
        u, _, vt = np.linalg.svd(self.alignment.rotation.mean(axis=0))
        u[:, -1] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))
        self._direction = u @ vt
        angles = self.angles(self.alignment.rotation)
        self.turn = np.inf
        if np.quantile(angles, 0.9) <= np.radians(45.0):
            usual = 3.0 * float(np.median(angles))
            self.turn = float(np.clip(usual, np.radians(30.0), np.radians(60.0)))

    def fit(self, points: np.ndarray) -> tuple[float, float]:
        """Returns a shape's distance from this one and the angle of its direction.

        Args:
            points: Array `(N, D)`.
        """
        aligned = align(points[None], self.points)
        return float(aligned.distance[0]), float(self.angles(aligned.rotation)[0])

    def angles(self, rotation: np.ndarray) -> np.ndarray:
        """Returns by how many radians rotations differ from the set's usual one."""
        d = rotation.shape[-1]
        trace = np.einsum("rij,ij->r", rotation, self._direction)
        # Of a rotation by an angle, the trace is 2 cos in 2D and 1 + 2 cos in 3D.
        return np.arccos(np.clip((trace - (d - 2)) / 2.0, -1.0, 1.0))


def _unit(shape):
    """Moves a shape to its centre and scales it to root mean square radius 1."""
    shape = shape - np.nanmean(shape, axis=0)
    return shape / np.sqrt(np.nanmean(np.square(shape).sum(axis=-1)))
