"""A control chart of the batches of answers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes

# Okabe and Ito; outliers also have another shape.
_LINE, _OUTSIDE, _LIMITS = "#0072B2", "#D55E00", "#9aa5ab"
_TITLES = {
    "not trusted": "not trusted, %",
    "novelty": "mean novelty (1: limit of trust)",
    "score": "mean score",
    "radius": "mean 90 % radius",
}


def drift_figure(result: Mapping[str, Any]) -> figure.Figure:
    """Draws the means of successive batches with their limits.

    A batch outside of its limits is drawn as a square and coloured.

    Args:
        result: Mapping, see `find_drift`.
    """
    batches = result["batches"]
    names = [*batches["values"]]
    drawing = figure.Figure((7.0, 0.7 + 1.6 * len(names)), layout="constrained")
    panels = np.ravel(drawing.subplots(len(names), sharex=True, squeeze=False))
    for axes, name in zip(panels, names, strict=True):
        _draw(axes, name, result)
    panels[-1].set_xlabel("images, in the order of the answers")
    word = "Drift" if result["drift"] else "No drift found"
    drawing.suptitle(f"{word}: {result['n_images']} answers", fontsize=11)
    return drawing


def _draw(axes: Axes, name: str, result: Mapping[str, Any]) -> None:
    batches = result["batches"]
    edges = [batches["slices"][0][0], *(last for _, last in batches["slices"])]
    centers = 0.5 * (np.array(edges[:-1]) + edges[1:]) + 0.5
    shown = _SHOWN_AS[name]
    values = shown(np.array(batches["values"][name]))
    if name in batches["reference"]:  # the typical novelty is not in a calibration
        axes.axhline(float(shown(batches["reference"][name])), color=_LIMITS, lw=1.0)
    if name in batches["limits"]:
        limits = shown(np.array(batches["limits"][name]))
        if name == "not trusted":
            limits = np.clip(limits, 0.0, 100.0)
        steps = np.concatenate([limits, limits[-1:]])
        area: dict[str, Any] = {"color": _LIMITS, "alpha": 0.25, "lw": 0}
        positions = np.array(edges) + 0.5
        axes.fill_between(positions, steps[:, 0], steps[:, 1], step="post", **area)
    outside = np.zeros(len(values), bool)
    if name in batches["p"]:
        outside = np.array(batches["p"][name]) <= 0.5 * result["alpha"]
    axes.plot(centers, values, color=_LINE, lw=1.0)
    axes.plot(centers[~outside], values[~outside], "o", color=_LINE, ms=4)
    axes.plot(centers[outside], values[outside], "s", color=_OUTSIDE, ms=7)
    unit = f", {result['unit']}" if name == "radius" else ""
    axes.set_title(f"{_TITLES[name]}{unit}", fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


_SHOWN_AS: dict[str, Callable[[Any], Any]] = {
    "not trusted": lambda share: 100.0 * share,
    "novelty": np.asarray,
    "score": np.asarray,
    "radius": np.exp,
}
