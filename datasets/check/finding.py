import dataclasses

import numpy as np

from scn_keras.datasets.case import Case

ERROR = "error"
NOTE = "note"


@dataclasses.dataclass(frozen=True)
class View:
    """What a finding shows of one image.

    Args:
        case: `Case`.
        points: Array `(N, D)` in pixels of the image, or None for no points.
        landmarks: Tuple of int, which of the points the finding is about; empty for
            all of them.
        expected: Array `(N, D)` of where they should be, NaN for where nothing is
            known, or None.
    """

    case: Case
    points: np.ndarray | None = None
    landmarks: tuple[int, ...] = ()
    expected: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that a person should look at.

    Args:
        severity: Str, `ERROR` for what makes results wrong, `NOTE` for what may well
            be as it is.
        kind: Str, a few words that are the same for all findings of a kind.
        what: Str, one sentence without the name of the case: findings that say the
            same of many cases are put together.
        detail: Str, the numbers of this case, or `""`.
        cases: Tuple of str, the ids of the cases.
        files: Tuple of str, their files, relative to the folder.
        landmarks: Tuple of str, the names of the landmarks.
        views: Tuple of `View`, what to draw.
    """

    severity: str
    kind: str
    what: str
    detail: str = ""
    cases: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    landmarks: tuple[str, ...] = ()
    views: tuple[View, ...] = ()

    @property
    def message(self) -> str:
        """All of it in words."""
        return f"{self.what} {self.detail}".strip()

    def to_dict(self) -> dict[str, object]:
        """Returns the finding as strings and lists, ready for JSON."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "message": self.message,
            "cases": list(self.cases),
            "files": list(self.files),
            "landmarks": list(self.landmarks),
        }
