import csv
import io
import json

import numpy as np
import pytest
import rich.console
import tensorflow_datasets as tfds

from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.losses import HeatmapSquaredError
from scn_keras.metrics import PointError, SuccessDetectionRate
from scn_keras.training import data, pipeline
from scn_keras.training.evaluate import (
    evaluate,
    known_truths,
    read_points,
    true_points,
)
from scn_keras.training.recipe import Network, Recipe
from scn_keras.training.result_table import print_results
from scn_keras.training.run import Run

NAN = np.nan

# Where the stand-in below finds the two landmarks of every image, on the grid.
ON_GRID = np.array([[10.0, 20.0], [30.0, 5.0]])


class Planted(LandmarkBuilder, skip_registration=True):
    """Four images whose truth lies at known distances from what is found.

    All are 96 x 80 pixels, in a grid of 48 x 40. By the letterbox's arithmetic a
    point g of the grid is 2 g + 0.5 in pixels of a square-pixel image. The second
    image, 0.5 x 0.25 mm per pixel, is 40 x 24 mm and fills 40 of 48 rows at 1 mm
    each: x = 2 g + 0.5, y = 4 g - 46.5.
    """

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("a", "b"))
    OBSERVERS = ("first", "second")
    SUBSETS = {"test_part": ("test", frozenset({"0", "1"}))}
    SPACING_RULE = "planted"

    SQUARE = ((20.5, 40.5), (60.5, 10.5))
    # Affine, found points in pixels, and by how much each observer is off in pixels.
    IMAGES = (
        (np.diag([0.1, 0.1, 1.0]), SQUARE, ((30, 40), (0, 0)), ((-30, -40), (0, 19.9))),
        (
            np.diag([0.5, 0.25, 1.0]),
            ((20.5, 33.5), (60.5, -26.5)),
            ((6, 16), (0, 12)),  # 3 and 4 mm; 3 mm
            ((6, 16), (NAN, NAN)),
        ),
        # Turned by a quarter, 0.2 mm per pixel, far from the origin.
        (
            np.array([[0.0, -0.2, 500.0], [0.2, 0.0, -300.0], [0.0, 0.0, 1.0]]),
            SQUARE,
            ((0, 5), (12, 0)),
            ((0, 5), (-12, 0)),
        ),
        (np.diag([0.0, 0.0, 1.0]), SQUARE, ((0, 0), (0, 0)), ((0, 0), (0, 0))),
    )
    FIRST = [[5.0, 0.0], [5.0, 3.0], [1.0, 2.4]]
    SECOND = [[5.0, 1.99], [5.0, NAN], [1.0, 2.4]]
    MEAN = [[0.0, 0.995], [5.0, NAN], [1.0, 0.0]]

    def _split_generators(self, dl_manager):
        return {"test": self._generate_examples()}

    def _generate_examples(self):
        for n, (affine, found, *offsets) in enumerate(self.IMAGES):
            image = np.full((96, 80), 40 * n, np.uint8)
            points = {
                f"points_{observer}": np.add(found, offset)
                for observer, offset in zip(self.OBSERVERS, offsets, strict=True)
            }
            group = "p" if n < 2 else f"{n}"
            yield f"{n}", self.sample(f"{n}", image, points, affine, group)


class StandIn:
    """Finds the same points in every image, and counts how often it is asked."""

    def __init__(self, points=ON_GRID):
        self.localizer = self
        self.points = points
        self.images = []

    def predict_on_batch(self, images):
        self.images.append(len(images))
        return {
            "points": np.tile(self.points, (len(images), 1, 1)).astype("float32"),
            "score": np.full((len(images), 2), 0.25, "float32"),
            "covariance": np.tile(np.eye(2, dtype="float32"), (len(images), 2, 1, 1)),
        }


@pytest.fixture(scope="module")
def planted_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    Planted(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def planted(planted_dir, monkeypatch, tmp_path):
    """A run on `planted` whose model is the stand-in, and where the data lie."""
    monkeypatch.setattr(data, "builder_class", {"planted": Planted}.__getitem__)
    recipe = Recipe(
        name="known",
        dataset="planted",
        observer="random",
        grid=(48, 40),
        network=Network(spatial_factor=8),
    )
    run = Run.create(tmp_path / "run", recipe, Planted.SCHEMA)
    run.load_model = StandIn
    return run, planted_dir


def quiet():
    return rich.console.Console(file=io.StringIO(), width=80)


def test_planted_distances_come_out(planted):
    run, data_dir = planted
    results = evaluate(run, data_dir=data_dir, console=quiet())
    scopes = [(r["protocol"]["split"], r["protocol"]["truth"]) for r in results]
    truths = ("first", "second", "mean")
    assert scopes == [(s, t) for s in ("test", "test_part") for t in truths]

    expected = dict(
        zip(truths, (Planted.FIRST, Planted.SECOND, Planted.MEAN), strict=True)
    )
    for result, (scope, truth) in zip(results, scopes, strict=True):
        distances = np.array(expected[truth])[: 3 if scope == "test" else 2]
        assert result["mre_mm"] == pytest.approx(np.nanmean(distances), abs=1e-5)
        assert result["sd_mm"] == pytest.approx(np.nanstd(distances), abs=1e-5)
        assert result["n_images"] == len(distances)
        assert result["n_points"] == np.isfinite(distances).sum()
        for name, column, row in zip(
            "ab", distances.T, result["per_landmark"], strict=True
        ):
            assert row["name"] == name
            assert row["mre_mm"] == pytest.approx(np.nanmean(column), abs=1e-5)
        within = (distances < 2.0).sum() / np.isfinite(distances).sum()
        assert result["sdr_percent"]["2"] == pytest.approx(100.0 * within)
        assert result["ci95"]["groups"] == (2 if scope == "test" else 1)
        path = run.path / "results" / f"{scope}-{truth}.json"
        assert json.loads(path.read_text()) == result


def test_images_without_scale_are_named_and_not_scored(planted):
    run, data_dir = planted
    console = quiet()
    results = evaluate(run, data_dir=data_dir, console=console)
    assert results[0]["excluded"] == ["3"]
    assert results[-1]["excluded"] == []
    assert "Not scored: image 3 has no usable spacing" in console.file.getvalue()


def test_points_are_kept(planted):
    run, data_dir = planted
    evaluate(run, data_dir=data_dir, console=quiet())
    with (run.path / "results" / "test-points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] + row["landmark"] for row in rows] == [
        f"{n}{landmark}" for n in range(4) for landmark in "ab"
    ]
    # x = -0.2 * 40.5 + 500, y = 0.2 * 20.5 - 300.
    assert rows[4] == {
        **{"id": "2", "group": "2", "landmark": "a"},
        **{"x_px": "20.5000", "y_px": "40.5000", "score": "0.2500"},
        # 1 px2 on the grid is 4 px2 of the image: 0.4 mm along each axis.
        **{"spread_mm": "0.5657"},
        **{"x_mm": "491.9000", "y_mm": "-295.9000"},
        **dict.fromkeys(
            ("error_mm_first", "error_mm_second", "error_mm_mean"), "1.0000"
        ),
    }
    assert rows[6]["x_px"] == "20.5000"
    assert rows[6]["x_mm"] == rows[6]["error_mm_mean"] == ""

    points = read_points(run, "test")
    assert list(points) == ["0", "1", "2", "3"]
    np.testing.assert_allclose(points["1"]["points_px"], [[20.5, 33.5], [60.5, -26.5]])
    np.testing.assert_allclose(points["1"]["errors"]["second"], [5.0, NAN])
    assert np.isnan(points["3"]["errors"]["mean"]).all()
    with pytest.raises(FileNotFoundError, match="not been evaluated on 'train'"):
        read_points(run, "train")


def test_protocol_says_what_the_numbers_mean(planted):
    run, data_dir = planted
    results = evaluate(run, data_dir=data_dir, console=quiet())
    protocol = results[-1]["protocol"]
    expected = {
        "dataset": "planted/1.0.0",
        "split": "test_part",
        "subset_of": "test",
        "n_images": 2,
        "truth": "mean",
        "training_observer": "random",
        "spacing": "planted",
        "spacing_mm": [pytest.approx(0.1), 0.5],
        "inequality": "<",
        "decoder": "log_parabola",
        "grid": [48, 40],
        "recipe": "known",
        "seed": 0,
        "command": [
            *("scn-keras", "evaluate", str(run.path), "--split", "test"),
            *("--data-dir", str(data_dir)),
        ],
    }
    assert {key: protocol[key] for key in expected} == expected
    # Both observers have 5 points: 100, 19.9, 0, 0 and 24 pixels from each other.
    (pair,) = results[0]["between_observers"]
    assert pair["names"] == ["first", "second"]
    assert pair["mre_mm"] == pytest.approx((10.0 + 1.99 + 0.0 + 0.0 + 4.8) / 5)


def test_a_split_is_located_once(planted):
    run, data_dir = planted
    model = StandIn()
    run.load_model = lambda: model
    evaluate(run, data_dir=data_dir, batch_size=3, console=quiet())
    assert model.images == [3, 1]


def test_subset_alone(planted):
    run, data_dir = planted
    model = StandIn()
    run.load_model = lambda: model
    whole = evaluate(run, data_dir=data_dir, console=quiet())
    (part,) = evaluate(run, "test_part", ["second"], data_dir, console=quiet())
    assert model.images == [4, 2]
    same = [r for r in whole if r["protocol"]["split"] == "test_part"][1]
    different = {"protocol", "seconds"}
    assert {k: v for k, v in part.items() if k not in different} == {
        k: v for k, v in same.items() if k not in different
    }
    assert len(read_points(run, "test_part")) == 2


def test_nothing_to_score(planted, monkeypatch):
    run, data_dir = planted
    monkeypatch.setattr(Planted, "SUBSETS", {"last": ("test", frozenset({"3"}))})
    with pytest.raises(ValueError, match="There is no distance to summarise"):
        evaluate(run, "last", data_dir=data_dir, console=quiet())


def test_errors(planted, monkeypatch):
    run, data_dir = planted
    with pytest.raises(ValueError, match="the splits test, test_part. Received: split"):
        evaluate(run, "test1", data_dir=data_dir)
    with pytest.raises(ValueError, match=r"truths \['first', 'second', 'mean'\]"):
        evaluate(run, observers=["third"], data_dir=data_dir)
    run.load_model = lambda: StandIn(ON_GRID * NAN)
    with pytest.raises(ValueError, match="not numbers for image .: its training has"):
        evaluate(run, data_dir=data_dir, console=quiet())
    run.load_model = StandIn
    wrong = {"test_part": ("test", frozenset({"0", "7"}))}
    monkeypatch.setattr(Planted, "SUBSETS", wrong)
    with pytest.raises(ValueError, match="'test_part' is 2 images, of which .* has 1"):
        evaluate(run, data_dir=data_dir, console=quiet())


def test_tables_fit_a_terminal(planted):
    run, data_dir = planted
    results = evaluate(run, data_dir=data_dir, console=quiet())
    console = quiet()
    print_results(results, console, landmarks=True)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "test: 3 images, 2 patients" in text
    first = results[0]
    assert f"{first['mre_mm']:.3f} ± {first['sd_mm']:.3f}" in text
    for bounds in (first["ci95"]["mre_mm"], results[2]["ci95"]["mre_mm"]):
        assert f"{bounds[0]:.3f}–{bounds[1]:.3f}" in text
    assert "first and second themselves are 3.358 ±" in text
    assert "test_part against mean" in text


def test_agrees_with_the_metrics_of_fit(tiny_run, tiny_data):
    (result,) = evaluate(tiny_run, data_dir=tiny_data, console=quiet())
    samples = data.load_samples("tiny_hands", "test", tiny_data)
    model = tiny_run.load_model()
    model.compile(
        loss=HeatmapSquaredError(), metrics=[PointError(), SuccessDetectionRate(10)]
    )
    logs = model.evaluate(
        pipeline.evaluation_batches(samples, tiny_run.recipe),
        verbose=0,
        return_dict=True,
    )
    assert result["mre_mm"] == pytest.approx(logs["point_error"], rel=1e-4)
    assert result["sdr_percent"]["10"] == pytest.approx(100 * logs["sdr_10"], abs=1e-3)
    assert result["n_images"] == 3
    assert result["protocol"]["truth"] is None
    assert (tiny_run.path / "results" / "test.json").is_file()


def test_a_ground_truth_is_no_observer():
    class Builder:
        OBSERVERS = ("first", "second")
        GROUND_TRUTHS = ("challenge",)

        def point_features(self):
            return ("points_first", "points_second", "points_challenge")

    sample = {
        "points_first": np.array([[0.0, 0.0]]),
        "points_second": np.array([[2.0, 4.0]]),
        "points_challenge": np.array([[50.0, 50.0]]),
        "points_px": np.array([[9.0, 9.0]]),
    }
    assert known_truths(Builder()) == ("first", "second", "mean", "challenge")
    found = {
        truth: true_points(sample, truth, Builder())[0].tolist()
        for truth in known_truths(Builder())
    }
    assert found == {
        "first": [0.0, 0.0],
        "second": [2.0, 4.0],
        "mean": [1.0, 2.0],
        "challenge": [50.0, 50.0],
    }
