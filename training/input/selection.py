"""What of a data set a recipe takes: patients, the observer, the pairs of a mirror."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

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
    """Chooses the points of a sample: its only ones, one observer's, or a mixture.

    Args:
        sample: Dict with `points` `(..., N, D)`, or with `points_<observer>` for
            several.
        observer: `None` for `points`; the name of an observer; `"mean"`, missing
            where any observer lacks the landmark; `"random"`.
        draw: Floats `(...)` from 0 to below 1 that decide what `"random"` gives.
        xp: The library, see `scn_keras.warp`.

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
        chosen, place = points[0], warp.add_axes(draw * len(observers), 2)
        for number, others in enumerate(points[1:], 1):
            chosen = xp.where(place >= number, others, chosen)
        return chosen
    known = [*observers, "mean", "random"] if observers else [None]
    raise ValueError(
        f"This data set has the observers {known}. Received: observer={observer!r}"
    )


def without_other_truths(
    sample: Mapping[str, Any], ground_truths: Iterable[str], recipe: Recipe
) -> dict[str, Any]:
    """Leaves out the ground truths that are not the recipe's observer.

    Where observers are averaged or drawn, other ground truths are none.
    """
    others = {_PREFIX + truth for truth in ground_truths if truth != recipe.observer}
    return {name: value for name, value in sample.items() if name not in others}


def training_groups(
    groups: Iterable[str], recipe: Recipe
) -> tuple[list[str], list[str]]:
    """Splits group ids (patients) into those that a recipe trains on and holds out."""
    if recipe.fold is None:
        return split_groups(groups, recipe.validation, recipe.seed)
    return fold_groups(groups, recipe.fold, recipe.seed)


def split_groups(
    groups: Iterable[str], share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Splits group ids (patients) into training and validation, by seed.

    Whole groups, never images: two films of one patient must not lie on both sides.
    """
    unique = sorted(set(groups))
    count = round(share * len(unique))
    if share > 0.0 and count == 0:
        raise ValueError(
            f"`validation` asks for {share:.0%} of {len(unique)} groups, which is "
            "none. Raise it, or set it to 0."
        )
    if 0 < count == len(unique):
        raise ValueError(
            f"`validation` asks for {share:.0%} of {len(unique)} groups, which leaves "
            "none to train on. Lower it."
        )
    held_out = set(random.Random(seed).sample(unique, count))
    return [g for g in unique if g not in held_out], sorted(held_out)


def fold_groups(
    groups: Iterable[str], fold: tuple[int, int], seed: int
) -> tuple[list[str], list[str]]:
    """Splits group ids into those outside and those inside the k-th of n parts.

    The parts are equal up to one group; together they are all groups, each once.
    """
    part, count = fold
    unique = sorted(set(groups))
    if len(unique) < count:
        raise ValueError(
            f"`fold` asks for {count} parts of {len(unique)} groups. Received: "
            f"fold={fold}"
        )
    held_out = set(random.Random(seed).sample(unique, len(unique))[part::count])
    return [g for g in unique if g not in held_out], sorted(held_out)


def mirror_pairs(
    recipe: Recipe, schema: LandmarkSchema | None
) -> tuple[tuple[int, int], ...]:
    """Returns the landmarks that change places in a mirror image.

    Raises:
        ValueError: If the recipe mirrors images and there are no pairs.
    """
    pairs = () if schema is None else schema.pairs
    if recipe.augmentation is not None and recipe.augmentation.flip and not pairs:
        raise ValueError(
            "The recipe mirrors images, but the schema of the data set names no "
            "landmarks that change places then (`pairs`). Set augmentation.flip=0."
        )
    return pairs


def refuse_millimetres(recipe: Recipe, spacing_rule: str) -> None:
    """Refuses settings in millimetres that come from the landmarks to be found.

    Raises:
        ValueError: If the recipe has any.
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
            f"The millimetres of {recipe.dataset!r} come from the landmarks that are "
            f"to be found ({spacing_rule}), and {' and '.join(settings)} would "
            "show them to the network. Leave those settings out."
        )
