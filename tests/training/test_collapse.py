"""Collapses are recognised, and the training goes on from its last good state."""

import dataclasses
import json
import types

import keras
import numpy as np
import pytest

from scn_keras.layers import SpatialConfiguration
from scn_keras.models import with_spatial_configuration
from scn_keras.optimizers import NormalizedGradient, ScaledSchedule
from scn_keras.training import collapse
from scn_keras.training.collapse import CollapseCheck, read_recoveries
from scn_keras.training.fit import fit
from scn_keras.training.recipe_settings import Optimizer
from scn_keras.training.run import Run
from tests.training.dots import Interruption
from tests.training.test_fit import assert_same_run, rows


def rate(run):
    """The inner optimiser of the last checkpoint, and its learning rate at the end."""
    optimizer = keras.models.load_model(run.checkpoint).optimizer
    return optimizer, float(keras.ops.convert_to_numpy(optimizer.learning_rate))


class Ruin(keras.callbacks.Callback):
    """Saturates the spatial configuration after some steps, once."""

    def __init__(self, step):
        super().__init__()
        self.steps, self.left = step, 1

    def on_train_batch_end(self, batch, logs=None):
        if self.left and int(self.model.optimizer.iterations) == self.steps:
            self.left = 0
            layer = self.model.network.get_layer("spatial_configuration")
            layer.head.bias.assign(np.full(layer.head.bias.shape, 9.0))


def constant(recipe):
    optimizer = Optimizer(learning_rate=1e-3, schedule="constant")
    return dataclasses.replace(recipe, optimizer=optimizer)


@pytest.fixture(scope="module")
def recovered(recipe, dots_dir, tmp_path_factory):
    """A run that collapsed in the second of three epochs."""
    path = tmp_path_factory.mktemp("runs") / "recovered"
    return fit(constant(recipe), path, dots_dir, callbacks=[Ruin(3)])


def test_a_collapse_is_undone_at_half_the_rate_and_recorded(recovered):
    (recovery,) = read_recoveries(recovered.path)
    assert (recovery.step, recovery.back_to, recovery.factor) == (4, 2, 0.5)
    assert "of the spatial configuration heatmaps are saturated" in recovery.reason
    assert recovery.history["step"] == 4
    assert [row["step"] for row in rows(recovered)] == ["2", "4", "6"]
    assert [row["recoveries"] for row in rows(recovered)] == ["0", "1", "1"]
    assert rate(recovered)[1] == pytest.approx(5e-4)
    model = recovered.load_model()
    assert np.abs(model.network.get_layer("spatial_configuration").head.bias).max() < 1


def test_the_epoch_after_the_collapse_is_one_at_half_the_rate(
    recipe, dots_dir, recovered, tmp_path
):
    # By hand: two steps at the full rate, then a run that continues at half of it.
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise Interruption

    with pytest.raises(Interruption):
        fit(constant(recipe), tmp_path / "run", dots_dir, callbacks=[Stop()])
    file = tmp_path / "run" / "checkpoints" / "last.keras"
    model = keras.models.load_model(file)
    model.optimizer.learning_rate = 5e-4
    model.save(file)
    by_hand = fit(constant(recipe), tmp_path / "run", dots_dir, resume=True)
    for a, b in zip(
        by_hand.load_model().get_weights(),
        recovered.load_model().get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_an_interruption_after_the_recovery_changes_nothing(
    recipe, dots_dir, recovered, tmp_path
):
    class Stop(keras.callbacks.Callback):
        """Ends the process in the first step after the recovery."""

        def on_train_batch_end(self, batch, logs=None):
            if read_recoveries(tmp_path / "run"):
                raise Interruption

    with pytest.raises(Interruption):
        fit(constant(recipe), tmp_path / "run", dots_dir, callbacks=[Ruin(3), Stop()])
    run = fit(constant(recipe), tmp_path / "run", dots_dir, resume=True)
    assert_same_run(run, recovered)


def test_a_collapse_in_the_first_epoch_restarts_with_a_scaled_schedule(
    recipe, dots_dir, tmp_path
):
    optimizer = Optimizer(learning_rate=1e-3, clip_norm="unit")
    recipe = dataclasses.replace(recipe, optimizer=optimizer)
    run = fit(recipe, tmp_path / "run", dots_dir, callbacks=[Ruin(1)])
    (recovery,) = read_recoveries(run.path)
    assert (recovery.step, recovery.back_to) == (2, 0)
    optimizer, _ = rate(run)
    assert isinstance(optimizer, NormalizedGradient)
    schedule = optimizer.inner_optimizer._learning_rate
    assert isinstance(schedule, ScaledSchedule) and schedule.factor == 0.5
    assert [row["recoveries"] for row in rows(run)] == ["1", "1", "1"]


def test_a_loss_that_is_never_finite_ends_the_training(recipe, dots_dir, tmp_path):
    recipe = dataclasses.replace(recipe, optimizer=Optimizer(learning_rate=1e30))
    with pytest.raises(RuntimeError, match="collapsed 6 times.*loss is (nan|inf)"):
        fit(recipe, tmp_path / "run", dots_dir)
    recoveries = read_recoveries(tmp_path / "run")
    assert [r.factor for r in recoveries] == [0.5, 0.25, 0.125, 0.0625, 0.03125]
    # NaN is not JSON.
    text = (tmp_path / "run" / collapse.RECOVERIES_FILE).read_text()
    json.loads(text, parse_constant=pytest.fail)
    with pytest.raises(FileNotFoundError, match="no trained model"):
        Run(tmp_path / "run").load_model()


def fake(errors):
    """A model whose points are off by the next of these distances, in x."""
    distances = iter(errors)

    def predict_on_batch(images):
        return {"points": np.array([[[10.0 + fake.distance, 5.0]]])}

    def advance():
        fake.distance = next(distances)

    network = types.SimpleNamespace(layers=[])
    localizer = types.SimpleNamespace(predict_on_batch=predict_on_batch)
    return types.SimpleNamespace(network=network, localizer=localizer), advance


@pytest.mark.parametrize(
    "errors, found",
    [
        # The grid has a mean side of 80 pixels: an eighth are 10.
        ([60.0, 30.0, 20.0, 40.0], [False] * 4),  # never good enough, not 2.5 times
        ([60.0, 4.0, 9.9], [False] * 3),  # not useless
        ([60.0, 4.0, 10.1], [False, False, True]),
        ([4.0, 60.0, 4.0, 60.0], [False, True, False, True]),
        ([6.0, 14.9, 15.1], [False, False, True]),  # 2.5 times the best
        ([np.nan, 40.0], [False, False]),  # a point that is not found is at 40
        ([4.0, np.nan], [False, True]),
    ],
)
def test_when_points_are_those_of_a_collapsed_network(errors, found):
    images = np.zeros((1, 100, 60, 1), "float32")
    batches = [(images, {"points": np.array([[[10.0, 5.0]]], "float32")})]
    model, advance = fake(errors)
    check = CollapseCheck(lambda: batches)
    for expected in found:
        advance()
        assert (check.reason(model, 1.0) is not None) == expected


def test_a_restored_model_is_what_later_epochs_are_compared_with():
    images = np.zeros((1, 100, 60, 1), "float32")
    batches = [(images, {"points": np.array([[[10.0, 5.0]]], "float32")})]
    model, advance = fake([4.0, 60.0, 3.0])
    check = CollapseCheck(lambda: batches)
    advance()
    check.begin(model)
    advance()
    assert "60 pixels of the grid from the true ones, after 4" in check.reason(
        model, 1.0
    )
    advance()
    check.begin(model)  # once only
    assert check.best == 4.0


def test_images_without_points_are_never_a_collapse():
    images = np.zeros((1, 100, 60, 1), "float32")
    batches = [(images, {"points": np.full((1, 1, 2), np.nan, "float32")})]
    model, advance = fake([4.0, 60.0])
    check = CollapseCheck(lambda: batches)
    for _ in range(2):
        advance()
        assert check.reason(model, 1.0) is None
    assert "the loss is nan" in check.reason(model, float("nan"))


def test_landmarks_that_stay_useless_are_named():
    images = np.zeros((2, 100, 60, 1), "float32")
    # The second landmark is 11 px off on average; the third is in no image.
    true = np.array([[[10, 5], [30, 5], [np.nan] * 2]] * 2, "float32")
    found = true + np.array([[[3, 4], [0, 2], [0, 0]], [[0, 0], [20, 0], [0, 0]]])
    answers = iter(np.nan_to_num(found, nan=0.0))
    localizer = types.SimpleNamespace(
        predict_on_batch=lambda images: {"points": next(answers)[None]}
    )
    network = types.SimpleNamespace(layers=[])
    check = CollapseCheck(lambda: [(images, {"points": true})])
    assert check.useless == []
    model = types.SimpleNamespace(network=network, localizer=localizer)
    assert check.reason(model, 1.0) is None
    assert check.useless == [1]
    assert check.best == pytest.approx((5 + 2 + 0 + 20) / 4)


def test_the_layer_of_two_networks_is_looked_at_in_the_right_one():
    layer = SpatialConfiguration(filters=4, kernel_size=3, factor=4)
    networks = []
    for filters in (2, 3):
        image = keras.Input((8, 12, 1))
        x = keras.layers.Conv2D(filters, 3, padding="same")(image)
        features = keras.Model(image, x)
        networks.append(with_spatial_configuration(features, 3, layer))
    for network in networks:
        heatmaps = collapse._spatial_heatmaps(network)
        assert len(heatmaps.weights) == len(network.weights)
