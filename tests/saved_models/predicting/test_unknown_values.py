"""Files of predictions in which a landmark was not found."""

import csv
import json

import numpy as np

from scn_keras.saved_models.predicting.prediction import Prediction
from scn_keras.saved_models.predicting.prediction_files import write_csv, write_json

NAN = float("nan")


def test_what_was_not_found_is_null_in_json_and_empty_in_csv(tmp_path):
    prediction = Prediction(
        "film.png",
        np.diag([0.5, 0.5, 1.0]),
        np.array([[10.0, 20.0], [NAN, NAN]], np.float32),
        np.array([0.5, NAN], np.float32),
        np.full((2, 2, 2), NAN),
    )
    write_json(tmp_path / "points.json", [prediction], ["a", "b"])

    def refuse(word):
        raise AssertionError(f"{word} is no JSON.")

    text = (tmp_path / "points.json").read_text("utf-8")
    (row,) = json.loads(text, parse_constant=refuse)
    first, second = row["landmarks"]
    assert first == {"name": "a", "px": [10.0, 20.0], "mm": [5.0, 10.0], "score": 0.5}
    assert second == {"name": "b", "px": None, "mm": None, "score": None}
    write_csv(tmp_path / "points.csv", [prediction], ["a", "b"])
    with open(tmp_path / "points.csv", encoding="utf-8", newline="") as file:
        _, first, second = csv.reader(file)
    assert first == ["film.png", "a", "10.0", "20.0", "5.0", "10.0", "0.5"]
    assert second == ["film.png", "b", "", "", "", "", ""]
