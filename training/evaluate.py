"""Scores a run against every truth, in one pass over the images."""

import csv
import dataclasses
import io
import itertools
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import rich.console
import rich.markup
from rich import progress

from scn_keras import __version__
from scn_keras.files.atomic_write import write_text
from scn_keras.geometry import apply_affine, spacing_of
from scn_keras.metrics.on_arrays import point_distances
from scn_keras.training import data, inference, pipeline
from scn_keras.training.run import Run
from scn_keras.training.statistics import RESAMPLES, error_statistics, moments

if TYPE_CHECKING:
    from scn_keras.datasets import LandmarkBuilder

# What a recipe holds out of its training images, as if it were a split.
HELD_OUT = "held_out"

_ERROR = "error_mm"  # column of the distance to a truth, with its name appended


@dataclasses.dataclass(frozen=True)
class Case:
    """One image: what was found, and the truth of every observer."""

    id: str
    group: str
    affine: np.ndarray
    points_px: np.ndarray
    points_mm: np.ndarray
    score: np.ndarray
    spread_mm: np.ndarray
    truth_mm: Mapping[str | None, np.ndarray]

    def distances(self, truth: str | None) -> np.ndarray:
        return point_distances(self.truth_mm[truth], self.points_mm)


def evaluate(
    run: Run,
    split: str | None = None,
    observers: Sequence[str] | None = None,
    data_dir: str | pathlib.Path | None = None,
    batch_size: int = 4,
    console: rich.console.Console | None = None,
) -> list[dict[str, Any]]:
    """Scores a run on a split, and on the subsets that the data set names in it.

    Every image is read and located once; its points are compared with every truth,
    in the image's own pixels, brought to millimetres by its affine. An image whose
    affine has no usable spacing is named and not scored. Writes into the run
    `results/SCOPE-OBSERVER.json` for each split or subset and truth
    (`results/SCOPE.json` where the set has one truth) and every point to
    `results/SPLIT-points.csv`.

    Args:
        run: `Run`, its training ended.
        split: Str, a TFDS split, a subset of the builder, or `"held_out"` for the
            images that the recipe holds out of its training split; `None` for the
            recipe's `test_split`.
        observers: Sequence of str, the truths: observers of the data set and
            `"mean"`. `None` for all of them.
        data_dir: Where prepared data sets lie.
        batch_size: Int.
        console: `rich.console.Console` for the progress bar and remarks.

    Returns:
        The results, the split's before its subsets'. Each has the keys of
        `error_statistics`, and `protocol` (what the numbers mean), `seconds` (of
        the whole pass), `ids` (of the images), `excluded` (ids of images without
        usable spacing) and,
        where there are several observers, `between_observers` (how far those are
        from each other on the same images).

    Raises:
        FileNotFoundError: If data set or model are not there.
        ValueError: If split or observer are not known, a subset is incomplete, no
            image can be scored, or the model gives points that are not numbers.

    Example:

    ```python
    from scn_keras.training.evaluate import evaluate
    from scn_keras.training.result_table import print_results
    from scn_keras.training.run import Run

    results = evaluate(Run("runs/cephalogram_fast"), split="test1")
    print_results(results, landmarks=True)
    ```
    """
    console = console or rich.console.Console()
    split = split or run.recipe.test_split
    builder = data.prepared_builder(run.recipe.dataset, data_dir)
    truths = known_truths(builder)
    if unknown := sorted(set(observers or ()) - set(truths)):
        raise ValueError(
            f"The data set {builder.name!r} has the truths {list(truths)}. "
            f"Received: {unknown}"
        )
    cases, seconds = locate_cases(run, builder, split, data_dir, batch_size, console)
    about = {"command": _command(run, split, data_dir)}
    return write_results(run, builder, split, cases, seconds, about, observers)


def locate_cases(
    run: Run,
    builder: "LandmarkBuilder",
    split: str,
    data_dir: str | pathlib.Path | None = None,
    batch_size: int = 4,
    console: rich.console.Console | None = None,
) -> tuple[list[Case], float]:
    """Finds the points of a split: its cases in the order of their ids, and seconds."""
    console = console or rich.console.Console()
    truths = known_truths(builder)
    if split == HELD_OUT:
        _, samples = data.training_samples(run.recipe, data_dir)
        if samples is None:
            raise ValueError(
                f"The recipe of {run.path} holds no images out of its training split. "
                f"Received: split={split!r}"
            )
    else:
        samples = data.load_samples(run.recipe.dataset, split, data_dir)
    model = run.load_model()

    started = time.monotonic()
    located = progress.track(
        inference.locate(model, samples, run.recipe, batch_size, run.views),
        f"evaluate {run.recipe.name} on {split}",
        total=int(samples.cardinality()),
        console=console,
    )
    cases = sorted(
        (_case(found, truths, builder) for found in located), key=lambda c: c.id
    )
    seconds = time.monotonic() - started
    for case in cases:
        if not _usable(case.affine):
            affine = rich.markup.escape(str(case.affine.tolist()))
            console.print(
                f"[yellow]Not scored: image {case.id} has no usable spacing (affine "
                f"{affine})."
            )
    return cases, seconds


def write_results(
    run: Run,
    builder: "LandmarkBuilder",
    split: str,
    cases: Sequence[Case],
    seconds: float,
    about: Mapping[str, Any],
    observers: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Writes results and points of a split into a run, and returns the results.

    What is said in `about` is added to the protocol.
    """
    truths = known_truths(builder)
    _write_points(_points_path(run, split), cases, truths, run)
    results = []
    for scope, ids in _scopes(builder, split):
        part = cases if ids is None else [case for case in cases if case.id in ids]
        if ids is not None and len(part) != len(ids):
            raise ValueError(
                f"The subset {scope!r} is {len(ids)} images, of which the prepared "
                f"data set has {len(part)}. Prepare it again."
            )
        for truth in observers or truths:
            result = _result(run, builder, scope, truth, part, seconds)
            result["protocol"] |= about
            run.write_result(f"{scope}-{truth}" if truth else scope, result)
            results.append(result)
    return results


def known_truths(builder: "LandmarkBuilder") -> tuple[str | None, ...]:
    """Returns what predictions can be scored against.

    The observers, their mean, and other ground truths that a set may have. A set with
    one observer has the truth `None`.
    """
    if not builder.OBSERVERS:
        return (None,)
    return (*builder.OBSERVERS, "mean", *builder.GROUND_TRUTHS)


def true_points(
    sample: Mapping[str, Any], truth: str | None, builder: "LandmarkBuilder"
) -> np.ndarray:
    """Returns the points `(N, D)` of a stored sample that are one of `known_truths`."""
    if truth in builder.GROUND_TRUTHS:
        return np.asarray(sample[f"points_{truth}"], np.float64)
    # What was found has points of another name, and a ground truth is no observer.
    observed = {
        name: sample[name]
        for name in builder.point_features()
        if name.removeprefix("points_") not in builder.GROUND_TRUTHS
    }
    return np.asarray(pipeline.observed_points(observed, truth), np.float64)


def read_points(run: Run, split: str) -> dict[str, dict[str, Any]]:
    """Reads what `evaluate` found on a split.

    Returns:
        Dict by id of dicts with `group` (the patient), `points_px` `(N, D)`, `score`
        and `spread_mm` (the width of the heatmap's peak) `(N,)`, and `errors`, a dict
        by truth of distances in mm `(N,)`, NaN where there is none.

    Raises:
        FileNotFoundError: If the split has not been evaluated.
    """
    path = _points_path(run, split)
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
        names = [n for n in fields if n.startswith(_ERROR)]
        axes = [n for n in fields if n.endswith("_px")]

    def column(lines, name):
        return np.array([float(line[name] or "nan") for line in lines])

    return {
        id: {
            "group": lines[0]["group"],
            "points_px": np.stack([column(lines, axis) for axis in axes], -1),
            "score": column(lines, "score"),
            "spread_mm": column(lines, "spread_mm"),
            "errors": {
                name.removeprefix(_ERROR).removeprefix("_") or None: column(lines, name)
                for name in names
            },
        }
        for id, lines in rows.items()
    }


def _case(
    found: Mapping[str, Any],
    truths: Sequence[str | None],
    builder: "LandmarkBuilder",
) -> Case:
    id = found["id"].decode()
    if not np.isfinite(found["points_px"]).all():
        raise ValueError(
            f"The model gives points that are not numbers for image {id}: its training "
            "has diverged. Train it again with a lower learning rate."
        )
    affine = found["affine"].astype(np.float64)
    to_mm = affine if _usable(affine) else np.full_like(affine, np.nan)
    return Case(
        id,
        found["group"].decode(),
        affine,
        found["points_px"],
        apply_affine(to_mm, found["points_px"].astype(np.float64)),
        found["score"],
        _spread(to_mm[:-1, :-1], found["covariance_px2"]),
        {
            truth: apply_affine(to_mm, true_points(found, truth, builder))
            for truth in truths
        },
    )


def _spread(linear: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """How far off the heatmaps say that points are: root mean squares in mm."""
    in_mm = linear @ covariance.astype(np.float64) @ linear.T
    return np.sqrt(np.trace(in_mm, axis1=-2, axis2=-1))


def _usable(affine: np.ndarray) -> bool:
    return bool(
        np.isfinite(affine).all() and abs(np.linalg.det(affine[:-1, :-1])) > 0.0
    )


def _scopes(
    builder: "LandmarkBuilder", split: str
) -> Iterator[tuple[str, frozenset[str] | None]]:
    """Yields the split itself and the named parts of it that are reported as well."""
    yield split, builder.SUBSETS.get(split, (None, None))[1]
    for name, (base, ids) in builder.SUBSETS.items():
        if base == split:
            yield name, ids


def _result(run, builder, scope, truth, cases, seconds):
    names = run.schema.names
    groups = [case.group for case in cases]
    distances = [case.distances(truth) for case in cases]
    numbers = error_statistics(
        np.reshape(distances, (len(cases), len(names))), names, groups
    )
    spacings = np.stack(
        [spacing_of(case.affine) for case in cases if _usable(case.affine)]
    )
    recipe = run.recipe
    protocol = {
        "dataset": builder.info.full_name,
        "split": scope,
        "subset_of": builder.SUBSETS.get(scope, (None, None))[0],
        "n_images": numbers["n_images"],
        "truth": truth,
        "training_observer": recipe.observer,
        "train_split": recipe.train_split,
        "validation": recipe.validation if recipe.fold is None else None,
        "fold": recipe.fold and list(recipe.fold),
        "spacing": builder.SPACING_RULE,
        "spacing_mm": [float(np.min(spacings)), float(np.max(spacings))],
        "inequality": "<",
        "pooling": "all points of all images; sd of the population",
        "interval": f"bootstrap of patients, {RESAMPLES} resamples, percentiles",
        "decoder": recipe.peak,
        "grid": list(recipe.grid),
        "inference": run.inference,
        "recipe": recipe.name,
        "steps": recipe.steps,
        "seed": recipe.seed,
        "scn_keras": __version__,
    }
    result = {"protocol": protocol, **numbers, "seconds": round(seconds, 2)}
    result["ids"] = [case.id for case in cases if _usable(case.affine)]
    result["excluded"] = [case.id for case in cases if not _usable(case.affine)]
    if builder.OBSERVERS:
        result["between_observers"] = [
            _apart(pair, cases) for pair in itertools.combinations(builder.OBSERVERS, 2)
        ]
    return result


def _apart(pair, cases):
    first, second = (
        np.stack([case.truth_mm[observer] for case in cases]) for observer in pair
    )
    distances = point_distances(first, second)
    return {"names": list(pair), **moments(distances[~np.isnan(distances)])}


def _command(run: Run, split: str, data_dir: str | pathlib.Path | None) -> list[str]:
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    return ["scn-keras", "evaluate", str(run.path), "--split", split, *where]


def _points_path(run, split):
    return run.path / "results" / f"{split}-points.csv"


def _write_points(path, cases, truths, run):
    error = [f"{_ERROR}_{truth}" if truth else _ERROR for truth in truths]
    axes = "xyz"[: cases[0].points_px.shape[-1]]
    path.parent.mkdir(exist_ok=True)
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(
        (
            *("id", "group", "landmark"),
            *(f"{axis}_{unit}" for unit in ("px", "mm") for axis in axes),
            *("score", "spread_mm", *error),
        )
    )
    for case in cases:
        distances = [case.distances(truth) for truth in truths]
        for row, name in enumerate(run.schema.names):
            numbers = (
                *case.points_px[row],
                *case.points_mm[row],
                case.score[row],
                case.spread_mm[row],
                *(distance[row] for distance in distances),
            )
            writer.writerow(
                (case.id, case.group, name)
                + tuple("" if np.isnan(n) else f"{n:.4f}" for n in numbers)
            )
    write_text(path, table.getvalue())
