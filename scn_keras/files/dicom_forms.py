"""Forms of DICOM images whose grey values GDCM does not give."""

import mmap
from pathlib import Path
from typing import Any

_PHOTOMETRIC, _SHAPE = "0028|0004", "2050|0020"
_ALLOCATED, _STORED, _HIGH, _SIGNED = (f"0028|010{n}" for n in range(4))
_READ = {
    *("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR"),
    *("YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"),
}
# (0028,3000) Modality LUT Sequence, and (7FE0,0010) Pixel Data, in both byte orders.
_MODALITY_LUT = (b"\x28\x00\x00\x30", b"\x00\x28\x30\x00SQ")
_PIXELS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
_SAVE = "Export it with the software of the device or of the archive."


def require_dicom_form(path: Path, reader: Any) -> None:
    """Checks what the numbers of a DICOM image mean and how they are stored.

    Rescale Slope and Intercept, MONOCHROME1, palettes and luma-chroma colours are
    applied by GDCM. Windows and VOI lookup tables are for display and not applied.

    Args:
        path: Path, the file.
        reader: SimpleITK reader that has read the header.

    Raises:
        ValueError: If GDCM gives other values than those of the standard, without an
            error.
    """

    def value(key: str) -> str:
        return (
            reader.GetMetaData(key).strip(" \0") if reader.HasMetaDataKey(key) else ""
        )

    photometric = value(_PHOTOMETRIC)
    allocated, stored, high = value(_ALLOCATED), value(_STORED), value(_HIGH)
    problem = None
    if photometric not in _READ:
        problem = f"its Photometric Interpretation is {photometric or 'missing'}."
    elif allocated not in ("8", "16", "32"):
        problem = f"its Bits Allocated are {allocated}; 8, 16 and 32 are read."
    elif stored.isdigit() and high.isdigit() and int(high) != int(stored) - 1:
        problem = (
            f"its High Bit is {high} with {stored} Bits Stored, so that the values do "
            "not begin at bit 0."
        )
    elif photometric == "MONOCHROME1" and value(_SIGNED) == "1":
        problem = "it is MONOCHROME1 with signed numbers."
    elif photometric == "MONOCHROME2" and value(_SHAPE) == "INVERSE":
        problem = "it is MONOCHROME2 with an inverse Presentation LUT Shape."
    elif _has_modality_lut(path):
        problem = "it has a Modality LUT Sequence, a table of its values."
    if problem:
        raise ValueError(f"{path} cannot be used: {problem} {_SAVE}")


def _has_modality_lut(path: Path) -> bool:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        places = [data.find(tag, 128) for tag in _PIXELS]
        end = min((place for place in places if place >= 0), default=len(data))
        return any(data.find(tag, 128, end) >= 0 for tag in _MODALITY_LUT)
