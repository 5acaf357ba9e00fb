"""Problems of the entries of a file of points, collected in one pass."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

# A file with more problems has another form than it seems to have.
_MAX_PROBLEMS = 100
# Of one problem, and of all that an error lists.
_MAX_CHARACTERS, _MAX_LISTED = 800, 1800


class PointProblem(NamedTuple):
    """An entry of a file of points that could not be read.

    Attributes:
        problem: Str, the error, which names the file and the line.
        texts: Tuple of str, among which the name of the image is; empty for a file of
            one image.
    """

    problem: str
    texts: tuple[str, ...]


class PointProblems:
    """Collects the errors of a file, so that all of them are reported at once.

    Example:

    >>> problems = PointProblems()
    >>> for text in ("1", "b", "c"):
    ...     with problems.of("film1.png"):
    ...         number = int(text)
    >>> len(problems.found)
    2
    """

    def __init__(self) -> None:
        self.found: list[PointProblem] = []

    @contextlib.contextmanager
    def of(self, *texts: str) -> Iterator[None]:
        """Keeps a `ValueError` of the body as a problem.

        Args:
            *texts: Str, the name of the image, or the columns of a row with it.
        """
        try:
            yield
        except ValueError as error:
            problem = str(error)
            if len(problem) > _MAX_CHARACTERS:
                problem = problem[:_MAX_CHARACTERS] + "..."
            self.found.append(PointProblem(problem, tuple(filter(None, texts))))

    def sentences(self, path: object) -> list[str]:
        """Returns the problems, of which there are at most a hundred.

        Args:
            path: Path, the file.
        """
        problems = [*dict.fromkeys(problem.problem for problem in self.found)]
        if (left := len(problems) - _MAX_PROBLEMS) <= 0:
            return problems
        return [
            *problems[:_MAX_PROBLEMS],
            f"{path} has {left} more entries that cannot be read. Has the file the "
            "form that its header states?",
        ]

    def raise_if_any(self, path: object) -> None:
        """Raises a `ValueError` with the problems, if there are any.

        Args:
            path: Path, the file.
        """
        problems = [*dict.fromkeys(problem.problem for problem in self.found)]
        if len(problems) == 1:
            raise ValueError(problems[0])
        if not problems:
            return
        lines = [f"{path} has {len(problems)} entries that cannot be read:"]
        for number, problem in enumerate(problems):
            line = "  - " + problem.replace(f"{path}, ", "")
            if sum(map(len, lines)) + len(line) > _MAX_LISTED and number:
                lines.append(f"  ... and {len(problems) - number} more.")
                break
            lines.append(line)
        raise ValueError("\n".join(lines))
