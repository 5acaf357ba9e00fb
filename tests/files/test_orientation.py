import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from scn_keras.files import read_image, read_image_header
from scn_keras.files.orientation import read_orientation, upright, upright_affine

PIXELS = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
# The first row of each picture, written down from the TIFF 6.0 specification: where row
# 0 and column 0 of the stored pixels 0 40 80 / 120 160 200 are shown.
SHOWN = {
    1: [[0, 40, 80], [120, 160, 200]],
    2: [[80, 40, 0], [200, 160, 120]],
    3: [[200, 160, 120], [80, 40, 0]],
    4: [[120, 160, 200], [0, 40, 80]],
    5: [[0, 120], [40, 160], [80, 200]],
    6: [[120, 0], [160, 40], [200, 80]],
    7: [[200, 80], [160, 40], [120, 0]],
    8: [[80, 200], [40, 160], [0, 120]],
}


def exif(orientation):
    data = Image.Exif()
    data[274] = orientation
    return data


def write(path, orientation, **options):
    Image.fromarray(PIXELS).save(path, exif=exif(orientation), **options)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tag_of_files_by_pillow(tmp_path, suffix, orientation):
    path = write(tmp_path / f"film.{suffix}", orientation)
    assert read_orientation(path) == orientation


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp"])
def test_no_tag_is_upright(tmp_path, suffix):
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(PIXELS).save(path)
    assert read_orientation(path) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_and_points_are_turned_as_pillow_turns_them(orientation):
    np.testing.assert_array_equal(upright(PIXELS, orientation), SHOWN[orientation])
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", exif=exif(orientation))
    shown = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(upright(PIXELS, orientation), shown)
    affine = upright_affine((3, 2), orientation)
    for y, x in np.ndindex(2, 3):
        column, row, _ = (affine @ [x, y, 1]).astype(int)
        assert shown[row, column] == PIXELS[y, x]


def tiff(order, kind, value, big=False):
    """The shortest TIFF directory: one tag."""
    magic = 43 if big else 42
    data = struct.pack(order + "2sH", b"II" if order == "<" else b"MM", magic)
    padded = struct.pack(order + {1: "B", 3: "H", 4: "I"}[kind], value)
    if big:
        data += struct.pack(order + "HHQ", 8, 0, 16)
        data += struct.pack(order + "QHHQ", 1, 274, kind, 1)
        return data + padded.ljust(8, b"\0")
    data += struct.pack(order + "I", 8)
    return data + struct.pack(order + "HHHI", 1, 274, kind, 1) + padded.ljust(4, b"\0")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4])
@pytest.mark.parametrize("big", [False, True])
def test_all_forms_of_the_tag(tmp_path, order, kind, big):
    path = tmp_path / "film.tif"
    path.write_bytes(tiff(order, kind, 6, big))
    assert read_orientation(path) == 6


@pytest.mark.parametrize("value", [0, 9, 255])
def test_other_numbers_mean_nothing(tmp_path, value):
    (tmp_path / "film.tif").write_bytes(tiff("<", 3, value))
    assert read_orientation(tmp_path / "film.tif") == 1


def test_exif_after_the_pixels_of_a_png(tmp_path):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    data = file.getvalue()
    chunk = b"eXIf" + tiff(">", 3, 8)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    (tmp_path / "film.png").write_bytes(data[:-12] + chunk + data[-12:])
    assert read_orientation(tmp_path / "film.png") == 8


def test_pictures_of_several_views(tmp_path):
    path = tmp_path / "film.mpo"
    pages = [Image.fromarray(PIXELS)]
    first = Image.fromarray(PIXELS)
    first.save(path, save_all=True, append_images=pages, exif=exif(3))
    assert read_orientation(path) == 3


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_files_cut_anywhere_give_a_number(tmp_path, suffix):
    data = write(tmp_path / f"film.{suffix}", 6).read_bytes()
    for size in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:size])
        assert read_orientation(tmp_path / "cut") in (1, 6)


def test_a_folder_has_none(tmp_path):
    assert read_orientation(tmp_path) == 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_tagged_files_are_refused_with_the_command_that_turns_them(tmp_path, suffix):
    path = write(tmp_path / f"a film.{suffix}", 6)
    for read in (read_image, read_image_header):
        with pytest.raises(ValueError, match="tag 6: .* by 90 degrees cl") as caught:
            read(path)
        assert f"`scn-keras turn '{path}' --out FOLDER`" in str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_pixels_of_a_tagged_tiff_are_those_of_the_file(
    tmp_path, dtype, orientation
):
    pixels = PIXELS.astype(dtype) * (257 if dtype == np.uint16 else 1)
    path = tmp_path / "film.tif"
    Image.fromarray(pixels).save(path, tiffinfo={274: orientation})
    before = path.read_bytes()
    array, _ = read_image(path, stored_pixels=True)
    assert array.dtype == dtype
    assert read_image_header(path, stored_pixels=True).dtype == array.dtype.name
    np.testing.assert_array_equal(array, pixels)
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_stored_pixels_of_other_tagged_files(tmp_path, suffix):
    upright_file, tagged = tmp_path / f"upright.{suffix}", tmp_path / f"film.{suffix}"
    Image.fromarray(PIXELS).save(upright_file)
    write(tagged, 8)
    expected, _ = read_image(upright_file)
    found, _ = read_image(tagged, stored_pixels=True)
    np.testing.assert_array_equal(found, expected)
