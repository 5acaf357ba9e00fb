import itertools

import numpy as np

from scn_keras.datasets.check.signature import MAX_SHIFT


def correlations(signatures: np.ndarray) -> np.ndarray:
    """Returns the correlation of each pair of images at the best relative shift.

    Shifts are up to 2 of 96 pixels (1 of 32 voxels) along each axis, as between two
    scans of the same film. An inverted copy counts as well. It takes one matrix
    product per shift: 13 for films, of which 300 take a second.

    Args:
        signatures: Array `(n, *size)`, see `signature`.

    Returns:
        float32 `(n, n)`, from 0 to 1, symmetric with a diagonal of zeros.
    """
    n, *size = signatures.shape
    shift = MAX_SHIFT[len(size)]
    best = np.zeros((n, n), np.float32)
    centered = _windows(signatures, [shift] * len(size), shift)
    offsets = itertools.product(range(2 * shift + 1), repeat=len(size))
    # The second half of the shifts is the first half with the two images exchanged.
    for offset in itertools.islice(offsets, (2 * shift + 1) ** len(size) // 2 + 1):
        shifted = _windows(signatures, list(offset), shift)
        np.maximum(best, np.abs(centered @ shifted.T), out=best)
    best = np.maximum(best, best.T)
    np.fill_diagonal(best, 0.0)
    return best


def _windows(signatures, offset, shift):
    """Windows of the signatures as vectors of mean 0 and length 1."""
    window = tuple(
        slice(start, start + size - 2 * shift)
        for start, size in zip(offset, signatures.shape[1:], strict=True)
    )
    vectors = signatures[(slice(None), *window)].reshape(len(signatures), -1)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0.0)
