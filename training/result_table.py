"""Results as tables in the terminal, and the numbers as a person reads them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich.console
from rich import box
from rich import table as rich_table

SHOWN_RADII = ("2", "2.5", "3", "4")


def print_results(
    results: Sequence[Mapping[str, Any]],
    console: rich.console.Console | None = None,
    landmarks: bool = False,
) -> None:
    """Prints one row for every split and truth, with 95 % intervals.

    Args:
        results: What `evaluate` returned.
        console: `rich.console.Console`.
        landmarks: Bool, whether to print the numbers of each landmark as well.
    """
    console = console or rich.console.Console()
    by_scope: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_scope.setdefault(result["protocol"]["split"], []).append(result)
    for scope, rows in by_scope.items():
        console.print(_scope_table(scope, rows), "")
    for scope, pair in observer_pairs(results):
        console.print(between_observers(pair, scope))
    console.print(
        "[dim]mm, and % of points nearer than; below each its 95 % interval, "
        f"bootstrapped over patients. Spacing: {results[0]['protocol']['spacing']}."
    )
    if landmarks:
        for result in results:
            console.print(_landmark_table(result))


def mean_and_sd(numbers: Mapping[str, Any]) -> str:
    """Returns `1.234 ± 0.987`, or a dash for a landmark that is always missing."""
    if numbers["mre_mm"] is None:
        return "–"
    return f"{numbers['mre_mm']:.3f} ± {numbers['sd_mm']:.3f}"


def interval(bounds: Sequence[float] | None, digits: int) -> str:
    """Returns `1.1–1.3`, or nothing where there is no interval."""
    if bounds is None:
        return ""
    return f"{bounds[0]:.{digits}f}–{bounds[1]:.{digits}f}"


def between_observers(pair: Mapping[str, Any], split: str) -> str:
    """Returns a sentence on how far two observers are from each other."""
    first, second = pair["names"]
    return (
        f"{first} and {second} themselves are {mean_and_sd(pair)} mm apart on {split}, "
        f"{rate(pair, '2')} % of points within 2 mm."
    )


def rate(numbers: Mapping[str, Any], radius: str) -> str:
    """Returns the share of points within a radius as `81.25`, or a dash."""
    value = numbers["sdr_percent"][radius]
    return "–" if value is None else f"{value:.2f}"


def observer_pairs(
    results: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields each split once with each pair of its observers."""
    seen = set()
    for result in results:
        scope = result["protocol"]["split"]
        if scope not in seen:
            seen.add(scope)
            yield from ((scope, pair) for pair in result.get("between_observers", ()))


def _scope_table(scope: str, rows: Sequence[Mapping[str, Any]]) -> rich_table.Table:
    counts = f"{rows[0]['n_images']} images, {rows[0]['ci95']['groups']} patients"
    table = _table(f"{scope}: {counts}", "truth")
    for row in rows:
        ci95 = row["ci95"]
        table.add_row(
            row["protocol"]["truth"] or "–",
            f"{mean_and_sd(row)}\n[dim]{interval(ci95['mre_mm'], 3)}",
            f"{row['median_mm']:.3f}",
            *(
                f"{rate(row, r)}\n[dim]{interval(ci95['sdr_percent'][r], 1)}"
                for r in SHOWN_RADII
            ),
        )
    return table


def _table(title: str, *labels: str) -> rich_table.Table:
    # As narrow as it goes: all of it fits into 80 columns.
    table = rich_table.Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for label in labels:
        table.add_column(label, justify="right" if label == "n" else "left")
    for label in ("MRE ± SD", "median", *(f"< {r}" for r in SHOWN_RADII)):
        table.add_column(label, justify="right", no_wrap=True)
    return table


def _landmark_table(result: Mapping[str, Any]) -> rich_table.Table:
    truth = result["protocol"]["truth"]
    against = f" against {truth}" if truth else ""
    table = _table(f"{result['protocol']['split']}{against}", "landmark", "n")
    for row in result["per_landmark"]:
        table.add_row(
            row["name"],
            str(row["n"]),
            mean_and_sd(row),
            "–" if row["median_mm"] is None else f"{row['median_mm']:.3f}",
            *(rate(row, r) for r in SHOWN_RADII),
        )
    return table
