import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import GaussianHeatmap, HeatmapPeak, LocalRefinement, PatchVote
from scn_keras.losses import HeatmapSquaredError, PatchLoss
from scn_keras.metrics import PointError
from scn_keras.models import (
    GlobalNet,
    GlobalToLocalNet,
    LandmarkEnsemble,
    LandmarkModel,
    LocalizationUNet,
    SpatialConfigurationNet,
)
from tests.gradients import weight_gradients

BACKEND = keras.backend.backend()
NAN = np.nan
SIZES = {2: (32, 24), 3: (16, 24, 16)}


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def labels(points, affine=None):
    rank = np.shape(points)[-1]
    affine = np.eye(rank + 1) if affine is None else affine
    shape = (len(points), rank + 1, rank + 1)
    return {
        "points": np.asarray(points, "float32"),
        "affine": np.broadcast_to(affine, shape).astype("float32"),
    }


def global_net(rank=2, landmarks=2, filters=2, blocks=(1,), reductions=2):
    shape = (*SIZES[rank], 1)
    return GlobalNet(landmarks, shape, filters, blocks, reductions)


def small_local(landmarks=2, **options):
    options = {"size": 8, "filters": 2, "convolutions": 1, **options}
    return LocalRefinement(landmarks, **options)


def compiled(model, rate=1e-2):
    model.compile(
        keras.optimizers.Adam(rate),
        PatchLoss(20.0),
        metrics=[PointError()],
        jit_compile=BACKEND == "jax",
    )
    return model


def numpy(outputs):
    return {name: ops.convert_to_numpy(value) for name, value in outputs.items()}


@pytest.fixture(scope="module")
def dots():
    """Eight images of a wide and a narrow dot; the wide one is missing in the last."""
    random = np.random.default_rng(0)
    points = random.uniform(3.0, 20.0, (8, 2, 2)).astype("float32")
    y, x = np.mgrid[:32, :24]
    images = np.zeros((8, 32, 24, 1), "float32")
    for image, place in zip(images, points, strict=True):
        for (px, py), sigma in zip(place, (3.0, 1.2), strict=True):
            squared = (x - px) ** 2 + (y - py) ** 2
            image[..., 0] += np.exp(-squared / (2.0 * sigma**2))
    points[-1, 0] = NAN
    return images, points


@pytest.fixture(scope="module")
def trained(dots):
    """A model that has seen the dots a hundred times, and what its loss was."""
    keras.utils.set_random_seed(0)
    network = global_net(filters=8, blocks=(1, 1))
    model = GlobalToLocalNet(network, small_local(filters=8, convolutions=2))
    images, points = dots
    y = labels(points, np.diag([0.5, 0.5, 1.0]))
    history = compiled(model).fit(
        images,
        y,
        batch_size=8,
        epochs=100,
        validation_data=(images, y),
        validation_freq=100,
        verbose=0,
    )
    return model, history.history


def errors(points, true):
    return np.linalg.norm(points - true, axis=-1)


def test_both_stages_learn_where_the_landmarks_are(trained, dots):
    model, history = trained
    images, points = dots
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    found = model.localizer.predict(images, verbose=0)
    first = LandmarkModel(model.network).localizer.predict(images, verbose=0)
    present = ~np.isnan(points[..., 0])
    local = errors(found["points"], points)[present]
    alone = errors(first["points"], points)[present]
    assert alone.mean() < 2.5
    assert local.mean() < 1.0
    # Wherever the first stage looks; a sub-image that has learned nothing says its
    # middle, as far off as before.
    for way in ([2.0, 0.0], [0.0, -2.0], [-1.5, 1.5]):
        away = np.nan_to_num(points) + np.array(way, "float32")
        again = ops.convert_to_numpy(model.local(images, away)["points"])
        assert errors(again, points)[present].mean() < 1.0
    # Metrics are of the points, in millimetres.
    expected = 0.5 * local.mean()
    assert history["val_point_error"][-1] == pytest.approx(expected, rel=1e-3)


def test_localizer_gives_what_a_call_gives(trained, dots):
    model, images = trained[0], dots[0]
    outputs, found = numpy(model(images)), numpy(model.localizer(images))
    assert set(found) == {"points", "score", "covariance"}
    for name, value in found.items():
        np.testing.assert_array_equal(value, outputs[name])
    first = numpy(LandmarkModel(model.network).localizer(images))
    votes = numpy(PatchVote(2)(outputs["votes"]))
    np.testing.assert_allclose(found["score"], first["score"] * votes["score"])
    np.testing.assert_allclose(found["covariance"], votes["covariance"], atol=1e-4)
    np.testing.assert_allclose(
        found["points"], outputs["origin"] + votes["points"], atol=1e-4
    )
    # Each sub-image has the pixel of the first stage's point in the middle.
    middle = np.floor(first["points"] + 0.5) - 4
    np.testing.assert_array_equal(outputs["origin"], middle)


def test_saved_and_loaded_it_goes_on_where_it_was(trained, dots, tmp_path):
    images, points = dots
    model = trained[0]
    model.save(tmp_path / "model.keras")
    loaded = [keras.models.load_model(tmp_path / "model.keras") for _ in range(2)]
    assert type(loaded[0]) is GlobalToLocalNet
    for part in ("network", "local", "target", "peak"):
        read, written = getattr(loaded[0], part), getattr(model, part)
        assert read.get_config() == written.get_config()
    found = numpy(model.localizer(images))
    for name, value in numpy(loaded[0].localizer(images)).items():
        np.testing.assert_array_equal(value, found[name])
    # Sub-images of the next step are drawn as they would have been.
    places = [
        numpy(m.local(images, np.nan_to_num(points), training=True))["origin"]
        for m in (*loaded, loaded[0])
    ]
    np.testing.assert_array_equal(places[0], places[1])
    assert np.any(places[0] != places[2])


@pytest.mark.parametrize("rank", [2, 3])
def test_missing_landmarks_carry_no_gradient(rank):
    model = compiled(GlobalToLocalNet(global_net(rank), small_local()))
    image = noise(2, *SIZES[rank], 1)
    points = np.full((2, 2, rank), 9.0, "float32")
    points[:, 1] = NAN
    points[1, 1] = -50.0  # outside of the image, where no local network looks

    def loss(training):
        def of_weights():
            y_pred = model(image, training=training)
            return model.compute_loss(image, labels(points), y_pred, None, training)

        return of_weights

    local, head = model.local.trainable_weights, model.network.get_layer("displacement")
    for training in (True, False):
        slopes = weight_gradients(loss(training), [*local, head.kernel])
        assert all(np.isfinite(slope).all() for slope in slopes)
        for slope in slopes[:-1]:
            assert np.any(slope[0] != 0.0)
            np.testing.assert_array_equal(slope[1], 0.0)
        assert np.all(np.any(slopes[-1] != 0.0, axis=-2)[..., :rank])
    points[1, 1] = NAN
    slope = weight_gradients(loss(True), [head.kernel])[0]
    np.testing.assert_array_equal(slope[..., rank:], 0.0)


def test_no_gradient_goes_from_one_stage_to_the_other():
    network = global_net()
    points = np.full((2, 2, 2), 9.0, "float32")
    points[0, 1] = 17.3
    image, weights = noise(2, *SIZES[2], 1), network.trainable_weights

    def slopes(model):
        def loss():
            y_pred = model(image, training=False)
            return model.compute_loss(image, labels(points), y_pred, None, True)

        return weight_gradients(loss, weights)

    alone = slopes(compiled(LandmarkModel(network)))
    both = slopes(compiled(GlobalToLocalNet(network, small_local())))
    for one, other in zip(alone, both, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6 + 1e-5 * np.abs(one).max())


def test_a_frozen_network_leaves_the_local_ones_to_train(dots):
    images, points = dots
    model = GlobalToLocalNet(global_net(), small_local())
    model.network.trainable = False
    compiled(model)
    before = [ops.convert_to_numpy(w) for w in model.network.weights]
    kernel = ops.convert_to_numpy(model.local.fine[0].kernel)
    model.fit(images, labels(points), batch_size=4, verbose=0)
    for old, new in zip(before, model.network.weights, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(new))
    assert np.any(kernel != ops.convert_to_numpy(model.local.fine[0].kernel))


def test_coarse_heatmaps_are_refined_on_the_image():
    """The heatmap's peak says where to look, in pixels of the image."""
    network = LocalizationUNet(2, (32, 24, 1), 2, levels=2, stride=4)
    model = GlobalToLocalNet(
        network,
        small_local(),
        GaussianHeatmap(2, 1.5, learnable=True),
        HeatmapPeak("log_parabola"),
        sigma_penalty=1.0,
        weight_decay=1e-3,
        missing="zero",
        presence_threshold=0.5,
    )
    model.compile("adam", HeatmapSquaredError(), metrics=[PointError()])
    image, points = noise(2, 32, 24, 1), np.full((2, 2, 2), 9.0, "float32")
    points[0, 1] = NAN
    outputs = numpy(model(image))
    assert outputs["outputs"].shape == (2, 8, 6, 2)
    peaks = numpy(LandmarkModel(network, model.target, model.peak).localizer(image))
    middle = np.floor(peaks["points"] + 0.5) - 4
    np.testing.assert_array_equal(outputs["origin"], middle)
    result = model.evaluate(image, labels(points), verbose=0, return_dict=True)
    assert np.isfinite(result["loss"])


def test_a_lost_landmark_is_lost():
    model = GlobalToLocalNet(global_net(), small_local())
    image = noise(2, *SIZES[2], 1)
    image[1, 3, 3] = NAN
    found = numpy(model.localizer(image))
    assert np.isfinite(found["points"][0]).all()
    assert np.isnan(found["points"][1]).all()
    np.testing.assert_array_equal(found["score"][1], 0.0)


def test_an_ensemble_pools_the_votes_of_both_stages(trained, dots):
    model, images = trained[0], dots[0]
    one = numpy(model.localizer(images))
    same = numpy(LandmarkEnsemble([model, model]).localizer(images))
    for name, value in one.items():
        np.testing.assert_allclose(same[name], value, rtol=1e-3, atol=5e-3)
    keras.utils.set_random_seed(1)
    other = GlobalToLocalNet(
        global_net(filters=8, blocks=(1, 1)), small_local(filters=8, convolutions=2)
    )
    ensemble = LandmarkEnsemble([model, other])
    mixed = numpy(ensemble.localizer(images))
    # Votes for places, weighted with their probabilities, of all patches of both.
    places, weights = [], []
    for member in (model, other):
        votes = ops.convert_to_numpy(member.network(images)).astype("float64")
        p = 1.0 / (1.0 + np.exp(-votes[..., 0]))
        rows, columns = np.mgrid[:8, :6] * 4.0 + 1.5
        centre = np.stack([columns, rows], axis=-1)[None, :, :, None]
        away = np.sign(votes[..., 1:]) * (10.0 ** np.abs(votes[..., 1:]) - 1.0)
        places.append((centre + away).reshape(8, 48, 2, 2))
        weights.append(p.reshape(8, 48, 2, 1))
    places, weights = np.concatenate(places, 1), np.concatenate(weights, 1)
    expected = np.sum(weights * places, axis=1) / np.sum(weights, axis=1)
    pooled = ops.convert_to_numpy(ensemble.peak(ensemble(images))["points"])
    np.testing.assert_allclose(pooled, expected, rtol=1e-3, atol=1e-2)
    assert np.isfinite(mixed["points"]).all()
    assert np.all(mixed["score"] <= 1.0)
    eigenvalues = np.linalg.eigvalsh(mixed["covariance"])
    assert np.all(eigenvalues > -1e-3)
    with pytest.raises(ValueError, match="1 of 2 with local networks"):
        LandmarkEnsemble([model, LandmarkModel(other.network)])


def test_the_scn_is_a_first_stage_as_well():
    network = SpatialConfigurationNet(
        2, (None, None, 1), 2, 2, spatial_kernel_size=3, spatial_factor=4, stride=2
    )
    model = GlobalToLocalNet(network, small_local())
    found = model.localizer.predict(noise(1, 32, 48, 1), verbose=0)
    assert found["points"].shape == (1, 2, 2)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match=r"2 landmarks.*local.num_landmarks=3"):
        GlobalToLocalNet(global_net(), small_local(3))
    unet = LocalizationUNet(2, (16, 16, 1), 2, levels=2)
    with pytest.raises(ValueError, match=r"peak.num_peaks=2"):
        GlobalToLocalNet(unet, small_local(), peak=HeatmapPeak(num_peaks=2))
    with pytest.raises(ValueError, match="`HeatmapPeak`.*peak=<PatchVote"):
        LandmarkModel(unet, peak=PatchVote(8))
    with pytest.raises(ValueError, match="`sigma_penalty`.*sigma_penalty=1.0"):
        LandmarkModel(global_net(), sigma_penalty=1.0)
    model = LandmarkModel(global_net())
    model.compile(loss=HeatmapSquaredError())
    points = np.full((2, 2, 2), 9.0, "float32")
    with pytest.raises(ValueError, match="`PatchLoss`.*loss=.*HeatmapSquaredError"):
        model.evaluate(noise(2, *SIZES[2], 1), labels(points), verbose=0)
