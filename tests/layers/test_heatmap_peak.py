import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import HeatmapPeak
from tests.contract import check_contract, dtype_policy


def plant(points, size, sigma, height=1.0):
    """Gaussians `(B, *spatial, N)` at `points`, one sigma a landmark."""
    heatmaps = np.asarray(height, np.float64)
    rank = len(size)
    for axis, length in enumerate(size):
        center = points[..., rank - 1 - axis]
        index = np.arange(length).reshape(
            [1, *[1] * axis, length] + [1] * (rank - axis)
        )
        center = center.reshape(len(points), *[1] * rank, -1)
        heatmaps = heatmaps * np.exp(-0.5 * ((index - center) / np.asarray(sigma)) ** 2)
    return heatmaps.astype("float32")


def decode(heatmaps, method="log_parabola", **kwargs):
    output = HeatmapPeak(method)(heatmaps, **kwargs)
    return {name: ops.convert_to_numpy(value) for name, value in output.items()}


def test_contract():
    heatmaps = plant(np.array([[[3.2, 4.4], [6.1, 1.8]]] * 2), (9, 11), 1.5)
    for method in ("log_parabola", "argmax"):
        check_contract(HeatmapPeak, {"method": method}, heatmaps)


@pytest.mark.parametrize(
    ("size", "sigma"),
    [
        ((50,), (1.0, 2.0, 6.0)),
        ((41, 33), (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)),
        ((12, 17, 14), (1.0, 2.0, 3.0)),
    ],
)
def test_gaussians_are_found_to_a_200th_of_a_pixel(size, sigma):
    rank = len(size)
    random = np.random.default_rng(0)
    high = np.array(size[::-1]) - 1.0
    points = random.uniform(0.0, high, (24, len(sigma), rank))
    # On the border and half a pixel beyond, in corners, and between two pixels.
    points[:4] = np.array([-0.5, -0.3, 0.0, 0.2])[:, None, None]
    points[4:8] = high + np.array([-0.4, 0.0, 0.3, 0.5])[:, None, None]
    points[8:10, :, 0] = [[-0.2], [high[0] + 0.2]]
    points[10] = np.floor(points[10]) + 0.5
    heatmaps = plant(points, size, sigma, height=0.3)
    output = decode(heatmaps)
    assert np.abs(output["points"] - points).max() <= 0.005
    expected = np.array(sigma)[:, None, None] ** 2 * np.eye(rank)
    expected = np.broadcast_to(expected, output["covariance"].shape)
    np.testing.assert_allclose(output["covariance"], expected, rtol=0.01, atol=0.01)
    # The largest pixel is at most half a pixel from the peak.
    nearest = np.clip(np.round(points), 0, high)
    squared = ((points - nearest) ** 2).sum(axis=-1)
    expected = 0.3 * np.exp(-0.5 * squared / np.square(sigma))
    np.testing.assert_allclose(output["score"], expected, rtol=1e-5)


def test_every_landmark_of_every_image_is_read_from_its_own_heatmap():
    random = np.random.default_rng(1)
    points = np.stack(
        [random.permutation(13)[:5], random.permutation(7)[:5]], axis=-1
    ) + np.zeros((4, 1, 1))
    points += np.arange(4)[:, None, None] % 2
    heatmaps = np.zeros((4, 8, 14, 5), "float32")
    for b in range(4):
        for n in range(5):
            x, y = points[b, n].astype(int)
            heatmaps[b, y, x, n] = 0.1 + 0.1 * b + 0.01 * n
    output = decode(heatmaps, "argmax")
    np.testing.assert_array_equal(output["points"], points)
    expected = 0.1 + 0.1 * np.arange(4)[:, None] + 0.01 * np.arange(5)
    np.testing.assert_allclose(output["score"], expected, rtol=1e-6)


def test_argmax_gives_whole_pixels():
    points = np.array([[[3.3, 4.4], [6.6, 1.8]]])
    found = decode(plant(points, (9, 11), 1.5), "argmax")["points"]
    np.testing.assert_array_equal(found, [[[3, 4], [7, 2]]])


def test_parabola_is_that_of_the_reference():
    line = np.array([0.1, 0.2, 1.0, 0.6, 0.3], "float32")
    found = decode(line[None, :, None], "parabola")["points"]
    # 2 + 0.5 (0.2 - 0.6) / (0.2 - 2 + 0.6)
    np.testing.assert_allclose(found, [[[2.0 + 1.0 / 6.0]]], rtol=1e-6)

    heatmap = np.outer([0.9, 0.5, 0.2, 0.1], line).astype("float32")  # largest in row 0
    found = decode(heatmap[None, ..., None], "parabola")["points"]
    np.testing.assert_allclose(found, [[[2.0 + 1.0 / 6.0, 0.0]]], rtol=1e-6)


@pytest.mark.parametrize(("sigma", "error"), [(2.0, 0.012), (1.0, 0.048)])
def test_parabola_on_the_plain_heatmap_is_off_as_known(sigma, error):
    points = 10.0 + np.linspace(-0.5, 0.5, 101)[:, None, None]
    heatmaps = plant(points, (21,), sigma)
    assert np.abs(decode(heatmaps, "parabola")["points"] - points).max() == (
        pytest.approx(error, abs=1e-3)
    )
    assert np.abs(decode(heatmaps)["points"] - points).max() < 1e-4


@pytest.mark.parametrize("rank", [2, 3])
def test_covariance_of_an_oblique_gaussian(rank):
    random = np.random.default_rng(2)
    covariance = {
        2: [[6.1, 2.3], [2.3, 3.4]],
        3: [[4.0, 1.1, -0.7], [1.1, 3.0, 0.5], [-0.7, 0.5, 2.0]],
    }[rank]
    size = (21, 25, 23)[:rank]
    points = 11.0 + random.uniform(-1.0, 1.0, (3, 1, rank))
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    offset = index[..., ::-1] - points.reshape(3, *[1] * rank, rank)
    squared = np.einsum("...i,ij,...j", offset, np.linalg.inv(covariance), offset)
    output = decode(np.exp(-0.5 * squared)[..., None].astype("float32"))
    expected = np.broadcast_to(covariance, (3, 1, rank, rank))
    np.testing.assert_allclose(output["covariance"], expected, rtol=0.01, atol=0.01)


def test_covariance_stays_positive_definite():
    random = np.random.default_rng(3)
    heatmaps = random.uniform(-1.0, 1.0, (6, 9, 11, 8)).astype("float32")
    y, x = np.mgrid[:9, :11]
    heatmaps[0] = np.exp(-((x - y - 1.0) ** 2))[..., None]  # a diagonal ridge
    covariance = decode(heatmaps)["covariance"]
    assert np.all(np.linalg.eigvalsh(covariance) > 0.0)


def test_score_is_relative_to_the_height_and_clipped():
    points = np.array([[[3.0, 4.0], [6.0, 2.0], [5.0, 5.0]]])
    heatmaps = plant(points, (9, 11), 1.5, height=[0.5, 3.0, -1.0])
    np.testing.assert_allclose(decode(heatmaps)["score"], [[0.5, 1.0, 0.0]], atol=1e-6)
    height = ops.convert_to_tensor(np.array([2.0, 4.0, 1.0], "float32"))
    score = decode(heatmaps, height=height)["score"]
    np.testing.assert_allclose(score, [[0.25, 0.75, 0.0]], atol=1e-6)


@pytest.mark.parametrize("method", ["log_parabola", "parabola"])
@pytest.mark.parametrize("value", [0.0, 0.7, -2.0])
def test_constant_heatmaps_give_finite_numbers(method, value):
    output = decode(np.full((1, 6, 5, 2), value, "float32"), method)
    for name in ("points", "score", "covariance"):
        assert np.all(np.isfinite(output[name])), name
    assert np.all((output["points"] >= -0.5) & (output["points"] <= 5.5))
    np.testing.assert_allclose(output["score"], max(value, 0.0), atol=1e-6)


@pytest.mark.parametrize("method", ["log_parabola", "parabola"])
def test_plateaus_and_single_pixels_give_finite_points_within_them(method):
    heatmaps = np.zeros((1, 9, 11, 3), "float32")
    heatmaps[0, 3:6, 4:8, 0] = 1.0
    heatmaps[0, 2, 7, 1] = 1.0
    heatmaps[0, ..., 2] = -1.0
    heatmaps[0, 8, 0, 2] = 0.5
    output = decode(heatmaps, method)
    assert all(np.all(np.isfinite(value)) for value in output.values())
    x, y = output["points"][0, 0]
    assert 3.5 <= x <= 7.5 and 2.5 <= y <= 5.5
    np.testing.assert_allclose(output["points"][0, 1], [7.0, 2.0], atol=1e-5)
    np.testing.assert_allclose(output["points"][0, 2], [0.0, 8.0], atol=0.5)


def test_transposing_the_image_exchanges_the_coordinates():
    random = np.random.default_rng(4)
    heatmaps = random.uniform(0.0, 1.0, (3, 9, 12, 4)).astype("float32")
    output = decode(heatmaps)
    turned = decode(heatmaps.transpose(0, 2, 1, 3))
    np.testing.assert_allclose(turned["points"], output["points"][..., ::-1], atol=1e-6)
    np.testing.assert_allclose(turned["score"], output["score"])
    np.testing.assert_allclose(
        turned["covariance"], output["covariance"][..., ::-1, ::-1], rtol=1e-3
    )


# torch.compile needs a C++ compiler and a minute.
@pytest.mark.parametrize(
    "jit_compile", [False] if keras.backend.backend() == "torch" else [False, True]
)
def test_compiled_with_sizes_unknown_when_built(jit_compile):
    image = keras.Input((None, None, 2))
    model = keras.Model(image, HeatmapPeak()(image))
    model.compile(jit_compile=jit_compile)
    for size in ((9, 11), (12, 8)):
        points = np.random.default_rng(5).uniform(1.0, 6.0, (3, 2, 2))
        output = model.predict(plant(points, size, 1.5), verbose=0)
        np.testing.assert_allclose(output["points"], points, atol=0.005)


def test_positions_keep_their_precision_under_a_bfloat16_policy():
    points = np.array([[[301.3]]])
    with dtype_policy("mixed_bfloat16"):
        output = HeatmapPeak()(plant(points, (320,), 2.0))
    np.testing.assert_allclose(
        ops.convert_to_numpy(output["points"]), points, atol=0.005
    )


def test_wrong_arguments_and_shapes_are_refused():
    with pytest.raises(ValueError, match="`method`.*'centroid'"):
        HeatmapPeak("centroid")
    for shape in ((2, 3), (1, 2, 9, 4), (1, 4, 4, 4, 4, 2)):
        with pytest.raises(ValueError, match="at least 3 pixels"):
            HeatmapPeak()(np.zeros(shape, "float32"))
