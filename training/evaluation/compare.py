"""Compares two runs on the same images, with paired bootstrap intervals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console
from rich import box
from rich import table as rich_table
from rich.markup import escape

from scn_keras.training.evaluation.points_table import (
    evaluate_command,
    read_points,
)
from scn_keras.training.evaluation.seen_images import UNSEEN
from scn_keras.training.evaluation.statistics import (
    CI95_PERCENTILES,
    COMPARED_RADII,
    radius_key,
    resample_groups,
)
from scn_keras.training.run import Run

RESAMPLES = 10_000
# Entries of the protocol that must be equal for two results to be comparable.
PROTOCOL = (
    "dataset",
    "split",
    "n_images",
    "truth",
    "unit",
    "spacing",
    "inequality",
    "pooling",
)
# Entries whose differences do not affect the results.
_INCIDENTAL = (
    *("command", "run", "scn_keras", "subset_of", "spacing_mm", "interval"),
    *("trained_on", "published_splits"),
)


def compare(
    first: Run,
    second: Run,
    split: str | None = None,
    radii: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    with_trained: bool = False,
) -> list[dict[str, Any]]:
    """Compares two evaluated runs image by image, with paired intervals.

    The distances of two runs on the same image are correlated, so the interval of
    their difference is much narrower than the intervals of the two means suggest.
    Patients are resampled with replacement, each with the distances of both runs. The
    interval contains 95 % of the resampled differences, and `p` is twice the smaller
    fraction of them on either side of 0. Landmarks without a distance in either run are
    excluded.

    Args:
        first: `Run`, evaluated on the split.
        second: `Run`, evaluated on the split.
        split: Str, a split or subset on which both were evaluated; `None` for the test
            split of the first run's recipe.
        radii: Sequence of floats, the radii of the success detection rates; `None` for
            2 and 4 mm, or 10 and 20 px.
        resamples: Int, the number of bootstrap resamples of the patients.
        seed: Int, the seed of the resamples.
        with_trained: Bool, whether a run may have been trained on some of the images.

    Returns:
        List of dicts, one for each truth of the data set: `protocol`, the entries that
        both runs share; `differs`, the other entries by name, as pairs; `trained_on`,
        the numbers of images that the runs were trained on (if there are any, a second
        dict is of the others, with the split `SPLIT_unseen`); `n_images`;
        `n_points`; and `mre_mm` (`mre_px` for results in pixels), `sdr_percent` (by
        radius) and `per_landmark` (with `name`), each of them a dict with `first`,
        `second`, `difference` (second - first), `ci95` and `p`.

    Raises:
        FileNotFoundError: If a run has not been evaluated on the split.
        ValueError: If the protocols or the images of the runs differ, or a run was
            trained on some of the images.

    Example:

    ```python
    for result in compare(Run("runs/unet"), Run("runs/scn"), "test1_unique"):
        print(result["protocol"]["truth"], result["mre_mm"]["difference"])
    ```
    """
    split = split or first.recipe.test_split
    runs = first, second
    first_results, second_results = (_results(run, split) for run in runs)
    if first_results.keys() != second_results.keys():
        raise ValueError(
            f"Both runs must be evaluated on {split!r} with the same truths. Received: "
            f"truths={sorted(map(str, first_results))} and "
            f"truths={sorted(map(str, second_results))}"
        )
    compared = []
    for truth, result in first_results.items():
        results = result, second_results[truth]
        for entry, ids in _scopes(runs, results, with_trained):
            part = {**result, "ids": ids}
            compared.append(
                {**entry, **_paired(first, second, part, radii, resamples, seed)}
            )
    return compared


def _scopes(
    runs: tuple[Run, Run],
    results: tuple[Mapping[str, Any], Mapping[str, Any]],
    with_trained: bool,
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yields what is stated of a comparison, and the ids of its images.

    First of all images and, if a run was trained on some, then of the others.
    """
    protocols = [result["protocol"] for result in results]
    _check_comparable(*runs, protocols)
    stated = {key: protocols[0][key] for key in PROTOCOL}
    counts = [protocol.get("trained_on") for protocol in protocols]
    differs, ids = _differences(protocols), results[0]["ids"]
    yield {"protocol": stated, "differs": differs, "trained_on": counts}, ids
    if not any(counts):
        return
    if not (with_trained or protocols[0].get("published_splits")):
        _refuse(runs, protocols)
    unseen = [_unseen(*pair) for pair in zip(runs, results, strict=True)]
    if rest := [id for id in ids if id in unseen[0] & unseen[1]]:
        stated = {**stated, "split": f"{stated['split']}{UNSEEN}"}
        yield {"protocol": stated, "differs": differs, "trained_on": [0, 0]}, rest


def print_comparison(
    compared: Sequence[dict[str, Any]],
    names: tuple[str, str],
    console: rich.console.Console | None = None,
    landmarks: bool = False,
) -> None:
    """Prints a comparison as a table for each truth.

    Args:
        compared: The result of `compare`.
        names: Tuple of two str, the names of the runs.
        console: `rich.console.Console`; `None` for the standard output.
        landmarks: Bool, whether to print a row for each landmark as well.
    """
    console = console or rich.console.Console()
    for result in compared:
        protocol = result["protocol"]
        unit = protocol["unit"]
        against = f" against {protocol['truth']}" if protocol["truth"] else ""
        table = rich_table.Table(
            title=f"{protocol['split']}{_seen(result)}{against}: "
            f"{result['n_images']} images, {result['n_points']} points",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
        )
        table.add_column("")
        for label in ("first", "second", "second - first", "95 % interval", "p"):
            table.add_column(label, justify="right", no_wrap=True)
        table.add_row(f"MRE, {unit}", *_cells(result[f"mre_{unit}"], 3))
        for radius, numbers in result["sdr_percent"].items():
            table.add_row(f"< {radius} {unit}, %", *_cells(numbers, 1))
        for numbers in result["per_landmark"] if landmarks else ():
            table.add_row(f"[dim]{escape(numbers['name'])}", *_cells(numbers, 3))
        console.print(table, "")
    first, second = map(escape, names)
    console.print(f"first: {first}\nsecond: {second}", highlight=False)
    for key, values in compared[0]["differs"].items():
        first, second = (escape(str(value)) for value in values)
        console.print(f"[dim]{key}: {first} and {second}")


def _seen(result: Mapping[str, Any]) -> str:
    counts = result["trained_on"]
    if not any(counts):
        return ""
    return f" (trained on {' and '.join(str(count or 0) for count in counts)} of them)"


def _cells(numbers, digits):
    if numbers["difference"] is None:
        return ("–",) * 5
    low, high = numbers["ci95"]
    return (
        f"{numbers['first']:.{digits}f}",
        f"{numbers['second']:.{digits}f}",
        f"{numbers['difference']:+.{digits}f}",
        f"{low:+.{digits}f} … {high:+.{digits}f}",
        f"{numbers['p']:.3f}" if numbers["p"] >= 1e-3 else "< 0.001",
    )


def _results(run: Run, split: str) -> dict[str | None, dict[str, Any]]:
    """Reads the results of a split, by truth."""
    results = {}
    for result in run.results():
        # Early versions, without results in pixels, did not write a unit.
        protocol = result["protocol"] = {"unit": "mm", **result["protocol"]}
        if protocol.get("split") == split:
            results[protocol["truth"]] = result
    if not results:
        raise FileNotFoundError(
            f"{run.path} has no result on {split!r}. Run "
            f"{evaluate_command(run, split)} first."
        )
    return results


def _check_comparable(
    first: Run, second: Run, protocols: Sequence[Mapping[str, Any]]
) -> None:
    one, other = protocols
    if differing := [key for key in PROTOCOL if one[key] != other[key]]:
        entries = "; ".join(f"{key}: {one[key]} and {other[key]}" for key in differing)
        raise ValueError(
            f"The results of {first.path} and {second.path} cannot be compared, "
            f"because their protocols differ. Received: {entries}"
        )


def _refuse(runs: Sequence[Run], protocols: Sequence[Mapping[str, Any]]) -> None:
    counts = " and ".join(
        f"{run.path}, trained on {protocol.get('trained_on') or 0}"
        for run, protocol in zip(runs, protocols, strict=True)
    )
    raise ValueError(
        "A comparison on images that one of the models was trained on favours this "
        "model. Evaluate both on other images, or give --with-trained for both "
        f"comparisons, with and without them, marked. Received: {counts} of the "
        f"{protocols[0]['n_images']} images of {protocols[0]['split']!r}"
    )


def _unseen(run: Run, result: Mapping[str, Any]) -> set[str]:
    """Returns the ids of a result on whose images the run was not trained."""
    protocol = result["protocol"]
    if not (count := protocol.get("trained_on")):
        return {*result["ids"]}
    if count >= protocol["n_images"]:
        return set()
    return {*_results(run, f"{protocol['split']}{UNSEEN}")[protocol["truth"]]["ids"]}


def _differences(protocols: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    first, second = protocols
    return {
        key: [first.get(key), second.get(key)]
        for key in first
        if key not in _INCIDENTAL and first.get(key) != second.get(key)
    }


def _points(run, protocol):
    """Reads the points of a split, or of the split that contains a subset."""
    try:
        return read_points(run, protocol["split"])
    except FileNotFoundError:
        if protocol["subset_of"] is None:
            raise
        return read_points(run, protocol["subset_of"])


def _paired(
    first: Run,
    second: Run,
    result: Mapping[str, Any],
    radii: Sequence[float] | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Compares two runs on the images and against the truth of a result."""
    unit = result["protocol"]["unit"]
    distances, groups = _distances(first, second, result)
    present = ~np.isnan(distances).any(axis=0)
    group, counts = resample_groups(groups, resamples, seed)
    draws = counts[:, group]
    return {
        "n_images": int(present.any(axis=1).sum()),
        "n_points": int(present.sum()),
        f"mre_{unit}": _difference(distances, present, draws),
        "sdr_percent": {
            radius_key(radius): _difference(
                100.0 * (distances < radius), present, draws
            )
            for radius in radii or COMPARED_RADII[unit]
        },
        "per_landmark": [
            {
                "name": name,
                **_difference(distances[:, :, i : i + 1], present[:, i : i + 1], draws),
            }
            for i, name in enumerate(first.schema.names)
        ],
    }


def _distances(
    first: Run, second: Run, result: Mapping[str, Any]
) -> tuple[np.ndarray, list[str]]:
    """Returns distances `(2, images, landmarks)` and the patient of each image."""
    ids = result["ids"]
    truth = result["protocol"]["truth"]
    points = [_points(run, result["protocol"]) for run in (first, second)]
    for run, cases in zip((first, second), points, strict=True):
        if missing := sorted(set(ids) - set(cases)):
            raise ValueError(
                "Both runs must have points of the same images. Evaluate both again. "
                f"Received: {len(missing)} images without points in {run.path}, for "
                f"example {missing[0]!r}"
            )
    distances = [[cases[id]["errors"][truth] for id in ids] for cases in points]
    return np.stack(distances), [points[0][id]["group"] for id in ids]


def _difference(
    values: np.ndarray, present: np.ndarray, draws: np.ndarray
) -> dict[str, Any]:
    """Returns the difference of two means with its paired bootstrap interval.

    Args:
        values: Array `(2, images, landmarks)`.
        present: Bool array `(images, landmarks)`, the values that are averaged.
        draws: Int array `(resamples, images)`, how often each image is drawn.
    """
    if not present.any():
        return dict.fromkeys(("first", "second", "difference", "ci95", "p"))
    first, second = (v[present].mean() for v in values)
    # The sum of the differences of each image, and their number.
    totals = np.where(present, values[1] - values[0], 0.0).sum(axis=1)
    weights = draws @ present.sum(axis=1)
    differences = (draws @ totals)[weights > 0] / weights[weights > 0]
    tails = (differences <= 0).mean(), (differences >= 0).mean()
    return {
        "first": float(first),
        "second": float(second),
        "difference": float(second - first),
        "ci95": np.percentile(differences, CI95_PERCENTILES).tolist(),
        "p": float(min(2.0 * min(tails), 1.0)),
    }
