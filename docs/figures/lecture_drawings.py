"""Draws figures of the lecture: `python docs/figures/lecture_drawings.py`.

Those in docs/figures/lecture that explain: target, branches and few_images, with the
numbers of `benchmarks/results/hand_training_images.json`.
"""

import json
import pathlib

import matplotlib.pyplot as plt
from lecture_targets import FOUND, TRUE, gaussian, row_of, save
from matplotlib.axes import Axes

from scn_keras.datasets.synthetic_hand import generate_hand

RESULTS = pathlib.Path(__file__).parents[2] / "benchmarks/results"


def target() -> None:
    """A point as two numbers, and as a heatmap."""
    hand = generate_hand(seed=20, index=2, size=(128, 100))
    x, y = hand["points"][row_of("thumb tip")]
    figure, axes = plt.subplots(1, 2, figsize=(4.9, 3.4), layout="constrained")
    axes[0].imshow(hand["image"], cmap="gray")
    axes[0].plot(x, y, "o", ms=7, c=FOUND)
    axes[0].set_title(f"x = {x:.1f}\ny = {y:.1f}")
    axes[1].imshow(gaussian(hand["image"].shape, (x, y), 4.0), cmap="magma")
    axes[1].set_title("heatmap of\nthe thumb tip")
    for axis in axes:
        axis.set_axis_off()
    save(figure, "target")


def box(axis: Axes, x: float, y: float, text: str, color: str) -> None:
    style = {"boxstyle": "round,pad=0.5", "facecolor": color, "edgecolor": "0.3"}
    axis.text(x, y, text, ha="center", va="center", bbox=style, linespacing=1.4)


Place = tuple[float, float]


def arrow(axis: Axes, start: Place, end: Place) -> None:
    style = {"arrowstyle": "-|>", "lw": 2.5, "color": "0.25", "mutation_scale": 22}
    axis.annotate("", end, start, arrowprops=style)


def branches() -> None:
    """The two branches of the network and their product."""
    figure, axis = plt.subplots(figsize=(10, 3.6), layout="constrained")
    axis.set(xlim=(0, 10), ylim=(0, 3.6))
    axis.set_axis_off()
    arrow(axis, (0.95, 2.9), (1.75, 2.9))
    arrow(axis, (3.65, 2.9), (4.6, 2.9))
    arrow(axis, (6.2, 2.9), (8.1, 2.9))
    arrow(axis, (5.4, 2.3), (5.4, 1.25))
    arrow(axis, (6.1, 0.75), (6.75, 0.75))
    arrow(axis, (8.35, 1.45), (8.35, 2.6))
    arrow(axis, (8.6, 2.9), (9.0, 2.9))
    box(axis, 0.5, 2.9, "image", "white")
    box(axis, 2.7, 2.9, "local appearance:\nsmall field", "#cfe5f5")
    box(axis, 5.4, 2.9, "heatmaps of\nall landmarks", "#fbe3b4")
    axis.text(8.35, 2.9, "×", ha="center", va="center", fontsize=30)
    axis.text(9.1, 2.9, "product", va="center")
    box(axis, 5.4, 0.75, "reduce\nby 16", "white")
    box(axis, 8.35, 0.75, "spatial configuration:\nkernels of 11 × 11", "#d5eed5")
    save(figure, "branches")


def few_images() -> None:
    """Error and outliers over the number of training images."""
    results = json.loads((RESULTS / "hand_training_images.json").read_text("utf-8"))
    colors = {"SCN": TRUE, "U-Net": FOUND, "SCN from synthetic_hand": "tab:blue"}
    titles = ("mean error, mm", "points above 10 mm, %")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
    for name, color in colors.items():
        rows = [row for row in results["results"] if row["network"] == name]
        images = [row["training_images"] for row in rows]
        label = name.replace("synthetic_hand", "drawn hands")
        for axis, title, values in zip(
            axes,
            titles,
            (
                [row["mre_mm"] for row in rows],
                [100.0 - row["sdr_percent"]["10"] for row in rows],
            ),
            strict=True,
        ):
            axis.plot(images, values, "o-", color=color, lw=3, ms=9, label=label)
            axis.set(title=title, xlabel="training images", xticks=(5, 10, 20, 36))
    for axis in axes:
        axis.set_ylim(bottom=0.0)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
    )
    save(figure, "few_images")


if __name__ == "__main__":
    for draw in (target, branches, few_images):
        draw()
