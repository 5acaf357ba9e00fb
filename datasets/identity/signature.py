import numpy as np

from scn_keras.datasets.identity.coarse_image import local_means, smooth

# Pixels a side, and the largest shift between two images, by the number of axes.
SIZE = {2: 96, 3: 32}
MAX_SHIFT = {2: 2, 3: 1}


def signature(coarse: np.ndarray) -> np.ndarray:
    """Returns features of an image that do not depend on its exposure.

    The high-pass image divided by its local standard deviation: edges and their
    relative strength remain, but not brightness, contrast, gamma and slow shading.
    The divisor is at least a tenth of the whole image's standard deviation, so that
    noise is not amplified in empty parts, for example in the air around a volume.

    Args:
        coarse: float32 array, see `coarse_image`.

    Returns:
        float32 array of 96 pixels, or 32 voxels, a side; zeros for a blank image.
    """
    image = local_means(coarse, (SIZE[coarse.ndim],) * coarse.ndim)
    detail = image - smooth(image, 1.0)
    square = np.square(detail)
    deviation = np.sqrt(smooth(square, 3.0)) + 0.1 * np.sqrt(square.mean())
    return np.divide(
        detail, deviation, out=np.zeros_like(detail), where=deviation > 0.0
    )
