"""Pictorial structures against loops, enumeration and SciPy's spanning tree."""

import itertools

import keras
import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree

from scn_keras.layers import GaussianHeatmap, HeatmapPeak, PictorialStructures
from scn_keras.layers import _distance_transform as transform
from tests.contract import check_contract

TREE = {
    "parents": [1, -1, 1, 2],
    "offsets": [[-2.0, 0.5], [0.0, 0.0], [1.0, -1.0], [0.0, 1.25]],
    "deviations": [[1.0, 2.0], [1.0, 1.0], [0.7, 1.5], [2.0, 1.0]],
}


def numpy(outputs):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


@pytest.mark.parametrize("shape", [(9,), (6, 8), (4, 5, 3)])
@pytest.mark.parametrize("elements", [2**23, 500])  # in one block and in several
def test_distance_transform_equals_a_loop(shape, elements, monkeypatch):
    monkeypatch.setattr(transform, "_MAX_ELEMENTS", elements)
    random, d = np.random.default_rng(0), len(shape)
    cost = random.uniform(0.0, 9.0, (2, *shape)).astype("float32")
    offset, deviation = random.normal(size=d), random.uniform(0.5, 3.0, d)
    found = transform.distance_transform(
        keras.ops.convert_to_tensor(cost), offset, deviation, 0.8
    )
    expected = np.full(cost.shape, np.inf)
    for x, y in itertools.product(np.ndindex(shape), repeat=2):
        energy = 0.4 * sum(((np.array(x) - y - offset) / deviation) ** 2)
        for image in range(2):
            total = cost[image][x] + energy
            expected[image][y] = min(expected[image][y], total)
    np.testing.assert_allclose(numpy(found), expected, rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_all_configurations_is_found(seed):
    shape, landmarks = (3, 4), 4
    maps = np.random.default_rng(seed).uniform(0.0, 1.0, (1, *shape, landmarks)) ** 4
    maps = maps.astype("float32")
    layer = PictorialStructures(**TREE, weight=0.7, floor=0.01, method="argmax")
    found = numpy(layer(maps, height=0.9))
    cost = -np.log(np.maximum(maps[0] / 0.9, 0.01))
    pixels = [*np.ndindex(shape)]
    xy = np.array(pixels)[:, ::-1]
    unary = np.array([[cost[(*pixel, n)] for pixel in pixels] for n in range(4)])
    pair = {}
    for child, parent in enumerate(TREE["parents"]):
        if parent >= 0:
            apart = xy[:, None] - xy[None] - TREE["offsets"][child]
            apart = apart / TREE["deviations"][child]
            pair[child] = 0.35 * np.sum(apart**2, axis=-1)
    chosen = np.indices([len(pixels)] * landmarks).reshape(landmarks, -1)
    total = sum(unary[n][chosen[n]] for n in range(landmarks))
    for child, energy in pair.items():
        total = total + energy[chosen[child], chosen[TREE["parents"][child]]]
    best = chosen[:, np.argmin(total)]
    np.testing.assert_array_equal(found["points"][0], xy[best])
    values = maps[0].reshape(-1, landmarks)[best, np.arange(landmarks)]
    np.testing.assert_allclose(found["score"][0], np.minimum(values / 0.9, 1.0), 1e-6)
    # Otherwise the maxima alone would have been found.
    assert (np.argmin(unary, axis=1) != best).any()


def test_without_springs_it_is_the_peak_layer():
    target = GaussianHeatmap(4, sigma=2.0, size=(24, 20))
    points = np.random.default_rng(0).uniform(4.0, 15.0, (3, 4, 2)).astype("float32")
    layer, peak = PictorialStructures(**TREE, weight=0.0), HeatmapPeak("log_parabola")
    height = np.float32(2.0)
    found, expected = (numpy(p(target(points), height)) for p in (layer, peak))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["points"], points, atol=1e-3)


def test_volumes():
    settings = {
        "parents": [-1, 0],
        "offsets": [[0.0] * 3, [3.0, -2.0, 1.0]],
        "deviations": [[1.0] * 3] * 2,
    }
    maps = np.zeros((1, 8, 9, 10, 2), "float32")
    maps[0, 3, 5, 2, 0] = 1.0
    maps[0, 4, 3, 5, 1] = 0.3  # where it is expected, in order z, y, x
    maps[0, 7, 8, 9, 1] = 1.0
    found = numpy(PictorialStructures(**settings, method="argmax")(maps))
    np.testing.assert_array_equal(found["points"][0], [[2, 5, 3], [5, 3, 4]])
    assert found["covariance"].shape == (1, 2, 3, 3)


def test_a_map_without_response_follows_its_neighbours():
    layer = PictorialStructures(**TREE)
    maps = np.zeros((1, 12, 14, 4), "float32")
    maps[0, 6, 7, 1] = 1.0
    for empty in (0.0, np.nan, -1.0):
        maps[0, :, :, [0, 2, 3]] = empty
        found = numpy(layer(maps))
        # Offsets rounded to pixels: of two equal ones, either.
        expected = [[5.0, 6.5], [7.0, 6.0], [8.0, 5.0], [8.0, 6.25]]
        np.testing.assert_allclose(found["points"][0], expected, atol=0.5)
        np.testing.assert_array_equal(found["score"][0], [0.0, 1.0, 0.0, 0.0])


def test_the_tree_is_that_of_scipy():
    random = np.random.default_rng(3)
    points = random.normal(size=(40, 1, 2)) * 20 + random.normal(size=(40, 7, 2)) * (
        random.uniform(0.5, 5.0, (7, 1))
    )
    layer = PictorialStructures.from_points(points, min_deviation=0.01)
    relative = points[:, :, None] - points[:, None]
    tree = minimum_spanning_tree(relative.var(axis=0).sum(axis=-1)).toarray()
    expected = {tuple(sorted(edge)) for edge in np.argwhere(tree > 0).tolist()}
    edges = [(n, p) for n, p in enumerate(layer.parents) if p >= 0]
    assert {tuple(sorted(edge)) for edge in edges} == expected
    for child, parent in edges:
        apart = points[:, child] - points[:, parent]
        np.testing.assert_allclose(layer.offsets[child], apart.mean(axis=0))
        np.testing.assert_allclose(layer.deviations[child], apart.std(axis=0))


def test_missing_points_and_the_least_deviation():
    points = np.tile([[[0.0, 0.0], [4.0, 1.0], [9.0, 9.0]]], (4, 1, 1))
    points[0, 1] = points[1, 2] = np.nan
    layer = PictorialStructures.from_points(points, min_deviation=1.5, floor=0.1)
    assert layer.parents[0] == -1 and layer.floor == 0.1
    assert layer.offsets[1] == [4.0, 1.0] and layer.deviations[1] == [1.5, 1.5]
    points[:3, 2] = np.nan
    with pytest.raises(ValueError, match=r"at least two images.*landmarks \[2\]"):
        PictorialStructures.from_points(points)
    with pytest.raises(ValueError, match=r"\(images, landmarks, D\).*\(3, 2\)"):
        PictorialStructures.from_points(points[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parents": [-1, -1, 1, 2]}, "must be a tree"),
        ({"parents": [-1, 2, 1, 2]}, "must be a tree"),
        ({"parents": [9, -1, 1, 2]}, "must be a tree"),
        ({"offsets": [[0.0, 0.0]] * 3}, r"\(4, D\).*offsets of shape \(3, 2\)"),
        ({"deviations": [[0.0, 1.0]] * 4}, "`deviations` positive"),
        ({"weight": -1.0}, "weight=-1.0"),
        ({"floor": 0.0}, "floor=0.0"),
        ({"method": "centroid"}, "method='centroid'"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        PictorialStructures(**{**TREE, **changes})


def test_maps_of_another_shape():
    with pytest.raises(ValueError, match=r"\(batch, \*spatial, 4\) with 2 spatial"):
        PictorialStructures(**TREE)(np.zeros((1, 8, 8, 3)))


def test_contract():
    maps = np.random.default_rng(0).uniform(0.1, 1.0, (2, 7, 6, 4)).astype("float32")
    check_contract(PictorialStructures, TREE, maps)


def test_saved_model(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras exports on the TensorFlow backend")
    import tensorflow as tf

    maps = np.random.default_rng(0).uniform(0.0, 1.0, (2, 9, 8, 4)).astype("float32")
    image = keras.Input((9, 8, 4))
    model = keras.Model(image, PictorialStructures(**TREE)(image))
    expected = numpy(model(maps))
    model.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model").serve(maps)
    for name, values in expected.items():
        np.testing.assert_allclose(served[name], values, rtol=1e-5, atol=1e-5)
