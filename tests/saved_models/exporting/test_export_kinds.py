"""Every kind of run gives the same points as a SavedModel as it gives by itself."""

import functools
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf

from scn_keras.geometry import apply_affine
from scn_keras.inference.calibration import Calibration
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.saved_models.exporting._comparison_images import comparison_images
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.exporting.precision import accuracy_lost, in_bfloat16
from scn_keras.saved_models.predicting.predict import predict
from scn_keras.training.experiments.ensemble import make_ensemble
from scn_keras.training.run import Run

OUTPUTS = {
    *("points_px", "points_mm", "score", "covariance_px2", "covariance_mm2"),
    *("radius90_px", "radius90_mm", "present", "trusted", "novelty", "calibrated"),
}


@functools.cache
def signatures(path):
    model = tf.saved_model.load(str(path))

    def call(name, **inputs):
        outputs = model.signatures[name](
            **{key: tf.constant(value) for key, value in inputs.items()}
        )
        return {key: value.numpy() for key, value in outputs.items()}

    call.model = model
    return call


def films(folder, sizes):
    """Files of unlike sizes, of 8 and 16 bits by turns."""
    paths = []
    for number, (height, width) in enumerate(sizes):
        y, x = np.mgrid[:height, :width]
        waves = np.sin(x / (9.0 + number)) * np.cos(y / 13.0) + 0.3 * np.sin(
            x * y / 4e3
        )
        grey = 0.5 + 0.35 * waves
        kind, top = ((np.uint8, 255), (np.uint16, 65535))[number % 2]
        path = folder / f"film{number}.png"
        data = tf.io.encode_png(kind(np.round(np.clip(grey, 0, 1) * top))[..., None])
        path.write_bytes(data.numpy())
        paths.append(path)
    return paths


def check_batch(run, path, files, spacing):
    """Files of unlike sizes in one batch give what the run gives of each."""
    expected, problems = predict(run.path, files, spacing)
    assert problems == []
    found = signatures(path)(
        "serving_default",
        image_bytes=[file.read_bytes() for file in files],
        spacing_mm=np.float32([spacing] * len(files)),
    )
    assert set(found) == OUTPUTS
    for row, one in enumerate(expected):
        np.testing.assert_allclose(found["points_px"][row], one.points_px, atol=0.01)
        np.testing.assert_allclose(found["points_mm"][row], one.points_mm, atol=0.01)
        np.testing.assert_allclose(found["score"][row], one.score, atol=1e-4)
        variance = np.trace(found["covariance_mm2"][row], axis1=-2, axis2=-1)
        np.testing.assert_allclose(np.sqrt(variance), one.peak_width("mm"), rtol=0.01)
    return found


def test_an_ensemble_in_several_views(blob_run, tmp_path):
    run = make_ensemble([blob_run, blob_run], tmp_path / "twice", views=True)
    path = export(run, tmp_path / "models")
    files = films(tmp_path, [(96, 80), (150, 90), (70, 130)])
    found = check_batch(run, path, files, (0.3, 0.2))
    plain, _ = predict(blob_run.path, files[:1], (0.3, 0.2))
    assert np.abs(plain[0].points_px - found["points_px"][0]).max() > 0.01


def test_from_coarse_to_fine(staged_run, draw_blob, tmp_path):
    bright, dark = (104.3, 88.7), (141.2, 152.6)
    grey = draw_blob((240, 240), bright, (9.0, 9.0))
    grey -= draw_blob((240, 240), dark, (9.0, 9.0)) - 0.5
    files = []
    for name, turned in (("a", grey), ("b", grey[::-1, ::-1]), ("c", grey[:230, :236])):
        files.append(tmp_path / f"{name}.png")
        data = tf.io.encode_png(np.uint16(np.round(turned * 65535))[..., None])
        files[-1].write_bytes(data.numpy())
    path = export(staged_run, tmp_path / "models")
    found = check_batch(staged_run, path, files, (1.0, 1.0))
    np.testing.assert_allclose(found["points_px"][0], [bright, dark], atol=0.1)
    # Turned by 180 degrees, and seen by the fine network in the same pose.
    turned = 239.0 - np.array([bright, dark])
    np.testing.assert_allclose(found["points_px"][1], turned, atol=0.1)
    maps = signatures(path)(
        "heatmaps",
        image_bytes=[file.read_bytes() for file in files[:2]],
        spacing_mm=np.ones((2, 2), np.float32),
    )
    np.testing.assert_allclose(*maps["product"], atol=0.05)
    np.testing.assert_allclose(
        apply_affine(maps["grid_to_source"][0], np.array([[23.5, 11.5]]))[0],
        bright,
        atol=2.0,
    )
    # A blank image has nothing to be laid over: it is answered all the same.
    blank = tf.io.encode_png(np.full((50, 60, 1), 128, np.uint8)).numpy()
    answer = signatures(path)(
        "serving_default",
        image_bytes=[blank, files[0].read_bytes()],
        spacing_mm=np.ones((2, 2), np.float32),
    )
    assert np.isfinite(answer["points_px"]).all()
    np.testing.assert_allclose(answer["points_px"][1], found["points_px"][0], atol=1e-3)


def test_volumes(volume_run, tmp_path):
    path = export(volume_run, tmp_path / "models")
    place = np.array([9.6, 14.3, 7.8])
    z, y, x = np.mgrid[:16, :24, :20]
    grey = 0.5
    for sign, (a, b, c) in ((0.5, place), (-0.5, (13.2, 7.9, 10.4))):
        squared = (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2
        grey = grey + sign * np.exp(-squared / 8.0)
    array = np.uint16(np.round(65535 * grey))
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((-10.0, 20.0, 30.0))
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    file = tmp_path / "head.nii.gz"
    sitk.WriteImage(image, str(file))
    (expected,), _ = predict(volume_run.path, [file])
    (found,), problems = predict(path, [file])
    assert problems == []
    np.testing.assert_allclose(found.points_px[0], place, atol=0.3)
    np.testing.assert_allclose(found.points_px, expected.points_px, atol=1e-3)
    np.testing.assert_allclose(found.points_mm, expected.points_mm, atol=1e-3)
    np.testing.assert_allclose(
        found.peak_width("mm"), expected.peak_width("mm"), rtol=1e-3
    )

    call = signatures(path)
    assert set(call.model.signatures) == {
        *("serving_default", "volumes", "heatmaps", "landmarks"),
    }
    affine = np.diag([0.0, 2.0, 2.0, 1.0]).astype(np.float32)
    inputs = {
        "image": np.float32([array[..., None]] * 2) / 65535.0,
        "affine": np.stack([affine, np.diag([2.0, 2.0, 2.0, 1.0])]).astype(np.float32),
    }
    answer = call("volumes", **inputs)
    assert set(answer) == OUTPUTS
    assert answer["calibrated"].tolist() == [False, True]
    assert np.isnan(answer["points_mm"][0]).all()
    np.testing.assert_allclose(
        answer["points_mm"][1], 2.0 * answer["points_px"][1], rtol=1e-6
    )
    maps = call("heatmaps", **inputs)
    assert set(maps) == {"product", "grid_to_source"}  # there are no inner heatmaps
    assert maps["product"].shape == (2, 16, 24, 20, 2)


def test_arrays_are_what_files_are(blob_model, blob_run, draw_blob):
    grey = draw_blob((200, 150), (60.4, 120.2), (9.0, 9.0))
    stored = np.uint16(np.round(grey * 65535))[..., None]
    call = signatures(blob_model)
    by_bytes = call(
        "serving_default",
        image_bytes=[tf.io.encode_png(stored).numpy()],
        spacing_mm=np.float32([[0.3, 0.3]]),
    )
    turn = np.array([[0.0, -0.3, 5.0], [0.3, 0.0, 7.0], [0.0, 0.0, 1.0]], np.float32)
    affines = [
        np.diag([0.3, 0.3, 1.0]),
        turn,
        np.full((3, 3), np.nan),
        np.zeros((3, 3)),
    ]
    image = np.float32(stored) / 65535.0
    by_array = call(
        "arrays", image=np.stack([image] * 4), affine=np.float32(np.stack(affines))
    )
    for name, value in by_bytes.items():
        np.testing.assert_allclose(
            by_array[name][:1], value, rtol=1e-4, atol=1e-3, err_msg=name
        )
    assert by_array["calibrated"].tolist() == [True, True, False, False]
    points = by_array["points_px"]
    np.testing.assert_allclose(points[1:], points[:1].repeat(3, 0), atol=1e-3)
    np.testing.assert_allclose(
        by_array["points_mm"][1], apply_affine(turn, points[1]), rtol=1e-5
    )
    # Turned by 90 degrees, x and y of a covariance change places.
    np.testing.assert_allclose(
        by_array["covariance_mm2"][1][:, 0, 0],
        by_array["covariance_mm2"][0][:, 1, 1],
        rtol=1e-3,
    )
    for name in ("points_mm", "covariance_mm2", "radius90_mm"):
        assert np.isnan(by_array[name][2:]).all()


def test_without_calibration_nothing_vouches_for_an_answer(blob_model, draw_blob):
    image = np.float32(draw_blob((64, 48), (20.0, 30.0), (3.0, 3.0)))[None, ..., None]
    affine = np.eye(3, dtype=np.float32)[None]
    found = signatures(blob_model)("arrays", image=image, affine=affine)
    assert np.isnan(found["radius90_mm"]).all()
    assert np.isnan(found["radius90_px"]).all()
    assert not found["trusted"].any()
    card = (blob_model / "assets.extra" / "model_card.md").read_text("utf-8")
    assert "not calibrated" in card
    about = json.loads((blob_model / "assets.extra" / "export.json").read_text())
    assert about["calibrated"] is False
    assert about["radii_calibrated_on"] == "not calibrated"
    assert np.isnan(found["novelty"]).all()
    described = about["signatures"]["arrays"]["outputs"]
    assert {name: value.dtype.name for name, value in found.items()} == {
        name: kind for name, (kind, _) in described.items()
    }


def test_the_calibration_is_in_the_graph(blob_run, tmp_path):
    run = Run(shutil.copytree(blob_run.path, tmp_path / "run"))
    random = np.random.default_rng(5)
    truth = np.array([[12.0, 20.0], [30.0, 44.0]]) + random.normal(size=(30, 2, 2))
    run.write_calibration(
        Calibration.fit(
            HeldOutImages(
                truth + random.normal(size=truth.shape),
                random.uniform(0.3, 0.9, (30, 2)),
                np.broadcast_to(4.0 * np.eye(2), (30, 2, 2, 2)),
                truth,
                np.broadcast_to(np.diag([0.5, 0.5, 1.0]), (30, 3, 3)),
                np.arange(30) % 3,
            ),
            weights=run.weights_digest(),
            protocol={"dataset": "blobs/1.0.0", "n_images": 30},
        )
    )
    path = export(run, tmp_path / "models")
    files = films(tmp_path, [(96, 80), (150, 90)])
    found = check_batch(run, path, files, (0.3, 0.2))
    expected, _ = predict(run.path, files, (0.3, 0.2))
    for row, one in enumerate(expected):
        for name in ("radius90_px", "radius90_mm"):
            np.testing.assert_allclose(found[name][row], getattr(one, name), rtol=1e-3)
        np.testing.assert_array_equal(found["present"][row], one.present)
        assert found["trusted"][row] == one.trusted
        np.testing.assert_allclose(found["novelty"][row], one.novelty, atol=1e-3)
    source = "30 images of blobs/1.0.0"
    described = signatures(path)("landmarks", landmark=np.int32([1, 0]))
    assert described["radii_calibrated_on"].tolist() == [source.encode()] * 2
    about = json.loads((path / "assets.extra" / "export.json").read_text())
    assert about["radii_calibrated_on"] == source
    (again,), _ = predict(path, files[:1], (0.3, 0.2))
    assert again.calibration_source == expected[0].calibration_source == source
    assert again.novelty == pytest.approx(expected[0].novelty, abs=1e-3)
    assert (found["radius90_mm"] > 0.0).all()
    card = (path / "assets.extra" / "model_card.md").read_text("utf-8")
    assert f"Calibrated on {source}:" in card and "| n_images | 30 |" in card
    assert (path / "assets.extra" / "calibration.json").is_file()


def test_bfloat16_says_what_it_costs(tiny_run, tiny_data, tmp_path):
    path = export(
        tiny_run, tmp_path, precision="bfloat16", data_dir=tiny_data, version=3
    )
    assert path == tmp_path / "tiny_bfloat16" / "3"
    about = json.loads((path / "assets.extra" / "export.json").read_text())
    lost = about["accuracy"]
    assert (lost["split"], lost["n_images"], lost["unit"]) == ("held_out", 2, "mm")
    assert 0.0 < lost["moved"] <= lost["moved_max"]
    card = (path / "assets.extra" / "model_card.md").read_text("utf-8")
    assert f"{lost['error'] - lost['float32_error']:+.3f} mm" in card
    # The weights are stored in half the bytes.
    call = signatures(path)
    variables = call.model.signatures["heatmaps"].variables
    assert any(variable.dtype == tf.bfloat16 for variable in variables)
    (film,) = films(tmp_path, [(96, 80)])
    maps = call(
        "heatmaps",
        image_bytes=[film.read_bytes()],
        spacing_mm=np.zeros((1, 2), np.float32),
    )
    local, spatial = maps["local_appearance"], maps["spatial_configuration"]
    assert local.shape == maps["product"].shape == (1, *tiny_run.recipe.grid, 37)
    product = local * spatial / tiny_run.load_model().target.height().numpy()
    assert np.abs(product - maps["product"]).max() < 0.02 * np.abs(product).max()


def test_what_an_ensemble_loses_is_measured_on_images_that_no_member_knows(
    tiny_run, tiny_data, tmp_path
):
    run = make_ensemble([tiny_run, tiny_run], tmp_path / "twice")
    images = comparison_images(run, data_dir=tiny_data)
    lost = accuracy_lost(run, in_bfloat16(run.load_model()), images)
    assert (lost["split"], lost["n_images"]) == ("test", 3)
    assert 0.0 < lost["moved"] <= lost["moved_max"]


def test_formats_and_precisions_that_do_not_go_together(tiny_run, tmp_path):
    with pytest.raises(ValueError, match="float32 or int8. Received: precision='bf"):
        export(tiny_run, tmp_path, format="onnx", precision="bfloat16")
    with pytest.raises(ValueError, match="`format` must be one of"):
        export(tiny_run, tmp_path, format="torch")
    assert list(tmp_path.iterdir()) == []


def test_other_formats_hold_one_look_at_an_image(staged_run, tmp_path):
    with pytest.raises(ValueError, match="only SavedModels.*format='onnx'"):
        export(staged_run, tmp_path, format="onnx")
    assert list(tmp_path.iterdir()) == []
