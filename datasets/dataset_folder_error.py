import os
from collections.abc import Sequence

_MAX_SHOWN = 20


class DatasetFolderError(ValueError):
    """A folder of source files has problems, all of which are listed.

    Args:
        name: Str, the data set.
        folder: Str or path, the folder from the user.
        problems: Sequence of str, one sentence for each problem. The message shows the
            first 20; `error.problems` has all of them.
        hint: Str, the required layout of the folder.

    Example:

    >>> error = DatasetFolderError("cephalogram", "films", ["001.bmp is empty."])
    >>> error.problems
    ('001.bmp is empty.',)
    """

    def __init__(
        self,
        name: str,
        folder: str | os.PathLike[str],
        problems: Sequence[str],
        hint: str | None = None,
    ) -> None:
        self.folder = os.fspath(folder)
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [
            f"{self.folder} cannot be prepared as {name!r}: "
            f"{count} problem{'' if count == 1 else 's'}. Nothing was written.",
            *(f"  - {problem}" for problem in self.problems[:_MAX_SHOWN]),
        ]
        if count > _MAX_SHOWN:
            lines.append(f"  ... and {count - _MAX_SHOWN} more.")
        if hint:
            lines.append(hint.strip())
        super().__init__("\n".join(lines))
