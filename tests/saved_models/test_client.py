import asyncio
import json
import subprocess
import sys
import textwrap
from concurrent import futures

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.saved_models import Client, Prediction, PredictionError
from scn_keras.saved_models import client as client_module
from scn_keras.saved_models import serving_messages as messages
from scn_keras.saved_models.predict import predict
from scn_keras.saved_models.prediction_files import write_csv, write_markups
from scn_keras.saved_models.transport import Refused, Unavailable

POINT = (123.4, 210.6)


@pytest.fixture
def png(tmp_path, draw_blob):
    path = tmp_path / "blob.png"
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    path.write_bytes(tf.io.encode_png(np.uint8(blob * 255)[..., None]).numpy())
    return path


@pytest.fixture(scope="module")
def grpc_address(served):
    """A gRPC server of the same model, by the original messages where they are."""
    import grpc

    class Predict(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method != messages.PREDICT:
                return None
            return grpc.unary_unary_rpc_method_handler(
                self.predict,
                messages.PredictRequest.FromString,
                lambda message: message.SerializeToString(),
            )

        def predict(self, request, context):
            spec = request.model_spec
            if spec.name != "blob":
                context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")
            inputs = {e.key: messages.get_tensor(e.value) for e in request.inputs}
            try:
                found = served.submit(spec.signature_name, inputs).result()
            except (ValueError, KeyError) as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            response = messages.PredictResponse()
            for key, value in found.items():
                messages.set_tensor(response.outputs.add(key=key).value, value)
            return response

    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([Predict()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(params=["rest", "grpc"])
def client(request, address, grpc_address):
    url = address if request.param == "rest" else grpc_address
    with Client(url, model="blob", batch_size=4) as made:
        yield made


def test_files_are_answered_as_predict_does(client, blob_model, png, tmp_path):
    (found,) = client.predict([png], (0.1, 0.2))
    ((expected,), _) = predict(blob_model, [png], (0.1, 0.2))
    assert isinstance(found, Prediction)
    for name in ("points_px", "points_mm", "score", "spread_px", "spread_mm"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-3, atol=2e-3
        )
    assert found.file == png and found.calibrated


def test_a_bad_image_leaves_its_neighbours_their_answers_in_order(
    client, png, tmp_path
):
    cut, text = tmp_path / "cut.png", tmp_path / "notes.txt"
    cut.write_bytes(png.read_bytes()[:200])
    text.write_text("no image")
    (tmp_path / "empty").mkdir()
    files = [png, cut, png, png, text, cut, png, tmp_path / "empty", png]
    found = client.predict(files)
    for file, entry in zip(files, found, strict=True):
        assert entry.file == file
        assert isinstance(entry, Prediction if file == png else PredictionError)
    assert "Invalid PNG" in str(found[1]) and str(cut) in str(found[1])
    assert "notes.txt" in str(found[4])
    assert "no images" in str(found[7])


def test_spacing_and_space_come_from_the_header(client, tmp_path, draw_blob):
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    image = sitk.GetImageFromArray(np.uint16(blob * 65535))
    image.SetSpacing((0.3, 0.3))
    image.SetOrigin((-20.0, 55.0))
    path = tmp_path / "blob.mha"
    sitk.WriteImage(image, str(path))
    (found,) = client.predict([path], (9.0, 9.0))
    point = tuple(map(float, found.points_px[0]))
    np.testing.assert_allclose(found.points_px[0], POINT, atol=0.15)
    expected = image.TransformContinuousIndexToPhysicalPoint(point)
    np.testing.assert_allclose(found.points_mm[0], expected, atol=1e-4)
    write_markups(tmp_path / "markups", [found], ("bright", "dark"))
    assert (tmp_path / "markups" / "blob.mrk.json").is_file()
    write_csv(tmp_path / "points.csv", [found], ("bright", "dark"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_arrays_of_any_numbers(client, served, draw_blob, dtype):
    if np.dtype(dtype).kind != "u" and "arrays" not in served.signatures:
        pytest.skip("This export has no signature arrays.")
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    if dtype != np.float32:
        info = np.iinfo(dtype)
        blob = info.min + blob * (float(info.max) - info.min)
    found, bare = client.predict([blob.astype(dtype)] * 2, (0.1, 0.1))
    np.testing.assert_allclose(found.points_px[0], POINT, atol=0.15)
    np.testing.assert_allclose(found.points_mm, found.points_px * 0.1, rtol=1e-4)
    assert str(found.file) == "array 0" and str(bare.file) == "array 1"


def test_async_callers_share_a_client(client, png):
    async def ask():
        calls = [client.predict_async([png, png]) for _ in range(3)]
        return await asyncio.gather(*calls)

    for found in asyncio.run(ask()):
        assert [type(entry) for entry in found] == [Prediction, Prediction]


def test_names_are_the_models_own_or_numbers(client, served, address):
    own = "landmarks" in served.signatures
    assert client.names(2) == (("bright", "dark") if own else ("1", "2"))
    with Client(address, "blob", names=("a", "b")) as named:
        assert named.names(2) == ("a", "b")


def test_an_unknown_model_is_an_error(address, grpc_address, png):
    for url in (address, grpc_address):
        with Client(url, model="other") as client:
            with pytest.raises(RuntimeError, match="Servable not found"):
                client.predict([png])


def test_no_server_is_a_connection_error(png):
    for url in ("http://127.0.0.1:9", "grpc://127.0.0.1:9"):
        with Client(url, model="blob", retries=1) as client:
            with pytest.raises(ConnectionError, match="cannot be reached"):
                client.predict([png])


class Scripted:
    """A transport that does what a list says, then answers."""

    def __init__(self, *script):
        self.script = [*script]
        self.sizes = []
        self.running = self.most = 0

    async def call(self, signature, inputs, timeout):
        n = len(next(iter(inputs.values())))
        self.sizes.append(n)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        if self.script:
            raise self.script.pop(0)
        bad = [b"bad" in data for data in inputs["image_bytes"]]
        if any(bad):
            raise Refused("undecodable")
        return {"points_px": np.zeros((n, 2, 2)), "score": np.ones((n, 2))}

    async def close(self):
        pass


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    def make(transport, **settings):
        monkeypatch.setattr(
            client_module, "_connector", lambda *call: lambda: transport
        )
        monkeypatch.setattr(client_module, "_FIRST_PAUSE", 0.01)
        return Client("http://nowhere", model="blob", **settings)

    return make


@pytest.fixture
def films(tmp_path):
    paths = [tmp_path / f"{number:02}.png" for number in range(20)]
    for path in paths:
        path.write_bytes(b"\x89PNG fine")
    return paths


def test_only_what_may_pass_is_tried_again(scripted, films):
    transport = Scripted(Unavailable("503"), Unavailable("reset"))
    with scripted(transport) as client:
        (found,) = client.predict(films[:1])
    assert isinstance(found, Prediction) and transport.sizes == [1, 1, 1]
    transport = Scripted(RuntimeError("500"))
    with scripted(transport) as client, pytest.raises(RuntimeError, match="500"):
        client.predict(films[:1])
    assert transport.sizes == [1]
    transport = Scripted(*[Unavailable("503")] * 9)
    with scripted(transport, retries=3) as client:
        with pytest.raises(ConnectionError, match="overloaded: 503"):
            client.predict(films[:1])
    assert transport.sizes == [1] * 4


def test_a_deadline_ends_all_tries_together(scripted, films):
    class Slow(Scripted):
        async def call(self, *call):
            await asyncio.sleep(60)

    with scripted(Slow(), timeout=0.1) as client:
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            client.predict(films[:1])


def test_a_bad_image_costs_few_calls_and_no_neighbour(scripted, films):
    films[5].write_bytes(b"\x89PNG bad")
    transport = Scripted()
    with scripted(transport, batch_size=8) as client:
        found = client.predict(films[:8])
    kinds = [isinstance(entry, Prediction) for entry in found]
    assert kinds == [number != 5 for number in range(8)]
    assert str(found[5]) == f"{films[5]}: undecodable"
    # In halves; alone it is asked twice: on a server that batches it may be innocent.
    assert transport.sizes == [8, 4, 4, 2, 1, 1, 1, 2]


def test_batches_and_concurrency_are_bounded(scripted, films, monkeypatch):
    transport = Scripted()
    with scripted(transport, batch_size=3, concurrency=2) as client:
        found = client.predict(films)
    assert [entry.file for entry in found] == films
    assert sorted(transport.sizes) == [2, *[3] * 6]
    assert transport.most == 2
    monkeypatch.setattr(client_module, "_BATCH_BYTES", 40)
    transport = Scripted()
    with scripted(transport, batch_size=4) as client:
        client.predict(films[:4])
    assert transport.sizes == [2, 2]  # of nine bytes, and eight of spacing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:8501", "blob"), "must be like http"),
        (("ftp://localhost", "blob"), "must be like http"),
        (("http://localhost:8501",), "Which model"),
        (("http://localhost:8501", "blob", None, None, 0), "batch_size"),
    ],
)
def test_wrong_arguments_get_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        Client(*arguments)


def test_the_address_may_say_model_and_version(address, png):
    for path in ("/v1/models/blob", "/v1/models/blob/versions/1:predict"):
        with Client(address + path) as client:
            assert isinstance(client.predict([png])[0], Prediction)
    with Client(f"{address}/v1/models/blob/versions/7") as client:
        with pytest.raises(RuntimeError, match="version 7"):
            client.predict([png])


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx2", None)
    module = "scn_keras.saved_models.rest_transport"
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ImportError, match=r"httpx2.*scn-keras\[client\]"):
        Client("http://localhost:8501", "blob")


def test_the_command_takes_an_address(address, png, tmp_path):
    cut = tmp_path / "cut.png"
    cut.write_bytes(png.read_bytes()[:200])
    out = tmp_path / "points.json"
    url = f"{address}/v1/models/blob"
    arguments = ["predict", url, str(cut), str(png), "--json", str(out)]
    result = CliRunner().invoke(main, [*arguments, "--spacing", "0.1", "0.1"])
    assert result.exit_code == 1
    assert "Invalid PNG" in result.output
    (entry,) = json.loads(out.read_text())
    assert entry["file"] == str(png) and len(entry["landmarks"]) == 2
    result = CliRunner().invoke(main, ["predict", "http://127.0.0.1:9/", str(png)])
    assert result.exit_code == 1 and "Which model" in result.output


def test_messages_are_those_of_tensorflow():
    from tensorflow.core.framework import tensor_pb2

    for array in (
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array([b"a", b"\xff\x00"], object),
        np.array([[1], [2]], np.int32),
        np.array([True, False]),
    ):
        ours = messages.PredictRequest().inputs.add(key="x").value
        messages.set_tensor(ours, array)
        theirs = tensor_pb2.TensorProto.FromString(ours.SerializeToString())
        np.testing.assert_array_equal(tf.make_ndarray(theirs), array)
        # As TF Serving sends them: value by value.
        fields = tf.make_tensor_proto(array)
        fields.ClearField("tensor_content")
        flat = {"f": "float_val", "O": "string_val", "i": "int_val", "b": "bool_val"}
        field = getattr(fields, flat[array.dtype.kind])
        del field[:]
        field.extend(array.ravel().tolist())
        back = type(ours).FromString(fields.SerializeToString())
        np.testing.assert_array_equal(messages.get_tensor(back), array)
    same = type(ours).FromString(
        tf.make_tensor_proto(np.full((2, 3), 7, np.int64)).SerializeToString()
    )
    np.testing.assert_array_equal(messages.get_tensor(same), np.full((2, 3), 7))


def test_requests_are_those_of_tf_serving():
    predict_pb2 = pytest.importorskip(
        "tensorflow_serving.apis.predict_pb2", reason="No tensorflow-serving-api."
    )
    ours = messages.PredictRequest()
    ours.model_spec.name = "blob"
    ours.model_spec.version.value = 3
    ours.model_spec.signature_name = "serving_default"
    messages.set_tensor(ours.inputs.add(key="x").value, np.ones((2, 1), np.float32))
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert theirs.model_spec.name == "blob"
    assert theirs.model_spec.version.value == 3
    assert theirs.model_spec.signature_name == "serving_default"
    np.testing.assert_array_equal(tf.make_ndarray(theirs.inputs["x"]), [[1.0], [1.0]])
    answer = predict_pb2.PredictResponse()
    answer.outputs["y"].CopyFrom(tf.make_tensor_proto([[0.5]]))
    (entry,) = messages.PredictResponse.FromString(answer.SerializeToString()).outputs
    assert entry.key == "y"
    np.testing.assert_array_equal(messages.get_tensor(entry.value), [[0.5]])


def test_rest_needs_neither_tensorflow_nor_keras(address, png, tmp_path):
    code = f"""
    import sys
    for name in ("tensorflow", "keras", "grpc", "matplotlib"):
        sys.modules[name] = None
    import json
    from scn_keras.saved_models import Client
    from scn_keras.saved_models.prediction_files import write_json, write_markups
    import pathlib
    with Client({address!r}, model="blob") as client:
        found = client.predict([{str(png)!r}], (0.1, 0.1))
    write_json(pathlib.Path({str(tmp_path)!r}) / "points.json", found, ["a", "b"])
    write_markups(pathlib.Path({str(tmp_path)!r}), found, ["a", "b"])
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    (entry,) = json.loads((tmp_path / "points.json").read_text())
    np.testing.assert_allclose(entry["landmarks"][0]["px"], POINT, atol=0.15)
    assert (tmp_path / "blob.mrk.json").is_file()
