"""Tells whether one run is better than another on the same images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import rich.console
from rich import box
from rich import table as rich_table

from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.run import Run

RESAMPLES = 10_000
# What two numbers must share to be compared at all.
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
# What may differ without telling anything about the method.
_INCIDENTAL = ("command", "run", "scn_keras", "subset_of", "spacing_mm", "interval")
_RADII = {"mm": (2.0, 4.0), "px": (10.0, 20.0)}


def compare(
    first: Run,
    second: Run,
    split: str | None = None,
    radii: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compares two evaluated runs image by image, with paired intervals.

    The distances of both runs on one image rise and fall together, so that the
    interval of their difference is far narrower than those of the two means say.
    Patients are drawn anew with replacement, each with the distances of both runs;
    the interval holds 95 % of the differences, and `p` is twice the smaller share of
    them on either side of 0. Landmarks that either run or the truth lacks do not
    count.

    Args:
        first: `Run`, evaluated on the split.
        second: `Run`, likewise.
        split: Str, a split or subset that both were evaluated on; `None` for the
            test split of the first run's recipe.
        radii: Sequence of floats, of the success detection rates; `None` for 2 and
            4 mm, or 10 and 20 px.
        resamples: Int, how often the patients are drawn.
        seed: Int, of these draws.

    Returns:
        One dict for each truth of the data set: `protocol`, which both share,
        `differs` (what does not agree, by name, as a pair), `n_images`, `n_points`,
        and `mre_mm` (`mre_px` where the protocol's unit is pixels), `sdr_percent` (by
        radius) and `per_landmark` (with `name`), each of them a dict of `first`,
        `second`, `difference` (second - first), `ci95` and `p`.

    Raises:
        FileNotFoundError: If a run has not been evaluated on the split.
        ValueError: If the protocols are unlike, or the images.

    Example:

    ```python
    for result in compare(Run("runs/unet"), Run("runs/scn"), "test1_unique"):
        print(result["protocol"]["truth"], result["mre_mm"]["difference"])
    ```
    """
    split = split or first.recipe.test_split
    both = [_results(run, split) for run in (first, second)]
    if both[0].keys() != both[1].keys():
        raise ValueError(
            f"The runs were scored on {split!r} against unlike truths: "
            f"{sorted(map(str, both[0]))} and {sorted(map(str, both[1]))}."
        )
    compared = []
    for truth, one in both[0].items():
        other = both[1][truth]
        protocols = one["protocol"], other["protocol"]
        unlike = [key for key in PROTOCOL if protocols[0][key] != protocols[1][key]]
        if unlike:
            what = "; ".join(
                f"{key}: {protocols[0][key]} and {protocols[1][key]}" for key in unlike
            )
            raise ValueError(
                f"The protocols of {first.path} and {second.path} are unlike, so their "
                f"numbers cannot be compared. {what}."
            )
        compared.append(
            {
                "protocol": {key: protocols[0][key] for key in PROTOCOL},
                "differs": {
                    key: [protocols[0].get(key), protocols[1].get(key)]
                    for key in protocols[0]
                    if key not in _INCIDENTAL
                    and protocols[0].get(key) != protocols[1].get(key)
                },
                **_paired(first, second, one, truth, radii, resamples, seed),
            }
        )
    return compared


def print_comparison(
    compared: Sequence[dict[str, Any]],
    names: tuple[str, str],
    console: rich.console.Console | None = None,
    landmarks: bool = False,
) -> None:
    """Prints what `compare` found: a table for each truth.

    Args:
        compared: What `compare` returned.
        names: Of the two runs.
        console: `rich.console.Console`.
        landmarks: Bool, whether to print a row for each landmark as well.
    """
    console = console or rich.console.Console()
    for result in compared:
        protocol = result["protocol"]
        unit = protocol["unit"]
        against = f" against {protocol['truth']}" if protocol["truth"] else ""
        table = rich_table.Table(
            title=f"{protocol['split']}{against}: {result['n_images']} images, "
            f"{result['n_points']} points",
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
            table.add_row(f"[dim]{numbers['name']}", *_cells(numbers, 3))
        console.print(table, "")
    console.print(f"first: {names[0]}\nsecond: {names[1]}", highlight=False)
    for key, (one, other) in compared[0]["differs"].items():
        console.print(f"[dim]{key}: {one} and {other}")


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


def _results(run, split):
    """Reads the results of a split by truth."""
    found = {}
    for result in run.results():
        # Results without a unit are older than pixels.
        protocol = result["protocol"] = {"unit": "mm", **result["protocol"]}
        if protocol.get("split") == split:
            found[protocol["truth"]] = result
    if not found:
        raise FileNotFoundError(
            f"{run.path} holds no result on {split!r}. Run `scn-keras evaluate "
            f"{run.path} --split {split}` first."
        )
    return found


def _points(run, protocol):
    """Reads the points of a split, or of the split that it is a part of."""
    try:
        return read_points(run, protocol["split"])
    except FileNotFoundError:
        if protocol["subset_of"] is None:
            raise
        return read_points(run, protocol["subset_of"])


def _paired(first, second, result, truth, radii, resamples, seed):
    ids = result["ids"]
    points = [_points(run, result["protocol"]) for run in (first, second)]
    for run, found in zip((first, second), points, strict=True):
        if missing := sorted(set(ids) - set(found)):
            raise ValueError(
                f"{run.path} has no points of {len(missing)} images that the other "
                f"run has, among them {missing[0]!r}. Evaluate both runs again."
            )
    distances = np.stack(
        [[found[id]["errors"][truth] for id in ids] for found in points]
    )
    counts = ~np.isnan(distances).any(axis=0)
    groups = [points[0][id]["group"] for id in ids]
    draws = _draws(groups, resamples, seed)
    unit = result["protocol"]["unit"]

    def numbers(values, counts):
        if not counts.any():
            return dict.fromkeys(("first", "second", "difference", "ci95", "p"))
        one, other = (v[counts].mean() for v in values)
        # By image: the sum of the differences and how many there are.
        difference = np.where(counts, values[1] - values[0], 0.0).sum(axis=1)
        weight = draws @ counts.sum(axis=1)
        drawn = (draws @ difference)[weight > 0] / weight[weight > 0]
        sides = (drawn <= 0).mean(), (drawn >= 0).mean()
        return {
            "first": float(one),
            "second": float(other),
            "difference": float(other - one),
            "ci95": np.percentile(drawn, (2.5, 97.5)).tolist(),
            "p": float(min(2.0 * min(sides), 1.0)),
        }

    return {
        "n_images": int(counts.any(axis=1).sum()),
        "n_points": int(counts.sum()),
        f"mre_{unit}": numbers(distances, counts),
        "sdr_percent": {
            f"{radius:g}": numbers(100.0 * (distances < radius), counts)
            for radius in radii or _RADII[unit]
        },
        "per_landmark": [
            {
                "name": name,
                **numbers(distances[:, :, i : i + 1], counts[:, i : i + 1]),
            }
            for i, name in enumerate(first.schema.names)
        ],
    }


def _draws(groups, resamples, seed):
    """How often each image counts in each resample, `(resamples, images)`."""
    names, group = np.unique(groups, return_inverse=True)
    times = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1.0 / len(names)), size=resamples
    )
    return times[:, group]
