"""The table of the images of a prepared data set."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow_datasets as tfds

from scn_keras.datasets.identity.image_table import ImageTable

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder

FILE = "images.npz"


def stored_images(builder: "LandmarkBuilder") -> ImageTable:
    """Returns the table of all images of a prepared data set.

    It is stored in the folder of the set by `prepare`. For a set without it, every
    image is read once.

    Args:
        builder: `LandmarkBuilder` of a prepared set.
    """
    path = Path(builder.data_dir) / FILE
    if path.is_file():
        return ImageTable.load(path)
    splits = builder.info.splits
    samples = (s for split in sorted(splits) for s in _samples(builder, split))
    table = ImageTable.of_samples(
        tfds.core.utils.tqdm(
            samples,
            desc="Identifying images",
            total=sum(info.num_examples for info in splits.values()),
            unit=" images",
            leave=False,
        )
    )
    # A shared set may be read-only. The images are then read again next time.
    with contextlib.suppress(OSError):
        table.save(path)
    return table


def _samples(builder: "LandmarkBuilder", split: str) -> Iterable[dict[str, Any]]:
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        return builder.as_data_source(split)  # without TensorFlow
    return builder.read_split(split).as_numpy_iterator()
