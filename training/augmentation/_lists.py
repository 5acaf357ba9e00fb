"""Lists of transforms, in the forms that a recipe takes."""

from collections.abc import Sequence
from typing import Any

from scn_keras.training.augmentation._built_in import BY_NAME
from scn_keras.training.augmentation.named_transform import NamedTransform

_ON_BY_DEFAULT = (
    *("translation", "rotation", "scale", "scale_per_axis"),
    *("intensity_shift", "intensity_scale"),
)


def user_defined(transforms: Any) -> tuple[NamedTransform, ...]:
    """Returns user-defined transforms as `Augmentation` holds them.

    Raises:
        ValueError: If something is no transform, or mirrors images.
    """
    if not isinstance(transforms, (list, tuple)):
        raise ValueError(
            "`transforms` of the augmentation must be a list. "
            f"Received: transforms={transforms!r}"
        )
    found = tuple(map(NamedTransform.of, transforms))
    if any(named.name == "Flip" for named in found):
        raise ValueError(
            "Mirror images by `flip` of the augmentation, with which landmarks change "
            "places. Received: transforms=Flip"
        )
    return found


def settings_of(
    transforms: Sequence[Any],
) -> tuple[dict[str, Any], tuple[NamedTransform, ...]]:
    """Returns what `Augmentation` takes for a list of transforms.

    Returns:
        The numbers of the built-in transforms, all others off, and the user-defined
        transforms.

    Raises:
        ValueError: If a built-in transform comes twice, or something is no transform.
    """
    numbers: dict[str, Any] = dict.fromkeys(_ON_BY_DEFAULT, 0.0) | {"clip": False}
    used, others = set(), []
    for named in map(NamedTransform.of, transforms):
        if named.name not in BY_NAME:
            others.append(named)
            continue
        if named.name in used:
            raise ValueError(
                "A list of transforms must hold each built-in transform once. "
                f"Received: {named.name} twice"
            )
        used.add(named.name)
        numbers |= named.checked()
    return numbers, tuple(others)
