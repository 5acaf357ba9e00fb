"""Images that would be in the training and in the test of a model."""

import pathlib
from collections.abc import Iterator

from scn_keras.datasets.identity.image_table import ImageTable, listed
from scn_keras.models import preset_path
from scn_keras.training.input.source import Source
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run
from scn_keras.training.used_images import UsedImages


def images_to_use(
    recipe: Recipe,
    source: Source,
    data_dir: str | pathlib.Path | None = None,
    from_arrays: bool = False,
) -> tuple[UsedImages, list[str]]:
    """Returns the images of a training, and notes on leaks before it starts.

    Args:
        recipe: `Recipe`.
        source: `Source` of its images.
        data_dir: The folder of prepared data sets.
        from_arrays: Bool, whether the source is a folder of arrays, beside which test
            images cannot be looked at.

    Returns:
        `UsedImages`, and a list of sentences.

    Raises:
        ValueError: If the model from which the training starts was trained on held-out
            or test images, apart from those of published splits.
    """
    trained, held_out = source.images
    test, published = ImageTable(), False
    if not from_arrays:
        from scn_keras.training.input.split_images import test_images

        test, published = test_images(recipe, data_dir)
    others = {"held-out images": held_out, "test images": test}
    notes = [*_repeats(trained, others, published)]
    earlier = ImageTable()
    if recipe.start is not None:
        start = Run(preset_path(recipe.start))
        used = start.used_images
        if used is None:
            notes.append(
                f"Note: {start.path} has no record of its training images, so that "
                "they could not be looked for in the held-out and test images."
            )
        else:
            earlier = used.seen
            notes += _repeats_of_start(start, earlier, others, published)
    return UsedImages(recipe.dataset, trained, held_out, earlier), notes


def require_same_images(run: Run, source: Source) -> None:
    """Validates that a run is resumed on the images with which it was started.

    Raises:
        ValueError: If images were added to the data set or removed from it.
    """
    used = run.used_images
    if used is None:
        return
    changes = []
    for what, before, now in zip(
        ("training", "held-out"),
        (used.trained, used.held_out),
        source.images,
        strict=True,
    ):
        added = {*now.digests} - {*before.digests}
        removed = {*before.digests} - {*now.digests}
        if added or removed:
            changes.append(f"{len(added)} new and {len(removed)} missing {what} images")
    if changes:
        raise ValueError(
            f"The data set {used.dataset!r} has been changed since {run.path} was "
            "started, and a resumed training must be the same as without the "
            "interruption. Train a new run, from the weights of this one with --from. "
            f"Received: {' and '.join(changes)}"
        )


def _repeats(
    trained: ImageTable, others: dict[str, ImageTable], published: bool
) -> Iterator[str]:
    for what, table in others.items():
        if not (repeats := table.repeats_of(trained)):
            continue
        if what == "held-out images":
            advice = "Give the images of one patient the same patient in the data set."
        elif published:
            advice = "`scn-keras evaluate` gives the results with and without them."
        else:
            advice = "`scn-keras evaluate` will refuse them: leave them out of one."
        yield (
            f"Note: {len(repeats)} of the {len(table)} {what} are training images: "
            f"{listed(repeats)}. {advice}"
        )


def _repeats_of_start(
    start: Run, earlier: ImageTable, others: dict[str, ImageTable], published: bool
) -> Iterator[str]:
    for what, table in others.items():
        if not (repeats := table.repeats_of(earlier)):
            continue
        found = (
            f"{start.path} was trained on {len(repeats)} of the {len(table)} {what} of "
            f"this training: {listed(repeats)}."
        )
        if not published and any(repeat.correlation == 1.0 for repeat in repeats):
            raise ValueError(
                f"A training cannot start from a model that was trained on its {what}, "
                "whose errors would be too small. Start from another model, or choose "
                f"the split of that one. Received: {found}"
            )
        yield f"Note: {found}"
