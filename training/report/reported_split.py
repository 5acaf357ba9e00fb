import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scn_keras.training.evaluation.result_table import unit_of
from scn_keras.training.run import Run


class _FarthestPoint(NamedTuple):
    """A predicted point that is far from the truth.

    Attributes:
        image: Str, the id of the image.
        landmark: Int, the index of the landmark.
        distance: Float, the distance to the truth, in the unit of the results.
        score: Float, the score of the point, 0 to 1.
    """

    image: str
    landmark: int
    distance: float
    score: float


@dataclasses.dataclass(frozen=True, eq=False)
class ReportedSplit:
    """The results of a run on a split, in the order of the report.

    Args:
        run: `Run`, evaluated on the split.
        split: Str, the name of the split.
        truths: Sequence of str or `None`, the truths of the data set.
        points: Dict of the points of the split by image, see
            `points_table.read_points`.
    """

    run: Run
    split: str
    truths: Sequence[str | None]
    points: Mapping[str, Mapping[str, Any]]

    @functools.cached_property
    def results(self) -> list[dict[str, Any]]:
        """All results: first those on the split, then on its subsets and on others."""

        def key(result: Mapping[str, Any]) -> tuple[Any, ...]:
            protocol = result["protocol"]
            is_other = protocol["split"] != self.split
            # Results on other data sets may be against other truths.
            order = [*self.truths, protocol["truth"]].index(protocol["truth"])
            return is_other, not self._is_of_split(result), protocol["split"], order

        return sorted(self.run.results(), key=key)

    @functools.cached_property
    def truth(self) -> str | None:
        """The truth of the headline: the observer of the training, if evaluated."""
        observer = self.run.recipe.observer
        trained_on = "mean" if observer == "random" else observer
        scored = [
            result["protocol"]["truth"]
            for result in self.results
            if self._is_of_split(result)
        ]
        return trained_on if trained_on in scored else scored[0]

    @functools.cached_property
    def headlines(self) -> list[dict[str, Any]]:
        """The results on the split and on its subsets, against `truth`."""
        return [
            result
            for result in self.results
            if result["protocol"]["truth"] == self.truth and self._is_of_split(result)
        ]

    @property
    def unit(self) -> str:
        """The unit of distances, `"mm"` or `"px"`."""
        return unit_of(self.headlines[0])

    @functools.cached_property
    def mean_errors(self) -> dict[str, float]:
        """The mean distance to `truth` of each image, in descending order."""
        errors = {
            id: float(np.nanmean(case["errors"][self.truth]))
            for id, case in self.points.items()
            if not np.isnan(case["errors"][self.truth]).all()
        }
        return dict(sorted(errors.items(), key=lambda item: -item[1]))

    @property
    def typical_image(self) -> str:
        """The id of the image with the median error."""
        ids = [*self.mean_errors]
        return ids[len(ids) // 2]

    @functools.cached_property
    def farthest_points(self) -> list[_FarthestPoint]:
        """All points with a true point, in descending order of the distance."""
        points = [
            _FarthestPoint(id, index, float(distance), float(case["score"][index]))
            for id, case in self.points.items()
            for index, distance in enumerate(case["errors"][self.truth])
            if not np.isnan(distance)
        ]
        return sorted(points, key=lambda point: -point.distance)

    def _is_of_split(self, result: Mapping[str, Any]) -> bool:
        protocol = result["protocol"]
        return self.split in (protocol["split"], protocol["subset_of"])
