"""Networks that make heatmaps, and the model that trains them on points."""

from scn_keras.models.landmark_model import LandmarkModel as LandmarkModel
from scn_keras.models.spatial_configuration_net import (
    SpatialConfigurationNet as SpatialConfigurationNet,
)
