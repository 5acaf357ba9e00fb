import math

import keras
import numpy as np
from keras import ops

from scn_keras.layers._distance_transform import along, distance_transform, spring
from scn_keras.layers._peak_search import find_largest, gather
from scn_keras.layers.heatmap_peak import HeatmapPeak

_METHODS = ("argmax", "parabola", "log_parabola")


@keras.saving.register_keras_serializable(package="scn_keras")
class PictorialStructures(keras.layers.Layer):
    """Decodes response maps to the configuration with the least cost in a tree.

    Pictorial structures (Felzenszwalb and Huttenlocher, International Journal of
    Computer Vision 61, 2005): every landmark has a cost at each pixel, and pairs of
    landmarks are connected by springs, which form a tree. The cost of a configuration
    is the sum of the costs of its pixels and springs. The best of all configurations is
    found exactly, by generalised distance transforms from the leaves to the root and
    backtracking.

    From the paper: quadratic springs, the tree and its inference, and the choice of the
    tree in `from_points`, with variances of relative positions. Ours: the cost of a
    pixel, `-log(max(response / height, floor))`, which is bounded, so that a landmark
    without a response follows its neighbours; the refinement to sub-pixel precision,
    by a parabola of the responses around the pixel as in `HeatmapPeak`; there are
    neither rotations nor sizes.

    Any response maps can be decoded: heatmaps of a network, its local-appearance maps,
    or votes of a forest. In contrast to `HeatmapPeak`, a point is not necessarily at a
    maximum, and its score is the response at its pixel.

    Args:
        parents: List of N ints, the landmark to which each landmark is connected, -1
            for the one root.
        offsets: N rows of D floats in px, columns x, y(, z): the mean position of each
            landmark relative to its parent. That of the root is not used.
        deviations: N rows of D positive floats in px, the standard deviations of the
            relative positions. Those of the root are not used.
        weight: Float, the weight of the springs. With 0, every landmark is at the
            maximum of its response.
        floor: Float from 0 to 1, exclusive: lower relative responses cost the same.
        method: Str, `"log_parabola"`, `"parabola"` or `"argmax"`, the refinement.

    Call arguments:
        heatmaps: `(batch, *spatial, N)` with D spatial axes of at least 3 pixels.
        height: Float or `(N,)`, the height of the maps at a landmark. 1 for heatmaps
            with targets of height 1.

    Output:
        Dict of float32 as of `HeatmapPeak`: `points` `(batch, N, D)` in pixels,
        `score` `(batch, N)` and `covariance` `(batch, N, D, D)`.

    Raises:
        ValueError: If the parents are not a tree, or shapes or values are wrong.

    Example:

    The second landmark is 4 px right of the first. Its larger maximum is elsewhere:

    >>> layer = scn_keras.layers.PictorialStructures(
    ...     parents=[-1, 0], offsets=[[0, 0], [4, 0]], deviations=[[1, 1], [1, 1]]
    ... )
    >>> maps = np.zeros((1, 16, 16, 2), "float32")
    >>> maps[0, 5, 3, 0] = 1.0
    >>> maps[0, 5, 7, 1] = 0.6
    >>> maps[0, 12, 12, 1] = 0.9
    >>> keras.ops.convert_to_numpy(layer(maps)["points"])[0].tolist()
    [[3.0, 5.0], [7.0, 5.0]]
    """

    num_peaks = 1

    def __init__(
        self,
        parents,
        offsets,
        deviations,
        weight=1.0,
        floor=1e-3,
        method="log_parabola",
        **kwargs,
    ):
        # bfloat16 cannot represent coordinates: it rounds 301.3 to 302.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.parents = [int(parent) for parent in parents]
        self.offsets = np.asarray(offsets, "float64").tolist()
        self.deviations = np.asarray(deviations, "float64").tolist()
        self._order = _from_root(self.parents)
        shapes = {np.shape(self.offsets), np.shape(self.deviations)}
        if len(shapes) > 1 or np.shape(self.offsets) not in (
            (len(self.parents), d) for d in (1, 2, 3)
        ):
            raise ValueError(
                f"`offsets` and `deviations` must have the shape ({len(self.parents)}, "
                "D), one row for each of `parents`. Received: offsets of shape "
                f"{np.shape(self.offsets)}, deviations of shape "
                f"{np.shape(self.deviations)}"
            )
        children = self._order[1:]
        if not (
            np.isfinite(np.array(self.offsets)[children]).all()
            and (np.array(self.deviations)[children] > 0.0).all()
        ):
            raise ValueError(
                "`offsets` must be finite and `deviations` positive. "
                f"Received: offsets={self.offsets}, deviations={self.deviations}"
            )
        if not 0.0 <= weight < math.inf or not 0.0 < floor < 1.0:
            raise ValueError(
                "`weight` must not be negative, and `floor` must be between 0 and 1. "
                f"Received: weight={weight}, floor={floor}"
            )
        if method not in _METHODS:
            raise ValueError(
                f"`method` must be one of {_METHODS}. Received: method={method!r}"
            )
        self.weight = weight
        self.floor = floor
        self.method = method
        self._peak = HeatmapPeak(method)

    @classmethod
    def from_points(cls, points, min_deviation=1.0, **arguments):
        """Creates the layer from points of training images.

        The tree is the minimum spanning tree of the variances of the relative
        positions, summed over the axes. The first landmark is the root, which has no
        influence on the result.

        Args:
            points: Array `(n, N, D)` in px of the response maps, NaN if missing.
            min_deviation: Float in px, the least standard deviation of a spring.
            **arguments: Further arguments of the constructor.

        Returns:
            `PictorialStructures`.

        Raises:
            ValueError: If the shape is wrong, or no tree connects all landmarks by
                pairs that are present in at least two images.

        Example:

        >>> shape = np.array([[5.0, 5.0], [9.0, 5.0], [9.0, 9.0]])
        >>> shifts = np.array([[0.0, 0.0], [3.0, 1.0], [7.0, 4.0]])
        >>> layer = scn_keras.layers.PictorialStructures.from_points(
        ...     shape + shifts[:, None]
        ... )
        >>> layer.parents, layer.offsets[1]
        ([-1, 0, 0], [4.0, 0.0])
        """
        points = np.asarray(points, "float64")
        if points.ndim != 3 or points.shape[2] not in (1, 2, 3):
            raise ValueError(
                "`points` must have the shape (images, landmarks, D). "
                f"Received: points of shape {points.shape}"
            )
        relative = points[:, :, None] - points[:, None]
        count = (~np.isnan(relative).any(axis=-1)).sum(axis=0)
        sums = np.nansum(relative, axis=0)
        mean = sums / np.maximum(count, 1)[..., None]
        squares = np.nansum((relative - mean) ** 2, axis=0)
        variance = squares / np.maximum(count, 1)[..., None]
        total = np.where(count >= 2, variance.sum(axis=-1), np.inf)
        parents = _minimum_spanning_tree(total)
        children = np.arange(len(parents))
        of_child = np.array([max(parent, 0) for parent in parents])
        deviations = np.sqrt(variance[children, of_child])
        return cls(
            parents,
            mean[children, of_child],
            np.maximum(deviations, min_deviation),
            **arguments,
        )

    def build(self, heatmaps_shape):
        landmarks, d = np.shape(self.offsets)
        if len(heatmaps_shape) != d + 2 or heatmaps_shape[-1] != landmarks:
            raise ValueError(
                f"Layer `{self.name}` expects response maps of shape (batch, *spatial, "
                f"{landmarks}) with {d} spatial axes, as its offsets. "
                f"Received: shape={heatmaps_shape}"
            )
        self._peak.build(heatmaps_shape)
        self.built = True

    def call(self, heatmaps, height=1.0):
        heatmaps = ops.cast(heatmaps, "float32")
        # The negation of a comparison, because NaN is neither larger nor smaller.
        finite = ops.abs(heatmaps) < math.inf
        heatmaps = ops.where(finite, heatmaps, 0.0)
        height = ops.convert_to_tensor(height, "float32")
        cost = -ops.log(ops.maximum(heatmaps / height, self.floor))
        index = self._least_cost([cost[..., n] for n in range(len(self.parents))])

        top = gather(heatmaps, index)
        rank = len(index)
        pixel = ops.stack([ops.reshape(i, (-1,)) for i in index[::-1]], axis=-1)
        step, covariance = self._peak._refine(heatmaps, index, ops.reshape(top, (-1,)))
        # Beside a maximum, the parabola's is farther away than the pixel's border.
        largest = 0.0 if self.method == "argmax" else 0.5
        points = ops.cast(pixel, "float32") + ops.clip(step, -largest, largest)
        shape = (*ops.shape(top)[:2], rank)
        return {
            "points": ops.reshape(points, shape),
            "score": ops.clip(top[..., 0] / height, 0.0, 1.0),
            "covariance": ops.reshape(covariance, (*shape, rank)),
        }

    def compute_output_spec(self, heatmaps, height=1.0):
        return self._peak.compute_output_spec(heatmaps, height)

    def get_config(self):
        return {
            **super().get_config(),
            "parents": self.parents,
            "offsets": self.offsets,
            "deviations": self.deviations,
            "weight": self.weight,
            "floor": self.floor,
            "method": self.method,
        }

    def _least_cost(self, cost):
        """Returns the pixels of the best configuration.

        Args:
            cost: List of `(batch, *spatial)`, to which the costs of the descendants
                are added.

        Returns:
            List by axis of int32 `(batch, N, 1)`.
        """
        for child in self._order[:0:-1]:
            parent = self.parents[child]
            arguments = self._spring_of(child)
            cost[parent] = cost[parent] + distance_transform(cost[child], *arguments)
        found = [None] * len(cost)
        for landmark in self._order:
            total, parent = cost[landmark], self.parents[landmark]
            rank = len(total.shape) - 1
            if parent >= 0:
                offset, deviation, weight = self._spring_of(landmark)
                for axis in range(rank):
                    at = ops.cast(found[parent][axis][:, :, 0], "float32")
                    difference = along(ops.shape(total)[axis + 1]) - at
                    energy = spring(difference, offset[axis], deviation[axis], weight)
                    shape = [1] * (rank + 1)
                    shape[0], shape[axis + 1] = -1, ops.shape(total)[axis + 1]
                    total = total + ops.reshape(energy, shape)
            _, found[landmark] = find_largest(-total[..., None], 1)
        return [ops.concatenate(axis, 1) for axis in zip(*found, strict=True)]

    def _spring_of(self, child):
        """Returns offset and deviation in array order, and the weight."""
        return self.offsets[child][::-1], self.deviations[child][::-1], self.weight


def _from_root(parents):
    """Returns the landmarks of a tree, each after its parent."""
    roots = [child for child, parent in enumerate(parents) if parent == -1]
    order = list(roots)
    for landmark in order:
        order += [child for child, parent in enumerate(parents) if parent == landmark]
    if len(roots) != 1 or len(order) != len(parents):
        raise ValueError(
            "`parents` must be a tree: -1 for one landmark, the root, and for each "
            "other one the index of its parent, without circles. "
            f"Received: parents={parents}"
        )
    return order


def _minimum_spanning_tree(costs):
    """Returns the parents of the tree with the least sum of costs (Prim, 1957)."""
    parents = [-1] * len(costs)
    nearest, best = np.zeros(len(costs), int), np.array(costs[0])
    outside = np.arange(len(costs)) != 0
    for _ in range(len(costs) - 1):
        new = int(np.argmin(np.where(outside, best, np.inf)))
        if not (outside[new] and np.isfinite(best[new])):
            raise ValueError(
                "The tree requires pairs of landmarks that are both present in at "
                "least two images, and that connect all landmarks. Received: "
                f"landmarks {np.flatnonzero(outside).tolist()} are not connected to "
                "the others"
            )
        parents[new] = int(nearest[new])
        outside[new] = False
        closer = costs[new] < best
        nearest[closer], best[closer] = new, costs[new][closer]
    return parents
