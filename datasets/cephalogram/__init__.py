"""The cephalograms of the ISBI 2015 challenge. Importing this registers the builder."""

from scn_keras.datasets.cephalogram.cephalogram_dataset_builder import (
    TEST1_REPEATS as TEST1_REPEATS,
)
from scn_keras.datasets.cephalogram.cephalogram_dataset_builder import (
    TEST1_UNIQUE as TEST1_UNIQUE,
)
from scn_keras.datasets.cephalogram.cephalogram_dataset_builder import (
    TRAIN_TEST1_REPEATS as TRAIN_TEST1_REPEATS,
)
from scn_keras.datasets.cephalogram.cephalogram_dataset_builder import (
    Builder as Builder,
)
