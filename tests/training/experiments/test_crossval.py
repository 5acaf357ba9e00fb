import dataclasses
import io
import json

import numpy as np
import pytest
import rich.console

from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.experiments.crossval import crossval
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input import selection
from scn_keras.training.input.stored_source import training_samples
from scn_keras.training.report.page import write_report
from scn_keras.training.run import Run


def quiet():
    return rich.console.Console(file=io.StringIO())


@pytest.fixture(scope="module")
def short(recipe):
    return dataclasses.replace(recipe, steps=2, steps_per_epoch=2)


def test_parts_are_all_groups_once():
    groups = [f"p{n // 2}" for n in range(14)]
    parts = [selection.fold_groups(groups, (k, 3), seed=5) for k in range(3)]
    held_out = [group for _, part in parts for group in part]
    assert sorted(held_out) == sorted(set(groups))
    assert sorted(len(part) for _, part in parts) == [2, 2, 3]
    for training, part in parts:
        assert sorted(training + part) == sorted(set(groups))
    assert parts != [selection.fold_groups(groups, (k, 3), seed=6) for k in range(3)]
    with pytest.raises(ValueError, match=r"fold=\(0, 8\), 7 groups"):
        selection.fold_groups(groups, (0, 8), seed=5)


@pytest.mark.parametrize("fold", [(2, 2), (-1, 3), (0, 1)])
def test_a_fold_that_is_none(recipe, fold):
    with pytest.raises(ValueError, match=r"k from 0 to n - 1 and n at least 2"):
        dataclasses.replace(recipe, fold=fold)


def test_every_image_is_scored_by_a_model_that_has_not_seen_it(short, dots, tmp_path):
    path = tmp_path / "cv"
    (result,) = crossval(short, 2, path, dots, console=quiet())
    everything = data.sample_ids("dots", "train", dots)
    assert result["ids"] == sorted(everything)
    assert result["protocol"]["fold"] == "each of 2"
    assert result["protocol"]["split"] == "held_out"

    seen, points = set(), read_points(Run(path / "all"), "held_out")
    for k in range(2):
        run = Run(path / f"fold{k}")
        training, validation = training_samples(run.recipe, dots)
        out = {s["id"].decode() for s in validation.as_numpy_iterator()}
        inside = {s["group"] for s in training.as_numpy_iterator()}
        assert not inside & {s["group"] for s in validation.as_numpy_iterator()}
        assert not seen & out
        seen |= out
        # The same run scored alone says the same of its images.
        (alone,) = evaluate(run, "held_out", data_dir=dots, console=quiet())
        assert set(alone["ids"]) == out
        for id, case in read_points(run, "held_out").items():
            np.testing.assert_allclose(case["points_px"], points[id]["points_px"])
    assert seen == set(everything)
    assert write_report(Run(path / "all"), data_dir=dots).is_file()


def test_it_goes_on_where_it_was(short, dots, tmp_path, monkeypatch):
    path = tmp_path / "cv"
    (whole,) = crossval(short, 2, path, dots, console=quiet())
    with pytest.raises(FileExistsError, match="--resume"):
        crossval(short, 2, path, dots, console=quiet())
    before = (path / "fold0" / "model.keras").stat()
    (path / "fold1" / "model.keras").unlink()
    (again,) = crossval(short, 2, path, dots, resume=True, console=quiet())
    assert (path / "fold0" / "model.keras").stat() == before
    for result in (whole, again):
        result.pop("seconds")
    assert again == whole
    assert json.loads((path / "all/results/held_out.json").read_text())["ids"]


def test_too_many_parts_leave_nothing(short, dots, tmp_path):
    with pytest.raises(ValueError, match=r"fold=\(0, 6\), 5 groups"):
        crossval(short, 6, tmp_path / "cv", dots, console=quiet())
    assert not (tmp_path / "cv").exists()


def test_nothing_held_out(short, dots, tmp_path, finished):
    recipe = dataclasses.replace(finished.recipe, validation=0.0)
    run = Run.create(tmp_path / "run", recipe, finished.schema)
    run.load_model = finished.load_model
    with pytest.raises(ValueError, match="holds no images out"):
        evaluate(run, "held_out", data_dir=dots, console=quiet())
