import csv
import json

import keras
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf

from scn_keras.files import read_points
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.exporting.parity import largest_difference
from scn_keras.saved_models.predicting.predict import predict, schema_of
from scn_keras.saved_models.predicting.prediction import Prediction
from scn_keras.saved_models.predicting.prediction_files import (
    worst,
    write_csv,
    write_json,
    write_markups,
    write_overlays,
)
from scn_keras.training.experiments.ensemble import make_ensemble
from tests.saved_models.conftest import POINT

NAMES = ("bright", "dark")


@pytest.fixture(params=["run", "export"])
def model(request, blob_run, blob_model):
    return blob_run.path if request.param == "run" else blob_model


def test_a_run_and_an_export_find_the_planted_point(model, png):
    (found,), problems = predict(model, [png], (0.1, 0.2))
    assert problems == []
    assert found.calibrated
    np.testing.assert_allclose(found.points_px[0], POINT, atol=0.15)
    np.testing.assert_allclose(found.points_mm, found.points_px * [0.1, 0.2], rtol=1e-5)


def test_without_spacing_there_are_pixels_only(model, png):
    (found,), _ = predict(model, [png])
    assert not found.calibrated
    assert np.isnan(found.points_mm).all()
    np.testing.assert_allclose(found.points_px[0], POINT, atol=0.15)


def test_millimetres_go_through_the_affine_of_the_file(model, tmp_path, draw_blob):
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    image = sitk.GetImageFromArray(np.uint16(blob * 65535))
    image.SetSpacing((0.3, 0.3))
    image.SetOrigin((-20.0, 55.0))
    path = tmp_path / "blob.mha"
    sitk.WriteImage(image, str(path))
    (found,), problems = predict(model, [path], (9.0, 9.0))
    assert problems == []
    point = tuple(map(float, found.points_px[0]))
    expected = image.TransformContinuousIndexToPhysicalPoint(point)
    np.testing.assert_allclose(found.points_mm[0], expected, atol=1e-4)


def test_a_bad_file_is_named_and_its_neighbours_are_answered(model, png, tmp_path):
    cut = tmp_path / "cut.png"
    cut.write_bytes(png.read_bytes()[:200])
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    found, problems = predict(model, [cut, png, text, png], (0.1, 0.1))
    assert [f.file for f in found] == [png, png]
    assert len(problems) == 2
    assert "cut.png" in problems[0] and "notes.txt" in problems[1]


def test_a_folder_that_is_no_model_is_refused(tmp_path, blob_model, png):
    with pytest.raises(FileNotFoundError, match="neither a run"):
        predict(tmp_path, [png])
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*blob/1"):
        predict(blob_model.parent, [png])


def test_files_hold_what_was_found(model, png, tmp_path):
    found, _ = predict(model, [png], (0.1, 0.2))
    names = schema_of(model).names
    write_json(tmp_path / "points.json", found, names)
    write_csv(tmp_path / "points.csv", found, names)
    (entry,) = json.loads((tmp_path / "points.json").read_text())
    bright = entry["landmarks"][0]
    assert bright["name"] == "bright"
    np.testing.assert_allclose(bright["px"], found[0].points_px[0])
    with (tmp_path / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["landmark"] for row in rows] == list(NAMES)
    np.testing.assert_allclose(float(rows[0]["y_mm"]), found[0].points_mm[0, 1])


def test_unknown_millimetres_are_null_and_empty(blob_run, png, tmp_path):
    found, _ = predict(blob_run.path, [png])
    write_json(tmp_path / "points.json", found, NAMES)
    write_csv(tmp_path / "points.csv", found, NAMES)
    text = (tmp_path / "points.json").read_text()
    assert json.loads(text)[0]["landmarks"][0]["mm"] is None
    assert "nan" not in (text + (tmp_path / "points.csv").read_text()).lower()


def test_a_file_of_a_run_suffices_alone(tiny_run, png, tmp_path):
    alone = tmp_path / "hands.keras"
    alone.write_bytes(tiny_run.model_path.read_bytes())
    keras.models.load_model(alone, compile=False)  # it is one of Keras' as any other
    assert schema_of(alone) == tiny_run.schema
    (found,), problems = predict(alone, [png], (0.1, 0.1))
    (expected,), _ = predict(tiny_run.path, [png], (0.1, 0.1))
    assert problems == []
    np.testing.assert_array_equal(found.points_px, expected.points_px)
    assert [path.name for path in tmp_path.glob("hands*")] == ["hands.keras"]


def test_a_file_of_an_ensemble_suffices_alone(tiny_run, png, tmp_path):
    made = make_ensemble([tiny_run], tmp_path / "made", views=True)
    (found,), _ = predict(made.model_path, [png])
    (expected,), _ = predict(made.path, [png])
    np.testing.assert_array_equal(found.points_px, expected.points_px)
    (plain,), _ = predict(tiny_run.path, [png])
    assert np.abs(found.points_px - plain.points_px).max() > 0.01  # of five views


def test_a_file_that_does_not_suffice_is_refused(blob_run, png, tmp_path):
    bare = tmp_path / "bare.keras"
    blob_run.load_model().save(bare)
    with pytest.raises(ValueError, match="Give the folder of its run"):
        predict(bare, [png])
    with pytest.raises(ValueError, match=r"a \.keras file.*Received: .*blob\.png"):
        predict(png, [png])


def test_folders_of_images(blob_run, png, tmp_path):
    folder = tmp_path / "films"
    (folder / "more").mkdir(parents=True)
    for name in ("b.png", "a.png", "more/c.PNG", ".hidden.png", "notes.txt"):
        (folder / name).write_bytes(png.read_bytes())
    (tmp_path / "empty").mkdir()
    found, problems = predict(blob_run.path, [png, folder, tmp_path / "empty"])
    assert [str(f.file.relative_to(tmp_path)) for f in found] == [
        *("blob.png", "films/a.png", "films/b.png", "films/more/c.PNG"),
    ]
    assert problems == [f"There are no images in {tmp_path / 'empty'}."]


def test_the_width_of_peaks_is_that_of_the_planted_blob(model, tmp_path, draw_blob):
    blob = draw_blob((400, 300), POINT, (20.0, 20.0))
    image = sitk.GetImageFromArray(np.uint16(blob * 65535))
    path = tmp_path / "blob.mha"
    image.SetSpacing((0.3, 0.3))
    sitk.WriteImage(image, str(path))
    (found,), _ = predict(model, [path])
    # The network smooths by 1.5 px of the grid, each 6.25 px of the image; so does, by
    # (6.25 - 1) / 2 px, the reduction.
    variance = 20.0**2 + (1.5 * 6.25) ** 2 + (5.25 / 2) ** 2
    in_px, in_mm = found.peak_width("px"), found.peak_width("mm")
    assert in_px[0] == pytest.approx(np.sqrt(2 * variance), rel=0.02)
    np.testing.assert_allclose(in_mm, 0.3 * in_px, rtol=1e-6)


def guess(name, width, score, calibrated=True):
    """Peaks of a width in px, in an image of 0.1 mm a pixel."""
    spacing = 0.1 if calibrated else 0.0
    covariance = np.square(width)[:, None, None] * np.eye(2) / 2.0
    return Prediction(
        *(name, np.diag([spacing, spacing, 1.0]), np.zeros((2, 2)), np.array(score)),
        covariance,
    )


def test_the_worst_come_first():
    narrow = guess("narrow.png", [10.0, 10.0], [1.0, 1.0])
    wide = guess("wide.png", [10.0, 30.0], [1.0, 1.0])
    low = guess("low.png", [10.0, 10.0], [0.2, 1.0])
    lost = guess("lost.png", [10.0, 10.0], [0.0, 1.0])
    chosen, unit = worst([narrow, lost, wide, low], 3)
    assert [p.file.stem for p in chosen] == ["lost", "low", "wide"]
    assert unit == "mm"
    np.testing.assert_allclose(low.expected_error("mm"), [1.0, 0.2])
    np.testing.assert_allclose(lost.expected_error("px"), [40.0, 2.0])
    mixed = [narrow, guess("bare.png", [20.0, 20.0], [1.0, 1.0], calibrated=False)]
    chosen, unit = worst(mixed, 5)
    assert [p.file.stem for p in chosen] == ["bare", "narrow"]
    assert unit == "px"
    with pytest.raises(ValueError, match="covariance_px2=NaN"):
        worst([guess("old.png", [np.nan, np.nan], [1.0, 1.0])], 1)


def test_overlays_are_pictures_of_the_files(blob_run, png, tmp_path):
    """Of their own size, with the spacing that is given for them."""
    rows, columns, _ = tf.io.decode_png(png.read_bytes()).shape
    for spacing, stretch in ((None, 1), ((0.1, 0.3), 3)):
        found, _ = predict(blob_run.path, [png], spacing)
        write_overlays(tmp_path / "pictures", found, schema_of(blob_run.path))
        picture = tf.io.decode_png((tmp_path / "pictures" / "blob.png").read_bytes())
        enlarged = picture.shape[1] // columns
        assert picture.shape[1] == enlarged * columns
        caption = picture.shape[0] - enlarged * stretch * rows
        assert 0 < caption < 100


def test_parity_on_planted_points(blob_run, blob_model, png):
    assert largest_difference(blob_run, blob_model, [png], (0.1, 0.1)) <= 0.01


def test_markups_lie_where_slicer_shows_the_file(model, tmp_path, draw_blob):
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    image = sitk.GetImageFromArray(np.uint16(blob * 65535))
    image.SetSpacing((0.3, 0.3))
    image.SetOrigin((-20.0, 55.0))
    path = tmp_path / "blob.mha"
    sitk.WriteImage(image, str(path))
    found, _ = predict(model, [path])
    write_markups(tmp_path / "markups", found, NAMES)
    read = read_points(tmp_path / "markups" / "blob.mrk.json")
    assert tuple(read.labels) == NAMES
    point = tuple(map(float, found[0].points_px[0]))
    expected = image.TransformContinuousIndexToPhysicalPoint(point)
    np.testing.assert_allclose(read.points[0][:2], expected, atol=1e-3)


def test_volumes_and_their_markups(volume_run, tmp_path, png):
    place = np.array([9.6, 14.3, 7.8])
    z, y, x = np.mgrid[:16, :24, :20]
    squared = (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2
    image = sitk.GetImageFromArray(np.uint8(128 + 120 * np.exp(-squared / 8.0)))
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((-10.0, 20.0, 30.0))
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    path = tmp_path / "head.nii.gz"
    sitk.WriteImage(image, str(path))
    (found,), problems = predict(volume_run.path, [path, png])
    assert len(problems) == 1 and "3 axes" in problems[0]
    np.testing.assert_allclose(found.points_px[0], place, atol=0.1)
    expected = image.TransformContinuousIndexToPhysicalPoint(
        tuple(map(float, found.points_px[0]))
    )
    np.testing.assert_allclose(found.points_mm[0], expected, atol=1e-3)
    write_markups(tmp_path / "markups", [found], NAMES)
    read = read_points(tmp_path / "markups" / "head.mrk.json")
    np.testing.assert_allclose(read.points[0], expected, atol=1e-3)
    write_csv(tmp_path / "points.csv", [found], NAMES)
    header = (tmp_path / "points.csv").read_text().splitlines()[0]
    assert header == "file,landmark,x_px,y_px,z_px,x_mm,y_mm,z_mm,score"
    write_overlays(tmp_path / "pictures", [found], LandmarkSchema(NAMES))
    assert (tmp_path / "pictures" / "head.png").is_file()
    _, problems = predict(volume_run.path, [path], (0.1, 0.1))
    assert "is for 2D images" in problems[0]


def test_files_of_one_name_do_not_overwrite_each_other(blob_run, png, tmp_path):
    other = tmp_path / "other" / png.name
    other.parent.mkdir()
    other.write_bytes(png.read_bytes())
    found, _ = predict(blob_run.path, [png, other])
    schema = schema_of(blob_run.path)
    write_markups(tmp_path / "markups", found, schema.names)
    write_overlays(tmp_path / "pictures", found, schema)
    for folder, ending in (("markups", ".mrk.json"), ("pictures", ".png")):
        names = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert names == [f"blob{ending}", f"blob_2{ending}"]
