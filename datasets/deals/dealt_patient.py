import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class DealtPatient:
    """The part of a patient in a deal, and the images by which it is found again.

    Args:
        patient: Str, its name at last; `""` if another patient has that name since.
        part: Int, the part: a fold, a position, or 1 for held out and 0 for not.
        images: Mapping of the digests of images, see `pixel_digest`, to their ids at
            last. Images that were removed stay, since they may return.
    """

    patient: str
    part: int
    images: Mapping[str, str]
