import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What a model returned about the certainty of n images, in their order.

    Args:
        score: Array `(n, N)`, the scores of landmarks.
        radius90_px, radius90_mm: Arrays `(n, N)`, the 90 % radii; NaN if unknown.
        trusted: Array `(n,)`, 1 for trusted images and 0 for others; NaN if unknown.
        novelty: Array `(n,)`; NaN if unknown.
        names: Tuple of str, the names of the landmarks; empty if the answers do not
            contain them.
        sources: Tuple of str, the calibrations of the answers, see
            `calibration_source`.

    Raises:
        ValueError: If there is no answer, or the shapes do not match.
    """

    score: np.ndarray
    radius90_px: np.ndarray
    radius90_mm: np.ndarray
    trusted: np.ndarray
    novelty: np.ndarray
    names: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if np.ndim(self.score) != 2 or not np.size(self.score):
            raise ValueError(
                "`score` must have a row for each image and a column for each "
                f"landmark. Received: shape={np.shape(self.score)}"
            )
        n, landmarks = self.score.shape
        for name in ("radius90_px", "radius90_mm"):
            self._require_shape(name, (n, landmarks))
        for name in ("trusted", "novelty"):
            self._require_shape(name, (n,))
        if self.names and len(self.names) != landmarks:
            raise ValueError(
                f"The answers have {landmarks} scores for each image, but "
                f"{len(self.names)} names of landmarks."
            )

    def _require_shape(self, name, expected):
        if (shape := np.shape(getattr(self, name))) != expected:
            raise ValueError(
                f"`{name}` must have the shape {expected} for scores of the shape "
                f"{self.score.shape}. Received: shape={shape}"
            )

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def concatenate(cls, parts: Sequence["Answers"]) -> "Answers":
        """Joins answers of the same model.

        Args:
            parts: Sequence of `Answers`.

        Raises:
            ValueError: If there are none, or their landmarks differ.
        """
        if not parts:
            raise ValueError("There are no answers.")
        names = [part.names for part in parts if part.names]
        for part in parts:
            require_same_landmarks(parts[0], part)
        for other in names[1:]:
            _require_equal(names[0], other)
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("score", "radius90_px", "radius90_mm", "trusted", "novelty")
        }
        sources = dict.fromkeys(source for part in parts for source in part.sources)
        return cls(**arrays, names=names[0] if names else (), sources=tuple(sources))


def require_same_landmarks(first: Answers, second: Answers) -> None:
    """Raises a ValueError if answers have other numbers or names of landmarks."""
    numbers = first.score.shape[1], second.score.shape[1]
    if numbers[0] != numbers[1]:
        raise ValueError(
            "All answers must be of one model. Received: answers with "
            f"{numbers[0]} and with {numbers[1]} landmarks"
        )
    if first.names and second.names:
        _require_equal(first.names, second.names)


def _require_equal(first, second):
    for name, other in zip(first, second, strict=True):
        if name != other:
            raise ValueError(
                "All answers must be of one model, with the landmarks in one order. "
                f"Received: {name!r} and {other!r} at the same place"
            )
