"""Small PNG and JPEG files that take gigabytes or minutes, in both decoders."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from scn_keras.files import read_image
from scn_keras.inference.decode import decode_image

GREY = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)


def png_with(kind, count):
    """A PNG with compressed texts of 100 kB each."""
    text = zlib.compress(b"a" * 100_000)
    content = b"k\0\0" + text if kind == b"zTXt" else b"k\0\1\0\0\0" + text
    chunk = struct.pack(">I", len(content)) + kind + content
    chunk += struct.pack(">I", zlib.crc32(kind + content))
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "PNG")
    data = out.getvalue()
    return data[:33] + chunk * count + data[33:]


def jpeg_with(count):
    """A progressive JPEG that repeats its last scan."""
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * count + data[-2:]


@pytest.mark.parametrize(
    ("usual", "bomb", "message"),
    [
        (png_with(b"zTXt", 5), png_with(b"zTXt", 21), "20 compressed texts"),
        (png_with(b"iTXt", 5), png_with(b"iTXt", 21), "20 compressed texts"),
        (jpeg_with(1), jpeg_with(120), "100 scans"),
    ],
)
def test_bombs_are_refused_before_they_are_decoded(tmp_path, usual, bomb, message):
    path = tmp_path / "image"
    path.write_bytes(usual)
    np.testing.assert_allclose(read_image(path)[0], GREY, atol=3)
    decoded = decode_image(tf.constant(usual))[..., 0]
    np.testing.assert_allclose(255.0 * decoded, GREY, atol=3)
    path.write_bytes(bomb)
    with pytest.raises(ValueError, match=f"{path}: .* at most {message}"):
        read_image(path)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"more than {message}"):
        decode_image(tf.constant(bomb))
