import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from scn_keras.datasets import DatasetFolderError, prepare
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema

REPOSITORY = Path(__file__).parents[2]


class Numbers(LandmarkBuilder, skip_registration=True):
    """One sample for each line of numbers.txt; `trouble` may happen on the way."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The folder must hold numbers.txt."
    SCHEMA = LandmarkSchema(("a",))
    trouble = None
    made = 0

    def folder_problems(self, folder):
        path = folder / "numbers.txt"
        return [] if path.is_file() else ["numbers.txt is missing."]

    def folder_notes(self, folder):
        return ["A note."]

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(dl_manager.manual_dir)}

    def _generate_examples(self, folder):
        for line in (folder / "numbers.txt").read_text().split():
            image = np.full((4, 4), int(line), np.uint8)
            yield line, self.sample(line, image, {"points": np.ones((1, 2))}, np.eye(3))
            type(self).made += 1
            if self.trouble is not None:
                raise self.trouble


class Sized(LandmarkBuilder, skip_registration=True):
    """Two configurations, no folder."""

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("a",))
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="small"),
        tfds.core.BuilderConfig(name="large"),
    ]

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        side = {"small": 4, "large": 9}[self.builder_config.name]
        image = np.zeros((side, side), np.uint8)
        yield "0", self.sample("0", image, {"points": np.ones((1, 2))}, np.eye(3))


@pytest.fixture(autouse=True)
def no_trouble():
    Numbers.trouble, Numbers.made = None, 0
    yield
    Numbers.trouble = None


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "numbers.txt").write_text("1 2 3")
    return folder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "new" / "tfds"


def numbers_in(builder):
    samples = tfds.as_numpy(builder.as_dataset(split="train"))
    return sorted(int(sample["image"][0, 0, 0]) for sample in samples)


def test_prepares_and_leaves_nothing_else(folder, root, capsys):
    builder = prepare(Numbers, root, folder)
    assert numbers_in(builder) == [1, 2, 3]
    assert builder.info.file_format is tfds.core.FileFormat.ARRAY_RECORD
    assert [path.name for path in root.iterdir()] == ["numbers"]
    assert [path.name for path in (root / "numbers").iterdir()] == ["1.0.0"]
    out = capsys.readouterr().out
    assert out == f"A note.\nnumbers/1.0.0 (train 3): prepared in {builder.data_dir}\n"


def test_a_prepared_set_is_left_alone(folder, root):
    prepare(Numbers, root, folder)
    (folder / "numbers.txt").unlink()
    lines = []
    builder = prepare(Numbers, root, folder, report=lines.append)
    assert lines == [
        f"numbers/1.0.0 (train 3): prepared already, in {root / 'numbers' / '1.0.0'}"
    ]
    assert numbers_in(builder) == [1, 2, 3]
    assert Numbers.made == 3


def test_overwrite_prepares_anew(folder, root):
    prepare(Numbers, root, folder)
    (folder / "numbers.txt").write_text("7")
    assert numbers_in(prepare(Numbers, root, folder, overwrite=True)) == [7]
    assert [path.name for path in (root / "numbers").iterdir()] == ["1.0.0"]


@pytest.mark.parametrize("trouble", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_remains_of_an_interrupted_run(folder, root, trouble):
    Numbers.trouble = trouble
    with pytest.raises(type(trouble)):
        prepare(Numbers, root, folder)
    assert Numbers.made == 1
    assert not root.parent.exists()

    Numbers.trouble = None
    assert numbers_in(prepare(Numbers, root, folder)) == [1, 2, 3]


@pytest.mark.parametrize("trouble", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_overwrite_leaves_the_old_set(folder, root, trouble):
    prepare(Numbers, root, folder)
    (folder / "numbers.txt").write_text("7")
    Numbers.trouble = trouble
    with pytest.raises(type(trouble)):
        prepare(Numbers, root, folder, overwrite=True)
    assert [path.name for path in root.iterdir()] == ["numbers"]
    assert numbers_in(Numbers(data_dir=root)) == [1, 2, 3]


def test_what_a_killed_process_left_is_removed(tmp_path, folder, root):
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys\n"
        "import numpy as np, tensorflow_datasets as tfds\n"
        "from scn_keras.datasets import LandmarkBuilder, prepare\n"
        "from scn_keras.landmark_schema import LandmarkSchema\n"
        "class Numbers(LandmarkBuilder, skip_registration=True):\n"
        "    VERSION = tfds.core.Version('1.0.0')\n"
        "    SCHEMA = LandmarkSchema(('a',))\n"
        "    def _split_generators(self, dl_manager):\n"
        "        return {'train': self._generate_examples()}\n"
        "    def _generate_examples(self):\n"
        "        image, points = np.zeros((4, 4), np.uint8), np.ones((1, 2))\n"
        "        yield '1', self.sample('1', image, {'points': points}, np.eye(3))\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "prepare(Numbers, sys.argv[1])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.run(
        [sys.executable, str(script), str(root)],
        check=False,
        env=environment,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    # No data set is there, only the hidden folder that was being filled.
    assert [path.name for path in root.iterdir()] == [".preparing-numbers"]
    assert list(root.rglob("features.json")) == []

    prepare(Numbers, root, folder)
    assert [path.name for path in root.iterdir()] == ["numbers"]
    assert numbers_in(Numbers(data_dir=root)) == [1, 2, 3]


def test_a_second_process_waits_and_uses_what_the_first_made(folder, root):
    other = root.parent / "other"
    finished = prepare(Numbers, other, folder).data_dir
    made = Numbers.made
    root.mkdir()
    lock = os.open(root, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    waiting, result = threading.Event(), []

    def report(line):
        if "waiting" in line:
            waiting.set()

    thread = threading.Thread(
        target=lambda: result.append(prepare(Numbers, root, folder, report=report))
    )
    thread.start()
    try:
        assert waiting.wait(60)
        (root / "numbers").mkdir()
        Path(finished).rename(root / "numbers" / "1.0.0")
    finally:
        os.close(lock)
        thread.join(60)
    assert numbers_in(result[0]) == [1, 2, 3]
    assert Numbers.made == made


def test_a_wrong_folder_is_reported_before_anything_is_written(folder, root):
    (folder / "numbers.txt").unlink()
    with pytest.raises(DatasetFolderError) as caught:
        prepare(Numbers, root, folder)
    assert caught.value.problems == ("numbers.txt is missing.",)
    assert str(caught.value) == (
        f"{folder} cannot be prepared as 'numbers': 1 problem. Nothing was written.\n"
        "  - numbers.txt is missing.\n"
        "The folder must hold numbers.txt."
    )
    assert not root.parent.exists()


def test_a_folder_that_does_not_exist(root, tmp_path):
    with pytest.raises(
        DatasetFolderError, match="nowhere cannot be prepared.*\n.*does not exist"
    ):
        prepare(Numbers, root, tmp_path / "nowhere")
    assert not root.parent.exists()


def test_without_a_folder_the_one_of_tfds_is_used(folder, root):
    with pytest.raises(DatasetFolderError, match="downloads/manual cannot be prepared"):
        prepare(Numbers, root)
    (root / "downloads").mkdir(parents=True)
    folder.rename(root / "downloads" / "manual")
    assert numbers_in(prepare(Numbers, root)) == [1, 2, 3]
    assert (root / "downloads" / "manual" / "numbers.txt").is_file()


def test_a_folder_is_refused_where_none_is_read(folder, root):
    with pytest.raises(ValueError, match="'sized' reads no folder.*manual_dir=.*sourc"):
        prepare(Sized, root, folder)
    assert not root.parent.exists()


def test_configurations_lie_side_by_side(root):
    large = prepare(Sized, root, config="large")
    (sample,) = tfds.as_numpy(large.as_dataset(split="train"))
    assert sample["image"].shape == (9, 9, 1)
    prepare(Sized, root, config="small")
    # Without the code TFDS finds the default one, the first, by what lies on disk.
    (sample,) = tfds.as_numpy(tfds.load("sized", data_dir=root, split="train"))
    assert sample["image"].shape == (4, 4, 1)
    assert [path.name for path in root.iterdir()] == ["sized"]


def test_an_unknown_configuration(root):
    with pytest.raises(ValueError, match="huge not found"):
        prepare(Sized, root, config="huge")
    assert not root.parent.exists()


def test_an_unknown_name(root):
    with pytest.raises(ValueError, match="name='knee'. Known names: cephalogram"):
        prepare("knee", root)


def test_home_is_expanded(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    builder = prepare(Numbers, "~/tfds", "~/source")
    assert Path(builder.data_dir) == tmp_path / "tfds" / "numbers" / "1.0.0"


def test_the_environment_names_the_default_folder(folder, tmp_path):
    # TFDS reads the variable when it is imported.
    code = (
        "from scn_keras.datasets import builder_class\n"
        "print(builder_class('cephalogram')().data_dir_root)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "TFDS_DATA_DIR": str(tmp_path / "mine")},
    )
    assert out.stdout.strip() == str(tmp_path / "mine")


def test_a_set_that_something_else_left_half_done_is_replaced(folder, root):
    half = root / "numbers" / "1.0.0"
    half.mkdir(parents=True)
    (half / "numbers-train.array_record-00000-of-00001").write_bytes(b"half")
    assert numbers_in(prepare(Numbers, root, folder)) == [1, 2, 3]


def test_prepared_sets_are_read_without_our_code(folder, root):
    prepare(Numbers, root, folder)
    builder = tfds.builder("numbers", data_dir=root)
    assert type(builder) is not Numbers
    assert numbers_in(builder) == [1, 2, 3]
