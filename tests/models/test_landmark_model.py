import csv
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from scn_keras.layers import GaussianHeatmap, HeatmapPeak
from scn_keras.losses import (
    AdaptiveWing,
    CoordinateLoss,
    HeatmapBinaryCrossentropy,
    HeatmapSquaredError,
    SpatialSoftmaxCrossentropy,
)
from scn_keras.metrics import (
    IdentificationRate,
    ImagePointError,
    OutlierCount,
    PointError,
    PointErrorDeviation,
    PointErrorPercentile,
    PresencePrecision,
    PresenceRecall,
    SuccessDetectionRate,
    on_arrays,
)
from scn_keras.models import LandmarkModel, SpatialConfigurationNet
from tests.gradients import gradients, weight_gradients

BACKEND = keras.backend.backend()
# Of PyTorch, it needs a C++ compiler and minutes.
JIT = [False] if BACKEND == "torch" else [False, True]
SIZE = (10, 12)
NAN = np.nan


def pixelwise_model(landmarks=3, channels=2, form="mean", **kwargs):
    """A network of one 1x1 convolution, so that its heatmaps are easily had by hand."""
    image = keras.Input((*SIZE, channels))
    heatmaps = keras.layers.Conv2D(landmarks, 1, bias_initializer="normal")(image)
    model = LandmarkModel(keras.Model(image, heatmaps), **kwargs)
    model.compile(keras.optimizers.SGD(0.1), HeatmapSquaredError(form))
    return model


def identity_model(landmarks, metrics=(), weighted_metrics=None, **kwargs):
    """A network whose heatmaps are its input."""
    image = keras.Input((*SIZE, landmarks))
    heatmaps = keras.layers.Activation("linear")(image)
    model = LandmarkModel(keras.Model(image, heatmaps), **kwargs)
    model.compile(
        loss=HeatmapSquaredError(),
        metrics=list(metrics),
        weighted_metrics=weighted_metrics,
    )
    return model


def gaussians(points, sigma, gamma=None, size=SIZE):
    """Heatmaps `(B, rows, columns, N)` by SciPy, zero where a point is missing."""
    y, x = np.mgrid[: size[0], : size[1]]
    maps = np.zeros((len(points), *size, points.shape[1]))
    for b, n in np.ndindex(points.shape[:2]):
        if not np.isnan(points[b, n]).any():
            px, py = points[b, n]
            maps[b, ..., n] = stats.norm.pdf(x, px, sigma[n])
            maps[b, ..., n] *= stats.norm.pdf(y, py, sigma[n])
            maps[b, ..., n] *= gamma or 2.0 * np.pi * sigma[n] ** 2
    return maps


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def labels(points, affine=None):
    affine = np.eye(3) if affine is None else affine
    return {
        "points": np.asarray(points, "float32"),
        "affine": np.broadcast_to(affine, (len(points), 3, 3)).astype("float32"),
    }


POINTS = np.array([[[3.3, 4.1], [8.0, 2.5], [6.2, 7.7]], [[5.5, 5.0], [2, 3], [9, 1]]])
MISSING = np.array([[[3.3, 4.1], [NAN, NAN], [6.2, 7.7]], [[5, 5], [2, NAN], [9, 1]]])


def heatmaps_of(model, image):
    kernel, bias = (w.numpy().astype("float64") for w in model.network.weights)
    return image @ kernel[0, 0] + bias


# --- Loss ---


@pytest.mark.parametrize("form", ["mean", "sum"])
@pytest.mark.parametrize("points", [POINTS, MISSING], ids=["complete", "missing"])
def test_loss_by_hand(points, form):
    sigma, gamma, alpha, decay = np.array([1.5, 2.0, 2.5]), 50.0, 3.0, 0.7
    target = GaussianHeatmap(3, gamma=gamma, learnable=True)
    model = pixelwise_model(
        form=form, target=target, sigma_penalty=alpha, weight_decay=decay
    )
    target.sigma.assign(sigma)
    image = noise(2, *SIZE, 2)
    error = np.square(heatmaps_of(model, image) - gaussians(points, sigma, gamma))
    present = ~np.isnan(points).any(axis=-1)
    by_landmark = error.sum(axis=(1, 2)) * present  # over pixels
    kernel = model.network.weights[0].numpy()
    penalty = 0.5 * alpha * np.sum(present.mean(axis=0) * sigma**2)
    penalty += 0.5 * decay * np.sum(kernel**2)
    pixels = SIZE[0] * SIZE[1]
    if form == "sum":
        expected = 0.5 * by_landmark.sum() / 2 + penalty
    else:
        expected = by_landmark.sum() / (pixels * present.sum())
        expected += penalty * 2.0 / (3 * pixels)
    found = model.evaluate(image, labels(points), verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_forms_differ_by_one_factor_in_all_three_terms():
    arguments = {"sigma_penalty": 20.0, "weight_decay": 1e-1}
    total, mean = (
        pixelwise_model(
            form=form,
            target=GaussianHeatmap(3, 2.5, gamma=100.0, learnable=True),
            **arguments,
        )
        for form in ("sum", "mean")
    )
    mean.set_weights(total.get_weights())
    image, y = noise(2, *SIZE, 2), labels(POINTS)
    factor = 2.0 / (3 * SIZE[0] * SIZE[1])
    expected = total.evaluate(image, y, verbose=0) * factor
    assert mean.evaluate(image, y, verbose=0) == pytest.approx(expected, rel=1e-5)
    slopes = [
        weight_gradients(
            lambda model=model: model.compute_loss(
                None, y, model(image), training=False
            ),
            model.trainable_weights,
        )
        for model in (total, mean)
    ]
    for of_total, of_mean in zip(*slopes, strict=True):
        np.testing.assert_allclose(of_mean, of_total * factor, rtol=1e-4, atol=1e-8)


def test_decay_is_on_kernels_alone():
    model = pixelwise_model(
        form="sum",
        target=GaussianHeatmap(3, learnable=True),
        weight_decay=0.7,
    )
    image = noise(1, *SIZE, 2)
    nothing = labels(np.full((1, 3, 2), NAN))
    kernel, bias, sigma = weight_gradients(
        lambda: model.compute_loss(None, nothing, model(image)),
        model.trainable_weights,
    )
    np.testing.assert_allclose(
        kernel, 0.7 * model.network.weights[0].numpy(), rtol=1e-6
    )
    assert np.all(bias == 0.0) and np.all(sigma == 0.0)


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_missing_landmarks_reach_neither_loss_nor_gradient(form):
    model = pixelwise_model(form=form, target=GaussianHeatmap(3, learnable=True))
    y = labels(MISSING)
    heatmaps = noise(2, *SIZE, 3)
    other = heatmaps.copy()
    other[0, ..., 1] = 1e3
    other[1, ..., 1] = -1e3
    first, second = (
        ops.convert_to_numpy(model.compute_loss(None, y, h)) for h in (heatmaps, other)
    )
    assert first == pytest.approx(second, rel=1e-6)
    (by_heatmaps,) = gradients(lambda h: model.compute_loss(None, y, h), heatmaps)
    assert np.all(by_heatmaps[..., 1] == 0.0)
    assert np.all(by_heatmaps[..., [0, 2]] != 0.0)
    (by_sigma,) = weight_gradients(
        lambda: model.compute_loss(None, y, ops.convert_to_tensor(heatmaps)),
        [model.target.sigma],
    )
    assert by_sigma[1] == 0.0 and np.all(by_sigma[[0, 2]] != 0.0)


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_the_references_convention_asks_for_empty_heatmaps(form):
    sigma, alpha = np.array([1.5, 2.0, 2.5]), 3.0
    target = GaussianHeatmap(3, gamma=50.0, learnable=True)
    model = pixelwise_model(
        form=form, target=target, sigma_penalty=alpha, missing="zero"
    )
    target.sigma.assign(sigma)
    image = noise(2, *SIZE, 2)
    error = heatmaps_of(model, image) - gaussians(MISSING, sigma, 50.0)
    # Of a missing landmark the sigma alone is left out.
    share = np.mean(~np.isnan(MISSING).any(axis=-1), axis=0)
    penalty = 0.5 * alpha * np.sum(share * sigma**2)
    expected = 0.5 * np.sum(error**2) / 2 + penalty
    if form == "mean":
        expected *= 2.0 / (3 * SIZE[0] * SIZE[1])
    found = model.evaluate(image, labels(MISSING), verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)
    # The middle landmark is always missing: its heatmap falls towards zero.
    heatmaps = noise(2, *SIZE, 3)
    (gradient,) = gradients(
        lambda h: model.compute_loss(None, labels(MISSING), h), heatmaps
    )
    expected = heatmaps[..., 1] * np.where(form == "mean", 2.0 / heatmaps.size, 0.5)
    np.testing.assert_allclose(gradient[..., 1], expected, rtol=1e-5, atol=1e-9)


def test_the_penalty_of_a_rotated_target_is_of_the_product_of_sigmas():
    target = GaussianHeatmap(3, learnable=True, form="rotated", penalty_power=2.0)
    model = pixelwise_model(form="sum", target=target, sigma_penalty=5.0)
    target.sigma.assign([[1.0, 2.0], [2.0, 3.0], [1.5, 1.5]])
    heatmaps = ops.convert_to_numpy(
        model.target(MISSING.astype("float32"), noise(2, *SIZE, 3))
    )
    found = ops.convert_to_numpy(model.compute_loss(None, labels(MISSING), heatmaps))
    # Present in both images, in none, in both; the middle one does not count.
    assert found == pytest.approx(5.0 * (2.0**2 + 2.25**2), rel=1e-5)


def test_a_loss_on_points_gets_points():
    model = pixelwise_model()
    loss = CoordinateLoss()
    model.compile(keras.optimizers.SGD(0.1), loss)
    image = noise(2, *SIZE, 2)
    by_landmark = ops.convert_to_numpy(
        loss.call(
            ops.convert_to_tensor(np.nan_to_num(MISSING), "float32"),
            ops.convert_to_tensor(heatmaps_of(model, image), "float32"),
        )
    )
    present = ~np.isnan(MISSING).any(axis=-1)
    expected = by_landmark[present].mean()
    assert model.evaluate(image, labels(MISSING), verbose=0) == pytest.approx(expected)
    heatmaps = noise(2, *SIZE, 3)
    (gradient,) = gradients(
        lambda h: model.compute_loss(None, labels(MISSING), h), heatmaps
    )
    assert np.all(np.isfinite(gradient))
    there = np.any(gradient != 0.0, axis=(1, 2))
    np.testing.assert_array_equal(there, present)


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_a_batch_without_landmarks_trains_nothing(form):
    model = pixelwise_model(
        form=form, target=GaussianHeatmap(3, learnable=True), sigma_penalty=9.0
    )
    before = model.get_weights()
    y = labels(np.full((2, 3, 2), NAN))
    model.fit(noise(2, *SIZE, 2), y, verbose=0)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize(
    "weight",
    [np.array([0.5, 2.0]), np.array([[1.0, 5.0, 0.0], [3.0, 7.0, 0.5]])],
    ids=["by image", "by landmark"],
)
def test_sample_weights_multiply_the_mask(weight):
    sigma = [3.0] * 3
    model = pixelwise_model()
    image = noise(2, *SIZE, 2)
    error = np.square(heatmaps_of(model, image) - gaussians(MISSING, sigma))
    weights = np.array([[1, 0, 1], [1, 0, 1]]) * weight.reshape(2, -1)
    expected = np.sum(weights * error.mean(axis=(1, 2))) / weights.sum()
    weight = weight.astype("float32")
    batches = (batch for batch in [(image, labels(MISSING), weight)])
    found = model.evaluate(batches, steps=1, verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)
    if weight.ndim == 2:  # of arrays, Keras wants these in the structure of `y`
        weight = {"points": weight, "affine": weight[:, 0]}
    found = model.evaluate(image, labels(MISSING), sample_weight=weight, verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_one_landmark():
    model = pixelwise_model(landmarks=1)
    image, points = noise(2, *SIZE, 2), POINTS[:, :1]
    error = np.abs(heatmaps_of(model, image) - gaussians(points, [3.0]))
    model.compile(loss=HeatmapSquaredError())
    found = model.evaluate(image, labels(points), verbose=0)
    assert found == pytest.approx(np.mean(error**2), rel=1e-5)


# --- Metrics ---


def test_metrics_are_millimetres_through_the_affine():
    affine = np.array([[0.3, -0.1, 5.0], [0.2, 0.4, -70.0], [0.0, 0.0, 1.0]])
    affine = np.stack([affine, np.diag([0.5, 0.1, 1.0])])
    found = np.array([[[3.3, 4.1], [8.0, 2.5], [6.2, 7.7]], [[5.5, 5], [2, 3], [9, 1]]])
    true = found + [[[2.0, 1.0], [NAN, 3.0], [0.0, 0.0]], [[0, 3], [-4, 0], [1, 1]]]
    moved = np.einsum("bij,bnj->bni", affine[:, :2, :2], true - found)
    distance = np.linalg.norm(moved, axis=-1)
    expected = np.nanmean(distance)
    model = identity_model(
        3,
        metrics=[PointError(), SuccessDetectionRate(0.6)],
        weighted_metrics=[PointError(name="weighted")],
    )
    weight = np.array([1.0, 3.0], "float32")
    results = model.evaluate(
        gaussians(found, [1.5] * 3).astype("float32"),
        labels(true, affine),
        sample_weight=weight,
        batch_size=1,
        return_dict=True,
        verbose=0,
    )
    assert results["point_error"] == pytest.approx(expected, abs=1e-3)
    assert results["sdr_0_6"] == pytest.approx(np.nanmean(distance < 0.6) * 6 / 5)
    weights = np.isfinite(distance) * weight[:, None]
    assert results["weighted"] == pytest.approx(
        np.nansum(distance * weights) / weights.sum(), abs=1e-3
    )


def test_landmarks_of_low_score_are_missing_to_the_metrics():
    # Heights 1, 0.3 and 0.6; the second is there but faint, the third is not there.
    heights = np.array([1.0, 0.3, 0.6])
    found = np.round(POINTS[:1])
    true = found + np.array([3.0, 4.0])
    true[0, 2] = NAN
    heatmaps = (gaussians(found, [1.5] * 3) * heights).astype("float32")
    for threshold, error, precision, recall in (
        (None, 5.0, 2 / 3, 1.0),
        (0.5, 5.0, 1 / 2, 1 / 2),
        (1.0, 5.0, 1.0, 1 / 2),  # a score of 1 is not below 1
    ):
        model = identity_model(
            3,
            metrics=[PointError(), PresencePrecision(), PresenceRecall()],
            presence_threshold=threshold,
        )
        results = model.evaluate(heatmaps, labels(true), return_dict=True, verbose=0)
        assert results["point_error"] == pytest.approx(error, abs=1e-3)
        assert results["presence_precision"] == pytest.approx(precision)
        assert results["presence_recall"] == pytest.approx(recall)


def test_every_metric_in_evaluate_is_the_function_of_arrays():
    found = np.tile(np.round(POINTS), (2, 1, 1))
    true = found + np.random.default_rng(0).normal(0.0, 2.0, found.shape)
    true[1, 2] = NAN
    distances = on_arrays.point_distances(true, found)
    expected = {
        "point_error": on_arrays.point_error(distances),
        "point_error_1": on_arrays.point_error(distances, axis=0)[1],
        "point_error_sd": on_arrays.point_error_deviation(distances),
        "point_error_p100": np.nanmax(distances),
        "image_point_error": on_arrays.image_point_error(distances).mean(),
        "sdr_2": on_arrays.success_detection_rate(distances, 2.0),
        "outliers_2": on_arrays.outlier_count(distances, 2.0),
        "identification_rate": on_arrays.identification_rate(true, found, 4.0),
        "presence_precision": on_arrays.presence_precision(true, found),
        "presence_recall": on_arrays.presence_recall(true, found),
    }
    model = identity_model(
        3,
        metrics=[
            PointError(),
            PointError(landmark=1),
            PointErrorDeviation(),
            PointErrorPercentile(100.0),
            ImagePointError(),
            SuccessDetectionRate(2.0),
            OutlierCount(2.0),
            IdentificationRate(4.0),
            PresencePrecision(),
            PresenceRecall(),
        ],
    )
    results = model.evaluate(
        gaussians(found, [1.5] * 3).astype("float32"),
        labels(true),
        batch_size=3,
        return_dict=True,
        verbose=0,
    )
    results.pop("loss")
    # The percentile is read from bins of 0.01.
    assert results == pytest.approx(expected, abs=0.011)


def test_scores_are_relative_to_the_height_of_the_targets():
    target = GaussianHeatmap(3, sigma=2.0, gamma=10.0)
    model = identity_model(
        3, metrics=[PresenceRecall()], target=target, presence_threshold=0.45
    )
    points = np.round(POINTS)
    heatmaps = gaussians(points, [2.0] * 3, gamma=10.0).astype("float32")
    for share, recall in ((0.5, 1.0), (0.4, 0.0)):
        results = model.evaluate(
            share * heatmaps, labels(points), return_dict=True, verbose=0
        )
        assert results["presence_recall"] == recall


def test_the_threshold_is_changed_by_a_model_of_the_same_parts():
    model = identity_model(3, target=GaussianHeatmap(3, gamma=10.0))
    with pytest.raises(AttributeError):
        model.presence_threshold = 0.5
    other = LandmarkModel(
        model.network, model.target, model.peak, presence_threshold=0.5
    )
    assert other.presence_threshold == 0.5
    assert other.target.sigma is model.target.sigma


def test_the_highest_of_several_peaks_is_measured():
    points = np.array([[[2.0, 3.0]]])
    heatmaps = gaussians(points, [1.0]) + 0.5 * gaussians(points + 6.0, [1.0])
    model = identity_model(1, metrics=[PointError()], peak=HeatmapPeak(num_peaks=2))
    results = model.evaluate(
        heatmaps.astype("float32"), labels(points), return_dict=True, verbose=0
    )
    assert results["point_error"] == pytest.approx(0.0, abs=1e-3)


def test_heatmaps_coarser_than_the_image():
    image = keras.Input((2 * SIZE[0], 2 * SIZE[1], 3))
    network = keras.Model(image, keras.layers.AveragePooling2D(2)(image))
    network.heatmap_stride = 2
    target = GaussianHeatmap(3, sigma=2.0)
    model = LandmarkModel(network, target)
    model.compile(loss=HeatmapSquaredError(), metrics=[PointError()])
    heatmaps = gaussians(POINTS, [2.0] * 3)
    fine = heatmaps.repeat(2, axis=1).repeat(2, axis=2).astype("float32")
    # Pixel i covers 2 i and 2 i + 1: its centre is between them.
    grid = 2.0 * POINTS + 0.5
    results = model.evaluate(fine, labels(grid), return_dict=True, verbose=0)
    assert results["loss"] == pytest.approx(0.0, abs=1e-10)
    assert results["point_error"] == pytest.approx(0.0, abs=0.01)
    peaks = model.localizer.predict(fine, verbose=0)
    np.testing.assert_allclose(peaks["points"], grid, atol=0.01)
    expected = np.broadcast_to(16.0 * np.eye(2), (2, 3, 2, 2))
    np.testing.assert_allclose(peaks["covariance"], expected, atol=0.1)
    # A loss on points works in pixels of the heatmaps.
    model.compile(loss=CoordinateLoss(variance_weight=0.0, temperature=1e-3))
    whole = np.round(POINTS)
    found = model.compute_loss(
        None,
        labels(2.0 * whole + 0.5),
        ops.convert_to_tensor(gaussians(whole, [2.0] * 3), "float32"),
    )
    assert float(found) < 1e-3


def test_3d():
    image = keras.Input((8, 10, 12, 2))
    model = LandmarkModel(
        keras.Model(image, keras.layers.Activation("linear")(image)),
        target=GaussianHeatmap(2, sigma=1.5),
    )
    model.compile(loss=HeatmapSquaredError(), metrics=[PointError()])
    points = np.array([[[3.0, 4.0, 5.0], [8.2, 5.1, 2.4]]], "float32")
    heatmaps = ops.convert_to_numpy(model.target(points, np.zeros((1, 8, 10, 12, 2))))
    affine = np.diag([0.5, 1.0, 2.0, 1.0]).astype("float32")[None]
    y = {"points": points + np.float32([0.0, 0.0, 1.0]), "affine": affine}
    results = model.evaluate(heatmaps, y, return_dict=True, verbose=0)
    assert results["point_error"] == pytest.approx(2.0, abs=1e-3)
    assert model.localizer.predict(heatmaps, verbose=0)["points"].shape == (1, 2, 3)


def test_localizer_decodes_relative_to_the_height_of_the_targets():
    target = GaussianHeatmap(3, sigma=2.0, gamma=10.0)
    model = identity_model(3, target=target)
    heatmaps = 0.5 * gaussians(POINTS, [2.0] * 3, gamma=10.0).astype("float32")
    output = model.localizer.predict(heatmaps, batch_size=1, verbose=0)
    np.testing.assert_allclose(output["points"], POINTS, atol=0.005)
    squared = np.sum((POINTS - np.round(POINTS)) ** 2, axis=-1)
    np.testing.assert_allclose(output["score"], 0.5 * np.exp(-squared / 8.0), rtol=1e-4)
    assert output["covariance"].shape == (2, 3, 2, 2)
    assert model.localizer is model.localizer
    # The peak layer that was given is the one that decodes.
    whole = identity_model(3, peak=HeatmapPeak("argmax")).localizer(heatmaps)
    whole = ops.convert_to_numpy(whole["points"])
    np.testing.assert_array_equal(whole, np.round(whole))
    np.testing.assert_allclose(whole, POINTS, atol=0.5 + 1e-6)


# --- Fit ---


def small_model(dtype="float32", heatmap_initializer=0.1, learnable=True, **kwargs):
    network = SpatialConfigurationNet(
        3,
        (16, 24, 1),
        filters=6,
        levels=2,
        dropout=0.0,
        spatial_kernel_size=3,
        spatial_factor=4,
        heatmap_initializer=heatmap_initializer,
        dtype=dtype,
    )
    target = GaussianHeatmap(3, sigma=1.5, learnable=learnable)
    return LandmarkModel(network, target, **kwargs)


def dots(count):
    """Images with a bright, a grey and a dark dot, some missing, and their points."""
    random = np.random.default_rng(0)
    centers = np.array([[5.0, 5.0], [12.0, 9.0], [19.0, 6.0]])
    points = centers + random.uniform(-3.0, 3.0, (count, 3, 2))
    values = np.array([1.0, 0.5, -1.0])
    image = gaussians(points, [1.5] * 3, size=(16, 24)) @ values
    points[1, 2] = NAN
    return image[..., None].astype("float32"), labels(points, np.diag([0.5, 0.4, 1.0]))


@pytest.mark.parametrize("jit_compile", JIT)
def test_fit_as_keras_users_know_it(tmp_path, jit_compile):
    # With a threshold of 0 all landmarks are there.
    model = small_model(sigma_penalty=1e-3, weight_decay=1e-5, presence_threshold=0.0)
    model.compile(
        keras.optimizers.Adam(1e-3),
        HeatmapSquaredError(),
        metrics=[PointError(), SuccessDetectionRate(2)],
        jit_compile=jit_compile,
    )
    image, y = dots(4)
    some = {name: value[:2] for name, value in y.items()}
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "history.csv"),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
        keras.callbacks.EarlyStopping("val_point_error", mode="min", patience=5),
    ]
    history = model.fit(
        image,
        y,
        batch_size=2,
        epochs=2,
        validation_data=(image[:2], some),
        callbacks=callbacks,
        verbose=0,
    ).history
    names = ["loss", "point_error", "sdr_2"]
    assert sorted(history) == sorted([*names, *(f"val_{name}" for name in names)])
    assert np.all(np.isfinite(list(history.values())))
    assert model.optimizer.iterations.numpy() == 4
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == pytest.approx(history["loss"])
    # What fit said of the validation images is what evaluate says.
    results = model.evaluate(image[:2], some, return_dict=True, verbose=0)
    assert results["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-4)
    assert results["point_error"] == pytest.approx(history["val_point_error"][-1])
    assert (tmp_path / "best.keras").is_file()


@pytest.mark.parametrize("heatmap_initializer", [1e-4, 0.1])
def test_every_weight_has_a_gradient_in_float32_and_bfloat16(heatmap_initializer):
    image, y = dots(2)
    found = {}
    for dtype in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(1)
        model = small_model(dtype, heatmap_initializer, sigma_penalty=1.0)
        model.compile(loss=HeatmapSquaredError("sum"))
        weights = model.trainable_weights
        assert len(weights) == 2 * (1 + 3 * 2 + 1 + 3 + 1) + 1
        assert any(weight is model.target.sigma for weight in weights)
        found[dtype] = weight_gradients(
            lambda model=model: model.compute_loss(None, y, model(image)), weights
        )
        for weight, gradient in zip(weights, found[dtype], strict=True):
            assert np.all(np.isfinite(gradient)), weight.path
            assert np.any(gradient != 0.0), weight.path
    for weight, exact, rounded in zip(weights, *found.values(), strict=True):
        cosine = np.sum(exact * rounded) / np.sqrt(
            np.sum(exact**2) * np.sum(rounded**2)
        )
        assert cosine > 0.98, weight.path


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_fit_moves_every_weight(dtype):
    model = small_model(dtype)
    model.compile(keras.optimizers.Adam(1e-3), HeatmapSquaredError())
    before = model.get_weights()
    image, y = dots(2)
    model.fit(image, y, epochs=2, verbose=0)
    for weight, old in zip(model.weights, before, strict=True):
        assert np.all(np.isfinite(weight.numpy())), weight.path
        assert np.any(weight.numpy() != old), weight.path


def test_a_small_batch_is_overfitted():
    model = small_model()
    model.compile(
        keras.optimizers.Adam(1e-2), HeatmapSquaredError(), metrics=[PointError()]
    )
    image, y = dots(2)
    y["affine"] = labels(y["points"])["affine"]  # pixels
    start = model.evaluate(image, y, return_dict=True, verbose=0)
    steps = 150
    repeated = {name: np.concatenate([value] * steps) for name, value in y.items()}
    model.fit(
        np.concatenate([image] * steps),
        repeated,
        batch_size=2,
        shuffle=False,
        verbose=0,
    )
    end = model.evaluate(image, y, return_dict=True, verbose=0)
    assert start["point_error"] > 2.0
    assert end["point_error"] < 0.5
    found = model.localizer.predict(image, verbose=0)["points"]
    distance = np.linalg.norm(found - y["points"], axis=-1)
    assert np.nanmax(distance) < 1.0


@pytest.mark.parametrize(
    ("loss", "missing"),
    [
        (HeatmapBinaryCrossentropy(from_logits=True), "zero"),
        (AdaptiveWing(), "zero"),
        (SpatialSoftmaxCrossentropy(), "mask"),
        (CoordinateLoss(), "mask"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_loss_trains_every_weight_in_bfloat16(loss, missing):
    model = small_model("mixed_bfloat16", learnable=False, missing=missing)
    # Losses under XLA are in tests/losses.
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=BACKEND == "jax")
    before = [weight.numpy() for weight in model.network.trainable_weights]
    image, y = dots(2)
    history = model.fit(image, y, epochs=2, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    for weight, old in zip(model.network.trainable_weights, before, strict=True):
        assert np.all(np.isfinite(weight.numpy())), weight.path
        assert np.any(weight.numpy() != old), weight.path
    value = model.compute_loss(None, y, model(image))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"


@pytest.mark.parametrize("jit_compile", JIT)
def test_a_rotated_target_learns_from_the_first_step(jit_compile):
    target = GaussianHeatmap(3, sigma=1.5, learnable=True, form="rotated")
    model = LandmarkModel(small_model().network, target, sigma_penalty=0.1)
    model.compile(
        keras.optimizers.Adam(1e-2), HeatmapSquaredError(), jit_compile=jit_compile
    )
    before = [target.sigma.numpy(), target.rotation.numpy()]
    image, y = dots(2)
    model.fit(image, y, verbose=0)
    for weight, old in zip((target.sigma, target.rotation), before, strict=True):
        assert np.all(np.isfinite(weight.numpy()))
        assert np.all(weight.numpy() != old)


# --- Files ---


def trained(tmp_path):
    model = small_model(
        sigma_penalty=0.1, weight_decay=1e-4, missing="zero", presence_threshold=0.0
    )
    model.compile(
        keras.optimizers.Adam(1e-2),
        HeatmapSquaredError("sum"),
        metrics=[PointError(), SuccessDetectionRate(1.5)],
    )
    image, y = dots(2)
    model.fit(image, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    return model, image, y


def test_saved_and_loaded_it_goes_on_where_it_was(tmp_path):
    model, image, y = trained(tmp_path)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is LandmarkModel
    assert type(loaded.network) is SpatialConfigurationNet
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    assert (loaded.sigma_penalty, loaded.weight_decay) == (0.1, 1e-4)
    assert (loaded.missing, loaded.presence_threshold) == ("zero", 0.0)
    assert loaded.loss.form == "sum"
    assert loaded.optimizer.iterations.numpy() == 2
    for of_loaded, of_model in zip(
        [*loaded.weights, *loaded.optimizer.variables],
        [*model.weights, *model.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(of_loaded.numpy(), of_model.numpy())
    np.testing.assert_array_equal(
        loaded.predict(image, verbose=0), model.predict(image, verbose=0)
    )
    sigma = model.target.sigma.numpy()
    assert np.all(sigma != 1.5)
    np.testing.assert_array_equal(loaded.target.sigma.numpy(), sigma)

    expected, found = (m.fit(image, y, verbose=0).history for m in (model, loaded))
    assert sorted(expected) == sorted(found) == ["loss", "point_error", "sdr_1_5"]
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-5)
    for of_loaded, of_model in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_allclose(
            of_loaded.numpy(), of_model.numpy(), rtol=1e-4, atol=1e-6
        )


def test_the_localizer_leaves_no_trace_in_a_file(tmp_path):
    model, image, _ = trained(tmp_path)
    expected = model.localizer.predict(image, verbose=0)
    model.save(tmp_path / "again.keras")
    loaded = keras.models.load_model(tmp_path / "again.keras")
    assert loaded.count_params() == model.count_params()
    assert len(loaded.weights) == len(model.weights)
    found = loaded.localizer.predict(image, verbose=0)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


def test_loads_in_a_new_process(tmp_path):
    model, image, y = trained(tmp_path)
    np.savez(tmp_path / "data.npz", image=image, **y)
    code = """
import sys
import keras
import numpy as np
import scn_keras.models

folder = sys.argv[1]
model = keras.models.load_model(f"{folder}/model.keras")
data = dict(np.load(f"{folder}/data.npz"))
image = data.pop("image")
print(model.optimizer.iterations.numpy(), model.evaluate(image, data, verbose=0)[0])
np.save(f"{folder}/points.npy", model.localizer.predict(image, verbose=0)["points"])
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    iterations, loss = result.stdout.split()
    assert iterations == "2"
    assert float(loss) == pytest.approx(
        model.evaluate(image, y, verbose=0)[0], rel=1e-4
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "points.npy"),
        model.localizer.predict(image, verbose=0)["points"],
        atol=1e-3,
    )


# --- Errors ---


def test_wrong_labels_are_refused():
    model = identity_model(3)
    image = noise(2, *SIZE, 3)
    for y, words in (
        (POINTS.astype("float32"), "must be a dict with `points`"),
        ({"points": POINTS.astype("float32")}, r"`affine`.*Received: \['points'\]"),
    ):
        with pytest.raises(ValueError, match=words):
            model.evaluate(image, y, verbose=0)


def test_unlike_numbers_of_landmarks_are_refused():
    image = keras.Input((*SIZE, 3))
    network = keras.Model(image, keras.layers.Activation("linear")(image))
    with pytest.raises(ValueError, match="3 landmarks, target.num_landmarks=4"):
        LandmarkModel(network, GaussianHeatmap(4))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": np.zeros((2, 4, 2))}, r"`points`.*\(batch, 3, 2\).*\(2, 4, 2\)"),
        ({"points": np.zeros((2, 3, 3))}, r"`points`.*\(batch, 3, 2\).*\(2, 3, 3\)"),
        ({"points": np.zeros((2, 3))}, r"`points`.*\(batch, 3, 2\).*\(2, 3\)"),
        ({"affine": np.zeros((2, 4, 4))}, r"`affine`.*\(batch, 3, 3\).*\(2, 4, 4\)"),
    ],
)
def test_labels_of_other_shapes_are_refused(change, words):
    model = identity_model(3)
    change = {name: value.astype("float32") for name, value in change.items()}
    with pytest.raises(ValueError, match=words):
        model.compute_loss(None, {**labels(POINTS), **change}, noise(2, *SIZE, 3))


def test_what_does_not_go_together_is_refused():
    network = identity_model(3).network
    with pytest.raises(ValueError, match="`missing` must be one of.*'drop'"):
        LandmarkModel(network, missing="drop")
    for threshold in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="`presence_threshold` must be a score"):
            LandmarkModel(network, presence_threshold=threshold)
    heatmaps = noise(2, *SIZE, 3)
    model = LandmarkModel(network, missing="zero")
    model.compile(loss=CoordinateLoss())
    with pytest.raises(ValueError, match="`coordinate_loss`.*missing='zero'"):
        model.compute_loss(None, labels(POINTS), heatmaps)
    model = LandmarkModel(network, GaussianHeatmap(3, gamma=100.0))
    for loss in (AdaptiveWing(), HeatmapBinaryCrossentropy()):
        model.compile(loss=loss)
        with pytest.raises(ValueError, match="targets of height 1.*gamma=100.0"):
            model.compute_loss(None, labels(POINTS), heatmaps)


def test_an_image_that_is_not_finite_makes_a_loss_that_is_not():
    model = pixelwise_model()
    image = noise(2, *SIZE, 2)
    image[1, 3, 4, 0] = NAN
    stop = keras.callbacks.TerminateOnNaN()
    history = model.fit(
        image, labels(POINTS), batch_size=2, epochs=5, callbacks=[stop], verbose=0
    ).history
    assert len(history["loss"]) == 1 and np.isnan(history["loss"][0])
