"""The forests of Ebner on images whose landmarks are a known function of a blob."""

import numpy as np
import pytest

from scn_keras.classical import EbnerForest
from scn_keras.classical._pixels import (
    ball_pixels,
    completed,
    drawn_in_ball,
    grid_pixels,
    shrink,
)
from scn_keras.classical._springs import Springs
from scn_keras.classical._votes import find_peak, vote_map

pytest.importorskip("sklearn")

SMALL = {
    "num_features": 60,
    "trees": 5,
    "global_factor": 2,
    "global_samples": 1600,
    "global_reach": 30.0,
    "vote_distance": 10.0,
    "local_radii": (10.0,),
    "local_samples": 1200,
    "widths": (1, 3, 5),
}


def planted(count, shape, seed):
    """Bright blobs at random positions; the landmarks are at fixed offsets of it."""
    random = np.random.default_rng(seed)
    d = len(shape)
    shifts = np.array([[0.0, 0.0, 0.0], [6.25, -3.5, 2.0]])[:, :d]
    center = random.uniform(0.4, 0.6, (count, d)) * np.array(shape[::-1])
    axes = np.meshgrid(*map(np.arange, shape), indexing="ij")[::-1]
    images = [
        np.exp(-sum((a - c) ** 2 for a, c in zip(axes, at, strict=True)) / 18.0)
        for at in center
    ]
    images += random.normal(scale=0.02, size=(count, *shape))
    return np.array(images, "float32"), center[:, None] + shifts


@pytest.fixture(scope="module")
def forest():
    return EbnerForest(**SMALL).fit(*planted(24, (40, 32), 0))


def errors(forest, images, points):
    output = forest.predict_on_batch(images[..., None])
    return np.linalg.norm(output["points"] - points, axis=-1), output


def test_planted_offsets_are_found(forest):
    distance, output = errors(forest, *planted(10, (40, 32), 1))
    assert distance.max() < 0.3
    assert output["points"].dtype == np.float32
    assert output["score"].shape == (10, 2) and output["covariance"].shape[1:] == (
        *(2, 2, 2),
    )
    assert ((output["score"] > 0.2) & (output["score"] <= 1.0)).all()
    assert (np.linalg.eigvalsh(output["covariance"]) > 0.05).all()


def test_local_forests_refine_the_global_one():
    settings = {**SMALL, "global_factor": 6, "global_samples": 240, "widths": (1,)}
    forest = EbnerForest(**settings).fit(*planted(24, (40, 32), 0))
    images, points = planted(10, (40, 32), 1)
    coarse = EbnerForest(**{**settings, "local_radii": ()})
    coarse.fit(*planted(24, (40, 32), 0))
    globally = errors(coarse, images, points)[0].mean()
    assert errors(forest, images, points)[0].mean() < 0.5 * globally < 1.0


def test_volumes():
    settings = {**SMALL, "local_samples": 2000, "global_samples": 2400}
    forest = EbnerForest(**settings).fit(*planted(20, (16, 20, 24), 0))
    distance, output = errors(forest, *planted(4, (16, 20, 24), 1))
    assert distance.mean() < 1.0
    assert output["covariance"].shape == (4, 2, 3, 3)


def test_a_file_gives_equal_points(forest, tmp_path):
    images, _ = planted(3, (40, 32), 1)
    forest.save(tmp_path / "model.npz")
    loaded = EbnerForest.load(tmp_path / "model.npz")
    assert loaded.get_config() == forest.get_config()
    expected = forest.predict_on_batch(images[..., None])
    for name, values in loaded.predict_on_batch(images[..., None]).items():
        np.testing.assert_array_equal(values, expected[name])
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_file_of_something_else(content, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.npz is not a model of EbnerForest"):
        EbnerForest.load(path)
    np.savez(path, settings='{"kind": "SternForest"}')
    with pytest.raises(ValueError, match="another kind.*EbnerForest"):
        EbnerForest.load(path)


def test_an_interrupted_fit_continues_with_the_same_result(tmp_path):
    images, points = planted(8, (40, 32), 0)
    seen = []

    def interrupt(done, total):
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    whole = EbnerForest(**SMALL).fit(images, points)
    with pytest.raises(KeyboardInterrupt):
        EbnerForest(**SMALL).fit(images, points, tmp_path / "parts", interrupt)
    assert seen == [(1, 3), (2, 3)]
    written = (tmp_path / "parts" / "global.npz").stat().st_mtime_ns
    resumed = EbnerForest(**SMALL).fit(images, points, tmp_path / "parts")
    assert (tmp_path / "parts" / "global.npz").stat().st_mtime_ns == written
    np.testing.assert_array_equal(
        resumed.predict_on_batch(images[..., None])["points"],
        whole.predict_on_batch(images[..., None])["points"],
    )
    other = EbnerForest(**{**SMALL, "seed": 1}).fit(images, points)
    assert not np.array_equal(
        other.predict_on_batch(images[..., None])["points"],
        whole.predict_on_batch(images[..., None])["points"],
    )


def test_missing_points():
    images, points = planted(24, (40, 32), 0)
    points[::3, 1] = np.nan
    forest = EbnerForest(**SMALL).fit(images, points)
    distance, _ = errors(forest, *planted(10, (40, 32), 1))
    assert distance.mean() < 0.6
    points[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"landmarks \[1\] are missing from all"):
        EbnerForest(**SMALL).fit(images, points)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trees": 0}, "`trees` must be positive.*trees=0"),
        ({"vote_distance": -1.0}, "vote_distance=-1.0"),
        ({"local_radii": (20.0, 1.0)}, r"`local_radii`.*\(20.0, 1.0\)"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        EbnerForest(**settings)


def test_shapes_and_order_of_calls():
    with pytest.raises(ValueError, match=r"images \(2, 8, 8\), points \(3, 1, 2\)"):
        EbnerForest().fit(np.zeros((2, 8, 8)), np.zeros((3, 1, 2)))
    with pytest.raises(RuntimeError, match="not fitted"):
        EbnerForest().predict_on_batch(np.zeros((1, 8, 8, 1)))


def test_the_map_of_votes_is_a_sum_of_gaussians():
    votes = np.array([[3.0, 2.0], [5.0, 4.0], [30.0, 2.0]])
    weights = np.array([2.0, 1.0, 9.0])
    x, y = np.meshgrid(np.arange(9), np.arange(7))
    expected = sum(
        w * np.exp(-0.5 * ((x - a) ** 2 + (y - b) ** 2) / 1.5**2)
        # The third is outside.
        for (a, b), w in zip(votes[:2], weights[:2], strict=True)
    )
    np.testing.assert_allclose(vote_map(votes, weights, (7, 9), 1.5), expected)


def test_votes_between_pixels_and_the_peak():
    votes = np.tile([[4.3, 2.75]], (5, 1))
    point, height = find_peak(vote_map(votes, np.ones(5), (6, 9), 2.0))
    np.testing.assert_allclose(point, votes[0], atol=0.02)
    assert 4.5 < height <= 5.0
    # On the border, the axis across it is not refined.
    point, _ = find_peak(vote_map(np.array([[0.4, 2.25]]), np.ones(1), (6, 9), 2.0))
    assert point[0] == 0.0 and point[1] == pytest.approx(2.25, abs=0.02)


def test_pixels_of_votes_and_samples():
    np.testing.assert_array_equal(
        grid_pixels((3, 4), 2), [[0, 0], [2, 0], [0, 2], [2, 2]]
    )
    np.testing.assert_array_equal(grid_pixels((2, 3), 1)[-1], [2, 1])
    np.testing.assert_array_equal(
        ball_pixels((1.2, 0.0), 1.0, 1, (5, 5)), [[0, 0], [1, 0], [1, 1], [2, 0]]
    )
    random = np.random.default_rng(0)
    drawn = drawn_in_ball(np.array([[50.0, 40.0]]), 20.0, 4000, (99, 99), random)
    distance = np.linalg.norm(drawn[0] - [50.0, 40.0], axis=1)
    assert 19.0 < distance.max() < 21.0
    # The mean distance in a disc is two thirds of the radius.
    assert distance.mean() == pytest.approx(40.0 / 3.0, abs=0.2)
    assert drawn_in_ball(np.array([[0.0, 0.0]]), 9.0, 50, (9, 9), random).min() == 0


def test_reduced_images():
    image = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(shrink(image, 2), [[2.5, 4.5], [8.5, 10.5]])
    assert shrink(image, 1) is image


def test_missing_points_of_the_global_forest_follow_the_others():
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    turned = np.array([[5.0, 5.0], [5.0, 13.0], [-3.0, 13.0], [np.nan, np.nan]])
    found = completed(np.stack([square, square + 7.0, turned]))
    np.testing.assert_allclose(found[2, 3], [-3.0, 5.0], atol=0.05)
    np.testing.assert_array_equal(found[:2], [square, square + 7.0])


def test_maps_of_votes_are_maxima_at_the_landmarks(forest):
    images, points = planted(4, (40, 32), 1)
    maps = forest.vote_maps(images[..., None])
    assert maps.shape == (4, 20, 16, 2) and maps.dtype == np.float32
    for image, landmark in np.ndindex(4, 2):
        y, x = np.unravel_index(maps[image, ..., landmark].argmax(), (20, 16))
        # Pixel i of a map of half the size lies at 2 i + 0.5.
        at = 2.0 * np.array([x, y]) + 0.5
        assert np.abs(at - points[image, landmark]).max() < 2.0


def test_springs_choose_the_maximum_beside_the_other_landmark():
    points = np.array([[10.0, 8.0], [20.0, 12.0]]) + np.arange(4.0)[:, None, None]
    points[:, 1] += [[-2.0, 0.0], [2.0, 0.0], [0.0, -2.0], [0.0, 2.0]]
    springs = Springs.fit(points, 2, 1.0)
    # Half of (10, 4) and of a standard deviation of sqrt(2), at least 1 px.
    arrays = springs.arrays()
    np.testing.assert_allclose(arrays["offsets"][1], [5.0, 2.0])
    np.testing.assert_allclose(arrays["deviations"][1], [1.0, 1.0])
    maps = np.zeros((16, 20, 2))
    maps[4, 3, 0], maps[6, 8, 1], maps[12, 17, 1] = 3.0, 5.0, 10.0
    (first, low), (second, high) = springs.peaks(maps)
    assert (first.tolist(), low) == ([3.0, 4.0], 3.0)
    assert second.tolist() == [8.0, 6.0] and high == pytest.approx(5.0)


def test_the_global_points_are_those_of_the_springs(tmp_path):
    images, points = planted(12, (40, 32), 0)
    settings = {**SMALL, "trees": 2, "local_radii": ()}
    forest = EbnerForest(**settings, spring_weight=1.0).fit(images, points)
    expected = forest._springs.peaks(forest.vote_maps(images[:1, ..., None])[0])
    forest.save(tmp_path / "springs.npz")
    loaded = EbnerForest.load(tmp_path / "springs.npz")
    found = loaded.predict_on_batch(images[:1, ..., None])["points"][0]
    wanted = [2.0 * point + 0.5 for point, _ in expected]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with pytest.raises(ValueError, match="spring_weight=-1"):
        EbnerForest(spring_weight=-1)
