"""Files for TF Serving: warm-up requests and the list of models."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from scn_keras.saved_models.serving_messages import (
    PredictionLog,
    get_tensor,
    set_tensor,
)

WARM_UP = "tf_serving_warmup_requests"


def synthetic_image(sizes: Sequence[int]) -> np.ndarray:
    """Returns a synthetic image: a smooth bright region on a dark background.

    Args:
        sizes: Sequence of ints in array order.

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
    """Writes the warm-up requests, which TF Serving executes before a model is ready.

    Without them, the first request takes longer, because TensorFlow prepares the graph
    in the first call.

    Args:
        path: The file, `assets.extra/tf_serving_warmup_requests` of the version.
        model: Str, the name of the model.
        requests: Mapping from signatures to mappings from input names to arrays.
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


def read_warm_up(
    folder: pathlib.Path,
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Reads the requests of `write_warm_up`, none if there is no such file.

    Args:
        folder: Path, the version of an exported model.

    Yields:
        The name of a signature and a dict of input names to arrays.
    """
    path = folder / "assets.extra" / WARM_UP
    if not path.is_file():
        return
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = PredictionLog.FromString(record).predict_log.request
        yield (
            request.model_spec.signature_name,
            {entry.key: get_tensor(entry.value) for entry in request.inputs},
        )


def models_config(name: str) -> str:
    """Returns the entry of a model for TF Serving's `--model_config_file`.

    Args:
        name: Str, the name of the model and of the folder of its versions.
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
