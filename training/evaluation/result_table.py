"""Tables of results, and formats of their numbers for tables and sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich.console
from rich import box
from rich import table as rich_table
from rich.markup import escape

from scn_keras.inference.calibration_source import (
    calibration_source,
    radii_sentence,
)
from scn_keras.inference.presence import MIN_SCORE
from scn_keras.training.evaluation.offsets import direction, real_offsets
from scn_keras.training.evaluation.statistics import (
    HEADLINE_RADIUS,
    SHOWN_RADII,
    radius_key,
)

MAX_OFFSETS = 5  # in a sentence
MAX_SHOWN_IMAGES = 3
# Decimal places of distances, by unit.
DIGITS = {"mm": 3, "px": 2}


def print_results(
    results: Sequence[Mapping[str, Any]],
    console: rich.console.Console | None = None,
    landmarks: bool = False,
) -> None:
    """Prints one row for every split, run and truth, with 95 % intervals.

    Args:
        results: Sequence of results of `evaluate`, of one run or several.
        console: `rich.console.Console`; `None` for the standard output.
        landmarks: Bool, whether to print the numbers of each landmark as well.
    """
    console = console or rich.console.Console()
    runs = len({result["protocol"]["run"] for result in results})
    tables: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for result in results:
        protocol = result["protocol"]
        # Splits of different data sets may have the same name.
        split = f"{protocol['split']}{seen_mark(result)}"
        key = (protocol["dataset"], split, unit_of(result))
        tables.setdefault(key, []).append(result)
    for (_, split, _), rows in tables.items():
        console.print(_split_table(split, rows, runs > 1), "")
    for split, pair in observer_pairs(results):
        console.print(between_observers(pair, split))
    for result in results:
        if "coverage90_percent" in result:
            console.print(coverage(result))
    # Images of the calibration itself and early versions have no such entry.
    protocols = [r["calibration"] for r in results if "calibration" in r]
    for source in dict.fromkeys(map(calibration_source, protocols)):
        console.print(radii_sentence(source), markup=False, highlight=False)
    for result in _one_per_split(results):
        for text in (hardly_trained(result), worst_images(result)):
            if text:
                console.print(text, markup=False, highlight=False)
    for result in results:
        is_subset = result["protocol"].get("subset_of") is not None
        if not is_subset and (text := offsets(result)):
            console.print(text, markup=False, highlight=False)
    for unit in sorted({unit_of(result) for result in results}):
        rules = {r["protocol"]["spacing"] for r in results if unit_of(r) == unit}
        console.print(
            f"[dim]Errors in {unit}, and % of points with an error below each radius, "
            "with 95 % intervals bootstrapped over patients. "
            f"Spacing: {escape('; '.join(sorted(rules)))}."
        )
    if landmarks:
        for result in results:
            console.print(_landmark_table(result, runs > 1))
            console.print(_offset_table(result))


def unit_of(result: Mapping[str, Any]) -> str:
    """Returns the unit of a result, `"mm"` or `"px"`."""
    # Early versions, without results in pixels, did not write a unit.
    return result["protocol"].get("unit", "mm")


def mean_and_sd(numbers: Mapping[str, Any], unit: str) -> str:
    """Returns mean and deviation as `1.234 ± 0.987`, or a dash if there is none."""
    if numbers[f"mre_{unit}"] is None:
        return "–"
    mean, sd = (f"{numbers[f'{n}_{unit}']:.{DIGITS[unit]}f}" for n in ("mre", "sd"))
    return f"{mean} ± {sd}"


def median(numbers: Mapping[str, Any], unit: str) -> str:
    """Returns the median as `0.987`, or a dash if there is none."""
    value = numbers[f"median_{unit}"]
    return "–" if value is None else f"{value:.{DIGITS[unit]}f}"


def interval(bounds: Sequence[float] | None, digits: int) -> str:
    """Returns an interval as `1.1–1.3`, or an empty string if there is none."""
    if bounds is None:
        return ""
    return f"{bounds[0]:.{digits}f}–{bounds[1]:.{digits}f}"


def between_observers(pair: Mapping[str, Any], split: str) -> str:
    """Returns a sentence on the distance between the points of two observers."""
    first, second = pair["names"]
    unit = "mm" if "mre_mm" in pair else "px"
    radius = HEADLINE_RADIUS[unit]
    return (
        f"The points of {first} and {second} are {mean_and_sd(pair, unit)} {unit} "
        f"apart on {split}, {rate(pair, radius)} % of them within {radius:g} {unit}."
    )


def coverage(result: Mapping[str, Any]) -> str:
    """Returns a sentence on the coverage of a calibrated run's 90 % radii."""
    unit = unit_of(result)
    bounds = interval(result["ci95"]["coverage90_percent"], 1)
    return (
        f"{scope(result)}: {result['coverage90_percent']:.1f} % of points "
        f"{f'({bounds}) ' if bounds else ''}lie within their 90 % radius, which is "
        f"{result[f'radius90_{unit}']:.{DIGITS[unit]}f} {unit} on average; "
        f"{result['trusted_percent']:.1f} % of images are trusted."
    )


def worst_images(result: Mapping[str, Any]) -> str:
    """Returns a sentence on the images with the largest errors, if there are several.

    It is empty for results of early versions.
    """
    rows, unit = result.get("worst_images", []), unit_of(result)
    if len(rows) < 2:
        return ""
    shown = ", ".join(
        f"{row['id']} ({row[f'mre_{unit}']:.{DIGITS[unit] - 1}f} {unit})"
        for row in rows[:MAX_SHOWN_IMAGES]
    )
    return f"Largest mean errors of images, {scope(result)}: {shown}."


def hardly_trained(result: Mapping[str, Any]) -> str:
    """Returns a sentence on scores near 0, or an empty text."""
    median_score = result.get("median_score")
    if median_score is None or median_score >= MIN_SCORE:
        return ""
    return (
        f"{scope(result)}: the median score is {median_score:.2g}. The model is hardly "
        "trained, or these images differ much from its training images."
    )


def _one_per_split(results):
    """Yields the first result of every split that is not a subset, for each run."""
    done = set()
    for result in results:
        protocol = result["protocol"]
        key = protocol["run"], protocol["dataset"], protocol["split"]
        if protocol.get("subset_of") is None and key not in done:
            done.add(key)
            yield result


def offsets(result: Mapping[str, Any]) -> str:
    """Returns a sentence on landmarks that the observer marks at another place.

    It is empty if there are none.
    """
    # Early versions did not measure offsets.
    measured, unit = result.get("offsets", {}), unit_of(result)
    if not measured or not (rows := real_offsets(measured, unit)):
        return ""
    digits = DIGITS[unit] - 1
    shown = "; ".join(
        f"{row['name']} {row[f'length_{unit}']:.{digits}f} {unit} "
        f"{direction(row[f'offset_{unit}'])}"
        for row in rows[:MAX_OFFSETS]
    )
    more = len(rows) - MAX_OFFSETS
    return (
        f"{scope(result)}: {len(rows)} of {len(measured['per_landmark'])} landmarks "
        f"{'is' if len(rows) == 1 else 'are'} marked elsewhere than the model places "
        f"{'it' if len(rows) == 1 else 'them'}: {shown}"
        f"{f'; and {more} more' if more > 0 else ''}. Without constant offsets, the "
        f"mean error is {measured[f'mre_without_{unit}']:.{DIGITS[unit]}f} {unit} "
        f"instead of {result[f'mre_{unit}']:.{DIGITS[unit]}f}."
    )


def offset_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns the head and the rows of a table of the offsets of a result.

    The rows are empty for results of early versions.
    """
    measured, unit = result.get("offsets", {}), unit_of(result)
    rows = measured.get("per_landmark", [])
    axes = len(measured.get(f"shape_{unit}", [()])[0])
    head = ["landmark", *(f"{axis}, {unit}" for axis in "xyz"[:axes]), "length", "p"]
    return [*head, "mean error without"], [_offset_row(row, unit, axes) for row in rows]


def _offset_row(row: Mapping[str, Any], unit: str, axes: int) -> list[str]:
    without = row[f"mre_without_{unit}"]
    last = "–" if without is None else f"{without:.{DIGITS[unit]}f}"
    if row["p"] is None:
        return [row["name"], *["–"] * (axes + 2), last]
    vector = [
        f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
        for value, (low, high) in zip(
            row[f"offset_{unit}"], row[f"ci95_{unit}"], strict=True
        )
    ]
    p = f"{row['p']:.3f}" if row["p"] >= 1e-3 else "< 0.001"
    return [row["name"], *vector, f"{row[f'length_{unit}']:.2f}", p, last]


def scope(result: Mapping[str, Any]) -> str:
    """Returns the split of a result and its truth: `test1 against senior`."""
    protocol = result["protocol"]
    against = f" against {protocol['truth']}" if protocol["truth"] else ""
    return f"{protocol['split']}{seen_mark(result)}{against}"


def seen_mark(result: Mapping[str, Any]) -> str:
    """Returns a remark on images that the model was trained on, or an empty text."""
    protocol = result["protocol"]
    if not (count := protocol.get("trained_on")):
        return ""
    if count >= protocol["n_images"]:
        return " (training images, no test)"
    return f" (trained on {count} of the {protocol['n_images']} images)"


def within_radius(numbers: Mapping[str, Any], unit: str) -> str:
    """Returns `91.2 in 2.64`: % of points within their 90 % radius, and its mean."""
    if numbers["coverage90_percent"] is None:
        return "–"
    radius = f"{numbers[f'radius90_{unit}']:.2f}"
    return f"{numbers['coverage90_percent']:.1f} in {radius}"


def rate(numbers: Mapping[str, Any], radius: float) -> str:
    """Returns the percentage of points within a radius as `81.25`, or a dash."""
    value = numbers["sdr_percent"][radius_key(radius)]
    return "–" if value is None else f"{value:.2f}"


def observer_pairs(
    results: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the name of each split with each pair of its observers, once."""
    seen = set()
    for result in results:
        split = result["protocol"]["split"]
        if split not in seen:
            seen.add(split)
            yield from ((split, pair) for pair in result.get("between_observers", ()))


def _split_table(
    split: str, rows: Sequence[Mapping[str, Any]], runs: bool
) -> rich_table.Table:
    counts = f"{rows[0]['n_images']} images, {rows[0]['ci95']['groups']} patients"
    unit = unit_of(rows[0])
    table = _table(f"{split}: {counts}", unit, "run" if runs else "truth")
    for row in rows:
        ci95, protocol = row["ci95"], row["protocol"]
        label = protocol["truth"] or "–"
        if runs:
            label = f"{escape(protocol['run'])}\n[dim]{label}"
        table.add_row(
            label,
            f"{mean_and_sd(row, unit)}\n"
            f"[dim]{interval(ci95[f'mre_{unit}'], DIGITS[unit])}",
            median(row, unit),
            *(
                f"{rate(row, r)}\n"
                f"[dim]{interval(ci95['sdr_percent'][radius_key(r)], 1)}"
                for r in SHOWN_RADII[unit]
            ),
        )
    return table


def _table(title: str, unit: str, *labels: str) -> rich_table.Table:
    # As narrow as possible, so that the table fits into 80 columns.
    table = rich_table.Table(
        title=f"{title}, {unit}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for label in labels:
        table.add_column(
            label,
            justify="right" if label == "n" else "left",
            overflow="fold",
            min_width=len(label),
        )
    for label in ("MRE ± SD", "median", *(f"< {r:g}" for r in SHOWN_RADII[unit])):
        table.add_column(label, justify="right", no_wrap=True)
    return table


def _offset_table(result: Mapping[str, Any]) -> rich_table.Table | str:
    head, rows = offset_rows(result)
    if not rows:
        return ""
    table = rich_table.Table(
        title=f"{scope(result)}, from the points of the model to the true ones",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for number, label in enumerate(head):
        table.add_column(label, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _landmark_table(result: Mapping[str, Any], runs: bool) -> rich_table.Table:
    unit = unit_of(result)
    run = f"{result['protocol']['run']} on " if runs else ""
    table = _table(f"{run}{scope(result)}", unit, "landmark", "n")
    calibrated = "coverage90_percent" in result
    if calibrated:
        table.add_column("% in radius", justify="right", no_wrap=True)
    for row in result["per_landmark"]:
        table.add_row(
            escape(row["name"]),
            str(row["n"]),
            mean_and_sd(row, unit),
            median(row, unit),
            *(rate(row, r) for r in SHOWN_RADII[unit]),
            *([within_radius(row, unit)] if calibrated else []),
        )
    return table
