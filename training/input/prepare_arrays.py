import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import rich.console
from rich import progress

from scn_keras.datasets.deals.deal_registry import DealRegistry
from scn_keras.datasets.deals.set_registry import set_registry
from scn_keras.datasets.identity.stored_images import stored_images
from scn_keras.inference.patient_axes import sample_in_grid_axes
from scn_keras.training.input import pipeline
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input.array_folder import ArrayFolder
from scn_keras.training.input.dealt_patients import held_out_patients
from scn_keras.training.recipe import Recipe


def prepare_arrays(
    recipe: Recipe,
    path: str | pathlib.Path,
    data_dir: str | pathlib.Path | None = None,
    splits: Sequence[str] = (),
    console: rich.console.Console | None = None,
) -> ArrayFolder:
    """Stores a prepared data set as arrays for the training of a recipe.

    Images are reduced for the recipe's grid and normalised. This requires TensorFlow
    and TFDS, which training on the arrays does not. Recipes with the same data set,
    grid, normalisation and training split can share a folder.

    Args:
        recipe: `Recipe`.
        path: The folder to create.
        data_dir: The folder of prepared data sets.
        splits: Sequence of str, further splits besides the recipe's `train_split`.
        console: `rich.console.Console` for the progress bar.

    Returns:
        The `ArrayFolder`.

    Raises:
        FileExistsError: If `path` is not empty.
        FileNotFoundError: If the data set is not prepared.
        ValueError: If a split is unknown, or the images have other dimensions.
    """
    builder = data.prepared_builder(recipe.dataset, data_dir)
    ids = {
        split: data.sample_ids(recipe.dataset, split, data_dir)
        for split in dict.fromkeys((recipe.train_split, *splits))
    }

    def samples() -> Iterator[dict[str, Any]]:
        seen = set()
        for split in ids:
            for sample in data.load_samples(recipe.dataset, split, data_dir):
                id = sample["id"].numpy().decode()
                if id in seen:
                    continue
                seen.add(id)
                sample = sample_in_grid_axes(sample, recipe.image_to_grid)
                reduced = pipeline.reduce_sample(sample, recipe)
                yield {
                    "id": id,
                    "group": sample["group"].numpy().decode(),
                    **{name: sample[name].numpy() for name in builder.point_features()},
                    "affine": sample["affine"].numpy(),
                    "image": reduced.image.numpy()[..., 0],
                    "to_source": reduced.to_source.numpy(),
                    "grid_to_source": reduced.grid_to_source.numpy(),
                    "size": reduced.size.numpy(),
                }

    images, registry = stored_images(builder), set_registry(builder)
    with contextlib.suppress(ValueError):  # another recipe may fit these arrays
        held_out_patients(images.select(ids[recipe.train_split]), recipe, registry)
    folder = ArrayFolder.write(
        path,
        recipe,
        builder.SCHEMA,
        progress.track(
            samples(),
            f"arrays of {recipe.dataset}",
            total=len(set().union(*ids.values())),
            console=console or rich.console.Console(),
        ),
        ids,
        ground_truths=builder.GROUND_TRUTHS,
        spacing_rule=builder.SPACING_RULE,
        spacing_from_points=builder.SPACING_FROM_POINTS,
        version=builder.info.full_name,
        orientation=data.orientation_of(builder),
        images=images,
    )
    DealRegistry([folder.path]).add(registry.deals())
    return folder
