import os
import warnings
from pathlib import Path

from scn_keras.files.coco_points import parse_coco
from scn_keras.files.json_points import parse_json
from scn_keras.files.labelme_points import parse_labelme
from scn_keras.files.located_json import JsonObject, load_json
from scn_keras.files.point_set import SPACES, PointSet
from scn_keras.files.slicer_points import parse_markups, read_fcsv
from scn_keras.files.table_points import read_table


def read_points(path: str | os.PathLike[str], space: str | None = None) -> PointSet:
    """Reads the points of one image.

    Args:
        path: Str or path, see `read_point_sets`.
        space: Str, see `read_point_sets`.

    Returns:
        A `PointSet`.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file cannot be read or has the points of several images.

    Example:

    ```python
    header = read_image_header("head.nii.gz")
    points = read_points("head.mrk.json").to_pixels(header)
    ```
    """
    sets = read_point_sets(path, space)
    if len(sets) != 1:
        raise ValueError(
            f"{os.fspath(path)} must have the points of one image. Read it with "
            f"`read_point_sets`. Received: the points of {len(sets)} images"
        )
    return sets[0]


def read_point_sets(
    path: str | os.PathLike[str], space: str | None = None
) -> list[PointSet]:
    """Reads the points of one or several images.

    | file | space | missing landmark |
    |---|---|---|
    | 3D Slicer `.mrk.json` | LPS, converted from RAS | `positionStatus` undefined |
    | 3D Slicer `.fcsv`, any version | LPS, converted from RAS | status, or absent |
    | `.csv`, an image per row: `image,sella_x,sella_y` | pixels; `_mm`: LPS | empty |
    | `.csv`, a landmark per row: `image,label,x,y` | pixels; `_mm`: LPS | empty |
    | `.json` of `write_points` | as in the file | `null` |
    | labelme `.json`, points and centres of circles | pixels | absent |
    | COCO keypoints `.json` | pixels | visibility 0 |

    Args:
        path: Str or path, the file.
        space: Str, `"pixels"` or `"LPS"`, for CSV and JSON files without a space.
            Defaults to pixels.

    Returns:
        List of `PointSet`, one for each image, in the order of the file.

    Warns:
        UserWarning: If the file has shapes that are no points, or columns or
            coordinates that are not used.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file cannot be read, or an image has shapes but no points.
            The message names the file and the line.
    """
    sets = load_point_sets(path, space)
    for points in sets:
        shapes = dict.fromkeys(f"{label!r} ({kind})" for label, kind in points.shapes)
        received = ", ".join([*shapes][:5]) + ", ..." * (len(shapes) > 5)
        if shapes and not points.labels:
            of_image = f" of {points.image}" * bool(points.image)
            raise ValueError(
                f"{os.fspath(path)} has no points{of_image}. Mark landmarks as points. "
                f"Received: {received}"
            )
        if shapes:
            warnings.warn(
                f"{os.fspath(path)}: shapes that are no points are not read: "
                f"{received}.",
                stacklevel=2,
            )
    for note in dict.fromkeys(note for points in sets for note in points.notes):
        warnings.warn(note, stacklevel=2)
    return sets


def load_point_sets(
    path: str | os.PathLike[str], space: str | None = None
) -> list[PointSet]:
    """Reads points like `read_point_sets`, without its warnings.

    Args:
        path: Str or path, see `read_point_sets`.
        space: Str, see `read_point_sets`.

    Returns:
        List of `PointSet`, in which `notes` and `shapes` are what is not used.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file cannot be read. The message names the file and the line.
    """
    path = Path(path)
    if space not in (None, *SPACES):
        raise ValueError(f"`space` must be one of {SPACES}. Received: space={space!r}")
    suffix = path.suffix.lower()
    if suffix == ".fcsv":
        return [read_fcsv(path)]
    if suffix in (".csv", ".tsv"):
        return read_table(path, space)
    if suffix != ".json":
        raise ValueError(
            "A file of points must be .mrk.json, .fcsv, .csv or .json. Received: "
            f"{path}"
        )
    data = load_json(path)
    if isinstance(data, JsonObject):
        if "markups" in data:
            return [parse_markups(path, data)]
        if "shapes" in data:
            return [parse_labelme(path, data)]
        if "annotations" in data:
            return parse_coco(path, data)
        if "points" in data or "images" in data:
            return parse_json(path, data, space)
    raise ValueError(
        "A JSON file of points must be of 3D Slicer, labelme, COCO keypoints or "
        f'`{{"points": [{{"label": ..., "position": [x, y]}}]}}`. Received: {path}'
    )
