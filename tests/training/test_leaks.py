"""Images that are in the training and in the test: recorded, found, refused."""

import io
import json
import types
import zipfile

import numpy as np
import pytest
import rich.console
import scipy.ndimage
from PIL import Image

from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.files import PointSet, write_points
from scn_keras.training import leaks
from scn_keras.training.continuation import continue_run
from scn_keras.training.evaluation.compare import compare, print_comparison
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.evaluation.result_table import print_results
from scn_keras.training.evaluation.seen_images import require_unseen
from scn_keras.training.experiments import calibrate, crossval
from scn_keras.training.experiments.ensemble import make_ensemble
from scn_keras.training.input.prepared_sets import find_samples, sample_ids
from scn_keras.training.input.split_images import training_images
from scn_keras.training.run import Run
from scn_keras.training.used_images import UsedImages


def film(seed):
    noise = np.random.default_rng(seed).normal(size=(90, 80))
    smooth = scipy.ndimage.gaussian_filter(noise, 2.0)
    return np.uint8(np.clip(128 + 300 * smooth, 0, 255))


def table(patient="of {}", **films):
    return ImageTable.of_samples(
        {"id": id, "group": patient.format(id), "image": image}
        for id, image in films.items()
    )


TRAINED = table(a=film(0), b=film(1), c=film(2))
DARKER = np.uint8(film(1) * 0.7)  # b at another exposure


def paper():
    return rich.console.Console(file=io.StringIO(), width=300)


def written(console):
    return console.file.getvalue()


# What a run keeps.


def test_record_is_read_as_written(tmp_path):
    used = UsedImages("hips", TRAINED, table(d=film(3)), calibrated=TRAINED)
    used.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("used_images.json", "used_images.npz"),
    ]
    data = json.loads((tmp_path / "used_images.json").read_text())
    assert data["trained"][1] == {
        **{"id": "b", "patient": "of b", "pixels": TRAINED.digests[1]}
    }
    read = UsedImages.read(tmp_path)
    for role in ("trained", "held_out", "started_from", "calibrated"):
        ours, theirs = getattr(used, role), getattr(read, role)
        assert (ours.ids, ours.groups) == (theirs.ids, theirs.groups)
        np.testing.assert_array_equal(ours.signatures, theirs.signatures)
    found = table(x=DARKER, y=film(1), z=film(9)).repeats_of(read.seen)
    assert [repeat[:2] for repeat in found] == [("x", "b"), ("y", "b")]
    assert UsedImages.read(tmp_path / "none") is None


def test_models_that_are_passed_on_have_digests_only(tmp_path):
    used = UsedImages("hips", TRAINED, table(d=film(3)))
    (tmp_path / "used_images.json").write_text(used.anonymous())
    text = used.anonymous()
    assert "of a" not in text and '"id"' not in text
    read = UsedImages.read(tmp_path)
    # Equal pixels are found, another exposure is not.
    found = table(x=DARKER, y=film(1)).repeats_of(read.seen)
    assert [repeat.id for repeat in found] == ["y"]
    assert sorted(read.trained.digests) == sorted(TRAINED.digests)


def test_union_is_unknown_if_one_is():
    one, other = UsedImages("a", TRAINED), UsedImages("b", table(d=film(3), a=film(0)))
    assert UsedImages.union([one, other]).trained.ids == ("a", "b", "c", "d")
    assert UsedImages.union([one, None]) is None
    # Two folds: what one of them held out, the other was trained on.
    folds = [
        UsedImages("a", TRAINED.select("ab"), TRAINED.select("c")),
        UsedImages("a", TRAINED.select("bc"), TRAINED.select("a") + table(e=film(6))),
    ]
    assert UsedImages.union(folds).trained.ids == ("a", "b", "c")
    assert UsedImages.union(folds).held_out.ids == ("e",)
    assert UsedImages.union([]) is None


def test_a_run_records_its_images(finished, recipe, dots):
    used = finished.used_images
    training, held_out = training_images(recipe, dots)
    assert used.dataset == "dots"
    assert used.trained.digests == training.digests
    assert used.held_out.ids == held_out.ids and len(held_out) == 2
    assert not {*used.trained.groups} & {*used.held_out.groups}
    with zipfile.ZipFile(finished.model_path) as archive:
        inside = json.loads(archive.read("run/used_images.json"))
    assert inside["trained"] == [{"pixels": d} for d in sorted(training.digests)]


def test_continuations_and_ensembles_keep_the_record(finished, tmp_path):
    for run in (
        continue_run(finished, 8, tmp_path / "longer"),
        make_ensemble([finished, finished], tmp_path / "both"),
    ):
        assert run.used_images.trained.ids == finished.used_images.trained.ids


# Before a training.


def source_of(trained, held_out=ImageTable()):  # noqa: B008
    return types.SimpleNamespace(images=(trained, held_out))


@pytest.fixture
def given_test(monkeypatch):
    """Sets the images of the test split, and whether it is published."""

    def use(images, published=False):
        monkeypatch.setattr(
            "scn_keras.training.input.split_images.test_images",
            lambda *_: (images, published),
        )

    use(ImageTable())
    return use


def test_repeats_are_noted_before_the_training(recipe, given_test):
    given_test(table(t=DARKER, u=film(7)))
    source = source_of(TRAINED, table(v=film(0)))
    used, notes = leaks.images_to_use(recipe, source)
    assert used.trained is TRAINED and used.held_out.ids == ("v",)
    assert len(notes) == 2
    assert "1 of the 1 held-out images are training images: v is a." in notes[0]
    assert "1 of the 2 test images are training images: t is b (corr" in notes[1]
    assert "`scn-keras evaluate` will refuse them" in notes[1]
    given_test(table(t=film(1)), published=True)
    _, notes = leaks.images_to_use(recipe, source_of(TRAINED))
    assert "gives the results with and without them" in notes[0]
    _, notes = leaks.images_to_use(recipe, source_of(TRAINED), from_arrays=True)
    assert notes == []


@pytest.fixture
def start(finished, tmp_path, recipe):
    """A function that returns a recipe from a run that was trained on images."""

    def make(used):
        run = Run.create(tmp_path / "start", recipe, finished.schema)
        if used is not None:
            used.write(run.path)
        return recipe.override([f"start={run.path}"])

    return make


def test_start_from_a_model_of_the_test_images(start, given_test):
    recipe = start(UsedImages("hips", TRAINED))
    new = source_of(table(n=film(20)), table(o=film(21)))
    used, notes = leaks.images_to_use(recipe, new)
    assert notes == [] and used.started_from.ids == ("a", "b", "c")
    given_test(table(t=film(7), u=film(1)))
    with pytest.raises(ValueError, match=r"on 1 of the 2 test images .*: u is b\."):
        leaks.images_to_use(recipe, new)
    given_test(table(u=film(1)), published=True)
    assert "u is b" in leaks.images_to_use(recipe, new)[1][0]
    # What only looks alike is noted: it may be another image.
    given_test(table(u=DARKER))
    assert "u is b (correlation" in leaks.images_to_use(recipe, new)[1][0]
    given_test(ImageTable())
    with pytest.raises(ValueError, match="held-out images, whose errors"):
        leaks.images_to_use(recipe, source_of(table(n=film(20)), table(o=film(0))))


def test_a_start_without_a_record_is_noted(start, given_test):
    used, notes = leaks.images_to_use(start(None), source_of(TRAINED))
    assert len(used.started_from) == 0 and "has no record" in notes[0]


def test_a_run_is_resumed_on_the_same_images(finished, recipe, tmp_path):
    run = Run.create(tmp_path / "run", recipe, finished.schema)
    leaks.require_same_images(run, source_of(table(z=film(3))))  # without a record
    UsedImages("hips", TRAINED, table(d=film(3))).write(run.path)
    renamed = table(A=film(0), c=film(2), B=film(1))
    leaks.require_same_images(run, source_of(renamed, table(d=film(3))))
    with pytest.raises(ValueError, match="1 new and 2 missing training images"):
        changed = table(a=film(0), e=film(5))
        leaks.require_same_images(run, source_of(changed, table(d=film(3))))
    with pytest.raises(ValueError, match="Received: 0 new and 1 missing held-out"):
        leaks.require_same_images(run, source_of(TRAINED))


# In an evaluation.


def images_of(images, permits=False, dataset="other/1.0.0"):
    return types.SimpleNamespace(
        name="test",
        dataset=dataset,
        table=lambda: images,
        permits_seen=lambda recipe: permits,
    )


@pytest.fixture
def run(finished, recipe, tmp_path):
    run = Run.create(tmp_path / "run", recipe, finished.schema)
    UsedImages("hips", TRAINED, started_from=table(s=film(4))).write(run.path)
    return run


def test_images_of_the_training_are_refused_under_any_name(run):
    images = table(new=film(8), x=film(0), y=DARKER, z=film(4))
    with pytest.raises(ValueError, match=r"3 of the 4 images of 'test' .*--with-tr"):
        require_unseen(run, images_of(images), False, paper())
    for permitted in ((False, True), (True, False)):
        console = paper()
        seen = require_unseen(
            run, images_of(images, permitted[0]), permitted[1], console
        )
        assert seen == {"x", "y", "z"}
        assert "x is a, y is b (correlation" in written(console)
        assert "on the other 1 are those of test_unseen" in written(console)
    assert require_unseen(run, images_of(table(n=film(8))), False, paper()) == set()


def test_other_images_of_a_patient_are_noted(run):
    images = table("of a", n=film(8))
    for dataset, noted in (("hips/1.0.0", True), ("hips_2/1.0.0", False)):
        console = paper()
        require_unseen(run, images_of(images, dataset=dataset), False, console)
        assert (
            "1 of the 1 images of test are of patients" in written(console)
        ) == noted


def test_validation_images_are_noted(finished, recipe, tmp_path):
    run = Run.create(tmp_path / "run", recipe, finished.schema)
    UsedImages("hips", TRAINED, table(v=film(5), w=film(6))).write(run.path)
    console = paper()
    images = images_of(table(x=film(5), n=film(8)))
    assert require_unseen(run, images, False, console) == set()
    assert "1 of the 2 images of test are validation images" in written(console)
    assert "been chosen: x is v." in written(console)


def test_a_run_without_a_record_is_evaluated(finished, recipe, tmp_path):
    run = Run.create(tmp_path / "run", recipe, finished.schema)
    console = paper()
    assert require_unseen(run, images_of(TRAINED), False, console) is None
    assert "has no record of its training images" in written(console)


def test_repeats_in_two_folds_are_left_out_of_a_calibration(run):
    splits = [images_of(table(x=film(0), y=film(8))), images_of(table(z=film(9)))]
    located, console = dict.fromkeys("xyz"), paper()
    calibrate._leave_out_repeats(located, [run, run], splits, console)
    assert [*located] == ["y", "z"]
    assert "Left out of the calibration" in written(console)
    assert "two names: x is a." in written(console)


def test_repeats_in_two_folds_are_marked_in_a_cross_validation(
    run, finished, recipe, tmp_path
):
    images, console = images_of(table(x=film(0), y=film(8))), paper()
    assert crossval._with_repeats({"w"}, run, images, console) == {"w", "x"}
    assert "was trained on held-out images: x is a. " in written(console)
    unknown = Run.create(tmp_path / "unknown", recipe, finished.schema)
    assert crossval._with_repeats({"w"}, unknown, images, console) is None
    assert crossval._with_repeats(None, run, images, console) is None


@pytest.fixture
def copy(finished, tmp_path):
    """A run of its own, with the model and the record of the finished one."""
    run = Run.create(tmp_path / "copy", finished.recipe, finished.schema)
    finished.used_images.write(run.path)
    run.load_model = finished.load_model
    return run


def test_the_training_split_is_marked(copy, dots):
    console = paper()
    results = evaluate(copy, "train", data_dir=dots, console=console)
    by_split = {result["protocol"]["split"]: result for result in results}
    assert [*by_split] == ["train", "train_unseen"]
    assert by_split["train"]["protocol"]["trained_on"] == 8
    assert by_split["train_unseen"]["protocol"]["trained_on"] == 0
    assert by_split["train_unseen"]["protocol"]["subset_of"] == "train"
    held_out = evaluate(copy, "held_out", data_dir=dots, console=console)
    assert by_split["train_unseen"]["ids"] == held_out[0]["ids"]
    assert by_split["train_unseen"]["mre_mm"] == held_out[0]["mre_mm"]
    assert held_out[0]["protocol"]["trained_on"] == 0
    print_results(results, console)
    assert "train (trained on 8 of the 10 images): 10 images" in written(console)
    # Compared with itself: refused, or both.
    with pytest.raises(ValueError, match=r"trained on 8 .* of the 10 images of 'tr"):
        compare(copy, copy, "train", resamples=10)
    both = compare(copy, copy, "train", resamples=10, with_trained=True)
    assert [(c["protocol"]["split"], c["trained_on"]) for c in both] == [
        ("train", [8, 8]),
        ("train_unseen", [0, 0]),
    ]
    assert both[1]["n_images"] == 2
    print_comparison(both, ("one", "other"), console)
    assert "train (trained on 8 and 8 of them)" in written(console)


def test_a_folder_with_training_images_is_refused(copy, dots, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    known, fresh = copy.used_images.trained.ids[0], sample_ids("dots", "test", dots)[0]
    sets = []
    for name, (split, id) in {"x": ("train", known), "y": ("test", fresh)}.items():
        sample = find_samples("dots", split, [id], dots)[id]
        Image.fromarray(sample["image"][..., 0]).save(folder / f"{name}.png")
        sets.append(PointSet(copy.schema.names, sample["points"].tolist(), image=name))
    write_points(folder / "points.csv", sets, layout="wide")
    with pytest.raises(ValueError, match=f"1 of the 2 images .* x is {known}$"):
        evaluate(copy, folder=folder, console=paper())
    assert not (copy.path / "results").exists()
    results = evaluate(copy, folder=folder, console=paper(), with_trained=True)
    assert [result["ids"] for result in results] == [["x", "y"], ["y"]]
    assert results[1]["protocol"]["split"] == "folder_new_unseen"
