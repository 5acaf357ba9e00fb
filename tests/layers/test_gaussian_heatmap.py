import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats
from scipy.spatial.transform import Rotation

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


def axes_of(rotation):
    """Orthogonal axes (columns) from the layer's rotations of one landmark."""
    if len(rotation) == 1:
        c, s = np.cos(rotation[0]), np.sin(rotation[0])
        return np.array([[c, -s], [s, c]])
    tangent = np.linalg.norm(rotation)
    return Rotation.from_rotvec(2 * np.arctan(tangent) * rotation / tangent).as_matrix()


def covariances(sigma, rotation):
    """Covariances `(N, D, D)` in x, y(, z) of sigmas along rotated axes."""
    axes = [axes_of(r) for r in rotation]
    return np.stack([a @ np.diag(s**2) @ a.T for a, s in zip(axes, sigma, strict=True)])


def tilted_formula(points, size, covariance, gamma):
    """As `closed_formula`, for any covariance in x, y(, z)."""
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    maps = []
    for point, matrix in zip(points, covariance, strict=True):
        density = stats.multivariate_normal(point, matrix)
        value = density.pdf(index[..., ::-1])
        maps.append(value * (gamma or 1.0 / density.pdf(point)))
    return np.stack(maps, axis=-1)


SIGMAS = {
    2: np.array([[2.4, 1.2], [1.5, 3.0], [2.0, 2.0]]),
    3: np.array([[2.4, 1.2, 1.7], [1.0, 3.0, 2.0], [2.0, 2.0, 2.0]]),
}
ROTATIONS = {
    2: np.array([[0.7], [-2.5], [0.3]]),
    3: np.array([[0.3, -0.8, 0.5], [2.0, 0.1, -1.5], [0.1, 0.0, 0.0]]),
}


def rotated_layer(rank, **kwargs):
    layer = GaussianHeatmap(
        3, learnable=True, form="rotated", size=SIZES[rank], **kwargs
    )
    layer.build((None, 3, rank))
    layer.sigma.assign(SIGMAS[rank])
    layer.rotation.assign(ROTATIONS[rank])
    return layer


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


@pytest.mark.parametrize("gamma", [None, 100.0])
@pytest.mark.parametrize("rank", [2, 3])
def test_rotated_equals_scipy(rank, gamma):
    layer = rotated_layer(rank, gamma=gamma)
    expected = covariances(SIGMAS[rank], ROTATIONS[rank])
    found = ops.convert_to_numpy(layer.covariance())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    points = some_points(rank)
    heatmaps = render(layer, points)
    height = ops.convert_to_numpy(layer.height())
    for i in range(2):
        maps = tilted_formula(points[i], SIZES[rank], expected, gamma)
        np.testing.assert_allclose(heatmaps[i], maps, atol=4e-6 * maps.max())
    volume = np.sqrt((2 * np.pi) ** rank * np.linalg.det(expected))
    np.testing.assert_allclose(height, gamma / volume if gamma else 1.0, rtol=1e-5)


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_axis_aligned_equals_scipy(rank, learnable):
    sigma = (2.5, 1.1, 1.7)[:rank]
    layer = GaussianHeatmap(
        3, sigma, 50.0, learnable, size=SIZES[rank], form="axis_aligned"
    )
    points = some_points(rank)
    heatmaps = render(layer, points)
    covariance = np.broadcast_to(np.diag(np.square(sigma)), (3, rank, rank))
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.covariance()), covariance, rtol=1e-6
    )
    for i in range(2):
        expected = tilted_formula(points[i], SIZES[rank], covariance, 50.0)
        expected = expected.reshape(heatmaps[i].shape)
        np.testing.assert_allclose(heatmaps[i], expected, atol=2e-6 * expected.max())
    assert len(layer.trainable_weights) == learnable
    assert layer.weights[0].shape == (3, rank)


def test_isotropic_covariance():
    layer = GaussianHeatmap(2, sigma=3.0, size=SIZES[3])
    layer.build((None, 2, 3))
    found = ops.convert_to_numpy(layer.covariance())
    np.testing.assert_array_equal(found, [9.0 * np.eye(3)] * 2)


@pytest.mark.parametrize("form", ["isotropic", "axis_aligned", "rotated"])
@pytest.mark.parametrize("rank", [2, 3])
def test_one_sigma_starts_every_form_at_one_height(rank, form):
    layer = GaussianHeatmap(2, 2.0, 100.0, learnable=True, size=SIZES[rank], form=form)
    layer.build((None, 2, rank))
    volume = (2.0 * np.pi) ** (rank / 2) * 2.0**rank
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.height()), 100.0 / volume, rtol=1e-5
    )


@pytest.mark.parametrize("rank", [2, 3])
def test_contract_rotated(rank):
    arguments = {
        "num_landmarks": 3,
        "sigma": (2.5, 2.0, 1.5)[:rank],
        "gamma": 100.0,
        "learnable": True,
        "size": SIZES[rank],
        "form": "rotated",
        "penalty_power": 2.0,
    }
    points = some_points(rank).astype("float32")
    check_contract(GaussianHeatmap, arguments, points, unknown_sizes=False)
    layer = GaussianHeatmap(**arguments)
    layer(points)
    names = [w.path.split("/")[-1] for w in layer.trainable_weights]
    assert names == ["sigma", "rotation"]


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


@pytest.mark.parametrize("rank", [2, 3])
def test_gradients_of_the_rotated_form_are_the_finite_differences(rank):
    points = some_points(rank, batch=1)
    other = np.random.default_rng(1).normal(size=(*SIZES[rank], 3))
    sizes = SIGMAS[rank].size

    def loss(values):
        sigma = values[:sizes].reshape(3, rank)
        covariance = covariances(sigma, values[sizes:].reshape(3, -1))
        maps = tilted_formula(points[0], SIZES[rank], covariance, 100.0)
        return np.sum((maps - other) ** 2)

    start = np.concatenate([SIGMAS[rank].ravel(), ROTATIONS[rank].ravel()])
    step = 1e-5 * np.eye(start.size)
    expected = [(loss(start + h) - loss(start - h)) / 2e-5 for h in step]

    layer = rotated_layer(rank, gamma=100.0)
    points, other = points.astype("float32"), other.astype("float32")
    found = weight_gradients(
        lambda: ops.sum(ops.square(ops.subtract(layer(points), other))),
        [layer.sigma, layer.rotation],
    )
    found = np.concatenate([gradient.ravel() for gradient in found])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("rank", [2, 3])
def test_missing_landmarks_leave_the_rotated_form_alone(rank):
    points = some_points(rank).astype("float32")
    points[:, 1] = np.nan
    layer = rotated_layer(rank)
    assert np.all(render(layer, points)[..., 1] == 0.0)
    # The sum of a Gaussian's squares hardly depends on its rotation, that of its
    # product with a random image does.
    other = np.random.default_rng(1).normal(size=(*SIZES[rank], 3)).astype("float32")
    sigma, rotation = weight_gradients(
        lambda: ops.sum(ops.multiply(layer(points), other)),
        [layer.sigma, layer.rotation],
    )
    for gradient in (sigma, rotation):
        assert np.all(np.isfinite(gradient))
        assert np.all(gradient[1] == 0.0)
    assert np.any(np.abs(rotation[0]) > 1e-3)


@pytest.mark.parametrize("rank", [2, 3])
def test_the_rotated_form_learns_a_tilted_gaussian_from_its_start(rank):
    # At 45 degrees both sigmas have one gradient: the hardest tilt to break out to.
    rotation = np.array([[0.25 * np.pi]] if rank == 2 else [[0.2, -0.4, 0.3]])
    covariance = covariances(SIGMAS[rank][:1], rotation)
    point = np.full((1, 1, rank), 11.0)
    wanted = tilted_formula(point[0], (21,) * rank, covariance, None)
    wanted = ops.convert_to_tensor(wanted[None], "float32")
    layer = GaussianHeatmap(
        1, 2.0, learnable=True, size=(21,) * rank, form="rotated", name="target"
    )
    model = keras.Sequential([keras.Input((1, rank)), layer])
    jit = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=jit)
    model.fit(
        np.repeat(point, 400, axis=0),
        np.repeat(ops.convert_to_numpy(wanted), 400, axis=0),
        batch_size=2,
        shuffle=False,
        verbose=0,
    )
    found = ops.convert_to_numpy(layer.covariance())
    np.testing.assert_allclose(found, covariance, atol=0.05)


def test_penalties_by_hand():
    layer = GaussianHeatmap(2, sigma=3.0, size=(8, 8))
    layer.build((None, 2, 2))
    np.testing.assert_allclose(ops.convert_to_numpy(layer.penalty()), [4.5, 4.5])
    for power, expected in ((1.0, 6.0), (2.0, 36.0)):
        layer = GaussianHeatmap(
            2, (2.0, 3.0), form="axis_aligned", penalty_power=power, size=(8, 8)
        )
        layer.build((None, 2, 2))
        found = ops.convert_to_numpy(layer.penalty())
        np.testing.assert_allclose(found, [expected] * 2, rtol=1e-6)


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
        ({"form": "round"}, "`form` must be one of.*'round'"),
        ({"sigma": (2.0, 3.0)}, "must be one number in the isotropic form"),
        ({"sigma": (2.0, 0.1), "form": "axis_aligned"}, "at least `minimum_sigma`"),
        ({"form": "rotated"}, "Set `learnable=True`.*learnable=False"),
        ({"penalty_power": 0.0}, "`penalty_power` must be positive.*penalty_power=0.0"),
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
    with pytest.raises(ValueError, match="size=None"):
        GaussianHeatmap(3)(points)


def test_points_and_sigmas_must_agree():
    layer = GaussianHeatmap(3, (2.0, 3.0), form="axis_aligned", size=SIZES[3])
    with pytest.raises(ValueError, match=r"3 coordinates, sigma=\(2.0, 3.0\)"):
        layer(some_points(3).astype("float32"))
    layer = GaussianHeatmap(3, learnable=True, form="rotated", size=SIZES[1])
    with pytest.raises(ValueError, match="in one dimension.*form='rotated'"):
        layer(some_points(1).astype("float32"))
    built = GaussianHeatmap(3, size=SIZES[2])
    built(some_points(2).astype("float32"))
    with pytest.raises(ValueError, match=r"\(batch, 3, 2\).*\(2, 3, 3\)"):
        built(some_points(3).astype("float32"))
