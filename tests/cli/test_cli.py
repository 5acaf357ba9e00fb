"""The command line as a user calls it."""

import numpy as np
import pytest
import tensorflow as tf

from scn_keras import __version__


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "film.png"
    image = np.random.default_rng(0).integers(0, 255, (90, 70, 1), np.uint8)
    path.write_bytes(tf.io.encode_png(image).numpy())
    return path


COMMANDS = [
    *([name] for name in ("train", "evaluate", "predict", "export", "preset", "demo")),
    ["serve"],
    ["datasets"],
    ["datasets", "check"],
    ["datasets", "prepare"],
    ["datasets", "show"],
    ["datasets", "list"],
    [],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(call, command):
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    listed = result.output.partition("Commands:")[2].splitlines()[1:]
    for line in listed:  # each subcommand has a line that says what it does
        assert len(line.split()) > 3, line


def test_version(call):
    assert __version__ in call("--version").output


def test_data_sets_are_listed(call):
    assert call("datasets", "list").output.split() == [
        *("cephalogram", "hand_xray", "landmark_folder"),
        *("synthetic_hand", "synthetic_volume"),
    ]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["datasets", "prepare", "knees"], ["knees", "cephalogram"]),
        (["train", "knees"], ["knees", "cephalogram_fast"]),
        (["train", "synthetic_hand", "--set", "stps=3"], ["stps", "steps"]),
        (["train", "synthetic_hand", "--set", "steps=many"], ["steps", "int"]),
        (["evaluate", "no_such_run"], ["no_such_run", "recipe.json"]),
        (["export", "no_such_run", "models"], ["no_such_run", "recipe.json"]),
        (["predict", "no_such_model", __file__], ["no_such_model", "neither"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_mistake_gets_a_sentence_and_exit_code_1(
    call, arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_a_set_that_is_not_prepared_says_how(call, tmp_path):
    result = call("train", "cephalogram_fast", "--data-dir", tmp_path, "--out", "run")
    assert result.exit_code == 1
    assert "scn-keras datasets prepare cephalogram" in result.output


def test_export_and_check(call, blob_run, tmp_path, draw_blob):
    image = np.uint8(draw_blob((300, 200), (70.0, 180.0), (11.0, 11.0)) * 255)
    path = tmp_path / "blob.png"
    path.write_bytes(tf.io.encode_png(image[..., None]).numpy())
    result = call("export", blob_run.path, tmp_path / "models", "--check", path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "models" / "blob" / "1" / "saved_model.pb").is_file()
    assert "SavedModel" in result.output and "0.01 px" in result.output
    assert "BROKEN" not in result.output


def test_predict_prints_a_table(call, blob_run, png):
    result = call("predict", blob_run.path, png, "--spacing", "0.1", "0.1")
    assert result.exit_code == 0, result.output
    assert "bright" in result.output and "dark" in result.output


def test_predict_writes_files_and_fails_for_the_bad_one(call, blob_run, png, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff cut off")
    out = tmp_path / "points.csv"
    result = call("predict", blob_run.path, png, bad, "--csv", out)
    assert result.exit_code == 1
    assert "bad.jpg is damaged" in result.output
    assert len(out.read_text().splitlines()) == 3  # header and two landmarks
