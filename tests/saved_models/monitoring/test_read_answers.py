"""Answers in the files of `predict` and in stored answers of servers."""

import json
import math

import numpy as np
import pytest

from scn_keras.saved_models.monitoring.answers import Answers
from scn_keras.saved_models.monitoring.read_answers import read_answers
from scn_keras.saved_models.predicting.prediction import Prediction
from scn_keras.saved_models.predicting.prediction_files import write_csv, write_json
from scn_keras.saved_models.rest_dialect import format_answer

NAMES = ("=sella", "nasion")


def prediction(file, score, trusted, spacing=0.5):
    radius = np.array([3.0, 4.0]) / np.array(score)
    return Prediction(
        file,
        np.diag([spacing, spacing, 1.0]),
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        np.array(score),
        np.tile(np.eye(2), (2, 1, 1)),
        radius90_px=radius,
        radius90_mm=radius * (spacing or math.nan),
        present=np.array([True, False]),
        trusted=trusted,
        novelty=0.25 if trusted else 1.5,
        calibration_source="9 images, of hands",
    )


FOUND = [
    prediction("a.png", [0.9, 0.5], True),
    prediction("b.png", [0.8, 0.25], False),
    prediction("b.png", [0.7, 0.5], True, spacing=0.0),
]


def check(answers, names=NAMES):
    np.testing.assert_allclose(answers.score, [[0.9, 0.5], [0.8, 0.25], [0.7, 0.5]])
    radii = 3.0 / answers.score[:, 0], 4.0 / answers.score[:, 1]
    np.testing.assert_allclose(answers.radius90_px.T, radii)
    np.testing.assert_allclose(answers.radius90_mm[:2], 0.5 * answers.radius90_px[:2])
    assert np.isnan(answers.radius90_mm[2]).all()
    assert answers.trusted.tolist() == [1.0, 0.0, 1.0]
    assert answers.novelty.tolist() == [0.25, 1.5, 0.25]
    assert answers.names == names


def test_files_of_predict(tmp_path):
    for write, name in ((write_csv, "points.csv"), (write_json, "points.json")):
        write(tmp_path / name, FOUND, NAMES)
        answers = read_answers([tmp_path / name])
        check(answers)
        assert answers.sources == ("9 images, of hands",)
    (tmp_path / "note.txt").write_text("no answers")
    both = read_answers([tmp_path])
    assert len(both) == 6
    np.testing.assert_array_equal(both.score[:3], both.score[3:])


@pytest.mark.parametrize("rows", [True, False])
def test_stored_answers_of_a_server(tmp_path, rows):
    answers = [
        format_answer(
            {
                "score": np.array([found.score]),
                "radius90_px": np.array([found.radius90_px]),
                "radius90_mm": np.array([found.radius90_mm]),
                "trusted": np.array([found.trusted]),
                "novelty": np.array([found.novelty]),
                "points_px": np.array([found.points_px]),
            },
            rows,
        ).decode()
        for found in FOUND
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(answers) + "\n")
    check(read_answers([tmp_path / "log.jsonl"]), names=())
    for number, text in enumerate(answers):
        (tmp_path / f"{number}.json").write_text(text)
    check(read_answers(sorted(tmp_path.glob("?.json"))), names=())


def test_without_a_calibration_trust_is_unknown(tmp_path):
    nothing = [[math.nan, math.nan]]
    outputs = {"score": [[0.5, 0.5]], "trusted": [False]}
    radii = {"radius90_px": nothing, "radius90_mm": nothing}
    (tmp_path / "a.json").write_text(json.dumps({"outputs": {**outputs, **radii}}))
    answers = read_answers([tmp_path / "a.json"])
    assert np.isnan(answers.trusted).all() and np.isnan(answers.novelty).all()


def test_early_answers_have_no_novelty(tmp_path):
    (tmp_path / "a.csv").write_text(
        "file,landmark,x_px,y_px,x_mm,y_mm,score,radius90_px,radius90_mm,present,trusted"
        "\nf.png,a,1,2,,,0.5,3.0,,True,False\nf.png,b,1,2,,,0.25,4.0,,True,False\n"
    )
    answers = read_answers([tmp_path / "a.csv"])
    assert answers.score.tolist() == [[0.5, 0.25]] and answers.trusted.tolist() == [0.0]
    assert np.isnan(answers.novelty).all() and answers.names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("x,y\n1,2\n", "without the columns file, landmark, score"),
        ('{"predictions": [{"points_px": []}]}', "no 'score'"),
        ('{"error": "busy"}', "no 'outputs'"),
        ("[1, 2]", "not subscriptable"),
        ("{damaged", "Expecting property name"),
        ("file,landmark,score\na.png,sella,much\n", "could not convert"),
    ],
)
def test_other_files_get_a_sentence(tmp_path, text, message):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ValueError, match="has no answers of a model") as error:
        read_answers([tmp_path / "bad.json"])
    assert message in str(error.value) and "bad.json" in str(error.value)


def test_answers_are_of_one_model(tmp_path):
    write_json(tmp_path / "a.json", FOUND, NAMES)
    write_json(tmp_path / "b.json", FOUND, ("nasion", "=sella"))
    with pytest.raises(ValueError, match="'=sella' and 'nasion' at the same place"):
        read_answers([tmp_path / "a.json", tmp_path / "b.json"])
    with pytest.raises(FileNotFoundError, match="no answers in"):
        (tmp_path / "empty").mkdir()
        read_answers([tmp_path / "empty"])


def test_the_shapes_of_answers_are_checked():
    nothing = np.full((3, 2), np.nan)
    with pytest.raises(ValueError, match="`trusted` must have the shape"):
        Answers(np.ones((3, 2)), nothing, nothing, np.ones(2), np.ones(3))
