"""A step of a search by forests, as arrays."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from scn_keras.classical._stored_model import nested, part
from scn_keras.classical.box_differences import BoxDifferences
from scn_keras.classical.offset_forest import OffsetForest


@dataclasses.dataclass(frozen=True)
class Stage:
    """A step of the search: features and the forests that read them."""

    features: BoxDifferences
    forests: list[OffsetForest]


def stage_arrays(stages: Sequence[Stage]) -> dict[str, np.ndarray]:
    """Returns the arrays of several stages."""
    arrays: dict[str, np.ndarray] = {}
    for number, stage in enumerate(stages):
        features = stage.features
        drawn = {"offsets": features.offsets, "boxes": features.boxes}
        arrays |= nested(f"{number}/features", drawn)
        for row, forest in enumerate(stage.forests):
            arrays |= nested(f"{number}/{row}", forest.arrays())
    return arrays


def restored_stages(
    arrays: Mapping[str, np.ndarray], counts: Sequence[int], widths: Sequence[int]
) -> list[Stage]:
    """Returns the stages of `stage_arrays`.

    Args:
        arrays: Mapping of names to arrays.
        counts: Ints, the number of forests of each stage.
        widths: Odd ints, the widths of the boxes.
    """
    stages = []
    for number, count in enumerate(counts):
        drawn = part(f"{number}/features", arrays)
        features = BoxDifferences(drawn["offsets"], drawn["boxes"], widths)
        forests = [
            OffsetForest.from_arrays(part(f"{number}/{row}", arrays))
            for row in range(count)
        ]
        stages.append(Stage(features, forests))
    return stages
