"""A method that is no network: trained, evaluated, used to predict; graphs refused."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from scn_keras.cli import main
from scn_keras.training import ImageToGrid, Method, Recipe, Run, evaluate, make_ensemble
from scn_keras.training.fit import fit


class Constant:
    """Finds every landmark where it is on the average."""

    def __init__(self, points):
        self.localizer = self
        self.points = points

    def predict_on_batch(self, images):
        count, landmarks, d = len(images), *self.points.shape
        return {
            "points": np.tile(self.points, (count, 1, 1)),
            "score": np.full((count, landmarks), 0.5, "float32"),
            "covariance": np.tile(np.eye(d, dtype="float32"), (count, landmarks, 1, 1)),
        }


class MeanPoints(Method):
    """The mean of the training points, on the grid."""

    MODEL_FILE = "mean.npz"

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, run, source, callbacks=()):
        points = np.concatenate([np.asarray(y["points"]) for _, y in source.plain()])
        mean = np.nanmean(points, axis=0) + self.shift
        np.savez(run.path / self.MODEL_FILE, mean=mean.astype("float32"))

    def load(self, run):
        with np.load(run.path / self.MODEL_FILE) as file:
            return Constant(file["mean"])


RECIPE = Recipe(
    name="mean",
    dataset="tiny_hands",
    image_to_grid=ImageToGrid((48, 32)),
    method=MeanPoints,
    validation=0.34,
    augmentation=None,
)


@pytest.fixture(scope="module")
def run(tiny_data, tmp_path_factory):
    return fit(RECIPE, tmp_path_factory.mktemp("runs") / "mean", tiny_data)


def test_a_recipe_names_the_method(run):
    written = json.loads((run.path / "recipe.json").read_text("utf-8"))
    assert written["method"] == f"{__name__}:MeanPoints"
    assert Run(run.path).recipe == RECIPE
    assert run.model_path.name == "mean.npz"


def test_it_is_resumed_and_has_a_digest(run, tiny_data):
    again = fit(RECIPE, run.path, tiny_data, resume=True)
    assert again.weights_digest() == run.weights_digest()


def test_it_is_evaluated_against_points_by_hand(run, tiny_data):
    (result,) = evaluate(run, data_dir=tiny_data)
    assert result["n_images"] == 3
    # By hand: the mean of the training points on their grids, on the test images.
    locator = run.locator()
    assert not locator.has_graph
    from scn_keras.training.input.prepared_sets import load_samples

    distances = []
    for outputs in locator.locate(load_samples("tiny_hands", "test", tiny_data)):
        to_source = outputs["grid_to_source"]
        found = locator.model.points @ to_source[:2, :2].T + to_source[:2, 2]
        np.testing.assert_allclose(outputs["points_px"], found, rtol=1e-5)
        spacing = np.diag(outputs["affine"])[:2]
        apart = (outputs["points"] - found) * spacing
        distances.append(np.linalg.norm(apart, axis=-1))
    assert result["mre_mm"] == pytest.approx(np.mean(distances), rel=1e-4)


def test_commands_take_it(run, tiny_data, tmp_path):
    def done(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output

    done("evaluate", run.path, "--data-dir", tiny_data)
    assert "not predict heatmaps" in (run.path / "report.html").read_text("utf-8")
    Image.fromarray(np.zeros((96, 64), np.uint8)).save(tmp_path / "a.png")
    done("predict", run.path, tmp_path / "a.png", "--json", tmp_path / "a.json")
    (answer,) = json.loads((tmp_path / "a.json").read_text("utf-8"))
    # The grid of 48 x 32 on an image twice as large: pixel p is at 2 p + 0.5.
    expected = 2.0 * run.load_model().points + 0.5
    found = [landmark["px"] for landmark in answer["landmarks"]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("command", ["export", "serve", "ensemble", "preset"])
def test_commands_that_need_a_graph_refuse_it(run, tmp_path, command):
    arguments = {
        "export": [run.path, tmp_path / "models"],
        "serve": [run.path],
        "ensemble": [tmp_path / "both", run.path],
        "preset": [run.path, tmp_path / "preset"],
    }[command]
    result = CliRunner().invoke(main, [command, *map(str, arguments)])
    assert result.exit_code == 1
    assert "needs a Keras network" in result.output
    assert "MeanPoints" in result.output
    assert not any(tmp_path.iterdir())


def test_an_ensemble_of_it_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="needs a Keras network.*MeanPoints"):
        make_ensemble([run, run], tmp_path / "both")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "MeanPoints"}, "`method` must be.*'MeanPoints'"),
        ({"method": Constant}, "a subclass of scn_keras.training.Method.*Constant"),
        ({"method_settings": {"size": 3}}, "no argument `size`.*shift"),
    ],
)
def test_methods_that_are_none(settings, message, tiny_data, tmp_path):
    import dataclasses

    with pytest.raises(ValueError, match=message):
        fit(dataclasses.replace(RECIPE, **settings), tmp_path / "run", tiny_data)
    assert not (tmp_path / "run").exists()
