"""Figures of the stages from an image file to the network's heatmaps."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.geometry import apply_affine, spacing_of
from scn_keras.pictures import Projection, draw_heatmaps, project_to_planes
from scn_keras.pictures.style import (
    INK,
    PAPER,
    PREDICTED,
    TRUE,
    draw_image,
    halo,
    plain_text,
)
from scn_keras.saved_models.explaining.explanation import Explanation
from scn_keras.saved_models.explaining.features import FeatureMaps

_WIDTH = 9.0  # inches
_TITLE = 0.3


def draw_images(explanation: Explanation) -> figure.Figure:
    """Draws the image as it was read, reduced and on the grid, with the points.

    The outline of the grid is drawn on the image. Volumes are drawn as maximum
    projections along z, y and x, one row each.
    """
    result = explanation.result
    grid_image = explanation.grid_image[..., 0]
    to_source = np.asarray(result.grid_to_source, np.float64)
    outline = apply_affine(to_source, _corners(grid_image.shape))
    spacing = spacing_of(result.affine) if result.calibrated else None
    grid_spacing = spacing_of(explanation.grid_to_space)
    steps = np.array(explanation.reduction)
    points = result.points("px")
    stages = [
        ("as read", explanation.image, points, spacing, outline),
        (
            "smoothed and reduced",
            explanation.reduced,
            points / steps,
            None if spacing is None else spacing * steps,
            None,
        ),
        ("on the grid", grid_image, explanation.grid_points, grid_spacing, None),
    ]
    columns = []
    for title, image, located, spacing_mm, corners in stages:
        text = f"{title}, {' × '.join(map(str, image.shape))}"
        both = located if corners is None else np.concatenate([located, corners])
        planes = project_to_planes(image, both, spacing_mm)
        columns.append([_Panel(text, plane, len(located)) for plane in planes])
    # All panels of a row have the same height.
    shapes = np.array([[panel.shape for panel in column] for column in columns])
    heights = _WIDTH / shapes.sum(axis=0)
    drawing = new_figure(_WIDTH, heights.sum() + _TITLE * len(heights))
    top = 0.0
    for row, height in enumerate(heights):
        left = 0.0
        for column in columns:
            width = height * column[row].shape
            axes = _axes(drawing, left, top + _TITLE, width * 0.99, height)
            left += width
            column[row].draw(axes, explanation.landmarks)
            title = column[row].title if row == 0 else ""
            axes.set_title(title, color=INK, fontsize=9, pad=5)
        top += height + _TITLE
    return drawing


def draw_features(features: Sequence[FeatureMaps], depth: float) -> figure.Figure:
    """Draws some channels of one layer for each resolution, a row each.

    Args:
        features: Sequence of `FeatureMaps`.
        depth: Float from 0 to 1, the position along z of the drawn slice of volumes.
    """
    columns = max(len(layer.channels) for layer in features)
    shapes = [layer.maps.shape[-3:-1] for layer in features]
    width = _WIDTH / columns
    heights = [width * shape[0] / shape[1] for shape in shapes]
    drawing = new_figure(_WIDTH, sum(heights) + 2 * _TITLE * len(features))
    top = 0.0
    for layer, height in zip(features, heights, strict=True):
        maps, size = layer.maps, " × ".join(map(str, layer.maps.shape[:-1]))
        name = layer.name.replace("_", " ").replace("/", ", ")
        drawing.text(
            0.01,
            1.0 - (top + 0.6 * _TITLE) / drawing.get_figheight(),
            plain_text(f"{name}: {size}, {layer.total} channels"),
            color=INK,
            fontsize=9,
            va="center",
        )
        if maps.ndim == 4:
            maps = maps[round(depth * (len(maps) - 1))]
        top += 2 * _TITLE
        for column, channel in enumerate(layer.channels):
            axes = _axes(drawing, column * width, top, 0.99 * width, height)
            draw_image(axes, np.ascontiguousarray(maps[..., column]))
            axes.set_title(f"channel {channel}", color=INK, fontsize=8, pad=3)
        top += height
    return drawing


def draw_all_heatmaps(explanation: Explanation) -> figure.Figure:
    """Draws the heatmaps of all landmarks at each stage, see `draw_heatmaps`."""
    return draw_heatmaps(
        explanation.grid_image,
        explanation.heatmaps,
        explanation.schema,
        predicted=explanation.grid_points,
    )


def draw_landmark(explanation: Explanation, landmark: int) -> Iterator[figure.Figure]:
    """Yields the heatmaps of one landmark, for volumes on slices through its peak.

    Args:
        explanation: `Explanation`.
        landmark: Int, its index.
    """
    image = explanation.grid_image
    heatmaps, points = explanation.heatmaps, explanation.grid_points
    heatmaps = {name: maps[..., [landmark]] for name, maps in heatmaps.items()}
    schema = type(explanation.schema)((explanation.schema.names[landmark],))
    for cut, planes, flat in slices_at_peak(image, heatmaps, points[[landmark]]):
        drawing = draw_heatmaps(cut, planes, schema, 0, flat)
        yield drawing


def slices_at_peak(
    image: np.ndarray, heatmaps: dict[str, np.ndarray], points: np.ndarray
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]:
    """Yields the planes on which one landmark is drawn, z upwards.

    A 2D image is yielded as it is. A volume has the planes of x and y, x and z, y and z
    through the largest pixel of the last heatmap.

    Args:
        image: Array `(*grid, 1)`.
        heatmaps: Dict of arrays `(*grid, 1)` of one landmark.
        points: Array `(1, D)`.
    """
    if image.ndim == 3:
        yield image, heatmaps, points
        return
    last = list(heatmaps.values())[-1][..., 0]
    peak = np.unravel_index(last.argmax(), last.shape)
    for along, axes in ((0, (0, 1)), (1, (0, 2)), (2, (1, 2))):
        index = (slice(None),) * along + (int(peak[along]),)
        cut = image[index]
        planes = {name: maps[index] for name, maps in heatmaps.items()}
        flat = points[:, list(axes)].copy()
        if along:  # rows are slices: z upwards
            cut, planes = cut[::-1], {name: maps[::-1] for name, maps in planes.items()}
            flat[:, 1] = len(cut) - 1 - flat[:, 1]
        yield cut, planes, flat


def new_figure(width: float, height: float) -> figure.Figure:
    """Returns an empty figure of a size in inches, for any canvas."""
    drawing = figure.Figure((width, height), facecolor=PAPER)
    FigureCanvasAgg(drawing)
    return drawing


def _axes(
    drawing: figure.Figure, left: float, top: float, width: float, height: float
) -> Axes:
    """Adds axes at a position in inches from the upper left corner."""
    w, h = drawing.get_size_inches()
    axes = drawing.add_axes((left / w, 1.0 - (top + height) / h, width / w, height / h))
    axes.set_axis_off()
    return axes


class _Panel:
    """One plane of a stage, with its points and the outline of the grid.

    Args:
        title: Str.
        plane: `Projection`, whose points are those of the landmarks, then the corners
            of the grid.
        count: Int, the number of landmarks.
    """

    def __init__(self, title: str, plane: Projection, count: int) -> None:
        self.title = title
        self._plane = plane
        self._points = plane.points[:count]
        self._corners = plane.points[count:]
        size = np.array(plane.plane.shape[::-1])
        ends = np.concatenate([[[-0.5, -0.5], size - 0.5], self._corners])
        self._low, self._high = ends.min(axis=0), ends.max(axis=0)
        width, height = self._high - self._low
        self.shape = width / (height * plane.aspect)

    def draw(self, axes: Axes, landmarks: Sequence[int]) -> None:
        """Draws the plane; the points of `landmarks` are larger and orange."""
        draw_image(axes, self._plane.plane)
        others = [i for i in range(len(self._points)) if i not in landmarks]
        for chosen, color, size in (
            (others, TRUE, 2.5),
            (list(landmarks), PREDICTED, 5.0),
        ):
            points = self._points[chosen]
            axes.plot(*points.T, "o", ms=size, mfc=color, mec="black", mew=0.4)
        if len(self._corners):
            outline = _hull(self._corners)
            closed = np.concatenate([outline, outline[:1]])
            axes.plot(*closed.T, color=INK, lw=1.2, ls="--", path_effects=halo(2.4))
        axes.set_xlim(self._low[0], self._high[0])
        ends = self._low[1], self._high[1]
        axes.set_ylim(*(ends if 2 in self._plane.axes else ends[::-1]))  # z upwards


def _corners(shape: Sequence[int]) -> np.ndarray:
    ends = [(-0.5, size - 0.5) for size in reversed(shape)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*ends)], axis=-1)


def _hull(points: np.ndarray) -> np.ndarray:
    """Returns the convex hull of points in the plane, by their angles (Andrew 1979)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})

    def chain(sequence):
        kept: list[tuple[float, float]] = []
        for point in sequence:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], point) <= 0.0:
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return np.array(chain(ordered) + chain(reversed(ordered)))


def _turn(a, b, c):
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
