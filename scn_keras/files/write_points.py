import os
from collections.abc import Sequence
from pathlib import Path

from scn_keras.files.atomic_write import write_text
from scn_keras.files.json_points import format_json
from scn_keras.files.point_set import PointSet
from scn_keras.files.slicer_points import format_fcsv, format_markups
from scn_keras.files.table_points import format_table


def write_points(
    path: str | os.PathLike[str],
    points: PointSet | Sequence[PointSet],
    coordinate_system: str = "LPS",
    old_fcsv: bool = False,
    layout: str = "long",
) -> None:
    """Writes points as `.mrk.json`, `.fcsv`, `.csv` or `.json`, by the file's name.

    The file is written under another name and renamed. 3D Slicer's formats hold one
    image and are in space: see `PointSet.to_lps`.

    Args:
        path: str or path, the file.
        points: PointSet, or a sequence of them, one an image, for `.csv` and `.json`.
        coordinate_system: str, `"LPS"` or `"RAS"`, of 3D Slicer's formats. What is
            written means the same in both.
        old_fcsv: bool, whether a `.fcsv` file is for 3D Slicer up to 4.10.
        layout: str, of a `.csv` file: `"long"`, one landmark a row, or `"wide"`, one
            image a row.

    Raises:
        ValueError: If the format cannot hold the points, or an argument is wrong.

    Example:

    ```python
    header = read_image_header("head.nii.gz")
    found = PointSet(("basion", "bregma"), [[60.2, 31.0, 88.4], [61.5, 80.1, 90.7]])
    write_points("head.mrk.json", found.to_lps(header))
    ```
    """
    path = Path(path)
    sets = [points] if isinstance(points, PointSet) else [*points]
    if coordinate_system not in ("LPS", "RAS"):
        raise ValueError(
            "`coordinate_system` must be LPS or RAS. Received: "
            f"coordinate_system={coordinate_system!r}"
        )
    if layout not in ("long", "wide"):
        raise ValueError(f"`layout` must be long or wide. Received: layout={layout!r}")
    if not sets:
        raise ValueError(f"There are no points to write to {path}.")
    name = path.name.lower()
    if name.endswith((".mrk.json", ".fcsv")):
        (first, *others) = sets
        if others or first.space != "LPS" or first.points.shape[1] != 3:
            raise ValueError(
                f"{path} can hold the points of one image, x, y, z in LPS (see "
                f"`PointSet.to_lps`). Received: {len(sets)} sets of points, the first "
                f"of shape {first.points.shape} in {first.space}."
            )
        if name.endswith(".fcsv"):
            text = format_fcsv(first, coordinate_system, old_fcsv)
        else:
            text = format_markups(first, coordinate_system)
    elif name.endswith(".csv"):
        if len({(s.space, s.points.shape[1]) for s in sets}) > 1:
            raise ValueError(f"All points in {path} must be in one space.")
        text = format_table(sets, layout)
    elif name.endswith(".json"):
        text = format_json(sets)
    else:
        raise ValueError(
            "A file of points must be .mrk.json, .fcsv, .csv or .json. Received: "
            f"{path}"
        )
    write_text(path, text)
