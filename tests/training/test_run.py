import dataclasses
import json
import re

import keras
import numpy as np
import pytest

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.layers import HeatmapPeak
from scn_keras.training import run as run_module
from scn_keras.training.build import build_model
from scn_keras.training.environment import environment
from scn_keras.training.run import Run, write_json

SCHEMA = LandmarkSchema(("large", "middle", "small"), links=((0, 1),))


def test_a_new_run_can_be_read_again(tmp_path, recipe):
    path = tmp_path / "runs" / "first"
    created = Run.create(path, recipe, SCHEMA)
    read = Run(str(path))
    assert read.recipe == created.recipe == recipe
    assert read.schema == created.schema == SCHEMA
    assert sorted(p.name for p in path.iterdir()) == [
        "environment.json",
        "images.json",
        "landmarks.json",
        "recipe.json",
    ]
    assert json.loads((path / "recipe.json").read_text()) == json.loads(
        json.dumps(recipe.to_dict())
    )


def test_an_empty_folder_becomes_a_run(tmp_path, recipe):
    assert Run.create(tmp_path, recipe, SCHEMA).path == tmp_path


def test_a_run_overwrites_nothing(tmp_path, recipe):
    (tmp_path / "precious.txt").write_text("mine")
    file = tmp_path / "precious.txt"
    for path in (tmp_path, file):
        with pytest.raises(FileExistsError, match="not empty.*--resume.*--out"):
            Run.create(path, recipe, SCHEMA)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_no_run(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="is not a run.*recipe.json"):
            Run(path)


def test_an_unfinished_run_names_the_command_that_continues_it(tmp_path, recipe):
    run = Run.create(tmp_path / "my run", recipe, SCHEMA)
    expected = f"`scn-keras train --resume '{run.path}'`"
    with pytest.raises(FileNotFoundError, match=re.escape(expected)):
        run.load_model()


def test_a_run_keeps_the_place_of_its_data(tmp_path, recipe):
    data = {"data_dir": "/data/prepared"}
    assert Run.create(tmp_path / "run", recipe, SCHEMA, data).data == data
    assert Run.create(tmp_path / "other", recipe, SCHEMA).data == {}
    # Runs of earlier versions do not have it.
    file = tmp_path / "run" / "environment.json"
    older = json.loads(file.read_text())
    del older["data"]
    write_json(file, older)
    assert Run(tmp_path / "run").data == {}


def default_of_another_type(num_landmarks, image_shape, act=keras.activations.relu):
    raise AssertionError("is not called")


def test_a_recipe_that_cannot_be_stored_leaves_no_folder(tmp_path, recipe):
    own = dataclasses.replace(recipe, network=default_of_another_type)
    with pytest.raises(ValueError, match="`act` of .*default_of_another_type.*relu"):
        Run.create(tmp_path / "runs" / "first", own, SCHEMA)
    assert not (tmp_path / "runs").exists()
    for settings in ({"a": {1: 2}}, {"a": np.float32(1)}, {"a": [object()]}):
        own = dataclasses.replace(recipe, loss_settings=settings)
        with pytest.raises(ValueError, match="`loss_settings.a`.*Received"):
            Run.create(tmp_path / "runs", own, SCHEMA)


def test_a_run_that_cannot_be_written_leaves_nothing(tmp_path, recipe, monkeypatch):
    def full(path, data):
        if path.name == "recipe.json":
            raise OSError("disk full")
        write_json(path, data)

    monkeypatch.setattr(run_module, "write_json", full)
    for path in (tmp_path / "new", tmp_path):
        with pytest.raises(OSError, match="disk full"):
            Run.create(path, recipe, SCHEMA)
        assert list(tmp_path.iterdir()) == []


def stored(tmp_path, recipe, **parts):
    """A run whose recipe refers to a module that cannot be imported."""
    run = Run.create(tmp_path / "run", recipe, SCHEMA)
    written = json.loads((run.path / "recipe.json").read_text())
    write_json(run.path / "recipe.json", {**written, **parts})
    return run


def test_reading_a_run_imports_no_module(tmp_path, recipe):
    network = {"kind": "nowhere:net", "dtype": "mixed_bfloat16", "sizes": [3, 5]}
    run = stored(tmp_path, recipe, network=network, loss="nowhere:Loss")
    read = Run(run.path).recipe
    assert read.network.sizes == [3, 5]
    assert read.network.replaced(dtype="float32").dtype == "float32"
    assert read.shared_for_calibration()["network"].kind == "nowhere:net"
    assert dataclasses.replace(read, steps=9).to_dict()["network"] == network
    # The model consists of layers of Keras and of this package.
    build_model(recipe, 3).save(run.path / "model.keras")
    assert Run(run.path).load_model().network.output_shape[-1] == 3
    with pytest.raises(ImportError, match="'nowhere'.*network.kind='nowhere:net'"):
        read.network.settings()


def test_a_model_that_needs_a_missing_module_names_it(tmp_path, recipe):
    network = {**recipe.network.to_dict(), "kind": "nowhere:net"}
    run = stored(tmp_path, recipe, network=network)
    (run.path / "model.keras").write_bytes(b"classes of that module")
    with pytest.raises(ImportError, match="'nowhere' cannot.*network.kind"):
        Run(run.path).load_model()


def test_a_model_file_carries_what_predicts(finished_in_stages, tmp_path):
    file = tmp_path / "alone.keras"
    file.write_bytes(finished_in_stages.model_path.read_bytes())
    run = Run.from_file(file, tmp_path / "unpacked")
    assert run.recipe == finished_in_stages.recipe
    assert run.schema == finished_in_stages.schema
    assert run.shape_path.read_text() == finished_in_stages.shape_path.read_text()
    for alone, whole in (
        (run, finished_in_stages),
        (run.coarse, finished_in_stages.coarse),
    ):
        weights = [one.load_model().get_weights() for one in (alone, whole)]
        for one, other in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_model_file_that_carries_nothing(finished, tmp_path):
    bare = tmp_path / "bare.keras"
    finished.load_model().save(bare)
    with pytest.raises(ValueError, match=r"no recipe.*Received: .*bare\.keras"):
        Run.from_file(bare, tmp_path / "unpacked")
    bare.write_bytes(bare.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"is damaged. Received: .*bare\.keras"):
        Run.from_file(bare, tmp_path / "unpacked")
    assert list(tmp_path.iterdir()) == [bare]


def test_results_are_read_back(tmp_path, recipe):
    run = Run.create(tmp_path, recipe, SCHEMA)
    assert run.results() == []
    result = {"protocol": {"split": "test"}, "mre_mm": 1.5}
    run.write_result("test", result)
    run.write_result("all_of_them", [result])  # what `evaluate --json` writes
    assert run.results() == [result]


def test_results_are_written_by_name(tmp_path, recipe):
    run = Run.create(tmp_path, recipe, SCHEMA)
    for result in ({"mre_mm": 1.5}, {"mre_mm": 1.25}):
        path = run.write_result("test1_mean", result)
        assert path == tmp_path / "results" / "test1_mean.json"
        assert json.loads(path.read_text()) == result
    assert [p.name for p in path.parent.iterdir()] == ["test1_mean.json"]


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"a": 2, "b": object()})
    assert json.loads(path.read_text()) == {"a": 1}

    def power_cut(self, target):
        raise OSError("power cut")

    monkeypatch.setattr(run_module.pathlib.Path, "replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_environment_names_versions_and_no_place(tmp_path, monkeypatch):
    program = tmp_path / "home" / "somebody" / "bin" / "scn-keras"
    monkeypatch.setattr("sys.argv", [str(program), "train", "tiny"])
    found = environment()
    assert found["command"] == ["scn-keras", "train", "tiny"]
    assert found["versions"]["keras"] == keras.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert {"scn-keras", "tensorflow", "SimpleITK"} <= set(found["versions"])
    assert found["backend"] == keras.backend.backend()
    written = json.dumps(found)
    assert str(tmp_path) not in written
    assert "somebody" not in written


def test_the_model_is_the_recipes(recipe):
    model = build_model(recipe, 3)
    assert model.network.output_shape == (None, None, None, 3)
    config = model.network.get_config()
    assert config["filters"] == 4
    assert config["spatial_kernel_size"] == 3
    assert config["dropout"] == 0.3
    assert model.target.learnable
    np.testing.assert_array_equal(model.target.sigma, [2.0, 2.0, 2.0])
    assert model.target.gamma == 100.0
    assert model.sigma_penalty == 20.0
    assert isinstance(model.peak, HeatmapPeak)

    changed = recipe.override(
        [
            "network.dtype=mixed_bfloat16",
            "target.learnable=False",
            "target.sigma_penalty=0",
            "peak=argmax",
            "optimizer.weight_decay=0.01",
        ]
    )
    model = build_model(changed, 5)
    policies = {layer.dtype_policy.name for layer in model.network._flatten_layers()}
    assert "mixed_bfloat16" in policies
    assert not model.target.trainable_weights
    assert model.sigma_penalty == 0.0
    assert model.peak.method == "argmax"
    assert model.weight_decay == 0.01
