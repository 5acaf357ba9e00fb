import csv
import io
import json
import shutil

import numpy as np
import pytest
import rich.console
import tensorflow_datasets as tfds
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.inference import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.losses import HeatmapSquaredError
from scn_keras.metrics import PointError, SuccessDetectionRate
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.evaluation.prepared_split import PreparedSplit
from scn_keras.training.evaluation.result_table import print_results
from scn_keras.training.input import pipeline
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network
from scn_keras.training.run import Run

NAN = np.nan

# Where the stand-in below finds the two landmarks of every image, on the grid.
ON_GRID = np.array([[10.0, 20.0], [30.0, 5.0]])


class Planted(LandmarkBuilder):
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
    recipe = Recipe(
        name="known",
        dataset="planted",
        observer="random",
        image_to_grid=ImageToGrid(grid=(48, 40)),
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


def test_the_worst_images_are_named(planted):
    run, data_dir = planted
    console = quiet()
    first, second, *_ = evaluate(run, data_dir=data_dir, console=console)
    # Means of FIRST and SECOND; image 3 has no spacing.
    expected = [("1", 4.0), ("0", 2.5), ("2", 1.7)]
    for result, values in (
        (first, expected),
        (second, [("1", 5.0), ("0", 3.495), ("2", 1.7)]),
    ):
        assert [row["id"] for row in result["worst_images"]] == [i for i, _ in values]
        means = [row["mre_mm"] for row in result["worst_images"]]
        np.testing.assert_allclose(means, [mean for _, mean in values], atol=1e-5)
    print_results([first, second], console)
    text = " ".join(console.file.getvalue().split())
    sentence = (
        "Largest mean errors of images, test against first: 1 (4.00 mm), 0 (2.50 mm), "
        "2 (1.70 mm)."
    )
    assert text.count("Largest mean errors") == 1 and sentence in text
    assert "hardly trained" not in text
    print_results([{**first, "median_score": 0.03}], console)
    assert "the median score is 0.03. The model is hardly trained" in " ".join(
        console.file.getvalue().split()
    )


def test_images_without_scale_are_named_and_not_scored(planted):
    run, data_dir = planted
    console = quiet()
    results = evaluate(run, data_dir=data_dir, console=console)
    assert results[0]["excluded"] == ["3"]
    assert results[-1]["excluded"] == []
    assert "Not evaluated: image 3 has no usable spacing" in console.file.getvalue()


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
        **{"spread_mm": "0.5657", "radius90_mm": ""},
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
        "unit": "mm",
        "training_observer": "random",
        "spacing": "planted",
        "spacing_mm": [pytest.approx(0.1), 0.5],
        "inequality": "<",
        "decoder": "log_parabola",
        "grid": [48, 40],
        "run": str(run.path),
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


def test_a_subset_without_any_spacing_is_named_beside_others(planted, monkeypatch):
    run, data_dir = planted
    monkeypatch.setattr(Planted, "SUBSETS", {"last": ("test", frozenset({"3"}))})
    run.load_model = lambda: StandIn()
    with pytest.raises(ValueError, match="distance"):
        evaluate(run, data_dir=data_dir, console=quiet())


def test_without_any_spacing_there_are_pixels_and_no_millimetres(planted, monkeypatch):
    run, data_dir = planted
    monkeypatch.setattr(Planted, "SUBSETS", {"last": ("test", frozenset({"3"}))})
    run.load_model = lambda: StandIn(ON_GRID + [[3.0, 4.0], [0.0, 30.0]])
    console = quiet()
    results = evaluate(run, "last", data_dir=data_dir, console=console)
    assert "No image of last has a usable spacing" in console.file.getvalue()
    for result in results:  # both observers are where the stand-in is not off
        assert result["protocol"]["unit"] == "px"
        assert result["protocol"]["spacing_mm"] is None
        assert result["ids"] == ["3"]
        assert result["excluded"] == []
        # A pixel of the grid is two of the image.
        assert result["mre_px"] == pytest.approx((10.0 + 60.0) / 2)
        assert result["sdr_percent"] == {"2": 0, "5": 0, "10": 0, "20": 50, "50": 50}
        assert result["outliers"]["50"] == 1
        assert result["percentiles_px"]["p99"] == pytest.approx(59.5)
        assert result["ci95"]["mre_px"] is None
        assert result["per_landmark"][1]["median_px"] == pytest.approx(60.0)
        assert "_mm" not in json.dumps({**result, "protocol": None})
    assert results[0]["between_observers"][0]["mre_px"] == 0.0

    points = read_points(run, "last")
    np.testing.assert_allclose(points["3"]["errors"]["mean"], [10.0, 60.0])
    # 1 px2 on the grid is 4 px2 of the image, along each of two axes.
    np.testing.assert_allclose(points["3"]["spread"], 8**0.5, atol=1e-4)

    console = quiet()
    print_results(results, console, landmarks=True)
    text = console.file.getvalue()
    assert "last: 1 images, 1 patients, px" in text
    assert "35.00 ± 25.00" in text
    assert " mm" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_several_runs_are_a_row_each(planted, tmp_path):
    run, data_dir = planted
    other = Run.create(tmp_path / "a_run_with_quite_a_name", run.recipe, run.schema)
    other.load_model = lambda: StandIn(ON_GRID + 1.0)
    results = [
        result
        for one in (run, other)
        for result in evaluate(one, "test_part", None, data_dir, console=quiet())
    ]
    console = quiet()
    print_results(results, console)
    text = console.file.getvalue()
    assert text.count("test_part: 2 images") == 1
    for result in results:
        assert f"{result['mre_mm']:.3f} ±" in text
    assert max(map(len, text.splitlines())) <= 80


def test_errors(planted, monkeypatch):
    run, data_dir = planted
    with pytest.raises(ValueError, match="the splits test, test_part. Received: split"):
        evaluate(run, "test1", data_dir=data_dir)
    with pytest.raises(ValueError, match=r"truths \['first', 'second', 'mean'\]"):
        evaluate(run, observers=["third"], data_dir=data_dir)
    run.load_model = lambda: StandIn(ON_GRID * NAN)
    with pytest.raises(ValueError, match="Received: .* not finite for image ."):
        evaluate(run, data_dir=data_dir, console=quiet())
    run.load_model = StandIn
    wrong = {"test_part": ("test", frozenset({"0", "7"}))}
    monkeypatch.setattr(Planted, "SUBSETS", wrong)
    with pytest.raises(ValueError, match="'test_part'.*Received: 1 of 2 images"):
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
    assert "points of first and second are 3.358 ±" in text
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


def test_command_on_several_runs(tiny_run, tiny_data, tmp_path, monkeypatch):
    reports = []

    def write_report(run, path, evaluation):
        reports.append((run.path, path, evaluation.images.name))
        return path or run.path / "report.html"

    monkeypatch.setattr("scn_keras.training.report.page.write_report", write_report)
    other = tmp_path / "other"
    shutil.copytree(tiny_run.path, other)
    runs = [str(tiny_run.path), str(other)]
    data_dir = ["--data-dir", str(tiny_data)]
    out, page = tmp_path / "all.json", tmp_path / "page.html"

    refused = CliRunner().invoke(main, ["evaluate", *runs, "--report", str(page)])
    assert refused.exit_code == 2
    assert "--report is for one RUN" in refused.output

    done = CliRunner().invoke(main, ["evaluate", *runs, *data_dir, "--json", str(out)])
    assert done.exit_code == 0, done.output
    results = json.loads(out.read_text())
    assert [result["protocol"]["run"] for result in results] == runs
    assert results[0]["mre_mm"] == results[1]["mre_mm"]
    assert results[1] == json.loads((other / "results" / "test.json").read_text())
    assert "test: 3 images, 3 patients, mm" in done.output

    arguments = ["evaluate", runs[1], *data_dir, "--split", "test"]
    done = CliRunner().invoke(main, [*arguments, "--report", str(page)])
    assert f"Report: {page}" in done.output
    assert reports == [
        *((path, None, "test") for path in (tiny_run.path, other)),
        (other, page, "test"),
    ]


def test_a_ground_truth_is_no_observer():
    class Builder:
        SUBSETS = {}
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
    images = PreparedSplit.__new__(PreparedSplit)
    images.builder = Builder()
    assert images.truths == ("first", "second", "mean", "challenge")
    found = {
        truth: images.true_points(sample, truth)[0].tolist() for truth in images.truths
    }
    assert found == {
        "first": [0.0, 0.0],
        "second": [2.0, 4.0],
        "mean": [1.0, 2.0],
        "challenge": [50.0, 50.0],
    }
