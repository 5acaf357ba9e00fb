"""Candidates and an exact random field, against enumeration."""

import itertools

import numpy as np
import pytest

from scn_keras.classical import DonnerCandidates
from scn_keras.classical._random_field import least_energy
from scn_keras.classical.donner_candidates import _maxima, _pairs_of
from tests.classical.made_shapes import made_shapes

SMALL = {
    "num_features": 60,
    "trees": 4,
    "global_factor": 2,
    "global_samples": 1500,
    "global_reach": 30.0,
    "vote_distance": 20.0,
    "local_radii": (8.0,),
    "local_samples": 800,
    "widths": (1, 3, 5),
    "apart": 6.0,
}


def energy_of(labels, unary, pairs):
    total = sum(energy[label] for energy, label in zip(unary, labels, strict=True))
    return total + sum(energy[labels[i], labels[j]] for (i, j), energy in pairs.items())


@pytest.mark.parametrize("seed", range(6))
def test_the_least_energy_is_that_of_enumeration(seed):
    random = np.random.default_rng(seed)
    counts = random.integers(1, 5, 6)
    unary = [random.normal(size=count) for count in counts]
    # Any graph with circles, and one variable without neighbours.
    edges = [*itertools.combinations(range(5), 2)]
    chosen = random.choice(len(edges), 7, replace=False)
    pairs = {edges[k][:: random.choice([-1, 1])]: None for k in chosen}
    pairs = {(i, j): random.normal(size=(counts[i], counts[j])) for i, j in pairs}
    every = itertools.product(*map(range, counts))
    best = min(every, key=lambda labels: energy_of(labels, unary, pairs))
    assert least_energy(unary, pairs) == list(best)


def test_a_graph_that_is_too_dense():
    unary = [np.zeros(5)] * 12
    pairs = {edge: np.zeros((5, 5)) for edge in itertools.combinations(range(12), 2)}
    with pytest.raises(ValueError, match="too many connections"):
        least_energy(unary, pairs)


def test_maxima_are_apart_and_ordered_by_height():
    x, y = np.meshgrid(np.arange(40.0), np.arange(30.0))
    density = np.zeros(x.shape)
    for at, height in (((8, 9), 3.0), ((30, 20), 5.0), ((10, 9), 2.0), ((8, 25), 1.0)):
        apart = (x - at[0]) ** 2 + (y - at[1]) ** 2
        density = np.maximum(density, height * np.exp(-apart / 8.0))
    points, heights = _maxima(density, 5, 6.0)
    np.testing.assert_allclose(heights[:3], [5.0, 3.0, 1.0])
    np.testing.assert_allclose(points[:3], [[30, 20], [8, 9], [8, 25]], atol=0.5)
    assert len(_maxima(density, 2, 6.0)[0]) == 2
    assert len(_maxima(np.zeros((5, 5)), 3, 2.0)[0]) == 1


def test_pairs_have_mean_and_deviation_of_relative_positions():
    random = np.random.default_rng(0)
    points = random.uniform(0, 90, (4, 2)) + random.normal(size=(50, 4, 2))
    points[3, 1] = np.nan
    edges, means, deviations = _pairs_of(points, 0.1)
    # One edge, and two for each of two further landmarks.
    assert len(edges) == 5 and set(edges.ravel()) == {0, 1, 2, 3}
    for (i, j), mean, deviation in zip(edges, means, deviations, strict=True):
        relative = points[:, i] - points[:, j]
        np.testing.assert_allclose(mean, np.nanmean(relative, axis=0))
        np.testing.assert_allclose(deviation, np.nanstd(relative, axis=0))
    assert (_pairs_of(points, 7.0)[2] == 7.0).all()
    assert len(_pairs_of(points[:, :1], 1.0)[0]) == 0


def test_points_are_found_and_the_pairs_choose(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    forest = DonnerCandidates(**SMALL).fit(*made_shapes(20, 0))
    images, points = made_shapes(4, 1)
    output = forest.predict_on_batch(images[..., None])
    assert np.linalg.norm(output["points"] - points, axis=-1).max() < 3.0
    forest.save(tmp_path / "model.npz")
    loaded = DonnerCandidates.load(tmp_path / "model.npz")
    again = loaded.predict_on_batch(images[..., None])["points"]
    np.testing.assert_array_equal(again, output["points"])
    # A wrong candidate with more votes for each landmark but the first.
    from scn_keras.classical import donner_candidates

    def two(density, count, apart):
        (right, *_), (height, *_) = _maxima(density, count, apart)
        wrong = np.array([2.0, 2.0])
        return np.array([right, wrong]), np.array([height, 1.5 * height])

    monkeypatch.setattr(donner_candidates, "_maxima", two)
    np.testing.assert_allclose(
        loaded.predict_on_batch(images[..., None])["points"], output["points"]
    )
    loaded.pair_weight = 0.0
    moved = loaded.predict_on_batch(images[..., None])["points"]
    assert np.linalg.norm(moved - points, axis=-1).mean() > 8.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": 0}, "candidates=0"),
        ({"local_radii": ()}, "at least one element"),
        ({"trees": 0}, "trees=0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        DonnerCandidates(**settings)
