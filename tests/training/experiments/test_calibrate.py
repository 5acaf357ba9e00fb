"""The command that calibrates a run, and what evaluation then says."""

import csv
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
import rich.console
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.evaluation.prepared_split import HELD_OUT, PreparedSplit
from scn_keras.training.evaluation.result_table import print_results
from scn_keras.training.experiments import calibrate as calibrate_module
from scn_keras.training.experiments.calibrate import calibrate
from scn_keras.training.experiments.ensemble import make_ensemble
from scn_keras.training.report.page import write_report
from scn_keras.training.run import Run

SHORT = ("steps=2", "steps_per_epoch=2")


def quiet():
    return rich.console.Console(file=io.StringIO(), width=200)


def copy(run, path):
    return Run(shutil.copytree(run.path, path))


@pytest.fixture(autouse=True)
def short_trainings(monkeypatch):
    """Runs of a few steps are calibrated as well, which they otherwise are not."""
    monkeypatch.setattr(calibrate_module, "_require_trained", lambda *_: None)


require_trained = calibrate_module._require_trained


def test_a_model_that_is_no_better_than_the_mean_position_is_refused(recipe):
    # Positions -3, 0 and 3 on an axis, whose mean is 0: a median error of 3.
    truth = np.array([[[-3.0, 5.0]], [[0.0, 5.0]], [[3.0, 5.0]]])

    def images(error):
        return [{"truth": one, "points": one + [error, 0.0]} for one in truth]

    require_trained(recipe, images(2.9))
    with pytest.raises(ValueError, match=r"after 6 steps.*errors of 3.1 and 3.0 pix"):
        require_trained(recipe, images(3.1))
    # Missing landmarks do not count.
    missing = {"truth": np.full((1, 2), np.nan), "points": np.zeros((1, 2))}
    require_trained(recipe, [*images(2.9), missing])
    # Nor does a model whose training has diverged find anything.
    with pytest.raises(ValueError, match="errors of nan and 3.0"):
        require_trained(recipe, images(np.nan))


def test_a_run_that_is_hardly_trained_is_refused_before_its_folds(
    finished, dots, monkeypatch, tmp_path
):
    monkeypatch.setattr(calibrate_module, "_require_trained", require_trained)
    monkeypatch.setattr(calibrate_module, "_own_folds", None)  # not reached
    run = copy(finished, tmp_path / "run")
    with pytest.raises(ValueError, match=r"after 6 steps.* on training images"):
        calibrate(run, data_dir=dots, console=quiet())
    assert not (run.path / "calibration").exists()


@pytest.fixture(scope="module")
def kept():
    """What the first test has calibrated, for the others."""
    return {}


@pytest.fixture
def calibrated(kept, finished, dots, tmp_path_factory):
    if not kept:
        run = copy(finished, tmp_path_factory.mktemp("runs") / "calibrated")
        command = ["calibrate", str(run.path), "--data-dir", str(dots), "--folds", "2"]
        settings = [part for one in SHORT for part in ("--set", one)]
        done = CliRunner().invoke(main, [*command, *settings])
        assert done.exit_code == 0, done.output
        kept.update(run=run, made=run.calibration, said=" ".join(done.output.split()))
    return kept


def test_a_run_is_calibrated_on_parts_that_have_not_seen_the_images(calibrated):
    run, made = calibrated["run"], calibrated["made"]
    assert made.protocol == {
        **{"recipe": "tiny", "dataset": "dots/1.0.0", "train_split": "train"},
        **{"truth": None, "folds": 2, "n_images": 10, "n_groups": 5},
        **{"steps": 6, "fold_steps": 2, "coverage": 0.9, "false_alarms": 0.02},
        **{"inference": run.inference, "fold_inference": run.inference},
        **{key: made.protocol[key] for key in ("scn_keras", "trained_ratio90")},
    }
    assert made.protocol["trained_ratio90"] > 0.0
    assert "trained with 2 steps, the run with 6" in calibrated["said"]
    assert "Calibrated on 10 held-out images" in calibrated["said"]
    assert "Next: scn-keras evaluate" in calibrated["said"]
    assert made.always.tolist() == [True, False, True]  # film 3 lacks the second dot
    assert (made.radius_factor > 0.0).all() and np.isfinite(made.limit)


def test_it_is_kept_in_the_run_and_in_its_file(calibrated, tmp_path):
    run, made = calibrated["run"], calibrated["made"]
    assert json.loads(run.calibration_path.read_text("utf-8")) == made.to_dict()
    assert Run(run.path).calibration.to_dict() == made.to_dict()
    with zipfile.ZipFile(run.model_path) as archive:
        names = archive.namelist()
    assert "run/calibration.json" in names and len(names) == len(set(names))
    alone = Run.from_file(run.model_path, tmp_path)
    assert alone.calibration.to_dict() == made.to_dict()
    assert not list(run.path.glob("*.tmp*"))
    run.load_model()  # Keras reads the file as ever


def test_other_weights_are_noticed(calibrated, finished, tmp_path):
    assert finished.calibration is None
    run = copy(calibrated["run"], tmp_path / "run")
    model = run.load_model()
    model.trainable_weights[0].assign_add(model.trainable_weights[0] * 0.0 + 1.0)
    run.save_model(model)
    with pytest.warns(UserWarning, match=r"calibration.json belongs to other weights"):
        assert run.calibration is None


def test_runs_of_a_cross_validation_do_as_well(calibrated, dots, tmp_path, monkeypatch):
    folder = calibrated["run"].path / "calibration"
    # An ensemble of them, which looks at views; and so do they then.
    parts = [Run(folder / f"fold{k}") for k in range(2)]
    ensemble = make_ensemble(parts, tmp_path / "ensemble", views=True)

    def calibrated():
        return calibrate(ensemble, crossval=folder, data_dir=dots, console=quiet())

    made = calibrated()
    assert made.protocol["n_images"] == 10
    assert "5 views" in made.protocol["inference"]
    assert not (ensemble.path / "calibration").exists()
    assert ensemble.calibration.to_dict() == made.to_dict()

    # No part is believed where it has seen the image.
    located = calibrate_module.located_on_grid

    def elsewhere(recipe, *arguments):
        held_out = PreparedSplit(recipe, HELD_OUT, dots).samples()
        ids = {one["id"].decode() for one in held_out.as_numpy_iterator()}
        for image in located(recipe, *arguments):
            away = 0.0 if image["id"] in ids else 1000.0
            yield {**image, "points": image["points"] + away}

    monkeypatch.setattr(calibrate_module, "located_on_grid", elsewhere)
    # But for the errors where it was trained, which are told apart.
    again, before = calibrated().to_dict(), made.to_dict()
    for calibration in (again, before):
        del calibration["protocol"]["trained_ratio90"]
    assert again == before


def test_how_sure_a_run_is_of_itself_is_asked_where_it_was_trained(
    calibrated, dots, tmp_path, monkeypatch
):
    run, asked = copy(calibrated["run"], tmp_path / "run"), []
    median_ratio = calibrate_module._median_ratio

    def recorded(own, seen, value):
        asked.append(set(own))
        return median_ratio(own, seen, value)

    monkeypatch.setattr(calibrate_module, "_median_ratio", recorded)
    folder = calibrated["run"].path / "calibration"
    calibrate(run, crossval=folder, data_dir=dots, console=quiet())
    held_out = PreparedSplit(run.recipe, HELD_OUT, dots).samples()
    new = {one["id"].decode() for one in held_out.as_numpy_iterator()}
    assert len(new) == 2 and len(asked) == 2
    for ids in asked:
        assert len(ids) == 8 and not ids & new


def test_what_does_not_go_together(calibrated, finished, dots, tmp_path):
    run = copy(finished, tmp_path / "run")
    with pytest.raises(ValueError, match="recipes differ.*values of: image_to_grid"):
        calibrate(run, 2, None, ["image_to_grid.grid=(32,32)"], dots, quiet())
    assert not (run.path / "calibration").exists()
    with pytest.raises(ValueError, match="values of: local, augmentation"):
        wrong = ["local={'size':8}", "augmentation.rotation=0.4"]
        calibrate(run, 2, None, wrong, dots, quiet())
    with pytest.raises(FileNotFoundError, match="not a cross-validation"):
        calibrate(run, crossval=tmp_path, data_dir=dots, console=quiet())
    with pytest.raises(ValueError, match="already trained.*settings=.*crossval="):
        calibrate(run, crossval=tmp_path, settings=SHORT, data_dir=dots)
    with pytest.raises(ValueError, match="fold0 was trained with other settings or"):
        calibrate(calibrated["run"], 3, None, SHORT, dots, quiet())
    shutil.copytree(calibrated["run"].path / "calibration/fold0", tmp_path / "cv/fold0")
    with pytest.raises(ValueError, match=r"each fold once.*Received: folds \[\(0, 2\)"):
        calibrate(run, crossval=tmp_path / "cv", data_dir=dots, console=quiet())
    run.model_path.unlink()
    with pytest.raises(FileNotFoundError, match="no trained model yet"):
        calibrate(run, 2, None, SHORT, dots, quiet())
    command = ["calibrate", str(run.path), "--folds", "2", "--crossval", str(tmp_path)]
    both = CliRunner().invoke(main, command)
    assert both.exit_code == 2 and "Omit --folds and --set" in both.output


def test_evaluation_says_how_right_it_is(calibrated, dots, tmp_path):
    run = copy(calibrated["run"], tmp_path / "run")
    (result,) = evaluate(run, data_dir=dots, console=quiet())
    # The same by hand, from what inference gives.
    images = PreparedSplit(run.recipe, "test", dots)
    found = list(run.locator().locate(images.samples()))
    radii = np.array([one["radius90_mm"] for one in found])
    spacing = np.array([0.5, 0.4])
    apart = np.array(
        [one["points_px"] - images.true_points(one, None) for one in found]
    )
    within = np.linalg.norm(apart * spacing, axis=-1) < radii
    assert result["coverage90_percent"] == pytest.approx(100.0 * within.mean())
    assert result["radius90_mm"] == pytest.approx(radii.mean(), rel=1e-5)
    trusted = [bool(one["trusted"]) for one in found]
    assert result["trusted_percent"] == pytest.approx(100.0 * np.mean(trusted))
    row = result["per_landmark"][2]
    assert row["coverage90_percent"] == pytest.approx(100.0 * within[:, 2].mean())
    assert row["radius90_mm"] == pytest.approx(radii[:, 2].mean(), rel=1e-5)
    assert result["calibration"]["n_images"] == 10
    low, high = result["ci95"]["coverage90_percent"]
    assert low <= result["coverage90_percent"] <= high
    # Radii in pixels of the file lie between those along its two axes.
    ratio = np.array([one["radius90_px"] for one in found]) / radii
    assert (ratio > 1.0 / 0.5).all() and (ratio < 1.0 / 0.4).all()

    with (run.path / "results" / "test-points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = sorted(float(row["radius90_mm"]) for row in rows)
    np.testing.assert_allclose(kept, sorted(radii.ravel()), atol=1e-3)
    console = quiet()
    print_results([result], console, landmarks=True)
    shown = console.file.getvalue()
    assert "lie within their 90 % radius" in shown and "% in radius" in shown
    page = write_report(run, data_dir=dots).read_text("utf-8")
    assert "Point error against the 90 % radius" in page
    assert "lie within their 90 % radius" in page and "% in 90 % radius, mm" in page


@pytest.mark.parametrize("split", [HELD_OUT, "train"])
def test_images_of_the_calibration_do_not_say_how_right_it_is(
    split, calibrated, dots, tmp_path
):
    run = copy(calibrated["run"], tmp_path / "run")
    results = evaluate(run, split, data_dir=dots, console=quiet())
    told = {"coverage90_percent", "radius90_mm", "trusted_percent", "calibration"}
    for result in results:
        assert result["n_images"] > 0
        assert not told & set(result)
        assert not any(told & set(row) for row in result["per_landmark"])


@pytest.mark.parametrize("count", [2, 3])
def test_no_part_locates_unseen_images_that_it_was_trained_on(monkeypatch, count):
    class Part:
        def __init__(self, number):
            self.recipe = number

        def locator(self, **_):
            return None

    def located(recipe, locator, splits, console):
        for held_out_by in splits:
            yield {"id": f"image of {held_out_by}", "by": recipe}

    monkeypatch.setattr(calibrate_module, "located_on_grid", located)
    parts = [Part(number) for number in range(count)]
    unseen, seen = calibrate_module._located_by_parts(parts, (), range(count), None)
    images = {f"image of {k}" for k in range(count)}
    assert set(unseen) == set(seen) == images
    for k in range(count):
        unseen_image = unseen[f"image of {k}"]
        assert (unseen_image["by"], unseen_image["fold"]) == (k, k)
        assert seen[f"image of {k}"]["by"] != k
