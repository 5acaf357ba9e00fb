"""Names, links, left/right pairs and colours of the landmarks of a data set."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class LandmarkSchema:
    """The names, links, left/right pairs and colours of a set of landmarks.

    The schema is stored with the data set, the run and the exported model, so that a
    landmark has the same name everywhere.

    Args:
        names: Tuple of str, one for each landmark, in the order of the points.
        links: Tuple of index pairs, the lines to draw between landmarks.
        pairs: Tuple of index pairs, landmarks that are exchanged in a mirror image.
        colors: Tuple of str, one CSS colour for each landmark; empty for a palette.

    Raises:
        ValueError: If names are not unique, an index is out of range, or the number of
            colours is neither zero nor the number of names.

    Example:

    >>> schema = LandmarkSchema(("sella", "nasion"), links=((0, 1),))
    >>> len(schema)
    2
    """

    names: tuple[str, ...]
    links: tuple[tuple[int, int], ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    colors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        repeated = sorted({n for n in self.names if self.names.count(n) > 1})
        if repeated:
            raise ValueError(
                f"Landmark names must be unique. Received more than once: {repeated}"
            )
        for field in ("links", "pairs"):
            for pair in getattr(self, field):
                if len(pair) != 2 or not all(0 <= i < len(self.names) for i in pair):
                    raise ValueError(
                        f"`{field}` must consist of pairs of indices of the "
                        f"{len(self.names)} landmarks. Received: {pair}"
                    )
        if self.colors and len(self.colors) != len(self.names):
            raise ValueError(
                f"`colors` must be empty or have one colour for each of the "
                f"{len(self.names)} landmarks. Received: {len(self.colors)} colours"
            )

    def __len__(self) -> int:
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Returns the schema as lists and strings for JSON."""
        return {
            "names": list(self.names),
            "links": [list(pair) for pair in self.links],
            "pairs": [list(pair) for pair in self.pairs],
            "colors": list(self.colors),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LandmarkSchema":
        """Creates a schema from the result of `to_dict`.

        Args:
            data: Mapping with `names`, and optionally `links`, `pairs` and `colors`.
        """
        return cls(
            names=tuple(data["names"]),
            links=tuple((int(a), int(b)) for a, b in data.get("links", ())),
            pairs=tuple((int(a), int(b)) for a, b in data.get("pairs", ())),
            colors=tuple(data.get("colors", ())),
        )
