import os
from pathlib import Path

from scn_keras.files.json_points import parse_coco, parse_json, parse_labelme
from scn_keras.files.located_json import JsonObject, load_json
from scn_keras.files.point_set import SPACES, PointSet
from scn_keras.files.slicer_points import parse_markups, read_fcsv
from scn_keras.files.table_points import read_table


def read_points(path: str | os.PathLike[str], space: str | None = None) -> PointSet:
    """Reads the points of one image.

    Args:
        path: str or path, as for `read_point_sets`.
        space: str, as for `read_point_sets`.

    Returns:
        A `PointSet`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As `read_point_sets`; also if the file holds several images.

    Example:

    ```python
    header = read_image_header("head.nii.gz")
    points = read_points("head.mrk.json").to_pixels(header)
    ```
    """
    sets = read_point_sets(path, space)
    if len(sets) != 1:
        raise ValueError(
            f"{os.fspath(path)} must hold the points of one image. Received: those of "
            f"{len(sets)}. Read it with `read_point_sets`."
        )
    return sets[0]


def read_point_sets(
    path: str | os.PathLike[str], space: str | None = None
) -> list[PointSet]:
    """Reads a file of points, of one image or of many.

    | file | space | missing |
    |---|---|---|
    | 3D Slicer `.mrk.json` | LPS, RAS is turned into it | position not defined |
    | 3D Slicer `.fcsv`, any version | LPS, RAS is turned into it | status, absent |
    | `.csv`, one image a row: `image,sella_x,sella_y` | pixels; `_mm`: LPS | empty |
    | `.csv`, one landmark a row: `image,label,x,y` | pixels; `_mm`: LPS | empty |
    | `.json`, our own (`write_points`) | as it says | `null` |
    | labelme `.json`, points | pixels | absent |
    | COCO keypoints `.json` | pixels | visibility 0 |

    Args:
        path: str or path, the file.
        space: str, `"pixels"` or `"LPS"`, for CSV and JSON files that do not say.
            Defaults to pixels.

    Returns:
        List of `PointSet`, one an image, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read. The message names the file and the line.
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
        f"{path} is JSON, but neither markups of 3D Slicer nor of labelme, COCO "
        'keypoints or `{"points": [{"label": ..., "position": [x, y]}]}`.'
    )
