import dataclasses
from collections.abc import Sequence

import numpy as np

from scn_keras.datasets.case import Case
from scn_keras.datasets.check.reading import (
    LEFT_RIGHT,
    Reading,
    local_contrast,
    possible_readings,
)
from scn_keras.datasets.identity.coarse_image import coarse_image, local_means
from scn_keras.datasets.identity.image_identity import pixel_digest
from scn_keras.datasets.identity.signature import signature


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """The properties of an image that are kept once it has been read.

    Args:
        case: `Case`.
        size: Tuple of D ints, x, y(, z).
        affine: float64 `(D + 1, D + 1)`, pixels to mm; its linear part is NaN where
            the spacing is not known.
        blank: Bool, whether all pixels are equal.
        digest: Str, equal for images with equal pixels.
        signature: Array, see `signature`.
        contrast: float16 array, see `local_contrast`, of the size of the signature.
        readings: Dict of the names of point features to their possible readings.
    """

    case: Case
    size: tuple[int, ...]
    affine: np.ndarray
    blank: bool
    digest: str
    signature: np.ndarray
    contrast: np.ndarray
    readings: dict[str, tuple[Reading, ...]]

    def without(
        self, feature: str, rows: Sequence[int], pairs: Sequence[tuple[int, int]]
    ) -> "ImageFacts":
        """Returns facts in which some landmarks of one observer are missing.

        Args:
            feature: Str, the name of the points.
            rows: Sequence of int, the indices of the landmarks.
            pairs: Index pairs of the left/right landmarks.
        """
        partner = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
        exchanged = [partner.get(row, row) for row in rows]
        readings = tuple(
            reading.without(exchanged if reading.kind == LEFT_RIGHT else rows)
            for reading in self.readings[feature]
        )
        points = {**self.case.points, feature: readings[0].points}
        return dataclasses.replace(
            self,
            case=dataclasses.replace(self.case, points=points),
            readings={**self.readings, feature: readings},
        )


def read_image_facts(case: Case, pairs: Sequence[tuple[int, int]]) -> ImageFacts:
    """Reads the image of a case once.

    Args:
        case: `Case`.
        pairs: Index pairs of the left/right landmarks.

    Raises:
        ValueError: If the image cannot be read. The message names the file.
    """
    image, affine = case.read_image()
    size = image.shape[::-1]
    coarse = coarse_image(image)
    contrast = local_contrast(coarse)
    features = signature(coarse)
    readings = {
        name: possible_readings(
            np.asarray(points, np.float64), size, affine, pairs, contrast
        )
        for name, points in case.points.items()
    }
    return ImageFacts(
        case,
        size,
        affine,
        bool(image.min() == image.max()),
        pixel_digest(image),
        features,
        local_means(contrast, features.shape).astype(np.float16),
        readings,
    )
