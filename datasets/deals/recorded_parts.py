"""The parts that the images of a set have in a deal, and the deal with them."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence

from scn_keras.datasets.deals.deal import Deal
from scn_keras.datasets.deals.dealt_patient import DealtPatient
from scn_keras.datasets.identity.image_table import ImageTable


def recorded_parts(
    deal: Deal, images: ImageTable
) -> tuple[list[int | None], list[str]]:
    """Returns the recorded part of each image, and notes.

    A patient is found by the pixels of its images. If these were recorded in several
    parts, because two patients were merged, it is in the part of most of them, the
    lower of two. A patient without a known image is found by its name, unless its
    images have another name now. Otherwise the part is None.

    Args:
        deal: `Deal`.
        images: `ImageTable`. A digest `""` is that of an image that cannot be read.

    Returns:
        List of int or None, one for each image, and a list of sentences.
    """
    by_digest: dict[str, list[DealtPatient]] = collections.defaultdict(list)
    by_name: dict[str, list[DealtPatient]] = collections.defaultdict(list)
    for patient in deal.patients:
        by_name[patient.patient].append(patient)
        for digest in patient.images:
            by_digest[digest].append(patient)
    present: dict[str, set[str]] = collections.defaultdict(set)
    for group, digest in zip(images.groups, images.digests, strict=True):
        present[digest].add(group)
    parts: list[int | None] = [None] * len(images)
    notes = []
    for rows in _units(images, deal.by_image):
        group = images.groups[rows[0]]
        votes: collections.Counter[int] = collections.Counter()
        for row in rows:
            if found := by_digest.get(images.digests[row]):
                # Images with equal pixels are told apart by their names.
                id, digest = images.ids[row], images.digests[row]
                own = [p for p in found if p.patient == group] or found
                own = [p for p in own if p.images[digest] == id] or own
                votes[min(p.part for p in own)] += 1
        part = min(votes, key=lambda p: (-votes[p], p), default=None)
        if part is None and group:
            named = (p for p in by_name[group] if not _elsewhere(p, group, present))
            part = min((p.part for p in named), default=None)
        for row in rows:
            parts[row] = part
        if len(votes) > 1:
            notes.append(
                f"The images of {group!r} were dealt into several parts of the "
                f"{deal.kind} as those of several patients. All are in that of most "
                "of them now. Models that were trained before have seen some of them."
            )
    return parts, notes


def with_images(deal: Deal, images: ImageTable, parts: Sequence[int]) -> Deal:
    """Returns a deal with the images of a set in their parts.

    Args:
        deal: `Deal`.
        images: `ImageTable`.
        parts: Sequence of int, the part of each image.
    """
    # The images of these are the others of before, which may return.
    present = {*images.digests}
    records: list[tuple[str, int, dict[str, str]]] = []
    row_of: dict[tuple[str, int], int] = {}
    now = dict(zip(images.groups, parts, strict=True))
    for patient in deal.patients:
        name, part = patient.patient, patient.part
        if not deal.by_image and now.get(name, part) != part:
            name = ""  # another patient has it
        if name:
            row_of.setdefault((name, part), len(records))
        absent = {d: id for d, id in patient.images.items() if d not in present}
        records.append((name, part, absent))
    rows = zip(images.ids, images.groups, images.digests, parts, strict=True)
    for id, group, digest, part in rows:
        if (group, part) not in row_of:
            row_of[group, part] = len(records)
            records.append((group, part, {}))
        if digest:
            records[row_of[group, part]][2][digest] = id
    patients = tuple(DealtPatient(*record) for record in records if record[2])
    return dataclasses.replace(deal, patients=patients)


def _units(images: ImageTable, by_image: bool) -> Iterator[list[int]]:
    """Yields the rows of images that are in the same part."""
    if by_image:
        yield from ([row] for row in range(len(images)))
        return
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(images.groups):
        rows.setdefault(group, []).append(row)
    yield from rows.values()


def _elsewhere(patient: DealtPatient, group: str, present: dict[str, set[str]]) -> bool:
    """Whether images of a recorded patient are those of a patient of another name."""
    return any(present.get(digest, {group}) != {group} for digest in patient.images)
