import functools
import itertools

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize
import scipy.special
from keras import ops

from scn_keras.layers import HeatmapPeak
from tests.contract import check_contract, dtype_policy
from tests.gradients import gradients

METHODS = (
    "gaussian_fit",
    "log_parabola",
    "dark",
    "parabola",
    "centroid",
    "soft_argmax",
    "argmax",
)
VARIANTS = {
    **{method: {"method": method} for method in METHODS},
    "smoothed dark": {"method": "dark", "smoothing": 1.0},
    "local soft_argmax": {"method": "soft_argmax", "window": 7},
    "three peaks": {
        "method": "log_parabola",
        "num_peaks": 3,
        "suppression_radius": 2,
    },
    "smoothed maxima": {
        "method": "parabola",
        "num_peaks": 4,
        "suppression_radius": 1,
        "maxima_smoothing": 1.0,
        "threshold": 0.05,
    },
}


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


@functools.cache
def make_layer(**options):
    layer = HeatmapPeak(**options)
    if keras.backend.backend() != "jax":
        return layer
    # One operation after the other would be compiled for minutes.
    import jax

    return jax.jit(layer)


def decode(heatmaps, method="gaussian_fit", height=1.0, **options):
    heatmaps = ops.convert_to_tensor(heatmaps, "float32")
    output = make_layer(method=method, **options)(heatmaps, height=height)
    return {name: ops.convert_to_numpy(value) for name, value in output.items()}


def errors(heatmaps, points, *arguments, **options):
    found = decode(heatmaps, *arguments, **options)["points"]
    return np.linalg.norm(found - points, axis=-1)


def noisy(sigma, noise, count=200, size=(33, 33), seed=0):
    random = np.random.default_rng(seed)
    points = random.uniform(12.0, 20.0, (count, 1, len(size)))
    heatmaps = plant(points, size, sigma)
    return heatmaps + noise * random.normal(size=heatmaps.shape), points


@pytest.mark.parametrize("variant", ["gaussian_fit", "three peaks"])
def test_contract(variant):
    heatmaps = plant(np.array([[[3.2, 4.4], [6.1, 1.8]]] * 2), (9, 11), 1.5)
    check_contract(HeatmapPeak, VARIANTS[variant], heatmaps)


@pytest.mark.parametrize("variant", VARIANTS)
def test_options_survive_serialisation(variant):
    layer = HeatmapPeak(**VARIANTS[variant])
    twin = HeatmapPeak.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    assert VARIANTS[variant].items() <= twin.get_config().items()


@pytest.mark.parametrize("method", ["gaussian_fit", "log_parabola", "dark"])
@pytest.mark.parametrize(
    ("size", "sigma"),
    [
        ((50,), (1.0, 2.0, 6.0)),
        ((41, 33), (1.0, 1.5, 2.0, 3.0, 5.0)),
        ((12, 17, 14), (1.0, 1.5, 2.0, 3.0, 5.0)),
    ],
)
def test_gaussians_are_found_to_a_200th_of_a_pixel(method, size, sigma):
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
    output = decode(heatmaps, method)
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


def parabola_of_the_reference(heatmap):
    """Refines the largest pixel by itself, in NumPy, as the authors' rule is stated."""
    top = np.unravel_index(heatmap.argmax(), heatmap.shape)
    point = np.array(top, np.float64)
    for axis, length in enumerate(heatmap.shape):
        if not 0 < top[axis] < length - 1:
            continue
        line = np.moveaxis(heatmap, axis, 0)
        line = line[(slice(None), *np.delete(top, axis))].astype(np.float64)
        before, here, after = line[top[axis] - 1 : top[axis] + 2]
        point[axis] += 0.5 * (before - after) / (before - 2.0 * here + after)
    return point[::-1]


@pytest.mark.parametrize("size", [(12, 15), (7, 9, 8)])
def test_parabola_refines_on_the_line_of_the_maximum(size):
    random = np.random.default_rng(9)
    rank, borders = len(size), 2 * len(size)
    # One landmark on each border, one in a corner of it, one inside.
    high = np.array(size[::-1]) - 1.0
    points = random.uniform(2.0, high - 2.0, (6, borders + 2, rank))
    for border in range(borders):
        points[:, border, border // 2] = high[border // 2] if border % 2 else 0.0
    points[:, borders] = high
    heatmaps = plant(points, size, 2.0) + 0.1 * random.normal(
        size=(6, *size, borders + 2)
    )
    heatmaps = heatmaps.astype("float32")
    found = decode(heatmaps, "parabola")["points"]
    expected = [
        [parabola_of_the_reference(heatmaps[b, ..., n]) for n in range(borders + 2)]
        for b in range(6)
    ]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    # Several maxima lie on a border.
    on_border = np.any((np.round(found) == 0) | (np.round(found) == high), axis=-1)
    assert on_border.sum() >= 6 * borders // 2


@pytest.mark.parametrize("size", [(30, 26), (16, 14, 15)])
def test_candidates_are_those_of_verse_2020(size):
    """Maxima of a smoothed map above a threshold, as SciPy finds them."""
    random = np.random.default_rng(4)
    rank, sigma, threshold = len(size), 2.0, 0.05
    points = random.uniform(2.0, 11.0, (3, 3, rank))
    heights = random.uniform(0.2, 1.0, (3, *[1] * rank, 3))
    heatmaps = plant(points, size, 2.0, heights).sum(axis=-1, keepdims=True)
    heatmaps = (heatmaps + 0.1 * random.normal(size=heatmaps.shape)).astype("float32")
    output = decode(
        heatmaps,
        "parabola",
        num_peaks=12,
        suppression_radius=1,
        maxima_smoothing=sigma,
        threshold=threshold,
    )
    counts = []
    for b, heatmap in enumerate(heatmaps[..., 0].astype(np.float64)):
        smoothed = scipy.ndimage.gaussian_filter(heatmap, sigma, mode="nearest")
        largest = scipy.ndimage.maximum_filter(smoothed, 3, mode="nearest")
        found = np.argwhere((smoothed == largest) & (smoothed > threshold))
        values = smoothed[tuple(found.T)]
        order = np.argsort(-values)
        scores, peaks = output["score"][b, 0], output["points"][b, 0]
        counts.append(len(order))
        np.testing.assert_allclose(scores[: len(order)], values[order], rtol=1e-4)
        assert np.all(np.isnan(peaks[len(order) :]))
        # Refined on the heatmap, whose noise may move a parabola by half a pixel.
        assert np.abs(peaks[: len(order)] - found[order][:, ::-1]).max() <= 0.5
    assert 1 < max(counts) < 12
    # A threshold above all of them leaves none.
    none = decode(heatmaps, num_peaks=3, suppression_radius=1, threshold=9.0)
    assert np.all(np.isnan(none["points"])) and np.all(none["score"] == 0.0)


@pytest.mark.parametrize(("sigma", "error"), [(2.0, 0.012), (1.0, 0.048)])
def test_parabola_on_the_plain_heatmap_is_off_as_known(sigma, error):
    points = 10.0 + np.linspace(-0.5, 0.5, 101)[:, None, None]
    heatmaps = plant(points, (21,), sigma)
    assert np.abs(decode(heatmaps, "parabola")["points"] - points).max() == (
        pytest.approx(error, abs=1e-3)
    )
    assert np.abs(decode(heatmaps)["points"] - points).max() < 1e-4


@pytest.mark.parametrize("method", ["gaussian_fit", "log_parabola", "dark"])
@pytest.mark.parametrize("rank", [2, 3])
def test_covariance_of_an_oblique_gaussian(method, rank):
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
    output = decode(np.exp(-0.5 * squared)[..., None].astype("float32"), method)
    if method != "log_parabola":  # which takes one axis at a time
        np.testing.assert_allclose(output["points"], points, atol=0.005)
    expected = np.broadcast_to(covariance, (3, 1, rank, rank))
    np.testing.assert_allclose(output["covariance"], expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("method", ["gaussian_fit", "log_parabola"])
def test_covariance_stays_positive_definite(method):
    random = np.random.default_rng(3)
    heatmaps = random.uniform(-1.0, 1.0, (6, 9, 11, 8)).astype("float32")
    y, x = np.mgrid[:9, :11]
    heatmaps[0] = np.exp(-((x - y - 1.0) ** 2))[..., None]  # a diagonal ridge
    volumes = random.uniform(-1.0, 1.0, (6, 9, 7, 8, 8)).astype("float32")
    for values in (heatmaps, volumes):
        covariance = decode(values, method)["covariance"]
        assert np.all(np.linalg.eigvalsh(covariance) > 0.0)


def test_score_is_relative_to_the_height_and_clipped():
    points = np.array([[[3.0, 4.0], [6.0, 2.0], [5.0, 5.0]]])
    heatmaps = plant(points, (9, 11), 1.5, height=[0.5, 3.0, -1.0])
    np.testing.assert_allclose(decode(heatmaps)["score"], [[0.5, 1.0, 0.0]], atol=1e-6)
    height = ops.convert_to_tensor(np.array([2.0, 4.0, 1.0], "float32"))
    score = decode(heatmaps, height=height)["score"]
    np.testing.assert_allclose(score, [[0.25, 0.75, 0.0]], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_constant_heatmaps_give_finite_numbers(method):
    values = np.array([0.0, 0.7, -2.0], "float32")
    output = decode(np.zeros((1, 6, 5, 3), "float32") + values, method)
    for name in ("points", "score", "covariance"):
        assert np.all(np.isfinite(output[name])), name
    assert np.all(output["points"] >= -0.5)
    assert np.all(output["points"] <= (4.5, 5.5))
    np.testing.assert_allclose(output["score"], [[0.0, 0.7, 0.0]], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
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


@pytest.mark.parametrize("method", ["gaussian_fit", "log_parabola", "centroid"])
def test_transposing_the_image_exchanges_the_coordinates(method):
    random = np.random.default_rng(4)
    heatmaps = random.uniform(0.0, 1.0, (3, 9, 12, 4)).astype("float32")
    output = decode(heatmaps, method)
    turned = decode(heatmaps.transpose(0, 2, 1, 3), method)
    np.testing.assert_allclose(turned["points"], output["points"][..., ::-1], atol=1e-3)
    np.testing.assert_allclose(turned["score"], output["score"])
    np.testing.assert_allclose(
        turned["covariance"],
        output["covariance"][..., ::-1, ::-1],
        rtol=0.01,
        atol=0.01,
    )


def test_the_fit_is_as_good_as_an_iterated_one_under_noise():
    heatmaps, points = noisy(2.0, 0.05, count=60)

    def scipy_fit(heatmap):
        y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        rows, columns = np.mgrid[y - 3 : y + 4, x - 3 : x + 4]
        values = heatmap[rows, columns]

        def residuals(p):
            squared = (columns - p[0]) ** 2 + (rows - p[1]) ** 2
            return (p[2] * np.exp(-0.5 * squared / p[3] ** 2) - values).ravel()

        return scipy.optimize.least_squares(residuals, (x, y, 1.0, 2.0)).x[:2]

    expected = np.array([scipy_fit(heatmap[..., 0]) for heatmap in heatmaps])[:, None]
    # SciPy knows that the Gaussian is round and has 4 numbers to find, not 6.
    reference = np.linalg.norm(expected - points, axis=-1).mean()
    assert errors(heatmaps, points).mean() <= 1.15 * reference
    assert errors(heatmaps, points, "log_parabola").mean() > 3.0 * reference


def test_the_fit_holds_out_where_neighbouring_pixels_do_not():
    for sigma, bound in ((1.0, 0.2), (2.0, 0.2), (3.0, 0.25), (5.0, 0.6)):
        heatmaps, points = noisy(sigma, 0.1)
        assert errors(heatmaps, points).mean() <= bound
        assert errors(heatmaps, points, window=13).mean() <= 0.5
    wide, points = noisy(5.0, 0.1)
    assert errors(wide, points, "log_parabola").mean() > 1.0
    # Smoothing is what makes DARK bear noise.
    heatmaps, points = noisy(2.0, 0.05)
    plain = errors(heatmaps, points, "dark").mean()
    assert errors(heatmaps, points, "dark", smoothing=1.0).mean() < 0.5 * plain


def test_smoothed_dark_is_the_taylor_expansion_of_the_smoothed_heatmap():
    heatmaps, _ = noisy(1.5, 0.05, count=20)
    found = decode(heatmaps, "dark", smoothing=1.0)["points"][:, 0]
    for heatmap, point in zip(heatmaps[..., 0], found, strict=True):
        y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        smooth = scipy.ndimage.gaussian_filter(heatmap, 1.0, truncate=6.0)
        log = np.log(smooth[y - 1 : y + 2, x - 1 : x + 2])
        slope = np.array([log[1, 2] - log[1, 0], log[2, 1] - log[0, 1]]) / 2.0
        mixed = (log[2, 2] - log[0, 2] - log[2, 0] + log[0, 0]) / 4.0
        hessian = np.array(
            [
                [log[1, 2] - 2.0 * log[1, 1] + log[1, 0], mixed],
                [mixed, log[2, 1] - 2.0 * log[1, 1] + log[0, 1]],
            ]
        )
        step = np.clip(-np.linalg.solve(hessian, slope), -1.0, 1.0)
        np.testing.assert_allclose(point, (x, y) + step, atol=0.01)


def test_smoothing_leaves_peaks_at_the_border_alone():
    points = np.array([[[0.3, 9.6], [10.0, -0.4], [3.4, 17.2]]])
    heatmaps = plant(points, (19, 19), 2.0)
    for smoothing in (0.7, 1.5):
        assert errors(heatmaps, points, "dark", smoothing=smoothing).max() < 0.005


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("window", [3, 7])
def test_centroid_and_local_soft_argmax_are_moments_of_the_window(rank, window):
    random = np.random.default_rng(6)
    size = (11, 9, 12)[:rank]
    heatmaps = random.normal(0.0, 0.1, (4, *size, 2))
    heatmaps += plant(random.uniform(0.0, 8.0, (4, 2, rank)), size, 1.5)
    centroid = decode(heatmaps, "centroid", window=window)
    soft = decode(heatmaps, "soft_argmax", window=window, temperature=0.2)
    for b, n in itertools.product(range(4), range(2)):
        heatmap = heatmaps[b, ..., n]
        top = np.array(np.unravel_index(heatmap.argmax(), size))
        # Cut off on both sides alike where one is outside.
        reach = np.minimum(window // 2, np.minimum(top, np.array(size) - 1 - top))
        part = heatmap[tuple(map(slice, top - reach, top + reach + 1))]
        offsets = np.stack(np.indices(part.shape), axis=-1) - reach
        offsets = offsets.reshape(-1, rank)[:, ::-1]
        for output, weights in (
            (centroid, np.maximum(part, 0.0).ravel()),
            (soft, np.exp(part / 0.2).ravel()),
        ):
            mean = np.average(offsets, axis=0, weights=weights)
            expected = np.cov(offsets.T, aweights=weights, ddof=0).reshape(rank, rank)
            np.testing.assert_allclose(
                output["points"][b, n], top[::-1] + mean, atol=1e-4
            )
            np.testing.assert_allclose(
                output["covariance"][b, n], expected, rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("size", [(30,), (13, 17), (7, 9, 8)])
@pytest.mark.parametrize("shift", [0.0, 1000.0, -1000.0])
def test_soft_argmax_is_the_mean_under_a_softmax_whatever_is_added(size, shift):
    random = np.random.default_rng(7)
    # Whole numbers, so that float32 takes the shift.
    logits = random.integers(-4, 5, (2, *size, 3)).astype("float32")
    output = decode(logits + shift, "soft_argmax", temperature=2.0)
    index = np.indices(size)[::-1].reshape(len(size), -1)
    for b, n in itertools.product(range(2), range(3)):
        weights = scipy.special.softmax(logits[b, ..., n].astype("float64").ravel() / 2)
        mean = index @ weights
        expected = np.cov(index, aweights=weights, ddof=0).reshape([len(size)] * 2)
        np.testing.assert_allclose(output["points"][b, n], mean, atol=1e-3)
        np.testing.assert_allclose(output["covariance"][b, n], expected, atol=2e-3)


def test_soft_argmax_needs_no_temperature_for_gaussians_of_any_height():
    points = np.random.default_rng(8).uniform(15.0, 45.0, (8, 2, 2))
    for height in (1e-3, 1.0, 50.0):
        heatmaps = plant(points, (61, 63), 3.0, height)
        assert errors(heatmaps, points, "soft_argmax").max() < 0.02


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_centroid_is_right_where_the_window_holds_the_peak(sigma):
    points = np.random.default_rng(9).uniform(12.0, 20.0, (30, 1, 2))
    heatmaps = plant(points, (33, 33), sigma)
    assert errors(heatmaps, points, "centroid").max() < 0.005
    # A Gaussian cut off at a sigma and a half is read too near to its largest pixel.
    assert errors(heatmaps, points, "centroid", window=3).max() > 0.1


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(7, 5), (4, 6, 5)])
def test_points_are_never_more_than_half_a_pixel_outside(variant, size):
    random = np.random.default_rng(10)
    shape = (20, *size, 2)
    heatmaps = np.concatenate(
        [
            random.normal(size=shape),
            random.normal(size=shape) ** 9,
            np.where(random.uniform(size=shape) < 0.5, -np.inf, 1.0),
            -random.uniform(size=shape),
            plant(random.uniform(-9.0, 15.0, (20, 2, len(size))), size, 2.0),
        ]
    )
    output = decode(heatmaps, **VARIANTS[variant])
    missing = np.isnan(output["points"]).any(axis=-1)
    assert not missing.any() or variant in ("three peaks", "smoothed maxima")
    assert np.all(output["score"][missing] == 0.0)
    points = output["points"][~missing]
    assert np.all(points >= -0.5)
    assert np.all(points <= np.array(size[::-1]) - 0.5)
    assert np.all(np.isfinite(output["covariance"][~missing]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_heatmaps_that_are_not_numbers_have_no_points(variant):
    points = np.array([[[3.2, 4.4], [6.1, 5.3]]] * 2)
    heatmaps = plant(points, (12, 13), 1.5)
    whole = decode(heatmaps, **VARIANTS[variant])
    heatmaps[0, 11, 0, 1] = np.nan
    heatmaps[1, 0, 12, 0] = np.inf
    output = decode(heatmaps, **VARIANTS[variant])
    for b, n in ((0, 1), (1, 0)):
        assert np.isnan(output["points"][b, n]).all()
        assert np.isnan(output["covariance"][b, n]).all()
        assert np.all(output["score"][b, n] == 0.0)
    for b, n in ((0, 0), (1, 1)):
        for name, array in output.items():
            np.testing.assert_array_equal(array[b, n], whole[name][b, n])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_several_peaks_come_largest_first_and_missing_ones_are_nan(rank):
    size = (32, 36, 40)[-rank:]
    points = np.array([[8.3, 20.2, 9.1], [21.4, 9.7, 30.4], [33.5, 25.9, 19.2]])
    points = points[:, :rank]
    heights = np.array([0.5, 0.9, 0.3])
    heatmap = sum(
        plant(point[None, None], size, 1.5, height)
        for point, height in zip(points, heights, strict=True)
    )
    heatmaps = np.concatenate([heatmap, heatmap[..., ::-1] * 0.0], axis=-1)
    output = decode(heatmaps, num_peaks=4, suppression_radius=4)
    assert output["points"].shape == (1, 2, 4, rank)
    assert output["covariance"].shape == (1, 2, 4, rank, rank)
    order = [1, 0, 2]
    np.testing.assert_allclose(output["points"][0, 0, :3], points[order], atol=0.005)
    np.testing.assert_allclose(output["score"][0, 0, :3], heights[order], rtol=0.3)
    np.testing.assert_allclose(
        output["covariance"][0, 0, :3], [2.25 * np.eye(rank)] * 3, atol=0.02
    )
    # A fourth there is not, and in zeros there is none.
    for missing in (output["points"][0, 0, 3], output["points"][0, 1]):
        assert np.isnan(missing).all()
    np.testing.assert_array_equal(output["score"][0, 0, 3], 0.0)
    np.testing.assert_array_equal(output["score"][0, 1], 0.0)


@pytest.mark.parametrize("size", [(25, 31), (9, 12, 11)])
@pytest.mark.parametrize("radius", [1, 3])
def test_peaks_are_the_local_maxima(size, radius):
    heatmaps = np.random.default_rng(11).normal(size=(2, *size, 3)).astype("float32")
    output = decode(heatmaps, "argmax", num_peaks=6, suppression_radius=radius)
    for b, n in itertools.product(range(2), range(3)):
        heatmap = heatmaps[b, ..., n]
        largest = scipy.ndimage.maximum_filter(
            heatmap, 2 * radius + 1, mode="constant", cval=-9.0
        )
        peaks = np.argwhere((heatmap == largest) & (heatmap > 0.0))
        peaks = sorted(peaks, key=lambda i: -heatmap[tuple(i)])[:6]
        found = output["points"][b, n]
        np.testing.assert_array_equal(found[: len(peaks)], np.array(peaks)[:, ::-1])
        assert np.isnan(found[len(peaks) :]).all()


def test_a_plateau_is_one_peak_and_a_shoulder_is_none():
    heatmaps = np.zeros((1, 20, 30, 2), "float32")
    heatmaps[0, 4:9, 5:10, 0] = 0.8
    heatmaps[0, 15, 20:29, 0] = 0.6
    heatmaps[..., 1] = plant(np.array([[[12.3, 9.2]]]), (20, 30), 6.0)[..., 0]
    output = decode(heatmaps, "argmax", num_peaks=5, suppression_radius=5)
    found = output["points"][0]
    # The first pixel in reading order; a plateau longer than the radius as well.
    np.testing.assert_array_equal(found[0, :2], [[5, 4], [20, 15]])
    np.testing.assert_array_equal(found[1, 0], [12, 9])
    assert np.isnan(found[0, 2:]).all() and np.isnan(found[1, 1:]).all()


@pytest.mark.parametrize("variant", ["gaussian_fit", "soft_argmax", "smoothed dark"])
def test_gradients_are_numbers(variant):
    layer = HeatmapPeak(**VARIANTS[variant])
    points = np.array([[[3.2, 4.4], [0.1, 5.3], [6.0, 6.0]]])
    heatmaps = plant(points, (9, 10), 1.5)
    heatmaps[..., 2] = 0.0
    heatmaps[0, 3:5, 2:6, 2] = 1.0

    (gradient,) = gradients(lambda values: ops.sum(layer(values)["points"]), heatmaps)
    assert np.isfinite(gradient).all()
    assert np.any(gradient[..., 0] != 0.0)


# torch.compile needs a C++ compiler and a minute, JAX without XLA several.
@pytest.mark.parametrize(
    "jit_compile",
    {"torch": [False], "jax": [True]}.get(keras.backend.backend(), [False, True]),
)
def test_compiled_with_sizes_unknown_when_built(jit_compile):
    image = keras.Input((None, None, 2))
    names = ("gaussian_fit", "smoothed dark", "centroid", "soft_argmax", "three peaks")
    layers = {name: HeatmapPeak(**VARIANTS[name]) for name in names}
    model = keras.Model(
        image, {name: layer(image)["points"] for name, layer in layers.items()}
    )
    model.compile(jit_compile=jit_compile)
    # XLA compiles for each size anew.
    for size in ((9, 11),) if jit_compile else ((9, 11), (12, 8)):
        points = np.random.default_rng(5).uniform(1.0, 6.0, (3, 2, 2))
        heatmaps = plant(points, size, 1.5)
        output = model.predict(heatmaps, verbose=0)
        np.testing.assert_allclose(output["gaussian_fit"], points, atol=0.005)
        for name, found in output.items():
            expected = decode(heatmaps, **VARIANTS[name])["points"]
            np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=name)


def test_positions_keep_their_precision_under_a_bfloat16_policy():
    points = np.array([[[301.3]]])
    with dtype_policy("mixed_bfloat16"):
        output = HeatmapPeak()(plant(points, (320,), 2.0))
    np.testing.assert_allclose(
        ops.convert_to_numpy(output["points"]), points, atol=0.005
    )


@pytest.mark.parametrize("variant", ["gaussian_fit", "soft_argmax"])
def test_bfloat16_heatmaps_cost_no_more_than_their_rounding(variant):
    points = np.random.default_rng(12).uniform(8.0, 20.0, (20, 1, 2))
    heatmaps = plant(points, (29, 29), 2.0)
    rounded = ops.cast(ops.convert_to_tensor(heatmaps), "bfloat16")
    output = make_layer(**VARIANTS[variant])(rounded)
    assert all(
        keras.backend.standardize_dtype(v.dtype) == "float32" for v in output.values()
    )
    values = ops.convert_to_numpy(ops.cast(rounded, "float32"))
    expected = decode(values, **VARIANTS[variant])["points"]
    found = ops.convert_to_numpy(output["points"])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if variant == "gaussian_fit":
        assert errors(values, points).max() < 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "mean"}, "`method` must be one of .*'mean'"),
        ({"method": "argmax", "window": 5}, "`window` .*window=5, method='argmax'"),
        ({"method": "dark", "temperature": 1.0}, "`temperature` .* soft_argmax only"),
        ({"smoothing": 1.0}, "`smoothing` .* dark only.*smoothing=1.0"),
        ({"window": 4}, "odd .* window=4"),
        ({"window": 1}, "odd .* window=1"),
        ({"method": "soft_argmax", "temperature": 0.0}, "must be positive"),
        ({"method": "dark", "smoothing": -1.0}, "must not be negative"),
        ({"num_peaks": 0}, "`num_peaks` must be an integer"),
        ({"num_peaks": 2, "suppression_radius": 0}, "`suppression_radius` must be"),
        ({"suppression_radius": 3}, "suppression_radius=3, num_peaks=1"),
        ({"threshold": 0.05}, "`threshold` requires several peaks"),
        ({"num_peaks": 2, "maxima_smoothing": -1.0}, "`maxima_smoothing` must be"),
        ({"method": "soft_argmax", "num_peaks": 2}, "Give `window`"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HeatmapPeak(**arguments)


def test_wrong_shapes_are_refused():
    for shape in ((2, 3), (1, 2, 9, 4), (1, 4, 4, 4, 4, 2)):
        with pytest.raises(ValueError, match="at least 3 pixels"):
            HeatmapPeak()(np.zeros(shape, "float32"))
    with pytest.raises(ValueError, match="at least 5 pixels"):
        HeatmapPeak(num_peaks=5)(np.zeros((1, 9, 4, 2), "float32"))
