"""Model files for other runtimes, from an image on the grid to points on the grid."""

import importlib.util
import os
import pathlib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from scn_keras.array_api import KERAS
from scn_keras.inference.calibration import Calibration, uncertainty
from scn_keras.inference.point_offsets import PointOffsets
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.saved_models.exporting import precision as reduced
from scn_keras.training.run import Run

# The name of the model file of each format.
FILES = {"onnx": "model.onnx", "litert": "model.tflite", "openvino": "model.xml"}

# The packages required by a format besides TensorFlow, which are extras of its name.
_PACKAGES = {"onnx": ("tf2onnx", "onnx", "onnxruntime"), "openvino": ("openvino",)}

_OUTPUTS = {
    "points",
    "score",
    "covariance",
    "radius90",
    "present",
    "trusted",
    "novelty",
}


class GridModel:
    """An ONNX, LiteRT or OpenVINO file with the interface of the exported model.

    It has a `localizer` and can be used with `Locator`, so that all other steps, such
    as the letterbox, are the same as with the original model.

    Args:
        path: The file, whose suffix determines the runtime.

    Attributes:
        run: A function from an array `(1, *grid, 1)` to a dict of all output arrays,
            see `write_grid_model`.

    Raises:
        ImportError: If the runtime is not installed.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.run = _RUNTIMES[path.suffix](str(path))

    @property
    def localizer(self) -> "GridModel":
        return self

    def predict_on_batch(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns points `(n, N, D)`, scores and covariances, in pixels of the grid."""
        rows = [self.run(image[None]) for image in np.asarray(images, np.float32)]
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
    quantization_images: Iterable[np.ndarray] = (),
) -> GridModel:
    """Writes a network with peak layer and calibration to a file for a runtime.

    The input `image` is float32 `(1, *grid, 1)`, an image resampled to the grid by
    `Locator.to_grid`. The outputs are `points` `(1, N, D)` and `covariance`
    `(1, N, D, D)` in pixels of the grid, `score` and `present` `(1, N)`, `trusted`
    and `novelty` `(1,)`, and `radius90` `(1, N)` in pixels of the grid.

    Args:
        run: `Run`, the source of the calibration.
        model: The model of the run.
        folder: The folder of the file.
        format: One of `FILES`.
        precision: `"float32"` or `"int8"`.
        quantization_images: Float32 arrays `(1, *grid, 1)`, from which the ranges of
            activations are determined, for ONNX in `"int8"`.

    Returns:
        `GridModel` of the written file.

    Raises:
        ImportError: If a package that the format requires is not installed.
    """
    packages = _PACKAGES.get(format, ())
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise ImportError(
            f"The format {format!r} requires packages that are not installed: "
            f"{', '.join(missing)}. Install them with `pip install "
            f"'scn-keras[{format}]'`.",
            name=missing[0],
        )
    path = folder / FILES[format]
    grid_model = _OnGrid(model.localizer, run.calibration, run.offsets)
    signature = [tf.TensorSpec((1, *run.recipe.grid, 1), tf.float32, name="image")]
    grid_model(np.zeros(signature[0].shape, np.float32))
    options: dict[str, Any] = {}
    if format == "litert":
        options["target_spec"] = {
            "supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS],
        }
        if precision == "int8":
            options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    with warnings.catch_warnings():
        # Keras's adaptation of tf2onnx to NumPy 2 causes this warning.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        grid_model.export(
            str(path),
            format=format,
            verbose=False,
            input_signature=signature,
            **options,
        )
    if format == "onnx" and precision == "int8":
        reduced.quantize_onnx(path, quantization_images)
    return GridModel(path)


class _OnGrid(keras.Model):
    def __init__(
        self,
        localizer: keras.Model,
        calibration: Calibration | None,
        offsets: PointOffsets | None,
    ) -> None:
        super().__init__(name="on_grid")
        self.inner = localizer
        self.calibration = calibration
        self.offsets = offsets

    def build(self, input_shape) -> None:
        self.built = True

    def call(self, image, training=None) -> Mapping[str, Any]:
        peaks = self.inner(image, training=False)
        points, score = peaks["points"], peaks["score"]
        d = points.shape[-1]
        # A constant: OpenVINO cannot convert `ops.eye`.
        identity = ops.convert_to_tensor(np.eye(d + 1, dtype="float32")[None])
        calibrated = uncertainty(
            self.calibration,
            points,
            score,
            peaks["covariance"],
            identity,
            image.shape[1:-1],
        )
        if self.offsets is not None:
            points = self.offsets.apply(points, score, identity, KERAS)
        return {**peaks, "points": points, **calibrated}


def _onnx(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    (model_input,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]

    def call(image):
        outputs = session.run(None, {model_input.name: image})
        return dict(zip(names, outputs, strict=True))

    return call


def _litert(path):
    # The deprecated interpreter of TensorFlow still works, and ai_edge_litert would be
    # an additional package. By default it uses one thread, other runtimes all cores.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
        interpreter = tf.lite.Interpreter(path, num_threads=os.cpu_count())
    run = interpreter.get_signature_runner()
    (input_name,) = run.get_input_details()
    return lambda image: run(**{input_name: image})


def _openvino(path):
    import openvino

    # On some processors the default precision is bfloat16.
    compiled = openvino.Core().compile_model(
        path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )

    def call(image):
        outputs = compiled(image)
        return {
            name: outputs[output]
            for output in compiled.outputs
            # An output can have the name of its operation as well.
            for name in output.get_names() & _OUTPUTS
        }

    return call


_RUNTIMES = {".onnx": _onnx, ".tflite": _litert, ".xml": _openvino}
