"""Functions, classes and objects in a recipe: stored by name, or refused by name."""

import dataclasses
import json

import keras
import numpy as np  # noqa: F401, a module to which a setting refers
import pytest

from scn_keras.layers import HeatmapPeak
from scn_keras.training import Callback, Method, Network, Optimizer, Recipe, Target
from scn_keras.training.augmentation import Augmentation, Rotation
from scn_keras.training.build import make_callbacks, make_loss, make_optimizer


class Weighted(keras.losses.Loss):
    def __init__(self, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, y_true, y_pred):
        return self.weight * keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=(1, 2))


class Forgetful(keras.losses.Loss):
    def __init__(self, weight=1.0):
        super().__init__()
        self.factor = weight

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean(y_true - y_pred, axis=(1, 2))


class OwnPeak(HeatmapPeak):
    def __init__(self, shifts=(), **kwargs):
        super().__init__(**kwargs)
        self.shifts = list(shifts)


class Mean(Method):
    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, run, source, callbacks=()):
        raise NotImplementedError

    def load(self, run):
        raise NotImplementedError


class Nesterov(keras.optimizers.SGD):
    def __init__(self, decay=0.5, **kwargs):
        super().__init__(**kwargs)
        self.decay = decay


class Step(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate=0.1):
        self.rate = rate

    def __call__(self, step):
        return self.rate

    def get_config(self):
        return {}


class Unnamed(Step):
    def get_config(self):
        raise NotImplementedError


class Stop(keras.callbacks.Callback):
    def __init__(self, patience=1):
        super().__init__()
        self.patience = patience


def function(y_true, y_pred):
    return y_true


def darken(image, parameters, xp):
    return image


def without_arguments():
    return None


def recipe(**settings):
    return Recipe(name="own", dataset="none", **settings)


def read_again(made):
    again = Recipe.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again.stored_form() == made.stored_form()
    return again


def here(name):
    return f"{__name__}:{name}"


@pytest.mark.parametrize(
    ("settings", "stored"),
    [
        ({"loss": Weighted(5.0)}, {"loss_settings": {"weight": 5.0}}),
        (
            {"loss": Weighted(5.0, reduction="sum")},
            {"loss_settings": {"weight": 5.0, "reduction": "sum"}},
        ),
        ({"method": Mean(2.0)}, {"method_settings": {"shift": 2.0}}),
    ],
)
def test_arguments_of_objects_are_read_from_attributes(settings, stored):
    made = read_again(recipe(**settings))
    for name, value in stored.items():
        assert getattr(made, name) == value


def test_arguments_of_a_peak_are_those_of_config_and_attributes():
    made = read_again(recipe(peak=OwnPeak([1, 2], method="argmax")))
    assert made.peak_settings["shifts"] == [1, 2]
    assert made.peak_settings["method"] == "argmax"


def test_arguments_of_optimisers_and_schedules_are_read_from_attributes():
    made = read_again(recipe(optimizer=Nesterov(0.7, learning_rate=Step(0.3))))
    assert made.optimizer.settings["decay"] == 0.7
    assert made.optimizer.schedule_settings == {"rate": 0.3}
    assert make_optimizer(made).decay == 0.7
    with pytest.raises(ValueError, match="`get_config`.*schedule=Unnamed"):
        recipe(optimizer=keras.optimizers.SGD(Unnamed()))


def test_an_argument_that_is_not_kept_is_refused():
    with pytest.raises(ValueError, match="Forgetful.*`weight`.*`loss_settings`"):
        recipe(loss=Forgetful(5.0))
    made = recipe(loss=Forgetful, loss_settings={"weight": 5.0})
    assert make_loss(made).factor == 5.0


@pytest.mark.parametrize("form", [darken, [darken], here("darken"), Rotation(0.2)])
def test_one_transform_is_a_list_of_one(form):
    several = form if isinstance(form, list) else [form]
    expected = Augmentation.from_list(several)
    assert recipe(augmentation=form).augmentation == expected


@pytest.mark.parametrize(
    "form",
    [
        "TerminateOnNaN",
        keras.callbacks.TerminateOnNaN,
        Callback("TerminateOnNaN"),
        {"name": "TerminateOnNaN"},
        [{"name": "TerminateOnNaN", "arguments": {}}],
    ],
)
def test_one_callback_is_a_list_of_one(form):
    made = recipe(callbacks=form)
    (callback,) = make_callbacks(made)
    assert isinstance(callback, keras.callbacks.TerminateOnNaN)
    assert isinstance(made.callbacks, tuple)


def test_callbacks_as_text():
    settings = ["callbacks=[{'name': 'EarlyStopping', 'arguments': {'patience': 3}}]"]
    made = recipe().override(settings)
    assert made.callbacks == (Callback("EarlyStopping", {"patience": 3}),)
    assert recipe().override(["callbacks=TerminateOnNaN"]).callbacks == (
        Callback("TerminateOnNaN"),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augmentation": "strong"}, "transform.*'strong'"),
        ({"callbacks": [Stop(3)]}, r"fit\(callbacks=.*Callback\(Stop.*Received.*Stop"),
        ({"callbacks": [{"patience": 3}]}, "'name'.*Received.*'patience': 3"),
        ({"callbacks": ["T"]}, "`callbacks`.*'T'"),
        ({"loss": function}, "`loss`.*keras.losses.Loss.*function"),
        ({"loss": "max"}, "`loss`.*'max'"),
        ({"loss": keras.layers.Dense}, "`loss`.*Dense"),
        ({"peak": function}, "`peak`.*keras.layers.Layer.*function"),
        ({"optimizer": "AdamW"}, "`optimizer`.*optimizer.name=AdamW.*'AdamW'"),
        ({"optimizer": keras.layers.Dense}, "`optimizer.name`.*Dense"),
        ({"optimizer": Optimizer("Adma")}, "`optimizer.name`.*'Adma'"),
        ({"optimizer": Optimizer(schedule="Step")}, "`optimizer.schedule`.*'Step'"),
        ({"steps": 6.5}, "`steps` must be of type int.*6.5"),
        ({"steps": "6"}, "`steps` must be of type int.*'6'"),
        ({"jit_compile": "yes"}, "`jit_compile`.*'yes'"),
        ({"seed": -1}, "`seed`.*seed=-1"),
        ({"target": Target(learnable="no")}, "`target.learnable`.*'no'"),
        ({"network": without_arguments}, "`network.kind`.*without_arguments"),
        ({"network": here("np")}, "`network.kind`.*module"),
    ],
)
def test_wrong_values_are_refused_at_construction(settings, message):
    with pytest.raises(ValueError, match=message):
        recipe(**settings)


def test_values_are_converted_at_construction():
    made = recipe(window=[96, 96], validation=0, fold=[0, 4])
    assert (made.window, made.validation, made.fold) == ((96, 96), 0.0, (0, 4))
    assert type(made.validation) is float


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": here("function")}, "`loss` must name a subclass.*function"),
        ({"loss": here("Stop")}, "`loss` must name a subclass.*Stop"),
        ({"optimizer": Optimizer(here("Stop"))}, "`optimizer.name`.*Stop"),
        ({"optimizer": Optimizer(schedule=here("Stop"))}, "`optimizer.schedule`.*Stop"),
        ({"callbacks": [here("Weighted")]}, "`callbacks`.*Weighted"),
    ],
)
def test_the_kind_is_validated_before_the_arguments(settings, message):
    made = recipe(**settings)
    with pytest.raises(ValueError, match=message):
        make_loss(made)
        make_optimizer(made)
        make_callbacks(made)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (Optimizer, "learning_rate", -1.0),
        (Optimizer, "learning_rate", "high"),
        (Optimizer, "learning_rate", float("nan")),
        (Optimizer, "warmup", 2.0),
        (Optimizer, "final", -0.1),
        (Optimizer, "momentum", 1.0),
        (Optimizer, "clip_norm", 0.0),
        (Optimizer, "epsilon", -1e-7),
        (Optimizer, "average", 1.5),
        (Optimizer, "weight_decay", -1e-3),
        (Optimizer, "weight_decay", None),
        (Target, "sigma", 0.0),
        (Target, "sigma", (2.0, -1.0)),
        (Target, "gamma", -1.0),
        (Target, "sigma_penalty", -1.0),
        (Target, "minimum_sigma", 0.0),
        (Target, "penalty_power", True),
    ],
)
def test_numbers_out_of_range_are_refused(part, name, value):
    setting = f"{part.__name__.lower()}.{name}"
    with pytest.raises(ValueError, match=rf"`{setting}` must.*Received: {setting}="):
        part(**{name: value})


@pytest.mark.parametrize(
    ("setting", "example"),
    [
        ("image_to_grid.grid=96", "image_to_grid.grid=96,80"),
        ("image_to_grid.grid_spacing=96", "image_to_grid.grid_spacing=0.5,0.5"),
        ("optimizer=AdamW", "optimizer.name=AdamW"),
        ("loss_settings=3", "loss_settings.power=2"),
        ("network=5", "network.filters=64"),
    ],
)
def test_messages_of_types_show_a_setting_that_is_valid(setting, example):
    shown = example.replace(".power=2", ".NAME=VALUE")
    with pytest.raises(ValueError, match=f"for example --set {shown}"):
        recipe().override([setting])
    recipe().override([example])


@pytest.mark.parametrize("dtype", ["bfloat", 16])
def test_an_unknown_precision_is_refused(dtype):
    with pytest.raises(ValueError, match="`network.dtype`.*mixed_bfloat16.*dtype="):
        Network(dtype=dtype)
    with pytest.raises(ValueError, match="`network.dtype`"):
        Network().replaced(dtype=dtype)


def test_networks_are_equal_with_tuples_read_as_lists():
    stored = Network.stored("m:net", sizes=[[1, 2]])
    assert stored == Network.stored("m:net", sizes=((1, 2),))
    assert stored != Network.stored("m:net", sizes=[1])
    assert stored != "m:net"
    assert dataclasses.replace(recipe(), network=stored).network == stored
