import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.datasets.identity.signature import SIZE
from scn_keras.files.atomic_write import write_text

FILE = "used_images.json"
_SIGNATURES = "used_images.npz"
_NONE = ImageTable()


@dataclasses.dataclass(frozen=True)
class UsedImages:
    """The images that a model was made with, so that none is taken for a test image.

    A run stores them in `used_images.json`, and what is needed to find other scans and
    exposures of them in `used_images.npz`. Models that are passed on (`model.keras`,
    presets) contain only digests of their pixels: no names and no pictures.

    Args:
        dataset: Str, the data set as the recipe names it.
        trained: `ImageTable` of the training images.
        held_out: `ImageTable` of the validation images.
        started_from: `ImageTable` of the training images of the models from which the
            training started.
        calibrated: `ImageTable` of the images of the calibration.
        adapted: `ImageTable` of the images from which an adapted run has its offsets.

    Example:

    ```python
    used = Run("runs/hips").used_images
    for image, known, correlation in new_images.repeats_of(used.seen):
        print(f"{image} is the training image {known}")
    ```
    """

    dataset: str
    trained: ImageTable
    held_out: ImageTable = _NONE
    started_from: ImageTable = _NONE
    calibrated: ImageTable = _NONE
    adapted: ImageTable = _NONE

    @classmethod
    def read(cls, folder: pathlib.Path) -> "UsedImages | None":
        """Reads the images of a run or preset; `None` if they are not recorded.

        Args:
            folder: Path of a run, or of a preset.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        data = json.loads(path.read_text("utf-8"))
        signatures: Mapping[str, np.ndarray] = {}
        if (folder / _SIGNATURES).is_file():
            with np.load(folder / _SIGNATURES, allow_pickle=False) as file:
                signatures = dict(file)
        tables = {
            role: _table(data.get(role, []), signatures.get(role), data["axes"])
            for role in _ROLES
        }
        return cls(data["dataset"], **tables)

    @classmethod
    def union(cls, parts: "list[UsedImages | None]") -> "UsedImages | None":
        """Returns the images of several models; `None` if those of one are unknown.

        Images that one of them held out and another was trained on are not held out.
        """
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            return None
        tables = {
            role: sum((getattr(part, role) for part in known), start=_NONE)
            for role in _ROLES
        }
        trained = {*tables["trained"].digests}
        held_out = tables["held_out"]
        pairs = zip(held_out.ids, held_out.digests, strict=True)
        tables["held_out"] = held_out.select(
            [id for id, digest in pairs if digest not in trained]
        )
        return cls(known[0].dataset, **tables)

    @property
    def seen(self) -> ImageTable:
        """The images from which the weights, or offsets, were computed."""
        return self.trained + self.started_from + self.adapted

    def write(self, folder: pathlib.Path) -> None:
        """Writes the images to the folder of a run."""
        tables = {role: getattr(self, role) for role in _ROLES}
        temporary = folder / f".{_SIGNATURES}"
        try:
            np.savez_compressed(
                temporary,
                **{role: table.signatures for role, table in tables.items()},
            )
            temporary.replace(folder / _SIGNATURES)
        finally:
            temporary.unlink(missing_ok=True)
        rows = {
            role: [
                {"id": id, "patient": group, "pixels": digest}
                for id, group, digest in zip(
                    table.ids, table.groups, table.digests, strict=True
                )
            ]
            for role, table in tables.items()
        }
        write_text(folder / FILE, _json(self, rows))

    def anonymous(self) -> str:
        """Returns the content of the file for models that are passed on."""
        rows = {
            role: [{"pixels": digest} for digest in sorted(getattr(self, role).digests)]
            for role in _ROLES
        }
        return _json(self, rows)


_ROLES = "trained", "held_out", "started_from", "calibrated", "adapted"


def _json(used: UsedImages, rows: Mapping[str, list[dict[str, str]]]) -> str:
    axes = max(getattr(used, role).signatures.ndim for role in _ROLES) - 1
    return json.dumps({"dataset": used.dataset, "axes": axes, **rows}, indent=1) + "\n"


def _table(
    rows: list[dict[str, Any]], signatures: np.ndarray | None, axes: int
) -> ImageTable:
    if not rows:
        return ImageTable()
    if signatures is None:
        # Zeros correlate with nothing, so that only equal pixels are found.
        signatures = np.zeros((len(rows), *(SIZE[axes],) * axes), np.int8)
    digests = tuple(row["pixels"] for row in rows)
    ids = tuple(
        row.get("id", digest) for row, digest in zip(rows, digests, strict=True)
    )
    groups = tuple(row.get("patient", id) for row, id in zip(rows, ids, strict=True))
    return ImageTable(ids, groups, digests, signatures)
