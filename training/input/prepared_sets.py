"""Access to prepared data sets by the names that recipes use."""

import json
import pathlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from scn_keras.datasets import builder_class
from scn_keras.datasets._description import prepare_command
from scn_keras.files.orientation import STORED_PIXELS

if TYPE_CHECKING:
    from scn_keras.datasets import LandmarkBuilder


def prepared_builder(
    dataset: str, data_dir: str | pathlib.Path | None = None
) -> "LandmarkBuilder":
    """Returns the builder of a prepared data set.

    Args:
        dataset: Str, `NAME` or `NAME/CONFIG`.
        data_dir: The folder of prepared data sets; `None` for the default of TFDS.

    Raises:
        FileNotFoundError: If the data set is not prepared.
        ValueError: If the data set is unknown.
    """
    name, _, config = dataset.partition("/")
    builder = builder_class(name)(
        data_dir=None if data_dir is None else str(data_dir), config=config or None
    )
    if not builder.is_prepared():
        folder = [] if data_dir is None else ["--data-dir", str(data_dir)]
        raise FileNotFoundError(
            f"The data set {dataset!r} is not prepared in {builder.data_dir}. Run "
            f"{prepare_command(builder, dataset, *folder)} first, or give the folder "
            "of prepared data sets with --data-dir."
        )
    return builder


def orientation_of(builder: "LandmarkBuilder") -> str:
    """Returns the rule of a prepared data set for files with an orientation tag.

    Sets of version 0.1 have none: they contain the stored pixels of such files.
    """
    # The metadata of `builder.info` are completed with those of its class.
    path = pathlib.Path(builder.data_dir) / "metadata.json"
    stored = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return stored.get("orientation", STORED_PIXELS)


def load_samples(
    dataset: str, split: str, data_dir: str | pathlib.Path | None = None
) -> tf.data.Dataset:
    """Returns the stored samples of a split or a named subset, in a fixed order.

    Raises:
        ValueError: If the split or subset is unknown.
    """
    return prepared_builder(dataset, data_dir).read_split(split)


def find_samples(
    dataset: str,
    split: str,
    ids: Collection[str],
    data_dir: str | pathlib.Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Returns single samples of a split by their ids, as NumPy arrays.

    Only the images of these samples are decoded.

    Raises:
        ValueError: If the split or subset is unknown or does not have one of the ids.
    """
    builder = prepared_builder(dataset, data_dir)
    encoded = {"image": tfds.decode.SkipDecoding()}
    samples = {}
    for sample in builder.read_split(split, encoded).as_numpy_iterator():
        id = sample["id"].decode()
        if id in ids:
            image = builder.info.features["image"].decode_example(sample["image"])
            samples[id] = {**sample, "image": np.asarray(image)}
    if missing := sorted(set(ids) - set(samples)):
        raise ValueError(
            f"The split {split!r} of the data set {dataset!r} has no samples "
            f"{', '.join(missing)}."
        )
    return samples


def sample_ids(
    dataset: str, split: str, data_dir: str | pathlib.Path | None = None
) -> list[str]:
    """Returns the ids of the samples of a split, in order, without decoding images.

    Raises:
        ValueError: If the split or subset is unknown.
    """
    encoded = {"image": tfds.decode.SkipDecoding()}
    samples = prepared_builder(dataset, data_dir).read_split(split, encoded)
    return [sample["id"].decode() for sample in samples.as_numpy_iterator()]
