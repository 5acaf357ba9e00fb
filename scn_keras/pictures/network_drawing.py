"""Drawings of networks as SVG, for light and dark pages."""

import html
from collections.abc import Sequence

import keras

from scn_keras.pictures._network_layout import layout
from scn_keras.pictures._network_shapes import (
    STYLE,
    draw_box,
    draw_legend,
    field_text,
    half_size,
)
from scn_keras.pictures.network_nodes import NetworkNode, network_graph

_COLUMN = 44  # px between the centres of neighbouring columns
_LEFT = 78  # px for the sizes on the left
_GAP = 76  # px between rows, for labels and arrows
_TITLES = 46  # px above the first row


def draw_network(
    network: keras.Model,
    grid: Sequence[int] | None = None,
    title: str = "",
) -> str:
    """Draws the layers of a network as an SVG file, generated from the built model.

    Each box is a layer, in the row of its resolution and right of the layers that it
    reads. Above it is the number of its channels, below it the size of its kernel, and
    its tooltip has its name, its output, its receptive field and its number of
    parameters. Frames are the layers that consist of others, such as
    `local_appearance` and `spatial_configuration`. Dropout, activations, normalisation
    and explicit padding are parts of the box of their layer.

    The colours follow the setting of the viewer (`prefers-color-scheme`).

    Args:
        network: Functional Keras model with one input, the image, such as
            `LandmarkModel.network`.
        grid: Sequence of int, the sizes of the image in array order; `None` for those
            of the input of the network.
        title: Str, written above the drawing.

    Returns:
        Str, the SVG file. The same network always gives the same file.

    Raises:
        ValueError: If the sizes of the image are unknown.

    Example:

    >>> network = scn_keras.models.LocalizationUNet(5, (64, 64, 1), 8, levels=3)
    >>> scn_keras.pictures.draw_network(network).startswith("<svg")
    True
    """
    nodes = network_graph(network, grid)
    return _Drawing(nodes, title or network.name.replace("_", " ")).svg()


class _Drawing:
    """The parts of one drawing."""

    def __init__(self, nodes: Sequence[NetworkNode], title: str) -> None:
        self._nodes = nodes
        self._title = title
        self._boxes = layout(nodes)
        self._rank = len(nodes[0].size)
        rows = max(box.row for box in self._boxes) + 1
        self._heights = [max(84 * 0.74**row, 22) for row in range(rows)]
        self._lanes = [
            max(box.lane for box in self._boxes if box.row == row) + 1
            for row in range(rows)
        ]
        self._arcs = self._arc_lanes()
        self._tops = []
        top = float(_TITLES)
        for row, height in enumerate(self._heights):
            top += 24 + 7 * self._arcs.get((row, "count"), 0)
            self._tops.append(top)
            top += self._lanes[row] * height + (self._lanes[row] - 1) * 30 + _GAP / 2
        self._bottom = top
        columns = max(box.column for box in self._boxes) + 1
        self._width = max(_LEFT + columns * _COLUMN + 20, 700)
        channels = nodes[-1].channels
        factors = {
            source
            for box in self._boxes
            if box.main.kind == "product"
            for source in box.inputs
        }
        self._heatmaps = {
            number
            for number in {*factors, len(self._boxes) - 1}
            if self._boxes[number].nodes[-1].channels == channels
        }

    def svg(self) -> str:
        """Returns the file."""
        parts = [self._frames(), *self._sizes()]
        for number, box in enumerate(self._boxes):
            parts += [self._edge(source, number) for source in box.inputs]
        for number, box in enumerate(self._boxes):
            kind = box.main.kind
            is_factor = number in self._heatmaps and kind != "product"
            look = "heatmaps" if is_factor else kind
            height = self._heights[box.row]
            parts.append(draw_box(box, *self._center(number), height, look))
        kinds = {box.main.kind for box in self._boxes} | {"heatmaps"}
        parts.append(draw_legend(kinds, self._bottom + 32))
        height = self._bottom + 50
        total = sum(node.parameters for node in self._nodes)
        what = f"{self._title}: {total:,} parameters"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="scn" role="img" '
            f'viewBox="0 0 {self._width} {height:.0f}" width="{self._width}" '
            f'height="{height:.0f}"><title>{html.escape(what)}</title>'
            f"<style>{STYLE}</style>"
            f'<rect class="paper" width="100%" height="100%"/>'
            f'<text class="title" x="10" y="20">{html.escape(what)}</text>'
            f"{''.join(parts)}</svg>\n"
        )

    def _center(self, number: int) -> tuple[float, float]:
        box = self._boxes[number]
        height = self._heights[box.row]
        x = _LEFT + (box.column + 0.5) * _COLUMN
        return x, self._tops[box.row] + box.lane * (height + 30) + height / 2

    def _half_size(self, number: int) -> tuple[float, float]:
        box = self._boxes[number]
        return half_size(box.main.kind, self._heights[box.row])

    def _edge(self, source: int, target: int) -> str:
        x0, y0 = self._center(source)
        x1, y1 = self._center(target)
        x0, x1 = x0 + self._half_size(source)[0], x1 - self._half_size(target)[0] - 4
        first, last = self._boxes[source], self._boxes[target]
        if first.row == last.row and last.column - first.column > 1:
            lane = self._arcs[source, target]
            top = self._tops[first.row] - 24 - 7 * lane
            # From label to label, above the layers.
            x0, x1 = self._center(source)[0], self._center(target)[0]
            y0 -= self._half_size(source)[1] + 14
            y1 -= self._half_size(target)[1] + 14
            path = (
                f"M{x0:.0f} {y0:.1f}V{top + 5:.1f}q0 -5 5 -5H{x1 - 5:.0f}"
                f"q5 0 5 5V{y1 - 4:.1f}"
            )
            head = f"M{x1 - 3:.0f} {y1 - 5:.1f}h6l-3 5z"
        else:
            middle = (x0 + x1) / 2
            path = (
                f"M{x0:.0f} {y0:.1f}C{middle:.0f} {y0:.1f} {middle:.0f} {y1:.1f} "
                f"{x1:.0f} {y1:.1f}"
            )
            head = f"M{x1:.0f} {y1 - 3:.1f}v6l4 -3z"
        return f'<path class="edge" d="{path}"/><path class="head" d="{head}"/>'

    def _arc_lanes(self) -> dict:
        """Assigns lanes to the edges that pass over other boxes of their row."""
        arcs: dict = {}
        spans: dict[int, list[tuple[int, int, int]]] = {}
        edges = [
            (source, target)
            for target, box in enumerate(self._boxes)
            for source in box.inputs
        ]
        edges.sort(key=lambda e: self._boxes[e[1]].column - self._boxes[e[0]].column)
        for source, target in edges:
            first, last = self._boxes[source], self._boxes[target]
            if first.row != last.row or last.column - first.column < 2:
                continue
            taken = {
                lane
                for start, end, lane in spans.get(first.row, ())
                if start <= last.column and first.column <= end
            }
            lane = next(n for n in range(len(taken) + 1) if n not in taken)
            spans.setdefault(first.row, []).append((first.column, last.column, lane))
            arcs[source, target] = lane
            count = arcs.get((first.row, "count"), 0)
            arcs[first.row, "count"] = max(count, lane + 1)
        return arcs

    def _frames(self) -> str:
        """Returns the frames of the layers that consist of others."""
        frames = []
        for group in dict.fromkeys(box.group for box in self._boxes):
            if not group:
                continue
            numbers = [i for i, box in enumerate(self._boxes) if box.group == group]
            xs = [self._center(i)[0] for i in numbers]
            tops = [self._center(i)[1] - self._half_size(i)[1] for i in numbers]
            bottoms = [self._center(i)[1] + self._half_size(i)[1] for i in numbers]
            top, left = min(tops) - 46, min(xs) - _COLUMN / 2 + 3
            row = min(self._boxes[i].row for i in numbers)
            if arcs := self._arcs.get((row, "count"), 0):
                # The title lies above edges that pass over the row.
                top = min(top, self._tops[row] - 46 - 7 * (arcs - 1))
            width = max(xs) - min(xs) + _COLUMN - 6
            parameters = sum(
                node.parameters
                for node in self._nodes
                if node.group and node.group[0] == group
            )
            notes = [f"{parameters:,} parameters"]
            notes += filter(None, [field_text(self._boxes[numbers[-1]].nodes[-1])])
            frames.append(
                f'<g><rect class="group" x="{left:.0f}" y="{top:.0f}" '
                f'width="{width:.0f}" height="{max(bottoms) - top + 48:.0f}" rx="6"/>'
                f'<text class="title" x="{left + 8:.0f}" y="{top + 15:.0f}">'
                f"{html.escape(group.replace('_', ' '))}</text>"
            )
            frames += [
                f'<text class="quiet start" x="{left + 8:.0f}" '
                f'y="{max(bottoms) + 28 + 12 * line:.0f}">{note}</text>'
                for line, note in enumerate(notes)
            ]
            frames.append("</g>")
        return "".join(frames)

    def _sizes(self) -> list[str]:
        """Returns the sizes of the rows."""
        sizes = {box.row: box.nodes[-1].size for box in self._boxes}
        return [
            f'<text class="quiet end" x="{_LEFT - 8}" '
            f'y="{self._tops[row] + self._heights[row] / 2 + 3:.1f}">'
            f"{' × '.join(map(str, size))}</text>"
            for row, size in sorted(sizes.items())
        ]
