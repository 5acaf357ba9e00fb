"""Named subsets of splits, see `LandmarkBuilder.SUBSETS`, and slices that stay."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from scn_keras.datasets._selected_samples import SelectedSamples

if TYPE_CHECKING:
    import tensorflow as tf

    from scn_keras.datasets.landmark_builder import LandmarkBuilder


def check_split(builder: "LandmarkBuilder", split: str) -> None:
    """Raises a ValueError if a builder has neither the split nor a subset of the name.

    Args:
        builder: `LandmarkBuilder` of a prepared set.
        split: Str, a TFDS split, slices and sums included, or a subset.
    """
    if not has_split(builder, split):
        splits = builder.info.splits
        subsets = (name for name in builder.SUBSETS if has_split(builder, name))
        names = (*sorted(splits), *sorted(subsets))
        settings = split_settings(builder) if split == "train" else []
        hint = ""
        if settings:
            options = " ".join(f"--set {setting}" for setting in settings)
            what = "training and for the test" if len(settings) > 1 else "training"
            hint = f"Choose those for the {what}, for example with {options}. "
        config = builder.builder_config
        name = f"{builder.name}/{config.name}" if config else builder.name
        raise ValueError(
            f"The data set {name!r} has the splits {', '.join(names)}. {hint}"
            f"Received: split={split!r}"
        )


def split_settings(builder: "LandmarkBuilder") -> list[str]:
    """Returns settings of a recipe for a set without a split `train`.

    Args:
        builder: `LandmarkBuilder` of a prepared set.

    Returns:
        List of str, such as `["train_split=fold1+fold2", "test_split=fold3"]`; empty
        if the set has a split `train`.
    """
    names = sorted(builder.info.splits, key=in_order)
    if "train" in names:
        return []
    named = [n for n in names if n.lower().startswith(("test", "eval", "val"))]
    test = (named or names[1:])[-1:]
    train = [n for n in names if n not in named and n not in test] or names[:1]
    settings = [f"train_split={'+'.join(train)}"]
    return settings + [f"test_split={name}" for name in test if name not in train]


def in_order(name: str) -> tuple[str, int]:
    """Returns a key that sorts fold2 before fold10."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def has_split(builder: "LandmarkBuilder", split: str) -> bool:
    """Returns whether a prepared builder has a split, slices and sums included.

    Args:
        builder: `LandmarkBuilder` of a prepared set.
        split: Str, a TFDS split, slices and sums included, or a subset.
    """
    base, _ = builder.SUBSETS.get(split, (split, None))
    splits = builder.info.splits
    return all(part.partition("[")[0].strip() in splits for part in base.split("+"))


def selection(
    builder: "LandmarkBuilder", split: Any
) -> tuple[Any, frozenset[str] | None]:
    """Returns the split that has the samples of a split or subset, and their ids.

    The ids are None if these are all samples of that split.
    """
    from scn_keras.datasets.deals.slices import dealt_slices

    if isinstance(split, str) and split in builder.SUBSETS:
        return builder.SUBSETS[split]
    return dealt_slices(builder, split)


def data_source(
    builder: "LandmarkBuilder", split: Any, read: Callable[[Any], Any]
) -> Any:
    """Returns the random access to a split or subset, or to several in a dict or list.

    Args:
        builder: `LandmarkBuilder` of a prepared set.
        split: Str, or a dict or list of them; None for all splits.
        read: Callable from a split of TFDS to its random access.
    """
    from scn_keras.datasets.deals.set_registry import ids_in_order

    if isinstance(split, dict):
        return {key: data_source(builder, part, read) for key, part in split.items()}
    if isinstance(split, list | tuple):
        return type(split)(data_source(builder, part, read) for part in split)
    base, ids = selection(builder, split)
    if ids is None:
        return read(base)
    names = [name.strip() for name in base.split("+")]
    all_ids: Sequence[str] = [id for n in names for id in ids_in_order(builder, n)]
    return SelectedSamples(read(base), [r for r, id in enumerate(all_ids) if id in ids])


def subset(samples: "tf.data.Dataset", ids: frozenset[str]) -> "tf.data.Dataset":
    """Returns the samples with the ids of a subset."""
    import tensorflow as tf

    wanted = tf.constant(sorted(ids), tf.string)
    return samples.filter(lambda sample: tf.reduce_any(sample["id"] == wanted)).apply(
        tf.data.experimental.assert_cardinality(len(ids))
    )
