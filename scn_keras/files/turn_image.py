"""Copies of image files and of their points, turned as viewers show the files."""

import dataclasses
import os
import struct
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from scn_keras.files._reader_process import in_reader_process
from scn_keras.files.decode_file import decode_file
from scn_keras.files.find_images import stem_of
from scn_keras.files.image_forms import require_known_form
from scn_keras.files.orientation import read_orientation, upright, upright_affine
from scn_keras.files.point_set import PointSet
from scn_keras.files.read_image_header import read_image_header
from scn_keras.geometry import apply_affine


@in_reader_process
def turn_image(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Writes a copy of an image file, turned as its orientation tag says.

    The copy has no tag, so that all programs show it alike. It is lossless: a TIFF file
    stays one, JPEG and PNG files become PNG. Colours, bits and, with axes exchanged,
    the density of pixels are kept. It is written atomically.

    Args:
        path: Str or path, a file for which `read_orientation` is not 1.
        folder: Str or path, an existing folder.

    Returns:
        Path of the copy.

    Raises:
        FileExistsError: If the folder has a file of that name.
        ValueError: If the file is upright or cannot be read.

    Example:

    ```python
    copy = turn_image("scans/film.tif", "upright")
    image, affine = read_image(copy)
    ```
    """
    import SimpleITK as sitk

    path, folder = Path(path), Path(folder)
    orientation = read_orientation(path)
    if orientation == 1:
        raise ValueError(
            f"{path} has no orientation tag other than 1: use it as it is."
        )
    require_known_form(path)
    decoded = decode_file(path)
    is_tiff = decoded.image_io == "TIFFImageIO"
    target = folder / f"{stem_of(path.name)}{'.tif' if is_tiff else '.png'}"
    if target.exists():
        raise FileExistsError(f"{target} exists. Choose another folder with --out.")
    pixels = np.ascontiguousarray(upright(decoded.array, orientation))
    turned = sitk.GetImageFromArray(pixels, isVector=decoded.channels > 1)
    if is_tiff:
        spacing = decoded.spacing[:2]
        turned.SetSpacing(spacing[::-1] if orientation >= 5 else spacing)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".turning-") as temporary:
        part = Path(temporary, target.name)
        sitk.WriteImage(turned, str(part), True)
        if not is_tiff:
            _write_density(part, _density(path), orientation >= 5)
        part.replace(target)
    return target


def _density(path: Path) -> tuple[float, float] | None:
    """Returns dots per inch in x and y, which ITK does not read from PNG files."""
    with Image.open(path) as image:
        return image.info.get("dpi")


def _write_density(
    path: Path, density: tuple[float, float] | None, exchanged: bool
) -> None:
    """Adds a `pHYs` chunk to a PNG file, behind its header of 33 bytes."""
    if density is None:
        return
    per_metre = [round(float(dots) / 0.0254) for dots in density]
    chunk = b"pHYs" + struct.pack(">IIB", *per_metre[:: -1 if exchanged else 1], 1)
    chunk = struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = path.read_bytes()
    path.write_bytes(data[:33] + chunk + data[33:])


def turn_points(
    sets: Sequence[PointSet], copies: Mapping[Path, Path], points_path: Path
) -> list[PointSet]:
    """Turns points in stored pixels, as ImageJ counts them, like their images.

    Points of labelme, CVAT or a browser must not be turned: these show the image
    turned, and their points already fit the copy.

    Args:
        sets: Sequence of `PointSet`, the contents of a file of points.
        copies: Mapping from image files to their copies by `turn_image`.
        points_path: Path, the file of points, whose name stands for that of the image
            if the file does not hold one.

    Returns:
        List of `PointSet` in pixels. Those of other images are unchanged.

    Raises:
        ValueError: If no points belong to one of the images, or points do not fit.
    """
    by_stem = {stem_of(path.name): path for path in copies}
    suffixes = (".mrk.json", points_path.suffix)
    turned, count = [], 0
    for points in sets:
        name = points.image or stem_of(points_path.name, suffixes)
        path = by_stem.get(stem_of(name))
        if path is None and not points.image and len(sets) == len(copies) == 1:
            (path,) = copies
        if path is None:
            turned.append(points)
            continue
        header = read_image_header(path, stored_pixels=True)
        rows, columns = header.shape
        affine = upright_affine((columns, rows), read_orientation(path))
        in_pixels = points.to_pixels(header)
        turned.append(
            dataclasses.replace(
                in_pixels,
                points=apply_affine(affine, in_pixels.points),
                image=copies[path].name,
            )
        )
        count += 1
    if not count:
        others = ", ".join(sorted({s.image for s in sets if s.image})) or "none"
        raise ValueError(
            f"{points_path} must have points of the images that are turned. Received: "
            f"points of {others}"
        )
    return turned
