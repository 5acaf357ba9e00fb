from collections.abc import Mapping

import numpy as np

_ARRAYS = ("feature", "threshold", "left", "right", "roots", "leaf_offsets")


class OffsetForest:
    """A regression forest from features of a pixel to the offsets to landmarks.

    It is fitted by scikit-learn's `ExtraTreesRegressor` and consists of plain arrays:
    storing it requires no pickle, and predicting requires NumPy only. Every tree has
    one vote, the mean offset of the training pixels in the leaf.

    Extremely randomised trees (Geurts et al., Machine Learning 63, 2006) draw a random
    threshold for every candidate feature of a node, as the forests of Criminisi et al.
    (2010) do. Their candidates are new features at each node, ours are from one set of
    the forest.

    Args:
        feature: Int array `(nodes,)`, the feature of each node, -1 for a leaf.
        threshold: Float32 array `(nodes,)`. Values up to it belong to the left child.
        left: Int array `(nodes,)`, the left child, or the row of a leaf in
            `leaf_offsets`.
        right: Int array `(nodes,)`, the right child.
        roots: Int array `(trees,)`, the first node of each tree.
        leaf_offsets: Float32 array `(leaves, N, D)` in px, columns x, y(, z).

    Example:

    ```python
    values = features(image, pixels)
    offsets = point - pixels[:, None]
    forest = scn_keras.classical.OffsetForest.fit(values, offsets, trees=20)
    votes = pixels[:, None, None] + forest.votes(values)
    ```
    """

    def __init__(
        self,
        feature: np.ndarray,
        threshold: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        roots: np.ndarray,
        leaf_offsets: np.ndarray,
    ) -> None:
        self.feature = feature
        self.threshold = threshold
        self.left = left
        self.right = right
        self.roots = roots
        self.leaf_offsets = leaf_offsets

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        offsets: np.ndarray,
        trees: int = 20,
        min_samples_leaf: int = 1,
        max_features: float = 1.0 / 3.0,
        seed: int = 0,
    ) -> "OffsetForest":
        """Fits a forest with scikit-learn, on all processor cores.

        The result does not depend on the number of cores.

        Args:
            values: Float32 array `(samples, F)`.
            offsets: Array `(samples, N, D)` in px, from each pixel to the landmarks.
            trees: Int, the number of trees.
            min_samples_leaf: Int, the least number of training pixels of a leaf.
            max_features: Float, the fraction of features that are tried at each node.
            seed: Int.

        Returns:
            `OffsetForest`.

        Raises:
            ImportError: If scikit-learn is not installed.
        """
        ensemble = _import_ensemble()
        forest = ensemble.ExtraTreesRegressor(
            trees,
            min_samples_leaf=min_samples_leaf,
            max_features=max_features,
            random_state=seed,
            n_jobs=-1,
        )
        targets = np.reshape(offsets, (len(offsets), -1))
        # With one output, scikit-learn warns of a column.
        forest.fit(values, targets[:, 0] if targets.shape[1] == 1 else targets)
        return cls.from_scikit_learn(forest, np.shape(offsets)[1:])

    @classmethod
    def from_scikit_learn(cls, forest, shape: tuple[int, ...]) -> "OffsetForest":
        """Copies the trees of a fitted forest of scikit-learn.

        Args:
            forest: `ExtraTreesRegressor` or `RandomForestRegressor`.
            shape: `(N, D)`, the shape of the offsets of one pixel.
        """
        parts: dict[str, list[np.ndarray]] = {name: [] for name in _ARRAYS}
        nodes = leaves = 0
        for tree in (estimator.tree_ for estimator in forest.estimators_):
            is_leaf = tree.children_left < 0
            row = leaves + np.cumsum(is_leaf) - 1
            parts["feature"].append(np.where(is_leaf, -1, tree.feature))
            parts["threshold"].append(_round_down(tree.threshold))
            parts["left"].append(np.where(is_leaf, row, nodes + tree.children_left))
            parts["right"].append(np.where(is_leaf, 0, nodes + tree.children_right))
            parts["roots"].append(np.array([nodes]))
            parts["leaf_offsets"].append(tree.value[is_leaf].reshape(-1, *shape))
            nodes, leaves = nodes + len(is_leaf), leaves + int(is_leaf.sum())
        arrays = {name: np.concatenate(values) for name, values in parts.items()}
        floats = ("threshold", "leaf_offsets")
        return cls(
            **{
                name: array.astype("float32" if name in floats else "int32")
                for name, array in arrays.items()
            }
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arguments of the constructor."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "OffsetForest":
        """Creates a forest from the result of `arrays`."""
        return cls(**{name: arrays[name] for name in _ARRAYS})

    def leaves(self, values: np.ndarray) -> np.ndarray:
        """Returns the row of the leaf of every pixel in every tree.

        Args:
            values: Float32 array `(P, F)`.

        Returns:
            Int array `(P, trees)` of rows of `leaf_offsets`.
        """
        values = np.ascontiguousarray(values, "float32")
        pixels, trees = len(values), len(self.roots)
        node = np.tile(self.roots, pixels)
        row = np.repeat(np.arange(pixels) * values.shape[1], trees)
        flat = values.reshape(-1)
        active = np.flatnonzero(self.feature[node] >= 0)
        while active.size:
            current = node[active]
            value = flat[row[active] + self.feature[current]]
            below = value <= self.threshold[current]
            current = np.where(below, self.left[current], self.right[current])
            node[active] = current
            active = active[self.feature[current] >= 0]
        return self.left[node].reshape(pixels, trees)

    def votes(self, values: np.ndarray) -> np.ndarray:
        """Returns the offsets for which the trees vote.

        Args:
            values: Float32 array `(P, F)`.

        Returns:
            Float32 array `(P, trees, N, D)` in px.
        """
        return self.leaf_offsets[self.leaves(values)]


def require_scikit_learn() -> None:
    """Raises an error if scikit-learn is not installed.

    Raises:
        ImportError: If it is not.
    """
    _import_ensemble()


def _import_ensemble():
    try:
        from sklearn import ensemble
    except ImportError as error:
        raise ImportError(
            "Fitting a forest requires scikit-learn. Install it with `pip install "
            "'scn-keras[classical]'`."
        ) from error
    return ensemble


def _round_down(threshold):
    """Returns the largest float32 values that do not exceed float64 values.

    Comparing a float32 value with either gives the same result.
    """
    single = threshold.astype("float32")
    return np.where(
        single > threshold, np.nextafter(single, np.float32(-np.inf)), single
    )
