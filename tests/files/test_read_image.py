import gzip
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from scn_keras.files import read_image, read_image_header

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def grey():
    rows, columns = np.mgrid[:48, :40]
    return (3 * rows + 2 * columns).astype(np.uint8)


@pytest.fixture
def colour(grey):
    return np.stack([grey, 255 - grey, grey // 2], axis=-1)


def write(array, path, spacing=None, origin=None, direction=None):
    image = sitk.GetImageFromArray(array)
    if spacing:
        image.SetSpacing(spacing)
    if origin:
        image.SetOrigin(origin)
    if direction:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "PNG"])
def test_grey_files_are_read_exactly_and_have_no_millimetres(tmp_path, grey, suffix):
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(grey).save(path)
    array, affine = read_image(path)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, grey)
    assert affine is None


@pytest.mark.parametrize("name", ["film.jpg", "film.JPEG", "film", "film.png"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_read_like_pillow_does_whatever_its_name(
    tmp_path, grey, name, progressive
):
    path = tmp_path / name
    Image.fromarray(grey).save(path, "jpeg", progressive=progressive)
    array, _ = read_image(path)
    np.testing.assert_array_equal(array, np.asarray(Image.open(path)))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_print_density_is_not_taken_for_patient_spacing(tmp_path, grey, suffix):
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(grey).save(path, dpi=(254, 254))
    _, affine = read_image(path)
    assert affine is None


def test_sixteen_bits_are_kept(tmp_path, grey):
    path = tmp_path / "film.png"
    deep = grey.astype(np.uint16) * 257
    Image.fromarray(deep).save(path)
    array, _ = read_image(path)
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array, deep)


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_colour_becomes_luma(tmp_path, colour, suffix):
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(colour).save(path)
    array, _ = read_image(path)
    assert array.dtype == np.uint8
    # Pillow computes the same luma in fixed point.
    luma = np.asarray(Image.fromarray(colour).convert("L")).astype(int)
    assert np.abs(array - luma).max() <= 1
    assert array[0, 0] == round(0.587 * 255)


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_palette_becomes_luma(tmp_path, grey, suffix):
    image = Image.fromarray(grey % 4, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / f"film.{suffix}")
    array, _ = read_image(tmp_path / f"film.{suffix}")
    assert array.shape == grey.shape
    # Red, green and blue by ITU-R BT.601.
    np.testing.assert_array_equal(array, np.array([0, 76, 150, 29])[grey % 4])


def test_sixteen_bit_colour_becomes_luma_of_sixteen_bits(tmp_path, colour):
    deep = colour.astype(np.uint16) * 257
    sitk.WriteImage(
        sitk.GetImageFromArray(deep, isVector=True), str(tmp_path / "film.tif")
    )
    array, _ = read_image(tmp_path / "film.tif")
    assert array.dtype == np.uint16
    np.testing.assert_allclose(array, deep @ [0.299, 0.587, 0.114], atol=0.5)


def test_grey_stored_three_times_stays_exact(tmp_path, grey):
    path = tmp_path / "film.png"
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(path)
    array, _ = read_image(path)
    np.testing.assert_array_equal(array, grey)


def test_alpha_is_dropped(tmp_path, grey):
    path = tmp_path / "film.png"
    Image.fromarray(np.dstack([grey, grey, grey, 255 - grey])).save(path)
    array, _ = read_image(path)
    np.testing.assert_array_equal(array, grey)


@pytest.mark.parametrize("suffix", ["mha", "mhd", "nrrd", "nii", "nii.gz"])
def test_spacing_and_origin_of_medical_formats(tmp_path, grey, suffix):
    path = write(grey, tmp_path / f"film.{suffix}", (0.1, 0.2), (3.0, 4.0))
    array, affine = read_image(str(path))
    np.testing.assert_array_equal(array, grey)
    assert affine.dtype == np.float64
    np.testing.assert_allclose(affine, [[0.1, 0, 3], [0, 0.2, 4], [0, 0, 1]], rtol=1e-6)


@pytest.mark.parametrize("suffix", ["mha", "nrrd"])
def test_direction_is_in_the_affine(tmp_path, grey, suffix):
    path = write(grey, tmp_path / f"film.{suffix}", (0.1, 0.2), (3, 4), (0, 1, -1, 0))
    _, affine = read_image(path)
    point = affine @ [10, 20, 1]
    expected = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((10, 20))
    np.testing.assert_allclose(point[:2], expected)


def test_headers_without_spacing_give_no_affine(tmp_path, grey):
    header = "ObjectType = Image\nNDims = 2\nDimSize = 40 48\nElementType = MET_UCHAR\n"
    (tmp_path / "a.mha").write_bytes(
        f"{header}ElementDataFile = LOCAL\n".encode() + grey.tobytes()
    )
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 40 48\nencoding: raw\n\n"
        + grey.tobytes()
    )
    for name in ("a.mha", "a.nrrd"):
        array, affine = read_image(tmp_path / name)
        np.testing.assert_array_equal(array, grey)
        assert affine is None


def test_volume_keeps_three_axes(tmp_path):
    volume = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    path = write(volume, tmp_path / "head.nrrd", (1.0, 2.0, 3.0), (5.0, 6.0, 7.0))
    array, affine = read_image(path)
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, volume)
    np.testing.assert_allclose(
        affine, [[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]
    )


def test_single_axial_slice_is_an_image_in_space(tmp_path, grey):
    direction = (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    path = write(grey[None], tmp_path / "s.mha", (0.1, 0.2, 5), (3, 4, 9), direction)
    array, affine = read_image(path)
    np.testing.assert_array_equal(array, grey)
    np.testing.assert_allclose(affine, [[-0.1, 0, 3], [0, -0.2, 4], [0, 0, 1]])


def test_single_sagittal_slice_gets_the_axes_of_its_own_plane(tmp_path, grey):
    direction = (0, 0, 1, 1, 0, 0, 0, -1, 0)  # x runs to posterior, y downwards
    path = write(grey[None], tmp_path / "s.mha", (0.1, 0.2, 5), (3, 4, 9), direction)
    _, affine = read_image(path)
    np.testing.assert_allclose(affine, np.diag([0.1, 0.2, 1.0]))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: .*film.png"):
        read_image(tmp_path / "film.png")


def test_folder(tmp_path):
    with pytest.raises(ValueError, match="one DICOM series. Received: none in "):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "mha", "dcm"])
def test_empty_file(tmp_path, suffix):
    path = tmp_path / f"film.{suffix}"
    path.touch()
    with pytest.raises(ValueError, match=rf"empty \(0 bytes\): .*film.{suffix}"):
        read_image(path)


def test_file_that_is_no_image(tmp_path):
    path = tmp_path / "film.png"
    path.write_text("not found")
    with pytest.raises(ValueError, match="image format of .*film"):
        read_image(path)


@pytest.mark.parametrize("part", [0.5, 0.9, 0.999])
@pytest.mark.parametrize(
    "suffix", ["png", "jpg", "bmp", "tif", "mha", "nrrd", "nii", "nii.gz"]
)
def test_cut_file_is_an_error_of_one_sentence(tmp_path, grey, suffix, part):
    path = tmp_path / f"film.{suffix}"
    if suffix in ("png", "jpg", "bmp", "tif"):
        Image.fromarray(grey).save(path)
    else:
        write(grey, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ValueError, match=f"film.{suffix}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 150


def test_cut_progressive_jpeg_with_a_thumbnail(tmp_path, grey):
    path = tmp_path / "film.jpg"
    Image.fromarray(grey).save(tmp_path / "thumbnail.jpg")
    thumbnail = (tmp_path / "thumbnail.jpg").read_bytes()
    exif = b"Exif\x00\x00" + thumbnail
    Image.fromarray(grey).save(path, progressive=True, exif=exif)
    data = path.read_bytes()
    assert data.count(b"\xff\xd9") == 2
    read_image(path)
    path.write_bytes(data[:-40])
    with pytest.raises(ValueError, match="end before the end marker"):
        read_image(path)


def test_damaged_compressed_volume(tmp_path):
    path = write(np.zeros((4, 8, 8), np.uint8), tmp_path / "head.nii.gz")
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 0xFF  # in the checksum
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="compressed data end too early or are dam"):
        read_image(path)


def test_nifti_that_promises_more_than_it_holds(tmp_path):
    path = write(np.zeros((4, 8, 8), np.uint8), tmp_path / "head.nii.gz")
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<h", raw, 46, 5)  # five slices instead of four
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(ValueError, match="608 bytes where the header promises 672"):
        read_image(path)


@pytest.mark.parametrize("extra", [b"\x00" * 7, b"trailing"])
def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path, grey, extra):
    path = tmp_path / "film.jpg"
    Image.fromarray(grey).save(path)
    expected, _ = read_image(path)
    path.write_bytes(path.read_bytes() + extra)
    array, _ = read_image(path)
    np.testing.assert_array_equal(array, expected)


def test_odd_number_of_channels(tmp_path):
    path = tmp_path / "field.mha"
    image = sitk.GetImageFromArray(np.zeros((4, 4, 5), np.float32), isVector=True)
    sitk.WriteImage(image, str(path))
    with pytest.raises(ValueError, match="field.mha .*Received: 5 channels"):
        read_image(path)


def test_pages_of_a_tiff_are_refused(tmp_path, grey):
    path = tmp_path / "film.tif"
    pages = [Image.fromarray(grey)] * 2
    Image.fromarray(grey).save(path, save_all=True, append_images=pages)
    with pytest.raises(
        ValueError, match="one volume. Received: 3 frames in .*film.tif"
    ):
        read_image(path)


def test_four_axes_are_refused(tmp_path):
    path = tmp_path / "t.nii.gz"
    sitk.WriteImage(sitk.Image([4, 5, 6, 7], sitk.sitkUInt8), str(path))
    with pytest.raises(ValueError, match="Received: 4 axes in .*t.nii.gz"):
        read_image(path)


def png_that_promises(width, height):
    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "film.png"
    path.write_bytes(png_that_promises(100_000, 100_000))
    tracemalloc.start()
    with pytest.raises(
        ValueError,
        match="film.png declares 100000 x 100000 pixels, .* limit of 536,870,912",
    ):
        read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_nifti_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = write(np.zeros((4, 8, 8), np.uint8), tmp_path / "head.nii.gz")
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<3h", raw, 42, 30000, 30000, 30000)
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(ValueError, match="30000 x 30000 x 30000 pixels, more than"):
        read_image(path)


def test_the_limit_is_an_argument(tmp_path, grey):
    path = tmp_path / "film.png"
    Image.fromarray(grey).save(path)
    read_image(path, max_pixels=48 * 40)
    with pytest.raises(
        ValueError, match="40 x 48 pixels, more than the limit of 1,919"
    ):
        read_image(path, max_pixels=48 * 40 - 1)


@pytest.mark.parametrize("name", ["film.nii.gz", "film.mha", "film.dcm", "film.tif"])
def test_wrong_format_under_a_right_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"this is no image, whatever its name says\n" * 30)
    with pytest.raises(ValueError, match=name):
        read_image(path)


def test_header_says_what_the_image_will_be(tmp_path):
    volume = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    path = write(volume, tmp_path / "head.nrrd", (1.0, 2.0, 3.0), (5.0, 6.0, 7.0))
    header = read_image_header(path)
    array, affine = read_image(path)
    assert header.shape == array.shape
    assert header.dtype == "int16"
    np.testing.assert_array_equal(header.affine, affine)
    np.testing.assert_array_equal(header.index_to_space, affine)


def test_header_of_a_film_has_a_space_and_no_affine(tmp_path, grey):
    path = tmp_path / "film.jpg"
    Image.fromarray(grey).save(path, dpi=(254, 254))
    header = read_image_header(path)
    assert header.affine is None
    # As ITK, and 3D Slicer with it, has the film: with its print density.
    image = sitk.ReadImage(str(path))
    np.testing.assert_allclose(
        header.index_to_space[:2, :2].diagonal(), image.GetSpacing(), rtol=1e-6
    )
    assert header.index_to_space[2, 2] == 1.0


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.uint8, "uint8"),
        (np.int8, "int16"),
        (np.uint16, "uint16"),
        (np.int16, "int16"),
        (np.int32, "float32"),
        (np.float64, "float32"),
    ],
)
def test_header_says_in_which_type_the_values_fit(tmp_path, stored, expected):
    path = write(np.zeros((2, 3, 4), stored), tmp_path / "head.mha")
    assert read_image_header(path).dtype == expected


def test_importing_files_does_not_load_simpleitk():
    code = "import sys, scn_keras.files; sys.exit('SimpleITK' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_real_hand_volume_has_the_spacing_of_its_header(shared_data):
    array, affine = read_image(shared_data / "hand" / "images" / "7081.mha")
    assert array.shape == (1913, 1216)  # DimSize = 1216 1913 1
    assert array.dtype == np.uint8
    np.testing.assert_allclose(affine, np.diag([0.147323, 0.147323, 1.0]))


def test_real_cephalogram_equals_pillow(shared_data):
    folder = shared_data / "cephalogram" / "RawImage" / "TrainingData"
    array, affine = read_image(folder / "001.jpg")
    np.testing.assert_array_equal(
        array, np.asarray(Image.open(folder / "001.jpg"))[..., 0]
    )
    assert affine is None
