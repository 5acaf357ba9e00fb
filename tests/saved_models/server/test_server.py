import asyncio
import base64
import contextlib
import io
import json
import shutil
import threading
import time
from concurrent import futures
from types import SimpleNamespace

import httpx2 as httpx
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from PIL import Image
from starlette.testclient import TestClient

from scn_keras.files import read_points
from scn_keras.inference import ImageToGrid
from scn_keras.saved_models import Client, Prediction
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.predicting import image_source
from scn_keras.saved_models.server import (
    page_answers,
    served_model,
    server,
    uploads,
)
from scn_keras.saved_models.server.request_limits import RequestLimits
from scn_keras.saved_models.server.served_model import (
    MAX_IMAGES,
    ServedModel,
    ServerBusyError,
)
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network
from tests.saved_models.conftest import GRID, POINT, make_blob_run

MODEL = "/v1/models/blob"


@pytest.fixture
def png(draw_blob):
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    return tf.io.encode_png(np.uint8(blob * 255)[..., None]).numpy()


@pytest.fixture(scope="module")
def http(served):
    app = server.create_app(served, "blob")
    return TestClient(app, "http://localhost", raise_server_exceptions=False)


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def row(data, spacing=(0.1, 0.2)):
    return {"image_bytes": b64(data), "spacing_mm": list(spacing)}


def test_rows_and_columns_answer_with_the_planted_point(http, png):
    rows = http.post(f"{MODEL}:predict", json={"instances": [row(png), row(png)]})
    assert rows.status_code == 200, rows.text
    first, second = rows.json()["predictions"]
    np.testing.assert_allclose(first["points_px"], second["points_px"], atol=1e-3)
    np.testing.assert_allclose(first["points_px"][0], POINT, atol=0.15)
    np.testing.assert_allclose(
        first["points_mm"][0], np.multiply(POINT, (0.1, 0.2)), atol=0.04
    )
    assert first["calibrated"] is True
    columns = http.post(
        f"{MODEL}/versions/1:predict",
        json={"inputs": {"image_bytes": [b64(png)], "spacing_mm": [[0.1, 0.2]]}},
    )
    (points,) = columns.json()["outputs"]["points_px"]
    np.testing.assert_allclose(points, first["points_px"], atol=1e-3)


def test_unknown_millimetres_are_written_as_nan(http, png):
    answer = http.post(f"{MODEL}:predict", json={"instances": [row(png, (0, 0))]})
    assert "NaN" in answer.text
    assert json.loads(answer.text)["predictions"][0]["calibrated"] is False


def test_status_and_metadata_have_the_form_of_tf_serving(http, served):
    for path in (MODEL, f"{MODEL}/versions/1"):
        (status,) = http.get(path).json()["model_version_status"]
        assert status["version"] == "1" and status["state"] == "AVAILABLE"
        assert status["status"] == {"error_code": "OK", "error_message": ""}
    metadata = http.get(f"{MODEL}/metadata").json()
    assert metadata["model_spec"]["name"] == "blob"
    definitions = metadata["metadata"]["signature_def"]["signature_def"]
    spacing = definitions["serving_default"]["inputs"]["spacing_mm"]
    assert spacing["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in spacing["tensor_shape"]["dim"]] == ["-1", "2"]
    assert set(definitions) == set(served.signatures)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/v1/models/other", 404, "Servable not found"),
        ("GET", f"{MODEL}/versions/2", 404, "Servable not found"),
        ("POST", "/v1/models/other:predict", 404, "Servable not found"),
        ("GET", f"{MODEL}:predict", 400, "Malformed request: GET"),
        ("POST", f"{MODEL}:classify", 400, "no signature for :classify"),
        ("POST", f"{MODEL}/versions/1:regress", 400, "no signature for :regress"),
        ("POST", f"{MODEL}:explain", 400, "Malformed request: POST"),
        ("GET", "/v1/models", 400, "Missing model name in request"),
        ("GET", f"{MODEL}/labels/canary", 400, "version label: canary"),
        ("DELETE", MODEL, 400, "Malformed request: DELETE"),
        ("GET", "/etc/passwd", 404, "Not Found"),
        ("GET", "/..%2f..%2fetc/passwd", 404, "Not Found"),
        ("GET", "/page/../server.py", 404, "Not Found"),
        ("POST", "/page/anything", 404, "Not Found"),
    ],
)
def test_other_addresses_get_an_error_as_json(http, method, path, status, words):
    answer = http.request(method, path)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_an_image_that_cannot_be_decoded_is_a_clear_400(http):
    answer = http.post(f"{MODEL}:predict", json={"instances": [row(b"GIF89a")]})
    assert answer.status_code == 400
    assert "not a PNG, JPEG or BMP file" in answer.json()["error"]
    assert "node" not in answer.json()["error"]  # nothing of the graph's insides


def test_a_promise_of_too_many_pixels_is_refused_before_decoding(http, png):
    promising = png[:16] + (30_000).to_bytes(4, "big") * 2 + png[24:]
    answer = http.post(f"{MODEL}:predict", json={"instances": [row(promising)]})
    assert answer.status_code == 400
    assert "more than 67,108,864 bytes when decoded" in answer.json()["error"]


def test_a_request_that_is_too_large_is_a_413(served):
    app = server.create_app(served, "blob", max_request_bytes=1000)
    http = TestClient(app, "http://localhost")
    declared = http.post(f"{MODEL}:predict", content=b" " * 1001)
    chunked = http.post(f"{MODEL}:predict", content=iter([b" " * 600] * 2))
    for answer in (declared, chunked):
        assert answer.status_code == 413
        assert "1,000 bytes" in answer.json()["error"]


def test_a_declared_length_is_refused_before_it_is_read(served):
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    sent = []
    headers = [(b"host", b"localhost"), (b"content-length", str(2**25 + 1).encode())]
    scope = {
        **{"type": "http", "method": "POST", "path": f"{MODEL}:predict"},
        **{"headers": headers, "query_string": b"", "root_path": ""},
    }
    asyncio.run(server.create_app(served, "blob")(scope, receive, send))
    assert sent[0]["status"] == 413 and read == []


def test_eight_of_the_largest_requests_are_held(served):
    limits = RequestLimits(100, timeout=60.0)

    async def hold(count):
        async def stream():
            yield bytes(100)

        request = SimpleNamespace(headers={}, stream=stream)
        async with contextlib.AsyncExitStack() as held:
            for _ in range(count):
                await held.enter_async_context(limits.read_body(request))

    asyncio.run(hold(8))
    with pytest.raises(ServerBusyError):
        asyncio.run(hold(9))
    assert limits.held_bytes == 0


def test_a_slow_model_is_a_504_and_a_busy_one_a_503(served, png, monkeypatch):
    app = server.create_app(served, "blob", timeout=0.05)
    http = TestClient(app, "http://localhost")
    monkeypatch.setattr(served, "submit", lambda *call: futures.Future())
    answer = http.post(f"{MODEL}:predict", json={"instances": [row(png)]})
    assert answer.status_code == 504 and "Deadline" in answer.json()["error"]

    def busy(*call):
        raise ServerBusyError("64 calls are waiting already.")

    monkeypatch.setattr(served, "submit", busy)
    http = TestClient(server.create_app(served, "blob"), "http://localhost")
    answer = http.post(f"{MODEL}:predict", json={"instances": [row(png)]})
    assert answer.status_code == 503 and "waiting" in answer.json()["error"]


def test_other_hosts_and_foreign_pages_are_refused_at_a_loopback_address(served, png):
    app = server.create_app(served, "blob")
    assert TestClient(app, "http://evil.example").get(MODEL).status_code == 400
    http = TestClient(app, "http://127.0.0.1:8501")
    foreign = {"Origin": "http://evil.example"}
    answer = http.post(f"{MODEL}:predict", json={}, headers=foreign)
    assert answer.status_code == 403
    own = {"Origin": "http://127.0.0.1:8501"}
    answer = http.post(f"{MODEL}:predict", json={}, headers=own)
    assert answer.status_code == 400  # it was read


@pytest.mark.parametrize(
    ("host", "own", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:8501", True),
        ("127.0.0.2", "127.0.0.2:8501", True),
        ("127.0.0.2", "evil.example", False),
        ("::1", "[::1]:8501", True),
        ("::1", "evil.example", False),
        ("0.0.0.0", "films.example", True),
    ],
)
def test_loopback_addresses_answer_to_their_own_name(served, host, own, allowed):
    http = TestClient(server.create_app(served, "blob", host), f"http://{own}")
    assert http.get(MODEL).status_code == (200 if allowed else 400)


def test_callers_at_a_time_share_batches_and_get_their_own_answers(
    blob_model, draw_blob
):
    places = [(40.0 + 20.0 * k, 200.0) for k in range(10)]
    images = [
        tf.io.encode_png(np.uint8(draw_blob((400, 300), p, (15, 15)) * 255)[..., None])
        for p in places
    ]
    sizes = []
    with ServedModel(blob_model, batch_size=4, threads=1) as model:
        run = model._run

        def counted(signature, inputs):
            sizes.append(len(inputs["image_bytes"]))
            return run(signature, inputs)

        model._run = counted
        answers = [model.submit("serving_default", one(i.numpy())) for i in images]
        bad = model.submit("serving_default", one(images[0].numpy()[:200]))
        for place, answer in zip(places, answers, strict=True):
            found = answer.result()["points_px"][0, 0]
            np.testing.assert_allclose(found, place, atol=0.2)
        with pytest.raises(ValueError, match="Invalid PNG"):
            bad.result()
    assert max(sizes) == 4


def one(data):
    image_bytes = np.empty(1, object)
    image_bytes[0] = data
    return {"image_bytes": image_bytes, "spacing_mm": np.zeros((1, 2), np.float32)}


def test_a_long_request_goes_through_the_model_in_pieces(blob_model, png):
    inputs = {
        "image_bytes": np.array([png] * 5, object),
        "spacing_mm": np.zeros((5, 2), np.float32),
    }
    with ServedModel(blob_model, batch_size=2) as model:
        found = model.submit("serving_default", inputs).result()
    assert found["points_px"].shape == (5, 2, 2)
    np.testing.assert_allclose(found["points_px"][:, 0], [POINT] * 5, atol=0.15)


def test_calls_of_unlike_images_are_all_answered(blob_model):
    def image(rows, columns):
        return {
            "image": np.zeros((1, rows, columns, 1), np.float32),
            "affine": np.eye(3, dtype=np.float32)[None],
        }

    release, sizes = threading.Event(), []
    with ServedModel(blob_model, threads=1) as model:
        run = model._run

        def held(signature, inputs):
            release.wait()
            sizes.append(len(inputs["affine"]))
            return run(signature, inputs)

        model._run = held
        answers = [model.submit("arrays", image(40, 40))]
        while model._waiting:
            release.wait(0.01)
        for size in ((50, 40), (40, 50), (50, 40)) * 2:
            answers.append(model.submit("arrays", image(*size)))
        release.set()
        for answer in answers:
            assert answer.result(timeout=60)["score"].shape == (1, 2)
    # The others of one size went together, whatever came between them.
    assert sizes == [1, 4, 2]


def test_too_many_images_are_refused_at_once(blob_model, http, png):
    many = {"inputs": {"image_bytes": [""] * 3000, "spacing_mm": [[0, 0]] * 3000}}
    began = time.monotonic()
    answer = http.post(f"{MODEL}:predict", json=many)
    assert answer.status_code == 400 and time.monotonic() - began < 5.0
    assert "may hold 64 at most. Received: 3000" in answer.json()["error"]
    maps = {"signature_name": "heatmaps", "instances": [row(png)] * 9}
    answer = http.post(f"{MODEL}:predict", json=maps)
    assert answer.status_code == 400
    assert "heatmaps may hold 8 at most" in answer.json()["error"]


def test_a_client_with_larger_batches_is_answered(address):
    images = [np.zeros((8, 8), np.uint8)] * (MAX_IMAGES + 3)
    with Client(address, "blob", batch_size=100) as client:
        answers = client.predict(images)
    assert len(answers) == MAX_IMAGES + 3
    assert all(isinstance(answer, Prediction) for answer in answers)


def test_an_image_that_fails_alone_is_looked_at_once(blob_model, png):
    runs = []
    with ServedModel(blob_model) as model:
        run = model._run
        model._run = lambda *call: runs.append(1) or run(*call)
        with pytest.raises(ValueError, match="Invalid PNG"):
            model.submit("serving_default", one(png[:200])).result()
    assert runs == [1]


def test_more_calls_than_it_keeps_are_refused(blob_model, png):
    release = threading.Event()
    with ServedModel(blob_model, max_waiting=2, threads=1) as model:
        model._run = lambda *call: release.wait() and {}
        answers = [model.submit("serving_default", one(png))]
        while model._waiting:
            release.wait(0.01)  # until the thread has taken it
        answers += [model.submit("serving_default", one(png)) for _ in range(2)]
        with pytest.raises(ServerBusyError, match="2 calls are waiting"):
            model.submit("serving_default", one(png))
        release.set()
        for answer in answers:
            answer.result()


def test_a_caller_who_went_away_holds_nobody_up(blob_model, png):
    release = threading.Event()
    with ServedModel(blob_model, threads=1) as model:
        run = model._run
        model._run = lambda *call: release.wait() and run(*call)
        first = model.submit("serving_default", one(png))
        while model._waiting:
            release.wait(0.01)
        gone = model.submit("serving_default", one(png))
        assert gone.cancel()
        release.set()
        first.result()
        model.submit("serving_default", one(png)).result(timeout=60)
    with pytest.raises(RuntimeError, match="closed"):
        model.submit("serving_default", one(png))


def test_the_page_is_told_about_the_model(http, served, blob_model, tmp_path):
    about = http.get("/page/model").json()
    assert (about["name"], about["version"]) == ("blob", "1")
    assert about["schema"]["names"] == ["bright", "dark"]
    assert about["signatures"] == [*served.signatures]
    assert about["has_calibration"] is False
    assert about["calibration"] == "No radii: the model is not calibrated."
    folder = shutil.copytree(blob_model, tmp_path / "model")  # no number: version 1
    (folder / "assets.extra" / "calibration.json").write_text(
        json.dumps({"protocol": {"dataset": "blobs/1.0.0", "n_images": 9}})
    )
    with ServedModel(folder) as model:
        assert model.version == "1"
        calibrated = TestClient(server.create_app(model, "blob"), "http://localhost")
        about = calibrated.get("/page/model").json()
    assert about["has_calibration"] is True
    assert about["calibration"] == "Radii calibrated on 9 images of blobs/1.0.0."


def test_the_page_answer_has_points_and_files(http, png, tmp_path):
    query = "spacing_x=0.1&spacing_y=0.1"
    named = {"X-File-Name": "../f%C3%AFlm.png"}
    answer = http.post(f"/page/locate?{query}", content=png, headers=named)
    assert answer.status_code == 200, answer.text
    assert "NaN" not in answer.text
    found = answer.json()
    bright = found["landmarks"][0]
    assert bright["name"] == "bright"
    np.testing.assert_allclose(bright["px"], POINT, atol=0.15)
    np.testing.assert_allclose(bright["mm"], np.multiply(POINT, 0.1), atol=0.02)
    assert found["size"] == [300, 400] and found["spacing"] == [0.1, 0.1]
    assert found["image"] is None  # the browser has it
    (tmp_path / "film.mrk.json").write_text(found["markups"])
    read = read_points(tmp_path / "film.mrk.json")
    np.testing.assert_allclose(read.points[0][:2], bright["px"], atol=1e-3)
    assert found["csv"].splitlines()[1].startswith("../fïlm.png,bright,")


def test_the_page_works_on_two_images_at_a_time(served, png, monkeypatch):
    running, most = 0, 0
    count = threading.Lock()
    read = uploads.read_upload

    def slow(*call):
        nonlocal running, most
        with count:
            running += 1
            most = max(most, running)
        time.sleep(0.1)
        with count:
            running -= 1
        return read(*call)

    monkeypatch.setattr(uploads, "read_upload", slow)
    app = server.create_app(served, "blob")

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost"
        ) as http:
            calls = [http.post("/page/locate", content=png) for _ in range(6)]
            return await asyncio.gather(*calls)

    assert [answer.status_code for answer in asyncio.run(ask())] == [200] * 6
    assert most == 2


def test_stored_values_reach_a_model_that_takes_them(
    tmp_path_factory, serve_model, draw_blob, tmp_path
):
    recipe = Recipe(
        name="blob",
        dataset="synthetic_hand",
        image_to_grid=ImageToGrid(
            grid=GRID, normalization="window", normalization_limits=(0.0, 200.0)
        ),
        network=Network(levels=1, spatial_factor=1),
    )
    run = make_blob_run(tmp_path_factory.mktemp("window") / "blob", recipe)
    path = tmp_path / "film.png"
    blob = np.uint8(draw_blob((400, 300), POINT, (15.0, 15.0)) * 200)
    path.write_bytes(tf.io.encode_png(blob[..., None]).numpy())
    folder = export(run, tmp_path_factory.mktemp("models"))
    with (
        ServedModel(folder) as model,
        serve_model(model) as address,
        httpx.Client(base_url=address, timeout=120) as http,
    ):
        answer = http.post("/page/locate", content=path.read_bytes())
        assert answer.status_code == 200, answer.text
        on_page = answer.json()["landmarks"][0]["px"]
        maps = http.post("/page/heatmaps", content=path.read_bytes())
        assert maps.status_code == 200, maps.text
        with Client(address, "blob") as client:
            (found,) = client.predict(path)
    for point in (on_page, found.points_px[0]):
        np.testing.assert_allclose(point, POINT, atol=0.15)


def test_the_page_reads_dicom_with_its_spacing_and_shows_it(http, draw_blob, tmp_path):
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    image = sitk.GetImageFromArray(np.uint16(blob * 65535))
    image.SetSpacing((0.3, 0.3))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    image.SetMetaData("0028|0030", "0.3\\0.3")
    writer.SetFileName(str(tmp_path / "film.dcm"))
    writer.Execute(image)
    answer = http.post("/page/locate", content=(tmp_path / "film.dcm").read_bytes())
    assert answer.status_code == 200, answer.text
    found = answer.json()
    np.testing.assert_allclose(found["landmarks"][0]["px"], POINT, atol=0.15)
    np.testing.assert_allclose(found["spacing"], [0.3, 0.3])
    shown = Image.open(io.BytesIO(base64.b64decode(found["image"].split(",")[1])))
    assert shown.size == (300, 400)
    assert np.asarray(shown).max() > 250


@pytest.mark.parametrize(
    ("query", "content", "words"),
    [
        ("", b"ElementDataFile = /etc/passwd", "no PNG, JPEG, BMP or DICOM"),
        ("", b"", "no PNG, JPEG, BMP or DICOM"),
        ("", bytes(128) + b"DICM", "decoded"),
        ("", b"\x89PNG\r\n\x1a\n", "Invalid PNG"),
        ("spacing_x=nan&spacing_y=1", b"\x89PNG", "number of millimetres"),
        ("spacing_x=a&spacing_y=1", b"\x89PNG", "could not convert"),
    ],
)
def test_the_page_gets_a_sentence_for_what_is_no_image(http, query, content, words):
    answer = http.post(f"/page/locate?{query}", content=content)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert "/tmp" not in answer.text


def test_no_path_of_a_request_is_opened(http, png, tmp_path, draw_blob, monkeypatch):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png)
    dicom = tmp_path / "secret.dcm"
    image = sitk.GetImageFromArray(np.uint16(draw_blob((40, 30), (9, 9), (5, 5))))
    sitk.WriteImage(image, str(dicom))
    opened = []

    def watch(module, name):
        read = getattr(module, name)

        def watched(path, *rest):
            opened.append(path)
            return read(path, *rest)

        monkeypatch.setattr(module, name, watched)

    watch(page_answers, "read_image_source")
    watch(image_source, "read_image")
    where = str(secret)
    for value in (where, f"file://{where}", {"path": where}, {"file": where}):
        for call in (
            {"instances": [{"image_bytes": value, "spacing_mm": [0, 0]}]},
            {"inputs": {"image_bytes": [value], "spacing_mm": [[0, 0]]}},
            {"signature_name": where, "instances": [row(png)]},
        ):
            answer = http.post(f"{MODEL}:predict", json=call)
            assert answer.status_code == 400
    named = {"X-File-Name": where}
    for content in (png, dicom.read_bytes()):
        answer = http.post(f"/page/locate?name={where}", content=content, headers=named)
        assert answer.status_code == 200
    assert http.post("/page/locate", content=where.encode()).status_code == 400
    for path in (where, f"/page{where}", f"{MODEL}/versions/..{where}"):
        assert http.get(path).status_code in (400, 404, 405)
    # The two uploads, DICOM by both functions, in folders that are gone.
    assert [path.name for path in opened] == ["image"] * 3
    assert not any(path.parent.exists() for path in opened)


def test_the_page_is_whole_in_itself(http):
    page = http.get("/")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for path in ("/", "/page.css", "/page.js"):
        text = http.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "//cdn" not in text


def test_heatmaps_come_as_pictures(http, served, png):
    if "heatmaps" not in served.signatures:
        pytest.skip("This export has no signature heatmaps.")
    found = http.post("/page/heatmaps", content=png).json()
    sheet = Image.open(
        io.BytesIO(base64.b64decode(found["stages"]["product"].split(",")[1]))
    )
    rows, columns = found["rows"], found["columns"]
    assert sheet.size == (columns, 2 * rows)
    levels = np.asarray(sheet)[:rows].astype(int)
    y, x = np.unravel_index(levels.argmax(), levels.shape)
    place = np.array(found["grid_to_source"]) @ [x, y, 1]
    np.testing.assert_allclose(place[:2], POINT, atol=4)  # half a pixel of the grid


def test_serve_listens_at_the_loopback_address_and_says_what_it_is_for(
    blob_model, monkeypatch
):
    started, lines = [], []
    monkeypatch.setattr(served_model, "read_warm_up", lambda folder: ())
    monkeypatch.setattr(
        server.uvicorn, "run", lambda app, **settings: started.append(settings)
    )
    server.serve(blob_model, report=lines.append)
    assert started[0]["host"] == "127.0.0.1" and started[0]["port"] == 8501
    assert "in production: TF Serving" in " ".join(lines)
    assert "/v1/models/blob:predict" in " ".join(lines)
    assert "nothing is encrypted" not in " ".join(lines)
    server.serve(blob_model, "::1", report=lines.append)
    assert "http://[::1]:8501/ is a page" in " ".join(lines)
    assert "nothing is encrypted" not in " ".join(lines)
    server.serve(blob_model.parent, "0.0.0.0", 80, report=lines.append)
    assert started[2]["host"] == "0.0.0.0"
    assert "nothing is encrypted" in " ".join(lines)


def test_a_run_is_exported_to_be_served(blob_run, blob_model, monkeypatch, tmp_path):
    asked = []

    def export(run, folder):
        asked.append((run.path, folder))
        return blob_model

    monkeypatch.setattr(server, "export", export)
    with server._exported(blob_run.path) as (folder, name):
        assert (folder, name) == (blob_model, "blob")
    assert asked[0][0] == blob_run.path
    with pytest.raises(FileNotFoundError, match=r"recipe\.json"):
        with server._exported(tmp_path / "nothing"):
            pass


def test_a_damaged_model_is_not_served(blob_model, tmp_path):
    folder = shutil.copytree(blob_model, tmp_path / "blob" / "1")
    with server._exported(folder) as (path, name):
        assert (path, name) == (folder, "blob")
    data = folder / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or was changed"):
        with server._exported(tmp_path / "blob"):
            pass
    data.unlink()
    with pytest.raises(ValueError, match="is missing"):
        with server._exported(folder):
            pass
    (folder / "assets.extra" / "SHA256SUMS").unlink()  # of an earlier version
    with server._exported(folder):
        pass


def test_many_callers_over_a_socket(address, png):
    async def ask():
        async with httpx.AsyncClient(timeout=60) as http:
            calls = [
                http.post(f"{address}{MODEL}:predict", json={"instances": [row(png)]})
                for _ in range(16)
            ]
            return await asyncio.gather(*calls)

    answers = asyncio.run(ask())
    assert [a.status_code for a in answers] == [200] * 16
    for answer in answers:
        (found,) = answer.json()["predictions"]
        np.testing.assert_allclose(found["points_px"][0], POINT, atol=0.15)
