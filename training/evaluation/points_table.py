"""Tables of the predicted points of an evaluation in the folder of a run."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras.files.atomic_write import write_text
from scn_keras.files.shown_command import shown_command
from scn_keras.files.shown_text import csv_text, from_csv_text
from scn_keras.inference.located_image import LocatedImage
from scn_keras.training.run import Run

_NAMED = ("id", "group", "landmark")
# Prefixes of columns: the width of the peak, the distance to each truth (whose name is
# appended) and the 90 % radius.
_WIDTH, _ERROR, _RADIUS = "spread", "error", "radius90"


def write_points(
    run: Run,
    split: str,
    images: Sequence[LocatedImage],
    truths: Sequence[str | None],
    unit: str,
) -> dict[str, dict[str, Any]]:
    """Writes `results/SPLIT-points.csv` of a run, with distances in the given unit.

    Returns:
        The points in the form of `read_points`.
    """
    error = ["_".join(filter(None, (_ERROR, unit, truth))) for truth in truths]
    axes = "xyz"[: images[0].points_px.shape[-1]]
    fields = (
        *("id", "group", "landmark"),
        *(f"{axis}_{name}" for name in ("px", "mm") for axis in axes),
        *("score", f"{_WIDTH}_{unit}", f"{_RADIUS}_{unit}", *error),
    )
    rows = []
    for image in images:
        radii = image.radius90(unit)
        columns = np.column_stack(
            (
                *(image.points_px, image.points("mm")),
                *(image.score, image.peak_width(unit)),
                np.full(len(image.score), np.nan) if radii is None else radii,
                *(image.distances(truth, unit) for truth in truths),
            )
        )
        for name, numbers in zip(run.schema.names, columns, strict=True):
            text = ("" if np.isnan(n) else f"{n:.4f}" for n in numbers)
            cells = (image.id, image.group, name, *text)
            rows.append(dict(zip(fields, cells, strict=True)))
    path = _path(run, split)
    path.parent.mkdir(exist_ok=True)
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, fields)
    writer.writeheader()
    writer.writerows(
        {k: csv_text(v) if k in _NAMED else v for k, v in row.items()} for row in rows
    )
    write_text(path, table.getvalue())
    return _by_image(rows, fields)


def read_points(run: Run, split: str) -> dict[str, dict[str, Any]]:
    """Reads the points that `evaluate` has written for a split.

    Returns:
        Dict from ids to dicts with `group` (the patient), `points_px` `(N, D)`, `score`
        `(N,)`, `spread` `(N,)` (the width of the heatmap's peak), `radius90` `(N,)`
        (the 90 % radius, NaN without calibration), and `errors`, a dict from truths to
        distances `(N,)`, NaN if a landmark is missing. Widths, radii and distances are
        in the unit of the results' protocol.

    Raises:
        FileNotFoundError: If the split has not been evaluated.
    """
    path = _path(run, split)
    if not path.is_file():
        raise FileNotFoundError(
            f"{run.path} has not been evaluated on {split!r}. Run "
            f"{evaluate_command(run, split)} first."
        )
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = [
            {k: from_csv_text(v) if k in _NAMED else v for k, v in row.items()}
            for row in reader
        ]
        return _by_image(rows, reader.fieldnames or ())


def _by_image(
    rows: Sequence[Mapping[str, str]], fields: Sequence[str]
) -> dict[str, dict[str, Any]]:
    axes = [n for n in fields if n in ("x_px", "y_px", "z_px")]
    (width,) = (n for n in fields if n.startswith(f"{_WIDTH}_"))
    error, radius = (width.replace(_WIDTH, name) for name in (_ERROR, _RADIUS))
    names = [n for n in fields if n.startswith(error)]
    images: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        images.setdefault(row["id"], []).append(row)

    def column(lines: Sequence[Mapping[str, str]], name: str) -> np.ndarray:
        # Evaluations of earlier versions have no radius.
        return np.array([float(line.get(name) or "nan") for line in lines])

    return {
        id: {
            "group": lines[0]["group"],
            "points_px": np.stack([column(lines, axis) for axis in axes], -1),
            "score": column(lines, "score"),
            "spread": column(lines, width),
            "radius90": column(lines, radius),
            "errors": {
                name.removeprefix(error).removeprefix("_") or None: column(lines, name)
                for name in names
            },
        }
        for id, lines in images.items()
    }


def _path(run: Run, split: str) -> pathlib.Path:
    return run.path / "results" / f"{split}-points.csv"


def evaluate_command(run: Run, split: str) -> str:
    """Returns the command that gives results on a split, for a message.

    Args:
        run: `Run`.
        split: Str, a split, or the name of the results on a folder.
    """
    if split.startswith("folder_"):
        return shown_command("evaluate", run.path, "--folder", "FOLDER")
    return shown_command("evaluate", run.path, "--split", split)
