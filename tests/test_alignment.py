import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scn_keras.alignment import (
    GEMAN_MCCLURE,
    RobustWeights,
    align,
    fit_similarity,
    masked_median,
    mean_shape,
)
from scn_keras.array_api import NUMPY, TENSORFLOW
from scn_keras.geometry import apply_affine


def some_points(number=12, d=3, seed=0):
    # Unlike extents along the axes, the least along x.
    return np.random.default_rng(seed).normal(size=(number, d)) * [2.0, 4.0, 9.0][:d]


def similarity(seed, scale=1.0, d=3):
    random = np.random.default_rng(seed)
    affine = np.eye(d + 1)
    turn = Rotation.random(rng=random).as_matrix()
    if d == 2:
        turn = Rotation.from_euler("z", random.uniform(0, 7)).as_matrix()
    affine[:d, :d] = scale * turn[:d, :d]
    affine[:d, d] = random.uniform(-20, 20, d)
    return affine


@pytest.mark.parametrize("d", [2, 3])
def test_a_similarity_is_found_again(d):
    expected, points = similarity(1, 1.7, d), some_points(d=d)
    found = align(points, apply_affine(expected, points))
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_rotation_and_scale_are_those_of_least_squares(weighted):
    random = np.random.default_rng(2)
    points = some_points()
    target = apply_affine(similarity(3, 0.6), points) + random.normal(size=(12, 3))
    weights = random.uniform(0.1, 1.0, 12) if weighted else np.ones(12)
    found = align(points, target, weights if weighted else None)
    share = (weights / weights.sum())[:, None]
    x, y = points - (share * points).sum(0), target - (share * target).sum(0)
    turn = Rotation.align_vectors(y, x, weights)[0].as_matrix()
    turned = x @ turn.T  # its best scale is a regression through the origin
    scale = (share * turned * y).sum() / (share * turned**2).sum()
    np.testing.assert_allclose(found[:3, :3], scale * turn, atol=1e-7)
    np.testing.assert_allclose(
        (share * (apply_affine(found, points) - target)).sum(0), 0.0, atol=1e-9
    )


def test_in_the_plane_it_is_a_regression_of_complex_numbers():
    points = some_points(d=2)
    noise = np.random.default_rng(4).normal(size=points.shape)
    target = apply_affine(similarity(5, 2.5, 2), points) + noise
    x, y = (p[:, 0] + 1j * p[:, 1] for p in (points, target))
    (slope, offset), *_ = np.linalg.lstsq(np.stack([x, np.ones(12)], 1), y, rcond=None)
    expected = [
        [slope.real, -slope.imag, offset.real],
        [slope.imag, slope.real, offset.imag],
        [0.0, 0.0, 1.0],
    ]
    np.testing.assert_allclose(align(points, target), expected, atol=1e-9)


@pytest.mark.parametrize("d", [2, 3])
def test_what_is_left_stays_left(d):
    points = some_points(d=d)
    found = align(points, points * [-1.0, 1.0, 1.0][:d])
    assert np.linalg.det(found) > 0.0


def test_points_without_weight_or_place_have_no_part():
    expected, points = similarity(6, 1.2), some_points()
    target = apply_affine(expected, points)
    points[0], target[1], target[2] = np.nan, np.nan, 1e3
    found = align(points, target, np.arange(12) != 2)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    with pytest.raises(ValueError, match=r"at least 3 points.*Received: 2"):
        align(points[:5], target[:5], np.arange(5) != 2)


def test_a_third_of_the_points_may_lie_anywhere():
    random = np.random.default_rng(7)
    expected, points = similarity(8, 0.9), some_points(45)
    true = apply_affine(expected, points)
    target = true + random.normal(0.0, 0.2, true.shape)
    target[::3] = true.mean(0) + random.normal(0.0, 9.0, (15, 3))

    def off(robust):
        found = apply_affine(align(points, target, robust=robust), points)
        return np.linalg.norm(found - true, axis=-1).max()

    assert off(True) < 0.4 < 3.0 < off(False)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("robust", [None, GEMAN_MCCLURE])
def test_many_sets_are_fitted_as_each_alone(d, robust):
    random = np.random.default_rng(10)
    target = some_points(d=d)
    points = target + random.normal(size=(6, 12, d))
    points[2, 4] = points[5, :7] = target[1] = np.nan
    weights = random.uniform(0.1, 1.0, (6, 12))
    found = fit_similarity(points, target, weights, robust)
    for row in range(6):
        alone = align(points[row], target, weights[row], robust is not None)
        np.testing.assert_allclose(found[row], alone, atol=1e-12)


@pytest.mark.parametrize("robust", [False, True])
def test_tensorflow_fits_as_numpy(robust):
    points, target = some_points(), some_points(seed=1)
    points[3] = np.nan
    found = align(points, target, robust=robust, xp=TENSORFLOW).numpy()
    expected = align(points, target, robust=robust)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_cauchy_weights_are_those_of_their_formula():
    points = some_points(9)
    target = points + np.random.default_rng(11).normal(size=points.shape)
    first = fit_similarity(points, target)
    distance = np.linalg.norm(apply_affine(first, points) - target, axis=-1)
    scale = 1.5 * np.median(distance)
    expected = align(points, target, 1.0 / (1.0 + (distance / scale) ** 2))
    cauchy = RobustWeights(steps=1, power=1, tuning=1.5, floor=0.0)
    found = fit_similarity(points, target, robust=cauchy)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # Above all distances, the floor leaves nearly equal weights.
    wide = RobustWeights(steps=5, power=1, tuning=1.5, floor=1e6)
    found = fit_similarity(points, target, robust=wide)
    np.testing.assert_allclose(found, first, atol=1e-9)


def test_median_of_a_part():
    values = np.array([[3.0, np.nan, 1.0, 2.0, 8.0], [5.0, 4.0, 7.0, 9.0, 6.0]])
    mask = np.array([[True, False, True, True, True], [True] * 5])
    assert masked_median(values, mask, False, NUMPY).tolist() == [2.5, 6.0]
    assert masked_median(values, mask, True, NUMPY).tolist() == [2.0, 6.0]
    assert masked_median(values, ~mask & False, True, NUMPY).tolist() == [np.inf] * 2


@pytest.mark.parametrize("d", [2, 3])
def test_the_mean_of_one_shape_in_all_poses_is_that_shape(d):
    shape = some_points(d=d)
    scales = [0.5, 1.0, 2.0]  # of mean 1, as factors
    shapes = [apply_affine(similarity(k, s, d), shape) for k, s in enumerate(scales)]
    mean = mean_shape(shapes)
    back = align(mean, shape)
    np.testing.assert_allclose(apply_affine(back, mean), shape, atol=1e-6)
    assert np.linalg.det(back) == pytest.approx(1.0)


def test_the_mean_has_a_pose_of_its_own():
    noise = np.random.default_rng(9).normal(size=(30, 12, 3))
    shape = some_points()
    mean = mean_shape(
        [apply_affine(similarity(k), shape + n) for k, n in enumerate(noise)]
    )
    extents = np.ptp(mean, axis=0)
    assert extents[0] < extents[1] < extents[2]
    np.testing.assert_allclose(mean.min(0), -mean.max(0), atol=1e-9)
    # 30 shapes average out most of a noise of 1.
    off = apply_affine(align(mean, shape), mean) - shape
    assert np.sqrt((off**2).mean()) < 0.3


def test_missing_points_count_where_they_are():
    shape = some_points()
    shapes = [apply_affine(similarity(k), shape) for k in range(4)]
    for k, missing in enumerate(([0], [1, 2], [], [5])):
        shapes[k][[*missing, 11]] = np.nan
    mean = mean_shape(shapes)
    assert np.isnan(mean).any(-1).tolist() == [False] * 11 + [True]
    moved = apply_affine(align(mean, shape), mean)
    np.testing.assert_allclose(moved[:11], shape[:11], atol=1e-6)


def bilateral(d):
    """Two pairs and two points in the plane of symmetry, wider than long."""
    half = np.array([[9.0, 1.0, 2.0], [7.0, -3.0, 1.0]])[:, :d]
    middle = np.array([[0.0, 4.0, -2.0], [0.0, -1.0, 3.0]])[:, :d]
    mirror = np.array([-1.0, 1.0, 1.0])[:d]
    return np.concatenate([half, middle, half * mirror]), [(0, 4), (1, 5)]


@pytest.mark.parametrize("d", [2, 3])
def test_pairs_make_the_mean_symmetric_across_x(d):
    shape, pairs = bilateral(d)
    noise = np.random.default_rng(5).normal(size=(4, 6, d))
    shapes = [
        apply_affine(similarity(k, 1.0, d), shape + n) for k, n in enumerate(noise)
    ]
    mean = mean_shape(shapes, pairs)
    mirrored = mean[[4, 5, 2, 3, 0, 1]] * np.array([-1.0, 1.0, 1.0])[:d]
    np.testing.assert_allclose(mirrored, mean, atol=1e-9)
    assert np.ptp(mean[:, 0]) > 10.0  # x is the widest axis of this shape
    if d == 3:
        assert np.ptp(mean[:, 1]) < np.ptp(mean[:, 2])
    # Without noise, it is the shape itself.
    clean = mean_shape([apply_affine(similarity(1, 1.0, d), shape)], pairs)
    back = align(clean, shape)
    np.testing.assert_allclose(apply_affine(back, clean), shape, atol=1e-9)
    assert np.linalg.det(back) > 0.0


def test_a_missing_point_is_found_from_its_partner():
    shape, pairs = bilateral(3)
    holed = shape.copy()
    holed[[0, 2]] = np.nan
    mean = mean_shape([holed], pairs)
    assert np.isnan(mean).any(-1).tolist() == [False, False, True, False, False, False]
    np.testing.assert_allclose(mean[0] * [-1, 1, 1], mean[4], atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.8, 2.0])
def test_the_plane_of_symmetry_is_found_among_equal_extents(angle):
    # All principal axes of this shape are equal, so that none is preferred.
    shape = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mean = mean_shape([shape @ turn.T + 5.0], pairs=[(0, 1), (2, 3)])
    back = align(mean, shape)
    np.testing.assert_allclose(apply_affine(back, mean), shape, atol=1e-9)
    np.testing.assert_allclose(mean[[1, 3]], mean[[0, 2]] * [-1.0, 1.0], atol=1e-9)
    assert np.linalg.det(back) == pytest.approx(1.0)  # of the same size
