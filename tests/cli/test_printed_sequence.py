"""From a folder to a report and a correction, by the commands that commands print."""

import pathlib
import re
import shlex
import shutil

import pytest
from click.testing import CliRunner

from scn_keras.cli import main
from tests.data_dir import use_data_dir

HANDS = pathlib.Path(__file__).parents[1] / "fixtures" / "ace4a16" / "hands"
TINY = [
    *("image_to_grid.grid=(48,32)", "network.filters=2", "network.levels=2"),
    *("network.spatial_kernel_size=3", "network.spatial_factor=8", "validation=0.2"),
    *("steps_per_epoch=2", "steps=4"),
]


def call(words):
    return CliRunner().invoke(main, [str(word) for word in words])


def run(*words):
    result = call(words)
    assert result.exit_code == 0, result.output
    return result.output


def printed(output):
    """The words of the command that an output ends with."""
    (*_, line) = re.findall("^Next: scn-keras (.*)$", output, re.M)
    return shlex.split(line)


@pytest.fixture
def folder(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    use_data_dir(monkeypatch, tmp_path / "the data")
    folder = tmp_path / f"Hände {request.node.name[:12]}"
    shutil.copytree(HANDS, folder)
    (folder / "landmarks.toml").write_text("[splits]\nfolds = 3\n")
    return folder


def test_from_a_folder_to_a_correction(folder):
    checked = run("datasets", "check", folder.name)
    prepared = run(*printed(checked))
    train = printed(prepared)
    assert "test_split=fold3" in train
    settings = [word for setting in TINY for word in ("--set", setting)]
    trained = run(*train, *settings, "--out", "runs/my run")
    assert printed(trained) == ["evaluate", "runs/my run"]
    assert "fold3: " in run(*printed(trained))
    assert (folder.parent / "runs/my run/report.html").is_file()
    # A point is corrected in its row. The set as it is is refused, with the image.
    (table,) = folder.glob("*.csv")
    text = table.read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("hand03,"))
    image, label, x, y = row.split(",")
    corrected = f"{image},{label},{float(x) + 1:.3f},{y}"
    table.write_text(text.replace(row, corrected), "utf-8")
    refused = call(printed(checked))
    assert refused.exit_code == 1
    assert "1 image with other points (hand03)" in refused.output
    prepared = run(*printed(checked), "--overwrite")
    assert printed(prepared) == train
    again = ["train", "runs/my run", "--from", "runs/my run", "--out", "runs/2"]
    trained = run(*again)
    assert "Started from runs/my run" in trained
    assert "fold3: " in run(*printed(trained))


def test_without_splits_the_held_out_images_are_evaluated(folder):
    (folder / "landmarks.toml").unlink()
    prepared = run(*printed(run("datasets", "check", folder.name)))
    assert "(train 15)" in prepared
    settings = [word for setting in TINY for word in ("--set", setting)]
    trained = run(*printed(prepared), *settings)
    evaluated = run(*printed(trained))
    assert "held_out: 3 images" in evaluated
    # A command that lacks something is named with all that it needs.
    missing = call(
        ["compare", "runs/radiograph", "runs/radiograph", "--split", "train"]
    )
    (command,) = re.findall("`scn-keras (.*?)`", missing.output)
    assert shlex.split(command)[:2] == ["evaluate", "runs/radiograph"]
