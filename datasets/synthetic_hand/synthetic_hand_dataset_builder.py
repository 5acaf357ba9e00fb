"""Synthetic left-hand radiographs with 37 landmarks, as in the Digital Hand Atlas."""

from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.datasets.synthetic_hand.synthetic_hand_config import SyntheticHandConfig
from scn_keras.geometry import affine_from_spacing

# The index of the first test hand, beyond all training sets, so that test hands are the
# same and unseen for any number of training hands.
_FIRST_TEST_INDEX = 1_000_000_000


class Builder(LandmarkBuilder):
    """TFDS builder of synthetic hands. Nothing is downloaded.

    Each size, number and seed is a configuration:

    ```python
    config = SyntheticHandConfig(size=(1024, 800), train=1000, test=200, seed=7)
    builder = Builder(config=config)
    builder.download_and_prepare()
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    BUILDER_CONFIGS: ClassVar[list[SyntheticHandConfig]] = [
        SyntheticHandConfig(name="small", size=(512, 400), train=200, test=50),
        SyntheticHandConfig(name="large", size=(1280, 1000), train=1000, test=200),
    ]

    SPACING_RULE = "exact, the hands are drawn in millimetres"
    LICENSE = "Apache License 2.0, as scn-keras, which draws the images."
    LIMITS = "Drawn images, not taken ones: what it finds in those was not measured."

    SCHEMA = HAND_SCHEMA

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
            hand = generate_hand(config.seed, first + number, config.size)
            affine = affine_from_spacing((hand["spacing"], hand["spacing"]))
            name = f"{split}_{number:05d}"
            yield (
                name,
                self.sample(name, hand["image"], {"points": hand["points"]}, affine),
            )
