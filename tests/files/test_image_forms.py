"""Forms of TIFF, DICOM and NIfTI files: hand-made bytes, values taken by hand."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scn_keras.files import read_image, read_image_header

# TIFF, by TIFF 6.0


def tiff(columns, bits, photometric, samples, pixels, **more):
    """A little-endian TIFF of one row; `more` are SHORT tags like `t339`."""
    tags = {256: columns, 257: 1, 258: bits, 259: 1, 262: photometric, 277: samples}
    tags |= {278: 1, 279: len(pixels)} | {int(k[1:]): v for k, v in more.items()}
    tags[273] = None
    begin = 8 + 2 + 12 * len(tags) + 4
    lists = b""
    entries = b""
    for tag, value in sorted(tags.items()):
        numbers = [bits] * samples if tag == 258 else value
        if isinstance(numbers, list) and len(numbers) > 2:
            entries += struct.pack("<HHII", tag, 3, len(numbers), begin + len(lists))
            lists += struct.pack(f"<{len(numbers)}H", *numbers)
            continue
        numbers = numbers if isinstance(numbers, list) else [numbers]
        if tag == 273:
            numbers = [begin + (2 * samples if samples > 2 else 0) + _lists(more)]
        form = struct.pack(f"<{len(numbers)}H", *numbers).ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, 3, len(numbers)) + form
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + entries + bytes(4) + lists + pixels


def _lists(more):
    return sum(2 * len(v) for v in more.values() if isinstance(v, list) and len(v) > 2)


def words(*values):
    return struct.pack(f"<{len(values)}H", *[value & 0xFFFF for value in values])


PALETTE = [65535, 0, 0, 2570] + [0] * 12 + [0, 65535, 0, 2570] + [0] * 12
PALETTE += [0, 0, 65535, 2570] + [0] * 12  # red, green, blue and a grey
TIFFS = {
    "tiff_8": (tiff(3, 8, 1, 1, b"\0\x64\xff"), [0, 100, 255]),
    "tiff_16": (tiff(2, 16, 1, 1, words(4095, 300)), [4095, 300]),
    "tiff_1": (tiff(8, 1, 1, 1, b"\xa0"), [255, 0, 255, 0, 0, 0, 0, 0]),
    "tiff_4": (tiff(4, 4, 1, 1, b"\x0f\x37"), [0, 255, 51, 119]),
    "tiff_signed": (tiff(2, 16, 1, 1, words(-5, 300), t339=2), [-5, 300]),
    "tiff_float": (tiff(2, 32, 1, 1, struct.pack("<2f", 0.5, -2), t339=3), [0.5, -2]),
    "tiff_white_is_zero": (tiff(3, 8, 0, 1, b"\0\x64\xff"), [255, 155, 0]),
    "tiff_white_is_zero_16": (tiff(2, 16, 0, 1, words(0, 65000)), [65535, 535]),
    "tiff_white_is_zero_1": (tiff(8, 1, 0, 1, b"\xa0"), [0, 255, 0, 255] + [255] * 4),
    "tiff_rgb": (tiff(2, 8, 2, 3, bytes([255, 0, 0, 0, 255, 0])), [76, 150]),
    "tiff_rgba": (tiff(2, 8, 2, 4, bytes([255, 0, 0, 7, 0, 255, 0, 9])), [76, 150]),
    "tiff_rgb_16": (tiff(1, 16, 2, 3, words(1000, 2000, 3000)), [1815]),
    "tiff_palette": (
        tiff(8, 4, 3, 1, bytes([0x01, 0x23, 0, 0]), t320=PALETTE),
        # 0.299, 0.587 and 0.114 of 255, and 2570 / 257.
        [76, 150, 29, 10, 76, 76, 76, 76],
    ),
    "tiff_cmyk": (
        # Cyan 55 and black 100 of 255: 200, 255 and 255 times 155 / 255.
        tiff(2, 8, 5, 4, bytes([0, 0, 0, 0, 55, 0, 0, 100])),
        [255, 145],
    ),
    "tiff_ycbcr": (
        tiff(2, 8, 6, 3, bytes([100, 128, 128, 50, 128, 128]), t530=[1, 1]),
        [100, 50],
    ),
}
TIFFS_REFUSED = {
    "tiff_grey_alpha": (tiff(2, 8, 1, 2, bytes(4)), "2 channels, for example gr"),
    "tiff_12": (tiff(2, 12, 1, 1, bytes(3)), "unsigned and have 12 bits"),
    "tiff_half": (
        tiff(2, 16, 1, 1, bytes(4), t339=3),
        "floating-point and have 16",
    ),
    "tiff_double": (tiff(2, 64, 1, 1, bytes(16), t339=3), "floating-point and have 64"),
    "tiff_complex": (tiff(1, 64, 1, 1, bytes(8), t339=6), "unknown and have 64 bits"),
    "tiff_lab": (tiff(1, 8, 8, 3, bytes(3)), r"interpretation is 8 \(CIELab\)"),
    "tiff_mask": (tiff(8, 1, 4, 1, bytes(1)), "transparency mask"),
    "tiff_five_channels": (tiff(1, 8, 2, 5, bytes(5)), "5 channels, .* not usual"),
    "tiff_white_is_zero_signed": (
        tiff(1, 16, 0, 1, bytes(2), t339=2),
        "WhiteIsZero",
    ),
    "tiff_other_inks": (tiff(1, 8, 5, 4, bytes(4), t332=2), "inks are not CMYK"),
}

# DICOM, by PS3.3 C.7.6.3 and PS3.5


def element(group, number, form, value):
    value = value.encode() if isinstance(value, str) else value
    value += b"\0" * (len(value) % 2)
    long = form in ("OB", "OW", "SQ")
    length = struct.pack("<HI" if long else "<H", *[0] * long, len(value))
    return struct.pack("<HH", group, number) + form.encode() + length + value


def dicom(
    pixels, stored=12, high=None, allocated=16, signed=0, photometric="", more=()
):
    high, samples = stored - 1 if high is None else high, 1
    if photometric[:3] in ("RGB", "YBR", "HSV"):
        samples = 3
    meta = [(2, 2, "UI", "1.2.840.10008.5.1.4.1.1.7"), (2, 3, "UI", "1.2.3")]
    meta.append((2, 16, "UI", "1.2.840.10008.1.2.1"))
    start = b"".join(element(*part) for part in meta)
    start = element(2, 0, "UL", struct.pack("<I", len(start))) + start
    numbers = {2: samples, 0x10: 1, 0x11: len(pixels) * 8 // allocated // samples}
    numbers |= {0x100: allocated, 0x101: stored, 0x102: high, 0x103: signed}
    if samples == 3:
        numbers[6] = 0
    parts = [(0x28, key, "US", words(value)) for key, value in numbers.items()]
    parts.append((0x28, 4, "CS", photometric or "MONOCHROME2"))
    parts.append((0x7FE0, 0x10, "OB" if allocated == 8 else "OW", pixels))
    parts += [(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.7"), (8, 0x18, "UI", "1.2.3")]
    body = b"".join(element(*part) for part in sorted([*parts, *more]))
    return bytes(128) + b"DICM" + start + body


def table(*values):
    """A lookup table of 16 bits from 0, as one item of a sequence."""
    content = element(0x28, 0x3002, "US", words(len(values), 0, 16))
    content += element(0x28, 0x3006, "OW", words(*values))
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


COLOURS = {"stored": 8, "allocated": 8}
LUTS = [
    (0x28, 0x1201 + k, "OW", words(*(65535 * (k == n) for n in range(3)), 2570))
    for k in range(3)
] + [(0x28, 0x1101 + k, "US", words(4, 0, 16)) for k in range(3)]
ROWS = words(0, 100, 4095, 300)
RESCALE = [(0x28, 0x1052, "DS", "-1000"), (0x28, 0x1053, "DS", "2")]
DICOMS = {
    "dicom_12_of_16": (dicom(ROWS), [0, 100, 4095, 300]),
    "dicom_signed": (dicom(words(0xFFB, 100, 0x800), signed=1), [-5, 100, -2048]),
    "dicom_bits_above": (dicom(words(0xF000, 0x3064, 4095, 300)), [0, 100, 4095, 300]),
    "dicom_rescale": (dicom(ROWS, more=RESCALE), [-1000, -800, 7190, -400]),
    "dicom_monochrome1": (
        dicom(ROWS, photometric="MONOCHROME1"),
        [4095, 3995, 0, 3795],
    ),
    "dicom_monochrome1_rescale": (
        dicom(ROWS, photometric="MONOCHROME1", more=RESCALE),
        [7190, 6990, -1000, 6590],
    ),
    "dicom_window": (
        dicom(ROWS, more=[(0x28, 0x1050, "DS", "9"), (0x28, 0x1051, "DS", "9")]),
        [0, 100, 4095, 300],
    ),
    "dicom_voi_table": (
        dicom(ROWS, more=[(0x28, 0x3010, "SQ", table(9, 8, 7))]),
        [0, 100, 4095, 300],
    ),
    "dicom_rgb": (
        dicom(bytes([255, 0, 0, 0, 255, 0]), photometric="RGB", **COLOURS),
        [76, 150],
    ),
    "dicom_ybr_full": (
        dicom(bytes([100, 128, 128, 9, 128, 128]), photometric="YBR_FULL", **COLOURS),
        [100, 9],
    ),
    "dicom_palette": (
        dicom(bytes(range(4)), photometric="PALETTE COLOR", more=LUTS, **COLOURS),
        [76, 150, 29, 10],
    ),
}
DICOMS_REFUSED = {
    "dicom_high_bit": (dicom(words(16, 32), high=15), "High Bit is 15 with 12 Bits St"),
    "dicom_modality_table": (
        dicom(ROWS, more=[(0x28, 0x3000, "SQ", table(9, 8, 7))]),
        "Modality LUT Sequence",
    ),
    "dicom_1": (dicom(b"\5\0", 1, allocated=1), "Bits Allocated are 1;"),
    "dicom_hsv": (
        dicom(bytes(6), photometric="HSV", **COLOURS),
        "Photometric Interpretation is HSV",
    ),
    "dicom_inverse": (
        dicom(ROWS, more=[(0x2050, 0x20, "CS", "INVERSE")]),
        "inverse Presentation LUT Shape",
    ),
    "dicom_monochrome1_signed": (
        dicom(ROWS, photometric="MONOCHROME1", signed=1),
        "MONOCHROME1 with signed numbers",
    ),
    "dicom_frames": (
        dicom(ROWS, more=[(0x28, 8, "IS", "2")]).replace(
            element(0x28, 0x11, "US", words(4)), element(0x28, 0x11, "US", words(2))
        ),
        "one image or one volume. Received: 2 frames",
    ),
}

# NIfTI-1


def nifti(sizes=(4, 3, 2), data=None, datatype=(4, 16), pixdim=(2, 3, 4), **fields):
    header = bytearray(352)
    rank = fields.get("rank", len(sizes))
    struct.pack_into("<i", header, 0, fields.get("header", 348))
    struct.pack_into("<8h", header, 40, rank, *sizes, *[1] * (7 - len(sizes)))
    struct.pack_into("<2h", header, 70, *datatype)
    struct.pack_into("<4f", header, 76, 1, *pixdim)
    struct.pack_into("<3f", header, 108, 352, *fields.get("scale", (1, 0)))
    header[123] = fields.get("units", 2)
    struct.pack_into("<2h", header, 252, *fields.get("codes", (1, 0)))
    struct.pack_into("<3f", header, 268, *fields.get("offset", (5, 6, 7)))
    struct.pack_into("<12f", header, 280, *np.ravel(fields.get("rows", np.zeros(12))))
    header[344:348] = fields.get("magic", b"n+1\0")
    values = np.arange(np.prod(sizes), dtype=np.int16) if data is None else data
    return bytes(header) + bytes(values)


SFORM = [[2, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7]]
SHEARED = [[2, 1, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7]]
# LPS: x and y have the opposite sign of NIfTI's RAS.
AFFINE = np.array([[-2, 0, 0, -5], [0, -3, 0, -6], [0, 0, 4, 7], [0, 0, 0, 1.0]])
NIFTIS = {
    "nifti_qform": nifti(),
    "nifti_sform": nifti(codes=(0, 1), rows=SFORM),
    "nifti_both": nifti(codes=(1, 2), rows=SFORM),
    "nifti_metres": nifti(
        units=1, pixdim=(0.002, 0.003, 0.004), offset=(0.005, 0.006, 0.007)
    ),
    "nifti_micrometres": nifti(
        units=3, pixdim=(2000, 3000, 4000), offset=(5000, 6000, 7000)
    ),
    "nifti_unknown_unit": nifti(units=0),
    "nifti_fourth_axis_of_1": nifti(sizes=(4, 3, 2, 1)),
    "nifti_slope_0": nifti(scale=(0, 0)),
}
NIFTIS_REFUSED = {
    "nifti_sheared": (nifti(codes=(0, 1), rows=SHEARED), "not at right angles .*qform"),
    "nifti_2": (nifti(header=540), "must be NIfTI-1. Received: NIfTI-2. Convert it"),
    "nifti_time": (nifti(sizes=(4, 3, 1, 2)), "Received: 4 axes"),
    "nifti_vectors": (nifti(sizes=(4, 3, 2, 1, 3)), "vectors of 3 numbers"),
    "nifti_complex": (nifti(datatype=(32, 64), data=bytes(192)), "datatype is 32"),
    "nifti_zero_spacing": (nifti(pixdim=(2, 0, 4)), r"above 0\. .* Received: 2, 0, 4"),
    "nifti_negative_spacing": (nifti(pixdim=(-2, 3, 4)), "Received: -2, 3, 4"),
    "nifti_no_spacing": (nifti(pixdim=(2, np.nan, 4)), "Received: 2, nan, 4"),
    "nifti_flat_sform": (nifti(codes=(0, 1), rows=np.zeros(12)), "axis of length 0"),
    "nifti_slope_0_intercept": (
        nifti(scale=(0, 7)),
        "scl_slope is 0 and its scl_in",
    ),
}


def test_the_page_has_every_row():
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
    tables = (TIFFS, TIFFS_REFUSED, DICOMS, DICOMS_REFUSED, NIFTIS, NIFTIS_REFUSED)
    assert [name for table in tables for name in table if f"`{name}`" not in page] == []


@pytest.mark.parametrize("name", [*TIFFS, *DICOMS])
def test_values(name, tmp_path):
    data, expected = (TIFFS | DICOMS)[name]
    path = tmp_path / name
    path.write_bytes(data)
    array, affine = read_image(path)
    assert affine is None
    np.testing.assert_array_equal(array, [expected])
    header = read_image_header(path)
    assert header.shape == array.shape
    np.testing.assert_array_equal(array.astype(header.dtype), array)


@pytest.mark.parametrize("name", [*TIFFS_REFUSED, *DICOMS_REFUSED])
def test_refused(name, tmp_path):
    data, message = (TIFFS_REFUSED | DICOMS_REFUSED)[name]
    path = tmp_path / name
    path.write_bytes(data)
    for read in (read_image, read_image_header):
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NIFTIS)
def test_niftis(name, tmp_path):
    path = tmp_path / "head.nii"
    path.write_bytes(NIFTIS[name])
    array, affine = read_image(path)
    np.testing.assert_array_equal(array, np.arange(24).reshape(2, 3, 4))
    np.testing.assert_allclose(affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("name", NIFTIS_REFUSED)
def test_niftis_refused(name, tmp_path):
    data, message = NIFTIS_REFUSED[name]
    path = tmp_path / "head.nii"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_image(path)


def test_forms_of_nifti_that_differ_are_noted(tmp_path):
    path = tmp_path / "head.nii"
    path.write_bytes(nifti(codes=(1, 1), rows=SHEARED))
    with pytest.warns(UserWarning, match="place it differently, by 100 mm over 100"):
        read_image(path)
    path.write_bytes(nifti(magic=bytes(4)))
    with pytest.warns(UserWarning, match="Analyze 7.5, which does not define left"):
        read_image(path)


def test_names_and_compression_of_nifti(tmp_path):
    for name, data, right in (
        ("a.nii.gz", nifti(), "not compressed, against its name. Rename it to a.nii."),
        ("a.nii", gzip.compress(nifti()), "is compressed, .* Rename it to a.nii.gz."),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=right):
            read_image(tmp_path / name)


def test_a_turned_qform_is_that_of_simpleitk(tmp_path):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    rotation[:, 0] *= np.sign(np.linalg.det(rotation))
    image = sitk.Image([3, 4, 5], sitk.sitkUInt8)
    image.SetDirection(rotation.ravel().tolist())
    image.SetSpacing((1, 2, 3))
    sitk.WriteImage(image, str(tmp_path / "head.nii"))
    # It writes both forms; a difference would be a warning, which is an error here.
    _, affine = read_image(tmp_path / "head.nii")
    np.testing.assert_allclose(affine[:3, :3], rotation * [1, 2, 3], atol=1e-5)


@pytest.mark.parametrize("kind", [sitk.sitkVectorFloat32, sitk.sitkVectorInt16])
@pytest.mark.parametrize("suffix", ["mha", "nrrd"])
def test_vectors_are_not_colours(tmp_path, suffix, kind):
    path = tmp_path / f"field.{suffix}"
    sitk.WriteImage(sitk.Image([4, 3, 2], kind, 3), str(path))
    with pytest.raises(ValueError, match="one number per pixel, or colours"):
        read_image(path)
