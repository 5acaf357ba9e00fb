"""`GlobalToLocalNet` with `PyramidRefinement`, and with a frozen global network."""

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import GaussianHeatmap, LocalRefinement, PyramidRefinement
from scn_keras.losses import HeatmapSquaredError
from scn_keras.metrics import PointError
from scn_keras.models import GlobalToLocalNet, LandmarkEnsemble, LocalizationUNet
from scn_keras.models._glimpse_loss import GlimpseLoss
from tests.gradients import weight_gradients

BACKEND = keras.backend.backend()
NAN = np.nan
SIZES = {2: (32, 24), 3: (16, 24, 16)}


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def labels(points):
    rank = np.shape(points)[-1]
    affine = np.broadcast_to(np.eye(rank + 1), (len(points), rank + 1, rank + 1))
    return {"points": np.asarray(points, "float32"), "affine": affine.astype("float32")}


def pyramid(landmarks=2, **options):
    options = {"size": 8, "scales": 2, "filters": 2, "convolutions": 2, **options}
    return PyramidRefinement(landmarks, **options)


def two_stages(rank=2, local=None, **options):
    network = LocalizationUNet(2, (*SIZES[rank], 1), 2, levels=2)
    target = GaussianHeatmap(2, 2.0, learnable=True)
    return GlobalToLocalNet(network, local or pyramid(), target, **options)


def compiled(model, rate=1e-2):
    model.compile(
        keras.optimizers.Adam(rate),
        HeatmapSquaredError(),
        metrics=[PointError()],
        jit_compile=BACKEND == "jax",
    )
    return model


def numpy(outputs):
    return {name: ops.convert_to_numpy(value) for name, value in outputs.items()}


# --- The loss ---


def test_the_loss_is_distance_and_cross_entropy():
    """Of 4 x 4 cells at -3, -1, 1 and 3 pixels, by hand."""
    logits = noise(1, 4, 4, 2)
    truth = np.array([[[0.7, -2.2], [-9.0, 1.0]]], "float32")
    found = ops.convert_to_numpy(GlimpseLoss().call(truth, logits))
    places = [-3.0, -1.0, 1.0, 3.0]
    y, x = np.meshgrid(places, places, indexing="ij")
    for n, (tx, ty) in enumerate([(0.7, -2.2), (-3.0, 1.0)]):  # the nearest cell
        p = np.exp(logits[0, ..., n].astype("float64"))
        p /= p.sum()
        t = np.exp(-((x - tx) ** 2 + (y - ty) ** 2) / (2 * 3.0**2))
        t /= t.sum()
        distance = np.hypot((p * x).sum() - tx, (p * y).sum() - ty)
        expected = distance - (t * np.log(p)).sum()
        assert found[0, n] == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("rank", [2, 3])
def test_missing_landmarks_carry_no_gradient(rank):
    model = compiled(two_stages(rank))
    image, points = noise(2, *SIZES[rank], 1), np.full((2, 2, rank), 9.0, "float32")
    points[:, 1] = NAN
    points[1, 1] = -50.0
    network = model.local._network

    def loss():
        y_pred = model(image, training=True)
        return model.compute_loss(image, labels(points), y_pred, None, True)

    slopes = weight_gradients(loss, model.local.trainable_weights)
    assert all(np.isfinite(slope).all() for slope in slopes)
    kernel = [w is network.kernel for w in model.local.trainable_weights].index(True)
    assert np.any(slopes[kernel][0] != 0.0)
    np.testing.assert_array_equal(slopes[kernel][1], 0.0)


# --- A frozen network ---


@pytest.mark.parametrize("local", ["pyramid", "patches"])
def test_a_frozen_network_is_neither_trained_nor_computed(local):
    layer = LocalRefinement(2, size=8, filters=2, convolutions=1)
    model = two_stages(
        local=pyramid() if local == "pyramid" else layer,
        frozen=True,
        sigma_penalty=1.0,
        weight_decay=1e-4,
        presence_threshold=0.0,
    )
    calls = []
    call = model.network.call

    def counted(inputs, training=None, **kwargs):
        calls.append(training)
        return call(inputs, training=training, **kwargs)

    model.network.call = counted
    compiled(model)
    images, points = noise(4, *SIZES[2], 1), np.full((4, 2, 2), 9.0, "float32")
    points[0, 1] = NAN
    before = [np.copy(w) for w in model.network.get_weights()]
    sigmas = [np.copy(w) for w in model.target.get_weights()]
    local_before = [np.copy(w) for w in model.local.get_weights()]
    fitted = model.fit(
        images,
        labels(points),
        batch_size=2,
        epochs=2,
        validation_data=(images, labels(points)),
        verbose=0,
    )
    assert calls and not any(calls)  # in validation only
    for old, new in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(sigmas, model.target.get_weights())
    assert any(
        np.any(old != new)
        for old, new in zip(local_before, model.local.get_weights(), strict=True)
    )
    assert np.isfinite(fitted.history["loss"]).all()
    assert np.isfinite(fitted.history["val_loss"]).all()
    assert np.isfinite(fitted.history["val_point_error"]).all()
    assert np.isnan(fitted.history["point_error"]).all()


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model = compiled(two_stages(frozen=True))
    images = noise(2, *SIZES[2], 1)
    model.fit(images, labels(np.full((2, 2, 2), 9.0)), verbose=0)
    model.local._network.kernel.assign(noise(2, 2))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.frozen
    assert len(loaded.trainable_weights) == len(model.local.trainable_weights)
    for weight, twin in zip(
        model.optimizer.variables, loaded.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (weight, twin)))
    assert type(loaded.local) is PyramidRefinement
    expected = numpy(model.localizer(images))
    for name, value in numpy(loaded.localizer(images)).items():
        np.testing.assert_array_equal(value, expected[name])
    # The glimpses of the next step are those of the saved model.
    points = np.full((2, 2, 2), 9.0, "float32")
    centers = [
        ops.convert_to_numpy(m.local(images, points, training=True)["center"])
        for m in (model, loaded)
    ]
    np.testing.assert_array_equal(*centers)


def test_an_ensemble_is_the_mean_of_both():
    first, second = two_stages(), two_stages()
    for number, model in enumerate((first, second)):
        model.local._network.kernel.assign(noise(2, 2) * (number + 1.0))
    images = noise(1, *SIZES[2], 1)
    both = numpy(LandmarkEnsemble([first, second]).localizer(images))
    assert np.isfinite(both["points"]).all()
    alone = numpy(LandmarkEnsemble([first, first]).localizer(images))
    for name, value in numpy(first.localizer(images)).items():
        np.testing.assert_allclose(alone[name], value, rtol=1e-3, atol=5e-3)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="requires a SavedModel")
def test_a_saved_model_gives_the_same_points(tmp_path):
    import tensorflow as tf

    model = two_stages()
    model.local._network.kernel.assign(noise(2, 2))
    images = noise(3, *SIZES[2], 1)
    model.localizer.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    found = loaded.serve(images)
    for name, value in numpy(model.localizer(images)).items():
        np.testing.assert_allclose(found[name], value, atol=1e-4)


# --- Context ---


def twins(count, seed):
    """Two equal dots; a distant bar above or below them tells which is the landmark.

    Returns images, points and the middle between the dots, 5 pixels from either.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    images = 0.05 * random.normal(size=(count, 64, 64, 1)).astype("float32")
    middles = random.uniform(28.0, 36.0, (count, 2))
    sides = random.choice([-1.0, 1.0], count)
    for image, (mx, my), side in zip(images, middles, sides, strict=True):
        for dot in (-5.0, 5.0):
            squared = (x - mx - dot) ** 2 + (y - my) ** 2
            image[..., 0] += np.exp(-squared / (2.0 * 1.5**2))
        image[..., 0] += np.abs(y - my - 18.0 * side) < 4.0
    points = middles + np.stack([5.0 * sides, 0.0 * sides], axis=-1)
    return images, *(p[:, None].astype("float32") for p in (points, middles))


def error_of(local):
    """Trains local networks on twins and returns their mean error, in pixels."""
    keras.utils.set_random_seed(0)
    network = LocalizationUNet(1, (64, 64, 1), 2, levels=2)
    model = compiled(GlobalToLocalNet(network, local, frozen=True), 5e-3)
    images, points, _ = twins(256, 0)
    model.fit(images, labels(points), batch_size=16, epochs=12, verbose=0)
    images, points, middles = twins(64, 1)
    found = ops.convert_to_numpy(local(images, middles)["points"])
    return np.linalg.norm(found - points, axis=-1).mean()


def test_context_tells_which_of_two_equal_structures_is_the_landmark():
    without = error_of(LocalRefinement(1, size=16, filters=8, convolutions=2))
    one = error_of(PyramidRefinement(1, 16, 1, filters=8, jitter=3.0))
    several = error_of(PyramidRefinement(1, 16, 3, filters=8, jitter=3.0))
    # Between the dots, or at either at random: 5 pixels in the mean.
    assert without > 3.5 and one > 3.5
    assert several < 1.0
