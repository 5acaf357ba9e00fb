"""Validation of the values that the methods of a builder yield."""

import collections
import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scn_keras.datasets.case import Case

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder


def checked_cases(
    builder: "LandmarkBuilder", folder: Path, problems: list[str] | None = None
) -> list[Case]:
    """Returns the cases of a folder.

    Raises:
        ValueError: If `builder.cases` yields anything else than `Case`, or, without
            `problems`, gives an id to several cases.
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
    repeated = _repeated("id", collections.Counter(case.id for case in cases))
    if problems is None and repeated:
        raise ValueError(repeated)
    if problems == [] and repeated:  # other problems may be the cause
        problems.append(repeated)
    return cases


@contextlib.contextmanager
def checked_splits(builder: Any) -> Iterator[None]:
    """Checks all samples that a builder generates meanwhile.

    Raises:
        ValueError: If a key or an id is given to several samples, or a generator
            yields anything else than `(key, sample)`.
    """
    original = builder._split_generators
    name = type(builder).__qualname__
    ids: collections.Counter[str] = collections.Counter()

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
            split: _checked(samples, name, ids) for split, samples in splits.items()
        }

    builder._split_generators = split_generators
    try:
        yield
    finally:
        del builder._split_generators


def _checked(samples: Any, name: str, ids: collections.Counter[str]) -> Any:
    if not isinstance(samples, Iterable):
        if hasattr(samples, "pipeline") or hasattr(samples, "expand"):  # Apache Beam
            return samples
        raise ValueError(_must_yield(name, samples))
    return _checked_samples(samples, name, ids)


def _checked_samples(
    samples: Iterable[Any], name: str, ids: collections.Counter[str]
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
