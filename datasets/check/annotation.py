import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from scn_keras.array_api import NUMPY
from scn_keras.datasets.case import Case
from scn_keras.datasets.check.image_facts import ImageFacts
from scn_keras.datasets.check.labels import count_fits
from scn_keras.datasets.check.reading import Reading
from scn_keras.geometry import apply_affine, has_usable_spacing
from scn_keras.landmark_schema import LandmarkSchema


@dataclasses.dataclass(frozen=True)
class Annotation:
    """The points of one observer on one image.

    Args:
        facts: `ImageFacts` of the image.
        feature: Str, `"points"` or `"points_<observer>"`.
    """

    facts: ImageFacts
    feature: str

    @property
    def case(self) -> Case:
        return self.facts.case

    @property
    def readings(self) -> tuple[Reading, ...]:
        return self.facts.readings[self.feature]

    @property
    def points(self) -> np.ndarray:
        """Array `(N, D)`, pixels of the image."""
        return self.readings[0].points

    @property
    def num_positions(self) -> int:
        """The number of landmarks at different positions."""
        present = self.points[~np.isnan(self.points).any(axis=-1)]
        return len(np.unique(present, axis=0))

    @property
    def has_shape(self) -> bool:
        """Whether D + 2 landmarks have different positions. Fewer fit any shape."""
        return self.num_positions >= self.points.shape[-1] + 2

    @property
    def is_comparable(self) -> bool:
        """Whether its distance from a common shape tells that it is another one.

        A robust similarity maps D landmarks exactly, and the distance is the lower
        median over landmarks: of 2 D landmarks or fewer it is 0 for any shape.
        """
        return self.num_positions > 2 * self.points.shape[-1]

    @property
    def observer(self) -> str:
        """The observer for a message, `" by senior"`; empty if there is only one."""
        name = self.feature.removeprefix("points").removeprefix("_")
        return f" by {name}" if name else ""

    @property
    def calibrated(self) -> bool:
        return bool(has_usable_spacing(self.facts.affine, NUMPY))

    @property
    def unit(self) -> str:
        return "mm" if self.calibrated else "px"

    def in_space(self, points: np.ndarray) -> np.ndarray:
        """Maps pixels of the image to mm; without a usable affine they stay pixels.

        Args:
            points: Array `(N, D)`.
        """
        return apply_affine(self.facts.affine, points) if self.calibrated else points


def independent_annotations(
    facts: Sequence[ImageFacts], schema: LandmarkSchema
) -> list[Annotation]:
    """Returns the annotations of a set, without copies of another observer's points.

    A ground truth that was made from one observer's points is no second opinion.

    Args:
        facts: Sequence of `ImageFacts`.
        schema: `LandmarkSchema`. Cases with another number of points are left out.
    """
    return [
        Annotation(fact, feature)
        for fact in facts
        if count_fits(fact.case, schema)
        for feature in _independent_features(fact.case)
    ]


def _independent_features(case: Case) -> Iterator[str]:
    kept: list[np.ndarray] = []
    for feature, points in case.points.items():
        equal = (np.abs(points - other).max(axis=-1) < 0.01 for other in kept)
        if not np.isnan(points).all() and all(mask.mean() < 0.5 for mask in equal):
            kept.append(points)
            yield feature
