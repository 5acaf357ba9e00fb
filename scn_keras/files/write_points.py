import os
from collections.abc import Sequence
from pathlib import Path

from scn_keras.files.atomic_write import write_text
from scn_keras.files.fcsv_points import format_fcsv
from scn_keras.files.format_table import format_table
from scn_keras.files.json_points import format_json
from scn_keras.files.point_set import PointSet
from scn_keras.files.slicer_points import format_markups


def write_points(
    path: str | os.PathLike[str],
    points: PointSet | Sequence[PointSet],
    coordinate_system: str = "LPS",
    old_fcsv: bool = False,
    layout: str = "long",
) -> None:
    """Writes points as `.mrk.json`, `.fcsv`, `.csv` or `.json`, by the file's name.

    The file is written atomically. The formats of 3D Slicer, `.mrk.json` and `.fcsv`,
    hold the points of one image in space, see `PointSet.to_lps`.

    Args:
        path: Str or path, the file.
        points: `PointSet`, or for `.csv` and `.json` a sequence of them, one for each
            image.
        coordinate_system: Str, `"LPS"` or `"RAS"`, in which a file for 3D Slicer is
            written. The points are the same in both.
        old_fcsv: Bool, whether a `.fcsv` file is for 3D Slicer up to 4.10.
        layout: Str, for `.csv`: `"long"`, a landmark per row, or `"wide"`, an image per
            row.

    Raises:
        ValueError: If the format cannot hold the points, or an argument is not valid.

    Example:

    ```python
    header = read_image_header("head.nii.gz")
    points = PointSet(("basion", "bregma"), [[60.2, 31.0, 88.4], [61.5, 80.1, 90.7]])
    write_points("head.mrk.json", points.to_lps(header))
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
        raise ValueError(
            f"`points` must not be empty. Received: points={points!r} for {path}"
        )
    if any(s.from_below for s in sets):
        raise ValueError(
            f"The points for {path} must count y from above. Convert them with "
            "`PointSet.to_pixels`. Received: points whose y counts from below"
        )
    name = path.name.lower()
    if name.endswith((".mrk.json", ".fcsv")):
        (first, *others) = sets
        if others or first.space != "LPS" or first.points.shape[1] != 3:
            raise ValueError(
                f"{path} can hold the points of one image, x, y, z in LPS (see "
                f"`PointSet.to_lps`). Received: {len(sets)} sets of points, the first "
                f"of shape {first.points.shape} in {first.space}"
            )
        if name.endswith(".fcsv"):
            text = format_fcsv(first, coordinate_system, old_fcsv)
        else:
            text = format_markups(first, coordinate_system)
    elif name.endswith(".csv"):
        if len({(s.space, s.points.shape[1]) for s in sets}) > 1:
            spaces = sorted({f"{s.points.shape[1]}D {s.space}" for s in sets})
            raise ValueError(
                f"All points in {path} must be in one space. Received: {spaces}"
            )
        text = format_table(sets, layout)
    elif name.endswith(".json"):
        text = format_json(sets)
    else:
        raise ValueError(
            "A file of points must be .mrk.json, .fcsv, .csv or .json. Received: "
            f"{path}"
        )
    write_text(path, text)
