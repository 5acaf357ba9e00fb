import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from scn_keras.layers import Upsample
from tests.contract import check_contract
from tests.gradients import gradients

SHAPES = {1: (2, 7, 3), 2: (2, 5, 4, 3), 3: (1, 3, 5, 2, 2)}


def triangle(t):
    return max(0.0, 1.0 - abs(t))


def keys(t, a=-0.5):
    """Keys, IEEE Transactions on Acoustics 29, 1981, equation 4."""
    t = abs(t)
    if t <= 1.0:
        return (a + 2.0) * t**3 - (a + 3.0) * t**2 + 1.0
    if t < 2.0:
        return a * t**3 - 5.0 * a * t**2 + 8.0 * a * t - 4.0 * a
    return 0.0


def dense_matrix(size, factor, interpolation, border):
    """The upsampling of one axis, entry by entry."""
    kernel = {"linear": triangle, "cubic": keys}[interpolation]
    matrix = np.zeros((size * factor, size))
    for row in range(size * factor):
        place = (row + 0.5) / factor - 0.5
        for tap in range(math.floor(place) - 3, math.floor(place) + 5):
            if 0 <= tap < size:
                matrix[row, tap] += kernel(place - tap)
            elif border == "replicate":
                matrix[row, min(max(tap, 0), size - 1)] += kernel(place - tap)
    return matrix


def along_spatial_axes(x, matrices):
    for axis, matrix in enumerate(matrices, start=1):
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x


def noise(shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def apply(layer, x):
    return ops.convert_to_numpy(layer(x))


@pytest.mark.parametrize(
    ("arguments", "rank"),
    [
        ({"factor": 2, "interpolation": "linear", "border": "zero"}, 2),
        ({"factor": 3, "interpolation": "linear", "border": "replicate"}, 2),
        ({"factor": 4, "interpolation": "cubic", "border": "zero"}, 1),
        ({"factor": 2, "interpolation": "cubic", "border": "replicate"}, 3),
        ({"factor": 2, "interpolation": "nearest", "border": "zero"}, 3),
    ],
)
def test_contract(arguments, rank):
    check_contract(Upsample, arguments, noise(SHAPES[rank]))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_linear_doubling_fades_at_the_border_as_in_the_reference(rank):
    y = apply(Upsample(2), np.ones((1, *[4] * rank, 1), "float32"))
    for corner in itertools.product((0, -1), repeat=rank):
        assert y[0, *corner, 0] == pytest.approx(0.75**rank)
    assert y[0, *[0] * (rank - 1), 3, 0] == pytest.approx(0.75 ** (rank - 1))
    assert y[0, *[3] * rank, 0] == pytest.approx(1.0)


def test_cubic_quadrupling_fades_and_overshoots_as_in_the_reference():
    y = apply(Upsample(4, "cubic"), np.ones((1, 8, 8, 1), "float32"))[0, ..., 0]
    assert y[0, 0] == pytest.approx(0.428, abs=5e-4)
    assert y[0, 16] == y[16, -1] == pytest.approx(0.654, abs=5e-4)
    assert y[16].max() == pytest.approx(1.073, abs=5e-4)
    assert y[16, 16] == pytest.approx(1.0)


@pytest.mark.parametrize("border", ["zero", "replicate"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize(
    ("rank", "factor"),
    [(1, 2), (1, 3), (1, 4), (1, 16), (2, 2), (2, 3), (2, 4), (2, 16), (3, 2), (3, 3)],
)
def test_equals_the_dense_matrices(rank, factor, interpolation, border):
    x = noise(SHAPES[rank])
    matrices = [dense_matrix(n, factor, interpolation, border) for n in x.shape[1:-1]]
    y = apply(Upsample(factor, interpolation, border), x)
    np.testing.assert_allclose(y, along_spatial_axes(x, matrices), atol=5e-6)


@pytest.mark.parametrize(
    ("border", "mode"), [("replicate", "nearest"), ("zero", "grid-constant")]
)
@pytest.mark.parametrize("factor", [2, 3])
def test_linear_equals_scipy(factor, border, mode):
    x = noise((1, 6, 5, 1))
    axes = [(np.arange(n * factor) + 0.5) / factor - 0.5 for n in x.shape[1:-1]]
    places = np.meshgrid(*axes, indexing="ij")
    expected = ndimage.map_coordinates(x[0, ..., 0], places, order=1, mode=mode)
    y = apply(Upsample(factor, "linear", border), x)[0, ..., 0]
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_cubic_reproduces_a_parabola():
    # Keys's kernel with a = -0.5 is the one of its kind that does.
    i = np.arange(9.0)
    y = apply(Upsample(4, "cubic"), (i**2).astype("float32")[None, :, None])[0, :, 0]
    place = (np.arange(36) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(y[8:-8], place[8:-8] ** 2, rtol=1e-5)


def test_factor_1_changes_nothing():
    x = noise(SHAPES[2])
    np.testing.assert_array_equal(apply(Upsample(1, "cubic"), x), x)


@pytest.mark.parametrize("border", ["zero", "replicate"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_sizes_unknown_when_built(interpolation, border):
    image = keras.Input((None, None, 2))
    model = keras.Model(image, Upsample(3, interpolation, border)(image))
    assert model.output_shape == (None, None, None, 2)
    for size in ((5, 4), (3, 6)):
        x = noise((1, *size, 2))
        matrices = [dense_matrix(n, 3, interpolation, border) for n in size]
        y = model.predict(x, verbose=0)
        np.testing.assert_allclose(y, along_spatial_axes(x, matrices), atol=2e-6)


@pytest.mark.parametrize("border", ["zero", "replicate"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize(("rank", "factor"), [(1, 4), (2, 2), (2, 3), (3, 2)])
def test_gradient_is_the_transpose(rank, factor, interpolation, border):
    # <U x, v> = <x, U^T v>: the gradient of <U x, v> by x is U^T v.
    x = noise(SHAPES[rank])
    matrices = [dense_matrix(n, factor, interpolation, border) for n in x.shape[1:-1]]
    layer = Upsample(factor, interpolation, border)
    v = np.random.default_rng(2).normal(size=layer.compute_output_shape(x.shape))
    v = v.astype("float32")
    (gradient,) = gradients(lambda x: ops.sum(ops.multiply(layer(x), v)), x)
    expected = along_spatial_axes(v, [matrix.T for matrix in matrices])
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize(("factor", "interpolation"), [(2, "linear"), (4, "cubic")])
def test_bfloat16_has_the_gradient_of_float32(factor, interpolation):
    x = noise(SHAPES[2])
    target = noise((2, 5 * factor, 4 * factor, 3))

    def gradient(dtype):
        layer = Upsample(factor, interpolation, dtype=dtype)
        assert keras.backend.standardize_dtype(layer(x).dtype) == dtype

        def loss(x):
            y = ops.cast(layer(x), "float32")
            return ops.sum(ops.square(ops.subtract(y, target)))

        return gradients(loss, x)[0]

    exact = gradient("float32")
    rounded = gradient("bfloat16")
    assert np.all(rounded != 0.0)
    # bfloat16 has eight significant bits.
    np.testing.assert_allclose(rounded, exact, atol=0.02 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"factor": 0}, "`factor`.*factor=0"),
        ({"factor": 1.5}, "`factor`.*factor=1.5"),
        ({"interpolation": "area"}, "`interpolation`.*'area'"),
        ({"border": "reflect"}, "`border`.*'reflect'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Upsample(**arguments)


@pytest.mark.parametrize("border", ["zero", "replicate"])
@pytest.mark.parametrize(("rank", "factor"), [(1, 3), (2, 2), (3, 2)])
def test_nearest_repeats_pixels_and_its_gradient_sums_them(rank, factor, border):
    x = noise(SHAPES[rank])
    layer = Upsample(factor, "nearest", border)
    expected = x
    for axis in range(1, rank + 1):
        expected = np.repeat(expected, factor, axis)
    np.testing.assert_array_equal(apply(layer, x), expected)
    (gradient,) = gradients(lambda x: ops.sum(layer(x)), x)
    np.testing.assert_allclose(gradient, np.full(x.shape, factor**rank), rtol=1e-6)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_one_pixel_is_enough(interpolation):
    # Its neighbours are itself, so replication gives a constant.
    y = apply(Upsample(4, interpolation, "replicate"), np.ones((1, 1, 1, 2), "float32"))
    np.testing.assert_allclose(y, np.ones((1, 4, 4, 2)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 2, 2, 2, 3)])
def test_wrong_ranks_are_refused(shape):
    with pytest.raises(ValueError, match="1 to 3 spatial axes"):
        Upsample(2)(np.zeros(shape, "float32"))
