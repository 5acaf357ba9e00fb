"""One page that shows how good a run is, and where it goes wrong."""

import base64
import csv
import html
import json
import pathlib
import string
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib import figure, ticker
from rich import progress

from scn_keras.files.atomic_write import write_text
from scn_keras.geometry import apply_affine, invert_affine
from scn_keras.training import data, inference, overlay, preprocessing
from scn_keras.training.evaluate import (
    HELD_OUT,
    known_truths,
    read_points,
    true_points,
)
from scn_keras.training.result_table import (
    SHOWN_RADII,
    between_observers,
    interval,
    mean_and_sd,
    observer_pairs,
    rate,
)
from scn_keras.training.run import Run

_FARTHEST = 15
_STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


def write_report(
    run: Run,
    split: str | None = None,
    data_dir: str | pathlib.Path | None = None,
    worst: int = 10,
    best: int = 3,
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

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: If the run has not been evaluated on the split, or the
            data set is not there.
    """
    split = split or run.recipe.test_split
    points = read_points(run, split)
    builder = data.prepared_builder(run.recipe.dataset, data_dir)
    truths = known_truths(builder)
    results = _sorted(_read_results(run), split, truths)
    truth = _headline_truth(run, results)
    headlines = [
        r for r in results if r["protocol"]["truth"] == truth and _is_of(r, split)
    ]
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
    stored_in = run.recipe.train_split if split == HELD_OUT else split
    samples = data.find_samples(run.recipe.dataset, stored_in, wanted, data_dir)
    true = {id: true_points(sample, truth, builder) for id, sample in samples.items()}

    def pictures(ids):
        for id in progress.track(ids, "draw images"):
            error = np.nanmean(cases[id]["errors"][truth])
            drawing = overlay.draw_overlay(
                samples[id]["image"],
                run.schema,
                cases[id]["points_px"],
                true[id],
                samples[id]["affine"],
                title=f"{id}: mean error {error:.2f} mm",
                margin=0.15,
            )
            alt = (
                f"Image {id} with predicted and true points, {error:.2f} mm on average"
            )
            yield _picture(overlay.to_jpeg(drawing), "jpeg", alt)

    protocol = headlines[0]["protocol"]
    page = string.Template(
        resources.files(__package__).joinpath("report_template.html").read_text("utf-8")
    ).substitute(
        title=html.escape(f"{run.recipe.name} on {protocol['dataset']}"),
        subtitle=html.escape(_subtitle(run)),
        cards="\n".join(_card(result) for result in headlines),
        results=_results_table(results),
        observers="\n".join(
            f"<p>{html.escape(between_observers(pair, scope).capitalize())}</p>"
            for scope, pair in observer_pairs(results)
        ),
        protocol=_definitions(protocol),
        curves="\n".join(_curves(run, points, truths, truth, split)),
        headline=html.escape(_about(headlines[0])),
        landmarks=_landmark_table(headlines[0]),
        heatmaps="\n".join(_heatmaps(run, samples, true, typical, farthest[0])),
        farthest=_farthest_table(run, farthest),
        worst="\n".join(pictures(shown_worst)),
        best="\n".join(pictures(shown_best)),
        footer=_footer(run),
    )
    path = run.path / "report.html"
    write_text(path, page)
    return path


def _read_results(run: Run) -> list[dict[str, Any]]:
    paths = sorted((run.path / "results").glob("*.json"))
    return [json.loads(path.read_text("utf-8")) for path in paths]


def _sorted(results, split, truths):
    """The shown split and its subsets first, truths in the order of the data set."""

    def key(result):
        protocol = result["protocol"]
        place = (protocol["split"] != split, not _is_of(result, split))
        return (*place, protocol["split"], truths.index(protocol["truth"]))

    return sorted(results, key=key)


def _is_of(result, split):
    return split in (result["protocol"]["split"], result["protocol"]["subset_of"])


def _headline_truth(run, results):
    trained = "mean" if run.recipe.observer == "random" else run.recipe.observer
    scored = [result["protocol"]["truth"] for result in results]
    return trained if trained in scored else scored[0]


def _farthest(cases, truth) -> list[tuple[str, int, float, float]]:
    """The farthest points: image, landmark, distance in mm and score."""
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
    ci95 = result["ci95"]
    between = interval(ci95["mre_mm"], 2)
    rates = interval(ci95["sdr_percent"]["2"], 1)
    return (
        '<div class="card">'
        f"<b>{result['mre_mm']:.2f} mm</b>"
        f"mean point error on {html.escape(_about(result))}, "
        f"{result['n_images']} images"
        f"{f', 95 % interval {between}' if between else ''}"
        f'<p class="soft">{result["sdr_percent"]["2"]:.1f} % of points within 2 mm'
        f"{f' ({rates})' if rates else ''}, half of them within "
        f"{result['median_mm']:.2f} mm, 95 % within "
        f"{result['percentiles_mm']['p95']:.2f} mm</p></div>"
    )


def _results_table(results: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for result in results:
        protocol, ci95 = result["protocol"], result["ci95"]
        rows.append(
            [
                html.escape(protocol["split"]),
                html.escape(protocol["truth"] or "–"),
                str(result["n_images"]),
                f"{mean_and_sd(result)}<small>{interval(ci95['mre_mm'], 3)}</small>",
                f"{result['median_mm']:.3f}",
                *(
                    f"{rate(result, r)}"
                    f"<small>{interval(ci95['sdr_percent'][r], 1)}</small>"
                    for r in SHOWN_RADII
                ),
                f"{result['percentiles_mm']['p95']:.3f}",
                str(result["outliers"]["10"]),
            ]
        )
    radii = [f"&lt; {r} mm" for r in SHOWN_RADII]
    head = ["split", "truth", "n", "mean ± sd", "median", *radii, "p95", "≥ 10 mm"]
    return _table(head, rows, texts=2)


def _landmark_table(result: Mapping[str, Any]) -> str:
    radii = [f"&lt; {r} mm" for r in SHOWN_RADII]
    return _table(
        ["landmark", "n", "mean ± sd", "median", *radii],
        (
            [
                html.escape(row["name"]),
                str(row["n"]),
                mean_and_sd(row),
                "–" if row["median_mm"] is None else f"{row['median_mm']:.3f}",
                *(rate(row, r) for r in SHOWN_RADII),
            ]
            for row in result["per_landmark"]
        ),
    )


def _farthest_table(run: Run, farthest) -> str:
    rows = (
        [
            html.escape(id),
            html.escape(run.schema.names[index]),
            f"{distance:.2f}",
            f"{score:.2f}",
        ]
        for id, index, distance, score in farthest
    )
    return _table(["image", "landmark", "mm", "score"], rows, texts=2)


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


def _heatmaps(run, samples, true, typical, farthest):
    if not run.model_path.is_file():  # of a cross-validation: each part has its own
        return
    model = run.load_model()

    def draw(id, landmark, caption):
        grid_image, grid_to_source = inference.to_network(
            preprocessing.grey_values(
                tf.constant(samples[id]["image"]), run.recipe.normalization
            ),
            preprocessing.spacing_of(tf.constant(samples[id]["affine"])),
            run.recipe,
        )
        heatmaps = overlay.inner_heatmaps(model, grid_image.numpy())
        located = model.peak(list(heatmaps.values())[-1][None])["points"][0]
        drawing = overlay.heatmap_figure(
            grid_image.numpy(),
            heatmaps,
            run.schema,
            landmark,
            np.asarray(located),
            apply_affine(invert_affine(grid_to_source.numpy()), true[id]),
        )
        picture = _picture(overlay.to_jpeg(drawing), "jpeg", caption, caption)
        return f'<div class="wide">{picture}</div>'

    yield draw(typical, None, f"{typical}, an image of median error: all landmarks.")
    id, index, distance, _ = farthest
    name = run.schema.names[index]
    yield draw(id, index, f"{id}, the farthest point: {name}, {distance:.1f} mm off.")


def _curves(run, points, truths, truth, split):
    yield _picture(
        overlay.to_svg(_error_curve(points, truths)),
        "svg+xml",
        "Cumulative curve of the point errors",
        f"Share of the points of {split} that are nearer to the truth than a distance.",
    )
    yield _picture(
        overlay.to_svg(_spread_curve(points, truth)),
        "svg+xml",
        "Point error against the width of the heatmap's peak",
        "Is a point farther off where its heatmap's peak is wider? A dot is a point; "
        "the line joins the medians of ten equal shares of them.",
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


def _error_curve(points, truths):
    drawing, (axes,) = _axes(1)
    errors = {
        truth: np.concatenate([case["errors"][truth] for case in points.values()])
        for truth in truths
    }
    errors = {truth: np.sort(e[~np.isnan(e)]) for truth, e in errors.items()}
    limit = max(np.percentile(e, 99) for e in errors.values() if e.size)
    limit = float(np.clip(limit, 4.0, 10.0))
    for (truth, e), (color, style) in zip(errors.items(), _STYLES, strict=False):
        share = 100.0 * np.arange(1, e.size + 1) / e.size
        axes.step(e, share, style, where="post", color=color, label=truth or "points")
    for radius in SHOWN_RADII:
        axes.axvline(float(radius), color="#9aa5ab", lw=0.7, zorder=0)
    axes.set(xlim=(0.0, limit), ylim=(0.0, 100.0))
    axes.set_xlabel("distance to the truth, mm")
    axes.set_ylabel("% of points")
    if len(errors) > 1:
        axes.legend(title="truth", frameon=False, loc="lower right")
    return drawing


def _spread_curve(points, truth):
    drawing, (axes,) = _axes(1)
    errors = np.concatenate([case["errors"][truth] for case in points.values()])
    spread = np.concatenate([case["spread_mm"] for case in points.values()])
    here = (errors > 0) & (spread > 0)
    errors, spread = errors[here], spread[here]
    color, _ = _STYLES[0]
    axes.plot(spread, errors, ".", ms=2, color=color, alpha=0.35, rasterized=True)
    tenths = np.array_split(np.argsort(spread), min(10, max(len(spread), 1)))
    axes.plot(
        [np.median(spread[tenth]) for tenth in tenths if len(tenth)],
        [np.median(errors[tenth]) for tenth in tenths if len(tenth)],
        "o-",
        color=_STYLES[1][0],
        ms=4,
    )
    _logarithmic(axes, "x", spread)
    _logarithmic(axes, "y", errors)
    axes.set_xlabel("width of the peak, mm")
    axes.set_ylabel("distance to the truth, mm")
    return drawing


def _history_curve(rows):
    drawing, panels = _axes(2)
    steps = [int(row["step"]) for row in rows]
    marker = "o" if len(rows) < 20 else ""
    for axes, name, label in zip(
        panels, ("point_error", "loss"), ("point error, mm", "loss"), strict=True
    ):
        shown = []
        for column, about, (color, style) in zip(
            (name, f"val_{name}"), ("training", "validation"), _STYLES, strict=False
        ):
            if column in rows[0]:
                values = [float(row[column] or "nan") for row in rows]
                axes.plot(steps, values, style, color=color, label=about, marker=marker)
                shown += values
        _logarithmic(axes, "y", np.array(shown))
        axes.set_ylabel(label)
    panels[0].legend(frameon=False)
    panels[-1].set_xlabel("step")
    return drawing


def _logarithmic(axes, name, values):
    if not (values > 0).any():  # such as errors of images without a spacing
        return
    getattr(axes, f"set_{name}scale")("log")
    axis = getattr(axes, f"{name}axis")
    # Plain numbers: 20, not 2 × 10¹.
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(ticker.LogFormatter(minor_thresholds=(2, 0.5)))


def _axes(count):
    drawing = figure.Figure((4.8, 3.6), layout="constrained", facecolor="white")
    panels = drawing.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e7e9", lw=0.7)
    return drawing, panels
