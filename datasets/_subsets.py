"""Named subsets of splits, see `LandmarkBuilder.SUBSETS`."""

from typing import TYPE_CHECKING

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
        others = "+".join(sorted(splits)[1:])
        hint = ""
        if split == "train" and others:
            hint = (
                "Choose those for the training and for the test, for example with "
                f"--set train_split={others} --set test_split={min(splits)}. "
            )
        raise ValueError(
            f"The data set {builder.name!r} has the splits {', '.join(names)}. {hint}"
            f"Received: split={split!r}"
        )


def has_split(builder: "LandmarkBuilder", split: str) -> bool:
    """Returns whether a prepared builder has a split, slices and sums included.

    Args:
        builder: `LandmarkBuilder` of a prepared set.
        split: Str, a TFDS split, slices and sums included, or a subset.
    """
    base, _ = builder.SUBSETS.get(split, (split, None))
    splits = builder.info.splits
    return all(part.partition("[")[0].strip() in splits for part in base.split("+"))


def subset(samples: "tf.data.Dataset", ids: frozenset[str]) -> "tf.data.Dataset":
    """Returns the samples with the ids of a subset."""
    import tensorflow as tf

    wanted = tf.constant(sorted(ids))
    return samples.filter(lambda sample: tf.reduce_any(sample["id"] == wanted)).apply(
        tf.data.experimental.assert_cardinality(len(ids))
    )
