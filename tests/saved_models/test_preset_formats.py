"""Every preset in every format that runs on this machine."""

import pathlib

import pytest

import scn_keras.saved_models
from scn_keras.models import preset_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.exporting.parity import check
from scn_keras.training.run import Run

FOLDER = pathlib.Path(scn_keras.saved_models.__file__).parent / "presets"
# An installed wheel holds one of them.
PRESETS = sorted(path.parent.name for path in FOLDER.glob("*/recipe.json"))


@pytest.mark.parametrize("name", PRESETS)
def test_points_are_those_of_the_preset_in_all_formats(name, tmp_path):
    run = Run(preset_path(name))
    rows = check(run, export(run, tmp_path))
    compared = {row.runtime for row in rows if not row.note}
    runtimes = {"Keras", "SavedModel", "ONNX", "OpenVINO"}
    if len(run.recipe.grid) == 2:  # LiteRT cannot pool volumes
        runtimes.add("LiteRT")
    assert compared == runtimes
    assert all(row.kept for row in rows), rows


def test_there_are_presets():
    assert "synthetic_hand" in PRESETS
