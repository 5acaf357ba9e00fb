"""Positions of the nodes of a network in a drawing."""

import dataclasses
import math
from collections.abc import Sequence

from scn_keras.pictures.network_nodes import NetworkNode


@dataclasses.dataclass(frozen=True)
class Box:
    """A node of a drawing: a layer with the pixelwise operations that follow it.

    Attributes:
        nodes: Tuple of `NetworkNode`: the layer, then dropout, activation or
            normalisation; before it, explicit padding.
        main: `NetworkNode`, the layer that is drawn.
        inputs: Tuple of int, the indices of the boxes that it reads.
        column: Int, its distance from the image.
        row: Int, the resolution of its output; 0 is the finest.
        lane: Int, the place within column and row if several boxes have the same.
    """

    nodes: tuple[NetworkNode, ...]
    main: NetworkNode
    inputs: tuple[int, ...]
    column: int
    row: int
    lane: int

    @property
    def group(self) -> str:
        """The name of the outermost layer that contains it, or `""`."""
        return self.main.group[0] if self.main.group else ""


def layout(nodes: Sequence[NetworkNode]) -> tuple[Box, ...]:
    """Merges pixelwise operations into layers and places these in columns and rows.

    The column is the largest number of layers between the image and the layer, the row
    is the resolution. The levels of a U-Net therefore lie below each other.

    Args:
        nodes: Sequence of `NetworkNode`, see `network_graph`.
    """
    members = _merged(nodes)
    sizes = [math.prod(nodes[group[-1]].size) for group in members]
    rows = {size: row for row, size in enumerate(sorted(set(sizes), reverse=True))}
    box_of = {node: number for number, group in enumerate(members) for node in group}
    boxes: list[Box] = []
    used: dict[tuple[int, int], int] = {}
    for number, group in enumerate(members):
        inputs = tuple(
            dict.fromkeys(
                box_of[source]
                for node in group
                for source in nodes[node].inputs
                if box_of[source] != number
            )
        )
        column = max((boxes[source].column + 1 for source in inputs), default=0)
        row = rows[sizes[number]]
        lane = used.get((column, row), 0)
        used[column, row] = lane + 1
        main = next((n for n in group if not _is_merged(nodes[n])), group[0])
        boxes.append(
            Box(tuple(nodes[n] for n in group), nodes[main], inputs, column, row, lane)
        )
    return tuple(boxes)


def _is_merged(node: NetworkNode) -> bool:
    return node.kind in ("pixelwise", "padding") and len(node.inputs) == 1


def _merged(nodes: Sequence[NetworkNode]) -> list[list[int]]:
    """Returns the nodes of each box, in topological order of the boxes."""
    readers: list[list[int]] = [[] for _ in nodes]
    for number, node in enumerate(nodes):
        for source in node.inputs:
            readers[source].append(number)
    owner: dict[int, int] = {}
    # Padding belongs to its only reader, a pixelwise operation to what it reads.
    for number in reversed(range(len(nodes))):
        owner[number] = number
        if nodes[number].kind == "padding" and len(readers[number]) == 1:
            owner[number] = owner[readers[number][0]]
    for number, node in enumerate(nodes):
        if node.kind != "pixelwise" or len(node.inputs) != 1:
            continue
        source = node.inputs[0]
        alone = len(readers[source]) == 1 and nodes[source].kind != "input"
        if alone and nodes[source].group[:1] == node.group[:1]:
            owner[number] = owner[source]
    groups: dict[int, list[int]] = {}
    for number in range(len(nodes)):
        groups.setdefault(owner[number], []).append(number)
    # A box is complete with its last node. Its readers come later.
    return sorted(groups.values(), key=lambda group: group[-1])
