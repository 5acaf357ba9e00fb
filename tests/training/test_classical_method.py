"""Regression forests as the method of a recipe: commands, interruption, refusals."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from scn_keras.classical import EbnerForest
from scn_keras.cli import main
from scn_keras.training import Augmentation, ImageToGrid, Recipe, Run, load_recipe
from scn_keras.training.fit import fit

pytest.importorskip("sklearn")

SETTINGS = {
    "kind": "EbnerForest",
    "num_features": 60,
    "trees": 4,
    "global_factor": 2,
    "global_samples": 800,
    "global_reach": 30.0,
    "vote_distance": 20.0,
    "local_radii": (12.0,),
    "local_samples": 500,
    "widths": (1, 3, 5),
}
RECIPE = Recipe(
    name="forest",
    dataset="dots",
    image_to_grid=ImageToGrid((48, 40)),
    method="scn_keras.training:ClassicalMethod",
    method_settings=SETTINGS,
    validation=0.0,
    augmentation=None,
)


@pytest.fixture(scope="module")
def run(dots_dir, tmp_path_factory):
    return fit(RECIPE, tmp_path_factory.mktemp("runs") / "forest", dots_dir)


def points(run):
    images = np.random.default_rng(0).uniform(-1.0, 1.0, (2, 48, 40, 1))
    return run.load_model().predict_on_batch(images)["points"]


def test_the_run_is_a_forest_with_the_seed_of_the_recipe(run):
    assert isinstance(Run(run.path).load_model(), EbnerForest)
    assert not (run.path / "parts").exists()
    settings = {"seed": RECIPE.seed, **SETTINGS}
    del settings["kind"]
    assert settings.items() <= run.load_model().get_config().items()


def test_dots_are_found_by_every_command(run, dots_dir, tmp_path):
    def done(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    done("evaluate", run.path, "--data-dir", dots_dir)
    (result,) = [
        json.loads(path.read_text("utf-8"))
        for path in (run.path / "results").glob("*.json")
    ]
    # Spacing 0.5 mm: a pixel of the grid is about 0.6 mm.
    assert result["mre_mm"] < 1.5
    assert "forest" in done("compare", run.path, run.path)
    Image.fromarray(np.zeros((60, 50), np.uint8)).save(tmp_path / "a.png")
    done("predict", run.path, tmp_path / "a.png", "--json", tmp_path / "a.json")
    (answer,) = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert np.isfinite([landmark["px"] for landmark in answer["landmarks"]]).all()


def test_an_interrupted_training_is_resumed(run, dots_dir, tmp_path, monkeypatch):
    from scn_keras.classical import _ebner_fit

    original, calls = _ebner_fit.OffsetForest.fit, []

    def cut(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(_ebner_fit.OffsetForest, "fit", cut)
    with pytest.raises(KeyboardInterrupt):
        fit(RECIPE, tmp_path / "cut", dots_dir)
    assert len([*(tmp_path / "cut" / "parts").iterdir()]) == 2
    resumed = fit(RECIPE, tmp_path / "cut", dots_dir, resume=True)
    assert len(calls) == 3 + 2  # of four forests, two were fitted before
    np.testing.assert_array_equal(points(resumed), points(run))


def test_augmented_batches_are_the_training_images(run, dots_dir, tmp_path, capsys):
    recipe = dataclasses.replace(
        RECIPE, augmentation=Augmentation(rotation=0.3), steps=4, batch_size=2
    )
    augmented = fit(recipe, tmp_path / "augmented", dots_dir)
    assert not np.array_equal(points(augmented), points(run))
    assert "part 4 of 4: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"method_settings": {"kind": "Forest"}},
            "must be one of ActiveShapeModel, DonnerCandidates,",
        ),
        ({"method_settings": {}}, "needs the argument `kind`"),
        (
            {"method_settings": {"kind": "EbnerForest", "tree": 3}},
            "EbnerForest takes no argument `tree`.*trees",
        ),
        (
            {"method_settings": {"kind": "EbnerForest", "seed": 3}},
            "EbnerForest takes no argument `seed`",
        ),
        ({"method_settings": {"kind": "EbnerForest", "trees": 0}}, "must be positive"),
        (
            {"method_settings": {"kind": "DonnerCandidates", "spring_weight": 1.0}},
            "DonnerCandidates takes no argument `spring_weight`",
        ),
        ({"callbacks": ("TerminateOnNaN",)}, "`callbacks` is for networks only"),
        ({"start": "synthetic_hand"}, "`start` is for networks only"),
    ],
)
def test_what_it_cannot_use(changes, message, dots_dir, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit(dataclasses.replace(RECIPE, **changes), tmp_path / "run", dots_dir)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "method", ["asm", "donner", "ebner", "lindner", "pictorial", "stern"]
)
@pytest.mark.parametrize("data_set", ["cephalogram", "hand"])
def test_recipes_of_the_package(data_set, method):
    from scn_keras.training.build import require_parts

    recipe = load_recipe(f"{data_set}_{method}")
    assert recipe.name == f"{data_set}_{method}" and not recipe.uses_network
    require_parts(recipe)
    assert Recipe.from_dict(recipe.stored_form()) == recipe


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "ActiveShapeModel", "frame_factors": (2, 1), "steps": 3},
        {**SETTINGS, "kind": "DonnerCandidates", "trees": 2, "apart": 6.0},
        {
            **{name: SETTINGS[name] for name in ("num_features", "trees", "widths")},
            **{"kind": "LindnerForest", "global_samples": 400, "local_samples": 200},
            **{"frame_factors": (1,), "local_radii": (8.0,), "global_factor": 2},
        },
        {
            **{name: SETTINGS[name] for name in ("num_features", "trees", "widths")},
            **{"kind": "SternForest", "local_samples": 200, "local_radius": 8.0},
        },
    ],
    ids=lambda settings: settings["kind"],
)
def test_other_methods_are_runs(settings, dots_dir, tmp_path):
    recipe = dataclasses.replace(RECIPE, method_settings=settings)
    run = fit(recipe, tmp_path / "run", dots_dir)
    assert type(Run(run.path).load_model()).__name__ == settings["kind"]
    assert not (run.path / "parts").exists()
    found = points(run)
    assert found.shape == (2, 3, 2) and np.isfinite(found).all()
