"""The orientation tag of image files: how a viewer turns the stored pixels.

Cameras, telephones and scanners store an image as the sensor has it and add a tag (TIFF
274; in JPEG and PNG files a part of EXIF). Browsers and labelme turn the image
accordingly. ImageJ, ITK and most libraries for numbers do not.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from scn_keras.files.file_parts import (
    Tag,
    jpeg_segments,
    png_chunks,
    reader_of,
    tiff_tags,
)
from scn_keras.files.image_kinds import BIG_TIFF, JPEG, PNG, TIFF

# The rules of data sets, runs and exported models. Those that were made before there
# was a rule have stored pixels, whatever the tag. The two are never mixed.
REFUSED, STORED_PIXELS = "refused", "stored pixels"

# How viewers show the stored pixels of each tag but 1.
SHOWN = {
    2: "with left and right exchanged",
    3: "turned by 180 degrees",
    4: "with top and bottom exchanged",
    5: "with rows and columns exchanged",
    6: "turned by 90 degrees clockwise",
    7: "with rows and columns exchanged and turned by 180 degrees",
    8: "turned by 90 degrees anticlockwise",
}
_TAG = 274


def read_orientation(path: str | os.PathLike[str]) -> int:
    """Reads the orientation tag of a TIFF, JPEG (EXIF) or PNG (`eXIf`) file.

    | tag | a viewer shows the stored pixels |
    |---|---|
    | 1 | as they are |
    | 2 | mirrored, left and right exchanged |
    | 3 | turned by 180 degrees |
    | 4 | mirrored, top and bottom exchanged |
    | 5 | transposed: rows become columns |
    | 6 | turned by 90 degrees clockwise |
    | 7 | transposed and turned by 180 degrees |
    | 8 | turned by 90 degrees anticlockwise |

    Args:
        path: Str or path, an existing file of any format, or a folder.

    Returns:
        Int, 1 to 8; 1 if the file has no tag, a tag outside of this range, or a format
        without such tags.

    Example:

    ```python
    if read_orientation("film.jpg") != 1:
        print("labelme and ImageJ show this file differently")
    ```
    """
    path = Path(path)
    if path.is_dir():
        return 1
    with path.open("rb") as file:
        start = file.read(4)
        if start.startswith(JPEG):
            return _of_jpeg(file)
        if start == PNG:
            return _of_png(file, path)
        if start.startswith((*TIFF, *BIG_TIFF)):
            return _of_tags(tiff_tags(reader_of(file)))
    return 1


def require_upright(path: Path) -> None:
    """Raises a `ValueError` if a file has an orientation tag other than 1.

    Args:
        path: Path, see `read_orientation`.
    """
    if (orientation := read_orientation(path)) != 1:
        raise ValueError(
            f"{path} has the orientation tag {orientation}: viewers show it "
            f"{SHOWN[orientation]}, other programs as it is stored. Write a turned "
            f"copy with `scn-keras turn {shlex.quote(str(path))} --out FOLDER`."
        )


def stored_pixels_note(path: Path) -> str | None:
    """Returns the note on a tagged file for a model of the rule `STORED_PIXELS`.

    Args:
        path: Path, see `read_orientation`.

    Returns:
        Str, or None if the file is upright.
    """
    if (orientation := read_orientation(path)) == 1:
        return None
    return (
        f"{path} has the orientation tag {orientation} and is used as it is stored, "
        "because the model was made before such files were refused. Viewers show it "
        f"{SHOWN[orientation]}."
    )


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns stored pixels as a viewer shows them.

    Args:
        pixels: Array `(y, x, ...)`.
        orientation: Int, 1 to 8, see `read_orientation`.

    Example:

    >>> upright(np.array([[1, 2, 3], [4, 5, 6]]), 6)
    array([[4, 1],
           [5, 2],
           [6, 3]])
    """
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    flip_x, flip_y = _flips(orientation)
    return pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def upright_affine(size: tuple[int, int], orientation: int) -> np.ndarray:
    """Returns the map from stored pixels to those that a viewer shows.

    Args:
        size: Tuple of two ints, columns and rows of the stored image.
        orientation: Int, 1 to 8, see `read_orientation`.

    Returns:
        float64 `(3, 3)`, index coordinates x, y, see `geometry.apply_affine`.

    Example:

    The first pixel of an image of 3 columns and 2 rows becomes the last of the first
    row.

    >>> upright_affine((3, 2), 6) @ [0, 0, 1]
    array([1., 0., 1.])
    """
    columns, rows = size
    affine = np.eye(3)
    if orientation >= 5:
        affine[:2, :2] = [[0.0, 1.0], [1.0, 0.0]]
        columns, rows = rows, columns
    for axis, (flip, extent) in enumerate(
        zip(_flips(orientation), (columns, rows), strict=True)
    ):
        if flip:
            affine[axis, :2] *= -1.0
            affine[axis, 2] = extent - 1.0
    return affine


def _flips(orientation: int) -> tuple[bool, bool]:
    """Returns which axes, x and y, are reversed after rows and columns are swapped."""
    return orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)


def _of_jpeg(file: BinaryIO) -> int:
    for part in jpeg_segments(file):
        file.seek(part.begin)
        if part.kind == b"\xe1" and file.read(6) == b"Exif\0\0":
            return _of_exif(file.read(max(part.length - 6, 0)))
    return 1


def _of_png(file: BinaryIO, path: Path) -> int:
    try:
        for part in png_chunks(file):
            if part.kind == b"eXIf":
                file.seek(part.begin)
                return _of_exif(file.read(part.length))
    except ValueError as error:
        raise ValueError(f"The image file is damaged: {path}: {error}.") from error
    return 1


def _of_exif(exif: bytes) -> int:
    return _of_tags(tiff_tags(lambda at, size: exif[at : at + size]))


def _of_tags(tags: Mapping[int, Tag]) -> int:
    value = tags[_TAG].values[0] if _TAG in tags and tags[_TAG].values else 1
    return value if 1 <= value <= 8 else 1
