"""The patients that a recipe holds out, who stay held out."""

import collections
import random
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from scn_keras.datasets.deals.deal import Deal
from scn_keras.datasets.deals.deal_registry import DealRegistry
from scn_keras.datasets.deals.recorded_parts import recorded_parts, with_images
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.training.input.selection import fold_groups, split_groups
from scn_keras.training.recipe import Recipe

# From the patients, of whom new ones have None, to their parts.
_Assign = Callable[[Mapping[str, int | None]], Mapping[str, int]]


def divide_images(
    images: ImageTable, recipe: Recipe, registry: DealRegistry | None
) -> tuple[ImageTable, ImageTable]:
    """Divides the images of a training split into training and held-out images.

    The second table is empty if the recipe holds no images out.

    Args:
        images: `ImageTable` of the recipe's training split.
        recipe: `Recipe`.
        registry: `DealRegistry`, see `held_out_patients`.
    """
    held_out = held_out_patients(images, recipe, registry)
    pairs = [*zip(images.ids, images.groups, strict=True)]
    return (
        images.select([id for id, group in pairs if group not in held_out]),
        images.select([id for id, group in pairs if group in held_out]),
    )


def held_out_patients(
    images: ImageTable, recipe: Recipe, registry: DealRegistry | None
) -> frozenset[str]:
    """Returns the patients that a recipe holds out of its training split.

    They are drawn at random once. Then they stay, whatever images are added, removed
    or renamed. New patients are drawn such that the share is kept, or the parts differ
    by as few patients as possible.

    Args:
        images: `ImageTable` of the recipe's training split; without digests, patients
            are found by their names.
        recipe: `Recipe`.
        registry: `DealRegistry` in which the patients are recorded; None to draw them
            as if they were new.

    Raises:
        ValueError: If no patient is held out, or none is left for the training.
    """
    if recipe.fold is None and recipe.validation == 0.0 or not len(images):
        return frozenset()
    split = "+".join(sorted(part.strip() for part in recipe.train_split.split("+")))
    settings: dict[str, Any] = {"split": split, "seed": recipe.seed}
    if recipe.fold is None:
        kind, chosen = "validation", 1
        settings["share"] = recipe.validation
        assign = _shares(recipe)
    else:
        kind, (chosen, settings["number"]) = "fold", recipe.fold
        assign = _folds(settings["number"], recipe.seed)
    parts: list[int] = []

    def change(deal: Deal) -> Deal:
        recorded, notes = recorded_parts(deal, images)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        part_of = assign(dict(zip(images.groups, recorded, strict=True)))
        parts[:] = [part_of[group] for group in images.groups]
        return with_images(deal, images, parts)

    if registry is None:
        change(Deal(kind, settings))
    else:
        registry.change(kind, settings, change)
    pairs = zip(images.groups, parts, strict=True)
    held_out = frozenset(group for group, part in pairs if part == chosen)
    if not held_out or len(held_out) == len({*images.groups}):
        missing = "training" if held_out else "held-out"
        raise ValueError(
            f"All {missing} patients of the split {recipe.train_split!r} were removed "
            "since they were drawn. Choose another `seed`, by which they are drawn "
            f"anew. Received: seed={recipe.seed}, {len({*images.groups})} patients"
        )
    return held_out


def _shares(recipe: Recipe) -> _Assign:
    def assign(recorded: Mapping[str, int | None]) -> Mapping[str, int]:
        new = sorted(group for group, part in recorded.items() if part is None)
        if len(new) == len(recorded):
            drawn = split_groups(recorded, recipe.validation, recipe.seed)[1]
        else:
            held_out = sum(part == 1 for part in recorded.values())
            count = round(recipe.validation * len(recorded)) - held_out
            count = min(max(count, 0), len(new))
            drawn = random.Random(recipe.seed).sample(new, count)
        return {
            group: int(group in drawn) if part is None else part
            for group, part in recorded.items()
        }

    return assign


def _folds(count: int, seed: int) -> _Assign:
    def assign(recorded: Mapping[str, int | None]) -> Mapping[str, int]:
        new = sorted(group for group, part in recorded.items() if part is None)
        part_of = {g: part for g, part in recorded.items() if part is not None}
        if not part_of:
            return {
                group: part
                for part in range(count)
                for group in fold_groups(recorded, (part, count), seed)[1]
            }
        sizes = collections.Counter({part: 0 for part in range(count)})
        sizes.update(part_of.values())
        for group in random.Random(seed).sample(new, len(new)):
            part = min(sizes, key=lambda p: (sizes[p], p))
            sizes[part] += 1
            part_of[group] = part
        return part_of

    return assign
