import os
from collections.abc import Sequence

_SHOWN = 20


class DatasetFolderError(ValueError):
    """A folder of source files is not what a builder needs, with every reason.

    Args:
        name: str, the data set.
        folder: str or path, what the user gave.
        problems: Sequence of str, one sentence a problem. The message shows the
            first 20; `error.problems` has them all.
        hint: str, how the folder must look.

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
            *(f"  - {problem}" for problem in self.problems[:_SHOWN]),
        ]
        if count > _SHOWN:
            lines.append(f"  ... and {count - _SHOWN} more.")
        if hint:
            lines.append(hint.strip())
        super().__init__("\n".join(lines))
