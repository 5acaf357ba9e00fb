"""Coarse to fine, on points whose places are known."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation

from scn_keras.alignment import align
from scn_keras.array_api import TENSORFLOW
from scn_keras.geometry import apply_affine
from scn_keras.inference import CoarseToFine, ImageToGrid, Locator
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.predicting.predict import predict
from scn_keras.training import callbacks
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.experiments.ensemble import make_ensemble
from scn_keras.training.fit import fit
from scn_keras.training.input import pipeline
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input.placed_samples import mean_shape_of, place_by_truth
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network
from scn_keras.training.report.contact_sheet import contact_sheet
from scn_keras.training.run import Run

# Points in millimetres around their middle, without symmetry.
SHAPE = np.array(
    [
        *([-2.5, -4.0, -6.0], [2.5, 4.0, 6.0], [2.5, -3.0, 5.0]),
        *([-2.5, 1.0, -4.0], [0.3, 0.3, 0.0], [-1.0, 4.0, 3.0]),
    ]
)
GREY = np.array([0.25, 0.4, 0.55, 0.7, 0.85, 1.0], "float32")


def fine(d=3, **settings):
    grid = {2: (24, 16), 3: (32, 24, 16)}[d]
    network = Network(kind="LocalizationUNet", filters=2, levels=2)
    shared = {"dataset": "none", "network": network}
    return Recipe(
        name="fine",
        image_to_grid=ImageToGrid(grid=grid, grid_spacing=(0.75,) * d),
        coarse=Recipe(
            name="coarse", image_to_grid=ImageToGrid(grid=(40,) * d), **shared
        ),
        **shared,
        **settings,
    )


def sample(seed, d=3):
    """A volume with a spot of its own grey value at each point, in any pose."""
    random = np.random.default_rng(seed)
    turn = Rotation.random(rng=random).as_matrix()
    if d == 2:
        turn = Rotation.from_euler("z", random.uniform(0, 7)).as_matrix()
    affine = np.eye(d + 1)  # oblique, to millimetres
    affine[:d, :d] = 0.5 * Rotation.from_euler("zyx", (0.4, 0, 0)).as_matrix()[:d, :d]
    affine[:d, d] = -30.0
    center = np.full(d, 19.5)
    shape = SHAPE[:, :d] * random.uniform(0.9, 1.1)
    points = shape @ turn[:d, :d].T @ np.linalg.inv(affine[:d, :d]).T + center
    axes = np.meshgrid(*[np.arange(40.0)] * d, indexing="ij")[::-1]
    image = np.zeros((40,) * d)
    for point, grey in zip(points, GREY, strict=True):
        squared = sum((a - p) ** 2 for a, p in zip(axes, point, strict=True))
        image = np.maximum(image, grey * (squared < 2.4**2))
    return {
        "image": image[..., None].astype("float32"),
        "points": points.astype("float32"),
        "affine": affine.astype("float32"),
    }


def dataset(samples):
    return tf.data.Dataset.from_generator(
        lambda: iter(samples),
        output_signature={
            name: tf.TensorSpec(value.shape, tf.float32)
            for name, value in samples[0].items()
        },
    ).apply(tf.data.experimental.assert_cardinality(len(samples)))


class SpotsOfKnownGrey:
    """Finds the middle of each spot by its grey value, all off, or one of them."""

    def __init__(self, wrong=None, off=0.0):
        self.localizer = self
        self.wrong = wrong
        self.off = off

    def load_model(self):
        return self

    def predict_on_batch(self, images):
        d = images.ndim - 2
        points = [
            np.argwhere(abs(image[..., 0] - 2 * g + 1) < 0.1).mean(0)[::-1]
            for image in images
            for g in GREY
        ]
        points = np.reshape(points, (len(images), len(GREY), d)) + self.off
        if self.wrong is not None:
            points[:, self.wrong] = 0.0
        score = np.ones(points.shape[:2])
        return {
            "points": points,
            "score": score,
            "covariance": np.broadcast_to(np.eye(d), (*score.shape, d, d)),
        }


class MeanShape:
    """Finds every point where the mean shape has it."""

    def __init__(self, recipe):
        self.localizer = self
        self.points = on_fine_grid(recipe)

    def predict_on_batch(self, images):
        points = np.stack([self.points] * len(images))
        d = points.shape[-1]
        score = np.ones(points.shape[:2])
        covariance = np.broadcast_to(np.eye(d), (*score.shape, d, d))
        return {"points": points, "score": score, "covariance": covariance}


class ShapeAtTheBrightestSpot(MeanShape):
    """Finds the mean shape where its last point's spot is."""

    def predict_on_batch(self, images):
        found = super().predict_on_batch(images)
        for points, image in zip(found["points"], images, strict=True):
            spot = np.argwhere(image[..., 0] > 0.85).mean(0)[::-1]
            points += spot - self.points[-1]
        return found


def on_fine_grid(recipe):
    d = len(recipe.grid)
    return SHAPE[:, :d] / 0.75 + (np.array(recipe.grid[::-1]) - 1) / 2


def placement(recipe, model=None):
    coarse = Locator(model or SpotsOfKnownGrey(), recipe.coarse.image_to_grid)
    return CoarseToFine(recipe.image_to_grid, SHAPE[:, : len(recipe.grid)], coarse)


def points_of(sample):
    return sample["points"]


@pytest.mark.parametrize("d", [2, 3])
def test_points_come_to_lie_on_the_mean_shape_whatever_the_pose(d):
    recipe = fine(d)
    expected = on_fine_grid(recipe)
    for seed in range(3):
        one = sample(seed, d)
        found = placement(recipe).grid_to_source(one["points"], one["affine"])
        on_grid = apply_affine(np.linalg.inv(found), one["points"])
        np.testing.assert_allclose(on_grid, expected, atol=1e-4)


def test_without_millimetres_pixels_count():
    one, recipe = sample(0), fine()
    known = placement(recipe).grid_to_source(one["points"], one["affine"])
    unknown = np.diag([0.0, 0.0, 0.0, 1.0])
    found = placement(recipe).grid_to_source(one["points"], unknown)
    np.testing.assert_allclose(found, known, atol=1e-4)


@pytest.mark.parametrize("d", [2, 3])
def test_what_is_found_coarsely_places_the_grid(d):
    recipe, samples = fine(d), [sample(seed, d) for seed in range(3)]
    place = placement(recipe)
    placed = place.place_by_coarse(dataset(samples))
    assert int(placed.cardinality()) == 3
    truth = place.place_by_truth(dataset(samples), points_of).as_numpy_iterator()
    for found, true, one in zip(
        placed.as_numpy_iterator(), truth, samples, strict=True
    ):
        np.testing.assert_array_equal(found["image"], one["image"])
        off = apply_affine(np.linalg.inv(true["grid_to_source"]), one["points"])
        off -= apply_affine(np.linalg.inv(found["grid_to_source"]), one["points"])
        assert abs(off).max() < 0.5  # pixels of the grid


def test_one_wrong_point_does_not_displace_the_grid():
    recipe, one = fine(), sample(4)
    good, bad = (
        next(
            placement(recipe, SpotsOfKnownGrey(wrong))
            .place_by_coarse(dataset([one]))
            .as_numpy_iterator()
        )["grid_to_source"]
        for wrong in (None, 4)
    )
    corners = np.array([[0.0, 0, 0], [15, 23, 31]])
    apart = apply_affine(good, corners) - apply_affine(bad, corners)
    assert abs(apart).max() < 1.5


def test_a_second_look_is_rid_of_what_the_first_is_off_by():
    recipe, one = fine(), sample(6)
    place = placement(recipe, SpotsOfKnownGrey(off=1.5))
    model = ShapeAtTheBrightestSpot(recipe)
    first = place.place_by_coarse(dataset([one]))
    locator = Locator(model, recipe.image_to_grid, coarse_to_fine=place)
    (found,) = locator.locate(dataset([one]))

    def off(to_source):
        on_grid = apply_affine(np.linalg.inv(to_source), one["points"])
        return np.linalg.norm(on_grid - on_fine_grid(recipe), axis=-1).mean()

    assert off(next(first.as_numpy_iterator())["grid_to_source"]) > 1.5
    assert off(found["grid_to_source"]) < 0.6
    np.testing.assert_allclose(found["points_px"], one["points"], atol=0.5)


def grey_at(image, points):
    return image[(*np.round(points).astype(int).T[::-1], 0)]


@pytest.mark.parametrize("d", [2, 3])
def test_augmentation_of_placed_grids_keeps_points_on_their_spots(d):
    recipe = fine(
        d,
        augmentation=Augmentation(
            translation=0.0,
            translation_mm=1.0,
            rotation=0.3,
            scale=0.1,
            scale_per_axis=0.0,
            elastic=0.02,
            intensity_shift=0.0,
            intensity_scale=0.0,
        ),
    )
    samples = dataset([sample(s, d) for s in range(3)])
    placed = placement(recipe).place_by_truth(samples, points_of)
    for number, one in enumerate(placed):
        prepared = pipeline.prepare(one, recipe)
        image, y = pipeline.augment(prepared, tf.constant(number, tf.int64), recipe)
        points = y["points"].numpy()
        inside = ((points > 0) & (points < np.array(recipe.grid[::-1]) - 1)).all(-1)
        assert inside.sum() >= 3
        grey = grey_at(image.numpy(), points[inside])
        np.testing.assert_allclose(grey, 2 * GREY[inside] - 1, atol=0.15)


def test_mirrored_specimens_have_the_pose_of_the_mean_shape():
    # Two pairs and two points in the plane of symmetry, in any pose in the image.
    half = np.array([[-3.0, -4.0, -6.0], [-2.0, 3.0, 5.0]])
    middle = np.array([[0.0, 4.0, -2.0], [0.0, -1.0, 3.0]])
    shape = np.concatenate([half, middle, half * [-1.0, 1.0, 1.0]])
    pairs = [(0, 4), (1, 5)]
    turn = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    posed = sample(4)
    posed["points"] = (19.5 + 2.0 * shape @ turn.T).astype("float32")
    still = dict.fromkeys(("translation", "rotation", "scale", "scale_per_axis"), 0.0)
    mirrors = fine(augmentation=Augmentation(**still, elastic=0.0, flip=1.0))
    plain = dataclasses.replace(mirrors, augmentation=None)
    mean = mean_shape_of([posed], mirrors, pairs)
    np.testing.assert_allclose(mean[4], mean[0] * [-1.0, 1.0, 1.0], atol=1e-5)
    place = CoarseToFine(mirrors.image_to_grid, mean)
    (placed,) = place_by_truth(place, dataset([posed]), mirrors)
    prepared = pipeline.prepare(placed, mirrors)
    found = [
        pipeline.augment(prepared, tf.constant(0, tf.int64), recipe, pairs)[1]["points"]
        for recipe in (mirrors, plain)
    ]
    np.testing.assert_allclose(*found, atol=1e-3)
    # A recipe that does not mirror has the pose of its principal axes.
    unchanged = mean_shape_of([posed], plain, pairs)
    assert not np.allclose(unchanged[4], unchanged[0] * [-1.0, 1.0, 1.0], atol=0.1)


def test_an_augmentation_in_millimetres_is_in_those_of_the_image():
    recipe = fine(augmentation=Augmentation(translation=0.0, translation_mm=2.0))
    placed = placement(recipe).place_by_truth(dataset([sample(5)]), points_of)
    one = next(iter(placed))
    reduced = pipeline.reduce_sample(one, recipe)
    drawn = recipe.augmentation.draw(0, recipe.grid)
    still = {**drawn, "rotation": np.eye(3), "scale": np.ones(3)}
    drawn = {k: tf.constant(v, tf.float32) for k, v in still.items()}
    arguments = reduced, one["points"], one["affine"], recipe
    _, before = pipeline.grid_element(*arguments)
    _, after = pipeline.grid_element(*arguments, drawn)
    moved = (after["points"] - before["points"]).numpy()
    spacing = np.linalg.norm(after["affine"].numpy()[:3, :3], axis=0)
    expected = np.tile(still["translation_mm"], (len(GREY), 1))
    np.testing.assert_allclose(moved * spacing, expected, atol=1e-3)


def test_points_are_found_through_both_stages():
    recipe, samples = fine(), [sample(seed) for seed in range(3)]
    model, place = MeanShape(recipe), placement(recipe)
    locator = Locator(model, recipe.image_to_grid, coarse_to_fine=place)
    found = locator.locate(dataset(samples))
    for one, expected in zip(found, samples, strict=True):
        assert "image" not in one
        assert one["grid_image"].shape == (*recipe.grid, 1)
        np.testing.assert_allclose(one["points_px"], expected["points"], atol=0.6)
        on_grid = apply_affine(np.linalg.inv(one["grid_to_source"]), one["points_px"])
        np.testing.assert_allclose(on_grid, on_fine_grid(recipe), atol=1e-3)
        # The grid's image is that which lies there.
        grey = grey_at(one["grid_image"], on_grid)
        np.testing.assert_allclose(grey, 2 * GREY - 1, atol=0.15)


def test_both_stages_are_trained_and_used(finished_in_stages, dots, tmp_path):
    whole = finished_in_stages
    assert whole.coarse.recipe.name == "staged_coarse"
    (result,) = evaluate(whole, data_dir=dots)
    assert result["n_images"] == 3
    assert np.isfinite(result["mre_mm"])
    assert result["protocol"]["inference"].startswith("from coarse to fine, one model")
    # Out of files as out of the prepared set.
    (sample,) = data.find_samples("dots", "test", ["test0"], dots).values()
    file = tmp_path / "film.png"
    file.write_bytes(tf.io.encode_png(sample["image"]).numpy())
    exported = export(whole, tmp_path / "models")
    for model in (whole.path, whole.model_path, exported):
        (found,), _ = predict(model, [file], spacing=(0.5, 0.4))
        expected = read_points(whole, "test")["test0"]["points_px"]
        np.testing.assert_allclose(found.points_px, expected, atol=0.01)


def test_an_ensemble_takes_the_coarse_part_along(finished_in_stages, dots, tmp_path):
    made = make_ensemble([finished_in_stages], tmp_path / "views", views=True)
    assert not (made.path / "coarse" / "checkpoints").exists()
    samples = data.load_samples("dots", "test", dots)
    once, often = (
        [outputs["points_px"] for outputs in run.locator().locate(samples)]
        for run in (finished_in_stages, made)
    )
    assert np.isfinite(often).all()
    assert not np.array_equal(once, often)
    made.shape_path.write_text("[[0, 0], [1, 0], [0, 1]]")
    with pytest.raises(ValueError, match="cannot be members.*: the mean shape"):
        make_ensemble([finished_in_stages, made], tmp_path / "unlike")


def test_a_contact_sheet_shows_placed_grids(finished_in_stages, dots):
    recipe = finished_in_stages.recipe
    sheet = contact_sheet("dots", "test", 3, augmented=recipe, data_dir=dots)
    first = [axes for axes in sheet.axes if axes.get_title(loc="left")[-1:].isdigit()]
    points = np.array([axes.collections[-1].get_offsets() for axes in first])
    assert points.shape == (3, 3, 2)
    # Films differ by 5 mm or so along each axis, placed ones by their shapes alone.
    assert points.std(axis=0).max() < 4.0
    np.testing.assert_allclose(points.mean((0, 1)), [19.5, 23.5], atol=4.0)


def test_a_run_in_stages_continues_where_it_was(
    finished_in_stages, dots, tmp_path, monkeypatch
):
    whole, staged = finished_in_stages, finished_in_stages.recipe
    epoch = callbacks.Recorder.on_epoch_end

    def cut_after(epochs):
        def on_epoch_end(*args, **kwargs):
            epoch(*args, **kwargs)
            left.pop()
            if not left:
                raise InterruptedError

        left = [None] * epochs
        monkeypatch.setattr(callbacks.Recorder, "on_epoch_end", on_epoch_end)
        with pytest.raises(InterruptedError):
            fit(staged, tmp_path / "cut", dots, resume=True)

    cut_after(1)  # of the coarse stage's two
    cut_after(2)  # its last, and the fine stage's first
    assert Run(tmp_path / "cut/coarse").model_path.is_file()
    monkeypatch.setattr(callbacks.Recorder, "on_epoch_end", epoch)
    again = fit(staged, tmp_path / "cut", dots, resume=True)
    assert again.shape_path.read_text() == whole.shape_path.read_text()
    for run, expected in ((again, whole), (again.coarse, whole.coarse)):
        for a, b in zip(
            run.load_model().get_weights(),
            expected.load_model().get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


def test_both_stages_learn_from_the_same_images():
    recipe = dataclasses.replace(fine(), validation=0.3, fold=(1, 3), seed=7)
    coarse = recipe.override(["train_split=a", "coarse.steps=9"]).coarse
    assert (coarse.train_split, coarse.fold, coarse.seed) == ("a", (1, 3), 7)
    assert (coarse.steps, coarse.validation) == (9, 0.3)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    "image_to_grid", [ImageToGrid((32, 24, 16)), ImageToGrid((16, 16), (1.0, 1.0))]
)
def test_a_fine_recipe_needs_a_spacing_and_as_many_axes(image_to_grid):
    with pytest.raises(ValueError, match=r"requires a `grid_spacing`.*coarse.grid=\("):
        dataclasses.replace(fine(), image_to_grid=image_to_grid)


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("d", [2, 3])
def test_the_graph_aligns_as_numpy_does(d, robust):
    random = np.random.default_rng(7)
    graph = tf.function(
        lambda points, target, weights: align(
            points, target, weights, robust, TENSORFLOW
        )
    )
    for n, gone in ((3, 0), (12, 0), (13, 4)):
        points = random.normal(size=(n, d)) * [2.0, 4.0, 9.0][:d]
        turn = np.linalg.qr(random.normal(size=(d, d)))[0]
        target = 30.0 * points @ turn + 100.0  # of either hand
        target[:gone] += random.normal(size=(gone, d)) * 300.0
        points[n - gone // 2 :] = np.nan
        weights = random.uniform(0.0, 1.0, n)
        expected = align(points, target, weights, robust)
        found = graph(points, target, weights).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_of_too_few_points_the_graph_makes_numbers():
    points = np.array([[1.0, 2.0], [np.nan, 3.0]])
    found = align(points, points, xp=TENSORFLOW).numpy()
    assert np.isfinite(found).all()
    with pytest.raises(ValueError, match="at least 2 points"):
        align(points, points)
