import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from scn_keras.layers import GaussianHeatmap
from tests.contract import check_contract, dtype_policy
from tests.gradients import gradients, weight_gradients

SIZES = {1: (31,), 2: (24, 31), 3: (20, 24, 31)}


def closed_formula(points, size, sigma, gamma):
    """One heatmap `(*spatial, N)` by SciPy's normal distribution, in float64."""
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    maps = []
    for point, s in zip(points, sigma, strict=True):
        density = stats.multivariate_normal(point[::-1], s**2)  # (z,) y, x
        # SciPy drops axes of length 1.
        value = density.pdf(index).reshape(size)
        maps.append(value * (gamma or 1.0 / density.pdf(point[::-1])))
    return np.stack(maps, axis=-1)


def some_points(rank, batch=2, landmarks=3, margin=8.0):
    high = np.array(SIZES[rank][::-1]) - 1.0 - margin
    return np.random.default_rng(0).uniform(margin, high, (batch, landmarks, rank))


def render(layer, points, *heatmaps):
    return ops.convert_to_numpy(layer(np.asarray(points, "float32"), *heatmaps))


def test_contract():
    arguments = {
        "num_landmarks": 3,
        "sigma": 2.5,
        "gamma": 100.0,
        "learnable": True,
        "minimum_sigma": 0.7,
        "size": (24, 31),
    }
    points = some_points(2).astype("float32")
    check_contract(GaussianHeatmap, arguments, points, unknown_sizes=False)
    layer = GaussianHeatmap(**arguments)
    layer(points)
    assert [w.path.split("/")[-1] for w in layer.trainable_weights] == ["sigma"]
    fixed = GaussianHeatmap(3, size=(24, 31))
    fixed(points)
    assert fixed.trainable_weights == []


@pytest.mark.parametrize("gamma", [None, 100.0])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_equals_scipy(rank, gamma):
    points = some_points(rank)
    layer = GaussianHeatmap(3, gamma=gamma, size=SIZES[rank])
    layer.build(points.shape)
    sigma = np.array([1.2, 2.0, 3.1])
    layer.sigma.assign(sigma)
    heatmaps = render(layer, points)
    assert heatmaps.shape == (2, *SIZES[rank], 3)
    for i in range(2):
        expected = closed_formula(points[i], SIZES[rank], sigma, gamma)
        np.testing.assert_allclose(heatmaps[i], expected, atol=2e-6 * expected.max())


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_integral_is_gamma(rank):
    layer = GaussianHeatmap(3, sigma=1.5, gamma=100.0, size=SIZES[rank])
    total = render(layer, some_points(rank)).sum(axis=tuple(range(1, rank + 1)))
    np.testing.assert_allclose(total, 100.0, rtol=1e-5)


def test_heights_of_the_reference():
    # 100 / (2 pi 2.5^2) and 1000 / ((2 pi)^1.5 4^3), see the cephalogram and spine
    # experiments of the paper.
    for rank, gamma, sigma, height in ((2, 100, 2.5, 2.546), (3, 1000, 4.0, 0.992)):
        layer = GaussianHeatmap(1, sigma=sigma, gamma=gamma, size=SIZES[rank])
        centre = np.full((1, 1, rank), 10.0)
        assert render(layer, centre).max() == pytest.approx(height, abs=5e-4)
        assert float(layer.height()[0]) == pytest.approx(height, abs=5e-4)
    layer = GaussianHeatmap(2, size=SIZES[2])
    layer.build((None, 2, 2))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.height()), [1.0, 1.0])


def test_points_at_and_beyond_the_border_are_not_truncated():
    points = np.array([[[0.0, 0.0], [30.4, 23.4], [-3.0, 10.0]]])
    expected = closed_formula(points[0], SIZES[2], [2.0] * 3, None)
    layer = GaussianHeatmap(3, sigma=2.0, size=SIZES[2])
    np.testing.assert_allclose(render(layer, points)[0], expected, atol=1e-6)


def test_size_is_that_of_the_heatmaps_given():
    layer = GaussianHeatmap(3, size=(5, 5))
    points = some_points(2)
    heatmaps = render(layer, points, np.full((2, 24, 31, 3), np.nan, "float32"))
    expected = render(GaussianHeatmap(3, size=(24, 31)), points)
    np.testing.assert_array_equal(heatmaps, expected)


@pytest.mark.parametrize("missing", [[np.nan, np.nan], [np.nan, 5.0], [5.0, np.nan]])
def test_missing_landmarks_are_zero_in_value_and_gradient(missing):
    points = some_points(2).astype("float32")
    points[1, 2] = missing
    layer = GaussianHeatmap(3, learnable=True, gamma=100.0, size=SIZES[2])
    heatmaps = render(layer, points)
    assert np.all(heatmaps[1, ..., 2] == 0.0)
    assert np.all(np.isfinite(heatmaps))
    assert np.all(heatmaps[0].max(axis=(0, 1)) > 0.0)
    (by_sigma,) = weight_gradients(
        lambda: ops.sum(ops.square(layer(points))), [layer.sigma]
    )
    assert np.all(np.isfinite(by_sigma)) and np.all(by_sigma != 0.0)
    (by_points,) = gradients(lambda p: ops.sum(ops.square(layer(p))), points)
    assert np.all(np.isfinite(by_points))
    assert np.all(by_points[1, 2] == 0.0)


@pytest.mark.parametrize("gamma", [None, 100.0])
@pytest.mark.parametrize("rank", [1, 2])
def test_gradient_by_sigma_is_the_finite_difference(rank, gamma):
    points = some_points(rank, batch=1)
    sigma = np.array([1.5, 2.0, 3.0])
    other = np.random.default_rng(1).normal(size=(*SIZES[rank], 3))

    def loss(sigma):
        error = closed_formula(points[0], SIZES[rank], sigma, gamma) - other
        return np.sum(error**2)

    step = 1e-5 * np.eye(3)
    expected = [(loss(sigma + h) - loss(sigma - h)) / 2e-5 for h in step]

    layer = GaussianHeatmap(3, gamma=gamma, learnable=True, size=SIZES[rank])
    layer.build(points.shape)
    layer.sigma.assign(sigma)
    points = points.astype("float32")
    other = other.astype("float32")
    (gradient,) = weight_gradients(
        lambda: ops.sum(ops.square(ops.subtract(layer(points), other))), [layer.sigma]
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4 * scale)


def test_an_optimiser_cannot_bring_sigma_below_its_minimum():
    layer = GaussianHeatmap(2, sigma=2.0, learnable=True, minimum_sigma=0.8)
    layer.build((None, 2, 2), (None, 8, 8, 2))
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([layer.sigma])
    optimizer.apply([ops.convert_to_tensor(np.array([9.0, 0.5], "float32"))])
    np.testing.assert_allclose(layer.sigma.numpy(), [0.8, 1.5])


def test_coordinates_keep_their_precision_under_a_bfloat16_policy():
    # bfloat16 takes 301.3 for 302.
    with dtype_policy("mixed_bfloat16"):
        layer = GaussianHeatmap(1, sigma=2.0, size=(320,))
        heatmaps = layer(np.array([[[301.3]]], "float32"))
    expected = closed_formula([[301.3]], (320,), [2.0], None)
    np.testing.assert_allclose(ops.convert_to_numpy(heatmaps)[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sigma": 0.3}, "`sigma`.*sigma=0.3, minimum_sigma=0.5"),
        ({"sigma": float("nan")}, "`sigma`.*sigma=nan"),
        ({"minimum_sigma": 0.0}, "`sigma`.*minimum_sigma=0.0"),
        ({"gamma": 0.0}, "`gamma` must be positive.*gamma=0.0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        GaussianHeatmap(3, **arguments)


def test_points_that_do_not_fit_are_refused():
    points = some_points(2).astype("float32")
    with pytest.raises(ValueError, match=r"\(batch, 4, dimensions\).*\(2, 3, 2\)"):
        GaussianHeatmap(4, size=(8, 8))(points)
    with pytest.raises(ValueError, match="2 coordinates.*3 spatial axes"):
        GaussianHeatmap(3, size=(8, 8, 8))(points)
    with pytest.raises(ValueError, match="2 coordinates.*1 spatial axes"):
        GaussianHeatmap(3)(points, np.zeros((2, 8, 3), "float32"))
    with pytest.raises(ValueError, match="does not know how large"):
        GaussianHeatmap(3)(points)
