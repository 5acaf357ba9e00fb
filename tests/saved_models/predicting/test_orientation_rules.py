"""Files with an orientation tag: new models refuse, old ones use stored pixels."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from scn_keras.files.orientation import REFUSED, STORED_PIXELS
from scn_keras.saved_models.export_folder import orientation_of
from scn_keras.saved_models.predicting.predict import predict
from scn_keras.training import Run
from scn_keras.training.input.prepared_sets import orientation_of as orientation_of_set
from scn_keras.training.input.prepared_sets import prepared_builder

OLD = pathlib.Path(__file__).parents[2] / "fixtures" / "ace4a16"
SPACING = (0.5, 0.5)


@pytest.fixture
def films(tmp_path):
    """The same pixels without a tag and with the tag 6, as PNG and TIFF."""
    image = Image.open(OLD / "image0.png").convert("L")
    exif = Image.Exif()
    exif[274] = 6
    paths = [tmp_path / name for name in ("film.png", "tagged.png", "tagged.tif")]
    image.save(paths[0])
    for path in paths[1:]:
        image.save(path, exif=exif)
    return paths


@pytest.mark.parametrize("model", ["run", "model.keras", "preset", "export/smallest/1"])
def test_old_models_use_stored_pixels_and_say_so(model, films):
    found, problems = predict(OLD / model, films, SPACING)
    assert problems == []
    plain, *tagged = found
    assert not [note for note in plain.notes if "orientation tag" in note]
    for prediction in tagged:
        np.testing.assert_allclose(prediction.points_px, plain.points_px, atol=1e-4)
        (note,) = (note for note in prediction.notes if "orientation tag" in note)
        assert "tag 6 and is used as it is stored" in note


def test_new_models_refuse_tags(blob_run, blob_model, films):
    assert blob_run.orientation == orientation_of(blob_model) == REFUSED
    for model in (blob_run.path, blob_run.model_path, blob_model):
        found, problems = predict(model, films, SPACING)
        assert [p.file for p in found] == films[:1]
        assert len(problems) == 2
        assert all("tag 6: viewers show" in problem for problem in problems)


def test_an_ensemble_of_both_is_refused(blob_run, tmp_path):
    from scn_keras.training.experiments.ensemble import make_ensemble

    old = Run(shutil.copytree(blob_run.path, tmp_path / "old"))
    (old.path / "images.json").unlink()
    assert old.orientation == STORED_PIXELS
    with pytest.raises(ValueError, match="different: the rule for files with an orien"):
        make_ensemble([blob_run, old], tmp_path / "both")


def test_prepared_sets_of_both(tiny_data, tmp_path):
    folder = shutil.copytree(tiny_data, tmp_path / "data")
    builder = prepared_builder("tiny_hands", folder)
    assert orientation_of_set(builder) == REFUSED
    path = pathlib.Path(builder.data_dir, "metadata.json")
    metadata = json.loads(path.read_text("utf-8"))
    del metadata["orientation"]
    path.write_text(json.dumps(metadata), "utf-8")
    assert orientation_of_set(prepared_builder("tiny_hands", folder)) == STORED_PIXELS


def test_presets_of_the_package_were_trained_on_upright_images():
    from scn_keras.models import preset_names, preset_path

    for name in preset_names():
        assert Run(preset_path(name)).orientation == REFUSED


def test_metadata_of_an_export(blob_model):
    about = json.loads((blob_model / "assets.extra" / "export.json").read_text("utf-8"))
    assert (about["orientation"], about["max_image_mb"]) == (REFUSED, 64)
