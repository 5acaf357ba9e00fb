import json

import keras
import numpy as np
import pytest
from keras import ops
from scipy.ndimage import map_coordinates

from scn_keras.layers import PyramidRefinement
from scn_keras.layers._glimpses import glimpses, smoothed_levels
from tests.contract import dtype_policy

BACKEND = keras.backend.backend()
SMALL = {"size": 8, "scales": 2, "filters": 4, "convolutions": 2}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy(outputs):
    return {name: ops.convert_to_numpy(value) for name, value in outputs.items()}


def sampled(image, points, size, scales):
    levels, margin = smoothed_levels(ops.convert_to_tensor(image), scales)
    points = ops.convert_to_tensor(points)
    parts = glimpses(levels, margin, points, size, image.shape[1:-1])
    return [ops.convert_to_numpy(part) for part in parts]


# --- Glimpses ---


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_glimpse_of_a_ramp_is_that_of_arithmetic(rank):
    """The mean over a box, and linear interpolation, leave a ramp as it is."""
    sizes, slope = (60, 50, 64)[:rank], np.array([0.5, -2.0, 3.0])[:rank]
    index = np.moveaxis(np.indices(sizes), 0, -1)[..., ::-1]  # x, y(, z)
    image = (index @ slope + 7.0).astype("float32")[None, ..., None]
    points = np.array([[[25.3, 29.8, 31.5][:rank], [24.0, 27.0, 30.0][:rank]]], "f")
    for scale, part in enumerate(sampled(image, points, 4, 4)):
        offset = np.array([-1.5, -0.5, 0.5, 1.5]) * 2**scale
        grid = np.stack(np.meshgrid(*[offset] * rank, indexing="ij")[::-1], axis=-1)
        for n in range(2):
            expected = (points[0, n] + grid) @ slope + 7.0
            np.testing.assert_allclose(part[n, ..., 0], expected, atol=1e-4)


def test_coarse_samples_are_means():
    """By SciPy, of the image whose border goes on; and far outside of the image."""
    image, margin = noise(1, 21, 18, 1), 40
    points = np.array([[[3.3, 19.6], [9.0, 4.25], [16.9, -30.0]]], "float32")
    padded = np.pad(image[0, ..., 0], margin, mode="edge")
    for scale, part in enumerate(sampled(image, points, 8, 3)):
        width = 2**scale
        # The value at i is the mean from i to i + width - 1.
        mean = np.lib.stride_tricks.sliding_window_view(padded, (width, width))
        mean = mean.mean(axis=(2, 3))
        offset = (np.arange(8) - 3.5) * width
        for n, (x, y) in enumerate(points[0]):
            rows, columns = np.clip(y + offset, 0, 20), np.clip(x + offset, 0, 17)
            places = np.stack(np.meshgrid(rows, columns, indexing="ij"))
            places = places + margin - (width - 1) / 2
            expected = map_coordinates(mean, places, order=1)
            np.testing.assert_allclose(part[n, ..., 0], expected, atol=1e-5)


def test_the_order_of_glimpses_is_that_of_images_and_landmarks():
    image = np.full((2, 9, 9, 1), [[[[1.0]]], [[[2.0]]]], "float32")
    image[:, :, 5:] += 10.0
    points = np.array([[[0, 4], [8, 4]], [[8, 4], [0, 4]]], "float32")
    (part,) = sampled(image, points, 2, 1)
    np.testing.assert_array_equal(part[:, 0, 0, 0], [1.0, 11.0, 12.0, 2.0])


# --- The layer ---


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_shapes(rank):
    layer = PyramidRefinement(3, **SMALL)
    image, points = noise(2, *(20, 24, 17)[:rank], 1), np.full((2, 3, rank), 9.0, "f")
    outputs = numpy(layer(image, points))
    assert outputs["points"].shape == (2, 3, rank)
    assert outputs["logits"].shape == (2, *[4] * rank, 3)
    eigenvalues = np.linalg.eigvalsh(outputs["covariance"])
    assert np.all(eigenvalues > 0)
    assert np.all((outputs["score"] > 0) & (outputs["score"] <= 1))
    # No further than to the outermost cells, in either look.
    assert np.all(np.abs(outputs["points"] - points) <= 2 * 3.0)


def with_kernels(layer, image, points):
    """Builds the layer with a head that does not give nearly flat heatmaps."""
    layer(image, points)
    kernel = layer._network.kernel
    kernel.assign(noise(*kernel.shape, seed=3))
    return layer


def test_moments_are_those_of_the_probabilities():
    image, points = noise(1, 30, 30, 1), np.array([[[14.2, 15.7], [8.0, 20.0]]], "f")
    layer = with_kernels(PyramidRefinement(2, **SMALL, looks=1), image, points)
    outputs = numpy(layer(image, points))
    np.testing.assert_allclose(outputs["center"], points)
    logits = outputs["logits"].astype("float64")
    # Cells of 2 samples, of which the 8 are 1 pixel apart: at -3, -1, 1 and 3.
    y, x = np.meshgrid([-3.0, -1.0, 1.0, 3.0], [-3.0, -1.0, 1.0, 3.0], indexing="ij")
    for n in range(2):
        p = np.exp(logits[0, ..., n]) / np.exp(logits[0, ..., n]).sum()
        mean = np.array([(p * x).sum(), (p * y).sum()])
        np.testing.assert_allclose(
            outputs["points"][0, n], points[0, n] + mean, atol=1e-4
        )
        dx, dy = x - mean[0], y - mean[1]
        expected = [[(p * dx * dx).sum(), (p * dx * dy).sum()]] * 2
        expected[1] = [expected[0][1], (p * dy * dy).sum()]
        np.testing.assert_allclose(outputs["covariance"][0, n], expected, atol=1e-4)
        near = (np.abs(dx) <= 4) & (np.abs(dy) <= 4)
        assert outputs["score"][0, n] == pytest.approx((p * near).sum(), abs=1e-5)


def test_a_second_look_begins_where_the_first_ended():
    image, points = noise(1, 30, 30, 1), np.array([[[14.2, 15.7], [8.0, 20.0]]], "f")
    one = with_kernels(PyramidRefinement(2, **SMALL, looks=1), image, points)
    two = PyramidRefinement(2, **SMALL, looks=2)
    two(image, points)
    two.set_weights(one.get_weights())
    by_hand = numpy(one(image, numpy(one(image, points))["points"]))
    found = numpy(two(image, points))
    for name, value in by_hand.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4)
    half = PyramidRefinement(2, **SMALL, looks=2, weight=0.25)
    half(image, points)
    half.set_weights(one.get_weights())
    expected = 0.75 * points + 0.25 * found["points"]
    found = numpy(half(image, points))["points"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_shift_of_the_image_shifts_the_points():
    """By whole pixels exactly, whatever the scale; by parts of a pixel nearly."""
    options = {**SMALL, "size": 16, "scales": 3}
    image = noise(1, 120, 120, 1)
    points = np.array([[[57.3, 60.8], [61.0, 55.5]]], "float32")
    layer = with_kernels(PyramidRefinement(2, **options), image, points)
    before = numpy(layer(image, points))["points"]
    for shift in (1, 3):
        moved = np.roll(image, (shift, 2 * shift), axis=(1, 2))
        way = np.array([2 * shift, shift], "float32")
        after = numpy(layer(moved, points + way))["points"]
        np.testing.assert_allclose(after, before + way, atol=1e-3)
    # A smooth image, which linear interpolation can shift.
    y, x = np.mgrid[:120, :120]

    def smooth(dx, dy):
        waves = np.sin((x - dx) / 5.0 + 1.0) + np.cos((y - dy) / 7.0 - (x - dx) / 9.0)
        return waves.astype("float32")[None, ..., None]

    before = numpy(layer(smooth(0, 0), points))["points"]
    assert np.abs(before - points).max() > 0.5
    after = numpy(layer(smooth(0.4, 0.3), points + np.array([0.4, 0.3], "f")))
    np.testing.assert_allclose(after["points"] - [0.4, 0.3], before, atol=0.05)


def test_in_training_the_glimpses_are_at_random_distances():
    layer = PyramidRefinement(40, **SMALL, jitter=2.0, seed=0)
    image, points = noise(50, 9, 9, 1), np.full((50, 40, 2), 4.0, "float32")
    distance = np.abs(numpy(layer(image, points, training=True))["center"] - points)
    # A normal times a log-normal, whose tail is longer than a normal's.
    random = np.random.default_rng(0)
    normal, factor = random.normal(size=(2, 200_000))
    for share in (0.5, 0.95):
        expected = np.quantile(2.0 * np.abs(normal * np.exp(0.75 * factor)), share)
        assert np.quantile(distance, share) == pytest.approx(expected, rel=0.1)
    again = numpy(layer(image, points, training=True))["center"]
    assert np.any(np.abs(again - points) != distance)
    near = PyramidRefinement(40, **SMALL, jitter=0.0)
    np.testing.assert_array_equal(
        numpy(near(image, points, training=True))["center"], 4
    )


def test_a_lost_point_stays_lost():
    points = np.array([[[5.0, 5.0], [np.nan, 3.0]]], "float32")
    found = numpy(PyramidRefinement(2, **SMALL)(noise(1, 9, 9, 1), points))
    assert np.isnan(found["points"][0, 1]).all() and found["score"][0, 1] == 0.0
    assert np.isnan(found["covariance"][0, 1]).all()
    for name in ("logits", "center"):
        assert np.isfinite(found[name]).all()
    assert np.isfinite(found["points"][0, 0]).all()


def test_landmarks_share_all_but_a_few_weights():
    counts = []
    for landmarks in (1, 2):
        layer = PyramidRefinement(landmarks, **SMALL)
        layer.build((None, None, None, 1))
        counts.append(layer.count_params())
    # Two scales of two convolutions, each with a scale and a shift, and the head.
    assert counts[1] - counts[0] == (2 * 2 * 2 + 1) * 4
    first = 2 * (16 * 1 * 4 + 4)
    assert counts[0] == first + (9 * 4 * 4 + 4) + (9 * 8 * 4 + 4) + (2 * 2 * 2 + 1) * 4


def test_serialisation_and_symbolic_call():
    options = {"num_landmarks": 2, **SMALL, "jitter": 1.5, "weight": 0.5, "looks": 3}
    layer = PyramidRefinement(**options, dropout=0.1, seed=5, name="local")
    image, points = noise(1, 9, 8, 1), np.full((1, 2, 2), 4.0, "float32")
    found = numpy(layer(image, points))
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    twin = keras.saving.deserialize_keras_object(saved)
    assert twin.get_config() == layer.get_config()
    assert {name: twin.get_config()[name] for name in options} == options
    twin(image, points)
    twin.set_weights(layer.get_weights())
    for name, value in numpy(twin(image, points)).items():
        np.testing.assert_array_equal(value, found[name])
    for policy in ("float32", "mixed_bfloat16"):
        with dtype_policy(policy):
            eager = PyramidRefinement(**options)(image, points)
            symbolic = PyramidRefinement(**options)(
                keras.KerasTensor((None, None, None, 1)),
                keras.KerasTensor((None, 2, 2)),
            )
        for name, value in eager.items():
            assert symbolic[name].shape == (None, *value.shape[1:])
            assert keras.backend.standardize_dtype(value.dtype) == "float32"
            assert symbolic[name].dtype == "float32"


def test_points_keep_their_digits_in_half_precision():
    points = np.array([[[301.3, 700.4]]], "float32")
    with dtype_policy("mixed_bfloat16"):
        layer = PyramidRefinement(1, **SMALL, looks=1)
        found = numpy(layer(noise(1, 800, 400, 1), points))
    np.testing.assert_array_equal(found["center"], points)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="requires tf.function")
def test_a_graph_accepts_images_of_any_size():
    import tensorflow as tf

    layer = PyramidRefinement(2, **SMALL)
    layer.build((None, None, None, 1))
    graph = tf.function(
        lambda image, points: layer(image, points)["points"],
        [tf.TensorSpec((None, None, None, 1)), tf.TensorSpec((None, 2, 2))],
    )
    for sizes in ((20, 31), (3, 2)):
        image = noise(2, *sizes, 1)
        points = np.array([[[5.3, 6.1], [1.0, 2.0]]] * 2, "float32")
        expected = numpy(layer(image, points))["points"]
        np.testing.assert_allclose(graph(image, points), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 12}, "`size` must be a multiple of 8.*size=12"),
        ({"scales": 0}, "`scales` must be an integer"),
        ({"convolutions": 1}, "`convolutions` must be at least 2.*convolutions=1"),
        ({"weight": 1.5}, "`weight` must be a number from 0 to 1.*weight=1.5"),
        ({"jitter": -1.0}, "`jitter` must be .*jitter=-1.0"),
        ({"dropout": 1.0}, "`dropout` must be .*dropout=1.0"),
    ],
    ids=lambda value: "",
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PyramidRefinement(2, **options)


def test_wrong_points_are_refused():
    with pytest.raises(ValueError, match=r"points of shape \(batch, 2, 2\)"):
        PyramidRefinement(2, **SMALL)(noise(1, 9, 9, 1), noise(1, 3, 2))
