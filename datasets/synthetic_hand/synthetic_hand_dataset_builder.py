"""Synthetic left-hand radiographs with 37 landmarks, as in the Digital Hand Atlas."""

from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.datasets.synthetic_hand.hand_generator import generate_hand
from scn_keras.datasets.synthetic_hand.synthetic_hand_config import SyntheticHandConfig
from scn_keras.geometry import affine_from_spacing
from scn_keras.landmark_schema import LandmarkSchema

# The index of the first test hand: no training set reaches so far, so that test
# hands stay the same, and unseen, whatever the number of training hands.
_FIRST_TEST_INDEX = 1_000_000_000


class Builder(LandmarkBuilder):
    """TFDS builder of synthetic hands. Nothing is downloaded.

    Any size, number and seed is a configuration of its own:

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

    # In the atlas's order, which the points tell: it has no published names.
    SCHEMA = LandmarkSchema(
        names=(
            "ulna, ulnar edge",
            "ulnar styloid",
            "ulna, radial edge",
            "radius, ulnar edge",
            "radius, radial edge",
            "radial styloid",
            "triquetrum",
            "lunate",
            "scaphoid",
            "hamate",
            "capitate",
            "trapezoid",
            "trapezium",
            "metacarpal 5 base",
            "metacarpal 4 base",
            "metacarpal 3 base",
            "metacarpal 2 base",
            "metacarpal 1 base",
            "thumb proximal base",
            "thumb distal base",
            "thumb tip",
            "index proximal base",
            "index middle base",
            "index distal base",
            "index tip",
            "middle proximal base",
            "middle middle base",
            "middle distal base",
            "middle tip",
            "ring proximal base",
            "ring middle base",
            "ring distal base",
            "ring tip",
            "little proximal base",
            "little middle base",
            "little distal base",
            "little tip",
        ),
        links=(
            (0, 1),  # ulna
            (1, 2),
            (3, 5),  # radius
            (5, 4),
            (6, 7),  # carpal bones: proximal row, distal row
            (7, 8),
            (9, 10),
            (10, 11),
            (11, 12),
            (17, 18),  # thumb
            (18, 19),
            (19, 20),
            (16, 21),  # index finger
            (21, 22),
            (22, 23),
            (23, 24),
            (15, 25),  # middle finger
            (25, 26),
            (26, 27),
            (27, 28),
            (14, 29),  # ring finger
            (29, 30),
            (30, 31),
            (31, 32),
            (13, 33),  # little finger
            (33, 34),
            (34, 35),
            (35, 36),
        ),
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
            hand = generate_hand(config.seed, first + number, config.size)
            affine = affine_from_spacing((hand["spacing"], hand["spacing"]))
            name = f"{split}_{number:05d}"
            yield (
                name,
                self.sample(name, hand["image"], {"points": hand["points"]}, affine),
            )
