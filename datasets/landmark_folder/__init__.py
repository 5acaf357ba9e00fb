"""Images and points in a folder of the user. Importing this registers the builder."""

from scn_keras.datasets.landmark_folder.landmark_folder_dataset_builder import (
    Builder as Builder,
)
