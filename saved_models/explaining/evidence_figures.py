"""Figures of what a point depends on: other landmarks, and the pixels of its peak."""

import numpy as np
from matplotlib import colors, figure, patches
from matplotlib.axes import Axes

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import draw_heatmaps
from scn_keras.pictures.style import INK, PAPER, PREDICTED, TRUE, plain_text
from scn_keras.saved_models.explaining.explanation import Explanation
from scn_keras.saved_models.explaining.figures import new_figure, slices_at_peak
from scn_keras.saved_models.explaining.peak_window import PeakWindow

_GRID_LINES = "#3a444b"


def shifts(explanation: Explanation) -> np.ndarray:
    """Returns the distances by which points move if another landmark is occluded.

    Returns:
        Array `(N, N)` in `explanation.unit`: the point of the landmark of the row, the
        occluded landmark of the column. NaN if the point is lost.
    """
    if explanation.occlusion is None:
        raise ValueError("The network has no spatial configuration.")
    linear = explanation.grid_to_space[:-1, :-1]
    return np.linalg.norm(explanation.occlusion.displacement @ linear.T, axis=-1)


def draw_influence(
    values: np.ndarray, schema: LandmarkSchema, title: str
) -> figure.Figure:
    """Draws a matrix of all pairs of landmarks, with a scale.

    Args:
        values: Array `(N, N)`: the row is the affected landmark, the column the
            occluded one.
        schema: `LandmarkSchema`, whose names are the labels.
        title: Str, with the unit.
    """
    count = len(schema)
    names = [plain_text(name) for name in schema.names]
    side = 5.4  # inches
    font = float(np.clip(190.0 / count, 2.5, 8.0))
    # Names of landmarks and the label of the axis.
    margin = 0.5 + max(map(len, names)) * 0.6 * font / 72.0
    width, height = margin + side + 0.8, margin + side + 0.5
    drawing = new_figure(width, height)
    box = margin / width, margin / height, side / width, side / height
    axes = drawing.add_axes(box)
    top = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    shown = axes.imshow(
        values, cmap="magma", norm=colors.PowerNorm(0.5, 0.0, max(top, 1e-6))
    )
    axes.set_xticks(range(count), names, rotation=90, fontsize=font)
    axes.set_yticks(range(count), names, fontsize=font)
    axes.set_xlabel("occluded landmark", fontsize=9, color=INK)
    axes.set_ylabel("affected landmark", fontsize=9, color=INK)
    _style(axes)
    bar = drawing.add_axes((1.0 - 0.65 / width, box[1], 0.15 / width, box[3]))
    scale = drawing.colorbar(shown, cax=bar)
    scale.outline.set_visible(False)
    bar.tick_params(colors=INK, labelsize=8)
    drawing.text(box[0], 1.0 - 0.32 / height, plain_text(title), color=INK, fontsize=10)
    return drawing


def draw_occluded(explanation: Explanation, landmark: int) -> list[figure.Figure]:
    """Draws the spatial configuration of a landmark without and with an occlusion.

    The occluded landmark is the one with the largest effect, see `Occlusion`.

    Args:
        explanation: `Explanation` with an occlusion.
        landmark: Int, its index.
    """
    occlusion = explanation.occlusion
    if occlusion is None or landmark not in occlusion.examples:
        return []
    other, before, after = occlusion.examples[landmark]
    name = explanation.schema.names[other]
    image = explanation.grid_image
    stride = np.array(image.shape[:-1]) // before.shape
    maps = {}
    for title, heatmap in (
        ("spatial configuration", before),
        (f"without {name}", after),
        ("difference", after - before),
    ):
        for axis, factor in enumerate(stride):
            heatmap = np.repeat(heatmap, factor, axis=axis)
        maps[plain_text(title)] = heatmap[..., None]
    schema = LandmarkSchema((explanation.schema.names[landmark],))
    # The slices of volumes are those of the landmark's peak.
    product = list(explanation.heatmaps.values())[-1][..., [landmark]]
    points = explanation.grid_points[[landmark, other]]
    drawings = []
    for cut, planes, flat in slices_at_peak(
        image, {**maps, "product": product}, points
    ):
        planes.pop("product")
        drawing = draw_heatmaps(cut, planes, schema, 0, flat[:1])
        if image.ndim == 3:
            for axes in drawing.axes:
                axes.plot(*flat[1], "x", ms=7, mec=TRUE, mew=2.0)
        drawings.append(drawing)
    return drawings


def draw_peak(window: PeakWindow, height: float) -> figure.Figure:
    """Draws the pixels of a peak with the decoded point, and a profile for each axis.

    Args:
        window: `PeakWindow`. Of a volume, the plane of x and y is drawn.
        height: Float, the height of the target, for the scale of the profiles.
    """
    d = len(window.point)
    drawing = new_figure(9.0, 3.1)
    axes = drawing.add_axes((0.04, 0.13, 0.29, 0.76))
    values = window.values
    if d == 3:
        values = values[int(window.largest[2] - window.origin[2])]
    left, top = window.origin[:2] - 0.5
    extent = (left, left + values.shape[1], top + values.shape[0], top)
    axes.imshow(values, cmap="gray", extent=extent, interpolation="nearest")
    corner = tuple((window.largest[:2] - window.radius - 0.5).tolist())
    side = 2 * window.radius + 1
    axes.add_patch(patches.Rectangle(corner, side, side, fill=False, ec=TRUE, lw=1.5))
    axes.plot(*window.largest[:2], "s", ms=5, mfc="none", mec=TRUE)
    if np.isfinite(window.point).all():
        axes.plot(*window.point[:2], "o", ms=5, mfc=PREDICTED, mec="black", mew=0.5)
        if window.height is not None:
            axes.add_patch(_ellipse(window.point[:2], window.covariance[:2, :2]))
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.set_title("pixels of the heatmap", color=INK, fontsize=9)
    _style(axes)
    share = 0.62 / d
    for axis in range(d):
        panel = drawing.add_axes((0.39 + axis * share, 0.13, share - 0.035, 0.76))
        _draw_profile(panel, window, axis, height)
    return drawing


def _draw_profile(axes: Axes, window: PeakWindow, axis: int, height: float) -> None:
    positions, values = window.profile(axis)
    largest = window.largest[axis]
    axes.axvspan(
        largest - window.radius - 0.5,
        largest + window.radius + 0.5,
        color=TRUE,
        alpha=0.14,
        lw=0,
    )
    axes.vlines(positions, 0.0, values / height, color=_GRID_LINES, lw=2.0)
    axes.plot(positions, values / height, "s", ms=3.5, color=TRUE)
    if window.height is not None:
        fine = np.linspace(positions[0], positions[-1], 200)
        axes.plot(fine, window.gaussian(axis, fine) / height, color=PREDICTED, lw=1.5)
    if np.isfinite(window.point[axis]):
        axes.axvline(window.point[axis], color=PREDICTED, lw=1.0, ls="--")
    axes.set_title(
        f"along {'xyz'[axis]}: {window.point[axis]:.2f}", color=INK, fontsize=9
    )
    _style(axes)


def _ellipse(center: np.ndarray, covariance: np.ndarray) -> patches.Ellipse:
    """Returns the ellipse of one standard deviation."""
    variances, directions = np.linalg.eigh(covariance)
    angle = np.degrees(np.arctan2(directions[1, 1], directions[0, 1]))
    small, large = 2.0 * np.sqrt(variances)
    return patches.Ellipse(
        (float(center[0]), float(center[1])),
        large,
        small,
        angle=angle,
        fill=False,
        ec=PREDICTED,
        lw=1.5,
    )


def _style(axes: Axes) -> None:
    axes.tick_params(colors=INK)
    axes.tick_params(length=2)
    axes.set_facecolor(PAPER)
    for spine in axes.spines.values():
        spine.set_color(_GRID_LINES)
