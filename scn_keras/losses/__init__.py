"""Losses on heatmaps; each returns one value per landmark, so that masks apply."""

from scn_keras.losses.heatmap_squared_error import (
    HeatmapSquaredError as HeatmapSquaredError,
)
