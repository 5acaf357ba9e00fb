"""Images of an evaluation from which the weights of the model were computed."""

import rich.console
from rich.markup import escape

from scn_keras.datasets.identity.image_table import ImageTable, Repeat, listed
from scn_keras.training.evaluation.evaluated_images import EvaluatedImages
from scn_keras.training.evaluation.folder_split import FolderSplit
from scn_keras.training.evaluation.prepared_split import HELD_OUT
from scn_keras.training.run import Run
from scn_keras.training.used_images import UsedImages

# Appended to the name of a split: its images from which the model was not trained.
UNSEEN = "_unseen"


def used_images(run: Run) -> UsedImages | None:
    """Returns the images of a run with its coarse stage; `None` if not recorded."""
    coarse = [] if run.coarse is None else [run.coarse.used_images]
    return UsedImages.union([run.used_images, *coarse])


def seen_images(run: Run, table: ImageTable) -> list[Repeat] | None:
    """Returns those of a table from which the weights of a run were computed.

    They are found under any name and in any data set, see `ImageTable.repeats_of`.

    Args:
        run: `Run`.
        table: `ImageTable`.

    Returns:
        List of `Repeat`, or `None` if the run has no record of its images.
    """
    used = used_images(run)
    return None if used is None else table.repeats_of(used.seen)


def require_unseen(
    run: Run,
    images: EvaluatedImages,
    with_seen: bool,
    console: rich.console.Console,
) -> frozenset[str] | None:
    """Returns the ids of images from which the weights of a run were computed.

    They are `None` if the run has no record of its images.

    Args:
        run: `Run`.
        images: The images of an evaluation.
        with_seen: Bool, whether they are permitted.
        console: `rich.console.Console` for remarks.

    Raises:
        ValueError: If there are any and they are permitted neither by `with_seen` nor
            by the images, see `EvaluatedImages.permits_seen`.
    """
    table = images.table()
    repeats = seen_images(run, table)
    if repeats is None:
        console.print(
            f"[dim]{escape(str(run.path))} has no record of its training images, so "
            "these could not be looked for in the evaluated ones.",
            highlight=False,
        )
        return None
    seen = frozenset(repeat.id for repeat in repeats)
    _note_patients(run, images, table, seen, console)
    _note_validation(run, images, table, seen, console)
    _note_calibrated(run, images, table, console)
    if not seen:
        return seen
    total = len(table)
    found = f"{len(seen)} of the {total} images of {images.name!r}"
    if not (with_seen or images.permits_seen(run.recipe)):
        raise ValueError(
            f"A model cannot be tested on images that it was trained on: {found} are "
            "training images of this run. Evaluate it on others, or give "
            "--with-trained for both results, with and without them, marked. "
            f"Received: {listed(repeats)}"
        )
    rest = (
        f"Results on the other {total - len(seen)} are those of {images.name}{UNSEEN}."
        if len(seen) < total
        else "These are no test results."
    )
    console.print(
        f"[yellow]The model was trained on {escape(found)}: "
        f"{escape(listed(repeats))}. {escape(rest)}",
        highlight=False,
    )
    return seen


def _note_patients(run, images, table, seen, console):
    """Notes that other images of a patient were trained on."""
    used = run.used_images
    # The same name is another patient in another data set.
    if used is None or not images.dataset.startswith(f"{used.dataset}/"):
        return
    patients = {*used.trained.groups}
    pairs = zip(table.ids, table.groups, strict=True)
    ids = [id for id, group in pairs if group in patients and id not in seen]
    if ids:
        shown = ", ".join(ids[:5]) + (" ..." if len(ids) > 5 else "")
        console.print(
            f"[yellow]{len(ids)} of the {len(table)} images of {escape(images.name)} "
            "are of patients of whom other images were trained on, so that their "
            f"errors may be too small: {escape(shown)}.",
            highlight=False,
        )


def _note_validation(run, images, table, seen, console):
    """Notes that images of a test were held out for the validation of the run."""
    used = run.used_images
    if used is None or images.name == HELD_OUT:
        return
    repeats = [r for r in table.repeats_of(used.held_out) if r.id not in seen]
    if repeats:
        console.print(
            f"[yellow]{len(repeats)} of the {len(table)} images of "
            f"{escape(images.name)} are validation images of this run, with which "
            f"settings may have been chosen: {escape(listed(repeats))}.",
            highlight=False,
        )


def _note_calibrated(run, images, table, console):
    """Notes that the radii of a folder were computed from its own images."""
    used = run.used_images
    if used is None or not isinstance(images, FolderSplit):
        return
    number = len({*table.digests} & {*used.calibrated.digests})
    if number:
        console.print(
            f"[yellow]{number} of the {len(table)} images of {escape(images.name)} are "
            "images of the calibration: the percentage of points within their radii is "
            "no test result.",
            highlight=False,
        )
