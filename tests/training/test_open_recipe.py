"""Recipes of parts that are not of this package."""

import dataclasses
import json
import warnings

import keras
import numpy as np
import pytest

from scn_keras.layers import HeatmapPeak
from scn_keras.optimizers import (
    MovingAverageClip,
    NesterovMomentum,
    NormalizedGradient,
)
from scn_keras.training import Callback, ImageToGrid, Network, Optimizer, Recipe
from scn_keras.training.build import (
    build_network,
    compiled_model,
    make_callbacks,
    make_loss,
    make_optimizer,
)
from scn_keras.training.recipe_settings import Refinement


def plain(num_landmarks, image_shape, width=4, scale=1):
    """A network of two convolutions."""
    image = keras.Input(image_shape)
    x = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(image)
    return keras.Model(image, keras.layers.Conv2D(num_landmarks, 1)(scale * x))


def no_model(num_landmarks, image_shape):
    return "a network"


def one_heatmap_more(num_landmarks, image_shape):
    return plain(num_landmarks + 1, image_shape)


def of_colours(num_landmarks, image_shape):
    return plain(num_landmarks, (*image_shape[:-1], 3))


def coarser_than_it_says(num_landmarks, image_shape):
    image = keras.Input(image_shape)
    return keras.Model(image, keras.layers.Conv2D(num_landmarks, 2, strides=2)(image))


def coarser(num_landmarks, image_shape):
    network = coarser_than_it_says(num_landmarks, image_shape)
    network.heatmap_stride = 2
    return network


class Absolute(keras.losses.Loss):
    def __init__(self, weight=1.0, name="absolute"):
        super().__init__(name=name)
        self.weight = weight

    def call(self, y_true, y_pred):
        return self.weight * keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=(1, 2))

    def get_config(self):
        return {"weight": self.weight, "name": self.name}


class OwnPeak(HeatmapPeak):
    """A peak layer of one's own."""


def recipe(**settings):
    return Recipe(
        name="own",
        dataset="none",
        **{"image_to_grid": ImageToGrid((16, 12)), "network": plain, **settings},
    )


def here(name):
    return f"{__name__}:{name}"


def test_a_network_is_named_and_its_arguments_are_checked():
    made = recipe(network=Network(plain, width=6))
    assert made.network.kind == here("plain")
    assert made.network.arguments == {"width": 6, "scale": 1}
    assert made.network.width == 6
    assert made.override(["network.width=3"]).network.width == 3
    again = Recipe.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    assert build_network(again, 3).output_shape == (None, None, None, 3)
    with pytest.raises(ValueError, match=r"no argument `depth`.*width.*depth=2"):
        Network(plain, depth=2)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (no_model, "must return a keras.Model.*'a network'"),
        (one_heatmap_more, r"3 heatmaps.*output shape=\(None, None, None, 4\)"),
        (of_colours, r"must have an input .*input shape=\(None, None, None, 3\)"),
        (
            coarser_than_it_says,
            r"\(8, 6\).*heatmap_stride.*\(16, 12\).*heatmap_stride=1",
        ),
    ],
)
def test_networks_that_do_not_fit_are_refused(network, message):
    with pytest.raises(ValueError, match=message):
        compiled_model(recipe(network=network), 3)


def test_coarser_heatmaps_are_known_again_after_loading(tmp_path):
    model = compiled_model(recipe(network=coarser), 2)
    image = np.random.default_rng(0).normal(size=(1, 16, 12, 1))
    expected = model.localizer.predict(image, verbose=0)["points"]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert loaded.network.heatmap_stride == 2
    found = loaded.localizer.predict(image, verbose=0)["points"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("nowhere:network", ImportError, "'nowhere' cannot be imported.*network.kind"),
        (here("nothing"), ValueError, "has no 'nothing'.*network.kind"),
        ("Transformer", ValueError, "`network.kind` must be one of.*'Transformer'"),
        (lambda n, s: None, ValueError, "top level of a module.*lambda"),
    ],
)
def test_networks_that_are_not_there_are_named(kind, error, message):
    with pytest.raises(error, match=message):
        Network(kind)


@pytest.mark.parametrize(
    "loss",
    [Absolute, Absolute(weight=2.0), here("Absolute")],
    ids=["class", "instance", "name"],
)
def test_any_loss(loss):
    made = recipe(loss=loss)
    assert made.loss == here("Absolute")
    again = Recipe.from_dict(json.loads(json.dumps(made.to_dict())))
    expected = 2.0 if isinstance(loss, Absolute) else 1.0
    assert make_loss(again).weight == expected
    model = compiled_model(again, 2)
    y = {"points": np.full((1, 2, 2), 5.0), "affine": np.eye(3)[None]}
    assert np.isfinite(model.train_on_batch(np.zeros((1, 16, 12, 1)), y)[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "max"}, "`loss` must be one of sum, mean,.*'max'"),
        ({"loss": "keras:Model"}, "must name a subclass of keras.losses.Loss"),
        ({"loss": "MeanSquaredError"}, r"\(batch, landmarks\).*\(2, 4, 4\)"),
        ({"loss": "sum", "loss_settings": {"power": 2}}, r"loss_settings=.*'power': 2"),
        ({"optimizer": Optimizer("adamx")}, "`optimizer.name` must be.*'adamx'"),
        ({"optimizer": Optimizer(schedule="Step")}, "`optimizer.schedule`.*'Step'"),
        (
            {"optimizer": Optimizer("AdamW", settings={"speed": 1.0})},
            "speed",
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        compiled_model(recipe(**settings), 2)


def test_any_optimiser_and_schedule():
    schedule = {"boundaries": [2, 4], "values": [0.1, 0.01, 0.001]}
    made = Optimizer(
        "AdamW",
        schedule="PiecewiseConstantDecay",
        schedule_settings=schedule,
        settings={"weight_decay": 0.02},
        clip_norm=3.0,
    )
    optimizer = make_optimizer(recipe(optimizer=made))
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.02, 3.0)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 3, 9)]
    np.testing.assert_allclose(rates, [0.1, 0.01, 0.001], rtol=1e-6)
    falling = Optimizer(
        learning_rate=0.4,
        schedule="ExponentialDecay",
        schedule_settings={"decay_steps": 10, "decay_rate": 0.5},
    )
    rate = make_optimizer(recipe(optimizer=falling))._learning_rate
    np.testing.assert_allclose(float(rate(20)), 0.1, rtol=1e-6)
    constant = make_optimizer(recipe(optimizer=Optimizer(schedule="constant")))
    np.testing.assert_allclose(float(constant.learning_rate), 1e-3, rtol=1e-6)


def rates_of(steps, **settings):
    made = recipe(steps=100, optimizer=Optimizer(learning_rate=0.4, **settings))
    assert Recipe.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    rate = make_optimizer(made)._learning_rate
    return [float(rate(step)) for step in steps]


def test_schedules_over_all_steps():
    pieces = {"at": [0.5, 0.75], "factors": [0.5, 0.1]}
    # A rate is used up to and including its last step, as in TensorFlow 1.
    found = rates_of(
        (0, 50, 51, 75, 76, 99), schedule="piecewise", schedule_settings=pieces
    )
    np.testing.assert_allclose(found, [0.4, 0.4, 0.2, 0.2, 0.04, 0.04], rtol=1e-6)
    found = rates_of((0, 50, 100), schedule="exponential", final=0.1)
    np.testing.assert_allclose(found, [0.4, 0.4 * 0.1**0.5, 0.04], rtol=1e-6)


@pytest.mark.parametrize(
    "pieces",
    [
        {},
        {"at": [0.5]},
        {"at": [0.5, 0.4], "factors": [0.5, 0.1]},
        {"at": [0.5], "factors": [0.5, 0.1]},
        {"at": [1.0], "factors": [0.5]},
        {"at": ["half"], "factors": [0.5]},
        {"at": 0.5, "factors": 0.1},
    ],
)
def test_pieces_that_do_not_match(pieces):
    with pytest.raises(ValueError, match="requires `optimizer.schedule_settings` with"):
        Optimizer(schedule="piecewise", schedule_settings=pieces)


def test_nesterov_momentum_of_tensorflow_1():
    made = recipe(optimizer=Optimizer("nesterov", momentum=0.8, clip_norm=3.0))
    assert Recipe.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    optimizer = make_optimizer(made)
    assert type(optimizer) is NesterovMomentum
    assert (optimizer.momentum, optimizer.global_clipnorm) == (0.8, 3.0)
    taken = recipe(optimizer=NesterovMomentum(0.1, momentum=0.7))
    assert make_optimizer(taken).momentum == 0.7


@pytest.mark.parametrize("name", ["adam", "sgd", "AdamW"])
@pytest.mark.parametrize(
    ("clip_norm", "wrapper"),
    [("unit", NormalizedGradient), ("moving_average", MovingAverageClip)],
)
def test_gradients_of_another_norm(name, clip_norm, wrapper):
    settings = [f"optimizer.name={name}", f"optimizer.clip_norm={clip_norm}"]
    made = recipe().override(settings)
    assert made.optimizer == Optimizer(name=name, clip_norm=clip_norm)
    assert Recipe.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    optimizer = make_optimizer(made)
    assert type(optimizer) is wrapper
    assert optimizer.inner_optimizer.global_clipnorm is None
    taken = Optimizer.from_keras(optimizer)
    assert taken.clip_norm == clip_norm
    assert type(make_optimizer(recipe(optimizer=taken))) is wrapper


def test_arguments_of_a_wrapper_are_no_settings_of_a_recipe():
    optimizer = MovingAverageClip(keras.optimizers.SGD(0.1), factor=3.0)
    with pytest.raises(ValueError, match="no settings for the arguments of MovingAv"):
        Optimizer.from_keras(optimizer)


def test_another_word_for_the_norm_is_refused():
    with pytest.raises(
        ValueError, match="'unit', 'moving_average', or None.*'running'"
    ):
        Optimizer(clip_norm="running")


def test_a_keras_optimiser_becomes_settings():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 30, 0.01, power=2.0)
    made = recipe(optimizer=keras.optimizers.Lion(schedule, beta_1=0.8))
    again = Recipe.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    optimizer = make_optimizer(again)
    assert isinstance(optimizer, keras.optimizers.Lion) and optimizer.beta_1 == 0.8
    # 0.09 * (1 - 15 / 30) ** 2 + 0.01
    np.testing.assert_allclose(float(optimizer._learning_rate(15)), 0.0325, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "constant", "warmup": 0.1}, "`optimizer.warmup`.*0.1"),
        ({"schedule": "ExponentialDecay", "final": 0.5}, "`optimizer.final`.*0.5"),
        ({"schedule": "exponential", "warmup": 0.1}, "`optimizer.warmup`.*0.1"),
        ({"schedule": "exponential"}, "requires `optimizer.final` above 0"),
        ({"schedule": "piecewise", "final": 0.5}, "cosine or exponential only"),
        ({"name": "AdamW", "epsilon": 1e-3}, "`optimizer.epsilon`.*0.001"),
        ({"schedule_settings": {"decay_rate": 1.0}}, "schedule_settings=.*decay_rate"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**settings)


def test_callbacks_by_name_with_arguments():
    made = recipe(
        callbacks=(
            "TerminateOnNaN",
            Callback("EarlyStopping", {"monitor": "loss", "patience": 7}),
            keras.callbacks.CSVLogger,
        )
    )
    with pytest.raises(ValueError, match="needs the argument `filename`"):
        make_callbacks(made)
    made = dataclasses.replace(made, callbacks=made.callbacks[:2])
    terminate, stopping = make_callbacks(made)
    assert isinstance(terminate, keras.callbacks.TerminateOnNaN)
    assert stopping.patience == 7
    with pytest.raises(ValueError, match="`callbacks` must be.*'Stop'"):
        make_callbacks(recipe(callbacks=("Stop",)))


def test_a_peak_layer_of_ones_own():
    model = compiled_model(recipe(peak=OwnPeak, peak_settings={"method": "argmax"}), 2)
    assert type(model.peak) is OwnPeak and model.peak.method == "argmax"


def test_settings_that_have_moved_are_taken_with_a_warning():
    with pytest.warns(FutureWarning, match="`grid`.*`image_to_grid.grid`"):
        old = Recipe(name="own", dataset="none", network=plain, grid=(16, 12))
    assert old == recipe()
    with pytest.warns(FutureWarning, match="`normalization`"):
        other = dataclasses.replace(old, normalization="percentile")
    assert other.image_to_grid == ImageToGrid((16, 12), normalization="percentile")
    with pytest.warns(FutureWarning, match="`grid`.*image_to_grid.grid"):
        assert recipe().override(["grid=(8, 8)"]).grid == (8, 8)
    # What a program wrote is read without one.
    written = old.to_dict()
    of_grid = written.pop("image_to_grid")
    for newer in ("axes", "clip_last", "outside", "tile_step"):  # than the move
        del of_grid[newer]
    written |= of_grid
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Recipe.from_dict(written) == old
    with pytest.warns(FutureWarning, match="Refinement"):
        from scn_keras.training.recipe import Local
    assert Local is Refinement


def test_every_setting_says_whom_it_concerns():
    for field in dataclasses.fields(Recipe):
        assert set(field.metadata) == {"both_stages", "calibration"}, field.name
