from collections.abc import Sequence

import numpy as np

from scn_keras.datasets.check.annotation import Annotation

# Half the side of a patch, in pixels of a signature, by the number of axes.
_RADIUS = {2: 4, 3: 2}
# Points that are closer together, relative to the size of the image, have patches that
# overlap. These resemble each other wherever the points are.
_MIN_EXTENT = 0.06


def appearance_scores(
    annotations: Sequence[Annotation], points: Sequence[np.ndarray]
) -> np.ndarray:
    """Returns how much the surroundings of landmarks resemble those in other images.

    The score of an annotation is the mean correlation of the patch around each of its
    landmarks with the patches around the same landmark in the other annotations. It is
    0.25 to 0.3 for the published cephalograms and hands, and below 0.04 for their
    points mirrored, with swapped axes or at another scale. If the points cover less
    than 6 % of the images, the correlation with the patches of the other landmarks is
    subtracted.

    Args:
        annotations: Sequence of A `Annotation`.
        points: Sequence of A arrays `(N, D)`, pixels of the images.

    Returns:
        Array `(A,)`.
    """
    patches = np.stack(
        [_patches(a, p) for a, p in zip(annotations, points, strict=True)]
    )
    present = np.stack([~np.isnan(p).any(axis=-1) for p in points])
    count = np.maximum(present.sum(axis=0) - 1, 1)
    total = patches.sum(axis=0)
    # Each patch is of length 1 and counts in the total.
    same = np.einsum("anf,nf->an", patches, total) - np.square(patches).sum(axis=-1)
    number = np.maximum(present.sum(axis=1), 1)
    scores = (same / count).sum(axis=1) / number
    extents = [extent(a, p) for a, p in zip(annotations, points, strict=True)]
    if np.median(extents) >= _MIN_EXTENT or present.shape[1] == 1:
        return scores
    of_image = patches.sum(axis=1)
    rest = total.sum(axis=0) - of_image[:, None] - total + patches
    rest_count = present.sum() - number[:, None] - present.sum(axis=0) + present
    other = np.einsum("anf,anf->an", patches, rest) / np.maximum(rest_count, 1)
    return scores - other.sum(axis=1) / number


def mean_contrast(annotation: Annotation, points: np.ndarray) -> float:
    """Returns the median of the local contrast at points, 0 outside of the image.

    Args:
        annotation: `Annotation`.
        points: Array `(N, D)`, pixels of the image.
    """
    index, inside = _indices(points, annotation.facts.contrast.shape, annotation)
    values = annotation.facts.contrast[tuple(index.T)].astype(np.float64)
    present = ~np.isnan(points).any(axis=-1)
    return float(np.median(np.where(inside, values, 0.0)[present]))


def extent(annotation: Annotation, points: np.ndarray) -> float:
    """Returns the root mean square radius of points relative to the size of the image.

    Args:
        annotation: `Annotation`.
        points: Array `(N, D)`, pixels of the image.
    """
    present = points[~np.isnan(points).any(axis=-1)] / annotation.facts.size
    return float(np.sqrt(np.square(present - present.mean(axis=0)).sum(-1).mean()))


def _patches(annotation: Annotation, points: np.ndarray) -> np.ndarray:
    """Patches around points as vectors of mean 0 and length 1, `(N, F)`."""
    signature = annotation.facts.signature
    d = signature.ndim
    padded = np.pad(signature, _RADIUS[d])
    center, inside = _indices(points, signature.shape, annotation)
    window = np.indices((2 * _RADIUS[d] + 1,) * d).reshape(d, -1).T
    values = padded[tuple(np.moveaxis(center[:, None] + window, -1, 0))]
    values = values - values.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    visible = inside[:, None] & (length > 1e-6)
    return np.divide(values, length, out=np.zeros_like(values), where=visible)


def _indices(
    points: np.ndarray, shape: tuple[int, ...], annotation: Annotation
) -> tuple[np.ndarray, np.ndarray]:
    """Array indices of points in a reduced image, and whether they are inside."""
    sizes = np.array(shape)
    # Points outside may be far away.
    relative = np.nan_to_num((points + 0.5) / annotation.facts.size, nan=-1.0)
    index = np.floor(np.clip(relative, -1.0, 2.0)[:, ::-1] * sizes).astype(int)
    inside = ((index >= 0) & (index < sizes)).all(axis=-1)
    return np.clip(index, 0, sizes - 1), inside
