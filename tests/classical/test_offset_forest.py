"""The forest of arrays against scikit-learn, which fitted it."""

import sys

import numpy as np
import pytest

from scn_keras.classical import OffsetForest

ensemble = pytest.importorskip("sklearn.ensemble")


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    values = random.normal(size=(300, 6)).astype("float32")
    offsets = np.stack([values[:, :2] * 3.0, values[:, 2:4] ** 2], axis=1)
    return values, offsets + random.normal(scale=0.1, size=offsets.shape)


def test_votes_of_every_tree_are_those_of_scikit_learn(data):
    values, offsets = data
    sklearn_forest = ensemble.ExtraTreesRegressor(5, min_samples_leaf=3, random_state=1)
    sklearn_forest.fit(values, offsets.reshape(300, 4))
    forest = OffsetForest.from_scikit_learn(sklearn_forest, (2, 2))
    new = np.random.default_rng(1).normal(size=(200, 6)).astype("float32")
    # Values equal to a threshold are on its left.
    new[: len(forest.threshold[:50]), 0] = forest.threshold[:50]
    votes = forest.votes(new)
    assert votes.shape == (200, 5, 2, 2)
    for number, tree in enumerate(sklearn_forest.estimators_):
        expected = tree.predict(new).reshape(200, 2, 2)
        np.testing.assert_allclose(votes[:, number], expected, rtol=1e-6, atol=1e-6)
    assert (forest.leaves(new) == forest.leaves(values[:200])).mean() < 0.5


def test_fit_is_reproducible_and_depends_on_the_seed(data):
    forests = [OffsetForest.fit(*data, trees=3, seed=seed) for seed in (0, 0, 1)]
    for name, array in forests[0].arrays().items():
        np.testing.assert_array_equal(array, forests[1].arrays()[name])
    assert len(forests[0].roots) == 3
    assert not np.array_equal(forests[0].threshold, forests[2].threshold)
    # Fully grown trees repeat their training samples.
    np.testing.assert_allclose(
        forests[0].votes(data[0])[:, 1], data[1], rtol=1e-5, atol=1e-5
    )


def test_arguments_reach_scikit_learn(data):
    large = OffsetForest.fit(*data, trees=2, min_samples_leaf=100)
    assert len(large.leaf_offsets) <= 2 * 3
    every, one = (
        OffsetForest.fit(*data, trees=9, min_samples_leaf=30, max_features=m).feature
        for m in (1.0, 0.01)
    )
    # With one random candidate per node, useless features are used as well.
    assert (
        np.mean(np.isin(one[one >= 0], (4, 5)))
        > 0.2
        > 1.5 * np.mean(np.isin(every[every >= 0], (4, 5)))
    )


def test_arrays_survive_a_file_without_pickle(data, tmp_path):
    forest = OffsetForest.fit(*data, trees=2, min_samples_leaf=5)
    np.savez(tmp_path / "forest.npz", **forest.arrays())
    with np.load(tmp_path / "forest.npz", allow_pickle=False) as arrays:
        loaded = OffsetForest.from_arrays(arrays)
    np.testing.assert_array_equal(loaded.votes(data[0]), forest.votes(data[0]))


def test_one_output_and_one_leaf(data):
    forest = OffsetForest.fit(data[0], np.full((300, 1, 1), 2.5), trees=2)
    np.testing.assert_array_equal(forest.votes(data[0][:4]), np.full((4, 2, 1, 1), 2.5))


def test_without_scikit_learn(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'scn-keras\[classical\]'"):
        OffsetForest.fit(*data)
