"""Every point that evaluation found, as a table in the folder of a run."""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from scn_keras.files.atomic_write import write_text
from scn_keras.inference.located_image import LocatedImage
from scn_keras.training.run import Run

# Columns: the peak's width, and the distance to each truth with its name appended.
_SPREAD, _ERROR, _RADIUS = "spread", "error", "radius90"


def write_points(
    run: Run,
    split: str,
    images: Sequence[LocatedImage],
    truths: Sequence[str | None],
    unit: str,
) -> None:
    """Writes `results/SPLIT-points.csv` of a run, distances in the unit."""
    error = ["_".join(filter(None, (_ERROR, unit, truth))) for truth in truths]
    axes = "xyz"[: images[0].points_px.shape[-1]]
    path = _path(run, split)
    path.parent.mkdir(exist_ok=True)
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(
        (
            *("id", "group", "landmark"),
            *(f"{axis}_{name}" for name in ("px", "mm") for axis in axes),
            *("score", f"{_SPREAD}_{unit}", f"{_RADIUS}_{unit}", *error),
        )
    )
    for image in images:
        columns = np.column_stack(
            (
                *(image.points_px, image.points("mm")),
                *(image.score, image.spread(unit), image.radius90(unit)),
                *(image.distances(truth, unit) for truth in truths),
            )
        )
        for name, numbers in zip(run.schema.names, columns, strict=True):
            writer.writerow(
                (image.id, image.group, name)
                + tuple("" if np.isnan(n) else f"{n:.4f}" for n in numbers)
            )
    write_text(path, table.getvalue())


def read_points(run: Run, split: str) -> dict[str, dict[str, Any]]:
    """Reads what `evaluate` found on a split.

    Returns:
        Dict by id of dicts with `group` (the patient), `points_px` `(N, D)`, `score`,
        `spread` (the width of the heatmap's peak) and `radius90` (within what the
        point lies with 90 %, NaN where the run was not calibrated) `(N,)`, and
        `errors`, a dict by truth of distances `(N,)`, NaN where there is none. Widths,
        radii and distances are in the unit of the results' protocol.

    Raises:
        FileNotFoundError: If the split has not been evaluated.
    """
    path = _path(run, split)
    if not path.is_file():
        raise FileNotFoundError(
            f"{run.path} has not been evaluated on {split!r}. Run `scn-keras evaluate "
            f"{run.path} --split {split}` first."
        )
    rows: dict[str, list[dict[str, str]]] = {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            rows.setdefault(row["id"], []).append(row)
        fields = reader.fieldnames or ()
        axes = [n for n in fields if n in ("x_px", "y_px", "z_px")]
        (spread,) = (n for n in fields if n.startswith(f"{_SPREAD}_"))
        error, radius = (spread.replace(_SPREAD, name) for name in (_ERROR, _RADIUS))
        names = [n for n in fields if n.startswith(error)]

    def column(lines, name):
        # Evaluations of earlier versions know no radius.
        return np.array([float(line.get(name) or "nan") for line in lines])

    return {
        id: {
            "group": lines[0]["group"],
            "points_px": np.stack([column(lines, axis) for axis in axes], -1),
            "score": column(lines, "score"),
            "spread": column(lines, spread),
            "radius90": column(lines, radius),
            "errors": {
                name.removeprefix(error).removeprefix("_") or None: column(lines, name)
                for name in names
            },
        }
        for id, lines in rows.items()
    }


def _path(run: Run, split: str) -> pathlib.Path:
    return run.path / "results" / f"{split}-points.csv"
