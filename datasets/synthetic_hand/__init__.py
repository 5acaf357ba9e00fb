"""Synthetic left-hand radiographs. Importing this registers the builder with TFDS."""

import importlib.util

from scn_keras.datasets.synthetic_hand.hand_generator import (
    generate_hand as generate_hand,
)

# Without TFDS there is no builder, but a generator, which needs only NumPy.
if importlib.util.find_spec("tensorflow_datasets") is not None:
    from scn_keras.datasets.synthetic_hand.synthetic_hand_config import (
        SyntheticHandConfig as SyntheticHandConfig,
    )
    from scn_keras.datasets.synthetic_hand.synthetic_hand_dataset_builder import (
        Builder as Builder,
    )
