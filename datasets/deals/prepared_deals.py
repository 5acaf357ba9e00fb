"""The deals of a set that is prepared, from those of the set before."""

import collections
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scn_keras.datasets.deals.deal import Deal
from scn_keras.datasets.deals.deal_registry import merged_deals
from scn_keras.datasets.deals.recorded_parts import recorded_parts, with_images
from scn_keras.datasets.deals.registry_file import (
    FILE,
    deals_by_patient,
    read_deals,
    write_deals,
)
from scn_keras.datasets.deals.set_registry import images_of, set_registry
from scn_keras.datasets.identity.image_table import ImageTable

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder


class PreparedDeals:
    """The deals of a set while it is prepared, possibly again.

    Args:
        earlier: `LandmarkBuilder` of the set before, prepared or not.
        folder: Path, the folder of source files; None for data sets without one.
    """

    def __init__(self, earlier: "LandmarkBuilder", folder: Path | None) -> None:
        self._target = Path(earlier.data_dir)
        self._folds: tuple[int, int] | None = None
        self._in_folder: Sequence[Deal] = ()
        self._stored: Sequence[Deal] = ()
        if folder is not None:
            with contextlib.suppress(ValueError):  # reported by the check
                self._folds = earlier.dealt_folds(folder)
            if self._folds is not None:
                self._in_folder = read_deals(folder / FILE)
        self.deals = merged_deals(self._in_folder, read_deals(self._target / FILE))
        if not deals_by_patient(self._target / FILE) and _is_readable(earlier):
            self.deals = merged_deals(self.deals, _implied(earlier, self._folds))

    def give(self, builder: "LandmarkBuilder") -> None:
        """Lets a builder deal new patients only."""
        builder.__dict__["_earlier_deals"] = self.deals

    def store(self, fresh: "LandmarkBuilder") -> None:
        """Writes the deals to a set that was prepared in a temporary folder."""
        tables = {split: images_of(fresh, split) for split in sorted(fresh.info.splits)}
        images = concatenated(tables)
        deals = merged_deals(self.deals, read_deals(self._target / FILE))
        known = {d for deal in deals for p in deal.patients for d in p.images}
        if known.isdisjoint(images.digests):  # a set of the same name, of other images
            deals = (*self._in_folder,)
        self._new: Mapping[str, int] = {}
        self._is_first = True
        if self._folds is not None and self._folds[0]:
            deal = folds_deal(self._folds, tables)
            before = next((d for d in deals if d.key == deal.key), None)
            if before is not None:
                deal = folds_deal(self._folds, tables, before)
                self._is_first = False
            self._new = _new_patients(before or Deal("folds", {}), tables)
            deals = (*(d for d in deals if d.key != deal.key), deal)
        self._stored = deals
        write_deals(Path(fresh.data_dir) / FILE, deals, by_patient=True)

    def publish(self, builder: "LandmarkBuilder") -> list[str]:
        """Writes the deals beside the source files, and returns lines on the folds."""
        if not self._stored:
            return []
        files = set_registry(builder).add(self._stored, by_patient=True)
        if self._folds is None or not self._folds[0]:
            return []
        where = next(iter(files), "no file, since none can be written")
        joined = ", ".join(f"{n} in {split}" for split, n in sorted(self._new.items()))
        if self._is_first:
            return [
                f"Patients were dealt into folds: {joined}. They stay there by "
                f"{where}: keep this file with the images."
            ]
        if joined:
            return [f"New patients: {joined}. All others stay in the folds of {where}."]
        return [f"All patients stay in the folds of {where}."]


def folds_deal(
    folds: tuple[int, int],
    tables: Mapping[str, ImageTable],
    before: Deal | None = None,
) -> Deal:
    """Returns the deal of the folds of a prepared set.

    Args:
        folds: Pair of the number of folds and their seed.
        tables: Mapping of the splits `fold1`, `fold2`, ... to their images.
        before: `Deal`, that of before, if there is one.
    """
    number, seed = folds
    deal = before or Deal("folds", {"number": number, "seed": seed})
    parts = [
        int(split.removeprefix("fold"))
        for split, table in tables.items()
        for _ in table.ids
    ]
    return with_images(deal, concatenated(tables), parts)


def concatenated(tables: Mapping[str, ImageTable]) -> ImageTable:
    """Returns the images of all splits, without signatures."""
    return ImageTable(
        tuple(id for table in tables.values() for id in table.ids),
        tuple(group for table in tables.values() for group in table.groups),
        tuple(digest for table in tables.values() for digest in table.digests),
    )


def _is_readable(earlier: "LandmarkBuilder") -> bool:
    """Whether there is a set with splits that were dealt."""
    try:
        return earlier.is_prepared() and not earlier.PUBLISHED_SPLITS
    except ValueError:  # of another class, which `overwrite` replaces
        return False


def _implied(
    earlier: "LandmarkBuilder", folds: tuple[int, int] | None
) -> Sequence[Deal]:
    """Returns what a version without a registry has dealt: folds, and slices."""
    try:
        tables = {split: images_of(earlier, split) for split in earlier.info.splits}
    except Exception:  # a damaged set, of whatever kind, can be prepared again
        return ()
    deals = []
    for split, images in tables.items():
        deal = Deal("order", {"split": split}, by_image=True, count=len(images))
        deals.append(with_images(deal, images, range(len(images))))
    if folds and {*tables} == {f"fold{n + 1}" for n in range(folds[0])}:
        deals.append(folds_deal(folds, tables))
    return deals


def _new_patients(before: Deal, tables: Mapping[str, ImageTable]) -> Mapping[str, int]:
    """Returns the number of patients in each split that were not dealt before."""
    images = concatenated(tables)
    parts = dict(zip(images.ids, recorded_parts(before, images)[0], strict=True))
    new = collections.Counter[str]()
    for split, table in tables.items():
        groups = zip(table.ids, table.groups, strict=True)
        if count := len({group for id, group in groups if parts[id] is None}):
            new[split] = count
    return new
