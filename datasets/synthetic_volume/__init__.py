"""Synthetic CT volumes of a spine. Importing this registers the builder with TFDS."""

import importlib.util

from scn_keras.datasets.synthetic_volume.volume_generator import (
    generate_volume as generate_volume,
)

# Without TFDS there is no builder, but a generator, which needs only NumPy.
if importlib.util.find_spec("tensorflow_datasets") is not None:
    from scn_keras.datasets.synthetic_volume.synthetic_volume_config import (
        SyntheticVolumeConfig as SyntheticVolumeConfig,
    )
    from scn_keras.datasets.synthetic_volume.synthetic_volume_dataset_builder import (
        Builder as Builder,
    )
