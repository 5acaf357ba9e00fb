"""Headers that would crash, delay or mislead the library that parses them."""

import gzip
import struct
import time

import numpy as np
import pytest

from scn_keras.files import read_image, read_image_header
from scn_keras.files._named_file import require_inside

EXPLICIT, IMPLICIT = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0"
PIXELS = bytes(range(64))


def element(group, number, representation, value):
    head = struct.pack("<HH2s", group, number, representation)
    if representation in (b"SQ", b"OB", b"OW"):
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def dicom(extra, syntax=EXPLICIT):
    """An 8 x 8 image in the file format of DICOM PS3.10, with a sequence before it."""

    def data(group, number, representation, value):
        if syntax == IMPLICIT:
            return struct.pack("<HHI", group, number, len(value)) + value
        return element(group, number, representation, value)

    meta = b"".join(
        element(2, number, b"UI", value)
        for number, value in ((2, b"1.2.840.10008.5.1.4.1.1.7\0"), (0x10, syntax))
    )
    meta = element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    image = data(0x28, 2, b"US", struct.pack("<H", 1))
    image += data(0x28, 4, b"CS", b"MONOCHROME2 ")
    for number, value in ((16, 8), (17, 8), (256, 8), (257, 8), (258, 7), (259, 0)):
        image += data(0x28, number, b"US", struct.pack("<H", value))
    image += data(0x7FE0, 0x10, b"OW", PIXELS)
    head = data(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0")
    return bytes(128) + b"DICM" + meta + head + extra + image


def nested(depth, syntax=EXPLICIT, lengths=False):
    """Referenced Image Sequences, each an item of the next."""
    content = b""
    for _ in range(depth):
        if lengths:
            item = struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
            size = struct.pack("<I", len(item))
        else:
            item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + content
            item += struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
            size = b"\xff" * 4
        head = struct.pack("<HH", 8, 0x1140)
        content = head + (b"SQ\0\0" if syntax == EXPLICIT else b"") + size + item
    return content


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_deeply_nested_dicom_is_refused_and_a_usual_one_read(tmp_path, syntax, lengths):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(nested(10, syntax, lengths), syntax))
    np.testing.assert_array_equal(read_image(path)[0].ravel(), [*PIXELS])
    # 300 levels do not crash GDCM, so that a failure here leaves the process alive.
    for depth in (40, 300):
        path.write_bytes(dicom(nested(depth, syntax, lengths), syntax))
        with pytest.raises(ValueError, match="at most 32 nested sequences"):
            read_image(path)


def test_deflated_dicom_is_scanned_as_well(tmp_path):
    import zlib

    path, deflated = tmp_path / "a.dcm", b"1.2.840.10008.1.2.1.99"
    whole = dicom(nested(40), deflated)
    begin = whole.index(b"\x08\0\x16\0UI")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(whole[begin:]) + deflate.flush()
    path.write_bytes(whole[:begin] + body)
    with pytest.raises(ValueError, match="at most 32 nested sequences"):
        read_image(path)


def test_fragments_of_compressed_pixels_are_not_taken_for_sequences(tmp_path):
    from scn_keras.files._dicom_limits import require_shallow_dicom

    start = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    fragment = struct.pack("<HHI", 0xFFFE, 0xE000, len(start) * 500) + start * 500
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(b"")[: -len(PIXELS) - 12] + pixels + fragment)
    require_shallow_dicom(path)


META = (
    "ObjectType = Image\nNDims = 2\nDimSize = 8 8\nElementType = MET_UCHAR\n"
    "ElementSpacing = 0.5 0.5\n{}ElementDataFile = {}\n"
)
NRRD = "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 8 8\nencoding: raw\n{}{}: {}\n\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret.raw").write_bytes(PIXELS)
    folder = tmp_path / "set"
    (folder / "raw").mkdir(parents=True)
    (folder / "pixels.raw").write_bytes(PIXELS)
    (folder / "raw" / "pixels.raw").write_bytes(PIXELS)
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    (folder / "inner.raw").symlink_to("raw/pixels.raw")
    return folder


@pytest.mark.parametrize(
    "text, name, field",
    [(META, "a.mhd", ""), (NRRD, "a.nhdr", "data file"), (NRRD, "a.nrrd", "datafile")],
)
@pytest.mark.parametrize(
    "value, message",
    [
        ("pixels.raw", None),
        ("raw/pixels.raw", None),
        ("inner.raw", None),
        ("../secret.raw", "same folder, or below"),
        ("raw/../../secret.raw", "same folder, or below"),
        ("{folder}/pixels.raw", "same folder, or below"),
        ("/dev/zero", "same folder, or below"),
        ("link.raw", "link to a file outside"),
        ("%s%n%d.raw 1 2 1", "patterns of files"),
        ("LIST", "patterns of files"),
        ("none.raw", "does not exist"),
        ("raw", "does not exist"),
        ("-", "does not exist"),
    ],
)
def test_headers_name_files_of_their_folder_only(
    folder, text, name, field, value, message
):
    value = value.format(folder=folder)
    path = folder / name
    path.write_text(text.format("", *([field] * bool(field)), value))
    if message is None:
        np.testing.assert_array_equal(read_image(path)[0].ravel(), [*PIXELS])
    else:
        for read in (read_image, read_image_header):
            with pytest.raises(ValueError, match=message):
                read(path)


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.mnc"])
def test_hdf5_is_refused(tmp_path, name):
    import SimpleITK as sitk

    pixels = sitk.GetImageFromArray(np.zeros((2, 8, 8), np.uint8))
    sitk.WriteImage(pixels, str(tmp_path / name))
    with pytest.raises(ValueError, match="is an HDF5 file, which can refer to other"):
        read_image(tmp_path / name)


def test_a_comment_cannot_hide_the_field_of_the_pixels(folder):
    path = folder / "a.mhd"
    comment = "Comment = ElementDataFile = LOCAL\n"
    path.write_text(META.format(comment, "../secret.raw"))
    with pytest.raises(ValueError, match="same folder, or below"):
        read_image(path)
    path.write_text(META.format("", "LOCAL")[:-1].replace("LOCAL", ""))
    with pytest.raises(ValueError, match="one file|does not exist"):
        read_image(path)


@pytest.mark.parametrize(
    "number", ["65535", "-3", "0", "9999999999999999999", "2.5", ""]
)
def test_axes_of_meta_image(folder, number):
    path = folder / "a.mhd"
    text = META.format("", "pixels.raw")
    path.write_text(text.replace("NDims = 2", f"NDims = {number}"))
    with pytest.raises(ValueError, match="NDims must be from 1 to 5. Received: "):
        read_image(path)
    path.write_text(META.format(f"NDims = {number}\n", "pixels.raw"))
    with pytest.raises(ValueError, match="NDims must be from 1 to 5. Received: "):
        read_image(path)


def test_headers_that_are_links_keep_their_pixels(folder, tmp_path):
    (folder / "a.mhd").write_text(META.format("", "pixels.raw"))
    other = tmp_path / "other"
    other.mkdir()
    for name in ("a.mhd", "pixels.raw"):
        (other / name).symlink_to(folder / name)
    np.testing.assert_array_equal(read_image(other / "a.mhd")[0].ravel(), [*PIXELS])


@pytest.mark.parametrize("lines", [4_000, 6_000, 600_000])
def test_nrrd_headers_have_limits(tmp_path, lines):
    path = tmp_path / "a.nrrd"
    keys = "".join(f"k{i}:=v\n" for i in range(lines))
    head = NRRD.format(keys, "spacings", "0.5 0.5").encode()
    path.write_bytes(head + PIXELS)
    began = time.monotonic()
    if lines < 5_000:
        assert read_image(path)[1][0, 0] == 0.5
    else:
        with pytest.raises(ValueError, match="at most 1,048,576 bytes and 5,000 line"):
            read_image(path)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "line", ["A" * 5000, "space origin: (" + "A" * 5000, "k: 1" * 300]
)
def test_nrrd_fields_are_short_and_values_of_keys_may_be_long(tmp_path, line):
    path = tmp_path / "a.nrrd"
    free = "# " + "c" * 5000 + "\nkey:=" + "v" * 50_000 + "\n"
    head = NRRD.format(free, "spacings", "0.5 0.5")
    path.write_bytes(head.encode() + PIXELS)
    np.testing.assert_array_equal(read_image(path)[0].ravel(), [*PIXELS])
    path.write_bytes(head.replace("type:", f"{line}\ntype:").encode() + PIXELS)
    with pytest.raises(ValueError, match="must have at most 1000 bytes. Received: "):
        read_image(path)


@pytest.mark.parametrize("offset", [1e9, -1e9, float("nan"), float("inf")])
def test_nifti_pixels_begin_near_the_header(tmp_path, offset):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 2, 8, 8, 1, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 2, 8)
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + PIXELS))
    assert read_image(path)[0].shape == (8, 8)
    struct.pack_into("<f", header, 108, offset)
    path.write_bytes(gzip.compress(bytes(header) + PIXELS))
    with pytest.raises(ValueError, match="vox_offset"):
        read_image(path)


def test_pixels_beside_a_header_are_no_link_to_elsewhere(tmp_path):
    import SimpleITK as sitk

    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    place, store = tmp_path / "set", tmp_path / "store"
    for folder in (place, store):
        folder.mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(folder / "a.hdr"))
    np.testing.assert_array_equal(read_image(place / "a.hdr")[0], pixels)
    (place / "a.img").unlink()
    (place / "a.img").symlink_to(store / "a.img")
    with pytest.raises(ValueError, match="must not link to a file outside the folder"):
        read_image(place / "a.hdr")
    (place / "a.hdr").unlink()  # both of one folder
    (place / "a.hdr").symlink_to(store / "a.hdr")
    np.testing.assert_array_equal(read_image(place / "a.hdr")[0], pixels)


def test_names_with_zero_bytes_and_loops_of_links(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for name in ("a\0b", "loop/a", "x" * 5000):
        with pytest.raises(ValueError, match="folder"):
            require_inside(tmp_path / "a.mhd", name, "ElementDataFile")
