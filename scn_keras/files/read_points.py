import dataclasses
import os
import warnings
from pathlib import Path

from scn_keras.files._excel_rows import read_excel_rows
from scn_keras.files._point_problems import PointProblems
from scn_keras.files._short_errors import with_short_errors
from scn_keras.files._table_rows import TableRows, read_csv_rows
from scn_keras.files.coco_points import parse_coco
from scn_keras.files.cvat_points import read_cvat
from scn_keras.files.fcsv_points import read_fcsv
from scn_keras.files.json_points import parse_json
from scn_keras.files.label_studio_points import parse_label_studio
from scn_keras.files.labelme_points import parse_labelme
from scn_keras.files.located_json import JsonObject, load_json
from scn_keras.files.point_set import SPACES, PointSet
from scn_keras.files.pts_points import read_pts
from scn_keras.files.slicer_points import parse_markups
from scn_keras.files.table_formats import is_header, parse_rows
from scn_keras.files.tps_points import read_tps
from scn_keras.files.unread_formats import advice_for, is_sidecar
from scn_keras.files.via_points import is_via, parse_via

# In order of precedence. Files with the last three are recognised by their contents.
POINT_SUFFIXES = (
    *(".mrk.json", ".fcsv", ".csv", ".tsv", ".json", ".xlsx", ".xlsm", ".tps", ".pts"),
    *(".xml", ".txt", ".xls"),
)

# Which images were dealt into which splits, beside the images that it is about.
DEALT_SPLITS = "dealt_splits.json"


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


@with_short_errors
def read_point_sets(
    path: str | os.PathLike[str], space: str | None = None
) -> list[PointSet]:
    """Reads the points of one or several images.

    See docs/formats.md for the rules of each format.

    | file | space | missing landmark |
    |---|---|---|
    | 3D Slicer `.mrk.json`, `.fcsv` | LPS, converted from RAS | undefined, or absent |
    | `.csv`, `.xlsx`: `image,sella_x,sella_y` | pixels; `_mm`: LPS | empty |
    | `.csv`, `.xlsx`: `image,label,x,y` | pixels; `_mm`: LPS | empty |
    | `.json` of `write_points` | as in the file | `null` |
    | labelme `.json`, points and centres of circles | pixels | absent |
    | COCO keypoints `.json` | pixels | visibility 0 |
    | CVAT `.xml`, Label Studio `.json` | pixels | absent, outside |
    | VIA 1 and 2 `.json`, `.csv` | pixels | absent |
    | DeepLabCut `.csv` | pixels | empty |
    | ImageJ, napari `.csv`; `.tps`; `.pts`: numbered | pixels | TPS: -1, -1 |

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


@with_short_errors
def load_point_sets(
    path: str | os.PathLike[str],
    space: str | None = None,
    problems: PointProblems | None = None,
) -> list[PointSet]:
    """Reads points like `read_point_sets`, without its warnings.

    Args:
        path: Str or path, see `read_point_sets`.
        space: Str, see `read_point_sets`.
        problems: `PointProblems`, to which invalid rows, positions and other entries
            are added; points of their images may be absent or NaN. None to raise an
            error with all of them.

    Returns:
        List of `PointSet`, in which `notes` and `shapes` are what is not used.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file cannot be read. The message names the file and the line.
    """
    path = Path(path)
    if space not in (None, *SPACES):
        raise ValueError(f"`space` must be one of {SPACES}. Received: space={space!r}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = PointProblems() if problems is None else problems
        sets = _read(path, space, found)
    if problems is None:
        found.raise_if_any(path)
    notes = dict.fromkeys(str(warning.message) for warning in caught)
    return [
        dataclasses.replace(points, notes=[*points.notes, *notes]) if notes else points
        for points in sets
    ]


def is_points_file(path: Path) -> bool:
    """Returns whether a file is read as points, by its name and its first bytes.

    Args:
        path: Path, an existing regular file.
    """
    name = path.name.lower()
    if not name.endswith(POINT_SUFFIXES) or name == DEALT_SPLITS or is_sidecar(path):
        return False
    if not name.endswith((".txt", ".xml", ".xls")):
        return True
    with path.open("rb") as file:
        start = file.read(4000).replace(b"\0", b"").decode("latin-1")
    if name.endswith(".xml"):
        return "<annotations" in start
    # Programs write tables with these extensions, too.
    return is_header(start.lstrip("\u00ef\u00bb\u00bf\u00ff\u00fe"))


def read_rows(path: Path) -> TableRows:
    """Reads the rows of a table, CSV or Excel.

    Args:
        path: Path, the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImportError: If it is a workbook and openpyxl is not installed.
        ValueError: If the file is not a table.
    """
    if path.name.lower().endswith((".xlsx", ".xlsm")):
        return read_excel_rows(path)
    return read_csv_rows(path)


def _read(path: Path, space: str | None, problems: PointProblems) -> list[PointSet]:
    name = path.name.lower()
    if name.endswith(".fcsv"):
        return [read_fcsv(path, problems)]
    if name.endswith(".tps"):
        return read_tps(path, problems)
    if name.endswith(".pts"):
        return [read_pts(path, problems)]
    if name.endswith(".xml"):
        return read_cvat(path, problems)
    if name.endswith(".json"):
        return _read_json(path, space, problems)
    if not name.endswith((".csv", ".tsv", ".xlsx", ".xlsm")) and path.is_file():
        if (advice := advice_for(path)) and not is_points_file(path):
            raise ValueError(advice)
        if not name.endswith(POINT_SUFFIXES):
            raise ValueError(
                f"A file of points must be {', '.join(POINT_SUFFIXES[:-1])} or "
                f"{POINT_SUFFIXES[-1]}. Received: {path}"
            )
    return parse_rows(read_rows(path), space, problems)


def _read_json(
    path: Path, space: str | None, problems: PointProblems
) -> list[PointSet]:
    data = load_json(path)
    if isinstance(data, list) and data:
        return parse_label_studio(path, data, problems)
    if isinstance(data, JsonObject):
        if "markups" in data:
            return [parse_markups(path, data, problems)]
        if "shapes" in data:
            return [parse_labelme(path, data, problems)]
        if is_via(data):
            return parse_via(path, data, problems)
        if "annotations" in data:
            return parse_coco(path, data, problems)
        if "points" in data or "images" in data:
            return parse_json(path, data, space, problems)
    raise ValueError(
        "A JSON file of points must be of 3D Slicer, labelme, COCO keypoints, VIA 2, "
        'Label Studio or `{"points": [{"label": ..., "position": [x, y]}]}`. Received: '
        f"{path}"
    )
