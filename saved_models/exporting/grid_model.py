"""Models as files of other runtimes: from the grid to points on the grid."""

import importlib.util
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from scn_keras.inference.calibration import Calibration, uncertainty
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.saved_models.exporting import precision as reduced
from scn_keras.training.run import Run

# The file of each format, beside which its landmarks and model card lie.
FILES = {"onnx": "model.onnx", "litert": "model.tflite", "openvino": "model.xml"}

# What writes and runs a format, beside TensorFlow: extras of that name.
_PACKAGES = {"onnx": ("tf2onnx", "onnx", "onnxruntime"), "openvino": ("openvino",)}


class GridModel:
    """An ONNX, LiteRT or OpenVINO file, in place of the model that it was made of.

    It has the `localizer` that `Locator` asks a model for, so that letterbox
    and all else around the network are those of prediction.

    Args:
        path: The file: its ending says which runtime takes it.

    Raises:
        ImportError: If that runtime is not installed.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._call = _RUNTIMES[path.suffix](str(path))

    @property
    def localizer(self) -> "GridModel":
        return self

    def predict_on_batch(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns points `(n, N, D)`, score and covariance, in pixels of the grid."""
        rows = [self._call(image[None]) for image in np.asarray(images, np.float32)]
        return {
            name: np.concatenate([row[name] for row in rows])
            for name in ("points", "score", "covariance")
        }


def write_grid_model(
    run: Run,
    model: LandmarkModel | LandmarkEnsemble,
    folder: pathlib.Path,
    format: str,
    precision: str = "float32",
    data_dir: str | pathlib.Path | None = None,
) -> GridModel:
    """Writes the network with its peaks and calibration as a file of a runtime.

    Its input `image` is float32 `(1, *grid, 1)`, the image as `Locator.to_grid`
    brings it to the grid. Outputs are `points` `(1, N, D)` and `covariance`
    `(1, N, D, D)` in pixels of the grid, `score` and `present` `(1, N)`, `trusted`
    `(1,)`, and `radius90` `(1, N)`, in pixels of the grid.

    Args:
        run: `Run`, which the calibration and, for `"int8"`, training images are of.
        model: Its model.
        folder: Where the file goes.
        format: One of `FILES`.
        precision: `"float32"` or `"int8"`.
        data_dir: Where prepared data sets lie.

    Returns:
        The file, as it was written.

    Raises:
        ImportError: If a package that writes or runs the format is not installed.
    """
    packages = _PACKAGES.get(format, ())
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise ImportError(
            f"The format {format!r} needs what is not installed: {', '.join(missing)}. "
            f"Install it: pip install 'scn-keras[{format}]'.",
            name=missing[0],
        )
    path = folder / FILES[format]
    whole = _OnGrid(model.localizer, run.calibration)
    signature = [tf.TensorSpec((1, *run.recipe.grid, 1), tf.float32, name="image")]
    whole(np.zeros(signature[0].shape, np.float32))
    options: dict[str, Any] = {}
    if format == "litert":
        options["target_spec"] = {
            "supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS],
        }
        if precision == "int8":
            options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    with warnings.catch_warnings():
        # Of how Keras prepares tf2onnx for NumPy 2.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        whole.export(
            str(path),
            format=format,
            verbose=False,
            input_signature=signature,
            **options,
        )
    if format == "onnx" and precision == "int8":
        reduced.quantize_onnx(path, run, data_dir)
    return GridModel(path)


class _OnGrid(keras.Model):
    def __init__(self, localizer: keras.Model, calibration: Calibration | None) -> None:
        super().__init__(name="on_grid")
        self.inner = localizer
        self.calibration = calibration

    def build(self, input_shape) -> None:
        self.built = True

    def call(self, image, training=None) -> Mapping[str, Any]:
        found = self.inner(image, training=False)
        d = found["points"].shape[-1]
        sure = uncertainty(
            self.calibration,
            found["points"],
            found["score"],
            found["covariance"],
            ops.eye(d + 1)[None],
        )
        return {**found, **sure}


def _onnx(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]

    def call(image):
        found = session.run(None, {given.name: image})
        return dict(zip(names, found, strict=True))

    return call


def _litert(path):
    # The one in TensorFlow works on, and ai_edge_litert would be one more package.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
        run = tf.lite.Interpreter(path).get_signature_runner()
    (given,) = run.get_input_details()
    return lambda image: run(**{given: image})


def _openvino(path):
    import openvino

    # Some processors would take bfloat16 without being asked.
    compiled = openvino.Core().compile_model(
        path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )

    def call(image):
        found = compiled(image)
        return {output.get_any_name(): found[output] for output in compiled.outputs}

    return call


_RUNTIMES = {".onnx": _onnx, ".tflite": _litert, ".xml": _openvino}
