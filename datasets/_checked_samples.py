"""Validation of the values that the methods of a builder yield."""

import collections
import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scn_keras.datasets.case import Case

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder


def checked_cases(
    builder: "LandmarkBuilder", folder: Path, problems: list[str] | None = None
) -> list[Case]:
    """Returns the cases of a folder.

    Raises:
        ValueError: If `builder.cases` yields anything else than `Case`, or, without
            `problems`, gives an id to several cases, or no case has a point of some
            landmark.
    """
    values: Any = builder.cases(folder, problems)
    what = f"`cases` of {type(builder).__qualname__} must yield Case(...)"
    if not isinstance(values, Iterable):
        raise ValueError(f"{what}. Received: {_type_name(values)}")
    cases = []
    for value in values:
        if not isinstance(value, Case):
            raise ValueError(f"{what}. Received: {_type_name(value)}")
        cases.append(value)
    counts = _PointCounts(builder.SCHEMA.names)
    for case in cases:
        counts.add(case.points)
    problem = (
        _repeated("id", collections.Counter(case.id for case in cases))
        or counts.problem()
    )
    if problems is None and problem:
        raise ValueError(problem)
    if problems == [] and problem:  # other problems may be the cause
        problems.append(problem)
    return cases


@contextlib.contextmanager
def checked_splits(builder: Any) -> Iterator[None]:
    """Checks all samples that a builder generates meanwhile.

    Raises:
        ValueError: If a key or an id is given to several samples, a generator yields
            anything else than `(key, sample)`, or no sample has a point of some
            landmark.
    """
    original = builder._split_generators
    name = type(builder).__qualname__
    ids: collections.Counter[str] = collections.Counter()
    counts = _PointCounts(builder.SCHEMA.names)

    @functools.wraps(original)  # TFDS inspects the signature.
    def split_generators(*args: Any, **kwargs: Any) -> Any:
        splits = original(*args, **kwargs)
        if isinstance(splits, list):  # the form of TFDS before version 4
            return splits
        if not isinstance(splits, Mapping):
            raise ValueError(
                f"`_split_generators` of {name} must return a dict, such as "
                '{"train": self._generate_examples(...)}. '
                f"Received: {_type_name(splits)}"
            )
        return {
            split: _checked(samples, name, ids, counts)
            for split, samples in splits.items()
        }

    builder._split_generators = split_generators
    try:
        yield
        if problem := counts.problem():
            raise ValueError(problem)
    finally:
        del builder._split_generators


class _PointCounts:
    """Counts the points of each landmark in the samples of a data set.

    Args:
        names: Sequence of str, the landmarks.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._counts = np.zeros(len(names), int)
        self._samples = 0

    def add(self, sample: Mapping[str, Any]) -> None:
        """Adds a sample or the points of a case."""
        arrays = [
            np.asarray(values)
            for name, values in sample.items()
            if name == "points" or name.startswith("points_")
        ]
        # Arrays of other shapes are refused elsewhere.
        if all(a.ndim == 2 and len(a) == len(self._names) for a in arrays):
            self._samples += 1
            for array in arrays:
                self._counts += ~np.isnan(array.astype(float)).any(1)

    def problem(self) -> str | None:
        """Returns a sentence on landmarks without a point; None if there are none."""
        names = [
            n for n, count in zip(self._names, self._counts, strict=True) if not count
        ]
        if not self._samples or not names:
            return None
        if len(names) == len(self._names):
            return (
                f"No image has a point: all landmarks of {self._samples} images are "
                "missing. Check how the points are read, or mark them."
            )
        return (
            f"No image has a point of {', '.join(map(repr, names))}. Mark the landmark "
            "in some of the images, or remove it from the landmarks of the data set."
        )


def _checked(
    samples: Any, name: str, ids: collections.Counter[str], counts: _PointCounts
) -> Any:
    if not isinstance(samples, Iterable):
        if hasattr(samples, "pipeline") or hasattr(samples, "expand"):  # Apache Beam
            return samples
        raise ValueError(_must_yield(name, samples))
    return _checked_samples(samples, name, ids, counts)


def _checked_samples(
    samples: Iterable[Any],
    name: str,
    ids: collections.Counter[str],
    counts: _PointCounts,
) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    keys: collections.Counter[Any] = collections.Counter()
    for pair in samples:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(_must_yield(name, pair))
        key, sample = pair
        if not isinstance(key, str | bytes | int):
            raise ValueError(_must_yield(name, pair))
        if not isinstance(sample, Mapping) or "id" not in sample:
            raise ValueError(_must_yield(name, pair))
        keys[key] += 1
        ids[str(sample["id"])] += 1
        counts.add(sample)
        yield key, sample
    if repeated := _repeated("id", ids) or _repeated("key", keys):
        raise ValueError(repeated)


def _must_yield(name: str, value: Any) -> str:
    received = _type_name(value)
    if isinstance(value, tuple):
        received = f"({', '.join(map(_type_name, value))})"
    return (
        f"`_generate_examples` of {name} must yield (key, self.sample(...)). "
        f"Received: {received}"
    )


def _repeated(what: str, counts: collections.Counter[Any]) -> str | None:
    for value, count in counts.most_common(1):
        if count > 1:
            return (
                f"The {what} {value!r} is given to {count} samples; each sample needs "
                f"{'an' if what == 'id' else 'a'} {what} of its own."
            )
    return None


def _type_name(value: Any) -> str:
    return "None" if value is None else type(value).__name__
