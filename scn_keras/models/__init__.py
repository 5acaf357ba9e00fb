"""Networks that make heatmaps, and the model that trains them on points.

`import scn_keras.models` is all that `keras.models.load_model` needs to have seen
before it loads what was saved here.
"""

# For what they register with Keras: a compiled model names its loss and metrics.
import scn_keras.losses
import scn_keras.metrics  # noqa: F401
from scn_keras.models.landmark_model import LandmarkModel as LandmarkModel
from scn_keras.models.spatial_configuration_net import (
    SpatialConfigurationNet as SpatialConfigurationNet,
)
