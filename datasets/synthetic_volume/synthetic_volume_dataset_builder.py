"""Synthetic CT volumes of a lower spine with vertebrae that differ only in order."""

from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.datasets.synthetic_volume.spine_anatomy import VERTEBRAE
from scn_keras.datasets.synthetic_volume.synthetic_volume_config import (
    SyntheticVolumeConfig,
)
from scn_keras.datasets.synthetic_volume.volume_generator import generate_volume
from scn_keras.landmark_schema import LandmarkSchema

# The index of the first test volume, beyond all training sets, so that test volumes are
# the same and unseen for any number of training volumes.
_FIRST_TEST_INDEX = 1_000_000_000


class Builder(LandmarkBuilder):
    """TFDS builder of synthetic volumes. Nothing is downloaded.

    Each size, number and seed is a configuration:

    ```python
    config = SyntheticVolumeConfig(size=(144, 96, 96), train=200, test=50, seed=7)
    builder = Builder(config=config)
    builder.download_and_prepare()
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    BUILDER_CONFIGS: ClassVar[list[SyntheticVolumeConfig]] = [
        SyntheticVolumeConfig(name="small", size=(96, 64, 64), train=40, test=10),
        SyntheticVolumeConfig(name="large", size=(160, 112, 112), train=200, test=50),
    ]

    DIMENSIONS = 3
    IMAGE_DTYPE = "int16"
    SPACING_RULE = "exact, the volumes are drawn in millimetres"
    LICENSE = "Apache License 2.0, as scn-keras, which draws the images."
    LIMITS = "Drawn images, not taken ones: what it finds in those was not measured."

    SCHEMA = LandmarkSchema(
        names=(
            *(f"vertebra {number}" for number in range(1, VERTEBRAE + 1)),
            "sacrum",
            "left wing",
            "right wing",
        ),
        links=(
            *((row, row + 1) for row in range(VERTEBRAE - 1)),
            (VERTEBRAE, 0),
            (VERTEBRAE + 1, VERTEBRAE),
            (VERTEBRAE, VERTEBRAE + 2),
        ),
        pairs=((VERTEBRAE + 1, VERTEBRAE + 2),),
    )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        del dl_manager
        config = self.builder_config
        return {
            "train": self._generate_examples("train", 0, config.train),
            "test": self._generate_examples("test", _FIRST_TEST_INDEX, config.test),
        }

    def _generate_examples(
        self, split: str, first: int, count: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        config = self.builder_config
        for number in range(count):
            volume = generate_volume(config.seed, first + number, config.size)
            name = f"{split}_{number:05d}"
            points = {"points": volume["points"]}
            yield name, self.sample(name, volume["image"], points, volume["affine"])
