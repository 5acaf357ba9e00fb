"""Images for a reduced precision of a model whose data set is not prepared."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from scn_keras.saved_models.exporting import export as export_module
from scn_keras.saved_models.exporting._comparison_images import (
    comparison_images,
    quantization_images,
)
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.exporting.precision import accuracy_lost
from scn_keras.saved_models.predicting.predict import predict


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "films"
    (folder / "more").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, size in (
        ("a.png", (96, 80)),
        ("b.bmp", (60, 90)),
        ("more/c.tif", (50, 40)),
    ):
        pixels = np.uint8(random.integers(0, 256, size))
        Image.fromarray(pixels).save(folder / name)
    return folder


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


class Shifted:
    """A model whose points are half a pixel of the grid to the right of the run's."""

    def __init__(self, run):
        self.localizer = self
        self._model = run.load_model()

    def predict_on_batch(self, images):
        peaks = self._model.localizer.predict_on_batch(images)
        return {**peaks, "points": peaks["points"] + np.float32([0.5, 0.0])}


def pixels_per_grid_pixel(run, folder):
    """Of the letterbox: the axis with the larger ratio fills the grid."""
    rows, columns = run.recipe.grid
    scales = []
    for file in files(folder):
        with Image.open(file) as image:
            scales.append(max(image.height / rows, image.width / columns))
    return np.array(scales)


def write_points(folder, points, names):
    with (folder / "points.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label", "x", "y"])
        for path, of_image in points.items():
            for name, (x, y) in zip(names, of_image, strict=True):
                rows.writerow([path.relative_to(folder), name, x, y])


def test_without_points_their_movement_is_measured(blob_run, films):
    with pytest.warns(UserWarning, match="only the movement of points"):
        images = comparison_images(blob_run, films)
    lost = accuracy_lost(blob_run, Shifted(blob_run), images)
    assert (lost["split"], lost["n_images"], lost["unit"]) == ("films", 3, "px")
    assert lost["error"] is None and lost["float32_error"] is None
    moved = 0.5 * pixels_per_grid_pixel(blob_run, films)
    assert lost["moved"] == pytest.approx(moved.mean(), rel=1e-3)
    assert lost["moved_max"] == pytest.approx(moved.max(), rel=1e-3)


def test_with_points_the_error_is_measured(blob_run, films):
    predictions, _ = predict(blob_run.path, files(films))
    moved = 0.5 * pixels_per_grid_pixel(blob_run, films)
    points = {one.file: one.points_px + [3.0, 4.0] for one in predictions}
    write_points(films, points, blob_run.schema.names)
    images = comparison_images(blob_run, films)
    lost = accuracy_lost(blob_run, Shifted(blob_run), images)
    assert lost["float32_error"] == pytest.approx(5.0, abs=1e-2)
    error = np.hypot(3.0 - moved, 4.0).mean()
    assert lost["error"] == pytest.approx(error, abs=1e-2)


def test_images_of_the_quantisation_are_on_the_grid(blob_run, films):
    with pytest.warns(UserWarning, match="only the movement of points"):
        images = comparison_images(blob_run, films)
    on_grid = [*quantization_images(blob_run, images)]
    assert [image.shape for image in on_grid] == [(1, *blob_run.recipe.grid, 1)] * 3
    assert all(image.min() >= -1.0 and image.max() <= 1.0 for image in on_grid)
    assert np.std(on_grid[0]) > 0.1


def test_a_preset_in_8_bits(blob_run, films, tmp_path):
    with pytest.warns(UserWarning, match="only the movement of points"):
        path = export(
            blob_run, tmp_path / "x", format="onnx", precision="int8", images=films
        )
    lost = json.loads((path / "export.json").read_text())["accuracy"]
    assert (lost["split"], lost["n_images"]) == ("films", 3)
    card = (path / "model_card.md").read_text("utf-8")
    assert "on the 3 images of `films`" in card and "have no points" in card


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (None, "--images FOLDER"),
        ("nowhere", "Received: images='nowhere'"),
        ("empty", "no images in"),
        ("bad", "bad.png"),
    ],
)
def test_images_are_checked_before_the_work(
    blob_run, tmp_path, images, said, monkeypatch
):
    def fail(*_):
        raise AssertionError("work has begun")

    monkeypatch.setattr(export_module, "_fill", fail)
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        export(
            blob_run,
            tmp_path / "x",
            precision="bfloat16",
            images=images,
            data_dir=tmp_path / "no data",
        )
    assert said in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_images_without_a_reduced_precision_are_refused(blob_run, films, tmp_path):
    with pytest.raises(ValueError, match="Received: images=.*precision='float32'"):
        export(blob_run, tmp_path / "x", images=films)
