"""`scn-keras samples`, and the command that it prints."""

import re
import shlex

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from scn_keras.cli import main
from scn_keras.datasets.synthetic_hand import generate_hand
from scn_keras.datasets.synthetic_hand.sample_files import write_sample_files
from scn_keras.files import read_point_sets


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_images_are_drawn_with_their_points(tmp_path):
    paths = write_sample_files(tmp_path / "samples", 2)
    assert [path.name for path in paths] == ["hand_1.png", "hand_2.png"]
    hand = generate_hand(seed=0, index=2_000_000_001)
    with Image.open(paths[1]) as image:
        np.testing.assert_array_equal(np.asarray(image), hand["image"])
    _, second = read_point_sets(tmp_path / "samples" / "points.csv")
    assert second.image == "hand_2.png" and len(second.labels) == 37
    np.testing.assert_allclose(second.points, hand["points"], atol=0.005 + 1e-4)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.png").write_bytes(b"mine")
    done = call("samples", tmp_path)
    assert done.exit_code == 1 and f"{tmp_path} exists and is not empty" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
    with pytest.raises(ValueError, match="Received: count=0"):
        write_sample_files(tmp_path / "new", 0)


def test_the_printed_command_finds_the_landmarks(tmp_path):
    folder = tmp_path / "my samples"
    done = call("samples", folder, "--images", 1)
    assert done.exit_code == 0, done.output
    (command,) = re.findall("Next: scn-keras (.*)", done.output)
    out = tmp_path / "points.csv"
    done = call(*shlex.split(command), "--csv", out)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "my samples_overlays" / "hand_1.png").is_file()
    (truth,) = read_point_sets(folder / "points.csv")
    (found,) = read_point_sets(out)
    assert [*found.labels] == [*truth.labels]
    errors = np.linalg.norm(found.points - truth.points, axis=-1)
    assert np.median(errors) < 2.0
