"""What a calibrated run says of files, and where it is written."""

import csv
import dataclasses
import json
import shutil
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.files import read_points
from scn_keras.geometry import apply_affine, invert_affine
from scn_keras.inference.calibration import Calibration, uncertainty
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.exporting import export as export_module
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.exporting.grid_model import FILES, GridModel
from scn_keras.saved_models.predicting.image_source import ImageSource
from scn_keras.saved_models.predicting.predict import predict
from scn_keras.saved_models.predicting.prediction import prediction_of
from scn_keras.saved_models.predicting.prediction_files import (
    print_points,
    print_worst,
    worst,
    write_csv,
    write_json,
    write_markups,
    write_overlays,
)
from scn_keras.training.run import Run
from tests.saved_models.conftest import POINT

NAMES = ("bright", "dark")
SOURCE = "40 images of 20 patients of blobs/1.0.0"


@pytest.fixture(scope="module")
def calibrated(blob_run, tmp_path_factory):
    """The run of blobs, which knows images in which both landmarks hang together.

    On these the peak of `bright` is high, and that of `dark` is nothing.
    """
    path = tmp_path_factory.mktemp("runs") / "calibrated"
    run = Run(shutil.copytree(blob_run.path, path))
    random = np.random.default_rng(0)
    truth = np.array([[20.0, 33.0], [0.0, 0.0]]) + random.normal(size=(40, 2, 2))
    truth[::2, 1] = np.nan
    there = ~np.isnan(truth).any(-1)
    made = Calibration.fit(
        HeldOutImages(
            np.nan_to_num(truth + random.normal(size=truth.shape)),
            np.where(there, random.uniform(0.3, 0.5, there.shape), 0.0),
            np.tile(4.0 * np.eye(2), (40, 2, 1, 1)),
            truth,
            np.tile(np.eye(3), (40, 1, 1)),
            np.arange(40) % 4,
        ),
        weights=run.weights_digest(),
        protocol={"n_images": 40, "n_groups": 20, "dataset": "blobs/1.0.0"},
    )
    run.write_calibration(made)
    return run


def blob_file(path, blob, spacing=None):
    if spacing is None:
        path.write_bytes(tf.io.encode_png(np.uint8(blob * 255)[..., None]).numpy())
        return path
    image = sitk.GetImageFromArray(np.uint16(blob * 65535))
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def found(calibrated, tmp_path_factory):
    """Of a file with spacing, of one without and of a black one."""
    folder = tmp_path_factory.mktemp("files")
    y, x = np.mgrid[:400, :300]
    squared = np.square(x - POINT[0]) + np.square(y - POINT[1])
    blob = 0.5 + 0.5 * np.exp(-squared / (2.0 * 15.0**2))
    files = [
        blob_file(folder / "spaced.mha", blob, (0.3, 0.3)),
        blob_file(folder / "bare.png", blob),
        blob_file(folder / "black.png", 0.0 * blob),
    ]
    predictions, problems = predict(calibrated.path, files)
    assert not problems
    return predictions


def test_novelty_is_relative_to_the_limit(calibrated, found):
    made = calibrated.calibration
    for file in found:
        points = apply_affine(invert_affine(file.grid_to_source), file.points_px)
        novelty = float(made.novelty(points[None], file.score[None])[0])
        assert file.novelty == pytest.approx(novelty / made.limit, rel=1e-3)


def test_radii_are_in_units_of_the_file(found):
    spaced, bare, _ = found
    np.testing.assert_allclose(spaced.radius90_mm, 0.3 * spaced.radius90_px, rtol=1e-5)
    # Of the same grey values, but for their 8 bits.
    np.testing.assert_allclose(bare.radius90_px, spaced.radius90_px, rtol=0.02)
    assert np.isnan(bare.radius90_mm).all()
    assert spaced.present.tolist() == bare.present.tolist() == [True, False]
    assert spaced.trusted is True and bare.trusted is True


def test_an_unlike_image_is_said(found, capsys):
    black = found[2]
    assert black.trusted is False and not black.present[0]
    print_points(found, NAMES)
    shown = capsys.readouterr().out
    assert shown.count("Not to be trusted") == 1
    assert "radius90" in shown and "present" in shown
    assert shown.count(f"Radii calibrated on {SOURCE}.") == 1


def test_files_carry_it(found, tmp_path):
    write_json(tmp_path / "points.json", found, NAMES)
    spaced, bare, black = json.loads((tmp_path / "points.json").read_text())
    assert [one["trusted"] for one in (spaced, bare, black)] == [True, True, False]
    novelty = [one["novelty"] for one in (spaced, bare, black)]
    assert [value <= 1.0 for value in novelty] == [True, True, False]
    assert {one["radii_calibrated_on"] for one in (spaced, bare, black)} == {SOURCE}
    bright = spaced["landmarks"][0]
    assert bright["radius90_mm"] == pytest.approx(0.3 * bright["radius90_px"], rel=1e-5)
    assert bright["present"] is True and spaced["landmarks"][1]["present"] is False
    assert bare["landmarks"][0]["radius90_mm"] is None
    assert bare["landmarks"][0]["radius90_px"] > 0.0
    write_csv(tmp_path / "points.csv", found, NAMES)
    with (tmp_path / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trusted"] for row in rows] == ["True"] * 4 + ["False"] * 2
    assert {row["radii_calibrated_on"] for row in rows} == {SOURCE}
    assert [float(row["novelty"]) for row in rows[::2]] == novelty
    assert [row["present"] for row in rows[:2]] == ["True", "False"]
    assert float(rows[0]["radius90_mm"]) == pytest.approx(bright["radius90_mm"])
    assert rows[2]["radius90_mm"] == ""


def test_absent_landmarks_are_undefined_in_markups(found, tmp_path):
    write_markups(tmp_path, found[:1], NAMES)
    read = read_points(tmp_path / "spaced.mrk.json")
    assert tuple(read.labels) == NAMES
    assert np.isnan(read.points).all(-1).tolist() == [False, True]


def test_circles_are_drawn(found, tmp_path):
    write_overlays(tmp_path / "with", found[:2], LandmarkSchema(NAMES))
    plain = [
        dataclasses.replace(one, radius90_px=None, radius90_mm=None) for one in found
    ]
    write_overlays(tmp_path / "without", plain[:2], LandmarkSchema(NAMES))
    for name in ("spaced.png", "bare.png"):
        pictures = [
            tf.io.decode_png((tmp_path / folder / name).read_bytes()).numpy()
            for folder in ("with", "without")
        ]
        assert pictures[0].shape == pictures[1].shape
        differ = np.any(pictures[0] != pictures[1], axis=-1).sum()
        assert 100 < differ < 0.2 * pictures[0][..., 0].size


def test_the_worst_have_the_largest_radii(found, capsys):
    chosen, unit = worst(found, 2)
    assert unit == "px"
    means = [one.radius90_px.mean() for one in found]
    assert chosen[0].radius90_px.mean() == max(means)
    print_worst(chosen, unit, NAMES)
    assert "Largest 90 % radii, px" in capsys.readouterr().out


def test_the_file_of_the_model_suffices(calibrated, found):
    (alone,), _ = predict(calibrated.model_path, [found[0].file])
    np.testing.assert_allclose(alone.radius90_mm, found[0].radius90_mm, rtol=1e-4)


def test_the_grid_of_a_file_is_that_of_the_calibration(calibrated, found):
    """Radii by hand, from what inference gives."""
    bare = found[1]
    image = tf.io.decode_png(bare.file.read_bytes())
    sample = {"image": image, "affine": tf.eye(3)}
    (one,) = calibrated.locator().locate(tf.data.Dataset.from_tensors(sample))
    # 6.25 px of the image are one of the grid: half a one is the least width.
    assert invert_affine(one["grid_to_source"])[0, 0] == pytest.approx(1 / 6.25)
    variance = np.trace(one["covariance_px2"], axis1=1, axis2=2) + 2 * (6.25 / 2) ** 2
    expected = calibrated.calibration.radius_factor * np.sqrt(
        variance / np.maximum(one["score"], 0.05)
    )
    np.testing.assert_allclose(bare.radius90_px, expected, rtol=1e-4)


def test_exports_say_whether_they_know(found):
    """By NaN, also where the spacing of the file is not known."""
    source = ImageSource(*(found[1].file, None, None, np.diag([0.0, 0.0, 1.0]), ()))
    points = {"points_px": np.zeros((2, 2)), "score": np.ones(2)}
    says = {"present": np.ones(2, bool), "trusted": np.array(False)}
    nothing = np.full(2, np.nan)

    def of(source, **radii):
        return prediction_of(source, {**points, **says, **radii})

    unknown = of(source, radius90_px=nothing, radius90_mm=nothing)
    assert unknown.trusted is None and unknown.radius90_px is None
    known = of(source, radius90_px=np.ones(2), radius90_mm=nothing)
    assert known.trusted is False and known.radius90_px.tolist() == [1.0, 1.0]
    assert of(source).trusted is None


def test_stale_calibrations_are_said_by_the_command(calibrated, found, tmp_path):
    run = Run(shutil.copytree(calibrated.path, tmp_path / "run"))
    other = dataclasses.replace(run.calibration, weights="of something else")
    run.write_calibration(other)
    command = ["predict", str(run.path), str(found[1].file)]
    # Not by `pytest.warns`: TensorFlow warns on new Pythons.
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        done = CliRunner().invoke(main, command)
    assert any("belongs to other weights" in str(one.message) for one in said)
    assert "present" not in done.output


@pytest.mark.parametrize("format", ["onnx", "litert", "openvino"])
def test_files_for_other_runtimes_have_the_radii_of_the_run(
    calibrated, tmp_path, format
):
    folder = export(calibrated, tmp_path, format=format)
    loaded = GridModel(folder / FILES[format])
    grid = calibrated.recipe.grid
    image = np.random.default_rng(0).normal(size=(*grid, 1)).astype("float32")
    found = loaded.run(image[None])
    peaks = calibrated.load_model().localizer.predict_on_batch(image[None])
    expected = {
        **peaks,
        **uncertainty(
            calibrated.calibration,
            *(peaks[name] for name in ("points", "score", "covariance")),
            np.eye(3, dtype="float32")[None],
        ),
    }
    assert {"radius90", "present", "trusted"} <= set(found)
    for name, values in found.items():
        np.testing.assert_allclose(
            values, np.asarray(expected[name]), rtol=1e-3, atol=1e-2, err_msg=name
        )


def test_a_failed_export_leaves_no_folder(calibrated, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no conversion")

    monkeypatch.setattr(export_module, "write_grid_model", fail)
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "new" / "models", tmp_path / "mine"):
        with pytest.raises(RuntimeError, match="no conversion"):
            export(calibrated, folder, format="onnx")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
