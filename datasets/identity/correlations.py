import itertools

import numpy as np

from scn_keras.datasets.identity.signature import MAX_SHIFT

# Halfway between films that occur twice in the cephalogram set (0.96 and more, some at
# another exposure) and the most similar ones of two people (0.43; hands 0.37, mouse
# skulls 0.24).
THRESHOLD = 0.7


def correlations(signatures: np.ndarray) -> np.ndarray:
    """Returns the correlation of each pair of images, see `cross_correlations`.

    Args:
        signatures: Array `(n, *size)`, see `signature`.

    Returns:
        float32 `(n, n)`, from 0 to 1, symmetric with a diagonal of zeros.
    """
    best = cross_correlations(signatures, signatures)
    np.fill_diagonal(best, 0.0)
    return best


def cross_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the correlations of two sets of images at the best relative shift.

    Shifts are up to 2 of 96 pixels (1 of 32 voxels) along each axis, as between two
    scans of the same film. An inverted copy counts as well. It takes one matrix
    product per shift: 25 for films, of which 300 and 300 take two seconds.

    Args:
        first: Array `(n, *size)`, see `signature`.
        second: Array `(m, *size)`.

    Returns:
        float32 `(n, m)`, from 0 to 1.
    """
    size = first.shape[1:]
    shift = MAX_SHIFT[len(size)]
    best = np.zeros((len(first), len(second)), np.float32)
    middle = [shift] * len(size)
    fixed = [_windows(signatures, middle, shift) for signatures in (first, second)]
    # An image of either set is moved, by half of the shifts: the other half moves the
    # other one, apart from the border.
    offsets = itertools.product(range(2 * shift + 1), repeat=len(size))
    for offset in itertools.islice(offsets, (2 * shift + 1) ** len(size) // 2 + 1):
        moved = _windows(second, list(offset), shift)
        np.maximum(best, np.abs(fixed[0] @ moved.T), out=best)
        if first is not second:
            moved = _windows(first, list(offset), shift)
            np.maximum(best, np.abs(moved @ fixed[1].T), out=best)
    return np.maximum(best, best.T) if first is second else best


def _windows(signatures, offset, shift):
    """Windows of the signatures as vectors of mean 0 and length 1."""
    window = tuple(
        slice(start, start + size - 2 * shift)
        for start, size in zip(offset, signatures.shape[1:], strict=True)
    )
    vectors = signatures[(slice(None), *window)].reshape(len(signatures), -1)
    vectors = vectors.astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0.0)
