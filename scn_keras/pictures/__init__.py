"""Pictures of images, points and heatmaps, as matplotlib figures and image files."""

from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if TYPE_CHECKING:
    from scn_keras.pictures.figure_files import to_jpeg as to_jpeg
    from scn_keras.pictures.figure_files import to_png as to_png
    from scn_keras.pictures.figure_files import to_svg as to_svg
    from scn_keras.pictures.heatmap_figure import draw_heatmaps as draw_heatmaps
    from scn_keras.pictures.heatmap_figure import inner_heatmaps as inner_heatmaps
    from scn_keras.pictures.network_drawing import draw_network as draw_network
    from scn_keras.pictures.network_nodes import NetworkNode as NetworkNode
    from scn_keras.pictures.network_nodes import network_graph as network_graph
    from scn_keras.pictures.overlay import draw_overlay as draw_overlay
    from scn_keras.pictures.overlay_options import OverlayOptions as OverlayOptions
    from scn_keras.pictures.prediction_picture import draw_prediction as draw_prediction
    from scn_keras.pictures.projections import Projection as Projection
    from scn_keras.pictures.projections import project_to_planes as project_to_planes
    from scn_keras.pictures.slices import draw_slices as draw_slices
    from scn_keras.pictures.style import landmark_colors as landmark_colors

# Most of these import matplotlib, and some Keras.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "NetworkNode": "network_nodes",
        "OverlayOptions": "overlay_options",
        "Projection": "projections",
        "draw_heatmaps": "heatmap_figure",
        "draw_network": "network_drawing",
        "draw_overlay": "overlay",
        "draw_prediction": "prediction_picture",
        "draw_slices": "slices",
        "inner_heatmaps": "heatmap_figure",
        "landmark_colors": "style",
        "network_graph": "network_nodes",
        "project_to_planes": "projections",
        "to_jpeg": "figure_files",
        "to_png": "figure_files",
        "to_svg": "figure_files",
    },
)
