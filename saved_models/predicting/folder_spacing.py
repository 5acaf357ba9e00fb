"""The spacing that `landmarks.toml` states for the images beside it."""

import functools
import pathlib
import tomllib
from collections.abc import Sequence

from scn_keras.files.orientation import REFUSED
from scn_keras.geometry import (
    MAX_SPACING,
    MIN_SPACING,
    affine_from_spacing,
    spacing_of,
)
from scn_keras.saved_models.predicting.image_source import (
    ImageSource,
    read_image_source,
)


def read_source(
    file: pathlib.Path,
    spacing: Sequence[float] | None,
    dimensions: int | None,
    stored_values: bool,
    orientation: str = REFUSED,
) -> ImageSource:
    """Reads an image file, with the spacing of its data set if it has none.

    Args:
        file, dimensions, stored_values, orientation: See `read_image_source`.
        spacing: Millimetres per pixel, x, y(, z), for files without a spacing; `None`
            for that of `folder_spacing`, which is noted.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged, the model does not accept the image, or
            `landmarks.toml` cannot be read.
    """
    source = read_image_source(
        file, spacing, dimensions, stored_values, orientation=orientation
    )
    if spacing is not None or spacing_of(source.affine).any():
        return source
    stated = folder_spacing(file)
    if stated is None or len(stated) != len(source.affine) - 1:
        return source
    note = (
        f"{file} has no spacing: that of landmarks.toml is used, "
        f"{' x '.join(f'{value:g}' for value in stated)} mm."
    )
    return source._replace(
        affine=affine_from_spacing(stated), notes=(*source.notes, note)
    )


def folder_spacing(file: pathlib.Path) -> tuple[float, ...] | None:
    """Returns the spacing that the data set of an image file states.

    It is `spacing` under `[files]` of the file `landmarks.toml`, see `landmark_folder`,
    in the folder of the image or in the one above.

    Args:
        file: Path of the image.

    Returns:
        Tuple of floats, mm per pixel in x, y(, z), or `None` if there is none.

    Raises:
        ValueError: If `landmarks.toml` cannot be read.
    """
    folder = file.absolute().parent
    for path in (folder / "landmarks.toml", folder.parent / "landmarks.toml"):
        if path.is_file():
            about = path.stat()
            return _spacing_in(path, about.st_mtime_ns, about.st_size)
    return None


@functools.lru_cache
def _spacing_in(
    path: pathlib.Path, changed: int, size: int
) -> tuple[float, ...] | None:
    del changed, size  # a changed file is read again
    try:
        data = tomllib.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML: {error}.") from error
    files = data.get("files", {})
    spacing = files.get("spacing") if isinstance(files, dict) else None
    if spacing is None:
        return None
    try:
        values = tuple(float(value) for value in spacing)
    except (TypeError, ValueError):
        values = ()
    if not values or not all(MIN_SPACING < v < MAX_SPACING for v in values):
        raise ValueError(
            f"{path}: files.spacing must be a list of millimetres per pixel. "
            f"Received: {spacing!r}"
        )
    return values
