"""The images of a folder that can be read, where others cannot."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import progress

from scn_keras.datasets._checked_samples import checked_cases
from scn_keras.datasets.case import Case

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder


class GoodCases(NamedTuple):
    """The cases of a folder that can be prepared, and the problems of the others.

    Attributes:
        cases: List of `Case`.
        problems: List of str, all problems of the folder.
        are_of_files: Bool, whether the problems are those of single files, and some
            cases are left.
    """

    cases: list[Case]
    problems: list[str]
    are_of_files: bool


def good_cases(
    builder: "LandmarkBuilder", folder: Path, known: Sequence[str]
) -> GoodCases:
    """Finds the cases of a folder with problems that can be prepared.

    Decodes every image, so that all bad files are found at once.

    Args:
        builder: `LandmarkBuilder`, which is described by the folder if it can be.
        folder: Path, the folder of source files.
        known: Sequence of str, the result of `builder.folder_problems`.
    """
    problems: list[str] = []
    try:
        builder.describe(folder)
        cases = checked_cases(builder, folder, problems)
    except ValueError:  # known problems of the folder, or a builder without cases
        return GoodCases([], list(known), False)
    form = builder._sample_format()
    good = []
    for case in progress.track(cases, "check images", transient=True):
        try:
            image, affine = builder.read_image(case)
            form.validated(str(case.image_path), image, case.points, affine)
            good.append(case)
        except (ValueError, OSError) as error:
            problems.append(str(error).replace(f"{folder}/", ""))
    # Labels, names and settings concern all images.
    others = [p for p in known if p not in problems]
    all_problems = list(dict.fromkeys([*known, *problems]))
    return GoodCases(good, all_problems, bool(good) and not others)


@contextlib.contextmanager
def only_cases(
    builder: Any, cases: Sequence[Case], left_out: Sequence[str]
) -> Iterator[None]:
    """The folder of a builder has only some of its cases, and no problems.

    Args:
        builder: `LandmarkBuilder`.
        cases: Sequence of `Case`.
        left_out: Sequence of str, the problems of all others, which become notes of
            the prepared set.
    """
    notes = builder.folder_notes

    def with_left_out(folder: Path) -> list[str]:
        return [*notes(folder), f"Files were left out: {' '.join(left_out)}"]

    builder.cases = lambda folder, problems=None: list(cases)
    builder.layout_problems = lambda folder: []
    builder.folder_notes = with_left_out
    try:
        yield
    finally:
        del builder.cases, builder.layout_problems, builder.folder_notes
