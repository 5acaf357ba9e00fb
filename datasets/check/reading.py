import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from scn_keras.array_api import NUMPY
from scn_keras.datasets.identity.coarse_image import smooth
from scn_keras.geometry import apply_affine, has_usable_spacing

AS_IS = "as it is"
SWAPPED_AXES = "swapped axes"
LPS_RAS = "LPS/RAS"
LEFT_RIGHT = "left/right"
MIRRORED = "mirrored"

# A reading with twice as much texture is better. Wrong readings of the real sets have
# more than that in 1 of 100 cases (mirrored films), usually a fifth to three quarters
# of the correct one. It is decisive for a set, and for a case together with all else.
BETTER = 2.0
# An annotation with less than this share of the set's typical texture is suspicious. Of
# the real annotations 1 in 400 is.
MIN_TEXTURE = 0.3
# Fewer annotations do not determine the texture of a set.
MIN_ANNOTATIONS = 3

_AXES = "xyz"


@dataclasses.dataclass(frozen=True)
class Reading:
    """One interpretation of the coordinates of an annotation, and its fit.

    Args:
        kind: Str, `AS_IS`, or the error that the file would have.
        what: Str, that error as a sentence.
        points: Array `(N, D)`, pixels of the image; NaN for missing landmarks.
        outside: Bool array `(N,)`, whether a point lies outside of the image.
        contrast: Array `(N,)`, the local contrast at the points, relative to that of
            the whole image; 0 outside.
    """

    kind: str
    what: str
    points: np.ndarray
    outside: np.ndarray
    contrast: np.ndarray

    @property
    def inside(self) -> float:
        """The share of the points that lie on the image."""
        present = self._present
        return 1.0 - float(self.outside[present].mean()) if present.any() else 1.0

    @property
    def texture(self) -> float:
        """The median of the local contrast at the points.

        Landmarks lie on edges: the medians of the real sets are 0.6 (cephalograms),
        1.1 (hands) and 2.9 (skulls). With swapped axes they are a tenth to a fifth of
        it, mirrored a tenth to three quarters.
        """
        present = self._present
        return float(np.median(self.contrast[present])) if present.any() else np.nan

    def without(self, rows: Sequence[int]) -> "Reading":
        """Returns a reading in which some landmarks are missing.

        Args:
            rows: Sequence of int, their indices.
        """
        points = self.points.copy()
        points[list(rows)] = np.nan
        return dataclasses.replace(self, points=points)

    @property
    def _present(self) -> np.ndarray:
        return ~np.isnan(self.points).any(axis=-1)


def possible_readings(
    points: np.ndarray,
    size: Sequence[int],
    affine: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    contrast: np.ndarray,
) -> tuple[Reading, ...]:
    """Returns an annotation as it is and with each of the common errors undone.

    Args:
        points: Array `(N, D)`, pixels of the image.
        size: Sequence of D ints, x, y(, z).
        affine: Array `(D + 1, D + 1)`, NaN where not known.
        pairs: Index pairs of the left/right landmarks.
        contrast: Array, the `local_contrast` of the image at any resolution.

    Returns:
        Tuple of `Reading`: as it is first, the others in order of preference if
        several fit.
    """
    d = points.shape[-1]
    variants = [(AS_IS, "", points)]
    for order in itertools.permutations(range(d)):
        moved = [axis for axis in range(d) if order[axis] != axis]
        if len(moved) == 2:
            what = f"{_AXES[moved[0]]} and {_AXES[moved[1]]} are swapped."
        elif moved:
            names = ", ".join(_AXES[order.index(column)] for column in range(d))
            what = f"The columns are not x, y, z but {names}."
        else:
            continue
        variants.append((SWAPPED_AXES, what, points[:, order]))
    if has_usable_spacing(affine, NUMPY):
        negate = np.diag([-1.0, -1.0, 1.0, 1.0][:d] + [1.0])
        pixels_to_pixels = np.linalg.inv(affine) @ negate @ affine
        what = "x and y are negated in space: RAS was read as LPS, or LPS as RAS."
        variants.append((LPS_RAS, what, apply_affine(pixels_to_pixels, points)))
    if pairs:
        exchanged = points.copy()
        for a, b in pairs:
            exchanged[[a, b]] = points[[b, a]]
        what = "All left/right pairs are exchanged, or the image is mirrored."
        variants.append((LEFT_RIGHT, what, exchanged))
    for axis in range(d):
        flipped = points.copy()
        flipped[:, axis] = size[axis] - 1 - points[:, axis]
        variants.append((MIRRORED, f"Mirrored along {_AXES[axis]}.", flipped))
    return tuple(
        Reading(kind, what, p, outside(p, size), _contrast_at(p, size, contrast))
        for kind, what, p in variants
    )


def outside(points: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Masks the points that lie outside of the image, `(N,)`; a missing one does not.

    Args:
        points: Array `(N, D)`, pixels of the image.
        size: Sequence of D ints, x, y(, z).
    """
    past = np.maximum(-0.5 - points, points - (np.asarray(size) - 0.5))
    return np.any(np.nan_to_num(past, nan=-1.0) > 0.0, axis=-1)


def local_contrast(coarse: np.ndarray) -> np.ndarray:
    """Returns the local standard deviation of fine detail, scaled to mean square 1.

    Args:
        coarse: float32 array, see `coarse_image`.
    """
    square = np.square(coarse - smooth(coarse, 1.0))
    mean = float(square.mean())
    return np.sqrt(smooth(square, 1.0) / mean) if mean > 0.0 else square


def _contrast_at(points, size, contrast):
    shape = np.array(contrast.shape)
    index = np.floor((np.nan_to_num(points) + 0.5) / size * shape[::-1])[:, ::-1]
    values = contrast[tuple(np.clip(index, 0, shape - 1).astype(int).T)]
    return np.where(outside(points, size), 0.0, values)
