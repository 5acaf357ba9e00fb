import dataclasses

import numpy as np

from scn_keras.datasets.case import Case

ERROR = "error"
NOTE = "note"


@dataclasses.dataclass(frozen=True)
class View:
    """The image and the points that illustrate a finding.

    Args:
        case: `Case`.
        points: Array `(N, D)` in pixels of the image; None for no points.
        landmarks: Tuple of int, the indices of the points that the finding is about;
            empty for all of them.
        expected: Array `(N, D)`, the expected positions, NaN where they are not
            known; None for no expected positions.
    """

    case: Case
    points: np.ndarray | None = None
    landmarks: tuple[int, ...] = ()
    expected: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Finding:
    """One problem of a folder, or one observation that a person should look at.

    Args:
        severity: Str, `ERROR` for problems that make results wrong, `NOTE` for
            observations that may be correct.
        kind: Str, a few words, equal for all findings of a kind.
        what: Str, one sentence without the name of the case. Findings with the same
            sentence on many cases are merged into one.
        detail: Str, the numbers of this case, or `""`.
        cases: Tuple of str, the ids of the cases.
        files: Tuple of str, their files, relative to the folder.
        landmarks: Tuple of str, the names of the landmarks.
        views: Tuple of `View`, the images to draw.
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
        """The sentence and the numbers."""
        return f"{self.what} {self.detail}".strip()

    def to_dict(self) -> dict[str, object]:
        """Returns the finding as strings and lists for JSON."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "message": self.message,
            "cases": list(self.cases),
            "files": list(self.files),
            "landmarks": list(self.landmarks),
        }
