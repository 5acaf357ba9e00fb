"""The sentence on the images of a calibration, for those of every version."""

import json

import pytest

from scn_keras.inference.calibration_source import calibration_source, radii_sentence
from scn_keras.models import preset_path

WHOLE = {
    "dataset": "hands/1.0.0",
    "train_split": "fold1",
    "n_images": 36,
    "n_groups": 30,
    "folds": 4,
}


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (None, "not calibrated"),
        ({}, "images of an unknown data set"),
        (WHOLE, "36 images of 30 patients of hands/1.0.0 (fold1), 4 folds"),
        (
            {**WHOLE, "n_images": 1, "n_groups": 1, "folds": 1, "date": "2026-11-30"},
            "1 image of 1 patient of hands/1.0.0 (fold1), 1 fold, 2026-11-30",
        ),
        (
            {**WHOLE, "recalibrated": {"folder": "clinic", "n_images": 10}},
            "36 images of 30 patients of hands/1.0.0 (fold1), 4 folds; recalibrated on "
            "10 images of clinic",
        ),
        (
            {
                "n_images": 9,
                "recalibrated": [
                    {"folder": "a", "n_images": 3, "n_groups": 2, "date": "2026-12-01"},
                    {"folder": "b\n", "n_images": 5},
                ],
            },
            "9 images of an unknown data set; recalibrated on 3 images of 2 patients "
            "of a, 2026-12-01; recalibrated on 5 images of b",
        ),
    ],
)
def test_it_is_one_line(protocol, expected):
    assert calibration_source(protocol) == expected


def test_a_preset_states_its_images():
    path = preset_path("synthetic_hand") / "calibration.json"
    source = calibration_source(json.loads(path.read_text("utf-8"))["protocol"])
    assert radii_sentence(source) == (
        "Radii calibrated on 200 images of 200 patients of synthetic_hand/small/1.0.0 "
        "(train), 2 folds."
    )


def test_a_model_without_calibration_has_no_radii():
    sentence = radii_sentence(calibration_source(None))
    assert sentence == "No radii: the model is not calibrated."
