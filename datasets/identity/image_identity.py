import dataclasses
import hashlib

import numpy as np

from scn_keras.datasets.identity.coarse_image import coarse_image
from scn_keras.datasets.identity.signature import signature


@dataclasses.dataclass(frozen=True)
class ImageIdentity:
    """The properties by which an image is found again under another name.

    Args:
        digest: Str, see `pixel_digest`.
        signature: float32 array, see `signature`.
    """

    digest: str
    signature: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray) -> "ImageIdentity":
        """Returns the identity of an image.

        Args:
            image: Array `((z,) y, x)` or `((z,) y, x, 1)`, see `pixel_digest`.
        """
        image = without_channel(image)
        return cls(pixel_digest(image), signature(coarse_image(image)))


def pixel_digest(image: np.ndarray) -> str:
    """Returns a text that is equal for images with equal pixels, 32 digits.

    It does not depend on the dtype, since the same file is stored as another one beside
    files of more bits. Values are compared in single precision.

    Args:
        image: Array `((z,) y, x)` or, of a stored sample, `((z,) y, x, 1)`.
    """
    image = without_channel(image)
    digest = hashlib.blake2b(f"{image.shape}".encode(), digest_size=16)
    for plane in image:  # a volume in single precision may not fit in memory
        digest.update(np.ascontiguousarray(plane, "<f4").data)
    return digest.hexdigest()


def without_channel(image: np.ndarray) -> np.ndarray:
    """Returns an image without a last axis of one channel."""
    return image[..., 0] if image.ndim > 2 and image.shape[-1] == 1 else image
