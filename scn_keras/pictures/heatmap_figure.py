"""Figures of the heatmaps of one image at each stage of the network."""

import keras
import numpy as np
from matplotlib import colors, figure
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.layers import Upsample
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.models._node_in_network import node_in_network
from scn_keras.pictures.style import (
    INK,
    PAPER,
    PREDICTED,
    TRUE,
    draw_image,
    landmark_colors,
)

_TITLE = 0.3  # inches above the panels


def inner_heatmaps(
    model: LandmarkModel | LandmarkEnsemble, image: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the heatmaps of one image at each stage of the network.

    Args:
        model: `LandmarkModel` or `LandmarkEnsemble`.
        image: Array `(*spatial, 1)`, the network's input.

    Returns:
        Dict of arrays `(*spatial, N)` of the image's size:

        - `local appearance`, `spatial configuration` and their `product` for a network
          with layers `local_appearance` and `spatial_configuration`;
        - `heatmaps` for other networks, and the mean heatmaps for an ensemble;
        - `presence` for a network that predicts votes of patches, the probability that
          a landmark is in a patch.
    """
    ensemble = isinstance(model, LandmarkEnsemble)
    network = (model.members[0] if ensemble else model).network
    stages = {
        layer.name.replace("_", " "): node_in_network(network, layer).outputs[0]
        for layer in network.layers
        if layer.name in ("local_appearance", "spatial_configuration") and not ensemble
    }
    outputs = model(network.inputs[0])
    if isinstance(outputs, dict):  # the outputs of `GlobalToLocalNet`
        outputs = outputs["outputs"]
    stride = getattr(network, "heatmap_stride", 1)
    if len(outputs.shape) == np.ndim(image) + 2:
        stages["presence"] = keras.ops.sigmoid(outputs[..., 0])
        stride = network.patch_size
    else:
        stages["product" if stages else "heatmaps"] = outputs
    enlarge = Upsample(stride, "linear", "replicate", dtype="float32")
    if stride > 1:
        stages = {name: enlarge(heatmaps) for name, heatmaps in stages.items()}
    # Called directly, because `predict` would compile the model for a single image.
    heatmaps = keras.Model(network.inputs, stages)([np.asarray(image)[None]])
    return {
        name: keras.ops.convert_to_numpy(heatmaps[name][0]).astype(np.float32)
        for name in stages
    }


def draw_heatmaps(
    image: np.ndarray,
    heatmaps: dict[str, np.ndarray],
    schema: LandmarkSchema,
    landmark: int | None = None,
    predicted: np.ndarray | None = None,
    true: np.ndarray | None = None,
    width: float = 9.0,
) -> figure.Figure:
    """Draws the heatmaps of all stages side by side.

    For all landmarks, each pixel has the colour of the landmark with the strongest
    response, relative to the response at that landmark's peak. For one landmark,
    positive values are orange and negative values are blue, and each panel has its own
    scale. The product of two negative values is positive. For a volume, one landmark is
    drawn on the slice z of its peak, and all landmarks are drawn as the maximum
    projection along z.

    Args:
        image: Array `(*spatial, 1)`, the network's input.
        heatmaps: Dict of arrays `(*spatial, N)`, see `inner_heatmaps`.
        schema: `LandmarkSchema`.
        landmark: Int, the index of one landmark; `None` for all.
        predicted: Array `(N, D)` in pixels of the grid, drawn as dots, or `None`.
        true: Array `(N, D)` in pixels of the grid, drawn as rings, or `None`.
        width: Float, the width of the figure in inches.

    Returns:
        A matplotlib `Figure`.
    """
    image = np.asarray(image)[..., 0]
    if image.ndim == 3:
        image, heatmaps = _to_plane(image, heatmaps, landmark)
        predicted, true = (None if p is None else p[:, :2] for p in (predicted, true))
    rows, columns = image.shape
    panel = width / len(heatmaps)
    height = panel * rows / columns + _TITLE
    drawing = figure.Figure((width, height), facecolor=PAPER)
    FigureCanvasAgg(drawing)
    share = 1.0 / len(heatmaps)
    product = list(heatmaps.values())[-1]
    flat = product.reshape(-1, product.shape[-1]).argmax(axis=0)
    peaks = np.unravel_index(flat, image.shape)
    for number, (name, maps) in enumerate(heatmaps.items()):
        axes = drawing.add_axes(
            (number * share, 0.0, share * 0.99, 1.0 - _TITLE / height)
        )
        axes.set_axis_off()
        draw_image(axes, image, brightness=0.55)
        layer = (
            _color_all_landmarks(maps, peaks, schema)
            if landmark is None
            else _color_one_landmark(maps[..., landmark])
        )
        axes.imshow(layer, interpolation="bilinear")
        drawn = slice(None) if landmark is None else [landmark]
        if predicted is not None:
            size = 2.0 if landmark is None else 3.5
            axes.plot(*predicted[drawn].T, "o", ms=size, mfc=INK, mec="black", mew=0.4)
        if true is not None:
            axes.plot(*true[drawn].T, "o", ms=6.5, mfc="none", mec=INK, mew=0.7)
        value_range = ""
        if landmark is not None:
            low, high = maps[..., landmark].min(), maps[..., landmark].max()
            value_range = f", {low:.2g} to {high:.2g}"
        axes.set_title(f"{name}{value_range}", color=INK, fontsize=9, pad=5)
    return drawing


def _to_plane(image, heatmaps, landmark):
    """Reduces a volume and its heatmaps to one plane."""
    if landmark is None:
        return image.max(axis=0), {k: v.max(axis=0) for k, v in heatmaps.items()}
    product = list(heatmaps.values())[-1][..., landmark]
    z = np.unravel_index(product.argmax(), product.shape)[0]
    return image[z], {name: maps[z] for name, maps in heatmaps.items()}


def _color_all_landmarks(maps, peaks, schema):
    # Relative to the product's peak, where a factor may be negative. The square
    # suppresses weak responses.
    landmarks = np.arange(maps.shape[-1])
    at_peak = maps[(*peaks, landmarks)]
    at_peak = np.where(np.abs(at_peak) < 1e-12, 1e-12, at_peak)
    strength = np.clip(maps / at_peak, 0.0, 1.0) ** 2
    strongest = strength.argmax(axis=-1)[..., None]
    palette = np.array([colors.to_rgb(c) for c in landmark_colors(schema)])
    return np.concatenate(
        [palette[strongest[..., 0]], np.take_along_axis(strength, strongest, -1)],
        axis=-1,
    )


def _color_one_landmark(heatmap):
    strength = heatmap / max(float(np.abs(heatmap).max()), 1e-12)
    rgb = np.where(
        strength[..., None] > 0.0, colors.to_rgb(PREDICTED), colors.to_rgb(TRUE)
    )
    return np.concatenate([rgb, np.abs(strength)[..., None]], axis=-1)
