"""What TF Serving reads beside a model: requests to warm up with, and its list."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from scn_keras.saved_models.serving_messages import PredictionLog, set_tensor

WARM_UP = "tf_serving_warmup_requests"


def synthetic_image(sizes: Sequence[int]) -> np.ndarray:
    """Returns an image of nobody: bright and soft in the middle of the dark.

    Args:
        sizes: Ints in array order.

    Returns:
        float32 array `(*sizes, 1)`, from 0 to 1.
    """
    image = np.ones(sizes, np.float32)
    for axis, size in enumerate(sizes):
        along = np.hanning(size + 2)[1:-1].astype(np.float32)
        image *= along.reshape(-1, *[1] * (len(sizes) - 1 - axis))
    return image[..., None]


def write_warm_up(
    path: pathlib.Path, model: str, requests: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    """Writes requests that TF Serving makes of a model before it says that it is ready.

    Without them, the first client waits for what TensorFlow does at the first call.

    Args:
        path: The file, `assets.extra/tf_serving_warmup_requests` of the version.
        model: Str, the name of the model.
        requests: The inputs by name, for each signature that is to be warm.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            log = PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = model
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                set_tensor(request.inputs.add(key=name).value, value)
            writer.write(log.SerializeToString())


def models_config(name: str) -> str:
    """Returns the entry of a model for TF Serving's `--model_config_file`.

    Args:
        name: Str, the name of the model: that of the folder that holds its versions.
    """
    return f"""\
# For tensorflow_model_server --model_config_file, with the folder that holds
# {name}/ mounted as /models.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
}}
"""
