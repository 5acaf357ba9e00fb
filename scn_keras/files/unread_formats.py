"""Files that are recognised but not read, and what to do with them."""

from pathlib import Path

_SHEET = "Save the table as .xlsx or CSV."
_ADVICE = {
    ".mrml": "It is a scene of 3D Slicer. Save its point lists as .mrk.json and its "
    "volumes as .nrrd in the same folder.",
    ".mrb": "It is a scene of 3D Slicer. Save its point lists as .mrk.json and its "
    "volumes as .nrrd (File, Save Data).",
    ".tfm": "It is a transform of ITK. Harden it on the points and images in 3D "
    "Slicer, and save these.",
    ".acsv": "It is an annotation of 3D Slicer 4. Save the point list as .mrk.json.",
    ".roi": "It is a region of ImageJ. Measure its points (Analyze, Measure) and save "
    "the results as CSV.",
    ".xls": f"It is a workbook of old versions of Excel. {_SHEET}",
    ".xlsb": f"It is a binary workbook of Excel. {_SHEET}",
    ".ods": f"It is a spreadsheet of LibreOffice. {_SHEET}",
    ".numbers": f"It is a spreadsheet of Apple Numbers. {_SHEET}",
    ".mps": "It is a set of points of MITK. Save the points as .fcsv or CSV.",
    ".nts": "It is a file of NTSYS. Save the landmarks as TPS or CSV.",
    ".dta": "It is a file of Landmark Editor. Save the landmarks as TPS or CSV.",
    ".landmarkascii": "It is a file of Amira. Save the landmarks as CSV.",
    ".pp": "It is a file of MeshLab. Save the points as CSV.",
    **dict.fromkeys(
        (".gif", ".webp", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".psd", ".pdf"),
        "Convert the image to PNG or TIFF, upright and in its full size.",
    ),
}
# Keys of the sidecars of scans.
_SIDECARS = (b'"ConversionSoftware"', b'"BIDSVersion"', b'"Manufacturer"')


def advice_for(path: Path) -> str | None:
    """Returns a sentence on a file that is recognised but not read; None for others.

    Args:
        path: Path, an existing regular file.
    """
    suffix, name = path.suffix.lower(), path.name.lower()
    advice = _ADVICE.get(suffix)
    if suffix in (".h5", ".hdf5") and name.startswith(
        ("collecteddata", "machinelabels")
    ):
        advice = "It is a table of DeepLabCut. Use the CSV file of the same name."
    if suffix == ".zip" and _has_regions(path):
        advice = (
            "It is a set of regions of ImageJ. Measure its points (Analyze, Measure) "
            "and save the results as CSV."
        )
    if suffix in (".xml", ".json") and advice is None:
        advice = _advice_for_text(path)
    return f"{path} is not read. {advice}" if advice else None


def is_sidecar(path: Path) -> bool:
    """Returns whether a JSON file has the parameters of a scan, as of dcm2niix (BIDS).

    Args:
        path: Path, an existing regular file.
    """
    if path.suffix.lower() != ".json" or path.stat().st_size > 100_000:
        return False
    data = path.read_bytes()
    return any(key in data for key in _SIDECARS) and not any(
        key in data
        for key in (b'"points"', b'"shapes"', b'"annotations"', b'"markups"')
    )


def _advice_for_text(path: Path) -> str | None:
    if is_sidecar(path):
        return "It has the parameters of a scan (BIDS), and no points."
    with path.open("rb") as file:
        start = file.read(4000)
    if path.suffix.lower() == ".xml" and b"<dataset" in start and b"<part" in start:
        return "It is a file of dlib. Convert its parts to CSV: image,label,x,y."
    if path.suffix.lower() == ".xml" and b"<annotation>" in start:
        return "It has boxes in the form of Pascal VOC. Export points, for example CSV."
    return None


def _has_regions(path: Path) -> bool:
    """Whether an archive is a set of regions of ImageJ, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(300)
    size = int.from_bytes(start[26:28], "little")
    return start[:4] == b"PK\x03\x04" and start[30 : 30 + size].endswith(b".roi")
