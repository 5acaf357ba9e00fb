"""Limits on the headers of image files, checked before a library parses them.

MetaIO uses a name with `%` as the format string of `sprintf`, which crashes. Teem
compares each key of an NRRD header with all others, so that ten megabytes take minutes.
NIfTI extensions are read into memory whole. MetaImage and NRRD headers may name any
other file. A JPEG of thousands of scans takes minutes, and a PNG of a thousand
compressed texts eight gigabytes.
"""

import gzip
import re
import struct
import zlib
from pathlib import Path

from scn_keras.files._dicom_limits import require_shallow_dicom
from scn_keras.files._named_file import require_inside
from scn_keras.files.image_kinds import MAX_COMPRESSED_TEXTS, MAX_SCANS

# More than the longest headers in use: diffusion images list hundreds of gradients, and
# segmentations of 3D Slicer hundreds of segments.
MAX_HEADER_BYTES, MAX_HEADER_LINES = 2**20, 5_000
# DICOM headers and XML that other software copies into extensions have kilobytes.
_MAX_NIFTI_OFFSET = 2**24

# Teem writes longer fields into its error messages, beyond their ends.
_MAX_NRRD_FIELD = 1000

_MAY_REFER_TO_FILES = ("HDF5ImageIO", "MINCImageIO")

# MetaIO separates keys from values by = or :, and ends the header with this field.
_META_DATA = re.compile(rb"ElementDataFile[ \t]*[=:]?[ \t]*([^\r\n]*)", re.IGNORECASE)
_META_AXES = re.compile(rb"NDims[ \t]*[=:]?[ \t]*([^\s]*)", re.IGNORECASE)
_NRRD_DATA = re.compile(rb"data ?file[ \t]*:[ \t]*(.*)", re.IGNORECASE)
_NRRD_MAGIC = b"NRRD00"


def require_header_limits(path: Path, image_io: str) -> None:
    """Checks the header of an image file before a library parses it.

    Args:
        path: Path, an existing file.
        image_io: Str, the ITK reader's name.

    Raises:
        ValueError: If the header is larger or more deeply nested than any in use, or if
            it names a list or a pattern of files, or a file outside the folder.
    """
    if image_io in _MAY_REFER_TO_FILES:
        raise ValueError(
            f"{path} is an HDF5 file, which can refer to other files. Convert it to "
            "MetaImage, NRRD or NIfTI."
        )
    check = {
        "MetaImageIO": _check_meta_image,
        "NrrdImageIO": _check_nrrd,
        "NiftiImageIO": _check_nifti,
        "JPEGImageIO": _check_jpeg,
        "PNGImageIO": _check_png,
        "GDCMImageIO": require_shallow_dicom,
    }.get(image_io)
    if check:
        check(path)


def _check_meta_image(path: Path) -> None:
    with path.open("rb") as file:
        data = file.read(MAX_HEADER_BYTES + 1)
    for match in _META_AXES.finditer(data.partition(b"ElementDataFile")[0]):
        if match[1] not in (b"1", b"2", b"3", b"4", b"5"):  # MetaIO has room for ten
            raise ValueError(
                f"{path}: NDims must be from 1 to 5. Received: "
                f"{match[1][:20].decode('latin-1')!r}"
            )
    found = False
    # All occurrences up to the one that MetaIO certainly takes for the field, since a
    # comment might hide another one.
    for match in _META_DATA.finditer(data):
        found = True
        value = match[1].split(b"\0")[0].decode("utf-8", "surrogateescape").strip()
        if value.upper() != "LOCAL":
            _require_data_file(path, value, "ElementDataFile")
        elif not data[: match.start()].rpartition(b"\n")[2].strip():
            return
    if not found:
        raise ValueError(
            f"{path} is not a MetaImage header: its first {MAX_HEADER_BYTES:,} bytes "
            "have no ElementDataFile."
        )


def _check_nrrd(path: Path) -> None:
    lines: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        if not file.read(len(_NRRD_MAGIC)) == _NRRD_MAGIC:
            raise ValueError(f"{path} is not an NRRD file: it must begin with NRRD.")
        while line := file.readline(MAX_HEADER_BYTES):
            size += len(line)
            if not line.strip(b"\r\n"):
                break
            if size >= MAX_HEADER_BYTES or len(lines) >= MAX_HEADER_LINES:
                raise ValueError(
                    f"{path}: the header must have at most {MAX_HEADER_BYTES:,} bytes "
                    f"and {MAX_HEADER_LINES:,} lines. Received: more"
                )
            is_free = line.startswith(b"#") or b":=" in line
            if len(line) > _MAX_NRRD_FIELD and not is_free:
                raise ValueError(
                    f"{path}: the fields of the header must have at most "
                    f"{_MAX_NRRD_FIELD} bytes. Received: {len(line):,} bytes, "
                    f"{line[:40].decode('latin-1')!r}..."
                )
            lines.append(line)
    for line in lines:
        if match := _NRRD_DATA.match(line.strip()):
            value = match[1].decode("utf-8", "surrogateescape").strip()
            _require_data_file(path, value, "`data file`")


def _require_data_file(path: Path, name: str, field: str) -> None:
    # A pattern is followed by numbers: "slice%03d.raw 1 20 1".
    if "%" in name or re.fullmatch(r"LIST( .*)?", name, re.IGNORECASE):
        raise ValueError(
            f"{path}: {field} must be the name of one file. Lists and patterns of "
            "files are not read; save the image as one file. Received: "
            f"{name[:100]!r}"
        )
    file = require_inside(path, name, field)
    if not file.is_file():
        raise ValueError(
            f"{path}: the file of its pixels, {field}, does not exist. Received: "
            f"{name[:100]!r}"
        )


def _check_jpeg(path: Path) -> None:
    scans = path.read_bytes().count(b"\xff\xda")  # in pixels, FF is followed by 00
    if scans > MAX_SCANS:
        raise ValueError(
            f"{path}: a JPEG file must have at most {MAX_SCANS} scans. Received: "
            f"{scans:,}"
        )


def _check_png(path: Path) -> None:
    data = path.read_bytes()
    texts = data.count(b"zTXt") + data.count(b"iTXt")
    if texts > MAX_COMPRESSED_TEXTS:
        raise ValueError(
            f"{path}: a PNG file must have at most {MAX_COMPRESSED_TEXTS} compressed "
            f"texts. Save it without them. Received: {texts:,}"
        )


def _check_nifti(path: Path) -> None:
    stem, _, suffix = path.name.rpartition(".")
    if suffix.lower() == "hdr":
        for name in (f"{stem}.img", f"{stem}.img.gz", f"{stem}.IMG"):
            require_inside(path, name, "the pixels beside the header")
    compressed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            header = file.read(540)
    except (EOFError, OSError, zlib.error):
        return  # reported as damage
    offset = _nifti_offset(header)
    if not 0 <= offset <= _MAX_NIFTI_OFFSET:  # or NaN
        raise ValueError(
            f"{path}: the pixels must begin in the first {_MAX_NIFTI_OFFSET:,} bytes "
            f"(vox_offset). Received: {offset:,.0f}"
        )


def _nifti_offset(header: bytes) -> float:
    for order in "<>":
        if len(header) >= 348 and struct.unpack_from(order + "i", header)[0] == 348:
            return struct.unpack_from(order + "f", header, 108)[0]
        if len(header) >= 540 and struct.unpack_from(order + "i", header)[0] == 540:
            return struct.unpack_from(order + "q", header, 168)[0]
    return 0.0
