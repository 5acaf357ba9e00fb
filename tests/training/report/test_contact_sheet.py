import base64
import dataclasses
import io
import re

import matplotlib.image
import numpy as np
import pytest
import tensorflow_datasets as tfds
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.datasets import LandmarkBuilder, prepare
from scn_keras.inference import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import to_png
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.input import pipeline
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network
from scn_keras.training.report.contact_sheet import (
    contact_sheet,
    recipe_for,
    write_sheet,
)


class Blocks(LandmarkBuilder):
    """Volumes with points by two observers, some of them missing."""

    VERSION = tfds.core.Version("1.0.0")
    DIMENSIONS = 3
    OBSERVERS = ("first", "second")
    SCHEMA = LandmarkSchema(("left", "right", "top"), ((0, 1),), ((0, 1),))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in ("train", "test")}

    def _generate_examples(self, split):
        for n in range(3):
            rng = np.random.default_rng(n)
            volume = rng.integers(0, 255, (18, 16, 20), np.uint8)
            points = {
                f"points_{name}": rng.uniform(1.0, 14.0, (3, 3))
                for name in self.OBSERVERS
            }
            points["points_first"][2] = np.nan
            affine = np.diag([0.5, 0.5, 1.0, 1.0])
            id = f"{split}{n}"
            yield id, self.sample(id, volume, points, affine)


@pytest.fixture(scope="module")
def block_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    prepare(Blocks, data_dir=folder, report=lambda line: None)
    return folder


@pytest.fixture
def hands(tiny_data):
    """A recipe for `tiny_hands`, and where they lie."""
    recipe = Recipe(
        name="tiny",
        dataset="tiny_hands",
        image_to_grid=ImageToGrid(grid=(48, 32)),
        network=Network(levels=3),
    )
    return recipe, tiny_data


def shown(axes):
    """What a panel shows: the image, and the points of each observer."""
    points = [
        np.ma.filled(scatter.get_offsets(), np.nan) for scatter in axes.collections[1:]
    ]
    return np.asarray(axes.images[0].get_array()), points


def test_samples_are_drawn_with_their_points(tiny_data):
    sheet = contact_sheet("tiny_hands", count=4, data_dir=tiny_data)
    titles = [axes.get_title("left") for axes in sheet.axes]
    assert len(set(titles)) == 4
    samples = data.find_samples("tiny_hands", "train", titles, tiny_data)
    for axes, id in zip(sheet.axes, titles, strict=True):
        image, (points,) = shown(axes)
        np.testing.assert_array_equal(image, samples[id]["image"][..., 0])
        np.testing.assert_allclose(points, samples[id]["points"], rtol=1e-6)
    schema = data.prepared_builder("tiny_hands", tiny_data).SCHEMA
    (legend,) = sheet.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [f"{n}: {name}" for n, name in enumerate(schema.names)]
    assert len(sheet.axes[0].texts) == len(schema)  # numbered in the first picture
    assert "train: 4 of 6 samples, seed 0" in sheet.get_suptitle()


def test_split_count_and_seed_choose_the_samples(tiny_data):
    def ids(**options):
        sheet = contact_sheet("tiny_hands", data_dir=tiny_data, **options)
        return [axes.get_title("left") for axes in sheet.axes]

    assert len(ids(split="test")) == 3  # fewer than 10, so all
    assert ids(count=3, seed=1) == ids(count=3, seed=1)
    assert len({tuple(ids(count=3, seed=seed)) for seed in range(4)}) > 1
    assert set(ids(count=2)) < set(data.sample_ids("tiny_hands", "train", tiny_data))


def test_the_same_sheet_has_the_same_bytes(hands):
    recipe, folder = hands
    sheets = [
        contact_sheet("tiny_hands", count=1, augmented=recipe, data_dir=folder)
        for _ in range(2)
    ]
    assert to_png(sheets[0]) == to_png(sheets[1])


def test_volumes_are_drawn_along_three_axes_with_all_observers(block_data):
    sheet = contact_sheet("blocks", count=2, data_dir=block_data)
    assert len(sheet.axes) == 2 * 3
    id, missing = sheet.axes[0].get_title("left").split(", ")
    assert missing == "1 missing"
    sample = data.find_samples("blocks", "train", [id], block_data)[id]
    volume = sample["image"][..., 0]
    for axes, axis, columns in zip(
        sheet.axes, (0, 1, 2), ([0, 1], [0, 2], [1, 2]), strict=False
    ):
        plane, points = shown(axes)
        np.testing.assert_array_equal(plane, volume.max(axis=axis))
        for name, drawn in zip(Blocks.OBSERVERS, points, strict=True):
            there = sample[f"points_{name}"][:, columns]
            np.testing.assert_allclose(drawn, there, rtol=1e-6)
    # Slices are twice as thick as pixels are wide; upwards is along z.
    assert sheet.axes[0].get_aspect() == 1.0
    assert sheet.axes[1].get_aspect() == 2.0
    assert sheet.axes[0].yaxis_inverted() and not sheet.axes[1].yaxis_inverted()
    observers, names = (
        [text.get_text() for text in legend.get_texts()] for legend in sheet.legends
    )
    assert observers == ["first", "second"]
    assert names == ["0: left", "1: right", "2: top"]


def test_augmented_samples_are_what_training_sees(hands):
    recipe, folder = hands
    sheet = contact_sheet(
        "tiny_hands", count=2, seed=5, augmented=recipe, data_dir=folder
    )
    assert len(sheet.axes) == 2 * 5
    # The first of a row is the image as it is, on the grid.
    id = sheet.axes[0].get_title("left")
    samples = data.load_samples("tiny_hands", "train", folder)
    samples = samples.filter(lambda sample: sample["id"] == id)
    (plain,) = pipeline.evaluation_batches(samples, recipe, 1)
    image, (points,) = shown(sheet.axes[0])
    np.testing.assert_allclose(image, plain[0][0, ..., 0], atol=1e-5)
    np.testing.assert_allclose(points, plain[1]["points"][0], atol=1e-4)
    # All others are drawn with other numbers, on the same scale of grey values.
    (sample,) = samples
    seeded = dataclasses.replace(recipe, seed=5)
    for number in range(1, 5):
        image, (points,) = shown(sheet.axes[number])
        prepared = pipeline.prepare(sample, seeded)
        wanted, y = pipeline.augment(prepared, np.int64(number), seeded)
        np.testing.assert_allclose(image, wanted[..., 0], atol=1e-5)
        np.testing.assert_allclose(points, y["points"], atol=1e-4)
        assert sheet.axes[number].get_title("left") == f"{id}, augmented"
        assert sheet.axes[number].images[0].get_clim() == (
            sheet.axes[0].images[0].get_clim()
        )
    moved = [shown(axes)[1][0] for axes in sheet.axes[:5]]
    assert min(np.abs(a - moved[0]).max() for a in moved[1:]) > 0.5


def test_augmented_volumes(block_data):
    recipe = recipe_for("blocks", block_data)
    assert (recipe.dataset, recipe.observer, recipe.grid) == (
        "blocks", "mean", (96, 96, 96)
    )  # fmt: skip
    small = dataclasses.replace(
        recipe,
        image_to_grid=dataclasses.replace(recipe.image_to_grid, grid=(16, 16, 16)),
    )
    sheet = contact_sheet("blocks", count=2, augmented=small, data_dir=block_data)
    assert len(sheet.axes) == 2 * 2 * 3
    for axes in sheet.axes:
        plane, (points,) = shown(axes)
        assert plane.shape == (16, 16)
        assert np.isfinite(points[:2]).all() and np.isnan(points[2]).all()


def test_a_recipe_that_comes_for_the_set_is_taken():
    assert recipe_for("cephalogram").name == "cephalogram_fast"
    assert recipe_for("synthetic_hand/small").name == "synthetic_hand"


def test_a_recipe_for_other_images_is_refused(hands, block_data):
    recipe, folder = hands
    with pytest.raises(ValueError, match="'tiny' is for 2D images.* are 3D"):
        contact_sheet("blocks", augmented=recipe, data_dir=block_data)
    plain = dataclasses.replace(recipe, augmentation=None)
    with pytest.raises(ValueError, match="'tiny' has no augmentation"):
        contact_sheet("tiny_hands", augmented=plain, data_dir=folder)
    mirrors = dataclasses.replace(recipe, augmentation=Augmentation(flip=0.5))
    with pytest.raises(ValueError, match="mirrors images, but .* no `pairs`"):
        contact_sheet("tiny_hands", augmented=mirrors, data_dir=folder)
    with pytest.raises(ValueError, match="has the splits test, train"):
        contact_sheet("tiny_hands", split="train2", data_dir=folder)


@pytest.fixture
def call(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, ["datasets", "show", *map(str, arguments)])

    return run


def test_the_command_writes_a_picture(call, tiny_data, tmp_path):
    result = call("tiny_hands", "--data-dir", tiny_data, "--count", 2)
    assert result.exit_code == 0, result.output
    assert result.output == "Drawn: tiny_hands.png\n"
    picture = matplotlib.image.imread(tmp_path / "tiny_hands.png")
    assert picture.std() > 0.05


@pytest.mark.parametrize("name", ["new/sheet.jpg", "sheet.html"])
def test_the_command_writes_what_the_name_says(call, hands, tmp_path, name):
    _, folder = hands
    result = call(
        "tiny_hands", "--data-dir", folder, "--split", "test", "--count", 1,
        "--augmented", "--out", name,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    content = (tmp_path / name).read_bytes()
    if name.endswith("html"):
        text = content.decode()
        assert not re.search(r"https?://|url\(|<script|href", text)
        (code,) = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', text)
        content = base64.b64decode(code)
    picture = matplotlib.image.imread(io.BytesIO(content), "jpeg")
    assert picture.std() > 10


def test_mistakes_get_a_sentence(call, tiny_data, tmp_path):
    for arguments, words in (
        (
            ["tiny_hands", "--out", "sheet.gif"],
            ".png, .jpg or .html. Received: sheet.gif",
        ),
        (["tiny_hands", "--augmented", "knees"], "There is no recipe 'knees'"),
        (["synthetic_hand"], "scn-keras datasets prepare synthetic_hand"),
    ):
        result = call(*arguments, "--data-dir", tiny_data)
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert words in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_command_explains_itself(call):
    result = call("--help")
    assert result.exit_code == 0
    for option in ("--split", "--count", "--seed", "--augmented", "--out"):
        assert option in result.output


def test_an_unknown_kind_of_file_is_refused(hands, tmp_path):
    sheet = contact_sheet("tiny_hands", count=1, data_dir=hands[1])
    with pytest.raises(ValueError, match="Received: .*sheet.tiff"):
        write_sheet(sheet, tmp_path / "sheet.tiff")
