"""Networks that predict heatmaps or votes, and models that train them on points.

`import scn_keras.models` registers all classes with Keras that
`keras.models.load_model` requires to load a saved model.
"""

# Imported to register losses and metrics, which a compiled model refers to by name.
import scn_keras.losses
import scn_keras.metrics  # noqa: F401
from scn_keras.models.convolutional_net import ConvolutionalNet as ConvolutionalNet
from scn_keras.models.from_preset import from_preset as from_preset
from scn_keras.models.from_preset import preset_names as preset_names
from scn_keras.models.from_preset import preset_path as preset_path
from scn_keras.models.global_net import GlobalNet as GlobalNet
from scn_keras.models.global_to_local_net import GlobalToLocalNet as GlobalToLocalNet
from scn_keras.models.import_weights import import_weights as import_weights
from scn_keras.models.landmark_ensemble import LandmarkEnsemble as LandmarkEnsemble
from scn_keras.models.landmark_model import LandmarkModel as LandmarkModel
from scn_keras.models.localization_unet import LocalizationUNet as LocalizationUNet
from scn_keras.models.published_networks import (
    PUBLISHED_NETWORKS as PUBLISHED_NETWORKS,
)
from scn_keras.models.published_networks import PublishedNetwork as PublishedNetwork
from scn_keras.models.published_networks import (
    published_parameter_counts as published_parameter_counts,
)
from scn_keras.models.scn_miccai2016 import scn_miccai2016 as scn_miccai2016
from scn_keras.models.scn_mmwhs import scn_mmwhs as scn_mmwhs
from scn_keras.models.scn_verse2019 import scn_verse2019 as scn_verse2019
from scn_keras.models.scn_verse2020 import scn_verse2020 as scn_verse2020
from scn_keras.models.spatial_configuration_net import (
    SpatialConfigurationNet as SpatialConfigurationNet,
)
from scn_keras.models.with_spatial_configuration import (
    with_spatial_configuration as with_spatial_configuration,
)
