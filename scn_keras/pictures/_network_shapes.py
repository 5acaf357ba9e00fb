"""The shapes, colours and texts of the drawings of networks."""

import html
from collections.abc import Collection

from scn_keras.pictures._network_layout import Box
from scn_keras.pictures.network_nodes import NetworkNode

BAR = 16  # px, the width of a convolution
ROUND = 9.0  # px, half the size of signs and arrows

STYLE = """
.scn { font: 10px system-ui, sans-serif; --ink: #1b2226; --soft: #5c686f;
  --paper: #fff; --group: #f3f5f6; --line: #9aa5ab; --conv: #56b4e9; --heat: #e69f00;
  --move: #009e73; --other: #cc79a7; }
@media (prefers-color-scheme: dark) { .scn { --ink: #f2f4f5; --soft: #a9b4ba;
  --paper: #14181c; --group: #1e252a; --line: #76828a; } }
.scn text { fill: var(--ink); text-anchor: middle; }
.scn .quiet { fill: var(--soft); }
.scn .start { text-anchor: start; }
.scn .end { text-anchor: end; }
.scn .title { font-size: 13px; font-weight: 600; text-anchor: start; }
.scn .paper { fill: var(--paper); }
.scn .group { fill: var(--group); stroke: var(--line); stroke-width: .6; }
.scn .edge { fill: none; stroke: var(--line); stroke-width: 1.2; }
.scn .head { fill: var(--line); }
.scn .convolution, .scn .pixelwise { fill: var(--conv); }
.scn .heatmaps { fill: var(--heat); }
.scn .pooling, .scn .upsampling { fill: var(--move); }
.scn .input, .scn .sum, .scn .concatenation, .scn .product { fill: var(--paper);
  stroke: var(--ink); stroke-width: 1.2; }
.scn .product { stroke: var(--heat); stroke-width: 2; }
.scn .other, .scn .padding { fill: var(--other); }
"""
SIGNS = {"sum": "+", "concatenation": "⧺", "product": "×"}
ARROWS = ("pooling", "upsampling")
_WORDS = {
    "convolution": "convolution, below it the size of its kernel",
    "heatmaps": "heatmaps",
    "pooling": "pooling",
    "upsampling": "upsampling",
    "sum": "sum",
    "concatenation": "concatenation of channels",
    "product": "product",
    "other": "other layer",
}


def half_size(kind: str, height: float) -> tuple[float, float]:
    """Returns half of the width and of the height of a layer's shape, px."""
    if kind in SIGNS or kind in ARROWS:
        return ROUND, ROUND
    return BAR / 2, height / 2


def draw_box(box: Box, x: float, y: float, height: float, look: str) -> str:
    """Returns the SVG element of one box, with its labels and its tooltip.

    Args:
        box: `Box`.
        x, y: Floats, the centre.
        height: Float, the height of a convolution in its row.
        look: Str, the class of the shape: its kind, or `"heatmaps"`.
    """
    _, half = half_size(box.main.kind, height)
    shape = _shape(box.main.kind, x, y, half, look)
    labels = f'<text x="{x:.0f}" y="{y - half - 4:.1f}">{box.nodes[-1].channels}</text>'
    if below := _kernel_text(box.main):
        labels += (
            f'<text class="quiet" x="{x:.0f}" y="{y + half + 11:.1f}">{below}</text>'
        )
    return (
        f'<g class="node"><title>{html.escape(_tooltip(box))}</title>'
        f"{shape}{labels}</g>"
    )


def draw_legend(kinds: Collection[str], y: float) -> str:
    """Returns the legend of the kinds of layers in a drawing.

    Args:
        kinds: Collection of str.
        y: Float, its centre.
    """
    x, parts = 14.0, []
    for kind, word in _WORDS.items():
        if kind not in kinds:
            continue
        parts.append(
            f'{_shape(kind, x + 6, y, 7.0, kind)}<text class="quiet start" '
            f'x="{x + 18:.0f}" y="{y + 3.5:.1f}">{word}</text>'
        )
        x += 34 + 5.2 * len(word)
    return "".join(parts)


def field_text(node: NetworkNode) -> str:
    """Returns the text on the receptive field of a node, or `""` if it is unknown."""
    if node.field is None:
        return ""
    return f"receptive field {' × '.join(map(str, node.field))} px"


def _shape(kind: str, x: float, y: float, half: float, look: str) -> str:
    if kind in SIGNS:
        return (
            f'<circle class="{look}" cx="{x:.0f}" cy="{y:.1f}" r="{half:.0f}"/>'
            f'<text x="{x:.0f}" y="{y + 3.5:.1f}">{SIGNS[kind]}</text>'
        )
    if kind in ARROWS:
        base, tip = (y - half, y + half) if kind == "pooling" else (y + half, y - half)
        return (
            f'<path class="{look}" d="M{x - half:.0f} {base:.1f}h{2 * half:.0f}'
            f'L{x:.0f} {tip:.1f}z"/>'
        )
    width = min(BAR, half)
    return (
        f'<rect class="{look}" x="{x - width / 2:.1f}" y="{y - half:.1f}" '
        f'width="{width:.1f}" height="{2 * half:.1f}" rx="2"/>'
    )


def _kernel_text(node: NetworkNode) -> str:
    if node.kind in ARROWS:
        sign = "÷" if node.kind == "pooling" else "×"
        return f"{sign}{node.kernel[0]}" if node.kernel else ""
    if len(set(node.kernel)) == 1 and len(node.kernel) == 3:
        return f"{node.kernel[0]}³"
    return "×".join(map(str, node.kernel))


def _tooltip(box: Box) -> str:
    last = box.nodes[-1]
    names = [node.name.replace("/", " / ") for node in box.nodes]
    activations = [node.activation for node in box.nodes if node.activation]
    lines = [", ".join(names)]
    lines.append(f"output {' × '.join(map(str, (*last.size, last.channels)))}")
    if activations:
        lines.append(f"with {', '.join(activations)}")
    lines += filter(None, [field_text(last)])
    lines.append(f"{sum(node.parameters for node in box.nodes):,} parameters")
    return "\n".join(lines)
