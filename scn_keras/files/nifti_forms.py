"""Forms of NIfTI files that ITK does not read, or reads differently."""

import gzip
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np

_NAMES = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz")
# NIfTI-1, `datatype`: all but bits, complex numbers and 128 bits.
_DATATYPES = {2, 4, 8, 16, 64, 128, 256, 512, 768, 1024, 1280, 2304}


def require_nifti_form(path: Path) -> None:
    """Checks the header of a NIfTI file.

    Args:
        path: Path, an existing file of any format.

    Raises:
        ValueError: If the form of the file is not read. The message names it and what
            to do.

    Warns:
        UserWarning: If qform and sform place the image differently, or if an Analyze
            header has neither.
    """
    if not path.name.lower().endswith(_NAMES):
        return
    with path.open("rb") as file:
        start = file.read(2)
    if not start:  # reported as empty
        return
    is_compressed = start == b"\x1f\x8b"
    named = path.name.lower().endswith(".gz")
    if is_compressed != named:
        right = path.name + ".gz" if is_compressed else path.name[: -len(".gz")]
        raise ValueError(
            f"{path} is {'' if is_compressed else 'not '}compressed, against its name. "
            f"Rename it to {right}."
        )
    try:
        with gzip.open(path) if is_compressed else path.open("rb") as file:
            header = file.read(348)
    except (EOFError, OSError, zlib.error):
        return  # reported as damage
    if len(header) < 348:
        return
    order = next(
        (o for o in "<>" if struct.unpack_from(f"{o}i", header)[0] in (348, 540)), None
    )
    if order is None:
        return  # pixels of a pair, or damaged
    if struct.unpack_from(f"{order}i", header)[0] == 540:
        raise ValueError(
            f"{path} must be NIfTI-1. Received: NIfTI-2. Convert it, for example with "
            'nibabel: nib.save(nib.Nifti1Image.from_image(nib.load("a.nii")), "b.nii").'
        )
    problem, notes = _examined(header, order)
    if problem:
        raise ValueError(f"{path} cannot be used: {problem}")
    for note in notes:
        warnings.warn(f"{path} {note}", stacklevel=3)


def _examined(header: bytes, order: str) -> tuple[str | None, list[str]]:
    """Returns a reason to refuse a file, and notes."""
    rank, *sizes = struct.unpack_from(f"{order}8h", header, 40)
    (datatype,) = struct.unpack_from(f"{order}h", header, 70)
    qfac, *pixdim = struct.unpack_from(f"{order}8f", header, 76)
    slope, intercept = struct.unpack_from(f"{order}ff", header, 112)
    axes = min(max(rank, 1), 3)
    if datatype not in _DATATYPES:
        return (
            f"its datatype is {datatype}, such as bits or complex numbers. Save it "
            "with whole numbers or float32.",
            [],
        )
    if rank >= 5 and sizes[4] > 1:
        return (
            f"its pixels are vectors of {sizes[4]} numbers. Save one of them as a "
            "volume.",
            [],
        )
    if header[344:348] not in (b"n+1\0", b"ni1\0"):
        return None, ["is of Analyze 7.5, which does not define left and right."]
    if not all(0.0 < spacing < np.inf for spacing in pixdim[:axes]):
        values = ", ".join(f"{spacing:g}" for spacing in pixdim[:axes])
        return (
            "its spacing (pixdim) must be above 0. Correct it in the header. Received: "
            f"{values}",
            [],
        )
    if slope == 0.0 and intercept not in (0.0,) and np.isfinite(intercept):
        return (
            f"its scl_slope is 0 and its scl_inter {intercept:g}: programs scale its "
            "values differently. Set scl_slope to 1, or both to 0.",
            [],
        )
    qform, sform = _affines(header, order, qfac, np.array(pixdim[:3], np.float64))
    return _placement(qform, sform, axes)


def _placement(
    qform: np.ndarray | None, sform: np.ndarray | None, axes: int
) -> tuple[str | None, list[str]]:
    if sform is None:
        return None, []
    linear = sform[:3, :axes]
    lengths = np.linalg.norm(linear, axis=0)
    if not (lengths > 0.0).all():
        return "its sform has an axis of length 0. Set qform and sform.", []
    cosines = (linear / lengths).T @ (linear / lengths)
    is_sheared = np.abs(cosines - np.eye(axes)).max() > 1e-3
    if is_sheared and qform is None:
        return (
            "its axes are not at right angles (sheared sform), which ITK does not "
            "read. Resample it, or set the qform, for example with nibabel: "
            "image.set_qform(image.affine).",
            [],
        )
    if qform is None:
        return None, []
    corners = np.array([[0, 0, 0, 1], [100, 0, 0, 1], [0, 100, 0, 1], [0, 0, 100, 1]])
    if axes < 3:
        corners = corners[:3]
    distance = np.linalg.norm((corners @ (qform - sform).T)[:, :3], axis=1).max()
    if distance > max(0.5 * lengths.min(), 1e-3):
        return None, [
            "has a qform and an sform that place it differently, by "
            f"{distance:.3g} mm over 100 pixels. Programs choose one or the other for "
            "points in millimetres; 3D Slicer and this package use that of ITK."
        ]
    return None, []


def _affines(
    header: bytes, order: str, qfac: float, pixdim: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns qform and sform `(4, 4)` (NIfTI-1, methods 2 and 3), or None."""
    q_code, s_code = struct.unpack_from(f"{order}hh", header, 252)
    b, c, d, *offset = struct.unpack_from(f"{order}6f", header, 256)
    qform = sform = None
    if q_code > 0:
        a = np.sqrt(max(1.0 - b * b - c * c - d * d, 0.0))
        # The rotation of the unit quaternion a, b, c, d.
        cross = np.array([[0, -d, c], [d, 0, -b], [-c, b, 0]])
        rotation = np.eye(3) + 2.0 * (a * cross + cross @ cross)
        scale = pixdim * [1.0, 1.0, -1.0 if qfac < 0.0 else 1.0]
        qform = np.eye(4)
        qform[:3, :3] = rotation * scale
        qform[:3, 3] = offset
    if s_code > 0:
        rows = np.reshape(struct.unpack_from(f"{order}12f", header, 280), (3, 4))
        sform = np.vstack([rows, [0.0, 0.0, 0.0, 1.0]])
    return qform, sform
