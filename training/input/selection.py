"""Selection from a data set by a recipe: patients, observer and mirrored landmarks."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras import warp
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.recipe import Recipe

_PREFIX = "points_"


def observed_points(
    sample: Mapping[str, Any],
    observer: str | None,
    draw: Any = None,
    xp: Any = warp.NUMPY,
) -> Any:
    """Returns the points of a sample for an observer.

    Args:
        sample: Dict with `points` `(..., N, D)` for one observer, or with
            `points_<observer>` for several.
        observer: `None` for `points`; the name of an observer; `"mean"`, whose
            landmarks are missing if any observer has not annotated them; or `"random"`.
        draw: Floats `(...)` from 0 to below 1 that select the observer of `"random"`.
        xp: The array namespace, see `scn_keras.array_api`.

    Raises:
        ValueError: If the sample has no such points.
    """
    observers = sorted(k[len(_PREFIX) :] for k in sample if k.startswith(_PREFIX))
    if observer is None and "points" in sample:
        return sample["points"]
    if observer in observers:
        return sample[_PREFIX + observer]
    points = [sample[_PREFIX + name] for name in observers]
    if observers and observer == "mean":
        return xp.mean(xp.stack(points), axis=0)
    if observers and observer == "random" and draw is not None:
        selected, position = points[0], warp.add_axes(draw * len(observers), 2)
        for number, others in enumerate(points[1:], 1):
            selected = xp.where(position >= number, others, selected)
        return selected
    raise _unknown_observer("This data set", observers, observer)


def require_observer(
    names: Iterable[str], ground_truths: Iterable[str], recipe: Recipe
) -> None:
    """Validates that a data set has the points of a recipe's observer.

    Args:
        names: The names of the entries of a sample.
        ground_truths: As in `without_other_truths`.
        recipe: `Recipe`.

    Raises:
        ValueError: If it has no such points.
    """
    sample = without_other_truths(dict.fromkeys(names), ground_truths, recipe)
    observers = sorted(k[len(_PREFIX) :] for k in sample if k.startswith(_PREFIX))
    known: list[str | None] = [*observers, "mean", "random"] if observers else []
    if "points" in sample:
        known.append(None)
    if recipe.observer not in known:
        label = f"The data set {recipe.dataset}"
        raise _unknown_observer(label, observers, recipe.observer)


def require_points(
    points: Iterable[Mapping[str, Any]], names: Sequence[str], recipe: Recipe
) -> None:
    """Validates that the training images have a point of each landmark.

    Args:
        points: Iterable of dicts with `points` or `points_<observer>` `(..., N, D)`,
            without other truths.
        names: Sequence of str, the landmarks.
        recipe: `Recipe`.

    Raises:
        ValueError: If there is no image, or a landmark is missing in all images.
    """
    counts, images = np.zeros(len(names), int), 0
    for sample in points:
        found = np.zeros(1, bool)
        # The points of any observer may be drawn.
        draws = np.linspace(0.0, 1.0, max(len(sample), 1), endpoint=False)
        for draw in draws if recipe.observer == "random" else draws[:1]:
            values = np.asarray(observed_points(sample, recipe.observer, draw))
            found = found | ~np.isnan(values).any(-1)
        images += found[..., 0].size
        counts += found.reshape(-1, len(names)).sum(0)
    selected = f"the {images} training images (split {recipe.train_split!r})"
    if not images or not counts.any():
        raise ValueError(
            f"There must be points in {selected} of {recipe.dataset}. Check how the "
            "points of the data set are read, or choose another split. Received: "
            f"{'no points' if images else 'no images'}"
        )
    if not counts.all():
        missing = [n for n, count in zip(names, counts, strict=True) if not count]
        raise ValueError(
            f"Each landmark must have a point in one of {selected} of "
            f"{recipe.dataset}: the network cannot learn a landmark without any. Mark "
            "it, remove it from the data set, or choose another split or fold. "
            f"Received no point of: {', '.join(missing)}"
        )


def _unknown_observer(label, observers, observer):
    if not observers:
        return ValueError(
            f"{label} has one observer: omit `observer`. Received: "
            f"observer={observer!r}"
        )
    return ValueError(
        f"{label} has several observers: `observer` must be one of "
        f"{', '.join([*observers, 'mean', 'random'])}. Received: observer={observer!r}"
    )


def without_other_truths(
    sample: Mapping[str, Any], ground_truths: Iterable[str], recipe: Recipe
) -> dict[str, Any]:
    """Removes the ground truths other than the recipe's observer from a sample.

    Ground truths are therefore not included in the mean or the selection of observers.
    """
    others = {_PREFIX + truth for truth in ground_truths if truth != recipe.observer}
    return {name: value for name, value in sample.items() if name not in others}


def split_groups(
    groups: Iterable[str], share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Splits group ids (patients) randomly into training and validation groups.

    Groups are never divided, because images of one patient must not be in both.
    """
    unique = sorted(set(groups))
    count = round(share * len(unique))
    if share > 0.0 and count == 0:
        raise ValueError(
            "`validation` must select at least one group. Increase it, or set it to 0. "
            f"Received: validation={share}, {len(unique)} groups"
        )
    if 0 < count == len(unique):
        raise ValueError(
            "`validation` must leave at least one group for the training. Decrease it. "
            f"Received: validation={share}, {len(unique)} groups"
        )
    held_out = set(random.Random(seed).sample(unique, count))
    return [g for g in unique if g not in held_out], sorted(held_out)


def fold_groups(
    groups: Iterable[str], fold: tuple[int, int], seed: int
) -> tuple[list[str], list[str]]:
    """Splits group ids into those outside and those inside the k-th of n parts.

    The sizes of the parts differ by at most one. Each group is in exactly one part.
    """
    part, count = fold
    unique = sorted(set(groups))
    if len(unique) < count:
        raise ValueError(
            "`fold` must not have more parts than there are groups. Received: "
            f"fold={fold}, {len(unique)} groups"
        )
    held_out = set(random.Random(seed).sample(unique, len(unique))[part::count])
    return [g for g in unique if g not in held_out], sorted(held_out)


def mirror_pairs(
    recipe: Recipe, schema: LandmarkSchema | None
) -> tuple[tuple[int, int], ...]:
    """Returns the pairs of landmarks that are exchanged in a mirrored image.

    Raises:
        ValueError: If the recipe mirrors images and there are no pairs.
    """
    pairs = () if schema is None else schema.pairs
    if recipe.augmentation is not None and recipe.augmentation.flip and not pairs:
        raise ValueError(
            "The recipe mirrors images, but the schema of the data set has no `pairs` "
            "of landmarks that are exchanged by mirroring. Set augmentation.flip=0. "
            f"Received: augmentation.flip={recipe.augmentation.flip}, pairs=()"
        )
    return pairs


def refuse_millimetres(recipe: Recipe, spacing_rule: str) -> None:
    """Validates that no setting depends on a spacing derived from the landmarks.

    Raises:
        ValueError: If the recipe has settings in millimetres.
    """
    settings = []
    if recipe.image_to_grid.grid_spacing is not None:
        settings.append("image_to_grid.grid_spacing")
    if recipe.augmentation is not None:
        settings += [
            f"augmentation.{name}"
            for name in ("translation_mm", "elastic_mm")
            if getattr(recipe.augmentation, name)
        ]
    if settings:
        raise ValueError(
            f"The spacing of {recipe.dataset!r} is derived from the landmarks "
            f"({spacing_rule}). Settings in millimetres would reveal them to the "
            f"network. Omit these settings. Received: {', '.join(settings)}"
        )
