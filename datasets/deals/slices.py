"""Slices of splits, such as `train[:15]`, whose images stay."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow_datasets as tfds

from scn_keras.datasets.deals.deal import Deal
from scn_keras.datasets.deals.recorded_parts import recorded_parts, with_images
from scn_keras.datasets.deals.registry_file import FILE, deals_by_patient
from scn_keras.datasets.deals.set_registry import images_of, set_registry
from scn_keras.datasets.identity.image_table import ImageTable

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder


class _Part(NamedTuple):
    """A slice of a split, by the numbers of its text."""

    split: str
    start: str
    stop: str


def dealt_slices(
    builder: "LandmarkBuilder", split: Any
) -> tuple[Any, frozenset[str] | None]:
    """Returns the images of a split with slices, by the order when they were dealt.

    Images that were there at the first use of a slice stay on their side of its
    boundaries. New images follow in slices with an open end; those of a known patient
    join the patient.

    Args:
        builder: `LandmarkBuilder` of a prepared set.
        split: Str, a split of TFDS, a slice or a sum; or `tfds.core.ReadInstruction`.

    Returns:
        A pair of a split without slices and the ids of its samples; of the given split
        and None if TFDS selects the same images, or none are dealt: without slices, in
        published splits, whose images stay, and in slices by shards.
    """
    parts = [] if builder.PUBLISHED_SPLITS else _parsed(split)
    if not parts or not all(part.split in builder.info.splits for part in parts):
        return split, None
    ids: dict[str, None] = {}
    unchanged = True
    for part in parts:
        selected, of_tfds = _selected(builder, part)
        ids |= dict.fromkeys(selected)
        unchanged &= selected == of_tfds
    if unchanged:
        return split, None
    return "+".join(dict.fromkeys(part.split for part in parts)), frozenset(ids)


def _parsed(split: Any) -> list[_Part]:
    """Returns the parts of a sum with slices; none for what TFDS alone reads."""
    instructions = [split]
    if isinstance(split, str):
        if "[" not in split:
            return []
        try:
            instructions = [
                tfds.core.ReadInstruction.from_spec(text.strip())
                for text in split.split("+")
            ]
        except Exception:  # TFDS raises its own sentence when it reads the split
            return []
    parts = []
    for read in instructions:
        if not isinstance(read, tfds.core.ReadInstruction) or not (
            read.unit == "abs" or (read.unit == "%" and read.rounding == "closest")
        ):
            return []
        unit = "%" * (read.unit == "%")
        start, stop = (
            "" if n is None else f"{n:.12g}{unit}" for n in (read.from_, read.to)
        )
        parts.append(_Part(read.split_name, start, "" if stop == "100%" else stop))
    return parts


def _selected(builder: "LandmarkBuilder", part: _Part) -> tuple[list[str], list[str]]:
    """Returns the ids in a part, and those by the order of the files now."""
    images = images_of(builder, part.split)
    if not part.start and not part.stop:
        return [*images.ids], [*images.ids]
    by_patient = deals_by_patient(Path(builder.data_dir) / FILE)
    positions: list[int] = []

    def change(deal: Deal) -> Deal:
        positions[:] = _positions(deal, images, by_patient)
        boundaries = dict(deal.boundaries)
        for text in filter(None, (part.start, part.stop)):
            if text not in boundaries:
                boundaries[text] = _boundary(text, deal, positions, part)
        if not deal.patients:
            deal = dataclasses.replace(deal, by_image=not by_patient)
        deal = with_images(deal, images, positions)
        return dataclasses.replace(deal, boundaries=boundaries)

    deal = set_registry(builder).change("order", {"split": part.split}, change)
    start = deal.boundaries.get(part.start, 0)
    stop = deal.boundaries.get(part.stop)
    inside = [
        id
        for id, position in zip(images.ids, positions, strict=True)
        if start <= position and (stop is None or position < stop)
    ]
    first = _index(part.start or "0", len(images))
    last = _index(part.stop, len(images)) if part.stop else None
    return inside, [*images.ids[max(first, 0) : last]]


def _positions(deal: Deal, images: ImageTable, by_patient: bool) -> list[int]:
    """Returns the recorded position of each image; new ones follow the last.

    All images of a patient have the position of its first image.
    """
    if not deal.patients and not by_patient:
        return [*range(len(images))]
    parts, notes = recorded_parts(deal, images)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    following = max((patient.part + 1 for patient in deal.patients), default=0)
    new: dict[str, int] = {}
    for part, group in zip(parts, images.groups, strict=True):
        if part is None:
            new.setdefault(group, following + len(new))
    pairs = zip(parts, images.groups, strict=True)
    return [new[group] if part is None else part for part, group in pairs]


def _boundary(text: str, deal: Deal, positions: Sequence[int], part: _Part) -> int:
    """Returns the position of a boundary that is used for the first time."""
    ordered = sorted(positions)
    count = len(ordered) if deal.count is None else deal.count
    is_relative = text.startswith("-") or text.endswith("%")
    index = _index(text, count if is_relative else len(ordered))
    if is_relative and count != len(ordered):
        warnings.warn(
            f"Slices of {part.split!r} are counted on the {count} images of the set "
            f"before, so that they stay as they were. Received: {text}, with "
            f"{len(ordered)} images now",
            stacklevel=2,
        )
    if not 0 <= index <= max(count, len(ordered)):
        raise ValueError(
            f"The split {part.split!r} has {len(ordered)} images. Received a slice of "
            f"it with the boundary {text}"
        )
    if deal.count is not None and index <= deal.count:
        return index
    return ordered[index - 1] + 1 if index else 0


def _index(text: str, count: int) -> int:
    """Returns a boundary as the number of images before it, as TFDS counts them."""
    if text.endswith("%"):
        index = round(float(text[:-1]) * count / 100.0)
    else:
        index = int(text)
    return index + count if text.startswith("-") else index
