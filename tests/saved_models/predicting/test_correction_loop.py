"""What a model finds hardest is corrected in 3D Slicer and comes back as truth."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.datasets import prepare
from scn_keras.files import read_image_header
from scn_keras.training.evaluation.evaluate import evaluate

ORIGIN = np.array([-20.0, 55.0])
CORRECTED_PX = np.array([[123.25, 210.5], [40.0, 31.75]])


@pytest.fixture
def films(tmp_path, draw_blob):
    """Four films; of the last two, the bright blob is two and four times as wide."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number, sigma in enumerate((12.0, 12.5, 24.0, 48.0)):
        blob = draw_blob((400, 300), (123.4, 210.6), (sigma, sigma))
        blob -= draw_blob((400, 300), (60.0, 60.0), (14.0, 14.0)) - 0.5
        image = sitk.GetImageFromArray(np.uint16(np.clip(blob, 0, 1) * 65535))
        image.SetSpacing((0.3, 0.3))
        image.SetOrigin(ORIGIN)
        sitk.WriteImage(image, str(folder / f"film.{number}.mha"))
    return folder


def corrected_in_slicer(text, points_lps):
    """The file as 3D Slicer 5 saves it after points were dragged to other places."""
    data = json.loads(text)
    (node,) = data["markups"]
    old = node["controlPoints"]
    node.update(
        coordinateSystem="LPS",
        locked=False,
        fixedNumberOfControlPoints=False,
        labelFormat="%N-%d",
        lastUsedControlPointNumber=len(old),
        controlPoints=[
            {
                "id": str(number),
                "label": point["label"],
                "description": "",
                "associatedNodeID": "vtkMRMLScalarVolumeNode1",
                "position": [*position, 0.0],
                "orientation": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
                "selected": True,
                "locked": False,
                "visibility": True,
                "positionStatus": "defined",
            }
            for number, (point, position) in enumerate(
                zip(old, points_lps.tolist(), strict=True), 1
            )
        ],
        measurements=[],
        display={"visibility": True, "opacity": 1.0, "glyphType": "Sphere3D"},
    )
    return json.dumps(data, indent=4)


def test_the_worst_are_corrected_and_trained_on(blob_run, films, tmp_path):
    found = CliRunner().invoke(
        main,
        [
            *("predict", str(blob_run.path), str(films), "--worst", "2"),
            *("--markups", str(tmp_path / "corrected")),
        ],
        env={"COLUMNS": "300"},
    )
    assert found.exit_code == 0, found.output
    # The widest blob is the first of the list; the narrow ones are not in it.
    lines = [line for line in found.output.splitlines() if "film." in line]
    assert ["film.3" in lines[0], "film.2" in lines[1], len(lines)] == [True, True, 2]
    files = sorted((tmp_path / "corrected").iterdir())
    assert [file.name for file in files] == ["film.2.mrk.json", "film.3.mrk.json"]

    # Image and markups go where the training images are.
    for file in files:
        text = corrected_in_slicer(file.read_text(), ORIGIN + 0.3 * CORRECTED_PX)
        file.write_text(text)
        image = films / file.name.replace(".mrk.json", ".mha")
        image.rename(file.with_name(image.name))
        assert read_image_header(file.with_name(image.name)).affine is not None
    builder = prepare(
        "landmark_folder",
        tmp_path / "p",
        tmp_path / "corrected",
        config="corrected",
        report=lambda line: None,
    )
    assert builder.SCHEMA.names == blob_run.schema.names
    samples = builder.as_dataset(split="train").as_numpy_iterator()
    for sample in samples:
        np.testing.assert_allclose(sample["points"], CORRECTED_PX, atol=1e-4)

    # And where the model was wrong, is known without preparing anything.
    (result,) = evaluate(blob_run, folder=tmp_path / "corrected")
    bright, dark = result["per_landmark"]
    assert result["n_images"] == 2
    assert bright["mre_mm"] < 0.3 < dark["mre_mm"]
