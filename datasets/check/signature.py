import numpy as np

from scn_keras.datasets.check.coarse_image import local_means, smooth

# Pixels a side, by the number of axes, and how far two images may be shifted.
SIDE = {2: 96, 3: 32}
SHIFT = {2: 2, 3: 1}


def signature(coarse: np.ndarray) -> np.ndarray:
    """Returns what an image has in common with a copy of it at another exposure.

    The high-pass image, divided by its own local standard deviation: brightness,
    contrast, gamma and slow shading fall out, edges and their relative strength
    remain. Where there is next to nothing, for example in the air around a volume,
    the divisor is kept at a tenth of the whole image's.

    Args:
        coarse: What `coarse_image` returned.

    Returns:
        float32 array of 96 pixels, or 32 voxels, a side; zeros of a blank image.
    """
    image = local_means(coarse, (SIDE[coarse.ndim],) * coarse.ndim)
    detail = image - smooth(image, 1.0)
    square = np.square(detail)
    spread = np.sqrt(smooth(square, 3.0)) + 0.1 * np.sqrt(square.mean())
    return np.divide(detail, spread, out=np.zeros_like(detail), where=spread > 0.0)
