"""What Keras expects of every layer, whatever it computes."""

import contextlib
import json

import keras
import numpy as np
from keras import ops


@contextlib.contextmanager
def dtype_policy(name):
    """Sets the policy that layers without one of their own take."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_contract(layer_class, arguments, inputs, unknown_sizes=True):
    """Checks serialisation, and that symbolic calls foretell shapes and dtypes."""
    layer = layer_class(**arguments)
    outputs = keras.tree.map_structure(ops.convert_to_numpy, layer(inputs))

    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    twin = keras.saving.deserialize_keras_object(saved)
    assert type(twin) is layer_class
    assert twin.get_config() == layer.get_config()
    for name, value in arguments.items():
        assert twin.get_config()[name] == value
    twin(inputs)
    twin.set_weights(layer.get_weights())
    again = keras.tree.map_structure(ops.convert_to_numpy, twin(inputs))
    keras.tree.map_structure(np.testing.assert_array_equal, again, outputs)

    for policy in ("float32", "mixed_bfloat16"):
        with dtype_policy(policy):
            eager = layer_class(**arguments)(inputs)
            foretold = layer_class(**arguments)(
                keras.tree.map_structure(
                    lambda x: keras.KerasTensor((None, *x.shape[1:])), inputs
                )
            )
        keras.tree.map_structure(_check_foretold, foretold, eager)

    if unknown_sizes:
        spec = layer_class(**arguments)(
            keras.tree.map_structure(
                lambda x: keras.KerasTensor(
                    (None, *[None] * (len(x.shape) - 2), x.shape[-1])
                ),
                inputs,
            )
        )
        keras.tree.map_structure(_check_foretold, spec, outputs)


def _check_foretold(symbolic, eager):
    assert len(symbolic.shape) == len(eager.shape)
    for expected, size in zip(symbolic.shape, eager.shape, strict=True):
        assert expected in (None, size)
    assert symbolic.dtype == keras.backend.standardize_dtype(eager.dtype)
