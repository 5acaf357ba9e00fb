"""Adaptation of the preset of drawn hands to marks that were moved on purpose."""

import csv
import io
import json

import numpy as np
import pytest
import rich.console

from scn_keras.datasets.synthetic_hand.sample_files import write_sample_files
from scn_keras.inference.calibration_source import calibration_source
from scn_keras.models import preset_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.predicting.predict import predict
from scn_keras.training.adaptation.adapt import adapt
from scn_keras.training.adaptation.adapted_run import remove_offsets
from scn_keras.training.adaptation.calibrate_on_folder import calibrate_on_folder
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.experiments.calibrate import calibrate
from scn_keras.training.experiments.ensemble import make_ensemble
from scn_keras.training.run import Run

# Pixels of the drawn radiographs, x and y.
SHIFTS = {"thumb tip": (0.0, 14.0), "ulnar styloid": (-9.0, 0.0)}


def quiet():
    return rich.console.Console(file=io.StringIO(), width=100)


def move_points(folder, shifts):
    path = folder / "points.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        dx, dy = shifts.get(row["label"], (0.0, 0.0))
        row["x"], row["y"] = float(row["x"]) + dx, float(row["y"]) + dy
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    write_sample_files(folder, 5)
    move_points(folder, SHIFTS)
    return folder


@pytest.fixture(scope="module")
def adapted(films, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "ours"
    return adapt("synthetic_hand", films, out, console=quiet())


def located(model, file):
    (image,), problems = predict(model, [file])
    assert not problems
    return image


def landmark(run, name):
    return run.schema.names.index(name)


def test_points_follow_the_marks(adapted, films):
    preset = Run(preset_path("synthetic_hand"))
    offsets = adapted.offsets.offsets
    for name, shift in SHIFTS.items():
        np.testing.assert_allclose(offsets[landmark(adapted, name)], shift, atol=2.0)
    others = [landmark(adapted, n) for n in adapted.schema.names if n not in SHIFTS]
    assert np.median(np.linalg.norm(offsets[others], axis=1)) < 0.3
    protocol = adapted.offsets.protocol
    assert protocol["mre_crossvalidated"] < 0.8 * protocol["mre_before"]
    assert (protocol["n_images"], protocol["unit"]) == (5, "px")
    image = films / "hand_1.png"
    moved, plain = (located(run.path, image) for run in (adapted, preset))
    np.testing.assert_allclose(
        (moved.points_px - plain.points_px)[landmark(adapted, "thumb tip")],
        SHIFTS["thumb tip"],
        atol=3.0,
    )


def test_the_export_has_the_offsets(adapted, films, tmp_path):
    folder = export(adapted, tmp_path / "export")
    of_run, of_export = (
        located(path, films / "hand_2.png") for path in (adapted.path, folder)
    )
    np.testing.assert_allclose(of_export.points_px, of_run.points_px, atol=1e-2)
    np.testing.assert_allclose(of_export.radius90_px, of_run.radius90_px, rtol=1e-3)


def test_the_model_file_has_the_offsets(adapted, films):
    of_run, of_file = (
        located(path, films / "hand_2.png")
        for path in (adapted.path, adapted.model_path)
    )
    np.testing.assert_allclose(of_file.points_px, of_run.points_px, atol=1e-4)
    assert of_file.radius90_px is not None


def test_undo(adapted, films, tmp_path):
    copy = adapt("synthetic_hand", films, tmp_path / "copy", console=quiet())
    remove_offsets(copy)
    preset = Run(preset_path("synthetic_hand"))
    undone, plain = (located(run.path, films / "hand_3.png") for run in (copy, preset))
    np.testing.assert_allclose(undone.points_px, plain.points_px, atol=1e-3)
    np.testing.assert_allclose(undone.radius90_px, plain.radius90_px, rtol=1e-4)
    with pytest.raises(ValueError, match="Only an adapted run can be undone"):
        remove_offsets(copy)


def test_a_second_adaptation_replaces_the_first(adapted, films, tmp_path):
    again = adapt(adapted.path, films, tmp_path / "again", console=quiet())
    np.testing.assert_allclose(
        again.offsets.offsets, adapted.offsets.offsets, atol=1e-3
    )
    np.testing.assert_allclose(
        again.calibration.radius_factor, adapted.calibration.radius_factor, rtol=1e-4
    )


def test_results_tell_that_the_run_is_adapted(adapted, tmp_path):
    folder = tmp_path / "others"
    write_sample_files(folder, 8)
    for k in range(1, 6):
        (folder / f"hand_{k}.png").unlink()
    path = folder / "points.csv"
    lines = path.read_text().splitlines(keepends=True)
    new = ("image", "hand_6", "hand_7", "hand_8")
    path.write_text("".join(line for line in lines if line.startswith(new)))
    move_points(folder, SHIFTS)
    (result,) = evaluate(adapted, folder=folder, console=quiet())
    assert "offsets" in result["protocol"]["inference"]
    thumb = result["per_landmark"][landmark(adapted, "thumb tip")]
    assert thumb["mre_px"] < 6.0  # 14 without offsets


def test_calibration_of_a_folder(films, tmp_path):
    run = adapt("synthetic_hand", films, tmp_path / "run", console=quiet())
    first = run.calibration
    second = calibrate_on_folder(run, films, console=quiet())
    adapted, calibrated = second.protocol["recalibrated"]
    assert (adapted["command"], calibrated["n_images"]) == ("adapt", 5)
    assert "recalibrated on 5 images" in calibration_source(second.protocol)
    assert run.calibration.weights == first.weights
    # Again from the calibration before, not from its own result.
    third = calibrate_on_folder(run, films, console=quiet())
    np.testing.assert_allclose(third.radius_factor, second.radius_factor)
    run.calibration_path.unlink()
    with pytest.raises(ValueError, match="at least 9 images"):
        calibrate_on_folder(run, films, console=quiet())


def test_what_cannot_be_done_is_refused(adapted, films, tmp_path):
    few = tmp_path / "few"
    write_sample_files(few, 2)
    with pytest.raises(ValueError, match="Received: 2 images of 2 patients"):
        adapt("synthetic_hand", few, tmp_path / "out", console=quiet())
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileExistsError, match="needs a new folder"):
        adapt("synthetic_hand", films, adapted.path, console=quiet())
    with pytest.raises(ValueError, match="adapt it again"):
        calibrate(adapted, console=quiet())
    with pytest.raises(ValueError, match="adapt the ensemble"):
        make_ensemble([adapted], tmp_path / "ensemble")


def test_a_damaged_file_of_offsets_is_named(adapted):
    path = adapted.path / "offsets.json"
    text = path.read_text()
    try:
        path.write_text(json.dumps({"version": 9}))
        with pytest.raises(ValueError, match="offsets of version 1"):
            _ = adapted.offsets
    finally:
        path.write_text(text)
