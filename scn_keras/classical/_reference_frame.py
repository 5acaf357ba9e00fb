"""Images resampled to the frame of a mean shape."""

import numpy as np

from scn_keras import array_api
from scn_keras.classical import _pixels as pixels
from scn_keras.geometry import apply_affine
from scn_keras.warp import interpolate, pad_border, sampling_grid


class ReferenceFrame:
    """A grid around a mean shape, without the pose of the image.

    Args:
        mean: Array `(N, D)`, the mean shape in px of images.
        factor: Int, the size of a pixel of the frame in px of the mean shape.
        margin: Float, the margin around the mean shape in px of the frame.
    """

    def __init__(self, mean, factor, margin):
        d = mean.shape[1]
        low = mean.min(axis=0) / factor - margin
        extent = mean.max(axis=0) / factor + margin - low
        self.sizes = tuple(int(np.ceil(size)) + 1 for size in extent[::-1])
        self.factor = factor
        # From pixels of the frame to the coordinates of the mean shape.
        self._to_mean = np.eye(d + 1)
        self._to_mean[:d, :d] *= factor
        self._to_mean[:d, d] = factor * low

    def to_image(self, pose):
        """Returns the affine from the frame to an image with a pose of the mean."""
        return pose @ self._to_mean

    def resample(self, image, affine):
        """Returns an image in the frame. The border of the image is repeated.

        Args:
            image: Array `(*grid)`.
            affine: The result of `to_image`.
        """
        factor, d = self.factor, image.ndim
        small = pixels.shrink(np.asarray(image, "float32"), factor)
        # From pixels of the image to pixels of the reduced image.
        reduction = np.eye(d + 1)
        reduction[:d, :d] /= factor
        reduction[:d, d] = (1.0 - factor) / (2.0 * factor)
        coordinates = sampling_grid(reduction @ affine, self.sizes, xp=array_api.NUMPY)
        inside = [
            np.clip(along, 0.0, size - 1.0).astype("float32")
            for along, size in zip(coordinates, small.shape[::-1], strict=True)
        ]
        padded = pad_border(small, d, 0.0, array_api.NUMPY)
        return interpolate(padded, inside, array_api.NUMPY)


def in_frame(points, affine):
    """Returns points of an image in px of a frame."""
    return apply_affine(np.linalg.inv(affine), points)


def varied_pose(pose, center, rotation, scale, random):
    """Returns a pose with a random rotation and size around a centre.

    Args:
        pose: Affine `(D + 1, D + 1)` from the mean shape to an image.
        center: Array `(D,)` in the image.
        rotation: Float, the standard deviation of angles in radians.
        scale: Float, the standard deviation of the logarithm of the size.
        random: NumPy's generator.
    """
    d = len(center)
    skew = np.triu(random.normal(scale=rotation, size=(d, d)), 1)
    skew = 0.5 * (skew - skew.T)
    # Cayley's transform is a rotation for every skew-symmetric matrix.
    turn = np.linalg.solve(np.eye(d) - skew, np.eye(d) + skew)
    around = np.eye(d + 1)
    around[:d, :d] = np.exp(random.normal(scale=scale)) * turn
    around[:d, d] = center - around[:d, :d] @ center
    return around @ pose
