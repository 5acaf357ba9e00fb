"""What a served model refuses before its graph, in sentences."""

import io

import numpy as np
import pytest
from PIL import Image

from scn_keras.saved_models.server.served_model import ServedModel

SPACING = np.array([[0.1, 0.1]], np.float32)


@pytest.fixture(scope="module")
def model(blob_model):
    with ServedModel(blob_model) as model:
        yield model


def saved(kind, **options):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


def damaged():
    data = saved("JPEG", quality=95)
    middle = len(data) // 2
    return data[:middle] + bytes(12) + data[middle + 12 :]


def one_bit():
    file = io.BytesIO()
    Image.fromarray(np.eye(16) > 0).save(file, "BMP")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (saved("GIF"), "Image 0 is not a PNG, JPEG or BMP file"),
        (
            b"text",
            "Image 0 is not a PNG, JPEG or BMP file. Received: 4 bytes that",
        ),
        (b"", "Image 0 is not a PNG, JPEG or BMP file"),
        (one_bit(), "Image 0 cannot be used: it is a BMP of 1 bits a pixel"),
        (damaged(), "Image 0 is damaged: Corrupt JPEG data"),
        (saved("JPEG")[:900], "Image 0 is damaged: the JPEG data end before"),
    ],
)
def test_images(model, data, message):
    inputs = {"image_bytes": np.array([data], object), "spacing_mm": SPACING}
    with pytest.raises(ValueError, match=message):
        model.submit("serving_default", inputs)


def test_types_and_names(model):
    image = np.array([saved("PNG")], object)
    for inputs, message in (
        (
            {"image_bytes": image, "spacing_mm": SPACING.astype(float)},
            "`spacing_mm` of serving_default must be float32. Received: float64",
        ),
        (
            {"image_bytes": SPACING[:, 0], "spacing_mm": SPACING},
            "`image_bytes` of serving_default must be bytes. Received: float32",
        ),
        ({"image_bytes": image}, "must have the inputs image_bytes, spacing_mm"),
    ):
        with pytest.raises(ValueError, match=message):
            model.submit("serving_default", inputs)


@pytest.mark.parametrize("number", [-1, 1000])
def test_landmarks_out_of_range(model, number):
    call = model.submit("landmarks", {"landmark": np.array([number], np.int32)})
    with pytest.raises(ValueError, match=rf"must be from 0 to \d+. Received: {number}"):
        call.result()
