import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from scn_keras.datasets.deals.dealt_patient import DealtPatient

_NUMBER = "number", int
_SEED = "seed", int
_SPLIT = "split", str


class DealKind(NamedTuple):
    """What a kind of deals is called in a registry.

    Attributes:
        settings: Mapping of the settings that tell its deals apart to their types.
        part: Str, what the numbers of the parts mean.
    """

    settings: Mapping[str, type]
    part: str


KINDS = {
    "folds": DealKind(dict([_NUMBER, _SEED]), "part 1 is the split fold1"),
    "fold": DealKind(
        dict([_SPLIT, _NUMBER, _SEED]),
        "part k is held out by a recipe with fold=(k, number)",
    ),
    "validation": DealKind(
        dict([_SPLIT, ("share", float), _SEED]), "part 1 is held out, part 0 is not"
    ),
    "order": DealKind(
        dict([_SPLIT]),
        "the position in the split, from 0; `boundaries` are those of its slices",
    ),
}


@dataclasses.dataclass(frozen=True)
class Deal:
    """An assignment of patients to parts that was dealt once.

    Args:
        kind: Str, `"folds"` of a folder; `"fold"` and `"validation"` of a recipe;
            `"order"` of a split, for its slices.
        settings: Mapping, what tells the deals of a kind apart, see `KINDS`.
        patients: Tuple of `DealtPatient`.
        boundaries: Mapping of the numbers in slices (`"15"`, `"-5"`, `"50%"`) to
            positions, of a deal of kind `"order"`.
        by_image: Bool, whether the images of a patient have positions of their own, as
            in slices by versions before 0.2.
        count: Int, the number of positions on which percentages and negative numbers
            are counted; None for the images that there are.
    """

    kind: str
    settings: Mapping[str, Any]
    patients: tuple[DealtPatient, ...] = ()
    boundaries: Mapping[str, int] = dataclasses.field(default_factory=dict)
    by_image: bool = False
    count: int | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """The kind with its settings, equal for deals of the same splits."""
        return (self.kind, *sorted(self.settings.items()))

    def merged(self, other: "Deal") -> "Deal":
        """Returns the deal with the images of another one that it does not have.

        Args:
            other: `Deal` with the same key. Positions of another order are not
                comparable and are left out.
        """
        if self.kind == "order":
            return self
        known = {digest for patient in self.patients for digest in patient.images}
        parts = {p.patient: p.part for p in self.patients}
        new = []
        for patient in other.patients:
            images = {d: id for d, id in patient.images.items() if d not in known}
            if images:
                part = parts.get(patient.patient, patient.part)
                new.append(DealtPatient(patient.patient, part, images))
        return dataclasses.replace(self, patients=(*self.patients, *new))
