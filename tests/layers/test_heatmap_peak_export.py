"""Exported decoders give the points of the layer, without Keras."""

import keras
import numpy as np
import pytest

from scn_keras.layers import GaussianHeatmap, HeatmapPeak

if keras.backend.backend() != "tensorflow":
    pytest.skip("Keras exports on the TensorFlow backend", allow_module_level=True)
import tensorflow as tf

DECODERS = {
    "gaussian_fit": HeatmapPeak("gaussian_fit"),
    "log_parabola": HeatmapPeak("log_parabola"),
    "dark": HeatmapPeak("dark"),
    "smoothed_dark": HeatmapPeak("dark", smoothing=1.0),
    "parabola": HeatmapPeak("parabola"),
    "centroid": HeatmapPeak("centroid", window=9),
    "soft_argmax": HeatmapPeak("soft_argmax"),
    "local_soft_argmax": HeatmapPeak("soft_argmax", window=7),
    "argmax": HeatmapPeak("argmax"),
    "three_peaks": HeatmapPeak("argmax", num_peaks=3, suppression_radius=2),
    "candidates": HeatmapPeak(
        "argmax", num_peaks=2, suppression_radius=1, maxima_smoothing=1.0, threshold=0.1
    ),
}
# In 3D what differs from 2D, and not in all that the others share.
DECODERS_3D = ("gaussian_fit", "smoothed_dark", "soft_argmax", "three_peaks")
# tf2onnx takes minutes for all parts of all decoders, which share most of the code.
PARTS = {"gaussian_fit": ("points", "score", "covariance")}


def make_model(rank, sizes):
    """A convolution that smooths each channel, and every decoder on top."""
    image = keras.Input((*sizes, 2))
    blur = np.array([0.25, 0.5, 0.25])
    kernel = 1.0
    for axis in range(rank):
        kernel = kernel * blur.reshape([-1 if a == axis else 1 for a in range(rank)])
    convolution = (keras.layers.Conv2D, keras.layers.Conv3D)[rank - 2]
    layer = convolution(2, 3, padding="same", use_bias=False)
    heatmaps = layer(image)
    layer.set_weights([kernel[..., None, None] * np.eye(2)])
    outputs = {}
    for name in DECODERS if rank == 2 else DECODERS_3D:
        found = DECODERS[name](heatmaps)
        for part in PARTS.get(name, ("points",)):
            outputs[f"{name}_{part}"] = found[part]
    model = keras.Model(image, outputs)
    model(np.zeros((1, *(size or 12 for size in sizes), 2), "float32"))
    return model


def blobs(size):
    random = np.random.default_rng(0)
    limits = np.array(size[::-1]) - 0.6
    points = random.uniform(-0.4, limits, (3, 2, len(size)))
    heatmaps = GaussianHeatmap(2, sigma=1.8, size=size)(points.astype("float32"))
    others = GaussianHeatmap(2, sigma=1.8, size=size)((points[::-1]).astype("float32"))
    noise = random.normal(0.0, 0.01, heatmaps.shape)
    return (heatmaps.numpy() + 0.4 * others.numpy() + noise).astype("float32")


def check(model, image, outputs):
    expected = model(image)
    assert set(outputs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            outputs[name],
            value,
            atol=0.01 if name.endswith("points") else 0.05,
            rtol=0.01,
            err_msg=name,
        )


@pytest.mark.parametrize("sizes", [(None, None), (None, None, None)])
def test_saved_model(sizes, tmp_path):
    model = make_model(len(sizes), sizes)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    for size in ((24, 31), (16, 20)) if len(sizes) == 2 else ((12, 17, 14),):
        image = blobs(size)
        check(model, image, loaded.serve(image))


# Keras prepares tf2onnx for NumPy 2 in a way that NumPy warns of.
@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")
@pytest.mark.parametrize("sizes", [(None, None), (12, 17, 14)])
def test_onnx(sizes, tmp_path):
    for package in ("onnx", "tf2onnx", "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime

    model = make_model(len(sizes), sizes)
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    for size in ((24, 31), (16, 20)) if len(sizes) == 2 else (sizes,):
        image = blobs(size)
        outputs = session.run(None, {session.get_inputs()[0].name: image})
        check(model, image, dict(zip(names, outputs, strict=True)))


# It works on, as the interpreter in TensorFlow itself; ai_edge_litert has no other.
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize("sizes", [(24, 31), (12, 17, 14)])
def test_litert(sizes, tmp_path):
    model = make_model(len(sizes), sizes)
    path = tmp_path / "model.tflite"
    # Operations of LiteRT's own alone: none that a phone would have to bring along.
    builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    model.export(path, format="litert", verbose=False, target_spec=builtin)
    run = tf.lite.Interpreter(str(path)).get_signature_runner()
    (name,) = run.get_input_details()
    image = blobs(sizes)
    check(model, image, run(**{name: image}))
