"""The curves of a report: errors, expected errors and the history of the training."""

import csv
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib import figure, ticker
from matplotlib.axes import Axes

from scn_keras.inference.located_image import expected_error
from scn_keras.pictures import to_svg
from scn_keras.pictures.style import plain_text
from scn_keras.training.collapse import read_recoveries
from scn_keras.training.evaluation.statistics import RADII, SHOWN_RADII
from scn_keras.training.report.fragments import picture, remark, table
from scn_keras.training.report.reported_split import ReportedSplit
from scn_keras.training.run import Run

# Colours of Okabe and Ito, each with a line style of its own.
_STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))
_GUIDE = "#9aa5ab"
# The columns of a history that are shown.
_HISTORY = {"point_error": "point error, mm", "loss": "loss"}
_LOG_FROM = 4.0  # the ratio of the largest to the smallest value


def curve_pictures(reported: ReportedSplit) -> Iterator[str]:
    """Yields the curves as pictures with captions."""
    yield picture(
        to_svg(_error_curve(reported)),
        "svg+xml",
        "Cumulative curve of the point errors",
        f"Percentage of the points of {reported.split} whose error is below the "
        "distance on the x axis.",
    )
    yield _uncertainty_picture(reported)
    if reported.run.history_path.is_file():
        yield history_picture(reported.run)


def rank_correlation(errors: np.ndarray, expected: np.ndarray) -> float | None:
    """Returns Spearman's rank correlation of mean errors and expected errors of images.

    Args:
        errors: Array `(images, landmarks)` of distances. NaN is ignored, and images
            with NaN only are omitted.
        expected: Array `(images, landmarks)` of expected errors.

    Returns:
        Float, or `None` for fewer than three images.
    """
    present = ~np.isnan(errors).all(axis=1)
    if present.sum() < 3:
        return None
    first, second = (
        np.argsort(np.argsort(np.nanmean(values[present], axis=1)))
        for values in (errors, expected)
    )
    # The ranks of n images have the variance (n^2 - 1) / 12.
    return 12.0 * np.cov(first, second, bias=True)[0, 1] / (len(first) ** 2 - 1)


def _uncertainty_picture(reported: ReportedSplit) -> str:
    """Returns errors plotted over 90 % radii or, if unknown, over expected errors."""
    cases, unit = [*reported.points.values()], reported.unit
    errors = np.stack([case["errors"][reported.truth] for case in cases])
    radii = np.stack([case["radius90"] for case in cases])
    if np.isfinite(radii).any():
        return picture(
            to_svg(_uncertainty_curve(errors, radii, unit, "90 % radius", 90)),
            "svg+xml",
            "Point error against the 90 % radius",
            "Each dot is a point. The coloured line joins the 90th percentiles of ten "
            "groups of equal size. On the grey line, the error equals the radius. For "
            "small and for large radii, 10 % of the points should be above it. "
            f"{_ranking(errors, radii)}",
        )
    expected = np.stack(
        [expected_error(case["spread"], case["score"]) for case in cases]
    )
    return picture(
        to_svg(_uncertainty_curve(errors, expected, unit, "expected error")),
        "svg+xml",
        "Point error against the expected error of the heatmap's peak",
        "The expected error is a fifth of the peak's width divided by its score. Each "
        "dot is a point. The coloured line joins the means of ten groups of equal "
        "size. On the grey line, the error equals the expected error. "
        f"{_ranking(errors, expected)}",
    )


def _ranking(errors: np.ndarray, expected: np.ndarray) -> str:
    correlation = rank_correlation(errors, expected)
    if correlation is None:
        return ""
    return f"Rank correlation of the means per image: {correlation:.2f}."


def _error_curve(reported: ReportedSplit) -> figure.Figure:
    """Draws the cumulative distribution of the errors against each truth."""
    unit = reported.unit
    drawing, (axes,) = _axes(1)
    errors = {
        truth: np.concatenate(
            [case["errors"][truth] for case in reported.points.values()]
        )
        for truth in reported.truths
    }
    errors = {truth: np.sort(e[~np.isnan(e)]) for truth, e in errors.items()}
    limit = largest_shown([*errors.values()], RADII[unit])
    for (truth, e), (color, style) in zip(errors.items(), _STYLES, strict=False):
        share = 100.0 * np.arange(1, e.size + 1) / e.size
        axes.step(
            e,
            share,
            style,
            where="post",
            color=color,
            label=plain_text(truth or "points"),
        )
    for radius in SHOWN_RADII[unit]:
        axes.axvline(radius, color=_GUIDE, lw=0.7, zorder=0)
    axes.set(xlim=(0.0, limit), ylim=(0.0, 100.0))
    axes.set_xlabel(f"distance to the truth, {unit}")
    axes.set_ylabel("% of points")
    if len(errors) > 1:
        axes.legend(title="truth", frameon=False, loc="lower right")
    return drawing


def largest_shown(errors: Sequence[np.ndarray], radii: Sequence[float]) -> float:
    """Returns the end of the axis of errors, which contains most of them.

    Args:
        errors: Sequence of arrays of errors, one for each truth.
        radii: Sequence of floats in ascending order, the radii of the success rates.

    Example:

    >>> largest_shown([np.array([1.0, 3.0])], (2.0, 4.0, 10.0))
    4.0
    >>> largest_shown([np.full(9, 50.0)], (2.0, 4.0, 10.0))
    50.0
    """
    errors = [e for e in errors if e.size]
    limit = max(np.percentile(e, 99) for e in errors)
    # Of a model that is hardly trained, the usual range would contain no point.
    if min(np.median(e) for e in errors) > radii[-1]:
        return float(limit)
    return float(np.clip(limit, radii[-2], radii[-1]))


def _uncertainty_curve(
    errors: np.ndarray,
    expected: np.ndarray,
    unit: str,
    label: str,
    percentile: float | None = None,
) -> figure.Figure:
    """Plots errors over expected errors, and a summary of ten groups of points.

    Args:
        errors: Array `(images, landmarks)`.
        expected: Array `(images, landmarks)`.
        unit: `"mm"` or `"px"`.
        label: Str, the label of the x axis.
        percentile: Float, the percentile of the errors of each group; `None` for their
            mean.
    """
    drawing, (axes,) = _axes(1)
    positive = (errors > 0) & (expected > 0)
    errors, expected = errors[positive], expected[positive]
    color, _ = _STYLES[0]
    axes.plot(expected, errors, ".", ms=2, color=color, alpha=0.35, rasterized=True)
    groups = np.array_split(np.argsort(expected), min(10, max(len(expected), 1)))
    groups = [group for group in groups if len(group)]
    axes.plot(
        [np.mean(expected[group]) for group in groups],
        [
            np.mean(e) if percentile is None else np.percentile(e, percentile)
            for e in (errors[group] for group in groups)
        ],
        "o-",
        color=_STYLES[1][0],
        ms=4,
    )
    _set_scale(axes, "x", expected)
    _set_scale(axes, "y", errors)
    if len(expected):
        ends = np.percentile(expected, (0, 100))
        axes.plot(ends, ends, color=_GUIDE, lw=0.7, zorder=0)
    axes.set_xlabel(f"{label}, {unit}")
    axes.set_ylabel(f"distance to the truth, {unit}")
    return drawing


def history_picture(run: Run) -> str:
    """Returns point error and loss of training and validation over the steps.

    The values of a single measurement are in a table, several are a curve.

    Args:
        run: `Run` with a history.
    """
    with run.history_path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Images without a spacing have no error in mm.
    series = {
        column: [_number(row[column]) for row in rows]
        for name in _HISTORY
        for column in (name, f"val_{name}")
        if rows and column in rows[0] and any(_number(row[name]) > 0.0 for row in rows)
    }
    steps = [int(row["step"]) for row in rows]
    about = (
        "Training values are measured on augmented images with dropout, validation "
        "values on whole images without augmentation and dropout."
    )
    if not series:
        return remark("The history of the training contains no values.")
    if len(rows) == 1:
        cells = [
            (f"{prefix}{_HISTORY[name]}", f"{values[0]:.4g}")
            for column, values in series.items()
            for prefix, name in [_split_column(column)]
        ]
        steps_text = f"after {steps[0]} steps" if steps[0] != 1 else "after 1 step"
        return (
            f"<figure>{table(['history of the training', steps_text], cells)}"
            f"<figcaption>Measured once, at the end. {about}</figcaption></figure>"
        )
    drawing = _history_curve(steps, series)
    recoveries = read_recoveries(run.path)
    for axes in drawing.axes:
        for recovery in recoveries:
            axes.axvline(recovery.back_to, color=_GUIDE, ls=":", lw=1.2, zorder=0)
    about = " ".join([about, *(recovery.message for recovery in recoveries)])
    alt = "Point error and loss over the steps of the training"
    return picture(to_svg(drawing), "svg+xml", alt, about)


def _split_column(column: str) -> tuple[str, str]:
    is_validation = column.startswith("val_")
    name = column.removeprefix("val_")
    return ("validation " if is_validation else "training ", name)


def _history_curve(
    steps: Sequence[int], series: Mapping[str, Sequence[float]]
) -> figure.Figure:
    names = [name for name in _HISTORY if name in series]
    drawing, panels = _axes(len(names))
    marker = "o" if len(steps) < 20 else ""
    for axes, name in zip(panels, names, strict=True):
        drawn: list[float] = []
        for column, label, (color, style) in zip(
            (name, f"val_{name}"), ("training", "validation"), _STYLES, strict=False
        ):
            if column in series:
                values = series[column]
                axes.plot(steps, values, style, color=color, label=label, marker=marker)
                drawn += values
        _set_scale(axes, "y", np.array(drawn))
        axes.set_ylabel(_HISTORY[name])
    panels[0].legend(frameon=False)
    panels[-1].set_xlabel("step")
    panels[-1].set_xlim(0, None)
    panels[-1].xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    return drawing


def _number(text: str) -> float:
    return float(text or "nan")


def _set_scale(axes: Axes, name: str, values: np.ndarray) -> None:
    """Sets a logarithmic axis, or a linear one for values of one order of magnitude."""
    positive = values[values > 0]
    if not positive.size:
        return
    axis = getattr(axes, f"{name}axis")
    if positive.max() < _LOG_FROM * positive.min():
        axis.set_major_locator(ticker.MaxNLocator(5))
        axis.set_major_formatter(ticker.ScalarFormatter(useOffset=False))
        return
    getattr(axes, f"set_{name}scale")("log")
    # Plain numbers: 20, not 2 × 10¹.
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(_PlainFormatter(minor_thresholds=(2, 0.5)))


class _PlainFormatter(ticker.LogFormatter):
    def __call__(self, x, pos=None):
        return super().__call__(x, pos) and f"{x:g}"  # 0.3, not 3e-01


def _axes(count: int) -> tuple[figure.Figure, list[Axes]]:
    drawing = figure.Figure((4.8, 3.6), layout="constrained", facecolor="white")
    panels = list(drawing.subplots(count, 1, sharex=True, squeeze=False)[:, 0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e7e9", lw=0.7)
    return drawing, panels
