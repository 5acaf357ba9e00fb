"""Folders as they lie on disks: stated sizes, names, cases of 3D Slicer, odd files."""

import json

import numpy as np
import pytest
from PIL import Image

from scn_keras.datasets import builder_class
from scn_keras.datasets.check.check_folder import check_folder

WIDTH, HEIGHT = 24, 20


def write_film(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    Image.fromarray(pixels).save(path)


def errors(folder, tmp_path):
    """Returns the problems of `prepare`, which are errors of `check`, too."""
    builder = builder_class("landmark_folder")(
        folder=folder, data_dir=tmp_path / "none"
    )
    problems = builder.layout_problems(folder)
    found = [f.message for f in check_folder(folder).findings if f.severity == "error"]
    assert all(any(p in message for message in found) for p in problems), found
    return problems


def cases_of(folder, tmp_path):
    cls = builder_class("landmark_folder")
    return {
        case.id: case
        for case in cls(folder=folder, data_dir=tmp_path / "none").cases(folder)
    }


# --- Sizes that files of points state ---


@pytest.mark.parametrize("kind", ["labelme", "coco"])
@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((WIDTH, HEIGHT), None),
        ((48, 40), "48 x 40 pixels .* an image of 24 x 20 pixels"),
        ((HEIGHT, WIDTH), "20 x 24 pixels .* EXIF orientation.* of 24 x 20 pixels"),
    ],
)
def test_size_that_a_file_of_points_states(tmp_path, kind, size, message):
    folder = tmp_path / "films"
    write_film(folder / "A.png")
    width, height = size
    if kind == "labelme":
        shape = {"label": "a", "points": [[3, 4]], "shape_type": "point"}
        data = {"imageWidth": width, "imageHeight": height, "shapes": [shape]}
    else:
        data = {
            "images": [{"id": 1, "file_name": "A.png"}],
            "categories": [{"id": 1, "keypoints": ["a"]}],
            "annotations": [{"image_id": 1, "category_id": 1, "keypoints": [3, 4, 2]}],
        }
        data["images"][0].update(width=width, height=height)
    (folder / "A.json").write_text(json.dumps(data))
    problems = errors(folder, tmp_path)
    if message is None:
        assert problems == []
    else:
        with pytest.raises(ValueError, match=f"A.json: the size of A.png .*{message}"):
            raise ValueError(problems[0])
