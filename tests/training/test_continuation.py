"""More steps after the end of a training, and models of interrupted ones."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from scn_keras.saved_models.predicting.predict import predict
from scn_keras.training.build import load_model, make_schedule
from scn_keras.training.continuation import continue_run, is_continuation
from scn_keras.training.fit import fit
from scn_keras.training.latest_model import latest_model
from scn_keras.training.recipe_settings import Optimizer
from scn_keras.training.run import Run
from scn_keras.training.start_from import start_from
from tests.training.dots import Interruption, interrupt
from tests.training.test_fit import rows


@pytest.fixture(scope="module")
def short(recipe, dots_dir, tmp_path_factory):
    """A finished run of four steps with the constant learning rate of `recipe`."""
    optimizer = Optimizer(schedule="constant")
    recipe = dataclasses.replace(recipe, steps=4, optimizer=optimizer)
    return fit(recipe, tmp_path_factory.mktemp("runs") / "short", dots_dir)


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


def test_a_continuation_is_the_longer_training(short, dots, tmp_path):
    longer = continue_run(short, 6, tmp_path / "longer")
    assert longer.recipe == dataclasses.replace(short.recipe, steps=6)
    continued = fit(longer.recipe, longer.path, dots, resume=True)
    whole = fit(longer.recipe, tmp_path / "whole", dots)
    # The learning rate is constant, and the random numbers depend on the step.
    np.testing.assert_array_equal(
        weights(continued.load_model()), weights(whole.load_model())
    )
    assert [row["step"] for row in rows(continued)] == ["2", "4", "6"]
    record = json.loads((continued.path / "continuation.json").read_text())
    assert (record["run"], record["steps"]) == ("short", 4)
    assert record["weights"] == short.weights_digest()


def test_the_learning_rate_is_that_of_the_longer_schedule(
    short, recipe, dots, tmp_path
):
    cosine = dataclasses.replace(
        recipe, steps=2, optimizer=Optimizer(schedule="cosine", learning_rate=1e-3)
    )
    run = fit(cosine, tmp_path / "run", dots)
    longer = continue_run(run, 8, tmp_path / "longer")
    optimizer = load_model(longer.recipe, longer.checkpoint).optimizer
    assert int(optimizer.iterations) == 2
    # Half a cosine over 8 steps, after a quarter of it; down to `final`.
    final = cosine.optimizer.final
    share = 0.5 * (1.0 + np.cos(np.pi * 0.25))
    expected = 1e-3 * (final + (1.0 - final) * share)
    if cosine.optimizer.warmup:
        expected = float(make_schedule(longer.recipe)(2))
    assert float(optimizer.learning_rate) == pytest.approx(expected, rel=1e-5)


def test_what_is_a_continuation(short, recipe, tmp_path):
    same = short.recipe
    assert is_continuation(short, dataclasses.replace(same, steps=5))
    assert not is_continuation(short, same)
    assert not is_continuation(short, dataclasses.replace(same, steps=3))
    assert not is_continuation(short, dataclasses.replace(same, steps=5, seed=9))
    unfinished = Run.create(tmp_path / "new", same, short.schema)
    assert not is_continuation(unfinished, dataclasses.replace(same, steps=5))
    with pytest.raises(ValueError, match="more steps than the 4.*Received: steps=4"):
        continue_run(short, 4, tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        continue_run(unfinished, 5, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.fixture
def interrupted(short, dots, tmp_path, monkeypatch):
    """A run with the checkpoint of step 2 of 4, and no model."""
    with monkeypatch.context() as patch:
        interrupt(patch, keras.Model, "save", 1)
        path = tmp_path / "interrupted"
        with pytest.raises(Interruption):
            fit(short.recipe, path, dots)
        # The file is complete, but has not been moved to its place.
        (path / "checkpoints" / "next.keras").rename(
            path / "checkpoints" / "last.keras"
        )
    return Run(path)


def test_the_checkpoint_of_an_interrupted_run_predicts_and_is_marked(
    interrupted, tmp_path
):
    model, note = latest_model(interrupted)
    assert "step 2 of 4" in note and interrupted.resume_command in note
    checkpoint = keras.models.load_model(interrupted.checkpoint)
    np.testing.assert_array_equal(weights(model), weights(checkpoint))
    file = tmp_path / "film.png"
    keras.utils.save_img(file, np.zeros((60, 50, 1)), scale=False)
    (result,), problems = predict(interrupted.path, [file])
    assert problems == []
    first, second = result.notes
    assert first == note
    assert "hardly trained" in second  # after two steps


def test_a_training_starts_from_the_checkpoint_of_an_interrupted_run(
    interrupted, short
):
    model, note = latest_model(interrupted)
    new = short.load_model()
    summary = start_from(new, short.recipe, short.schema, interrupted)
    assert summary.endswith(note)
    np.testing.assert_array_equal(weights(new), weights(model))


def test_a_finished_run_has_no_note(short):
    model, note = latest_model(short)
    assert note is None
    np.testing.assert_array_equal(weights(model), weights(short.load_model()))
