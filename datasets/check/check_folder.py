import os
import tempfile
from pathlib import Path

from scn_keras.datasets._checked_samples import checked_cases
from scn_keras.datasets.builders import builder_class
from scn_keras.datasets.case import reading_stored_pixels
from scn_keras.datasets.check.check_cases import FILE, check_cases
from scn_keras.datasets.check.check_result import CheckResult
from scn_keras.datasets.check.finding import ERROR, Finding


def check_folder(
    folder: str | os.PathLike[str], name: str | None = None
) -> CheckResult:
    """Checks a folder of source files before it is prepared.

    Nothing is written. A file that cannot be read is a finding, and all others are
    checked.

    Args:
        folder: Str or path, the `manual_dir` of `prepare`.
        name: Str, the builder whose layout the folder has; None to recognise it.

    Returns:
        `CheckResult`.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If there is no data set of that name, or it reads no folder.

    Example:

    ```python
    result = check_folder("~/cephalograms")
    for finding in result.findings:
        print(finding.severity, *finding.cases, finding.message)
    ```
    """
    folder = Path(os.path.abspath(Path(folder).expanduser()))
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}")
    name = name or folder_layout(folder)
    cls = builder_class(name)
    problems: list[str] = []
    # With another `data_dir`, the builder could take its landmarks from a prepared set.
    with reading_stored_pixels(), tempfile.TemporaryDirectory() as empty:
        try:
            builder = cls(folder=folder, data_dir=empty)
            cases = checked_cases(builder, folder, problems)
        except ValueError as error:
            if cls.MANUAL_DOWNLOAD_INSTRUCTIONS is None:
                raise
            findings = [Finding(ERROR, FILE, p) for p in _problems(name, folder, error)]
            return CheckResult(folder, name, None, {}, tuple(findings))
        notes = builder.file_notes(folder)
    return check_cases(cases, builder.SCHEMA, folder, name, problems, notes)


def _problems(name: str, folder: Path, error: ValueError) -> list[str]:
    """Returns all problems of a folder of which the landmarks are not known."""
    config = {"config": "folder"} if name == "landmark_folder" else {}
    with tempfile.TemporaryDirectory() as empty:
        try:
            builder = builder_class(name)(data_dir=empty, **config)
            problems = builder.layout_problems(folder)
        except ValueError:
            problems = []
    first = str(error).replace(f"{folder}/", "")
    # Without any points, that an image has none is no further problem.
    others = (p for p in problems if p != first and " has no points. " not in p)
    return [first, *others]


def folder_layout(folder: Path) -> str:
    """Returns the name of the builder whose layout a folder has.

    The two published sets are recognised by their files. Any other folder is a
    `landmark_folder`.

    Args:
        folder: Path, the folder.
    """
    if (folder / "AnnotationsByMD").is_dir():
        return "cephalogram"
    if next(folder.glob("**/all.csv"), None) is not None:
        return "hand_xray"
    return "landmark_folder"
