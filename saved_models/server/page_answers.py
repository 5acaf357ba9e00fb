"""The server's answers to its page about one image, as values of strict JSON."""

import base64
import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from scn_keras.files.image_kinds import DECODED_IN_GRAPH
from scn_keras.files.orientation import REFUSED
from scn_keras.files.slicer_points import format_markups
from scn_keras.geometry import spacing_of
from scn_keras.inference.decode import MAX_DECODED_PIXELS, promised_size
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.predicting.image_source import (
    ImageSource,
    read_image_source,
)
from scn_keras.saved_models.predicting.prediction import (
    Prediction,
    prediction_of,
)
from scn_keras.saved_models.predicting.prediction_files import (
    format_csv,
    points_in_space,
)

STAGES = ("local_appearance", "spatial_configuration", "product")


def read_upload(
    data: bytes,
    spacing: tuple[float, float] | None,
    folder: pathlib.Path,
    stored_values: bool = False,
    orientation: str = REFUSED,
) -> ImageSource:
    """Reads a 2D image from bytes, whose first bytes tell the format.

    Formats whose header may refer to another file are not accepted.

    Args:
        data: Bytes of a PNG, JPEG, BMP or DICOM file.
        spacing: Tuple of two floats, mm per pixel in x and y, for files without a
            spacing; or `None`.
        folder: Path of a temporary folder to write the file to.
        stored_values: Bool, whether the model takes the stored values of the file.
        orientation: Str, the rule of the model, see `read_image_source`.

    Returns:
        An `ImageSource`.

    Raises:
        ValueError: If the file has another format, is damaged or too large.
    """
    if not data.startswith(DECODED_IN_GRAPH) and data[128:132] != b"DICM":
        raise ValueError("The file is no PNG, JPEG, BMP or DICOM image.")
    path = folder / "image"
    path.write_bytes(data)
    try:
        limit = MAX_DECODED_PIXELS
        return read_image_source(path, spacing, 2, stored_values, limit, orientation)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), "The file")) from error


def points_answer(
    source: ImageSource,
    outputs: Mapping[str, np.ndarray],
    schema: LandmarkSchema,
    title: str,
) -> dict[str, Any]:
    """Returns the landmarks of an image and the files that the page offers.

    Args:
        source: `ImageSource`, whose file still exists.
        outputs: Mapping of names to arrays, the model's outputs for this image.
        schema: `LandmarkSchema`.
        title: Str, the user's name of the file.

    Returns:
        Dict with `calibrated`, `trusted`, `notes`, `spacing` (mm, x and y), `size`
        (columns and rows), `landmarks` (dicts with `name`, `px`, `mm`, `score`,
        `radius90` and `present`), `image` (a data URL for formats that browsers do not
        show), `csv` and `markups` (the contents of files). All but `calibrated`,
        `notes`, `size`, `landmarks`, `name` and `csv` are `None` where unknown.
    """
    prediction = prediction_of(source, outputs)
    titled = dataclasses.replace(prediction, id=title)
    spacing = spacing_of(source.affine).tolist() if prediction.calibrated else None
    return {
        "calibrated": prediction.calibrated,
        "trusted": prediction.trusted,
        "notes": [note.replace(str(source.file), title) for note in prediction.notes],
        "spacing": spacing,
        "size": _size(source),
        "landmarks": [_landmark(prediction, i, n) for i, n in enumerate(schema.names)],
        "image": None if source.array is None else _picture(source.array),
        "csv": format_csv([titled], schema.names),
        "markups": _markups(prediction, schema.names),
    }


def heatmaps_answer(outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the heatmaps of an image as pictures, and their affine.

    The heatmaps of all landmarks are one picture, one above the other. The grey value
    128 is zero; 255 and 1 are plus and minus the landmark's largest absolute value.

    Args:
        outputs: Mapping of names to arrays, the outputs of the signature `heatmaps`
            for this image.

    Returns:
        Dict with `stages` (data URLs by the names in `STAGES`), `rows` and `columns`
        of one heatmap, and `grid_to_source`, which maps its pixels to the image's;
        `None` if it is not finite.
    """
    stages = {}
    for name in STAGES:
        if name not in outputs:
            continue
        maps = np.moveaxis(np.nan_to_num(outputs[name]), -1, 0)
        height = np.abs(maps).max(axis=(1, 2), keepdims=True)
        levels = np.rint(128 + 127 * maps / np.maximum(height, 1e-12))
        sheet = levels.astype(np.uint8).reshape(-1, maps.shape[2])
        stages[name] = _data_url(Image.fromarray(sheet), "PNG")
    rows, columns = outputs["product"].shape[:2]
    return {
        "stages": stages,
        "rows": rows,
        "columns": columns,
        "grid_to_source": _finite_or_none(outputs["grid_to_source"]),
    }


def _size(source: ImageSource) -> list[int]:
    """Returns the number of columns and rows."""
    if source.array is not None:
        return list(source.array.shape[::-1])
    return promised_size(tf.constant(source.data)).numpy()[::-1].tolist()


def _markups(prediction: Prediction, names: Sequence[str]) -> str | None:
    """Returns the points for 3D Slicer, or `None` if ITK cannot read the image."""
    try:
        return format_markups(points_in_space(prediction, names), "LPS")
    except ValueError:
        return None


def _landmark(prediction: Prediction, index: int, name: str) -> dict[str, Any]:
    unit = "mm" if prediction.calibrated else "px"
    radii, present = prediction.radius90(unit), prediction.present
    return {
        "name": name,
        "px": _finite_or_none(prediction.points_px[index]),
        "mm": _finite_or_none(prediction.points_mm[index]),
        "score": _finite_or_none(prediction.score[index]),
        "radius90": None if radii is None else _finite_or_none(radii[index]),
        "present": None if present is None else bool(present[index]),
    }


def _finite_or_none(values: np.ndarray | np.generic) -> Any:
    """Returns numbers for strict JSON, `None` if one of them is NaN or infinite."""
    return values.tolist() if np.isfinite(values).all() else None


def _picture(array: np.ndarray) -> str:
    """Returns a data URL of an image in 8 bits, without its extreme grey values."""
    low, high = np.percentile(array[::4, ::4], (0.5, 99.5))
    levels = np.clip((array - low) / max(high - low, 1e-6), 0.0, 1.0) * 255.0
    return _data_url(Image.fromarray(levels.astype(np.uint8)), "JPEG", quality=92)


def _data_url(image: Image.Image, kind: str, **settings: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{text}"
