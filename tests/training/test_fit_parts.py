"""Faulty parts of a recipe: refused by name, before the folder of a run exists."""

import dataclasses
import json

import keras
import pytest

from scn_keras.layers import HeatmapPeak
from scn_keras.training import Callback, Optimizer
from scn_keras.training import fit as fit_module
from scn_keras.training.fit import fit
from scn_keras.training.run import Run


def plain(num_landmarks, image_shape, width=2, act=None, sizes=(1, 2)):
    image = keras.Input(image_shape)
    x = keras.layers.Conv2D(width, 3, padding="same")(image)
    if width == 13:
        raise RuntimeError("boom")
    return keras.Model(image, keras.layers.Conv2D(num_landmarks, 1)(x))


def default_of_another_type(num_landmarks, image_shape, act=keras.activations.relu):
    return plain(num_landmarks, image_shape)


class SubNet(keras.Model):
    def __init__(self, num_landmarks, image_shape):
        super().__init__()
        self.head = keras.layers.Conv2D(num_landmarks, 1)

    def call(self, x):
        return self.head(x)


class Nothing(keras.losses.Loss):
    def __init__(self, fails=False):
        if fails:
            raise RuntimeError("boom")
        super().__init__()

    def call(self, y_true, y_pred):
        return None


class Failing(keras.losses.Loss):
    def call(self, y_true, y_pred):
        raise RuntimeError("boom")


class Centre(keras.layers.Layer):
    """No peaks: has no `num_peaks`."""

    def call(self, heatmaps, height=1.0):
        return heatmaps


class WrongPeak(HeatmapPeak):
    def call(self, heatmaps, height=1.0):
        return {"points": heatmaps}


class FailingPeak(HeatmapPeak):
    def call(self, heatmaps, height=1.0):
        raise RuntimeError("boom")


class Stop(keras.callbacks.Callback):
    def __init__(self, fails=True):
        if fails:
            raise RuntimeError("boom")
        super().__init__()


def here(name):
    return f"{__name__}:{name}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "adaptive_wing"}, "height 1.*gamma=100.0"),
        (
            {"loss": "adaptive_wing", "loss_settings": {"a": 1}},
            "'a'.*loss_settings={'a': 1}",
        ),
        ({"loss": Nothing}, "Nothing.*NoneType"),
        ({"loss": Nothing, "loss_settings": {"fails": True}}, "Nothing.*boom.*fails"),
        ({"loss": Failing}, "loss '.*Failing'.*RuntimeError: boom"),
        ({"peak": Centre}, "Centre.*num_peaks"),
        ({"peak": WrongPeak}, "WrongPeak.*Received: .*'points'"),
        ({"peak": FailingPeak}, "FailingPeak.*RuntimeError: .* boom"),
        ({"peak_settings": {"windw": 3}}, "peak_settings=.*windw"),
        ({"callbacks": [Stop]}, "Stop.*RuntimeError: boom.*callbacks"),
        ({"network": here("SubNet")}, r"SubNet.*functional form.*Received"),
        ({"network": default_of_another_type}, "argument `act` .*another_type.*relu"),
    ],
)
def test_faulty_parts_leave_no_run(recipe, dots, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        fit(dataclasses.replace(recipe, **changes), tmp_path / "run", dots)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("width", [13, "many"])
def test_errors_of_a_network_name_it(recipe, dots, tmp_path, width):
    own = dataclasses.replace(recipe, network=plain).override(
        [f"network.width={width}"]
    )
    with pytest.raises(ValueError, match="The network '.*plain'.*Error: ") as raised:
        fit(own, tmp_path / "run", dots)
    assert raised.value.__cause__ is not None
    assert not (tmp_path / "run").exists()


def test_a_faulty_coarse_stage_leaves_no_run(recipe, dots, tmp_path):
    spacing = dataclasses.replace(recipe.image_to_grid, grid_spacing=(0.6, 0.6))
    coarse = dataclasses.replace(recipe, loss="adaptive_wing")
    staged = dataclasses.replace(recipe, image_to_grid=spacing, coarse=coarse)
    with pytest.raises(ValueError, match="height 1"):
        fit(staged, tmp_path / "run", dots)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("code", ["1 / 0", "x = = 1"])
def test_modules_that_cannot_be_imported_are_named(
    recipe, dots, tmp_path, monkeypatch, code
):
    (tmp_path / "faulty.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    error = "ZeroDivisionError" if "/" in code else "SyntaxError"
    with pytest.raises(ValueError, match=f"'faulty'.*{error}.*loss='faulty:Loss'"):
        fit(dataclasses.replace(recipe, loss="faulty:Loss"), tmp_path / "run", dots)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": here("Stop")},
        {"callbacks": [here("Nothing")]},
        {"optimizer": Optimizer("nowhere:Adam")},
        {"peak": here("Nothing")},
    ],
    ids=str,
)
def test_names_are_resolved_before_the_data_set(recipe, tmp_path, monkeypatch, changes):
    def open_source(*args):
        raise AssertionError("opened")

    monkeypatch.setattr(fit_module, "open_source", open_source)
    (name,) = changes
    with pytest.raises((ValueError, ImportError), match=name):
        fit(dataclasses.replace(recipe, **changes), tmp_path / "run")


def test_a_recipe_is_stored_with_tuples_as_lists(recipe):
    own = dataclasses.replace(recipe, network=plain, loss_settings={"sizes": (1, 2)})
    assert own.network.sizes == (1, 2)
    read = type(own).from_dict(own.stored_form())
    assert read.network == own.network
    assert read.network.settings()["sizes"] == (1, 2)
    assert read.stored_form() == json.loads(json.dumps(own.to_dict()))


class Reached(Exception):
    """The training begins."""


@pytest.fixture
def untrained(monkeypatch):
    """Ends `fit` where the training of a network begins."""

    def train(self, run, callbacks, tensorboard, film=None):
        raise Reached(callbacks)

    monkeypatch.setattr(fit_module._NetworkTraining, "train", train)


def test_a_run_is_resumed_with_other_callbacks(
    recipe, dots, tmp_path, untrained, capsys
):
    faulty = dataclasses.replace(recipe, callbacks=[Callback("TerminateOnNaN")])
    with pytest.raises(Reached):
        fit(faulty, tmp_path / "run", dots)
    assert "There is no run" not in capsys.readouterr().out
    with pytest.raises(Reached) as reached:
        fit(recipe, tmp_path / "run", dots, resume=True)
    assert reached.value.args == ([],)
    assert Run(tmp_path / "run").recipe == faulty
    other = recipe.override(["steps=9", "network.filters=8"])
    with pytest.raises(
        ValueError,
        match="Recorded: network.filters=4, steps=6. Received: network.filters=8, "
        "steps=9",
    ):
        fit(other, tmp_path / "run", dots, resume=True)


def test_resuming_says_that_there_is_no_run(recipe, dots, tmp_path, untrained, capsys):
    with pytest.raises(Reached):
        fit(recipe, tmp_path / "typo", dots, resume=True)
    printed = capsys.readouterr().out
    assert "no run" in printed and str(tmp_path / "typo") in printed
