import json
import shutil

import h5py
import keras
import numpy as np
import pytest

import scn_keras
from scn_keras.models import LandmarkModel, from_preset, preset_names, preset_path

SHIPPED = "synthetic_hand"


@pytest.fixture(scope="module")
def hand():
    """A hand of no training set, on the grid of the preset, and its points."""
    from scn_keras.datasets.synthetic_hand import generate_hand

    film = generate_hand(seed=0, index=2_000_000_000, size=(384, 288))
    image = film["image"].reshape(192, 2, 144, 2).mean(axis=(1, 3))
    low, high = np.quantile(image, [0.01, 0.99])
    grey = np.clip((image - low) / (high - low), 0.0, 1.0) * 2.0 - 1.0
    return grey[None, :, :, None].astype("float32"), (film["points"] - 0.5) / 2.0


def test_the_preset_that_comes_with_the_package_finds_a_hand(hand):
    image, points = hand
    model = from_preset(SHIPPED)
    assert isinstance(model, LandmarkModel)
    assert isinstance(model.schema, scn_keras.LandmarkSchema)
    assert len(model.schema) == len(points) == 37
    assert {w.dtype for w in model.trainable_weights} == {"float32"}
    found = model.localizer.predict(image, verbose=0)["points"][0]
    errors = np.linalg.norm(found - points, axis=-1)
    assert np.median(errors) < 0.75  # of a pixel of the grid, 1.3 mm or so
    assert errors.max() < 5.0


def test_its_weights_are_in_half_precision_on_disk():
    path = preset_path(SHIPPED) / "model.weights.h5"
    weights = {
        w.path: keras.ops.convert_to_numpy(w) for w in from_preset(SHIPPED).weights
    }
    kernel = weights["local_appearance/stem/kernel"]
    stored = []
    with h5py.File(path) as file:
        file.visititems(
            lambda _, item: (
                stored.append(item[()]) if isinstance(item, h5py.Dataset) else None
            )
        )
    floats = [value for value in stored if value.dtype.kind == "f"]
    assert {value.dtype for value in floats} == {np.dtype("float16")}
    assert any(np.array_equal(kernel, value) for value in floats)


def test_it_is_small_and_says_what_it_is():
    folder = preset_path(SHIPPED)
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < 2e6
    metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
    assert metadata["parameter_count"] == from_preset(SHIPPED).count_params()
    card = (folder / "model_card.md").read_text("utf-8")
    for result in metadata["results"]:
        assert f"{result['mre_mm']:.2f} mm" in card
    assert "Apache License 2.0" in card


def test_a_folder_is_a_preset_wherever_it_lies(tmp_path, hand):
    image, _ = hand
    folder = shutil.copytree(preset_path(SHIPPED), tmp_path / "mine")
    for preset in (folder, str(folder)):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(from_preset(preset)(image)),
            keras.ops.convert_to_numpy(from_preset(SHIPPED)(image)),
        )


def test_names_are_folders_and_what_is_there_goes_first(tmp_path, monkeypatch):
    assert SHIPPED in preset_names()
    assert preset_path(SHIPPED).name == SHIPPED
    assert preset_path(tmp_path / "nowhere") == tmp_path / "nowhere"
    assert not preset_path("../presets/" + SHIPPED).exists()
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED).mkdir()
    assert preset_path(SHIPPED).resolve() == tmp_path / SHIPPED


@pytest.mark.parametrize("name", ["knees", "..", "."])
def test_a_preset_that_is_not_here(name):
    with pytest.raises(FileNotFoundError) as error:
        from_preset(name)
    sentence = str(error.value)
    assert f"{name!r}" in sentence
    assert SHIPPED in sentence  # what is here
    assert "saved_models/presets/" in sentence  # where the others are
