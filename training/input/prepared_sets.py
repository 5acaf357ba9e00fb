"""Access to prepared data sets by the names that recipes use."""

import pathlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from scn_keras.datasets import builder_class
from scn_keras.training.input import pipeline, selection
from scn_keras.training.recipe import Recipe

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
        raise FileNotFoundError(
            f"The data set {dataset!r} is not prepared in {builder.data_dir}. Run "
            f"`scn-keras datasets prepare {dataset}` first, or give its folder with "
            "--data-dir."
        )
    return builder


def load_samples(
    dataset: str, split: str, data_dir: str | pathlib.Path | None = None
) -> tf.data.Dataset:
    """Returns the stored samples of a split or a named subset, in a fixed order.

    Raises:
        ValueError: If the split or subset is unknown.
    """
    return _as_dataset(prepared_builder(dataset, data_dir), split)


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
    for sample in _as_dataset(builder, split, encoded).as_numpy_iterator():
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
    samples = _as_dataset(prepared_builder(dataset, data_dir), split, encoded)
    return [sample["id"].decode() for sample in samples.as_numpy_iterator()]


def training_samples(
    recipe: Recipe, data_dir: str | pathlib.Path | None = None
) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
    """Returns a recipe's training and validation samples, split by patient.

    Validation samples are `None` if the recipe holds no images out.

    Raises:
        ValueError: If the recipe does not fit the data.
    """
    builder = prepared_builder(recipe.dataset, data_dir)
    if builder.SPACING_FROM_POINTS:
        selection.refuse_millimetres(recipe, builder.SPACING_RULE)
    selection.mirror_pairs(recipe, builder.SCHEMA)
    samples = _as_dataset(builder, recipe.train_split).map(
        lambda sample: selection.without_other_truths(
            sample, builder.GROUND_TRUTHS, recipe
        )
    )
    if recipe.validation == 0.0 and recipe.fold is None:
        return samples, None
    without_images = _as_dataset(
        builder, recipe.train_split, {"image": tfds.decode.SkipDecoding()}
    )
    groups = [sample["group"].decode() for sample in without_images.as_numpy_iterator()]
    training, validation = selection.training_groups(groups, recipe)
    # Without a known size, Keras warns that the data set ran out of data.
    size = tf.data.experimental.assert_cardinality(
        sum(group in validation for group in groups)
    )
    return (
        pipeline.of_groups(samples, training),
        pipeline.of_groups(samples, validation).apply(size),
    )


def _as_dataset(builder, split, decoders=None):
    splits = builder.info.splits

    def is_known(split):
        base, _ = builder.SUBSETS.get(split, (split, None))
        return all(part.partition("[")[0].strip() in splits for part in base.split("+"))

    if not is_known(split):
        names = (*sorted(splits), *sorted(filter(is_known, builder.SUBSETS)))
        raise ValueError(
            f"The data set {builder.name!r} has the splits {', '.join(names)}. "
            f"Received: split={split!r}"
        )
    return builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=decoders,
        # The pipeline caches reduced images. TFDS would cache whole decoded images.
        read_config=tfds.ReadConfig(try_autocache=False),
    )
