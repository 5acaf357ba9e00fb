import asyncio
import json
import subprocess
import sys
import textwrap
import threading
import time
from concurrent import futures

import httpx2 as httpx
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.saved_models import Client, Prediction, PredictionError
from scn_keras.saved_models import serving_messages as messages
from scn_keras.saved_models.client import client as client_module
from scn_keras.saved_models.client import image_requests
from scn_keras.saved_models.client.rest_transport import RestTransport
from scn_keras.saved_models.client.transport import (
    RefusedError,
    TooLargeError,
    UnavailableError,
)
from scn_keras.saved_models.predicting.predict import predict
from scn_keras.saved_models.predicting.prediction_files import write_csv, write_markups
from tests.saved_models.conftest import POINT


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
            if spec.signature_name not in served.signatures:
                context.abort(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f'Serving signature key "{spec.signature_name}" not found.',
                )
            try:
                found = served.submit(spec.signature_name, inputs).result()
            except ValueError as error:
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


def test_files_are_answered_as_predict_does(address, grpc_address, blob_model, png):
    ((expected,), _) = predict(blob_model, [png], (0.1, 0.2))
    for url in (address, grpc_address):
        with Client(url, model="blob") as client:
            (found,) = client.predict([png], (0.1, 0.2))
        assert isinstance(found, Prediction)
        for name in ("points_px", "points_mm", "score", "covariance_px2"):
            np.testing.assert_allclose(
                getattr(found, name), getattr(expected, name), rtol=1e-3, atol=2e-3
            )
        assert found.file == png and found.calibrated
        assert found.calibration_source == "not calibrated"


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
    point = (31.4, 52.6)  # of a small image: as JSON it is large
    blob = draw_blob((100, 75), point, (5.0, 5.0))
    if dtype != np.float32:
        info = np.iinfo(dtype)
        blob = info.min + blob * (float(info.max) - info.min)
    found, bare = client.predict([blob.astype(dtype)] * 2, (0.1, 0.1))
    np.testing.assert_allclose(found.points_px[0], point, atol=0.15)
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

    def __init__(self, *script, stored_values=False):
        self.script = [*script]
        self.about = {"stored_values": np.array([stored_values])}
        self.sizes = []
        self.running = self.most = 0

    async def call(self, signature, inputs, timeout):
        n = len(next(iter(inputs.values())))
        if signature == "landmarks":
            return self.about
        self.sizes.append(n)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        if self.script:
            raise self.script.pop(0)
        bad = [b"bad" in data for data in inputs.get("image_bytes", ())]
        if any(bad):
            raise RefusedError("undecodable")
        d = inputs["image"].ndim - 2 if "image" in inputs else 2
        return {"points_px": np.zeros((n, 2, d)), "score": np.ones((n, 2))}

    async def close(self):
        pass


class Merging(Scripted):
    """As TF Serving with batching: what waits goes together, and fails together."""

    def __init__(self):
        super().__init__()
        self.waiting, self.tasks = [], set()

    async def call(self, signature, inputs, timeout):
        if signature == "landmarks":
            return self.about
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((inputs["image_bytes"], answer))
        await asyncio.sleep(0.001)
        if len(self.tasks) < 2 and self.waiting:
            task = asyncio.create_task(self.work())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if await answer:
            raise RefusedError("undecodable")
        n = len(inputs["image_bytes"])
        return {"points_px": np.zeros((n, 2, 2)), "score": np.ones((n, 2))}

    async def work(self):
        while self.waiting:
            batch, size = [], 0
            while self.waiting and size + len(self.waiting[0][0]) <= 8:
                batch.append(self.waiting.pop(0))
                size += len(batch[-1][0])
            await asyncio.sleep(0.002 * size)
            bad = any(b"bad" in data for files, _ in batch for data in files)
            for _, answer in batch:
                answer.set_result(bad)


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
    transport = Scripted(UnavailableError("503"), UnavailableError("reset"))
    with scripted(transport) as client:
        (found,) = client.predict(films[:1])
    assert isinstance(found, Prediction) and transport.sizes == [1, 1, 1]
    transport = Scripted(RuntimeError("500"))
    with scripted(transport) as client, pytest.raises(RuntimeError, match="500"):
        client.predict(films[:1])
    assert transport.sizes == [1]
    transport = Scripted(*[UnavailableError("503")] * 9)
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
    assert transport.sizes == [8, 4, 4, 2, 1, 1, 2, 1]


@pytest.mark.parametrize("concurrency", [1, 4, 8])
def test_a_server_that_batches_loses_no_good_image(scripted, films, concurrency):
    bad = {films[number] for number in (1, 2, 5, 9, 10, 13, 18)}
    for film in bad:
        film.write_bytes(b"\x89PNG bad")

    async def ask(client):
        return await asyncio.gather(*[client.predict_async(films) for _ in range(2)])

    with scripted(Merging(), concurrency=concurrency) as client:
        for found in asyncio.run(ask(client)):
            assert {e.file for e in found if isinstance(e, PredictionError)} == bad


def test_what_is_too_large_alone_is_not_sent_again(scripted, films):
    transport = Scripted(*[TooLargeError("413: too many bytes")] * 2)
    with scripted(transport) as client:
        first, second = client.predict(films[:2])
    assert transport.sizes == [2, 1, 1]
    assert str(first) == f"{films[0]}: 413: too many bytes"
    assert isinstance(second, Prediction)


def test_names_are_asked_in_batches(scripted):
    class Named(Scripted):
        async def call(self, signature, inputs, timeout):
            assert signature == "landmarks"
            self.sizes.append(len(inputs["landmark"]))
            if len(inputs["landmark"]) > 8:
                raise RefusedError("Batch size 19 is larger than 8.")
            return {"name": np.array([f"p{n}" for n in inputs["landmark"]])}

    transport = Named()
    with scripted(transport) as client:
        assert client.names(19) == tuple(f"p{n}" for n in range(19))
    assert transport.sizes == [8, 8, 3]
    with scripted(Named(), batch_size=9) as client:
        with pytest.raises(RuntimeError, match="larger than 8"):
            client.names(19)


def test_one_image_needs_no_list(scripted, films, monkeypatch):
    monkeypatch.chdir(films[0].parent)
    with scripted(Scripted()) as client:
        for one in (films[0].name, films[0], np.zeros((5, 5), np.uint8)):
            (found,) = client.predict(one)
            assert isinstance(found, Prediction)


def test_stored_values_are_sent_where_the_model_takes_them(scripted, tmp_path):
    path = tmp_path / "slice.mha"
    image = np.arange(-30, 30, dtype=np.int16).reshape(6, 10)
    sitk.WriteImage(sitk.GetImageFromArray(image), str(path))

    class Watched(Scripted):
        async def call(self, signature, inputs, timeout):
            self.inputs = inputs
            return await super().call(signature, inputs, timeout)

    transport = Watched(stored_values=True)
    with scripted(transport) as client:
        (found,) = client.predict([path])
    assert isinstance(found, Prediction)
    np.testing.assert_array_equal(transport.inputs["image"][0, ..., 0], image)
    with scripted(Scripted()) as client:
        (found,) = client.predict([path])
    assert "8 or 16 bits without sign" in str(found)


def test_a_calibration_is_stated_where_the_model_states_it(scripted, films):
    transport = Scripted()
    with scripted(transport) as client:  # an early export
        assert client.predict(films[0])[0].calibration_source is None
    transport.about["radii_calibrated_on"] = np.array([b"9 images"], object)
    with scripted(transport) as client:
        assert client.predict(films[0])[0].calibration_source == "9 images"


def test_a_spacing_has_a_number_for_each_axis(scripted, films, tmp_path):
    volume = tmp_path / "volume.nrrd"
    header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n\n"
    volume.write_bytes(header.encode() + bytes(64))
    array, empty = np.zeros((5, 5), np.uint8), np.zeros((0, 5), np.uint8)
    with scripted(Scripted()) as client:
        for wrong in ((1.0,), (1, 1, 1, 1), (0, 1), (float("nan"), 1)):
            with pytest.raises(ValueError, match="two or three numbers above 0"):
                client.predict([array], spacing=wrong)
        found = client.predict([volume, films[0], array, empty], spacing=(1, 2, 3))
        np.testing.assert_array_equal(found[0].points_mm, 0.0)
        assert found[0].calibrated
        for one in found[1:3]:
            assert "needs a spacing of 2 numbers, x, y." in str(one)
        assert "holds no pixel" in str(found[3])
        (found,) = client.predict([volume], spacing=(1, 1))
        assert "needs a spacing of 3 numbers, x, y, z." in str(found)


def test_all_callers_share_the_concurrency(scripted, films):
    transport = Scripted()

    async def ask(client):
        calls = [client.predict_async(films[:1]) for _ in range(30)]
        await asyncio.gather(*calls)

    with scripted(transport, concurrency=3) as client:
        asyncio.run(ask(client))
    assert transport.most == 3


def test_closing_ends_calls_that_are_under_way(scripted, films):
    started = threading.Event()

    class Slow(Scripted):
        async def call(self, *call):
            started.set()
            await asyncio.sleep(60)

    client = scripted(Slow())
    with futures.ThreadPoolExecutor(2) as threads:
        calls = [
            threads.submit(client.predict, films),
            threads.submit(lambda: asyncio.run(client.predict_async(films))),
        ]
        started.wait(10)
        time.sleep(0.05)
        client.close()
        for call in calls:
            with pytest.raises(RuntimeError, match="client is closed"):
                call.result(timeout=10)
    client.close()
    with pytest.raises(RuntimeError, match="client is closed"):
        client.predict(films)


def test_large_calls_are_written_without_holding_up_the_others(monkeypatch):
    def slow(*call):
        time.sleep(1.0)
        return b""

    monkeypatch.setattr(
        "scn_keras.saved_models.client.rest_transport.format_call", slow
    )
    with Client("http://127.0.0.1:9", "blob", timeout=0.1) as client:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            client.predict(np.zeros((5, 5), np.uint8))
        assert time.monotonic() - began < 0.9


@pytest.mark.parametrize(
    ("status", "content", "error", "message"),
    [
        (400, b'{"error": "no image"}', RefusedError, "^no image$"),
        (400, b"\xff<html>", RefusedError, "<html>"),
        (413, b'{"error": "too large"}', TooLargeError, "413: too large"),
        (429, b"", UnavailableError, "429"),
        (502, b"<html>", UnavailableError, "502"),
        (503, b"[]", UnavailableError, "503"),
        (504, b'{"error": "slow"}', TimeoutError, "slow"),
        (500, b"", RuntimeError, "answered 500"),
        (200, b"<html>", RuntimeError, "not as TF Serving does.*<html>"),
        (200, b'{"predictions": []}', RuntimeError, "not as TF Serving does"),
    ],
)
def test_failures_over_rest(status, content, error, message):
    async def ask():
        rest = RestTransport("http://nowhere/v1/models/blob", {})
        await rest._http.aclose()
        answer = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
        rest._http = httpx.AsyncClient(transport=answer)
        await rest.call("landmarks", {"landmark": np.zeros(1, np.int32)}, 1.0)

    with pytest.raises(error, match=message) as caught:
        asyncio.run(ask())
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        ("INVALID_ARGUMENT", "no image", RefusedError),
        ("FAILED_PRECONDITION", "no signature", RefusedError),
        ("OUT_OF_RANGE", "", RefusedError),
        ("RESOURCE_EXHAUSTED", "queue is full", UnavailableError),
        ("RESOURCE_EXHAUSTED", "Received message larger than max", TooLargeError),
        ("UNAVAILABLE", "", UnavailableError),
        ("DEADLINE_EXCEEDED", "", TimeoutError),
        ("INTERNAL", "", RuntimeError),
    ],
)
def test_failures_over_grpc(code, text, error):
    import grpc

    from scn_keras.saved_models.client import grpc_transport

    none = grpc.aio.Metadata()
    failed = grpc.aio.AioRpcError(getattr(grpc.StatusCode, code), none, none, text)
    assert type(grpc_transport._failure(failed)) is error


def test_batches_and_concurrency_are_bounded(scripted, films, monkeypatch):
    transport = Scripted()
    with scripted(transport, batch_size=3, concurrency=2) as client:
        found = client.predict(films)
    assert [entry.file for entry in found] == films
    assert sorted(transport.sizes) == [2, *[3] * 6]
    assert transport.most == 2
    monkeypatch.setattr(image_requests, "_MAX_CALL_BYTES", 40)
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
        (("http://localhost:8501", "blob", None, None, 8, 4, 0.0), "timeout"),
        (("http://localhost:8501", "blob", None, None, 8, 4, 1.0, -1), "retries"),
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
        with pytest.raises(RuntimeError, match=r"Specific\(blob, 7\)"):
            client.predict([png])


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx2", None)
    module = "scn_keras.saved_models.client.rest_transport"
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
    from scn_keras.saved_models.predicting.prediction_files import (
        write_json, write_markups,
    )
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
