"""The registry of a prepared set, and its images in the order of its files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scn_keras.datasets.deals.deal_registry import DealRegistry
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.datasets.identity.stored_images import stored_images

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder

# In `metadata.json` of a prepared set.
SOURCE_FOLDER = "source_folder"


def set_registry(builder: "LandmarkBuilder") -> DealRegistry:
    """Returns the registry of a prepared set: that of its source folder and its own."""
    return DealRegistry([*_source_folders(builder), builder.data_dir])


def images_of(builder: "LandmarkBuilder", split: str) -> ImageTable:
    """Returns the images of a whole split, in the order of its files.

    Signatures are left out.

    Args:
        builder: `LandmarkBuilder` of a prepared set.
        split: Str, a split without a slice.
    """
    table = stored_images(builder)
    row_of = {id: row for row, id in enumerate(table.ids)}
    ids = ids_in_order(builder, split)
    rows = [row_of[id] for id in ids]
    return ImageTable(
        tuple(ids),
        tuple(table.groups[row] for row in rows),
        tuple(table.digests[row] for row in rows),
    )


def ids_in_order(builder: "LandmarkBuilder", split: str) -> list[str]:
    """Returns the ids of a whole split, in the order of its files."""
    # The folder of a builder stays as it is. Reading the ids takes all of its bytes.
    known: dict[str, list[str]] = builder.__dict__.setdefault("_ids_in_order", {})
    if split not in known:
        known[split] = [_text(sample["id"]) for sample in _encoded(builder, split)]
    return known[split]


def _encoded(builder: "LandmarkBuilder", split: str) -> Iterable[Mapping[str, Any]]:
    import tensorflow_datasets as tfds

    encoded: dict[str, Any] = {"image": tfds.decode.SkipDecoding()}
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        samples: Iterable[Mapping[str, Any]] = builder.as_data_source(
            split, decoders=encoded
        )
        return samples
    return builder.as_dataset(
        split=split,
        decoders=encoded,
        # One shard after another, as slices are counted.
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    ).as_numpy_iterator()


def _source_folders(builder: "LandmarkBuilder") -> list[Path]:
    # The metadata of `builder.info` are completed with those of its class.
    path = Path(builder.data_dir) / "metadata.json"
    stored = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    folder = stored.get(SOURCE_FOLDER)
    return [Path(folder)] if isinstance(folder, str) and Path(folder).is_dir() else []


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
