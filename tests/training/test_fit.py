import csv
import dataclasses
import math
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from scn_keras.models import LandmarkModel
from scn_keras.training import callbacks
from scn_keras.training import fit as fit_module
from scn_keras.training import run as run_module
from scn_keras.training.build import build_model, make_optimizer
from scn_keras.training.fit import fit
from scn_keras.training.recipe_settings import Optimizer
from tests.training.dots import Interruption, interrupt

REPOSITORY = pathlib.Path(__file__).parents[2]


def rows(run):
    with run.history_path.open(newline="") as file:
        return list(csv.DictReader(file))


def checkpoint(run):
    """Every number that a continued training depends on."""
    model = keras.models.load_model(run.checkpoint)
    return [
        *(v.numpy() for v in model.variables),
        *(v.numpy() for v in model.optimizer.variables),
    ]


def assert_same_run(run, expected):
    for found, wanted in zip(checkpoint(run), checkpoint(expected), strict=True):
        np.testing.assert_array_equal(found, wanted)
    found, wanted = run.load_model(), expected.load_model()
    for a, b in zip(found.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(rows(run), rows(expected), strict=True):
        a.pop("seconds")
        b.pop("seconds")
        assert a == b


def test_history_has_a_row_an_epoch(finished):
    assert list(rows(finished)[0]) == [
        *("step", "seconds", "loss", "point_error", "sdr_2"),
        *("val_loss", "val_point_error", "val_sdr_2", "recoveries"),
    ]
    assert [row["step"] for row in rows(finished)] == ["2", "4", "6"]
    seconds = [float(row["seconds"]) for row in rows(finished)]
    assert 0 < seconds[0] <= seconds[1] <= seconds[2]
    losses = [float(row["loss"]) for row in rows(finished)]
    assert np.isfinite(losses).all()
    assert losses[2] < losses[0]


def test_a_run_holds_what_a_person_looks_for(finished, recipe):
    assert sorted(p.name for p in finished.path.iterdir()) == [
        *("checkpoints", "environment.json", "history.csv"),
        *("images.json", "landmarks.json"),
        *("model.keras", "recipe.json", "used_images.json", "used_images.npz"),
    ]
    assert [p.name for p in finished.checkpoint.parent.iterdir()] == ["last.keras"]
    assert finished.recipe == recipe


def test_the_model_is_the_last_checkpoint(finished):
    model = finished.load_model()
    assert isinstance(model, LandmarkModel)
    last = keras.models.load_model(finished.checkpoint)
    assert int(last.optimizer.iterations) == 6
    for a, b in zip(model.get_weights(), last.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # It has learned: no weight is where it started.
    keras.utils.set_random_seed(finished.recipe.seed)
    start = build_model(finished.recipe, 3)
    for a, b in zip(model.trainable_weights, start.trainable_weights, strict=True):
        assert not np.array_equal(a, b), a.path


def test_two_runs_of_a_recipe_are_the_same(finished, dots, tmp_path):
    assert_same_run(fit(finished.recipe, tmp_path, dots), finished)


def test_a_finished_run_is_not_trained_again(finished, dots, monkeypatch, capsys):
    def train(*args, **kwargs):
        raise AssertionError("trains")

    monkeypatch.setattr(LandmarkModel, "fit", train)
    before = finished.model_path.stat()
    again = fit(finished.recipe, finished.path, dots, resume=True)
    assert again.path == finished.path
    assert finished.model_path.stat() == before
    assert f"Already finished: {finished.model_path}" in capsys.readouterr().out


def test_a_run_is_not_overwritten(finished, dots):
    with pytest.raises(FileExistsError, match="not empty.*--resume"):
        fit(finished.recipe, finished.path, dots)


def test_another_recipe_does_not_continue_a_run(finished, dots):
    other = dataclasses.replace(finished.recipe, steps=8)
    with pytest.raises(ValueError, match="Recorded: steps=6. Received: steps=8"):
        fit(other, finished.path, dots, resume=True)
    assert len(rows(finished)) == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("observer=senior", "dots has one observer.*Received: observer='senior'"),
        ("train_split=training", "has the splits test, train"),
        ("validation=0.05", "at least one group.*validation=0.05, 5 groups"),
        ("dataset=knee", "no data set of this name"),
        ("augmentation.flip=0.5", "`pairs`.*augmentation.flip=0.5"),
        ("peak_settings={'window': 4}", "window"),
    ],
)
def test_a_recipe_that_does_not_fit_the_data_leaves_no_run(
    recipe, dots, tmp_path, setting, message
):
    with pytest.raises(ValueError, match=message):
        fit(recipe.override([setting]), tmp_path / "run", dots)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("owner", "name", "number", "kept"),
    [
        # After the first checkpoint.
        (callbacks.Recorder, "on_epoch_end", 1, 1),
        # Between the row of the second epoch and its checkpoint: after writing the
        # file, before it takes the place of the last one.
        (LandmarkModel, "save", 2, 2),
        # Between the last checkpoint and the model.
        (fit_module, "in_float32", 1, 3),
    ],
    ids=["after an epoch", "at a checkpoint", "before the model"],
)
def test_an_interrupted_run_ends_as_if_nothing_had_happened(
    finished, dots, tmp_path, monkeypatch, owner, name, number, kept
):
    with monkeypatch.context() as patch:
        interrupt(patch, owner, name, number)
        with pytest.raises(Interruption):
            fit(finished.recipe, tmp_path, dots)
    run = run_module.Run(tmp_path)
    assert len(rows(run)) == kept
    assert not run.model_path.exists()
    seconds = float(rows(run)[0]["seconds"])
    resumed = fit(finished.recipe, tmp_path, dots, resume=True)
    assert_same_run(resumed, finished)
    assert sorted(p.name for p in resumed.path.iterdir()) == sorted(
        p.name for p in finished.path.iterdir()
    )
    # The clock goes on.
    assert float(rows(resumed)[0]["seconds"]) == seconds
    assert float(rows(resumed)[2]["seconds"]) >= seconds


KILLED = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("conftest_of_training", {conftest!r})
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
from scn_keras.training import callbacks, fit, recipe
import json
step = callbacks.Recorder.on_train_batch_end
def on_train_batch_end(self, batch, logs=None):
    step(self, batch, logs)
    if self.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
callbacks.Recorder.on_train_batch_end = on_train_batch_end
recipe = recipe.Recipe.from_dict(json.loads({recipe!r}))
fit.fit(recipe, {path!r}, {data!r})
"""


def test_a_killed_run_ends_as_if_nothing_had_happened(finished, dots, tmp_path):
    path = tmp_path / "run"
    code = KILLED.format(
        conftest=str(pathlib.Path(__file__).with_name("conftest.py")),
        recipe=(finished.path / "recipe.json").read_text(),
        path=str(path),
        data=str(dots),
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    assert [row["step"] for row in rows(run_module.Run(path))] == ["2"]
    assert_same_run(fit(finished.recipe, path, dots, resume=True), finished)


def test_resume_starts_a_run_that_is_not_there(recipe, dots, tmp_path):
    short = dataclasses.replace(recipe, steps=1, steps_per_epoch=5, validation=0.0)
    run = fit(short, tmp_path / "run", dots, resume=True)
    assert run.model_path.is_file()
    assert list(rows(run)[0]) == [
        *("step", "seconds", "loss", "point_error", "sdr_2", "recoveries"),
    ]
    assert [row["step"] for row in rows(run)] == ["1"]


def test_a_run_in_bfloat16_gives_a_model_in_float32(recipe, dots, tmp_path):
    mixed = dataclasses.replace(
        recipe,
        network=recipe.network.replaced(dtype="mixed_bfloat16"),
        steps=3,
        jit_compile=False,
    )
    run = fit(mixed, tmp_path, dots)
    # Three steps in epochs of two: the last one is shorter.
    assert [row["step"] for row in rows(run)] == ["2", "3"]
    assert float(rows(run)[0]["seconds"]) <= float(rows(run)[1]["seconds"])
    last = keras.models.load_model(run.checkpoint)
    policies = {layer.dtype_policy.name for layer in last.network._flatten_layers()}
    assert "mixed_bfloat16" in policies
    model = run.load_model()
    for layer in model._flatten_layers():
        assert layer.dtype_policy.name == "float32", layer.path
    for a, b in zip(model.weights, last.weights, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    # And computes in it.
    image = np.random.default_rng(0).normal(size=(1, 48, 40, 1)).astype(np.float32)
    stem = model.network.get_layer("local_appearance").stem
    assert stem(image).dtype == "float32"
    assert run.recipe.network.dtype == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("text", "step", "left", "seconds"),
    [
        ("step,seconds,loss\n2,1.5,9\n4,2.5,8\n", 4, ["2", "4"], 2.5),
        ("step,seconds,loss\n2,1.5,9\n4,2.5,8\n", 2, ["2"], 1.5),
        ("step,seconds,loss\n2,1.5,9\n4,2.", 4, ["2"], 1.5),
        ("step,seconds,loss\n2,1.5,9\n1", 2, ["2"], 1.5),
        ("step,seconds,loss\n2,1.5,9\n", 0, None, 0.0),
        ("step,seconds", 0, None, 0.0),
        ("", 0, None, 0.0),
        (None, 0, None, 0.0),
    ],
)
def test_history_is_cut_to_the_checkpoint(tmp_path, text, step, left, seconds):
    path = tmp_path / "history.csv"
    if text is not None:
        path.write_text(text)
    assert callbacks._cut_history(path, step) == seconds
    if left is None:
        assert not path.exists()
    else:
        with path.open(newline="") as file:
            assert [row["step"] for row in csv.DictReader(file)] == left
    assert len(list(tmp_path.iterdir())) == (left is not None)


def rate(optimizer, step):
    optimizer.iterations.assign(step)
    return float(optimizer.learning_rate)


def test_learning_rate_rises_and_falls_as_said(recipe):
    settings = Optimizer(learning_rate=0.01, warmup=0.1, final=0.2)
    optimizer = make_optimizer(
        dataclasses.replace(recipe, optimizer=settings, steps=100)
    )
    assert rate(optimizer, 0) == 0.0
    assert rate(optimizer, 5) == pytest.approx(0.005)
    assert rate(optimizer, 10) == pytest.approx(0.01)
    half = 0.01 * (0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert rate(optimizer, 55) == pytest.approx(half)
    assert rate(optimizer, 100) == pytest.approx(0.002)


def test_constant_learning_rate(recipe):
    settings = Optimizer(learning_rate=0.01, warmup=0.0, final=1.0)
    optimizer = make_optimizer(dataclasses.replace(recipe, optimizer=settings))
    assert [rate(optimizer, n) for n in (0, 3, 6)] == pytest.approx([0.01] * 3)


def test_optimizers_take_their_settings(recipe):
    adam = make_optimizer(
        dataclasses.replace(recipe, optimizer=Optimizer(epsilon=1e-3, clip_norm=2.0))
    )
    assert isinstance(adam, keras.optimizers.Adam)
    assert (adam.epsilon, adam.global_clipnorm) == (1e-3, 2.0)
    sgd = make_optimizer(
        dataclasses.replace(recipe, optimizer=Optimizer("sgd", momentum=0.9))
    )
    assert isinstance(sgd, keras.optimizers.SGD)
    assert (sgd.momentum, sgd.nesterov, sgd.global_clipnorm) == (0.9, True, None)


def averaging(recipe, **settings):
    optimizer = dataclasses.replace(recipe.optimizer, average=0.9, learning_rate=0.01)
    return dataclasses.replace(recipe, optimizer=optimizer, **settings)


def test_the_average_is_validated_and_is_the_model(recipe, dots, tmp_path, monkeypatch):
    trained, validated = [], []

    def weights(model):
        return [v.numpy() for v in model.trainable_variables]

    step = callbacks.Recorder.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        step(self, batch, logs)
        trained.append(weights(self.model))

    begin = callbacks.AveragedValidation.on_test_begin

    def on_test_begin(self, logs=None):
        begin(self, logs)
        validated.append(weights(self.model))

    monkeypatch.setattr(callbacks.Recorder, "on_train_batch_end", on_train_batch_end)
    monkeypatch.setattr(callbacks.AveragedValidation, "on_test_begin", on_test_begin)
    run = fit(averaging(recipe, steps=5), tmp_path, dots)

    assert len(trained) == 5
    averages, average = [], trained[0]
    for now in trained:
        average = [0.9 * a + 0.1 * w for a, w in zip(average, now, strict=True)]
        averages.append(average)
    # Epochs of two steps, the last of one.
    for found, expected in zip(
        (*validated, weights(run.load_model())),
        (averages[1], averages[3], averages[4], averages[4]),
        strict=True,
    ):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    # What is trained on is not the average.
    last = keras.models.load_model(run.checkpoint)
    for a, b in zip(weights(last), trained[-1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [
        (callbacks.Recorder, "on_epoch_end", 1),
        (callbacks.Recorder, "on_epoch_end", 2),
        (fit_module, "in_float32", 1),
    ],
)
def test_an_averaging_run_resumes(
    recipe, dots, tmp_path, monkeypatch, owner, name, number
):
    recipe = averaging(recipe, steps=5)
    whole = fit(recipe, tmp_path / "whole", dots)
    with monkeypatch.context() as patch:
        interrupt(patch, owner, name, number)
        with pytest.raises(Interruption):
            fit(recipe, tmp_path / "cut", dots)
    assert_same_run(fit(recipe, tmp_path / "cut", dots, resume=True), whole)
