"""One table of image kinds through both decoders: SimpleITK's and the graph's.

The rows are written by Pillow, SimpleITK or by hand; the grey values are taken from
the bytes by hand. Each row is named in docs/formats.md.
"""

import io
import pathlib
import re
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from scn_keras.files import read_image, read_image_header
from scn_keras.inference.decode import decode_image, image_bytes

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "formats.md"
GREY = np.array([[0, 1, 60, 100], [200, 255, 10, 20]], np.uint8)
DEEP = np.array([[0, 4095, 4096], [1000, 65535, 7]], np.uint16)
ALPHA = np.array([[0, 255, 128, 9], [1, 2, 3, 4]], np.uint8)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
# 0.299, 0.587 and 0.114 of 255, of the grey 10 and of white.
COLOURS = np.array(
    [[RED, GREEN, BLUE], [(10, 10, 10), (255,) * 3, (1, 2, 3)]], np.uint8
)
LUMA = [[76, 150, 29], [10, 255, 2]]
PALETTE = [0, 0, 0, *RED, *GREEN, 255, 255, 255]
PALETTE_LUMA = [[0, 76, 150, 255], [255, 0, 0, 76]]
INDEX = np.array([[0, 1, 2, 3], [3, 0, 0, 1]], np.uint8)


def pillow(image, kind, **options):
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(columns, bits, colours, rows, more=b"", interlace=0):
    """A PNG file; `rows` are without the filter byte, which is 0."""
    header = struct.pack(">IIBBBBB", columns, len(rows), bits, colours, 0, 0, interlace)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + more
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def interlaced(array):
    """A grey PNG of 8 bits in the seven passes of Adam7."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
    data = b""
    for y, x, down, across in [*passes, (0, 1, 2, 2), (1, 0, 2, 1)]:
        part = array[y::down, x::across]
        data += b"".join(b"\0" + row.tobytes() for row in part if part.size)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 8, 0, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def bmp(columns, rows, bits, pixels, palette=b"", compression=0, size=40, masks=b""):
    masks_outside = masks if size == 40 else b""
    begin = 14 + size + len(masks_outside) + len(palette)
    info = struct.pack("<IiiHHII", size, columns, rows, 1, bits, compression, 0)
    info = (info + bytes(16) + (masks if size > 40 else b"")).ljust(size, b"\0")
    file = struct.pack("<IHHI", begin + len(pixels), 0, 0, begin)
    return b"BM" + file + info + masks_outside + palette + pixels


def os2_bmp():
    header = struct.pack("<IHHHH", 12, 4, 9, 1, 8)
    return b"BM" + struct.pack("<IHHI", 68, 0, 0, 32) + header + bytes(6) + bytes(36)


BGR0 = bytes([0, 0, 0, 0, 0, 0, 255, 0, 0, 255, 0, 0, 255, 255, 255, 0])
MASKS = struct.pack("<3I", 0xFF0000, 0xFF00, 0xFF)
ROWS = GREY.tolist()
PLTE = chunk(b"PLTE", bytes(PALETTE))


def deep(*values):
    return struct.pack(f">{len(values)}H", *values)


# Smooth, since YCbCr cannot hold all colours; blocks of 8 x 8 pixels of one value are
# exact in the transform of JPEG.
BLOCKS = np.kron(np.array([[40, 90, 200], [10, 255, 120]], np.uint8), np.ones((8, 8)))
BLOCKS = BLOCKS.astype(np.uint8)
WARM = np.stack([BLOCKS, BLOCKS // 2 + 40, 255 - BLOCKS], axis=-1)
WARM_LUMA = np.rint(WARM @ [0.299, 0.587, 0.114])
INKS = np.dstack([255 - WARM, BLOCKS // 4])  # cyan, magenta, yellow, black
# Without a colour profile: red is (255 - cyan) (255 - black) / 255.
INKS_LUMA = (WARM * (1 - INKS[..., 3:] / 255.0)) @ [0.299, 0.587, 0.114]


def adobe(transform, data):
    """Changes the Adobe segment of a JPEG of four colours; None removes it."""
    at = data.index(b"\xff\xee")
    if transform is None:
        return data[:at] + data[at + 16 :]
    return data[: at + 15] + bytes([transform]) + data[at + 16 :]


CMYK = pillow(Image.fromarray(INKS, "CMYK"), "JPEG", quality=100, subsampling=0)


def ycck():
    """The inks as Photoshop stores them."""
    # The conversion of libjpeg is that of RGB = 255 - CMY, and CMY is inverted.
    ycc = np.asarray(Image.fromarray(INKS[..., :3], "RGB").convert("YCbCr"))
    stored = np.dstack([ycc, 255 - INKS[..., 3]])
    image = Image.fromarray(255 - stored, "CMYK")  # Pillow inverts what it writes
    return adobe(2, pillow(image, "JPEG", quality=100, subsampling=0))


# Name: the bytes, and the grey values of both decoders.
LOSSLESS = {
    "png_8": (pillow(GREY, "PNG"), ROWS),
    "png_16": (pillow(DEEP, "PNG"), DEEP),
    "png_1": (png(4, 1, 0, [b"\xa0", b"\x10"]), [[255, 0, 255, 0], [0, 0, 0, 255]]),
    "png_2": (png(4, 2, 0, [bytes([0b00011011])]), [[0, 85, 170, 255]]),
    "png_4": (png(4, 4, 0, [b"\x0f\x37"]), [[0, 255, 51, 119]]),
    "png_interlaced": (interlaced(np.arange(80, dtype=np.uint8).reshape(8, 10)), None),
    "png_rgb": (pillow(COLOURS, "PNG"), LUMA),
    "png_rgb_16": (
        png(2, 16, 2, [deep(1000, 2000, 3000, 65535, 0, 5)]),
        [[1815, 19596]],  # 299 + 1174 + 342, and 19594.965 + 0.57
    ),
    "png_grey_alpha": (pillow(np.dstack([GREY, ALPHA]), "PNG"), ROWS),
    "png_grey_alpha_16": (png(2, 16, 4, [deep(1000, 5, 65535, 6)]), [[1000, 65535]]),
    "png_rgba": (pillow(np.dstack([COLOURS, COLOURS[..., 1]]), "PNG"), LUMA),
    "png_rgba_16": (
        png(2, 16, 6, [deep(1000, 2000, 3000, 7, 65535, 0, 5, 9)]),
        [[1815, 19596]],
    ),
    "png_grey_transparent": (
        png(4, 8, 0, [bytes([0, 100, 200, 255])], chunk(b"tRNS", deep(100))),
        [[0, 100, 200, 255]],
    ),
    "png_grey_transparent_16": (
        png(2, 16, 0, [deep(100, 2000)], chunk(b"tRNS", deep(100))),
        [[100, 2000]],
    ),
    "png_rgb_transparent": (
        png(2, 8, 2, [bytes([*RED, *GREEN])], chunk(b"tRNS", deep(*RED))),
        [[76, 150]],
    ),
    "png_palette": (png(4, 8, 3, [row.tobytes() for row in INDEX], PLTE), PALETTE_LUMA),
    "png_palette_4": (png(4, 4, 3, [b"\x01\x23", b"\x30\x01"], PLTE), PALETTE_LUMA),
    "png_palette_1": (
        png(4, 1, 3, [b"\xa0"], chunk(b"PLTE", bytes([255, 255, 255, 0, 0, 0]))),
        [[0, 255, 0, 255]],
    ),
    "png_palette_transparent": (
        png(4, 8, 3, [INDEX[0].tobytes()], PLTE + chunk(b"tRNS", b"\0\x80")),
        PALETTE_LUMA[:1],
    ),
    "png_gamma": (
        png(4, 8, 0, [GREY[0].tobytes()], chunk(b"gAMA", struct.pack(">I", 45455))),
        ROWS[:1],
    ),
    "png_significant_bits": (
        png(2, 16, 0, [deep(100, 4095)], chunk(b"sBIT", b"\x0c")),
        [[100, 4095]],
    ),
    "bmp_8": (pillow(GREY, "BMP"), ROWS),
    "bmp_24": (pillow(COLOURS, "BMP"), LUMA),
    "bmp_32": (pillow(np.dstack([COLOURS, COLOURS[..., 1]]), "BMP"), LUMA),
    "bmp_palette": (bmp(4, 2, 8, INDEX[::-1].tobytes(), BGR0), PALETTE_LUMA),
    "bmp_white_is_zero": (
        bmp(4, 1, 8, bytes([0, 1, 2, 255]), bytes(255 - v // 4 for v in range(1024))),
        [[255, 254, 253, 0]],
    ),
    "bmp_top_down": (bmp(4, -2, 8, INDEX.tobytes(), BGR0), PALETTE_LUMA),
    "bmp_version_4": (
        bmp(4, 1, 8, bytes([0, 1, 2, 3]), BGR0, size=108),
        PALETTE_LUMA[:1],
    ),
    "bmp_version_5": (
        bmp(2, 1, 32, bytes([0, 0, 255, 7, 0, 255, 0, 9]), b"", 3, 124, MASKS),
        [[76, 150]],
    ),
    "bmp_fields": (
        bmp(2, 1, 32, bytes([0, 0, 255, 7, 0, 255, 0, 9]), b"", 3, 40, MASKS),
        [[76, 150]],
    ),
    "bmp_bytes_behind": (pillow(GREY, "BMP") + b"\0\0", ROWS),
}
JPEG = {
    "jpeg_grey": (pillow(BLOCKS, "JPEG", quality=95), BLOCKS),
    "jpeg_progressive": (pillow(BLOCKS, "JPEG", progressive=True), BLOCKS),
    "jpeg_ycbcr": (pillow(WARM, "JPEG", quality=98, subsampling=0), WARM_LUMA),
    "jpeg_subsampled": (pillow(WARM, "JPEG", quality=98, subsampling=2), None),
    "jpeg_rgb": (pillow(WARM, "JPEG", quality=98, keep_rgb=True), WARM_LUMA),
    "jpeg_cmyk": (CMYK, INKS_LUMA),
    "jpeg_ycck": (ycck(), INKS_LUMA),
    "jpeg_several_pictures": (
        pillow(
            Image.fromarray(BLOCKS),
            "MPO",
            save_all=True,
            append_images=[Image.fromarray(255 - BLOCKS)],
        ),
        BLOCKS,
    ),
}


def frame(marker=None, bits=None, components=None):
    """A JPEG with another frame header."""
    data = bytearray(pillow(WARM, "JPEG"))
    at = data.index(b"\xff\xc0")
    for offset, value in ((1, marker), (4, bits), (9, components)):
        if value is not None:
            data[at + offset] = value
    return bytes(data)


# Name: the bytes, and parts of the messages of the file's and of the graph's decoder.
REFUSED = {
    "bmp_1": (pillow(GREY > 50, "BMP"), "1 bits a pixel", "not a BMP of 8"),
    "bmp_4": (
        bmp(4, 1, 4, b"\1\x23\0\0", BGR0),
        "4 bits a pixel",
        "not a BMP of 8",
    ),
    "bmp_16": (bmp(2, 1, 16, bytes(4)), "16 bits a pixel", "not a BMP of 8"),
    "bmp_run_length": (
        bmp(4, 1, 8, bytes([2, 1, 2, 3, 0, 0, 0, 1]), BGR0, 1),
        "run-length",
        "run-length",
    ),
    "bmp_run_length_4": (
        bmp(4, 1, 4, bytes([4, 0x12, 0, 0, 0, 1]), BGR0, 2),
        "run-length",
        "run-length",
    ),
    "bmp_other_order": (
        bmp(2, 1, 32, bytes(8), b"", 3, 40, MASKS[::-1]),
        "not in the usual order",
        "not in the usual order",
    ),
    "bmp_os2": (os2_bmp(), "one of OS/2", "not one of Windows"),
    "jpeg_lossless": (
        frame(marker=0xC3),
        "JPEG of lossless",
        "baseline or pro",
    ),
    "jpeg_arithmetic": (frame(marker=0xC9), "arithmetic", "baseline or pro"),
    "jpeg_12": (frame(bits=12), "of 12 bits", "other than 8 bits"),
    "jpeg_two_components": (frame(components=2), "of 2 components", "other than 1, 3"),
    "jpeg_four_unknown": (adobe(None, CMYK), "Adobe segment", "Adobe segment"),
    "gif": (pillow(GREY, "GIF"), "a GIF file", "not a PNG, JPEG or BMP"),
    "webp": (pillow(COLOURS, "WEBP"), "a WEBP file", "not a PNG, JPEG or BMP"),
    "text": (b"no image", "image format of .* unknown", "not a PNG, JPEG or BMP"),
}


def tag(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return pillow(BLOCKS, kind, exif=exif)


def behind_the_pixels(orientation):
    """A PNG whose orientation follows the pixels, in big-endian EXIF."""
    exif = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    data = pillow(BLOCKS, "PNG")
    return data[:-12] + chunk(b"eXIf", exif) + data[-12:]


TAGGED = {
    (kind, number): tag(kind, number)
    for kind in ("JPEG", "PNG")
    for number in range(2, 9)
}
UNTAGGED = [tag("JPEG", 1), tag("PNG", 0), behind_the_pixels(9)]
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
NOISY = pillow(NOISE, "JPEG", quality=95)


def cut():
    """The noise cut off at eight places of its pixels."""
    scan = NOISY.index(b"\xff\xda") + 10
    places = np.linspace(scan + 20, len(NOISY) - 20, 8).astype(int)
    return [NOISY[:place] for place in places]


def test_the_page_has_every_row():
    rows = {*re.findall(r"`([a-z]+_?[\w]*)`", DOCS.read_text("utf-8"))}
    assert {*LOSSLESS, *JPEG, *REFUSED} - rows == set()


@pytest.fixture(scope="module")
def graph():
    """Decodes in a graph: all at once, since each new seed makes TensorFlow slow."""
    function = tf.function(decode_image, input_signature=[tf.TensorSpec((), tf.string)])
    tables = [*LOSSLESS.values(), *JPEG.values(), *REFUSED.values()]
    results = {}
    for data in [row[0] for row in tables] + [*TAGGED.values(), *UNTAGGED, *cut()]:
        try:
            results[data] = function(tf.constant(data)).numpy()
        except tf.errors.InvalidArgumentError as error:
            results[data] = error

    def decode(data):
        if isinstance(results[data], Exception):
            raise results[data]
        return results[data]

    return decode


def both(data, folder, graph):
    """The grey levels by SimpleITK and by the graph, as integers."""
    path = folder / "image"
    path.write_bytes(data)
    array, affine = read_image(path)
    assert affine is None
    header = read_image_header(path)
    assert header.shape == array.shape and header.dtype == array.dtype.name
    decoded = graph(data)[..., 0] * np.iinfo(array.dtype).max
    np.testing.assert_allclose(decoded, np.rint(decoded), rtol=0, atol=4e-3)
    return array.astype(int), np.rint(decoded).astype(int)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless(name, tmp_path, graph):
    data, expected = LOSSLESS[name]
    if expected is None:
        expected = np.asarray(Image.open(io.BytesIO(data)))
    array, decoded = both(data, tmp_path, graph)
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize("name", JPEG)
def test_jpeg(name, tmp_path, graph):
    data, expected = JPEG[name]
    array, decoded = both(data, tmp_path, graph)
    assert np.abs(decoded - array).max() <= 1
    if expected is not None:
        # Quantisation, and the conversion to YCbCr and back.
        assert np.abs(array - expected).max() <= 3
    assert np.ptp(array) > 70


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path, graph):
    data, by_files, by_graph = REFUSED[name]
    path = tmp_path / "image"
    path.write_bytes(data)
    for read in (read_image, read_image_header):
        with pytest.raises(ValueError, match=by_files) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(tf.errors.InvalidArgumentError, match=by_graph):
        graph(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_refused(kind, orientation, tmp_path, graph):
    data = TAGGED[kind, orientation]
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(ValueError, match=f"tag {orientation}: .*scn-keras turn"):
        read_image(tmp_path / "image")
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=rf"scn-keras turn(.|\n)*\b{orientation}\b"
    ):
        graph(data)


@pytest.mark.parametrize("data", [tag("JPEG", 6), tag("PNG", 6), behind_the_pixels(6)])
def test_stored_pixels_of_old_models(data, tmp_path):
    (tmp_path / "image").write_bytes(data)
    array, _ = read_image(tmp_path / "image", stored_pixels=True)
    decoded = decode_image(tf.constant(data), refuse_orientation=False)
    np.testing.assert_array_equal(np.rint(decoded[..., 0] * 255), array)
    assert array.shape == BLOCKS.shape


@pytest.mark.parametrize("data", UNTAGGED)
def test_tags_without_meaning(data, tmp_path, graph):
    both(data, tmp_path, graph)


def test_damaged_jpegs_are_refused_by_files_and_cut_ones_by_the_graph(tmp_path, graph):
    path = tmp_path / "image"
    for start in cut():
        # A stretch of zeros, as of a lost block on a disk, and the end of the file.
        for damaged in (start + bytes(12) + NOISY[len(start) + 12 :], start):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="damaged: .*/image: .*JPEG data"):
                read_image(path)
        with pytest.raises(tf.errors.InvalidArgumentError, match="Invalid JPEG"):
            graph(start)


def test_the_limit_counts_channels_and_bytes():
    grey = pillow(np.zeros((100, 100), np.uint8), "PNG")
    deep = png(100, 16, 6, [bytes(800)] * 100)
    # A pixel counts at least two bytes; four channels of two bytes are eight.
    decode_image(tf.constant(grey), max_bytes=20_000)
    decode_image(tf.constant(deep), max_bytes=80_000)
    for data, bytes_ in ((grey, 20_000), (deep, 80_000)):
        assert image_bytes(tf.constant(data)) == bytes_
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{bytes_ - 1} bytes"):
            decode_image(tf.constant(data), max_bytes=bytes_ - 1)
