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
    splits = builder.info.splits

    def is_known(split: str) -> bool:
        base, _ = builder.SUBSETS.get(split, (split, None))
        return all(part.partition("[")[0].strip() in splits for part in base.split("+"))

    if not is_known(split):
        names = (*sorted(splits), *sorted(filter(is_known, builder.SUBSETS)))
        raise ValueError(
            f"The data set {builder.name!r} has the splits {', '.join(names)}. "
            f"Received: split={split!r}"
        )


def subset(samples: "tf.data.Dataset", ids: frozenset[str]) -> "tf.data.Dataset":
    """Returns the samples with the ids of a subset."""
    import tensorflow as tf

    wanted = tf.constant(sorted(ids))
    return samples.filter(lambda sample: tf.reduce_any(sample["id"] == wanted)).apply(
        tf.data.experimental.assert_cardinality(len(ids))
    )
