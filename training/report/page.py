"""One page that shows how good a run is, and where it goes wrong."""

import base64
import csv
import html
import json
import pathlib
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib import figure, ticker
from rich import progress

from scn_keras.files.atomic_write import write_text
from scn_keras.geometry import apply_affine, invert_affine
from scn_keras.inference import locator as inference
from scn_keras.inference.expected_error import expected_error
from scn_keras.pictures import overlay
from scn_keras.training.evaluation.evaluate import split_of
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.evaluation.result_table import (
    DIGITS,
    HEADLINE_RADIUS,
    SHOWN_RADII,
    between_observers,
    coverage,
    interval,
    mean_and_sd,
    median,
    observer_pairs,
    rate,
    unit_of,
    within_radius,
)
from scn_keras.training.evaluation.statistics import RADII
from scn_keras.training.run import Run

_FARTHEST = 15
_HEATMAPS = (
    "Of one landmark, orange is positive and blue is negative. Rings are true points, "
    "dots predicted ones."
)
_FACTORS = (
    "Local appearance responds wherever the image looks like the landmark, spatial "
    "configuration where the other landmarks say that it is; their product is what the "
    f"network gives. {_HEATMAPS} Two negative factors have a positive product."
)
_STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


def write_report(
    run: Run,
    split: str | None = None,
    data_dir: str | pathlib.Path | None = None,
    worst: int = 10,
    best: int = 3,
    folder: str | pathlib.Path | None = None,
    path: str | pathlib.Path | None = None,
) -> pathlib.Path:
    """Writes `report.html` of an evaluated run: one file that asks for no other.

    It holds all results of the run with the protocol of their numbers, the
    cumulative error curve, the history of the training, each landmark's numbers,
    the heatmaps inside the network for a typical image and for the farthest point,
    and the worst and the best images with predicted and true points. The headline
    is scored against the observer that the run was trained on.

    Args:
        run: `Run`, evaluated on the split.
        split: Str, whose images are shown; `None` for the recipe's `test_split`.
        data_dir: Where prepared data sets lie.
        worst: Int, how many of the worst images are shown.
        best: Int, how many of the best.
        folder: The folder of images that the run was evaluated on, in place of the
            recipe's data set.
        path: Where the page goes, `None` for `report.html` in the run.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: If the run has not been evaluated on the split, or the
            data set is not there.
    """
    images = split_of(run, split, data_dir, folder)
    split, truths = images.name, images.truths
    points = read_points(run, split)
    results = _sorted(run.results(), split, truths)
    truth = _headline_truth(run, [r for r in results if _is_of(r, split)])
    headlines = [
        r for r in results if r["protocol"]["truth"] == truth and _is_of(r, split)
    ]
    unit = unit_of(headlines[0])
    cases = {
        id: case
        for id, case in points.items()
        if not np.isnan(case["errors"][truth]).all()
    }
    order = sorted(cases, key=lambda id: -np.nanmean(cases[id]["errors"][truth]))
    shown_worst, shown_best = order[:worst], order[::-1][:best]
    typical = order[len(order) // 2]
    farthest = _farthest(cases, truth)
    wanted = {*shown_worst, *shown_best, typical, farthest[0][0]}
    samples = images.find(wanted)
    true = {id: images.true_points(sample, truth) for id, sample in samples.items()}

    def pictures(ids):
        for id in progress.track(ids, "draw images"):
            error = np.nanmean(cases[id]["errors"][truth])
            drawing = overlay.draw_overlay(
                samples[id]["image"],
                run.schema,
                cases[id]["points_px"],
                true[id],
                samples[id]["affine"],
                title=f"{id}: mean error {error:.2f} {unit}",
                radius=float(HEADLINE_RADIUS[unit]),
                margin=0.15,
                unit=unit,
            )
            alt = (
                f"Image {id} with predicted and true points, {error:.2f} {unit} on "
                "average"
            )
            yield _picture(overlay.to_jpeg(drawing), "jpeg", alt)

    protocol = headlines[0]["protocol"]
    page = string.Template(
        resources.files(__package__).joinpath("template.html").read_text("utf-8")
    ).substitute(
        title=html.escape(f"{run.recipe.name} on {protocol['dataset']}"),
        subtitle=html.escape(_subtitle(run)),
        cards="\n".join(_card(result) for result in headlines),
        results="\n".join(_results_tables(results)),
        observers="\n".join(
            f"<p>{html.escape(between_observers(pair, scope).capitalize())}</p>"
            for scope, pair in observer_pairs(results)
        ),
        protocol=_definitions(protocol),
        curves="\n".join(_curves(run, points, truths, truth, split, unit)),
        headline=html.escape(_about(headlines[0])),
        landmarks=_landmark_table(headlines[0]),
        heatmaps="\n".join(_heatmaps(run, samples, true, typical, farthest[0], unit)),
        farthest=_farthest_table(run, farthest, unit),
        worst="\n".join(pictures(shown_worst)),
        best="\n".join(pictures(shown_best)),
        footer=_footer(run),
    )
    path = run.path / "report.html" if path is None else pathlib.Path(path)
    write_text(path, page)
    return path


def _sorted(results, split, truths):
    """The shown split and its subsets first, truths in the order of the data set."""

    def key(result):
        protocol = result["protocol"]
        place = (protocol["split"] != split, not _is_of(result, split))
        # Results of other data sets may be against other truths.
        order = [*truths, protocol["truth"]].index(protocol["truth"])
        return (*place, protocol["split"], order)

    return sorted(results, key=key)


def _is_of(result, split):
    return split in (result["protocol"]["split"], result["protocol"]["subset_of"])


def _headline_truth(run, results):
    trained = "mean" if run.recipe.observer == "random" else run.recipe.observer
    scored = [result["protocol"]["truth"] for result in results]
    return trained if trained in scored else scored[0]


def _farthest(cases, truth) -> list[tuple[str, int, float, float]]:
    """The farthest points: image, landmark, distance and score."""
    rows = [
        (id, index, float(distance), float(case["score"][index]))
        for id, case in cases.items()
        for index, distance in enumerate(case["errors"][truth])
        if not np.isnan(distance)
    ]
    return sorted(rows, key=lambda row: -row[2])[:_FARTHEST]


def _about(result: Mapping[str, Any]) -> str:
    truth = result["protocol"]["truth"]
    return result["protocol"]["split"] + (f" against {truth}" if truth else "")


def _subtitle(run: Run) -> str:
    recipe = run.recipe
    observer = f", observer {recipe.observer}" if recipe.observer else ""
    return (
        f"{run.path.name}: {recipe.steps} steps of {recipe.batch_size} on "
        f"{recipe.train_split}{observer}, grid {' × '.join(map(str, recipe.grid))}, "
        f"{len(run.schema)} landmarks, seed {recipe.seed}"
    )


def _card(result: Mapping[str, Any]) -> str:
    ci95, unit = result["ci95"], unit_of(result)
    radius = HEADLINE_RADIUS[unit]
    between = interval(ci95[f"mre_{unit}"], 2)
    rates = interval(ci95["sdr_percent"][radius], 1)
    sure = ""
    if "coverage90_percent" in result:
        sure = f'<p class="soft">{html.escape(coverage(result))}</p>'
    return (
        '<div class="card">'
        f"<b>{result[f'mre_{unit}']:.2f} {unit}</b>"
        f"mean point error on {html.escape(_about(result))}, "
        f"{result['n_images']} images"
        f"{f', 95 % interval {between}' if between else ''}"
        f'<p class="soft">{result["sdr_percent"][radius]:.1f} % of points within '
        f"{radius} {unit}{f' ({rates})' if rates else ''}, half of them within "
        f"{result[f'median_{unit}']:.2f} {unit}, 95 % within "
        f"{result[f'percentiles_{unit}']['p95']:.2f} {unit}</p>{sure}</div>"
    )


def _results_tables(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields a table of the results in millimetres, and of those in pixels."""
    for unit in RADII:
        if rows := [result for result in results if unit_of(result) == unit]:
            yield f'<div class="table">{_results_table(rows, unit)}</div>'


def _results_table(results: Sequence[Mapping[str, Any]], unit: str) -> str:
    rows = []
    farthest = f"{RADII[unit][-1]:g}"
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
                    f"<small>{interval(ci95['sdr_percent'][r], 1)}</small>"
                    for r in SHOWN_RADII[unit]
                ),
                *(
                    f"{result[f'percentiles_{unit}'][p]:.{DIGITS[unit]}f}"
                    for p in ("p90", "p95", "p99")
                ),
                str(result["outliers"][farthest]),
            ]
        )
    radii = [f"&lt; {r} {unit}" for r in SHOWN_RADII[unit]]
    numbers = [f"mean ± sd, {unit}", "median", *radii, "p90", "p95", "p99"]
    head = ["split", "truth", "n", *numbers, f"≥ {farthest} {unit}"]
    return _table(head, rows, texts=2)


def _landmark_table(result: Mapping[str, Any]) -> str:
    unit = unit_of(result)
    radii = [f"&lt; {r} {unit}" for r in SHOWN_RADII[unit]]
    calibrated = "coverage90_percent" in result
    sure = [f"% in 90 % radius, {unit}"] if calibrated else []
    return _table(
        ["landmark", "n", f"mean ± sd, {unit}", "median", *radii, *sure],
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


def _farthest_table(run: Run, farthest, unit: str) -> str:
    rows = (
        [
            html.escape(id),
            html.escape(run.schema.names[index]),
            f"{distance:.2f}",
            f"{score:.2f}",
        ]
        for id, index, distance, score in farthest
    )
    return _table(["image", "landmark", unit, "score"], rows, texts=2)


def _table(head: Iterable[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Makes a table of cells that are HTML, the first `texts` of a row words."""

    def cells(row, tag):
        return "".join(
            f"<{tag}{' class=left' if n < texts else ''}>{cell}</{tag[:2]}>"
            for n, cell in enumerate(row)
        )

    header = cells(head, 'th scope="col"')
    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


def _definitions(protocol: Mapping[str, Any]) -> str:
    between = {"grid": " × ", "spacing_mm": " to "}

    def text(name, value):
        if isinstance(value, list):
            items = (f"{v:g}" if isinstance(v, float) else str(v) for v in value)
            value = between.get(name, " ").join(items)
        return html.escape("–" if value is None else str(value))

    rows = (
        f"<dt>{html.escape(name.replace('_', ' '))}</dt><dd>{text(name, value)}</dd>"
        for name, value in protocol.items()
    )
    return f"<dl>{''.join(rows)}</dl>"


def _footer(run: Run) -> str:
    environment = json.loads((run.path / "environment.json").read_text("utf-8"))
    versions = ", ".join(f"{k} {v}" for k, v in environment["versions"].items())
    return html.escape(
        f"Trained with {versions}, backend {environment['backend']}, Python "
        f"{environment['python']}. Every result is in results/ beside this page, every "
        "setting in recipe.json."
    )


def _picture(image: bytes, kind: str, alt: str, caption: str = "") -> str:
    code = base64.b64encode(image).decode()
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img src="data:image/{kind};base64,{code}" '
        f'alt="{html.escape(alt)}">{below}</figure>'
    )


def _heatmaps(run, samples, true, typical, farthest, unit):
    if not run.model_path.is_file():
        yield _soft("Each part of the cross-validation has a model of its own.")
        return
    model = run.load_model()
    id, index, distance, _ = farthest
    figures = (
        (typical, None, f"{typical}, an image of median error: all landmarks."),
        (
            id,
            index,
            f"{id}, the farthest point: {run.schema.names[index]}, {distance:.1f} "
            f"{unit} off.",
        ),
    )
    for number, (id, landmark, caption) in enumerate(figures):
        image = {name: samples[id][name] for name in ("image", "affine")}
        (found,) = inference.locate(
            model,
            tf.data.Dataset.from_tensors(image),
            run.recipe,
            views=run.views,
            placement=run.placement,
        )
        heatmaps = overlay.inner_heatmaps(model, found["grid_image"])
        if number == 0:
            yield _soft(_FACTORS if len(heatmaps) > 1 else _HEATMAPS)
        to_grid = invert_affine(found["grid_to_source"])
        drawing = overlay.heatmap_figure(
            found["grid_image"],
            heatmaps,
            run.schema,
            landmark,
            apply_affine(to_grid, found["points_px"]),
            apply_affine(to_grid, true[id]),
        )
        picture = _picture(overlay.to_jpeg(drawing), "jpeg", caption, caption)
        kind = "wide" if len(heatmaps) > 1 else "pictures"
        yield f'<div class="{kind}">{picture}</div>'


def _soft(text: str) -> str:
    return f'<p class="soft">{text}</p>'


def _curves(run, points, truths, truth, split, unit):
    yield _picture(
        overlay.to_svg(_error_curve(points, truths, unit)),
        "svg+xml",
        "Cumulative curve of the point errors",
        f"Share of the points of {split} that are nearer to the truth than a distance.",
    )
    errors = np.stack([case["errors"][truth] for case in points.values()])
    expected = np.stack(
        [expected_error(case["spread"], case["score"]) for case in points.values()]
    )
    radii = np.stack([case["radius90"] for case in points.values()])
    if np.isfinite(radii).any():
        yield _picture(
            overlay.to_svg(_doubt_curve(errors, radii, unit, "90 % radius", 90)),
            "svg+xml",
            "Point error against the 90 % radius",
            "Does the network doubt where it is wrong? A dot is a point; the line "
            "joins the 90th percentiles of ten equal shares of them, and on the grey "
            "one a point lies on its radius: one in ten should be above it, with small "
            f"radii and with large ones. {_ranked(errors, radii)}",
        )
    else:
        yield _picture(
            overlay.to_svg(_doubt_curve(errors, expected, unit)),
            "svg+xml",
            "Point error against the error that the heatmap's peak lets expect",
            "Does the network doubt where it is wrong? The expected error is a fifth "
            "of the peak's width divided by its score. A dot is a point; the line "
            "joins the means of ten equal shares of them, and on the grey one both are "
            f"equal. {_ranked(errors, expected)}",
        )
    if run.history_path.is_file():
        with run.history_path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        yield _picture(
            overlay.to_svg(_history_curve(rows)),
            "svg+xml",
            "Point error and loss over the steps of the training",
            "Training is measured on augmented images with dropout, validation on "
            "whole images without.",
        )


def _error_curve(points, truths, unit):
    drawing, (axes,) = _axes(1)
    errors = {
        truth: np.concatenate([case["errors"][truth] for case in points.values()])
        for truth in truths
    }
    errors = {truth: np.sort(e[~np.isnan(e)]) for truth, e in errors.items()}
    limit = max(np.percentile(e, 99) for e in errors.values() if e.size)
    limit = float(np.clip(limit, RADII[unit][-2], RADII[unit][-1]))
    for (truth, e), (color, style) in zip(errors.items(), _STYLES, strict=False):
        share = 100.0 * np.arange(1, e.size + 1) / e.size
        axes.step(e, share, style, where="post", color=color, label=truth or "points")
    for radius in SHOWN_RADII[unit]:
        axes.axvline(float(radius), color="#9aa5ab", lw=0.7, zorder=0)
    axes.set(xlim=(0.0, limit), ylim=(0.0, 100.0))
    axes.set_xlabel(f"distance to the truth, {unit}")
    axes.set_ylabel("% of points")
    if len(errors) > 1:
        axes.legend(title="truth", frameon=False, loc="lower right")
    return drawing


def _doubt_curve(errors, expected, unit, label="expected error", percentile=None):
    drawing, (axes,) = _axes(1)
    here = (errors > 0) & (expected > 0)
    errors, expected = errors[here], expected[here]
    color, _ = _STYLES[0]
    axes.plot(expected, errors, ".", ms=2, color=color, alpha=0.35, rasterized=True)
    tenths = np.array_split(np.argsort(expected), min(10, max(len(expected), 1)))
    tenths = [tenth for tenth in tenths if len(tenth)]
    axes.plot(
        [np.mean(expected[tenth]) for tenth in tenths],
        [
            np.mean(e) if percentile is None else np.percentile(e, percentile)
            for e in (errors[tenth] for tenth in tenths)
        ],
        "o-",
        color=_STYLES[1][0],
        ms=4,
    )
    _logarithmic(axes, "x", expected)
    _logarithmic(axes, "y", errors)
    if len(expected):
        ends = np.percentile(expected, (0, 100))
        axes.plot(ends, ends, color="#9aa5ab", lw=0.7, zorder=0)
    axes.set_xlabel(f"{label}, {unit}")
    axes.set_ylabel(f"distance to the truth, {unit}")
    return drawing


def _ranked(errors, expected):
    """Says how well images are put in the order of their errors."""
    present = ~np.isnan(errors).all(axis=1)
    if present.sum() < 3:
        return ""
    first, second = (
        np.argsort(np.argsort(np.nanmean(values[present], axis=1)))
        for values in (errors, expected)
    )
    # Spearman's: ranks of n images have the variance (n^2 - 1) / 12.
    correlation = 12.0 * np.cov(first, second, bias=True)[0, 1] / (len(first) ** 2 - 1)
    return f"Rank correlation of the means of the images: {correlation:.2f}."


def _history_curve(rows):
    labels = {"point_error": "point error, mm", "loss": "loss"}
    # Of images without a spacing no error was measured.
    shown_names = [
        name for name in labels if any(_number(row[name]) > 0.0 for row in rows)
    ]
    drawing, panels = _axes(len(shown_names))
    steps = [int(row["step"]) for row in rows]
    marker = "o" if len(rows) < 20 else ""
    for axes, name in zip(panels, shown_names, strict=True):
        shown = []
        for column, about, (color, style) in zip(
            (name, f"val_{name}"), ("training", "validation"), _STYLES, strict=False
        ):
            if column in rows[0]:
                values = [_number(row[column]) for row in rows]
                axes.plot(steps, values, style, color=color, label=about, marker=marker)
                shown += values
        _logarithmic(axes, "y", np.array(shown))
        axes.set_ylabel(labels[name])
    panels[0].legend(frameon=False)
    panels[-1].set_xlabel("step")
    return drawing


def _number(text):
    return float(text or "nan")


def _logarithmic(axes, name, values):
    if not (values > 0).any():
        return
    getattr(axes, f"set_{name}scale")("log")
    axis = getattr(axes, f"{name}axis")
    # Plain numbers: 20, not 2 × 10¹.
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(_PlainFormatter(minor_thresholds=(2, 0.5)))


class _PlainFormatter(ticker.LogFormatter):
    def __call__(self, x, pos=None):
        return super().__call__(x, pos) and f"{x:g}"  # 0.3, not 3e-01


def _axes(count):
    drawing = figure.Figure((4.8, 3.6), layout="constrained", facecolor="white")
    panels = drawing.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e7e9", lw=0.7)
    return drawing, panels
