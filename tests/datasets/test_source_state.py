"""A prepared set and a folder that has changed since."""

import re
import shlex

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from scn_keras.cli import main
from scn_keras.datasets import prepare
from scn_keras.datasets._source_state import FILE
from tests.data_dir import use_data_dir


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "my films"
    folder.mkdir()
    rows = ["image,patient,split,a_x,a_y,b_x,b_y"]
    for n in range(6):
        draw(folder / f"{n}.png", n)
        split = "testing" if n > 3 else "training"
        rows.append(f"{n},p{n},{split},{3 + n},4,{20 + n},30")
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    (folder / "landmarks.toml").write_text('[splits]\ncolumn = "split"\n')
    return folder


def draw(path, seed):
    image = np.random.default_rng(seed).integers(0, 100, (40, 50), np.uint8)
    for x, y in ((3 + seed % 9, 4), (20 + seed % 9, 30)):
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
    Image.fromarray(image).save(path)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def add_film(folder):
    draw(folder / "6.png", 6)
    with (folder / "points.csv").open("a") as file:
        file.write("6,p6,training,9,4,26,30\n")


def remove_film(folder):
    (folder / "2.png").unlink()
    edit(folder / "points.csv", "2,p2,training,5,4,22,30\n", "")


CHANGES = {
    "1 new image (6)": add_film,
    "1 removed image (2)": remove_film,
    "1 image with other pixels (3)": lambda folder: draw(folder / "3.png", 99),
    "1 image with other points (1)": ("1,p1,training,4", "1,p1,training,5"),
    "1 image in another split (0)": ("0,p0,training", "0,p0,testing"),
    "1 image with another patient or spacing (5)": ("5,p5", "5,p4"),
    "other landmarks": ("b_x,b_y", "c_x,c_y"),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("expected", CHANGES)
def test_a_changed_folder_is_not_taken_as_prepared(films, data_dir, expected):
    lines = []
    arguments = ("landmark_folder", data_dir, films, "films")
    prepare(*arguments, report=lines.append)  # the first test prepares it
    prepare(*arguments, report=lines.append)
    assert "prepared already" in lines[-1]
    change = CHANGES[expected]
    if callable(change):
        change(films)
    else:
        edit(films / "points.csv", *change)
    with pytest.raises(ValueError, match="--overwrite") as caught:
        prepare(*arguments)
    assert str(caught.value).endswith(f"Received: {expected}")
    # Without the folder, the set is what it is.
    prepare(*arguments[:2], config="films", report=lines.append)
    assert "prepared already" in lines[-1]


def test_sets_of_earlier_versions_are_not_compared(films, tmp_path):
    arguments = ("landmark_folder", tmp_path / "data", films, "films")
    builder = prepare(*arguments)
    assert (builder.data_path / FILE).is_file()
    (builder.data_path / FILE).unlink()
    add_film(films)
    prepare(*arguments)


def test_commands_that_check_and_prepare_print_run(films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    use_data_dir(monkeypatch, tmp_path / "data")
    checked = CliRunner().invoke(main, ["datasets", "check", films.name])
    assert checked.exit_code == 0, checked.output
    (line,) = re.findall("^Next: scn-keras (.*)$", checked.output, re.M)
    prepared = CliRunner().invoke(main, shlex.split(line))
    assert prepared.exit_code == 0, prepared.output
    assert "landmark_folder/my_films/1.0.0 (testing 2, training 4)" in prepared.output
    (line,) = re.findall("^Next: scn-keras (.*)$", prepared.output, re.M)
    assert line == (
        "train radiograph --set dataset=landmark_folder/my_films "
        "--set train_split=training --set test_split=testing"
    )
    # A mistake in the split names the same settings.
    failed = CliRunner().invoke(main, shlex.split(line)[:4])
    assert failed.exit_code == 1
    assert "--set train_split=training --set test_split=testing" in failed.output
    assert "The data set 'landmark_folder/my_films' has the splits" in failed.output
