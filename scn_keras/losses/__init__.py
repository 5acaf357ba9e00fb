"""Losses on heatmaps, votes and points, with one maskable value per landmark."""

from scn_keras.losses.adaptive_wing import AdaptiveWing as AdaptiveWing
from scn_keras.losses.coordinate_loss import CoordinateLoss as CoordinateLoss
from scn_keras.losses.heatmap_binary_crossentropy import (
    HeatmapBinaryCrossentropy as HeatmapBinaryCrossentropy,
)
from scn_keras.losses.heatmap_squared_error import (
    HeatmapSquaredError as HeatmapSquaredError,
)
from scn_keras.losses.patch_loss import PatchLoss as PatchLoss
from scn_keras.losses.spatial_softmax_crossentropy import (
    SpatialSoftmaxCrossentropy as SpatialSoftmaxCrossentropy,
)
