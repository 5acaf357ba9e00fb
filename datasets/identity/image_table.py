import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scn_keras.datasets.identity.correlations import THRESHOLD, cross_correlations
from scn_keras.datasets.identity.image_identity import ImageIdentity

# Signatures are stored in steps of 1/24, up to 5.3: local standard deviations, of which
# few pixels have more. Correlations change by less than 0.001.
_STEPS = 24.0
_SHOWN = 5


class Repeat(NamedTuple):
    """An image that another set has as well.

    Attributes:
        id: Str, the image.
        other_id: Str, its id in the other set.
        correlation: Float; 1.0 if all pixels are equal.
    """

    id: str
    other_id: str
    correlation: float


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """Images of a set, by which they are found again under other names.

    Args:
        ids: Tuple of str.
        groups: Tuple of str, the patients.
        digests: Tuple of str, see `pixel_digest`.
        signatures: int8 array `(n, *size)`, see `signature`; `(0,)` without images.

    Example:

    ```python
    training = ImageTable.of_samples(builder.read_split("train").as_numpy_iterator())
    test = ImageTable.of_samples(builder.read_split("test").as_numpy_iterator())
    for repeat in test.repeats_of(training):
        print(repeat.id, "is", repeat.other_id, "of the training")
    ```
    """

    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    signatures: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(0, np.int8)
    )

    @classmethod
    def of_samples(cls, samples: Iterable[Mapping[str, Any]]) -> "ImageTable":
        """Returns the table of samples with `id`, `group` and `image`.

        Args:
            samples: Iterable of samples of a `LandmarkBuilder` as NumPy arrays.
        """
        ids, groups, digests, signatures = [], [], [], []
        for sample in samples:
            identity = ImageIdentity.of(np.asarray(sample["image"]))
            ids.append(_text(sample["id"]))
            groups.append(_text(sample["group"]))
            digests.append(identity.digest)
            steps = np.rint(_STEPS * identity.signature)
            signatures.append(np.clip(steps, -127, 127).astype(np.int8))
        if not ids:
            return cls()
        return cls(tuple(ids), tuple(groups), tuple(digests), np.stack(signatures))

    @classmethod
    def load(cls, path: Path) -> "ImageTable":
        """Reads a file written by `save`."""
        with np.load(path, allow_pickle=False) as file:
            ids, groups, digests = (tuple(file[name].tolist()) for name in _COLUMNS)
            return cls(ids, groups, digests, file["signatures"])

    def save(self, path: Path) -> None:
        """Writes the table to an .npz file, atomically."""
        columns: dict[str, Any] = {
            name: np.array(getattr(self, name), str) for name in _COLUMNS
        }
        temporary = path.with_name(f".{path.stem}.tmp.npz")
        try:
            np.savez_compressed(temporary, **columns, signatures=self.signatures)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self.ids)

    def __add__(self, other: "ImageTable") -> "ImageTable":
        """Returns the images of both tables; those with equal pixels and id once."""
        if not len(self) or not len(other):
            return other if len(other) else self
        known = {*zip(self.ids, self.digests, strict=True)}
        pairs = zip(other.ids, other.digests, strict=True)
        new = other._rows([n for n, pair in enumerate(pairs) if pair not in known])
        if not len(new):
            return self
        return ImageTable(
            self.ids + new.ids,
            self.groups + new.groups,
            self.digests + new.digests,
            np.concatenate([self.signatures, new.signatures]),
        )

    def select(self, ids: Collection[str]) -> "ImageTable":
        """Returns the images with the given ids, in the order of the table."""
        wanted = {*ids}
        return self._rows([n for n, id in enumerate(self.ids) if id in wanted])

    def repeats_of(self, other: "ImageTable") -> list[Repeat]:
        """Returns the images that another set has, under any id.

        Two images are the same if their pixels are equal or their signatures correlate
        by 0.7 or more, as `scn-keras datasets check` finds repeated images.

        Args:
            other: `ImageTable`.

        Returns:
            List of `Repeat`, one for each such image of this set, in its order.
        """
        by_digest = dict(zip(other.digests, other.ids, strict=True))
        best = np.zeros((len(self), max(len(other), 1)), np.float32)
        if len(self) and len(other) and self.signatures.ndim == other.signatures.ndim:
            best = cross_correlations(self.signatures, other.signatures)
        repeats = []
        for id, digest, row in zip(self.ids, self.digests, best, strict=True):
            if digest in by_digest:
                repeats.append(Repeat(id, by_digest[digest], 1.0))
            elif row.max() >= THRESHOLD:
                repeats.append(Repeat(id, other.ids[row.argmax()], float(row.max())))
        return repeats

    def _rows(self, rows: Sequence[int]) -> "ImageTable":
        if not rows:
            return ImageTable()
        ids, groups, digests = (
            tuple(getattr(self, name)[n] for n in rows) for name in _COLUMNS
        )
        return ImageTable(ids, groups, digests, self.signatures[rows])


def listed(repeats: Sequence[Repeat]) -> str:
    """Returns repeated images for messages, the first five of them.

    Args:
        repeats: Sequence of `Repeat`.
    """
    texts = []
    for repeat in repeats[:_SHOWN]:
        text = repeat.id
        if repeat.other_id != repeat.id:
            text += f" is {repeat.other_id}"
        if repeat.correlation < 1.0:
            text += f" (correlation {repeat.correlation:.2f})"
        texts.append(text)
    more = len(repeats) - _SHOWN
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


_COLUMNS = "ids", "groups", "digests"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
