"""Folders in which some files cannot be read."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from scn_keras.cli import main
from scn_keras.datasets import DatasetFolderError, builder_class, prepare
from scn_keras.datasets.check import check_folder
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.evaluation.folder_split import FolderSplit


@pytest.fixture
def folder(tmp_path):
    """Six images: the row of 1 is broken, 2 is cut, 3 has no points."""
    path = tmp_path / "films"
    path.mkdir()
    rows = ["image,a_x,a_y,b_x,b_y"]
    for n in range(6):
        noise = np.random.default_rng(n).integers(0, 255, (40, 50), np.uint8)
        Image.fromarray(noise).save(path / f"{n}.png")
        if n != 3:
            rows.append(f"{n},{'left' if n == 1 else 3 + n},4,{20 + n},30")
    (path / "p.csv").write_text("\n".join(rows))
    cut = path / "2.png"
    cut.write_bytes(cut.read_bytes()[:900])
    return path


BAD = ("p.csv, line 3", "2.png", "3.png has no points")


def test_all_bad_files_are_named_at_once_and_nothing_is_written(folder, tmp_path):
    data_dir = tmp_path / "data"
    with pytest.raises(DatasetFolderError) as caught:
        prepare("landmark_folder", data_dir, folder, "films")
    assert len(caught.value.problems) == 3
    for bad in BAD:
        assert any(bad in problem for problem in caught.value.problems)
    assert "--skip-bad" in str(caught.value)
    assert not data_dir.exists()


def test_bad_files_can_be_left_out(folder, tmp_path):
    data_dir = tmp_path / "data"
    result = CliRunner().invoke(
        main,
        [
            *("datasets", "prepare", "landmark_folder/films", "--skip-bad"),
            *("--manual-dir", str(folder), "--data-dir", str(data_dir)),
        ],
    )
    assert result.exit_code == 1
    assert "(train 3): prepared" in result.output
    lines = [n for n in result.output.splitlines() if n.startswith("Left out: ")]
    assert len(lines) == 3
    assert all(any(bad in line for line in lines) for bad in BAD)
    builder = builder_class("landmark_folder")(data_dir=data_dir, config="films")
    samples = builder.read_split("train").as_numpy_iterator()
    assert sorted(sample["id"] for sample in samples) == [b"0", b"4", b"5"]
    # The set keeps what it lacks.
    assert any("2.png" in note for note in builder.info.metadata["notes"])


def test_problems_of_all_files_are_not_left_out(folder, tmp_path):
    (folder / "landmarks.toml").write_text('names = ["a"]\n')
    with pytest.raises(DatasetFolderError, match="'b' is not among the names"):
        prepare("landmark_folder", tmp_path / "data", folder, "films", left_out=[])


def test_a_folder_of_bad_files_only(folder, tmp_path):
    for path in folder.glob("*.png"):
        path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DatasetFolderError, match=r"5\.png"):
        prepare("landmark_folder", tmp_path / "data", folder, "films", left_out=[])


def test_nothing_is_left_out_of_a_clean_folder(folder, tmp_path):
    for n in (1, 2, 3):
        (folder / f"{n}.png").unlink()
    rows = (folder / "p.csv").read_text().splitlines()
    (folder / "p.csv").write_text("\n".join(rows[i] for i in (0, 1, 4, 5)))
    left_out = []
    prepare("landmark_folder", tmp_path / "data", folder, "films", left_out=left_out)
    assert left_out == []


def test_all_broken_cells_are_named_by_every_command(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    names = "abcd"
    rows = [f"image,{','.join(f'{n}_x,{n}_y' for n in names)}"]
    broken = {0: "b", 1: "ad", 3: "c", 4: "abd"}
    for n in range(6):
        noise = np.random.default_rng(n).integers(0, 255, (40, 50), np.uint8)
        Image.fromarray(noise).save(folder / f"{n}.png")
        cells = [f"{'?' if c in broken.get(n, '') else 9},{n}" for c in names]
        rows.append(",".join([str(n), *cells]))
    (folder / "p.csv").write_text("\n".join(rows))
    expected = [
        f"p.csv, line {n + 2}: the position of {c!r} must have 2 finite numbers. "
        f"Received: {c}_x='?', {c}_y='{n}'"
        for n, letters in broken.items()
        for c in letters
    ]
    with pytest.raises(DatasetFolderError) as prepared:
        prepare("landmark_folder", tmp_path / "data", folder, "films")
    assert [*prepared.value.problems] == expected
    findings = check_folder(folder).findings
    assert [f.message for f in findings if f.kind == "file"] == expected
    with pytest.raises(DatasetFolderError) as evaluated:
        FolderSplit(folder, LandmarkSchema((*names,)), 2)
    assert [*evaluated.value.problems] == expected
