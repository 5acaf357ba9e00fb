"""`:predict` with the bytes of an image as the body."""

import gzip
import json

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from starlette.testclient import TestClient

from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.server import server
from scn_keras.saved_models.server.served_model import ServedModel
from tests.saved_models.conftest import POINT

PREDICT = "/v1/models/blob:predict"


@pytest.fixture
def png(draw_blob):
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    return tf.io.encode_png(np.uint8(blob * 255)[..., None]).numpy()


@pytest.fixture(scope="module")
def http(served):
    app = server.create_app(served, "blob", labels=["stable"])
    return TestClient(app, "http://localhost", raise_server_exceptions=False)


def send(http, content, kind="image/png", query="", **headers):
    return http.post(
        f"{PREDICT}{query}", content=content, headers={"Content-Type": kind, **headers}
    )


@pytest.mark.parametrize(
    "kind", ["image/png", "Image/PNG; a=b", "application/octet-stream"]
)
def test_an_image_is_answered_as_one_row(http, png, kind):
    answer = send(http, png, kind, "?spacing_x=0.1&spacing_y=0.2")
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["predictions"]
    np.testing.assert_allclose(row["points_px"][0], POINT, atol=0.15)
    expected = np.multiply(POINT, (0.1, 0.2))
    np.testing.assert_allclose(row["points_mm"][0], expected, atol=0.04)
    without = send(http, png, kind)
    assert json.loads(without.text)["predictions"][0]["calibrated"] is False


def test_dicom_comes_with_its_spacing(http, draw_blob, tmp_path):
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    image = sitk.GetImageFromArray(np.uint16(blob * 65535))
    image.SetSpacing((0.3, 0.3))
    writer = sitk.ImageFileWriter()
    image.SetMetaData("0028|0030", "0.3\\0.3")
    writer.SetFileName(str(tmp_path / "film.dcm"))
    writer.Execute(image)
    content = (tmp_path / "film.dcm").read_bytes()
    answer = send(http, content, "application/dicom")
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["predictions"]
    np.testing.assert_allclose(row["points_px"][0], POINT, atol=0.15)
    np.testing.assert_allclose(row["points_mm"][0], np.multiply(POINT, 0.3), atol=0.05)


def test_other_signatures_have_their_name_in_the_query(http, png, served):
    answer = send(http, png, query="?signature_name=heatmaps")
    if "heatmaps" in served.signatures:
        assert "product" in answer.json()["predictions"][0]
    for name in ("landmarks", "arrays", "nothing"):
        answer = send(http, png, query=f"?signature_name={name}")
        assert answer.status_code == 400
        assert "no signature" in answer.json()["error"]
        assert "serving_default" in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"query": "?spacing=0.1"}, 400, "spacing_x, spacing_y. Received: spacing"),
        ({"query": "?spacing_x=0.1"}, 400, "both spacing_x and spacing_y"),
        ({"query": "?spacing_x=0&spacing_y=1"}, 400, "number of millimetres"),
        ({"content": b"GIF89a"}, 400, "no PNG, JPEG, BMP or DICOM"),
        ({"content": b""}, 400, "no PNG, JPEG, BMP or DICOM"),
        ({"kind": "multipart/form-data; boundary=x"}, 415, "not a form"),
        ({"Content-Encoding": "br"}, 415, "without compression"),
    ],
)
def test_what_is_no_image_gets_one_sentence(http, png, change, status, words):
    answer = send(http, **{"content": png, **change})
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_bodies_may_be_compressed_by_gzip(http, png):
    packed = {"Content-Encoding": "gzip"}
    answer = send(http, gzip.compress(png), **packed)
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["predictions"]
    np.testing.assert_allclose(row["points_px"][0], POINT, atol=0.15)
    for content, status, words in (
        (gzip.compress(png)[:-9], 400, "beginning of a gzip file"),
        (png, 400, "no gzip file"),
        (gzip.compress(bytes(2**25 + 1)), 413, "33,554,432 bytes"),
    ):
        answer = send(http, content, **packed)
        assert answer.status_code == status
        assert words in answer.json()["error"]


def test_versions_and_labels_are_part_of_the_address(http, png):
    for address in ("labels/stable", "versions/1", "versions/001"):
        path = f"/v1/models/blob/{address}"
        assert http.get(path).status_code == 200
        assert http.get(f"{path}/metadata").json()["model_spec"]["version"] == "1"
        headers = {"Content-Type": "image/png"}
        answer = http.post(f"{path}:predict", content=png, headers=headers)
        assert answer.status_code == 200
    for address, status in (("labels/canary", 400), ("versions/2", 404)):
        assert http.get(f"/v1/models/blob/{address}").status_code == status
    # As in TF Serving, letters may be of either case, those of the model excepted.
    assert http.get("/V1/Models/blob/Versions/1/MetaData").status_code == 200
    assert http.get("/v1/models/BLOB").status_code == 404


def test_models_of_volumes_take_no_image(volume_run, tmp_path, png):
    with ServedModel(export(volume_run, tmp_path)) as model:
        http = TestClient(server.create_app(model, "blob"), "http://localhost")
        answer = send(http, png)
    assert answer.status_code == 400
    assert "takes volumes" in answer.json()["error"]
