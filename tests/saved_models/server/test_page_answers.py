"""What the page is told of an image: strict JSON, `null` for what is not known."""

import json

import numpy as np
import pytest

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.predicting.image_source import read_image_source
from scn_keras.saved_models.server.page_answers import (
    heatmaps_answer,
    points_answer,
)

SCHEMA = LandmarkSchema(("bright", "dark"))


def outputs(**changed):
    return {
        "points_px": np.array([[10.0, 20.0], [np.nan, np.nan]], np.float32),
        "score": np.array([0.5, np.nan], np.float32),
        "radius90_px": np.array([4.0, np.nan], np.float32),
        "radius90_mm": np.array([0.4, np.nan], np.float32),
        "present": np.array([True, False]),
        "trusted": np.array(False),
        **changed,
    }


@pytest.mark.parametrize(
    ("spacing", "mm", "radius"), [(None, None, 4.0), ((0.1, 0.1), [1.0, 2.0], 0.4)]
)
def test_what_is_not_known_is_null(png, spacing, mm, radius):
    source = read_image_source(png, spacing, 2, False)
    answer = points_answer(source, outputs(), SCHEMA, "blob.png")
    bright, dark = json.loads(json.dumps(answer, allow_nan=False))["landmarks"]
    assert bright["mm"] == (mm and pytest.approx(mm))
    assert bright["radius90"] == pytest.approx(radius)
    unknown = {"px": None, "mm": None, "score": None, "radius90": None}
    assert dark == {"name": "dark", **unknown, "present": False}
    assert answer["spacing"] == (spacing and pytest.approx(list(spacing)))


def test_an_uncalibrated_model_has_neither_radii_nor_presence_nor_trust(png):
    nan = np.full(2, np.nan, np.float32)
    source = read_image_source(png, None, 2, False)
    answer = points_answer(source, outputs(radius90_px=nan), SCHEMA, "blob.png")
    assert answer["trusted"] is None and answer["spacing"] is None
    for landmark in answer["landmarks"]:
        assert landmark["radius90"] is None and landmark["present"] is None


def test_heatmaps_that_are_not_numbers_are_empty_and_nowhere():
    maps = np.full((4, 3, 2), np.nan, np.float32)
    answer = heatmaps_answer(
        {"product": maps, "grid_to_source": np.full((3, 3), np.nan, np.float32)}
    )
    assert json.loads(json.dumps(answer, allow_nan=False))["grid_to_source"] is None
