import csv
import json
import os
import shutil

import pytest
from click.testing import CliRunner

from scn_keras.cli import main


@pytest.fixture
def call():
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


def test_predict_prints_a_table(call, blob_run, png):
    result = call("predict", blob_run.path, png, "--spacing", "0.1", "0.1")
    assert result.exit_code == 0, result.output
    assert "bright" in result.output and "dark" in result.output
    assert "no spacing" not in result.output


def test_images_without_a_spacing_are_noted(call, blob_run, png):
    result = call("predict", blob_run.path, png)
    assert result.exit_code == 0, result.output
    assert "Note: 1 of 1 images have no spacing" in result.output
    assert "--spacing X Y" in result.output


def test_predict_writes_files_and_fails_for_the_bad_one(call, blob_run, png, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff cut off")
    out = tmp_path / "points.csv"
    result = call("predict", blob_run.path, png, bad, "--csv", out)
    assert result.exit_code == 1
    assert "file is damaged" in result.output and "bad.jpg" in result.output
    assert len(out.read_text().splitlines()) == 3  # header and two landmarks


NAMES = (
    "$^$.png",  # no formula, so that matplotlib fails
    "=1+1.png",
    "@sum(a,b).png",
    "[red]x].png",
    "<b>&\"quoted\" 'too'.png",
    "two\nlines\x1b[31m.png",
    "骨 ☠.png",
)


@pytest.fixture
def strange_files(png, tmp_path):
    """Copies of an image with names that programs take for something else."""
    folder = tmp_path / "films["  # with the next name, [/...] of rich's markup
    folder.mkdir()
    for name in NAMES:
        shutil.copyfile(png, folder / name)
    return folder


def test_names_of_files_are_only_names(call, blob_run, strange_files, tmp_path):
    out, overlay, markups = tmp_path / "p.csv", tmp_path / "o", tmp_path / "m"
    result = call(
        *("predict", blob_run.path, strange_files, "--csv", out, "--overlay", overlay),
        *("--markups", markups, "--json", tmp_path / "p.json"),
    )
    assert result.exit_code == 0, result.output
    stems = sorted(path.stem for path in strange_files.iterdir())
    assert sorted(path.stem for path in overlay.iterdir()) == stems
    assert len([*markups.iterdir()]) == len(stems)
    with out.open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 2 * len(stems)
    assert len(json.loads((tmp_path / "p.json").read_text())) == len(stems)
    # Paths begin with a folder; the points of a set are named by their image.
    printed = call("predict", blob_run.path, strange_files)
    assert printed.exit_code == 0, printed.output
    assert "$^$.png" in printed.output and "[red]x].png" in printed.output
    assert "\x1b[31m" not in printed.output and r"two\nlines\x1b[31m" in printed.output


def test_a_name_that_is_not_utf_8(call, blob_run, png, tmp_path):
    folder, out, overlay = tmp_path / "films", tmp_path / "p.csv", tmp_path / "o"
    folder.mkdir()
    for name in (b"caf\xe9.png", b"b.png"):
        shutil.copyfile(png, folder / os.fsdecode(name))
    result = call(
        *("predict", blob_run.path, folder, "--csv", out, "--overlay", overlay)
    )
    # SimpleITK, which reads the pixels for the overlay, cannot open it.
    assert result.exit_code == 1
    assert r"caf\xe9.png: nothing written" in result.output
    assert [path.name for path in overlay.iterdir()] == ["b.png"]
    assert r"caf\xe9.png" in out.read_text("utf-8")
    printed = call("predict", blob_run.path, folder)
    assert printed.exit_code == 0 and r"caf\xe9.png" in printed.output


def test_a_relative_name_is_no_formula(call, blob_run, png, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(png, "=cmd|' calc'!A0.png")
    result = call("predict", blob_run.path, "=cmd|' calc'!A0.png", "--csv", "p.csv")
    assert result.exit_code == 0, result.output
    with open("p.csv", newline="") as file:
        assert {row["file"] for row in csv.DictReader(file)} == {"'=cmd|' calc'!A0.png"}


def test_a_file_that_cannot_be_written_is_named_and_the_others_written(
    call, blob_run, png, tmp_path
):
    folder, out = tmp_path / "films", tmp_path / "markups"
    folder.mkdir()
    # With `.mrk.json` and `.part`, the name has more than 255 characters.
    for name in ("a" * 250 + ".png", "b.png"):
        shutil.copyfile(png, folder / name)
    result = call("predict", blob_run.path, folder, "--markups", out)
    assert result.exit_code == 1
    assert f"{'a' * 250}.png: nothing written" in result.output
    assert [path.name for path in out.iterdir()] == ["b.mrk.json"]


def test_the_folder_of_the_output_is_checked_first(call, blob_run, png, tmp_path):
    result = call("predict", blob_run.path, png, "--csv", tmp_path / "new" / "p.csv")
    assert result.exit_code == 2
    assert "Create" in result.output and "new" in result.output
