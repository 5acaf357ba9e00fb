"""`PictorialStructures` on maps of votes."""

import numpy as np


class Springs:
    """A tree of springs between landmarks, with its decoder.

    Args:
        parents: Int array `(N,)`, as those of `PictorialStructures`.
        offsets: Array `(N, D)` in px of the maps.
        deviations: Array `(N, D)` in px of the maps.
        weight: Float, the weight of the springs.
    """

    def __init__(self, parents, offsets, deviations, weight):
        # Keras is imported where it is used: forests do not require it.
        from scn_keras.layers import PictorialStructures

        self._layer = PictorialStructures(
            np.asarray(parents).tolist(), offsets, deviations, weight
        )

    @classmethod
    def fit(cls, points, factor, weight):
        """Fits springs to points of images whose maps are reduced.

        Args:
            points: Array `(n, N, D)` in px of the images, NaN if missing.
            factor: Int, the reduction of the maps.
            weight: Float.
        """
        from scn_keras.layers import PictorialStructures

        layer = PictorialStructures.from_points(points / factor)
        return cls(layer.parents, layer.offsets, layer.deviations, weight)

    def arrays(self):
        """Returns the arguments of the constructor, without the weight."""
        layer = self._layer
        return {
            "parents": np.array(layer.parents, "int32"),
            "offsets": np.array(layer.offsets),
            "deviations": np.array(layer.deviations),
        }

    def peaks(self, maps):
        """Returns a list by landmark of the point and the height of the map there.

        Args:
            maps: Array `(*sizes, N)`, not negative.
        """
        height = np.maximum(maps.max(tuple(range(maps.ndim - 1))), 1e-30)
        # Heights of 1, because the layer computes in float32.
        output = self._layer((maps / height)[None].astype("float32"))
        points, scores = np.asarray(output["points"]), np.asarray(output["score"])
        heights = scores[0] * height
        return [*zip(points[0].astype("float64"), heights.tolist(), strict=True)]
