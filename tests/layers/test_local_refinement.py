import json

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import LocalRefinement, PatchVote
from scn_keras.layers._landmark_convolution import LandmarkConvolution
from tests.contract import dtype_policy


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy(outputs):
    return {name: ops.convert_to_numpy(value) for name, value in outputs.items()}


# --- The convolution ---


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_each_landmark_has_a_convolution_of_its_own(rank):
    layer = LandmarkConvolution(3, 4, kernel_size=3)
    x = noise(3, 2, *(6, 5, 7)[:rank], 2)
    found = ops.convert_to_numpy(layer(x))
    layer.bias.assign(noise(3, 4, seed=1))
    found = ops.convert_to_numpy(layer(x))
    for n in range(3):
        expected = ops.relu(
            ops.conv(x[n], layer.kernel[n], padding="same", data_format="channels_last")
            + layer.bias[n]
        )
        np.testing.assert_allclose(found[n], ops.convert_to_numpy(expected), atol=1e-5)


def test_kernels_start_as_if_alone():
    layer = LandmarkConvolution(40, 32, kernel_size=3)
    layer.build((40, None, 8, 8, 32))
    kernel = ops.convert_to_numpy(layer.kernel)
    # He: twice the inverse of the numbers that go into one.
    assert kernel.var() == pytest.approx(2.0 / (9 * 32), rel=0.02)
    assert not np.allclose(kernel[0], kernel[1])


def test_normalisation_is_that_of_keras_landmark_by_landmark():
    layer = LandmarkConvolution(2, 3, normalize=True, activation=False)
    x = noise(2, 4, 5, 6, 3)
    layer.build(x.shape)
    layer.kernel.assign(np.broadcast_to(np.eye(3), (2, 1, 1, 3, 3)))
    gamma, beta = noise(2, 3, seed=1), noise(2, 3, seed=2)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    twins = []
    for n in range(2):
        twin = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        twin.build(x.shape[1:])
        twin.gamma.assign(gamma[n])
        twin.beta.assign(beta[n])
        twins.append(twin)
    for training in (True, True, False):
        found = ops.convert_to_numpy(layer(x, training=training))
        for n, twin in enumerate(twins):
            expected = ops.convert_to_numpy(twin(x[n], training=training))
            np.testing.assert_allclose(found[n], expected, atol=1e-5)
    for n, twin in enumerate(twins):
        for ours, theirs in (
            (layer.moving_mean, twin.moving_mean),
            (layer.moving_variance, twin.moving_variance),
        ):
            ours, theirs = map(ops.convert_to_numpy, (ours, theirs))
            np.testing.assert_allclose(ours[n], theirs, rtol=1e-5, atol=1e-6)


def test_frozen_it_keeps_what_it_normalises_by():
    """As Keras' own normalisation does, and as a fine-tuned network needs it."""
    layer = LocalRefinement(2, size=8, filters=2, convolutions=1)
    image, points = noise(2, 16, 16, 1), np.full((2, 2, 2), 8.0, "float32")
    layer.build(image.shape)
    layer.trainable = False
    for trainable in (False, True):
        layer.trainable = trainable
        layer(image, points, training=True)
        mean = ops.convert_to_numpy(layer.fine[0].moving_mean)
        assert mean.any() == trainable  # it starts as zeros


# --- The layer ---


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_it_sees_the_pixels_around_each_point(rank):
    """Votes are those of the cut-out sub-images, the border's pixels going on."""
    sizes = (20, 24, 17)[:rank]
    image = noise(2, *sizes, 1)
    high = np.array(sizes[::-1]) + 3.0
    random = np.random.default_rng(1)
    points = random.uniform(-3.0, high, (2, 3, rank)).astype("float32")
    layer = LocalRefinement(3, size=6, filters=2, convolutions=1)
    found = numpy(layer(image, points))
    first = np.floor(points + 0.5) - 3
    np.testing.assert_array_equal(found["origin"], first)
    padded = np.pad(image, [(0, 0), *[(10, 10)] * rank, (0, 0)], mode="edge")
    for b, n in np.ndindex(2, 3):
        cut = [slice(int(f) + 10, int(f) + 16) for f in first[b, n, ::-1]]
        part = padded[(slice(b, b + 1), *cut)]
        # Of an image that is the sub-image, it is the whole.
        middle = np.full((1, 3, rank), 3.0, "float32")
        alone = numpy(layer(part, middle))
        np.testing.assert_allclose(
            found["votes"][b, ..., n, :], alone["votes"][0, ..., n, :], atol=1e-5
        )
        voted = PatchVote(2)(found["votes"])
        points_in_it = ops.convert_to_numpy(voted["points"])[b, n]
        np.testing.assert_allclose(
            found["points"][b, n], first[b, n] + points_in_it, atol=1e-4
        )


def test_in_training_a_point_is_anywhere_in_its_sub_image():
    layer = LocalRefinement(50, size=4, filters=1, convolutions=1, seed=0)
    image = noise(20, 9, 9, 1)
    points = np.random.default_rng(0).uniform(-0.5, 8.49, (20, 50, 2)).astype("float32")
    found = numpy(layer(image, points, training=True))
    pixel = np.floor(points + 0.5) - found["origin"]
    counts = np.unique(pixel.reshape(-1, 2), axis=0, return_counts=True)[1]
    assert len(counts) == 16 and pixel.min() == 0 and pixel.max() == 3
    # 1000 points in 16 pixels: 62.5 each, give or take 8 (one standard deviation).
    assert counts.min() > 30 and counts.max() < 95
    again = numpy(layer(image, points, training=True))
    assert np.any(again["origin"] != found["origin"])


@pytest.mark.parametrize("training", [False, True])
def test_sub_images_shifted_into_the_image(training):
    layer = LocalRefinement(4, size=6, filters=2, convolutions=1, border="inside")
    corners = [[0, 0], [8, 11], [4, 0], [4, 6]]
    points = np.tile(np.float32(corners), (20, 1, 1))
    image = noise(20, 12, 9, 1)  # rows, columns
    found = numpy(layer(image, points, training=training))
    assert found["origin"].min() >= 0
    assert np.all(found["origin"].max(axis=(0, 1)) <= [9 - 6, 12 - 6])
    pixel = points - found["origin"]  # still inside
    assert pixel.min() >= 0 and pixel.max() <= 5
    if not training:
        by_hand = [[0, 0], [3, 6], [1, 0], [1, 3]]
        np.testing.assert_array_equal(found["origin"][0], by_hand)
        # The votes are those of that part of the image.
        alone = numpy(
            layer(
                image[:1, 3:9, 1:7],
                points[:1, 3:] * 0 + np.ones((1, 4, 1), "float32") * 3,
            )
        )
        np.testing.assert_allclose(
            found["votes"][0, ..., 3, :], alone["votes"][0, ..., 3, :], atol=1e-5
        )


def test_an_image_smaller_than_a_sub_image():
    layer = LocalRefinement(1, size=8, filters=2, convolutions=1, border="inside")
    found = numpy(layer(noise(1, 5, 12, 1), np.float32([[[11, 4]]])))
    np.testing.assert_array_equal(found["origin"], [[[4, 0]]])


def test_parameters_of_the_published_local_networks():
    layer = LocalRefinement(19)
    layer.build((None, None, None, 1))
    kernels = 9 * (1 * 32 + 3 * 32 * 32 + 32 * 64 + 64 * 64)
    normalisation = 4 * (4 * 32 + 2 * 64)  # gamma, beta, mean, variance
    heads = 4 * (64 * 64 + 64) + (64 * 1 + 1) + (64 * 2 + 2)
    assert layer.count_params() == 19 * (kernels + normalisation + heads)


def test_a_lost_point_stays_lost():
    points = np.array([[[5.0, 5.0], [np.nan, 3.0]]], "float32")
    layer = LocalRefinement(2, size=4, filters=2)
    found = numpy(layer(noise(1, 9, 9, 1), points))
    assert np.isnan(found["points"][0, 1]).all() and found["score"][0, 1] == 0.0
    assert np.isnan(found["covariance"][0, 1]).all()
    for name in ("votes", "origin"):
        assert np.isfinite(found[name]).all()
    assert np.isfinite(found["points"][0, 0]).all()


def test_serialisation_and_symbolic_call():
    options = {"num_landmarks": 2, "size": 6, "filters": 3, "convolutions": 1}
    layer = LocalRefinement(**options, seed=5, name="local")
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
            eager = LocalRefinement(**options)(image, points)
            symbolic = LocalRefinement(**options)(
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
        found = numpy(LocalRefinement(1, filters=1)(noise(1, 800, 400, 1), points))
    np.testing.assert_array_equal(found["origin"], [[[293.0, 692.0]]])


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="`size` must be even"):
        LocalRefinement(2, size=5)
    with pytest.raises(ValueError, match="`filters` must be an integer"):
        LocalRefinement(2, filters=0)
    with pytest.raises(ValueError, match=r"points of shape \(batch, 2, 2\)"):
        LocalRefinement(2)(noise(1, 9, 9, 1), noise(1, 3, 2))
