import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from scn_keras.saved_models.export_folder import landmark_names
from scn_keras.saved_models.exporting import export as export_module
from scn_keras.saved_models.exporting.export import export

# name: (size, point x y, spacing x y, encode)
_FILES = {
    "8 bit PNG, portrait": (
        (400, 300),
        (123.4, 210.6),
        (0.1, 0.1),
        lambda a: tf.io.encode_png(np.uint8(np.round(a * 255))[..., None]),
    ),
    "16 bit PNG, landscape": (
        (200, 500),
        (301.2, 77.7),
        (0.25, 0.25),
        lambda a: tf.io.encode_png(np.uint16(np.round(a * 65535))[..., None]),
    ),
    "colour PNG": (
        (130, 96),
        (40.3, 60.1),
        (0.5, 0.5),
        lambda a: tf.io.encode_png(np.uint8(np.round(a * 255))[..., None].repeat(3, 2)),
    ),
    "JPEG, pixels that are not square": (
        (320, 480),
        (300.5, 200.25),
        (0.1, 0.2),
        lambda a: tf.io.encode_jpeg(
            np.uint8(np.round(a * 255))[..., None], quality=100
        ),
    ),
    "BMP, smaller than the grid": (
        (40, 30),
        (14.2, 21.9),
        (1.0, 1.0),
        lambda a: _bmp(np.uint8(np.round(a * 255))),
    ),
}


def _bmp(grey):
    """A 24-bit BMP, written from the format's description."""
    height, width = grey.shape
    stride = (3 * width + 3) // 4 * 4
    rows = np.zeros((height, stride), np.uint8)
    rows[:, : 3 * width] = grey[::-1].repeat(3, axis=1)  # bottom row first
    integer = lambda value, size: int(value).to_bytes(size, "little")  # noqa: E731
    header = integer(40, 4) + integer(width, 4) + integer(height, 4)
    header += integer(1, 2) + integer(24, 2) + bytes(24)
    start = 14 + len(header)
    size = integer(start + rows.size, 4)
    return b"BM" + size + bytes(4) + integer(start, 4) + header + rows.tobytes()


@pytest.fixture(scope="module")
def serve(blob_model):
    model = tf.saved_model.load(str(blob_model))

    def call(images, spacings):
        outputs = model.signatures["serving_default"](
            image_bytes=tf.constant(images),
            spacing_mm=tf.constant(spacings, tf.float32),
        )
        return {name: value.numpy() for name, value in outputs.items()}

    call.model = model
    return call


def _sigma_of(size, spacing):
    # Two and a half pixels of the grid: as wide as a landmark's heatmap.
    fit = max(size[1] * spacing[0] / 48, size[0] * spacing[1] / 64)
    return tuple(2.5 * fit / s for s in spacing)


@pytest.fixture
def files(draw_blob):
    images, points, spacings = [], [], []
    for size, point, spacing, encode in _FILES.values():
        blob = draw_blob(size, point, _sigma_of(size, spacing))
        data = encode(blob)
        images.append(data.numpy() if hasattr(data, "numpy") else data)
        points.append(point)
        spacings.append(spacing)
    return images, np.array(points), np.array(spacings)


def test_formats_and_sizes_in_one_batch_give_the_planted_points(serve, files):
    images, points, spacings = files
    found = serve(images, spacings)
    assert found["points_px"].shape == (len(images), 2, 2)
    # In pixels of the grid: eight bits of grey leave about a hundredth.
    sizes = np.array([size for size, *_ in _FILES.values()])
    for i, (size, spacing) in enumerate(zip(sizes, spacings, strict=True)):
        fit = max(size[1] * spacing[0] / 48, size[0] * spacing[1] / 64)
        error = (found["points_px"][i, 0] - points[i]) * spacing / fit
        assert np.abs(error).max() < 0.02, list(_FILES)[i]
    np.testing.assert_allclose(
        found["points_mm"][:, 0], found["points_px"][:, 0] * spacings, rtol=1e-5
    )
    assert found["calibrated"].all()
    assert ((found["score"] >= 0.0) & (found["score"] <= 1.0)).all()


@pytest.mark.parametrize(
    "spacing", [(0.0, 0.0), (0.1, 0.0), (-0.1, 0.1), (np.nan, 0.1), (np.inf, 0.1)]
)
def test_no_valid_spacing_gives_pixels_and_no_millimetres(serve, files, spacing):
    images, points, _ = files
    found = serve(images[:1], [spacing])
    assert not found["calibrated"][0]
    assert np.isnan(found["points_mm"]).all()
    np.testing.assert_allclose(found["points_px"][0, 0], points[0], atol=0.1)


def test_spacing_of_one_image_does_not_touch_its_neighbour(serve, files):
    images, _, _ = files
    found = serve([images[0], images[0]], [(0.0, 0.0), (0.1, 0.1)])
    assert found["calibrated"].tolist() == [False, True]
    np.testing.assert_allclose(found["points_px"][0], found["points_px"][1], atol=1e-3)
    assert np.isfinite(found["points_mm"][1]).all()


def test_an_empty_batch_gives_an_empty_answer(serve):
    outputs = serve.model.signatures["serving_default"](
        image_bytes=tf.zeros([0], tf.string), spacing_mm=tf.zeros([0, 2])
    )
    assert outputs["points_px"].shape == (0, 2, 2)


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a and more", b"\x89PNG\r\n\x1a\n cut off"]
)
def test_bytes_that_are_no_image_are_refused(serve, data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        serve([data], [(0.1, 0.1)])


def test_layout_is_the_one_that_tf_serving_watches(blob_model):
    assert blob_model.name == "1"
    assert blob_model.parent.name == "blob"
    assert (blob_model / "saved_model.pb").is_file()
    assert landmark_names(blob_model) == ["bright", "dark"]
    extra = json.loads((blob_model / "assets.extra" / "export.json").read_text())
    assert extra["recipe"]["image_to_grid"]["grid"] == [64, 48]


def test_versions_count_up_and_are_never_overwritten(blob_run, tmp_path):
    first = export(blob_run, tmp_path, "hands")
    second = export(blob_run, tmp_path, "hands")
    assert (first.name, second.name) == ("1", "2")
    with pytest.raises(FileExistsError, match="exists"):
        export(blob_run, tmp_path, "hands", version=1)


def test_a_failed_export_leaves_nothing(blob_run, tmp_path, monkeypatch):
    def fail(run, model, folder, name, max_image_mb):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(export_module, "_write", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        export(blob_run, tmp_path, "hands")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, message",
    [({"name": "a/b"}, "name"), ({"name": ".."}, "name"), ({"version": 0}, "version")],
)
def test_names_that_tf_serving_does_not_take_are_refused(
    blob_run, tmp_path, arguments, message
):
    with pytest.raises(ValueError, match=f"Received: {message}="):
        export(blob_run, tmp_path, **arguments)


def test_other_backends_are_told_what_to_do(blob_run, tmp_path, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=tensorflow"):
        export(blob_run, tmp_path)


def test_saved_model_cli_sees_the_signature(blob_model):
    output = subprocess.run(
        [
            *(sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"),
            *("show", "--dir", str(blob_model)),
            *("--tag_set", "serve", "--signature_def", "serving_default"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name, kind in (("image_bytes", "DT_STRING"), ("spacing_mm", "DT_FLOAT")):
        assert f"inputs['{name}']" in output
        assert kind in output
