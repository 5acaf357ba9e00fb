"""Conversion of lists of transforms to the arguments of `Augmentation`."""

from collections.abc import Sequence
from typing import Any

from scn_keras.training.augmentation._built_in import BY_NAME
from scn_keras.training.augmentation.named_transform import NamedTransform

_ON_BY_DEFAULT = (
    *("translation", "rotation", "scale", "scale_per_axis"),
    *("intensity_shift", "intensity_scale"),
)
# Settings without an effect of their own.
_DETAILS = ("elastic_points", "erase_size")


def user_defined(transforms: Any) -> tuple[NamedTransform, ...]:
    """Converts user-defined transforms to a tuple of `NamedTransform`.

    Raises:
        ValueError: If an item is not a transform, mirrors images, or is disabled.
    """
    if not isinstance(transforms, (list, tuple)):
        raise ValueError(
            "`transforms` of the augmentation must be a list. "
            f"Received: transforms={transforms!r}"
        )
    named_transforms = tuple(map(NamedTransform.of, transforms))
    if any(named.name == "Flip" for named in named_transforms):
        raise ValueError(
            "Mirror images by `flip` of the augmentation, which also exchanges left "
            "and right landmarks. Received: transforms=Flip"
        )
    for named in named_transforms:
        if named.name in BY_NAME:
            _require_effect(named)
    return named_transforms


def settings_of(
    transforms: Sequence[Any],
) -> tuple[dict[str, Any], tuple[NamedTransform, ...]]:
    """Returns the arguments of `Augmentation` for a list of transforms.

    Returns:
        A dict of the arguments of the built-in transforms, with those that are not in
        the list disabled, and the user-defined transforms.

    Raises:
        ValueError: If a built-in transform occurs twice or is disabled, or an item is
            not a transform.
    """
    numbers: dict[str, Any] = dict.fromkeys(_ON_BY_DEFAULT, 0.0) | {"clip": False}
    used, others = set(), []
    for named in map(NamedTransform.of, transforms):
        if named.name not in BY_NAME:
            others.append(named)
            continue
        if named.name in used:
            raise ValueError(
                "A list of transforms must not contain a built-in transform twice. "
                f"Received: {named.name} twice"
            )
        used.add(named.name)
        _require_effect(named)
        numbers |= named.checked()
    return numbers, tuple(others)


def _require_effect(named):
    settings = named.checked()
    if not any(value for key, value in settings.items() if key not in _DETAILS):
        received = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        raise ValueError(
            f"{named.name} in a list of transforms is disabled. Give it a range, or "
            f"omit it. Received: {named.name}({received})"
        )
