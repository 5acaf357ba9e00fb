"""Contact sheets: samples of a prepared data set on one page."""

import base64
import dataclasses
import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib import figure

from scn_keras.datasets import LandmarkBuilder
from scn_keras.files.atomic_write import write_bytes
from scn_keras.geometry import spacing_of
from scn_keras.inference.coarse_to_fine import CoarseToFine
from scn_keras.inference.image_to_grid import ImageToGrid
from scn_keras.pictures import project_to_planes, to_jpeg, to_png
from scn_keras.pictures.style import PAPER
from scn_keras.training.input import pipeline
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input.placed_samples import mean_shape_of, true_points
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network
from scn_keras.training.recipes import load_recipe, recipe_names
from scn_keras.training.report.sheet_figure import Cell, draw_sheet

# The number of cells in a row, by the dimensions of the images.
_COLUMNS = {2: 5, 3: 2}


def contact_sheet(
    dataset: str,
    split: str | None = None,
    count: int | None = None,
    seed: int = 0,
    augmented: Recipe | None = None,
    data_dir: str | pathlib.Path | None = None,
) -> figure.Figure:
    """Draws samples of a prepared data set with their landmarks.

    Volumes are drawn as maximum projections along z, y and x. With a recipe, each row
    shows one sample: first resampled to the grid of the recipe, then with random
    augmentation as in training. The pictures of a row have the same scale of grey
    values.

    Args:
        dataset: Str, `NAME` or `NAME/CONFIG`.
        split: Str, the split; `None` for the first of the data set.
        count: Int, the number of samples; `None` for 10, or 4 with a recipe.
        seed: Int, the seed of the selection of samples and of the augmentation.
        augmented: `Recipe` whose grid and augmentation are shown, or `None` for the
            stored images.
        data_dir: Str or path, the folder of prepared data sets; `None` for the
            default of TensorFlow Datasets.

    Returns:
        A matplotlib `Figure`.

    Raises:
        FileNotFoundError: If the data set has not been prepared in the folder.
        ValueError: If the data set has no such split, or the recipe does not fit it.

    Example:

    ```python
    sheet = contact_sheet("synthetic_hand", split="test")
    write_sheet(sheet, pathlib.Path("hands.html"))
    ```
    """
    builder = data.prepared_builder(dataset, data_dir)
    split = split or next(iter(builder.info.splits))
    ids = data.sample_ids(dataset, split, data_dir)
    count = min(len(ids), count or (10 if augmented is None else 4))
    chosen = sorted(np.random.default_rng(seed).permutation(len(ids))[:count])
    chosen_ids = [ids[index] for index in chosen]
    samples = data.find_samples(dataset, split, chosen_ids, data_dir)
    title = f"{builder.info.full_name}, {split}: {count} of {len(ids)} samples"
    columns = _COLUMNS[builder.DIMENSIONS]
    if augmented is None:
        observers = builder.point_features()
        cells = [_stored_cell(samples[id], id, observers) for id in chosen_ids]
    else:
        recipe = _fit_to_dataset(augmented, builder, seed)
        title += f", augmented as in {recipe.name}"
        observers = (recipe.observer or "points",)
        cells = _augmented_cells(
            samples, chosen_ids, recipe, builder.SCHEMA.pairs, columns
        )
    return draw_sheet(
        f"{title}, seed {seed}", cells, columns, builder.SCHEMA, observers
    )


def recipe_for(dataset: str, data_dir: str | pathlib.Path | None = None) -> Recipe:
    """Returns the first recipe of a network for a data set, or a default one.

    Args:
        dataset: Str, `NAME` or `NAME/CONFIG`.
        data_dir: Str or path, the folder of prepared data sets; `None` for the
            default of TensorFlow Datasets.

    Returns:
        A `Recipe`.
    """
    name, _, _ = dataset.partition("/")
    loaded = map(load_recipe, recipe_names())
    recipes = [recipe for recipe in loaded if recipe.uses_network]
    by_name = {recipe.dataset.partition("/")[0]: recipe for recipe in reversed(recipes)}
    by_name |= {recipe.dataset: recipe for recipe in reversed(recipes)}
    if matching := by_name.get(dataset, by_name.get(name)):
        return matching
    builder = data.prepared_builder(dataset, data_dir)
    volume = builder.DIMENSIONS == 3
    return Recipe(
        name="the defaults",
        dataset=dataset,
        observer="mean" if builder.OBSERVERS else None,
        image_to_grid=ImageToGrid(
            (96, 96, 96) if volume else (480, 384), normalization="percentile"
        ),
        network=Network(spatial_factor=8 if volume else 16),
    )


def write_sheet(sheet: figure.Figure, path: pathlib.Path) -> None:
    """Writes a sheet as a PNG or JPEG file, or as an HTML page that contains it.

    Args:
        sheet: Matplotlib `Figure`.
        path: Path of the file, whose suffix determines the format.

    Raises:
        ValueError: If the suffix is not .png, .jpg, .jpeg or .html.
    """
    kind = path.suffix.lower()
    if kind == ".png":
        content = to_png(sheet)
    elif kind in (".jpg", ".jpeg"):
        content = to_jpeg(sheet)
    elif kind == ".html":
        code = base64.b64encode(to_jpeg(sheet)).decode()
        title = html.escape(sheet.get_suptitle().replace("\\$", "$") or path.stem)
        content = (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{title}</title></head>\n"
            f'<body style="margin:0;background:{PAPER}"><img alt="{title}" '
            f'style="max-width:100%" src="data:image/jpeg;base64,{code}">'
            f"</body></html>\n"
        ).encode()
    else:
        raise ValueError(
            f"The file of a sheet must end in .png, .jpg or .html. Received: {path}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)


def _fit_to_dataset(recipe: Recipe, builder: LandmarkBuilder, seed: int) -> Recipe:
    """Returns the recipe with an observer of the data set and the given seed."""
    if recipe.augmentation is None:
        raise ValueError(f"The recipe {recipe.name!r} has no augmentation to draw.")
    if len(recipe.grid) != builder.DIMENSIONS:
        raise ValueError(
            f"The recipe {recipe.name!r} is for {len(recipe.grid)}D images, but the "
            f"images of {builder.name!r} are {builder.DIMENSIONS}D."
        )
    if recipe.augmentation.flip and not builder.SCHEMA.pairs:
        raise ValueError(
            f"The recipe {recipe.name!r} mirrors images, but the schema of "
            f"{builder.name!r} has no `pairs` of landmarks exchanged by mirroring."
        )
    observer = recipe.observer
    if recipe.dataset.partition("/")[0] != builder.name:
        observer = "mean" if builder.OBSERVERS else None
    return dataclasses.replace(recipe, observer=observer, seed=seed)


def _stored_cell(sample: Mapping[str, Any], id: str, features: Sequence[str]) -> Cell:
    image, spacing = sample["image"][..., 0], spacing_of(sample["affine"])
    observers = [np.asarray(sample[name], np.float64) for name in features]
    missing = int(np.isnan(observers[0]).any(axis=-1).sum())
    title = f"{id}, {missing} missing" if missing else id
    panels = [project_to_planes(image, points, spacing) for points in observers]
    return Cell(title, panels, None)


def _augmented_cells(
    samples: Mapping[str, Mapping[str, Any]],
    ids: Sequence[str],
    recipe: Recipe,
    pairs: Sequence[tuple[int, int]],
    columns: int,
) -> list[Cell]:
    """Returns a row of cells for each sample, the first without augmentation."""
    coarse_to_fine = None
    if recipe.coarse is not None:
        shape = mean_shape_of(samples.values(), recipe, pairs)
        coarse_to_fine = CoarseToFine(recipe.image_to_grid, shape)
    plain = dataclasses.replace(recipe, augmentation=None)
    cells = []
    for number, id in enumerate(ids):
        prepared = _prepare(samples[id], recipe, coarse_to_fine)
        for column in range(columns):
            image, y = pipeline.augment(
                prepared,
                tf.constant(number * columns + column, tf.int64),
                recipe if column else plain,
                pairs,
            )
            image, points = image.numpy()[..., 0], y["points"].numpy()
            if not column:
                limits = float(image.min()), float(max(image.max(), image.min() + 1e-6))
                # The spacing of the grid without augmentation, for all columns.
                spacing = spacing_of(y["affine"].numpy())
            title = f"{id}, augmented" if column else id
            panels = [project_to_planes(image, points, spacing)]
            cells.append(Cell(title, panels, limits))
    return cells


def _prepare(
    sample: Mapping[str, Any], recipe: Recipe, coarse_to_fine: CoarseToFine | None
) -> Any:
    keys = [k for k in sample if k in ("image", "affine") or k.startswith("points")]
    stored = {key: tf.constant(sample[key]) for key in keys}
    if coarse_to_fine is not None:
        points = true_points(sample, recipe)
        stored["grid_to_source"] = coarse_to_fine.grid_to_source(
            points, sample["affine"]
        )
    return pipeline.prepare(stored, recipe)
