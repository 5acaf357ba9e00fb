"""What docs/security.md promises, as far as a test can tell."""

import ast
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import scn_keras
from scn_keras.inference import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models.from_preset import CONFIG_FILE
from scn_keras.training.input import array_folder
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run

UNSAFE_MODULES = {
    *("pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"),
}
UNSAFE_NAMES = {"eval", "exec", "enable_unsafe_deserialization"}


def unsafe_in(source):
    """Yields what a program could run foreign code with."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from UNSAFE_MODULES & {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from UNSAFE_MODULES & {node.module.split(".")[0]}
        elif isinstance(node, ast.Name | ast.Attribute):
            yield from UNSAFE_NAMES & {getattr(node, "id", None)}
            yield from UNSAFE_NAMES - {"eval"} & {getattr(node, "attr", None)}
        elif isinstance(node, ast.keyword):
            value = getattr(node.value, "value", None)
            if (node.arg, value) in (("allow_pickle", True), ("safe_mode", False)):
                yield node.arg
            if node.arg == "shell" and value:
                yield node.arg


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "np.load(f, allow_pickle=True)",
        "keras.models.load_model(f, safe_mode=False)",
        "keras.config.enable_unsafe_deserialization()",
        "subprocess.run(f, shell=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(source):
    assert [*unsafe_in(source)]


def test_nothing_unpickles_and_nothing_leaves_safe_mode():
    rooms = ("scn_keras", "datasets", "training", "saved_models")
    root = Path(scn_keras.__file__).parents[1]
    files = [path for room in rooms for path in (root / room).rglob("*.py")]
    assert len(files) > 100
    for path in files:
        assert [*unsafe_in(path.read_text("utf-8"))] == [], path


def test_a_model_file_cannot_bring_code(tmp_path):
    run = Run.create(
        tmp_path / "run",
        Recipe(
            name="evil",
            dataset="synthetic_hand",
            image_to_grid=ImageToGrid(grid=(16, 16)),
        ),
        LandmarkSchema(("a",)),
    )
    image = keras.Input((16, 16, 1))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x)(image))
    model.save(run.model_path)
    with pytest.raises(ValueError, match="[Ll]ambda"):
        run.load_model()
    config = keras.saving.serialize_keras_object(model)
    (run.path / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(ValueError, match="[Ll]ambda"):
        run.load_model()  # as a preset


def test_a_model_file_cannot_fill_the_memory(tmp_path):
    recipe = Recipe("bomb", "synthetic_hand", image_to_grid=ImageToGrid(grid=(16, 16)))
    run = Run.create(tmp_path / "run", recipe, LandmarkSchema(("a",)))
    image = keras.Input((16, 16, 1))
    keras.Model(image, keras.layers.Conv2D(1, 1)(image)).save(run.model_path)
    assert run.load_model().count_params() == 2
    with zipfile.ZipFile(run.model_path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(50_000_000))
    with pytest.raises(ValueError, match="bytes would become 50,"):
        run.load_model()


def test_arrays_of_objects_are_refused(tmp_path):
    header = {"format": array_folder._FORMAT, "landmarks": {"names": ["a"]}}
    (tmp_path / "arrays.json").write_text(json.dumps(header))
    np.savez(tmp_path / "samples.npz", id=np.array([{"a": 1}], object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        array_folder.ArrayFolder(tmp_path)
