"""Contracts of Keras beyond one device and `fit`."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import scn_keras

BACKEND = keras.backend.backend()


def images_and_points(count=4, size=16, landmarks=3):
    random = np.random.default_rng(0)
    images = random.normal(size=(count, size, size, 1)).astype("float32")
    points = random.uniform(2, size - 2, (count, landmarks, 2)).astype("float32")
    return images, {
        "points": points,
        "affine": np.tile(np.eye(3, dtype="float32"), (count, 1, 1)),
    }


def tiny_model(**kwargs):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 16, 1))
    outputs = keras.layers.Conv2D(3, 3, padding="same", name="convolution")(inputs)
    return scn_keras.models.LandmarkModel(keras.Model(inputs, outputs), **kwargs)


# By hand: smaller errors and counts of outliers are better, larger rates.
@pytest.mark.parametrize(
    ("metric", "operation"),
    [
        (scn_keras.metrics.PointError(), "less"),
        (scn_keras.metrics.PointError(landmark=1), "less"),
        (scn_keras.metrics.ImagePointError(), "less"),
        (scn_keras.metrics.PointErrorDeviation(), "less"),
        (scn_keras.metrics.PointErrorPercentile(95), "less"),
        (scn_keras.metrics.OutlierCount(2), "less"),
        (scn_keras.metrics.SuccessDetectionRate(2), "greater"),
        (scn_keras.metrics.IdentificationRate(), "greater"),
        (scn_keras.metrics.PresencePrecision(), "greater"),
        (scn_keras.metrics.PresenceRecall(), "greater"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_callbacks_know_which_values_are_better(metric, operation):
    model = tiny_model()
    model.compile("sgd", scn_keras.losses.HeatmapSquaredError(), metrics=[metric])
    images, y = images_and_points()
    callback = keras.callbacks.EarlyStopping(f"val_{metric.name}")
    model.fit(images, y, validation_data=(images, y), verbose=0, callbacks=[callback])
    assert callback.monitor_op is getattr(keras.ops, operation)


@pytest.mark.parametrize(
    ("loss", "received"),
    [
        ("mse", r"'mse' .*Received: shape=\(2, 16, 16\) for 2 images and 3 landmarks"),
        (keras.losses.MeanSquaredError(), r"'MeanSquaredError' .*\(2, 16, 16\)"),
        (["mse"], "Received: several losses"),
    ],
)
def test_losses_without_a_value_for_each_landmark_are_refused(loss, received):
    model = tiny_model()
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=received):
        model.fit(*images_and_points(), verbose=0)


def test_losses_of_the_package_are_taken():
    for loss in (
        scn_keras.losses.HeatmapSquaredError("sum"),
        *(scn_keras.losses.AdaptiveWing(), scn_keras.losses.CoordinateLoss()),
        *(scn_keras.losses.HeatmapBinaryCrossentropy(True),),
        scn_keras.losses.SpatialSoftmaxCrossentropy(),
    ):
        model = tiny_model()
        model.compile("sgd", loss)
        history = model.fit(*images_and_points(), verbose=0)
        assert np.isfinite(history.history["loss"]).all()


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch exports to ONNX only")
@pytest.mark.filterwarnings("ignore:The `native_serialization`:DeprecationWarning")
@pytest.mark.parametrize("which", ["model", "localizer"])
def test_export(tmp_path, which):
    tf = pytest.importorskip("tensorflow")
    if (BACKEND, which) == ("jax", "localizer"):
        pytest.skip("TensorFlow reads older StableHLO than JAX writes for `top_k`")
    model = tiny_model()
    images, _ = images_and_points()
    exported = model if which == "model" else model.localizer
    exported.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    found = loaded.serve(images)
    expected = exported.predict(images, verbose=0)
    tree = keras.tree.map_structure(np.asarray, found)
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        tree,
        keras.tree.map_structure(np.asarray, expected),
    )


TWO_DEVICES = """
import sys
import keras, numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
sys.path.insert(0, {root!r})
import scn_keras
from tests.models.test_keras_contract import images_and_points, tiny_model

def train(scope, form):
    with scope:
        target = scn_keras.layers.GaussianHeatmap(3, sigma=2.5, learnable=True)
        model = tiny_model(target=target, sigma_penalty=20.0, weight_decay=0.3)
        loss = scn_keras.losses.HeatmapSquaredError(form)
        model.compile(keras.optimizers.SGD(1e-3), loss)
    images, y = images_and_points(8)
    history = model.fit(images, y, batch_size=8, shuffle=False, verbose=0)
    return [np.array(history.history["loss"])] + model.get_weights()

import contextlib
for form in ("sum", "mean"):
    single = train(contextlib.nullcontext(), form)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    both = train(strategy.scope(), form)
    for a, b in zip(single, both, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
print("same")
"""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="A strategy of TensorFlow")
def test_two_replicas_take_the_step_of_one_device():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES.format(root=root)],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("same\n"), done.stderr[-2000:]
