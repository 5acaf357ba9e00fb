"""An exported model as servers take it: no Python, the command, gRPC, the warm-up."""

import pathlib
import shutil
import subprocess
import sys
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from scn_keras.models import preset_names, preset_path
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.exporting.tf_serving import WARM_UP, synthetic_image
from scn_keras.training.run import Run

SPACING = (0.3, 0.2)


@pytest.fixture(scope="module")
def served(blob_model):
    return tf.saved_model.load(str(blob_model))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A file, in which the brightest point lies at 75.5, 100.5."""
    path = tmp_path_factory.mktemp("film") / "film.png"
    grey = np.uint8(np.round(128 + 127 * synthetic_image((202, 152))))
    path.write_bytes(tf.io.encode_png(grey).numpy())
    return path


@pytest.fixture(scope="module")
def expected(served, film):
    outputs = served.signatures["serving_default"](
        image_bytes=tf.constant([film.read_bytes()]),
        spacing_mm=tf.constant([SPACING]),
    )
    return {name: value.numpy() for name, value in outputs.items()}


@pytest.fixture(scope="module")
def locate(tmp_path_factory):
    """Runs the C program: `locate(model, output, **inputs)`, bytes or arrays."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("There is no gcc to compile the C program with.")
    library = tf.sysconfig.get_lib()
    if not pathlib.Path(library, "libtensorflow_cc.so.2").is_file():
        pytest.skip("This TensorFlow does not come with its C library.")
    folder = tmp_path_factory.mktemp("c")
    program = folder / "locate"
    subprocess.run(
        [
            *(compiler, "-Wall", "-Werror", "-O1", "-o", program),
            pathlib.Path(__file__).with_name("locate.c"),
            *(f"-I{tf.sysconfig.get_include()}", f"-L{library}"),
            *("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"),
            *(f"-Wl,-rpath,{library}", "-Wl,--allow-shlib-undefined"),
        ],
        check=True,
    )

    def run(model, output, **inputs):
        signature = _signature_def(model, "serving_default")
        arguments = [model, *signature.outputs[output].name.split(":")]
        for name, value in inputs.items():
            file = folder / name
            shape = "bytes"
            if not isinstance(value, bytes):
                shape = ",".join(map(str, value.shape))
                value = value.astype(np.float32).tobytes()
            file.write_bytes(value)
            arguments += [signature.inputs[name].name.split(":")[0], shape, file]
        answer = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return np.array([line.split() for line in answer.stdout.splitlines()], float)

    return run


def test_the_c_api_without_python(blob_model, film, expected, locate):
    found = locate(
        blob_model,
        "points_mm",
        image_bytes=film.read_bytes(),
        spacing_mm=np.array([SPACING]),
    )
    np.testing.assert_allclose(found, expected["points_mm"][0], atol=1e-3)
    np.testing.assert_allclose(found[0], np.array((75.5, 100.5)) * SPACING, atol=0.05)


def test_the_c_api_runs_volumes(volume_run, locate, tmp_path):
    z, y, x = np.mgrid[:30, :40, :36]
    point = np.array((20.25, 17.5, 12.75))  # x, y, z
    squares = sum((a - p) ** 2 for a, p in zip((x, y, z), point, strict=True))
    volume = 0.5 + 0.5 * np.exp(-squares / (2.0 * 4.0**2))
    affine = np.diag([0.5, 0.6, 0.7, 1.0])
    affine[:3, 3] = (-3.0, 4.0, 5.0)
    found = locate(
        export(volume_run, tmp_path),
        "points_mm",
        image=volume[None, ..., None],
        affine=affine[None],
    )
    expected = affine[:3, :3] @ point + affine[:3, 3]
    np.testing.assert_allclose(found[0], expected, atol=0.1)


@pytest.mark.parametrize("preset", preset_names())
def test_the_c_api_runs_every_preset(preset, film, locate, tmp_path):
    run = Run(preset_path(preset))
    model = export(run, tmp_path)
    inputs = {"image_bytes": film.read_bytes(), "spacing_mm": np.array([SPACING])}
    if len(run.recipe.grid) == 3:
        volume = synthetic_image([side + 7 for side in run.recipe.grid])
        inputs = {"image": volume[None], "affine": np.diag([0.3, 0.3, 0.3, 1.0])[None]}
    found = locate(model, "points_mm", **inputs)
    outputs = tf.saved_model.load(str(model)).signatures["serving_default"](
        **{
            name: tf.constant(
                [value] if isinstance(value, bytes) else np.float32(value)
            )
            for name, value in inputs.items()
        }
    )
    assert len(found) == len(run.schema)
    np.testing.assert_allclose(found, outputs["points_mm"][0], atol=2e-3)


def test_the_command_of_tensorflow_runs_it(blob_model, film, expected, tmp_path):
    np.save(tmp_path / "bytes.npy", np.array([film.read_bytes()]))
    np.save(tmp_path / "spacing.npy", np.array([SPACING], np.float32))
    subprocess.run(
        [
            *(sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run"),
            *("--dir", blob_model, "--tag_set", "serve"),
            *("--signature_def", "serving_default", "--outdir", tmp_path),
            "--inputs",
            f"image_bytes={tmp_path / 'bytes.npy'};spacing_mm={tmp_path}/spacing.npy",
        ],
        check=True,
        capture_output=True,
    )
    found = np.load(tmp_path / "points_mm.npy")
    np.testing.assert_allclose(found, expected["points_mm"], atol=1e-4)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="No sha256sum here.")
def test_sha256sum_checks_all_files_of_an_export(blob_model):
    command = ["sha256sum", "--check", "--strict", "assets.extra/SHA256SUMS"]
    checked = subprocess.run(command, cwd=blob_model, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    files = {p for p in blob_model.rglob("*") if p.is_file()}
    assert len(checked.stdout.splitlines()) == len(files) - 1


def test_the_warm_up_is_replayed_through_grpc(blob_model, served):
    pytest.importorskip("tensorflow_serving.apis")
    import grpc
    from tensorflow_serving.apis import (
        predict_pb2,
        prediction_log_pb2,
        prediction_service_pb2_grpc,
    )

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            function = served.signatures[request.model_spec.signature_name]
            inputs = {
                name: tf.constant(tf.make_ndarray(tensor))
                for name, tensor in request.inputs.items()
            }
            answer = predict_pb2.PredictResponse()
            for name, value in function(**inputs).items():
                answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return answer

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Service(), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    warmed = []
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            records = tf.data.TFRecordDataset(
                str(blob_model / "assets.extra" / WARM_UP)
            )
            for record in records.as_numpy_iterator():
                log = prediction_log_pb2.PredictionLog.FromString(record)
                assert log.WhichOneof("log_type") == "predict_log"
                request = log.predict_log.request
                assert request.model_spec.name == blob_model.parent.name
                answer = stub.Predict(request, timeout=60)
                warmed.append(request.model_spec.signature_name)
                if "points_px" in answer.outputs:
                    points = tf.make_ndarray(answer.outputs["points_px"])
                    # The image is of twice the grid and brightest in its middle.
                    np.testing.assert_allclose(points[0, 0], (47.5, 63.5), atol=0.1)
    finally:
        server.stop(None)
    assert warmed == ["serving_default", "arrays", "heatmaps"]


def test_the_list_of_models_is_one_of_tf_serving(blob_model):
    pytest.importorskip("tensorflow_serving.apis")
    from tensorflow_serving.config import model_server_config_pb2

    text = (blob_model / "assets.extra" / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (entry,) = config.model_config_list.config
    assert (entry.name, entry.base_path) == ("blob", "/models/blob")


def _signature_def(model, name):
    from tensorflow.core.protobuf import saved_model_pb2

    whole = saved_model_pb2.SavedModel.FromString(
        (model / "saved_model.pb").read_bytes()
    )
    return whole.meta_graphs[0].signature_def[name]
