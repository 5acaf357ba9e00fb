"""Radiographs of the Digital Hand Atlas. Importing this registers the builder."""

from scn_keras.datasets.hand_xray.hand_xray_dataset_builder import (
    Builder as Builder,
)
