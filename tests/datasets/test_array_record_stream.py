import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from scn_keras.datasets import prepare
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema

REPOSITORY = Path(__file__).parents[2]


class Streamed(LandmarkBuilder):
    """Two splits of small images, of which each holds its own number."""

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("a",))
    SUBSETS = {
        "few": ("first", frozenset({"1", "4"})),
        "both": ("first+second", frozenset({"2", "31", "33"})),
    }

    def _split_generators(self, dl_manager):
        return {
            "first": self._generate_examples(range(12)),
            "second": self._generate_examples(range(30, 34)),
        }

    def _generate_examples(self, numbers):
        for number in numbers:
            image = np.full((5 + number, 8), number, np.uint8)
            points = {"points": np.full((1, 2), number)}
            yield f"{number}", self.sample(f"{number}", image, points, np.eye(3))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    prepare(Streamed, folder, report=lambda line: None)
    return folder


def numbers(samples):
    """The numbers of samples in their order; the parts of each must agree."""
    if isinstance(samples, tf.data.Dataset):
        samples = samples.as_numpy_iterator()
    found = []
    for sample in samples:
        number = int(sample["id"])
        found.append(number)
        expected = np.full((5 + number, 8, 1), number, np.uint8)
        np.testing.assert_array_equal(sample["image"], expected)
        np.testing.assert_array_equal(sample["points"], [[number, number]])
    return found


def test_all_samples_in_one_order_of_known_length(root):
    splits = tfds.load("streamed", data_dir=root)
    assert sorted(splits) == ["first", "second"]
    order = numbers(splits["first"])
    assert sorted(order) == list(range(12))
    assert int(splits["first"].cardinality()) == 12
    assert numbers(splits["first"]) == order
    assert numbers(tfds.load("streamed", data_dir=root, split="first")) == order
    # The same order as by random access.
    assert numbers(tfds.data_source("streamed", data_dir=root, split="first")) == order


@pytest.mark.parametrize(
    ("split", "start", "stop"),
    [("first[:5]", 0, 5), ("first[7:]", 7, 12), ("first[25%:50%]", 3, 6)],
)
def test_slices(root, split, start, stop):
    order = numbers(tfds.load("streamed", data_dir=root, split="first"))
    samples = tfds.load("streamed", data_dir=root, split=split)
    assert int(samples.cardinality()) == stop - start
    assert numbers(samples) == order[start:stop]


def test_sums_of_splits(root):
    samples = tfds.load("streamed", data_dir=root, split="first[:3]+second")
    assert int(samples.cardinality()) == 7
    assert set(numbers(samples)) > {30, 31, 32, 33}


@pytest.mark.parametrize(
    ("subset", "expected"), [("few", [1, 4]), ("both", [2, 31, 33])]
)
def test_subsets_are_loaded_by_name(root, subset, expected):
    samples = tfds.load("streamed", data_dir=root, split=subset)
    assert int(samples.cardinality()) == len(expected)
    assert sorted(numbers(samples)) == expected
    uncached = tfds.ReadConfig(try_autocache=False)
    samples = tfds.load("streamed", data_dir=root, split=subset, read_config=uncached)
    assert sorted(numbers(samples)) == expected


def test_an_unknown_split(root):
    with pytest.raises(ValueError, match="Unknown split 'third'"):
        tfds.load("streamed", data_dir=root, split="third")


def test_files_are_shuffled_and_numbered_when_asked(tmp_path):
    builder = Streamed(data_dir=tmp_path)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(num_shards=4)
    )
    assert builder.info.splits["first"].num_shards == 4
    order = numbers(builder.as_dataset(split="first"))
    read = tfds.ReadConfig(shuffle_seed=3, add_tfds_id=True, interleave_cycle_length=1)
    samples = builder.as_dataset(
        split="first", shuffle_files=True, read_config=read
    ).cache()
    shuffled = numbers(samples)
    assert sorted(shuffled) == list(range(12))
    assert shuffled != order
    ids = [sample["tfds_id"].decode() for sample in tfds.as_numpy(samples)]
    assert len(set(ids)) == 12
    assert all(id.startswith("streamed-first.array_record-0000") for id in ids)


def test_images_stay_encoded_when_asked(root):
    (sample,) = tfds.as_numpy(
        tfds.load(
            "streamed",
            data_dir=root,
            split="first[:1]",
            decoders={"image": tfds.decode.SkipDecoding()},
        )
    )
    assert sample["image"].startswith(b"\x89PNG")


def test_readers_without_the_builder(root):
    # TFDS takes neither of them from the code of the builder.
    order = numbers(tfds.load("streamed", data_dir=root, split="first"))
    named = tfds.builder("streamed:1.0.0", data_dir=root)
    found = tfds.builder_from_directory(root / "streamed" / "1.0.0")
    for builder in (named, found):
        assert not isinstance(builder, Streamed)
        assert numbers(builder.as_dataset(split="first")) == order


def test_builders_store_array_record_unless_told(tmp_path):
    assert Streamed(data_dir=tmp_path).info.file_format.value == "array_record"
    builder = Streamed(data_dir=tmp_path, file_format="tfrecord")
    builder.download_and_prepare()
    assert list((tmp_path / "streamed" / "1.0.0").glob("*.tfrecord*"))
    # Sets that were stored so before are read as they are.
    read = Streamed(data_dir=tmp_path)
    assert read.info.file_format.value == "tfrecord"
    assert sorted(numbers(read.as_dataset(split="first"))) == list(range(12))


# As if TensorFlow were not installed. (`sys.modules["tensorflow"] = None` would not
# do: TFDS looks whether the name is there.)
WITHOUT_TENSORFLOW = """
import sys
from importlib.machinery import PathFinder

class WithoutTensorFlow(PathFinder):
    @classmethod
    def find_spec(cls, name, *args):
        if name.partition(".")[0] == "tensorflow":
            return None
        return super().find_spec(name, *args)

sys.meta_path[:] = [WithoutTensorFlow if f is PathFinder else f for f in sys.meta_path]
try:
    import tensorflow
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("TensorFlow was found.")
"""


def test_prepares_and_reads_without_tensorflow(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""{WITHOUT_TENSORFLOW}
import numpy as np
import tensorflow_datasets as tfds
import scn_keras.datasets.cephalogram
from scn_keras.datasets import LandmarkBuilder, prepare
from scn_keras.landmark_schema import LandmarkSchema

class Flat(LandmarkBuilder):
    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("a",))

    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples()}}

    def _generate_examples(self):
        shape = (*[3, 4, 5][-self.DIMENSIONS :],)
        for number in range(3):
            image = np.full(shape, number + 7).astype(self.IMAGE_DTYPE)
            points = {{"points": np.full((1, self.DIMENSIONS), number)}}
            affine = np.eye(self.DIMENSIONS + 1)
            yield str(number), self.sample(str(number), image, points, affine)

class Deep(Flat):
    DIMENSIONS = 3
    IMAGE_DTYPE = "int16"

class Radiograph(Flat):
    IMAGE_DTYPE = "uint16"

for cls in (Flat, Deep, Radiograph):
    prepare(cls, sys.argv[1], report=lambda line: None)
    source = tfds.data_source(cls.name, data_dir=sys.argv[1], split="train[1:]")
    assert len(source) == 2
    for sample in source:
        image = sample["image"]
        assert (image == int(sample["id"]) + 7).all()
        print(cls.name, image.dtype, image.shape, sample["points"].shape)
assert "tensorflow" not in sys.modules
""")
    process = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "tfds")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == [
        *["flat uint8 (4, 5, 1) (1, 2)"] * 2,
        *["deep int16 (3, 4, 5, 1) (1, 3)"] * 2,
        *["radiograph uint16 (4, 5, 1) (1, 2)"] * 2,
    ]
