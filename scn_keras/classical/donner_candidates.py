import inspect
from typing import Any

import numpy as np

from scn_keras.classical._ebner_search import (
    global_maps,
    global_votes,
    locate_locally,
)
from scn_keras.classical._pixels import in_grid
from scn_keras.classical._random_field import least_energy
from scn_keras.classical._stored_model import nested, part
from scn_keras.classical._votes import find_peak
from scn_keras.classical.box_differences import box_means
from scn_keras.classical.ebner_forest import EbnerForest

_FLOOR = 1e-3  # lower relative heights cost the same


class DonnerCandidates(EbnerForest):
    """Candidates of forests and a random field (Donner et al., MedIA 17, 2013).

    From the paper: forests give several candidates for each landmark, the maxima of
    their votes. A Markov random field chooses one of each, by their votes and by the
    positions of pairs of landmarks relative to each other.

    Ours, as far as the paper is known to us from the texts of others: the forests are
    those of `EbnerForest`, without the classification of pixels before; the energy of a
    candidate is `-log` of its votes relative to the best one of the landmark; that of a
    pair is Gaussian; each landmark is connected to two others which are connected
    themselves, so that the field is solved exactly, by variable elimination.

    Args:
        candidates: Int, the largest number of candidates of a landmark.
        apart: Float in px, the least distance of two candidates.
        pair_weight: Float, the weight of the pairs. With 0, the highest maximum is
            chosen.
        min_deviation: Float in px, the least standard deviation of a relative position.
        **settings: Arguments of `EbnerForest`, except `spring_weight`.

    Raises:
        ValueError: If a setting is out of its range.

    Example:

    ```python
    forest = scn_keras.classical.DonnerCandidates(candidates=5, trees=10)
    forest.fit(images, points)  # (n, rows, columns), (n, N, 2)
    points = forest.predict_on_batch(images[..., None])["points"]
    ```
    """

    def __init__(
        self,
        candidates: int = 5,
        apart: float = 16.0,
        pair_weight: float = 1.0,
        min_deviation: float = 4.0,
        **settings: Any,
    ) -> None:
        self.candidates = candidates
        self.apart = apart
        self.pair_weight = pair_weight
        self.min_deviation = min_deviation
        super().__init__(**settings)
        if not self.local_radii:
            raise ValueError(
                "`local_radii` must have at least one element. Received: local_radii=()"
            )
        if candidates < 1 or not min_deviation > 0.0 or not pair_weight >= 0.0:
            raise ValueError(
                "`candidates` and `min_deviation` must be positive and `pair_weight` "
                f"not negative. Received: candidates={candidates}, "
                f"min_deviation={min_deviation}, pair_weight={pair_weight}"
            )
        self._pairs: Any = None

    def _fit(self, images, points, store):
        self._pairs = _pairs_of(points, self.min_deviation)
        super()._fit(images, points, store)

    def _locate(self, image):
        first = self._stages[0]
        votes, weights, sizes = global_votes(
            image, first, self.global_factor, self.vote_distance
        )
        maps = global_maps(votes, weights, sizes)
        found = [
            _maxima(maps[..., row], self.candidates, self.apart / self.global_factor)
            for row in range(len(votes))
        ]
        points = [in_grid(at, self.global_factor) for at, _ in found]
        unary = [
            -np.log(np.maximum(height / max(height.max(), 1e-30), _FLOOR))
            for _, height in found
        ]
        labels = least_energy(unary, self._energies(points))
        estimate = [at[label] for at, label in zip(points, labels, strict=True)]
        return self._refined(image, estimate)

    def _energies(self, points):
        """Returns the energies of pairs of candidates."""
        energies = {}
        for (i, j), mean, deviation in zip(*self._pairs, strict=True):
            relative = points[i][:, None] - points[j][None]
            distance = np.sum(((relative - mean) / deviation) ** 2, axis=-1)
            energies[int(i), int(j)] = 0.5 * self.pair_weight * distance
        return energies

    def _refined(self, image, estimate):
        means = box_means(image, self.widths)
        for radius, stage in zip(self.local_radii, self._stages[1:], strict=True):
            located = [
                locate_locally(means, stage.features, forest, point, radius)
                for point, forest in zip(estimate, stage.forests, strict=True)
            ]
            estimate = [point for point, *_ in located]
        return tuple(np.array(values) for values in zip(*located, strict=True))

    def _arrays(self):
        names = ("edges", "means", "deviations")
        pairs = dict(zip(names, self._pairs, strict=True))
        return super()._arrays() | nested("pairs", pairs)

    def _restore(self, arrays):
        super()._restore(arrays)
        pairs = part("pairs", arrays)
        self._pairs = tuple(pairs[name] for name in ("edges", "means", "deviations"))


def _signature():
    """Returns the signature with the arguments of `EbnerForest` by name."""
    own = [*inspect.signature(DonnerCandidates.__init__).parameters.values()][1:-1]
    inherited = dict(inspect.signature(EbnerForest).parameters)
    del inherited["spring_weight"]
    return inspect.Signature([*own, *inherited.values()])


# For `get_config` and for messages about arguments that do not exist.
DonnerCandidates.__signature__ = _signature()  # type: ignore[attr-defined]


def _maxima(density, count, apart):
    """Returns the highest maxima of a map that are a distance apart.

    Returns:
        Points `(K, D)` and heights `(K,)`, of at most `count` maxima.
    """
    axes = np.meshgrid(*map(np.arange, density.shape), indexing="ij")[::-1]
    left = density.copy()
    points: list[np.ndarray] = []
    heights: list[float] = []
    while len(points) < count and (not points or left.max() > 0.0):
        top = np.unravel_index(np.argmax(left), left.shape)[::-1]
        squares = sum((axis - at) ** 2 for axis, at in zip(axes, top, strict=True))
        # The slope of a higher maximum is not a maximum.
        around = squares <= 2.25
        if left[around].max() >= density[around].max() or not points:
            point, height = find_peak(np.where(squares <= apart**2, density, 0.0))
            points.append(point)
            heights.append(height)
        left[squares <= apart**2] = 0.0
    return np.array(points), np.array(heights)


def _pairs_of(points, min_deviation):
    """Returns edges `(E, 2)` and means and deviations `(E, D)` of relative positions.

    The first two landmarks of least variance are connected. Each further one is
    connected to both ends of an existing edge, with the least sum of variances.
    """
    relative = points[:, :, None] - points[:, None]
    count = (~np.isnan(relative).any(axis=-1)).sum(axis=0)[..., None]
    mean = np.nansum(relative, axis=0) / np.maximum(count, 1)
    squares = np.nansum((relative - mean) ** 2, axis=0)
    # A pair that no image has together has no influence.
    variance = np.where(count >= 2, squares / np.maximum(count, 1), 1e12)
    cost = variance.sum(axis=-1) + np.diag([np.inf] * points.shape[1])
    edges: list[tuple[int, int]] = []
    outside = set(range(points.shape[1]))
    if len(outside) >= 2:
        i, j = divmod(int(np.argmin(cost)), len(cost))
        edges.append((i, j))
        outside -= {i, j}
    while outside:
        if not edges:
            break
        _, new, (i, j) = min(
            (cost[new, a] + cost[new, b], new, (a, b))
            for new in outside
            for a, b in edges
        )
        edges += [(new, i), (new, j)]
        outside.remove(new)
    index = np.array(edges, "int32").reshape(-1, 2)
    first, second = index[:, 0], index[:, 1]
    deviations = np.maximum(np.sqrt(variance[first, second]), min_deviation)
    return index, mean[first, second], deviations
