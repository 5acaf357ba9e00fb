"""Public names, which load when used, and the import paths of version 0.1."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import scn_keras
from scn_keras._moved import MOVED

ROOT = Path(scn_keras.__file__).parent

# Programs that make Keras unimportable in their process.
PROGRAMS = ("__main__", "minimal_client", "run_saved_model")


def modules() -> list[str]:
    """The dotted names of all modules and packages, by their files."""
    names = []
    for folder, _, files in os.walk(ROOT, followlinks=True):
        for file in files:
            path = Path(folder, file)
            if path.suffix == ".py" and path.stem not in PROGRAMS:
                name = path.relative_to(ROOT.parent).with_suffix("")
                names.append(".".join(name.parts).removesuffix(".__init__"))
    return sorted(names)


def lazy_packages() -> dict[str, ast.Module]:
    """The parsed `__init__` of each package that calls `lazy_names`."""
    parsed = {}
    for path in map(Path, (ROOT, *packages())):
        text = (path / "__init__.py").read_text("utf-8")
        if "lazy_names(" in text:
            name = ".".join(path.relative_to(ROOT.parent).parts)
            parsed[name] = ast.parse(text)
    return parsed


def packages() -> list[str]:
    return [
        folder
        for folder, _, files in os.walk(ROOT, followlinks=True)
        if "__init__.py" in files
    ]


def lazy_mapping(tree: ast.Module) -> dict[str, str]:
    """The second argument of the call of `lazy_names`."""
    (call,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "lazy_names"
    ]
    return ast.literal_eval(call.args[1])


def names_for_analysers(tree: ast.Module) -> dict[str, str]:
    """Names and modules of `if TYPE_CHECKING: from module import name as name`."""
    names = {}
    for node in tree.body:
        if (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        ):
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                for alias in statement.names:
                    # Without `as`, a name counts as private.
                    assert alias.name == alias.asname
                    names[alias.name] = statement.module
    return names


PACKAGES = lazy_packages()

# (package, name, the module that an analyser is told), of all names that load when used
NAMES = [
    (package, name, module)
    for package, tree in PACKAGES.items()
    for name, module in names_for_analysers(tree).items()
]

# What documents, recipes and benchmarks of version 0.1 import.
DOCUMENTED = {
    "datasets": "prepare",
    "saved_models.export": "export",
    "saved_models.parity": "largest_difference",
    "saved_models.predict": "predict",
    "saved_models.prediction_files": "write_csv write_markups",
    "saved_models.server": "create_app",
    "saved_models.served_model": "ServedModel",
    "training.augmentation": "Augmentation",
    "training.calibration": "uncertainty",
    "training.compare": "compare",
    "training.data": "sample_ids",
    "training.evaluate": "evaluate",
    "training.fit": "fit",
    "training.inference": "locate test_time_views to_network",
    "training.overlay": "draw_overlay landmark_colors to_jpeg to_png",
    "training.points_table": "read_points",
    "training.prepared_split": "HELD_OUT PreparedSplit",
    "training.preprocessing": "decode_image grey_values reduce_image",
    "training.recipe": "Local Network Optimizer Recipe Target",
    "training.recipes": "load_recipe",
    "training.run": "Run",
    "training.statistics": "error_statistics",
}

IN_A_FRESH_INTERPRETER = """
import importlib, inspect, json, sys, warnings

names, modules, moved, documented = json.load(sys.stdin)

def kinds():
    result = []
    for package, name, module in names:
        space = {}
        exec(f"from {package} import {name} as value", space)
        value = space["value"]
        kind = "class" if inspect.isclass(value) else type(value).__name__
        same = value is getattr(importlib.import_module(module), name)
        result.append([kind, same])
    return result

report = {"first": kinds()}
for module in modules:
    importlib.import_module(module)
report["after all modules"] = kinds()

report["moved"] = {}
for old, new in moved.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        alias = importlib.import_module(f"scn_keras.{old}")
    module = importlib.import_module(f"scn_keras.{new}")
    public = [name for name in vars(module) if not name.startswith("_")]
    report["moved"][old] = {
        "warnings": [[w.category.__name__, str(w.message)] for w in caught],
        "other objects": [
            name for name in public if getattr(alias, name) is not getattr(module, name)
        ],
        "count": len(public),
    }

warnings.simplefilter("ignore")
report["documented"] = {
    path: [name for name in names.split() if not hasattr(
        importlib.import_module(f"scn_keras.{path}"), name
    )]
    for path, names in documented.items()
}

from scn_keras.saved_models import export
report["export"] = callable(export) and export.export is importlib.import_module(
    "scn_keras.saved_models.exporting.export"
).export
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report() -> dict:
    """What a fresh interpreter imports: public names, all modules, old paths."""
    process = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_INTERPRETER],
        input=json.dumps([NAMES, modules(), MOVED, DOCUMENTED]),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("package", PACKAGES)
def test_analysers_are_told_the_names_that_load_when_used(package):
    tree = PACKAGES[package]
    assert sorted(names_for_analysers(tree)) == sorted(lazy_mapping(tree))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_that_of_a_submodule(package):
    # Importing the submodule would put the module in the place of the name.
    below = {
        name.removeprefix(f"{package}.").split(".")[0]
        for name in modules()
        if name.startswith(f"{package}.")
    }
    assert below
    assert not below & set(lazy_mapping(PACKAGES[package]))


def test_the_packages_are_found():
    assert {
        "scn_keras.datasets",
        "scn_keras.inference",
        "scn_keras.pictures",
        "scn_keras.saved_models",
        "scn_keras.saved_models.client",
        "scn_keras.saved_models.server",
        "scn_keras.training",
        "scn_keras.training.report",
    } <= set(PACKAGES)
    assert ("scn_keras.saved_models", "export") in [(p, n) for p, n, _ in NAMES]


@pytest.mark.parametrize("when", ["first", "after all modules"])
def test_public_names_are_functions_and_classes(report, when):
    for (package, name, module), kind in zip(NAMES, report[when], strict=True):
        assert kind in (["function", True], ["class", True]), (package, name, module)


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_gives_the_objects_of_the_new_one(report, old):
    message = f"scn_keras.{old} has moved: import scn_keras.{MOVED[old]}"
    imported = report["moved"][old]
    assert imported["warnings"] == [["FutureWarning", message]]
    assert imported["other objects"] == []
    assert imported["count"] > 0


def test_a_function_is_callable_after_its_old_path_was_imported(report):
    assert report["export"]


@pytest.mark.parametrize("path", DOCUMENTED)
def test_documented_imports_of_version_0_1(report, path):
    assert report["documented"][path] == []


class Shown:
    """Settings with the grid of a recipe."""

    def __init__(self, grid):
        from scn_keras.inference import ImageToGrid

        self.image_to_grid = ImageToGrid(grid)


def test_to_network_places_an_image_on_the_grid():
    from scn_keras._moved_inference import to_network

    # Grey values of 0 to 1 become -1 to 1, at the same places.
    image = np.linspace(0.0, 1.0, 48, dtype="float32").reshape(6, 8, 1)
    no_spacing = np.zeros(2, "float32")
    grid_image, to_source = to_network(image, no_spacing, Shown((6, 8)))
    np.testing.assert_allclose(grid_image, image * 2.0 - 1.0, atol=1e-6)
    np.testing.assert_allclose(to_source, np.eye(3), atol=1e-6)
    # Two pixels of 0.5 mm high, one of 1 mm wide, are a square pixel of the grid.
    tall = np.zeros((12, 8, 1), "float32")
    spacing = np.array([1.0, 0.5], "float32")
    grid_image, to_source = to_network(tall, spacing, Shown((6, 8)))
    assert grid_image.shape == (6, 8, 1)
    expected = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(to_source, expected, atol=1e-6)


def test_locate_finds_points_with_its_old_arguments():
    import tensorflow as tf

    from scn_keras._moved_inference import locate

    class Found:
        """Finds the pixel (3, 2) of every grid."""

        def predict_on_batch(self, images):
            n = len(images)
            return {
                "points": np.full((n, 1, 2), (3.0, 2.0), "float32"),
                "score": np.ones((n, 1), "float32"),
                "covariance": np.tile(np.eye(2, dtype="float32"), (n, 1, 1, 1)),
            }

        localizer = property(lambda self: self)

    image = np.zeros((12, 16, 1), "float32")
    samples = tf.data.Dataset.from_tensors(
        {"image": image, "affine": np.eye(3, dtype="float32")}
    )
    (located,) = locate(Found(), samples, Shown((6, 8)), batch_size=1)
    # A pixel of the grid is two of the image, whose first is at 0.5.
    np.testing.assert_allclose(located["points_px"], [[6.5, 4.5]], atol=1e-5)
    np.testing.assert_allclose(located["covariance_px2"], [4.0 * np.eye(2)], atol=1e-5)
    assert sorted(located) == [
        "affine", "covariance_px2", "grid_image", "grid_to_source", "points_px", "score"
    ]  # fmt: skip
