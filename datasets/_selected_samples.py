from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex


class SelectedSamples(Sequence[Any]):
    """Random access to some of the samples of a data source of TFDS.

    Args:
        source: The data source.
        rows: Sequence of int, the numbers of its samples.
    """

    def __init__(self, source: Any, rows: Sequence[int]) -> None:
        self._source = source
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: SupportsIndex) -> Any:  # type: ignore[override]
        return self._source[self._rows[key.__index__()]]

    def __getitems__(self, keys: Sequence[int]) -> Sequence[Any]:
        """Returns several samples, as loaders of PyTorch request them."""
        return self._source.__getitems__([self._rows[key] for key in keys])

    def __iter__(self) -> Iterator[Any]:
        return (self._source[row] for row in self._rows)

    def __repr__(self) -> str:
        return f"{len(self)} of {self._source!r}"
