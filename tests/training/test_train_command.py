"""`scn-keras train`: interrupted, resumed, continued, and the commands it prints."""

import dataclasses
import re
import shlex

import numpy as np
import pytest
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.training.callbacks import Recorder, _status
from scn_keras.training.evaluation.prepared_split import HELD_OUT, PreparedSplit
from scn_keras.training.fit import fit
from scn_keras.training.run import Run
from tests.training.dots import Interruption, interrupt


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def printed_command(output):
    """The arguments of the command in the last `Next:` line of an output."""
    (*_, line) = re.findall(r"Next: scn-keras (.*)", output)
    return shlex.split(line)


def weights(run):
    return np.concatenate([np.ravel(w) for w in run.load_model().get_weights()])


@pytest.fixture
def interrupted(recipe, dots, tmp_path, monkeypatch):
    """A run that ended after its first checkpoint."""
    with monkeypatch.context() as patch:
        interrupt(patch, Recorder, "on_epoch_end", 1)
        with pytest.raises(Interruption):
            fit(recipe, tmp_path / "my run", dots)
    return Run(tmp_path / "my run")


def test_a_run_is_resumed_by_its_folder_alone(interrupted, finished):
    done = call("train", "--resume", interrupted.path)
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(weights(interrupted), weights(finished))
    # What is printed can be pasted.
    assert call(*printed_command(done.output)).exit_code == 0
    assert (interrupted.path / "report.html").is_file()


def test_the_printed_command_of_an_unfinished_run_finishes_it(interrupted):
    with pytest.raises(FileNotFoundError) as caught:
        interrupted.load_model()
    (command,) = re.findall("`scn-keras (.*)`", str(caught.value))
    assert call(*shlex.split(command)).exit_code == 0
    assert interrupted.model_path.is_file()


def test_ctrl_c_names_the_command_that_goes_on(interrupted, finished, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", stop)
        done = call("train", "--resume", interrupted.path)
    assert done.exit_code == 130
    assert "Interrupted." in done.output
    assert call(*printed_command(done.output)).exit_code == 0
    np.testing.assert_array_equal(weights(interrupted), weights(finished))


def test_ctrl_c_before_there_is_a_run(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("scn_keras.training.fit.fit", stop)
    done = call("train", "synthetic_hand", "--out", tmp_path / "run")
    assert done.exit_code == 130
    assert "before the training started" in done.output


def test_more_steps_continue_a_finished_run_elsewhere(interrupted):
    assert call("train", "--resume", interrupted.path).exit_code == 0
    before = weights(interrupted)
    done = call("train", "--resume", interrupted.path, "--steps", 8)
    assert done.exit_code == 0, done.output
    longer = Run(interrupted.path.with_name("my run_8"))
    assert longer.recipe.steps == 8
    assert not np.array_equal(weights(longer), before)
    np.testing.assert_array_equal(weights(interrupted), before)
    again = call("train", "--resume", interrupted.path, "--steps", 8)
    assert again.exit_code == 0 and "Already finished" in again.output


def test_fewer_steps_and_other_settings_are_refused_by_name(interrupted):
    done = call("train", "--resume", interrupted.path, "--steps", 4)
    assert done.exit_code == 1
    assert "Recorded: steps=6. Received: steps=4" in done.output
    done = call("train", "--resume", interrupted.path, "--set", "seed=9", "--steps", 9)
    assert done.exit_code == 1
    assert "seed=9" in done.output and "steps=9" in done.output


def test_without_a_test_split_the_held_out_images_are_evaluated(
    finished, dots, tmp_path
):
    other = dataclasses.replace(finished.recipe, test_split="nothing")
    assert PreparedSplit(other, None, dots).name == HELD_OUT
    assert PreparedSplit(finished.recipe, None, dots).name == "test"
    none = dataclasses.replace(other, validation=0.0)
    with pytest.raises(ValueError, match="the splits test, train.*split='nothing'"):
        PreparedSplit(none, None, dots).samples()
    done = call("evaluate", finished.path, "--split", HELD_OUT, "--data-dir", dots)
    assert done.exit_code == 0 and "Validation: these images" in done.output


def test_too_few_steps_for_the_time_are_noted(tmp_path, monkeypatch):
    def within(minutes, recipe, *data):
        del minutes, data
        return dataclasses.replace(recipe, steps=7)

    def no_fit(*arguments):
        raise ValueError("no training")

    monkeypatch.setattr("scn_keras.training.experiments.budget.recipe_within", within)
    monkeypatch.setattr("scn_keras.training.fit.fit", no_fit)
    result = call("train", "radiograph", "--minutes", "1.5", "--out", tmp_path / "a")
    assert "7 steps fit into 1.5 minutes.\nA model learns little" in result.output
    assert "The recipe has 3000 steps" in result.output


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"val_point_error": 1.5}, "loss 2, validation point error 1.50 mm"),
        ({"point_error": 1.5}, "loss 2, training point error 1.50 mm"),
        (
            {"val_point_error": np.nan, "val_loss": 3.0},
            "loss 2, validation loss 3 (no error in mm: no spacing)",
        ),
        ({"val_point_error": np.nan, "loss": np.nan}, "loss nan"),
    ],
)
def test_the_status_of_an_epoch(row, text):
    assert _status({"loss": 2.0, **row}) == text
