import math

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras import geometry
from scn_keras.array_api import KERAS, NUMPY

# Rotated by 30 degrees, spacing 0.1 and 0.25, moved: by hand.
COS, SIN = np.sqrt(0.75), 0.5
AFFINE = np.array(
    [[0.1 * COS, -0.25 * SIN, 7.0], [0.1 * SIN, 0.25 * COS, -3.0], [0.0, 0.0, 1.0]]
)


def some_points(*leading, d=2):
    return np.random.default_rng(0).uniform(-50.0, 50.0, (*leading, 4, d))


def test_apply_by_hand():
    found = geometry.apply_affine(AFFINE, np.array([[10.0, 0.0], [0.0, 4.0]]))
    expected = [[COS + 7.0, SIN - 3.0], [-SIN + 7.0, COS - 3.0]]
    np.testing.assert_allclose(found, expected)


def test_apply_maps_each_image_by_its_own_affine():
    affine = np.stack([AFFINE, np.diag([2.0, 3.0, 1.0])])
    points = some_points(2)
    found = geometry.apply_affine(affine, points)
    np.testing.assert_allclose(found[0], geometry.apply_affine(AFFINE, points[0]))
    np.testing.assert_allclose(found[1], points[1] * [2.0, 3.0])
    # One affine for all images, and several point sets (observers) for one image.
    both = geometry.apply_affine(AFFINE, points)
    np.testing.assert_allclose(both[1], geometry.apply_affine(AFFINE, points[1]))
    observers = np.stack([points, points + 1.0], axis=1)
    found = geometry.apply_affine(affine[:, None], observers)
    np.testing.assert_allclose(found[1, 1], (points[1] + 1.0) * [2.0, 3.0])


def test_apply_3d():
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = 1.0, 2.0, 3.0
    found = geometry.apply_affine(affine, np.array([[1.0, 1.0, 1.0]]))
    np.testing.assert_array_equal(found, [[3.0, 5.0, 7.0]])


@pytest.mark.filterwarnings("error")
def test_missing_landmarks_stay_missing_and_alone():
    points = some_points()
    points[1] = np.nan
    found = geometry.apply_affine(AFFINE, points)
    assert np.isnan(found).all(axis=-1).tolist() == [False, True, False, False]
    assert np.isnan(found).sum() == 2


def test_apply_takes_tensors_of_the_backend():
    points = some_points(2).astype("float32")
    affine = np.stack([AFFINE, np.eye(3)]).astype("float32")
    found = geometry.apply_affine(
        ops.convert_to_tensor(affine), ops.convert_to_tensor(points)
    )
    assert ops.is_tensor(found)
    expected = geometry.apply_affine(affine.astype("float64"), points)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_inverse_undoes(d):
    random = np.random.default_rng(1)
    affine = np.eye(d + 1) + 0.2 * random.normal(size=(3, d + 1, d + 1))
    affine[:, d] = np.eye(d + 1)[d]
    points = some_points(3, d=d)
    there = geometry.apply_affine(affine, points)
    back = geometry.apply_affine(geometry.invert_affine(affine), there)
    np.testing.assert_allclose(back, points)
    assert np.abs(there - points).max() > 1.0


def test_singular_affines_are_refused():
    with pytest.raises(ValueError, match=r"spacing of 0.*\[\[0.0, 0.0, 0.0\]"):
        geometry.invert_affine(np.diag([0.0, 0.1, 1.0]))


def test_spacing():
    np.testing.assert_allclose(geometry.spacing_of(AFFINE), [0.1, 0.25])
    both = geometry.spacing_of(np.stack([AFFINE, np.diag([2.0, 3.0, 1.0])]))
    np.testing.assert_allclose(both, [[0.1, 0.25], [2.0, 3.0]])
    affine = geometry.affine_from_spacing((0.1, 0.2, 3.0))
    np.testing.assert_array_equal(affine, np.diag([0.1, 0.2, 3.0, 1.0]))
    np.testing.assert_allclose(geometry.spacing_of(affine), [0.1, 0.2, 3.0])


@pytest.mark.parametrize(
    ("size", "grid", "aspect", "full"),
    [
        ((1935.0, 2400.0), (512.0, 512.0), (0.1, 0.1), 1),  # the reference's example
        ((200.0, 100.0), (50.0, 50.0), (1.0, 1.0), 0),
        ((33.0, 47.0), (192.0, 240.0), (1.0, 1.0), 1),  # enlarged
        ((100.0, 100.0), (80.0, 80.0), (0.3, 0.1), 0),  # oblong pixels
        ((64.0, 50.0, 40.0), (32.0, 32.0, 32.0), (1.0, 1.0, 2.5), 2),
    ],
)
def test_letterbox_maps_edges_to_edges(size, grid, aspect, full):
    scale, offset = (np.array(part) for part in geometry.letterbox(size, grid, aspect))
    size, grid, aspect = map(np.array, (size, grid, aspect))

    def to_source(index):
        return scale * index + offset

    # The first pixel begins half a pixel before its centre.
    low, high = to_source(-0.5 * np.ones_like(grid)), to_source(grid - 0.5)
    assert low[full] == pytest.approx(-0.5)
    assert high[full] == pytest.approx(size[full] - 0.5)
    assert np.all(low <= -0.5 + 1e-9) and np.all(high >= size - 0.5 - 1e-9)
    # Centred, and as many millimetres a pixel along every axis.
    np.testing.assert_allclose(to_source((grid - 1.0) / 2.0), (size - 1.0) / 2.0)
    np.testing.assert_allclose(scale * aspect, (scale * aspect)[0])


def test_letterbox_of_the_reference():
    # 240 mm in 512 pixels: 0.46875 mm a pixel.
    scale, offset = geometry.letterbox((1935.0, 2400.0), (512.0, 512.0), (0.1, 0.1))
    np.testing.assert_allclose(scale, 4.6875)
    np.testing.assert_allclose(
        offset, [967.0 - 255.5 * 4.6875, 1199.5 - 255.5 * 4.6875]
    )


def test_letterbox_takes_tensors_of_the_backend():
    size = [ops.convert_to_tensor(s) for s in (1935.0, 2400.0)]
    aspect = [ops.convert_to_tensor(a) for a in (0.1, 0.1)]
    found = geometry.letterbox(size, (512.0, 512.0), aspect)
    expected = geometry.letterbox((1935.0, 2400.0), (512.0, 512.0), (0.1, 0.1))
    for tensors, numbers in zip(found, expected, strict=True):
        for tensor, number in zip(tensors, numbers, strict=True):
            assert float(tensor) == pytest.approx(number, rel=1e-5)


def test_covariances_go_through_the_linear_part():
    random = np.random.default_rng(3)
    affine = random.normal(size=(2, 4, 4))
    factor = random.normal(size=(2, 5, 3, 3))
    covariance = factor @ np.swapaxes(factor, -1, -2)
    linear = affine[:, None, :3, :3]
    np.testing.assert_allclose(
        geometry.apply_to_covariance(affine, covariance),
        linear @ covariance @ np.swapaxes(linear, -1, -2),
    )


# The one rule of the package, each row with its answer. Other tests take the table to
# commands, files, graphs and the server.
SPACINGS = {
    "a radiograph": ((0.1, 0.1), True),
    "oblong pixels": ((0.1, 0.2), True),
    "1e-6, the smallest": ((1e-6, 1e-6), True),
    "1e-7, too small": ((1e-7, 1e-7), False),
    "1e6, the largest": ((1e6, 1e6), True),
    "1e7, too large": ((1e7, 1e7), False),
    "axes 20 to 1": ((0.4, 8.0), True),
    "axes 21 to 1": ((0.4, 8.4), False),
    "axes 1000 to 1": ((0.1, 100.0), False),
    "zero": ((0.0, 0.1), False),
    "negative": ((-0.1, 0.1), False),
    "NaN": ((math.nan, 0.1), False),
    "infinite": ((0.1, math.inf), False),
    "a volume": ((0.4, 0.4, 5.0), True),
    "a volume, slices too far apart": ((0.4, 0.4, 8.4), False),
}


@pytest.mark.parametrize("spacing, usable", SPACINGS.values(), ids=SPACINGS)
def test_which_spacings_are_usable(spacing, usable):
    for xp in (NUMPY, KERAS):
        given = xp.convert_to_tensor(np.array([spacing, spacing], np.float32))
        found = keras.ops.convert_to_numpy(geometry.spacing_is_usable(given, xp))
        assert found.tolist() == [usable, usable]


@pytest.mark.parametrize("spacing, usable", SPACINGS.values(), ids=SPACINGS)
def test_affines_with_usable_spacings(spacing, usable):
    affine = np.diag([*spacing, 1.0]).astype(np.float32)
    if spacing == (-0.1, 0.1):
        usable = True  # an axis in the other direction, 0.1 mm a pixel
    for xp in (NUMPY, KERAS):
        given = xp.convert_to_tensor(affine[None])
        found = keras.ops.convert_to_numpy(geometry.has_usable_spacing(given, xp))
        assert found.tolist() == [usable]
        expected = np.abs(spacing) if usable else np.zeros(len(spacing))
        lengths = keras.ops.convert_to_numpy(geometry.usable_spacing(given, xp))
        np.testing.assert_allclose(lengths, [expected], rtol=1e-6)


@pytest.mark.parametrize(
    "affine, usable",
    [
        ([[0.0, -0.1, 5.0], [0.1, 0.0, 7.0], [0.0, 0.0, 1.0]], True),  # turned
        ([[0.1, 0.05, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 1.0]], True),  # sheared
        ([[0.1, 0.1, 0.0], [0.1, 0.1, 0.0], [0.0, 0.0, 1.0]], False),  # parallel axes
        (
            # Parallel axes of a volume: the first two columns.
            [[0.1, 0.1, 0, 0], [0.1, 0.1, 0, 0], [0, 0, 0.1, 0], [0, 0, 0, 1.0]],
            False,
        ),
        (
            # Its first two rows are alike.
            [[0.1, 0, 0.1, 0], [0.1, 0, 0.1, 0], [0, 0.1, 0, 0], [0, 0, 0, 1.0]],
            False,
        ),
        (
            # x, y, z become y, z, x.
            [[0, 0, 0.1, 0], [0.1, 0, 0, 0], [0, 0.1, 0, 0], [0, 0, 0, 1.0]],
            True,
        ),
        ([[0.1, 0.0, math.nan], [0.0, 0.1, 0.0], [0.0, 0.0, 1.0]], False),  # origin
        ([[0.1, 0.0, math.inf], [0.0, 0.1, 0.0], [0.0, 0.0, 1.0]], False),
    ],
)
def test_affines_that_are_not_diagonal(affine, usable):
    for xp in (NUMPY, KERAS):
        given = xp.convert_to_tensor(np.array([affine, affine], np.float32))
        found = keras.ops.convert_to_numpy(geometry.has_usable_spacing(given, xp))
        assert found.tolist() == [usable, usable]


def test_a_mixture_has_the_variance_between_its_estimates():
    # Of 1 and 4 with weights 1 and 2: mean 3, variance (1 * 4 + 2 * 1) / 3 = 2 beside
    # that of each estimate, (1 * 1 + 2 * 4) / 3 = 3.
    points = np.array([[[[1.0, 5.0]], [[4.0, 5.0]]]])
    score = np.array([[[0.3], [0.6]]])
    covariance = np.array([[[np.diag([1.0, 0.0])], [np.diag([4.0, 0.0])]]])
    found = geometry.mixture(points, score, covariance, NUMPY)
    for value, expected in zip(
        found, ([[[3.0, 5.0]]], [[0.45]], [[np.diag([5.0, 0.0])]]), strict=True
    ):
        np.testing.assert_allclose(value, expected, atol=1e-4)
