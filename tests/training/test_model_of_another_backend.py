"""A checkpoint of one backend is trained further on another one."""

import json
import zipfile

import keras
import numpy as np
import pytest

from scn_keras.training import Recipe
from scn_keras.training.build import load_model

RECIPE = Recipe(name="tiny", dataset="synthetic_hand")


def as_written_on_pytorch(path, name):
    """Changes a model file to what Keras writes with `KERAS_BACKEND=torch`.

    `keras.saving.serialize_keras_object(keras.optimizers.Adam())` of Keras 3.15.
    """
    with zipfile.ZipFile(path) as file:
        members = {member: file.read(member) for member in file.namelist()}
    config = json.loads(members["config.json"])
    optimizer = config["compile_config"]["optimizer"]
    optimizer["module"] = f"keras.src.backend.torch.optimizers.torch_{name.lower()}"
    optimizer["registered_name"] = name
    members["config.json"] = json.dumps(config)
    with zipfile.ZipFile(path, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_a_file_of_pytorch_has_the_optimizer_of_this_backend(name, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(getattr(keras.optimizers, name)(0.5), "mse", jit_compile=False)
    x, y = np.ones((1, 2), "float32"), np.zeros((1, 1), "float32")
    model.train_on_batch(x, y)
    path = tmp_path / "last.keras"
    model.save(path)
    as_written_on_pytorch(path, name)

    loaded = load_model(RECIPE, path)

    assert type(loaded.optimizer) is type(getattr(keras.optimizers, name)())
    assert int(keras.ops.convert_to_numpy(loaded.optimizer.iterations)) == 1
    loaded.train_on_batch(x, y)
    model.train_on_batch(x, y)
    for weight, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6)
