import itertools

import numpy as np

from scn_keras.datasets.check.signature import SHIFT


def correlations(signatures: np.ndarray) -> np.ndarray:
    """Correlates every image with every other, at the shift at which they fit best.

    One is shifted against the other by up to 2 of 96 pixels (1 of 32 voxels) along
    each axis, as another scan of the same film is. An inverted copy counts as well.
    It takes one matrix product a shift: 13 for films, 300 of which take a second.

    Args:
        signatures: Array `(n, *size)`, see `signature`.

    Returns:
        float32 `(n, n)`, from 0 to 1, symmetric, its diagonal zero.
    """
    n, *size = signatures.shape
    shift = SHIFT[len(size)]
    best = np.zeros((n, n), np.float32)
    middle = _vectors(signatures, [shift] * len(size), shift)
    offsets = itertools.product(range(2 * shift + 1), repeat=len(size))
    # The second half is the first with the two images exchanged.
    for offset in itertools.islice(offsets, (2 * shift + 1) ** len(size) // 2 + 1):
        moved = _vectors(signatures, list(offset), shift)
        np.maximum(best, np.abs(middle @ moved.T), out=best)
    best = np.maximum(best, best.T)
    np.fill_diagonal(best, 0.0)
    return best


def _vectors(signatures, offset, shift):
    window = tuple(
        slice(start, start + size - 2 * shift)
        for start, size in zip(offset, signatures.shape[1:], strict=True)
    )
    vectors = signatures[(slice(None), *window)].reshape(len(signatures), -1)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0.0)
