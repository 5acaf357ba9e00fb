import dataclasses
import datetime
from typing import Any

import numpy as np
import rich.console
from rich.markup import escape

from scn_keras.datasets.identity.image_table import ImageTable, listed
from scn_keras.geometry import apply_affine
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.training.evaluation.evaluate import split_of
from scn_keras.training.evaluation.located_on_grid import located_on_grid
from scn_keras.training.run import Run

MIN_PATIENTS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledImages:
    """A few images of a user with points, located by a run.

    Args:
        ids: Tuple of str.
        groups: Array of str `(n,)`, the patients.
        images: `HeldOutImages`, whose points are those of the model without offsets,
            and whose `fold` is the number of the patient.
        unit: Str, `"mm"`, or `"px"` if an image has no usable spacing.
        seen: Bool array `(n,)`, whether the model was trained on the image.
        table: `ImageTable` of the images.
        dataset: Str, the name of the folder with a digest of its points.
    """

    ids: tuple[str, ...]
    groups: np.ndarray
    images: HeldOutImages
    unit: str
    seen: np.ndarray
    table: ImageTable
    dataset: str

    @classmethod
    def of_folder(
        cls,
        run: Run,
        folder: Any,
        split: str | None,
        console: rich.console.Console,
    ) -> "LabelledImages":
        """Locates the images of a folder in the layout of `landmark_folder`.

        Args:
            run: `Run`.
            folder: Path.
            split: Str, a split that the folder defines; `None` for all images.
            console: `rich.console.Console` for progress and remarks.

        Raises:
            FileNotFoundError, DatasetFolderError, ValueError: See `FolderSplit`, and if
                there are fewer than three patients.
        """
        split_images = split_of(run, split, folder=folder)
        locator = run.locator(calibration=None)
        locator.offsets = None
        table = split_images.table()
        patients = np.unique(table.groups)
        if len(patients) < MIN_PATIENTS:
            raise ValueError(
                f"At least {MIN_PATIENTS} patients with points are required: from "
                "fewer, a constant offset cannot be told from an error. Received: "
                f"{len(table)} images of {len(patients)} patients in {folder}"
            )
        located = [*located_on_grid(run.recipe, locator, [split_images], console)]
        groups = np.array([image["group"] for image in located])
        ids = tuple(image["id"] for image in located)
        return cls(
            ids,
            groups,
            HeldOutImages.stack(located, fold=np.searchsorted(patients, groups)),
            "mm" if all(image["usable"] for image in located) else "px",
            _seen(run, table, ids, console),
            table,
            split_images.dataset,
        )

    @property
    def points(self) -> np.ndarray:
        """The points of the model in space, `(n, N, D)`."""
        return apply_affine(self.images.grid_to_space, self.images.points)

    @property
    def truth(self) -> np.ndarray:
        """The true points in space, `(n, N, D)`."""
        return apply_affine(self.images.grid_to_space, self.images.truth)

    def description(self) -> dict[str, Any]:
        """Returns the folder, the numbers of images and patients, and the date."""
        return {
            "folder": self.dataset,
            "n_images": len(self.ids),
            "n_groups": len(np.unique(self.groups)),
            "n_trained": int(self.seen.sum()),
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        }

    def select(self, rows: np.ndarray) -> "LabelledImages":
        """Returns some of the images, by a bool array `(n,)`."""
        ids = tuple(id for id, row in zip(self.ids, rows, strict=True) if row)
        return dataclasses.replace(
            self,
            ids=ids,
            groups=self.groups[rows],
            images=self.images.select(rows),
            seen=self.seen[rows],
            table=self.table.select(ids),
        )


def _seen(run, table, ids, console):
    """Returns which images the weights of the run were computed from."""
    used = run.used_images
    if used is None:
        console.print(
            "[dim]The run has no record of its training images, so that these could "
            "not be looked for in the folder."
        )
        return np.zeros(len(ids), bool)
    repeats = table.repeats_of(used.trained + used.started_from)
    if repeats:
        console.print(
            f"[yellow]The model was trained on {len(repeats)} of the {len(table)} "
            f"images: {escape(listed(repeats))}. Offsets can be estimated from them; "
            "for radii, other images are better.",
            highlight=False,
        )
    names = {repeat.id for repeat in repeats}
    return np.array([id in names for id in ids])
