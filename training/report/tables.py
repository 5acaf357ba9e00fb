"""Tables of a report with the results of a run."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scn_keras.training.evaluation.result_table import (
    DIGITS,
    coverage,
    hardly_trained,
    interval,
    mean_and_sd,
    median,
    offset_rows,
    rate,
    scope,
    unit_of,
    within_radius,
)
from scn_keras.training.evaluation.statistics import (
    HEADLINE_RADIUS,
    RADII,
    SHOWN_RADII,
    radius_key,
)
from scn_keras.training.report.fragments import remark, table
from scn_keras.training.report.reported_split import ReportedSplit

_FARTHEST_POINTS = 15


def headline_card(result: Mapping[str, Any]) -> str:
    """Returns a card with the main values of a result."""
    ci95, unit = result["ci95"], unit_of(result)
    radius = radius_key(HEADLINE_RADIUS[unit])
    bounds = interval(ci95[f"mre_{unit}"], 2)
    rate_bounds = interval(ci95["sdr_percent"][radius], 1)
    calibrated = "coverage90_percent" in result
    about_radii = remark(html.escape(coverage(result))) if calibrated else ""
    if warning := hardly_trained(result):
        about_radii = remark(html.escape(warning)) + about_radii
    return (
        '<div class="card">'
        f"<b>{result[f'mre_{unit}']:.2f} {unit}</b>"
        f"mean point error on {html.escape(scope(result))}, "
        f"{result['n_images']} images"
        f"{f', 95 % interval {bounds}' if bounds else ''}"
        f'<p class="soft">{result["sdr_percent"][radius]:.1f} % of points within '
        f"{radius} {unit}{f' ({rate_bounds})' if rate_bounds else ''}, median "
        f"{result[f'median_{unit}']:.2f} {unit}, 95th percentile "
        f"{result[f'percentiles_{unit}']['p95']:.2f} {unit}</p>{about_radii}</div>"
    )


def results_tables(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields one table of the results in millimetres and one in pixels."""
    for unit in RADII:
        if rows := [result for result in results if unit_of(result) == unit]:
            yield _results_table(rows, unit)


def landmark_table(result: Mapping[str, Any]) -> str:
    """Returns a table of a result with a row for each landmark."""
    unit = unit_of(result)
    calibrated = "coverage90_percent" in result
    head = ["landmark", "n", f"mean ± sd, {unit}", "median", *_radius_heads(unit)]
    if calibrated:
        head.append(f"% in 90 % radius, {unit}")
    return table(
        head,
        (
            [
                html.escape(row["name"]),
                str(row["n"]),
                mean_and_sd(row, unit),
                median(row, unit),
                *(rate(row, r) for r in SHOWN_RADII[unit]),
                *([within_radius(row, unit)] if calibrated else []),
            ]
            for row in result["per_landmark"]
        ),
    )


def offset_table(result: Mapping[str, Any]) -> str:
    """Returns a table of the mean offset of each landmark; empty for early versions."""
    head, rows = offset_rows(result)
    if not rows:
        return ""
    about = (
        "From the points of the model to the true ones, in axes of the image that turn "
        "and scale with the anatomy, with 95 % intervals over patients. p is the "
        "probability of an offset as large in any landmark by chance; errors are those "
        "without the offsets of the other patients."
    )
    cells = ([html.escape(cell) for cell in row] for row in rows)
    return f"<h3>Offsets</h3>{remark(about)}{table(head, cells)}"


def farthest_table(reported: ReportedSplit) -> str:
    """Returns a table of the points with the largest errors."""
    rows = (
        [
            html.escape(point.image),
            html.escape(reported.run.schema.names[point.landmark]),
            f"{point.distance:.2f}",
            f"{point.score:.2f}",
        ]
        for point in reported.farthest_points[:_FARTHEST_POINTS]
    )
    return table(["image", "landmark", reported.unit, "score"], rows, texts=2)


def protocol_list(protocol: Mapping[str, Any]) -> str:
    """Returns the entries of a protocol as an HTML description list."""
    separators = {"grid": " × ", "spacing_mm": " to "}

    def text(name: str, value: Any) -> str:
        if isinstance(value, list):
            items = (f"{v:g}" if isinstance(v, float) else str(v) for v in value)
            value = separators.get(name, " ").join(items)
        return html.escape("–" if value is None else str(value))

    rows = (
        f"<dt>{html.escape(name.replace('_', ' '))}</dt><dd>{text(name, value)}</dd>"
        for name, value in protocol.items()
    )
    return f"<dl>{''.join(rows)}</dl>"


def _results_table(results: Sequence[Mapping[str, Any]], unit: str) -> str:
    rows = []
    largest = radius_key(RADII[unit][-1])
    for result in results:
        protocol, ci95 = result["protocol"], result["ci95"]
        rows.append(
            [
                html.escape(protocol["split"]),
                html.escape(protocol["truth"] or "–"),
                str(result["n_images"]),
                f"{mean_and_sd(result, unit)}"
                f"<small>{interval(ci95[f'mre_{unit}'], DIGITS[unit])}</small>",
                median(result, unit),
                *(
                    f"{rate(result, r)}"
                    f"<small>{interval(ci95['sdr_percent'][radius_key(r)], 1)}</small>"
                    for r in SHOWN_RADII[unit]
                ),
                *(
                    f"{result[f'percentiles_{unit}'][p]:.{DIGITS[unit]}f}"
                    for p in ("p90", "p95", "p99")
                ),
                str(result["outliers"][largest]),
            ]
        )
    numbers = [f"mean ± sd, {unit}", "median", *_radius_heads(unit)]
    percentiles = ["p90", "p95", "p99"]
    head = ["split", "truth", "n", *numbers, *percentiles, f"≥ {largest} {unit}"]
    return table(head, rows, texts=2)


def _radius_heads(unit: str) -> list[str]:
    return [f"&lt; {r:g} {unit}" for r in SHOWN_RADII[unit]]
