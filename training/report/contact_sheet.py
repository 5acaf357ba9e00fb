"""Samples of a prepared data set on one sheet, as they are and augmented."""

import base64
import dataclasses
import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib import collections, figure, lines
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.datasets import LandmarkBuilder
from scn_keras.geometry import spacing_of
from scn_keras.inference.coarse_to_fine import Placement, shape_of, true_points
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import overlay
from scn_keras.pictures.projections import Projection, projections
from scn_keras.training.input import pipeline
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.recipe import Network, Recipe
from scn_keras.training.recipes import load_recipe, recipe_names

# Cells beside each other: of a volume, one has three panels.
_COLUMNS = {2: 5, 3: 2}
_WIDTH = 13.0  # inches
_TITLE = 0.22
_LINE = 0.14
_NAMES_A_LINE = 6
# The first observer's points are dots, the others' are hollow.
_MARKERS = ("o", "s", "^", "D")
_PAPER, _INK = "#14181C", "#F2F4F5"


class _Cell(NamedTuple):
    """One image as it is drawn: its panels, by observer."""

    title: str
    panels: Sequence[Sequence[Projection]]
    limits: tuple[float, float] | None


def contact_sheet(
    dataset: str,
    split: str | None = None,
    count: int | None = None,
    seed: int = 0,
    augmented: Recipe | None = None,
    data_dir: str | pathlib.Path | None = None,
) -> figure.Figure:
    """Draws samples of a prepared set with their points, links and names.

    Volumes are drawn as their largest values along z, y and x. With a recipe, each
    sample has a row: first on the recipe's grid as it is, then as training sees it.
    All pictures of a sample then share one scale of grey values.

    Args:
        dataset: Str, `NAME` or `NAME/CONFIG`.
        split: Str; `None` for the first that the set has.
        count: Int, how many samples; `None` for 10, or 4 with a recipe.
        seed: Int, which samples are drawn, and how they are augmented.
        augmented: `Recipe` whose grid and augmentation are shown, or `None`.
        data_dir: Where prepared data sets lie.

    Returns:
        A matplotlib `Figure`.

    Raises:
        FileNotFoundError: If the data set has not been prepared there.
        ValueError: If it has no such split, or the recipe is for other images.
    """
    builder = data.prepared_builder(dataset, data_dir)
    split = split or next(iter(builder.info.splits))
    ids = data.sample_ids(dataset, split, data_dir)
    count = min(len(ids), count or (10 if augmented is None else 4))
    chosen = sorted(np.random.default_rng(seed).permutation(len(ids))[:count])
    wanted = [ids[index] for index in chosen]
    samples = data.find_samples(dataset, split, wanted, data_dir)
    title = f"{builder.info.full_name}, {split}: {count} of {len(ids)} samples"
    columns = _COLUMNS[builder.DIMENSIONS]
    if augmented is None:
        names = builder.point_features()
        cells = [_stored(samples[id], id, names) for id in wanted]
    else:
        recipe = _fitting(augmented, builder, seed)
        title += f", augmented as in {recipe.name}"
        placement = None
        if recipe.coarse is not None:
            placement = Placement(recipe, shape_of(samples.values(), recipe))
        cells = [
            cell
            for number, id in enumerate(wanted)
            for cell in _drawn(
                samples[id], id, recipe, builder, number, columns, placement
            )
        ]
        names = (recipe.observer or "points",)
    return _sheet(f"{title}, seed {seed}", cells, columns, builder.SCHEMA, names)


def recipe_for(dataset: str, data_dir: str | pathlib.Path | None = None) -> Recipe:
    """Returns the first recipe that comes for a data set, or one with all defaults.

    Args:
        dataset: Str, `NAME` or `NAME/CONFIG`.
        data_dir: Where prepared data sets lie.
    """
    name, _, _ = dataset.partition("/")
    recipes = [load_recipe(recipe) for recipe in recipe_names()]
    own = {recipe.dataset.partition("/")[0]: recipe for recipe in reversed(recipes)}
    own |= {recipe.dataset: recipe for recipe in reversed(recipes)}
    if known := own.get(dataset, own.get(name)):
        return known
    builder = data.prepared_builder(dataset, data_dir)
    volume = builder.DIMENSIONS == 3
    return Recipe(
        name="the defaults",
        dataset=dataset,
        observer="mean" if builder.OBSERVERS else None,
        grid=(96, 96, 96) if volume else (480, 384),
        network=Network(spatial_factor=8 if volume else 16),
        normalization="percentile",
    )


def write_sheet(sheet: figure.Figure, path: pathlib.Path) -> None:
    """Writes a sheet as PNG, JPEG or, with the picture in it, HTML.

    Raises:
        ValueError: If the file's name ends in neither .png, .jpg nor .html.
    """
    kind = path.suffix.lower()
    if kind == ".png":
        content = overlay.to_png(sheet)
    elif kind in (".jpg", ".jpeg"):
        content = overlay.to_jpeg(sheet)
    elif kind == ".html":
        code = base64.b64encode(overlay.to_jpeg(sheet)).decode()
        title = html.escape(sheet.get_suptitle() or path.stem)
        content = (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{title}</title></head>\n"
            f'<body style="margin:0;background:{_PAPER}"><img alt="{title}" '
            f'style="max-width:100%" src="data:image/jpeg;base64,{code}">'
            f"</body></html>\n"
        ).encode()
    else:
        raise ValueError(
            f"A sheet is written to a .png, .jpg or .html file. Received: {path}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _fitting(recipe: Recipe, builder: LandmarkBuilder, seed: int) -> Recipe:
    """Returns a recipe for this data set, and of this seed."""
    if recipe.augmentation is None:
        raise ValueError(f"The recipe {recipe.name!r} has no augmentation to show.")
    if len(recipe.grid) != builder.DIMENSIONS:
        raise ValueError(
            f"The recipe {recipe.name!r} is for {len(recipe.grid)}D images, those of "
            f"{builder.name!r} are {builder.DIMENSIONS}D."
        )
    if recipe.augmentation.flip and not builder.SCHEMA.pairs:
        raise ValueError(
            f"The recipe {recipe.name!r} mirrors images, but the schema of "
            f"{builder.name!r} names no landmarks that change places then (`pairs`)."
        )
    observer = recipe.observer
    if recipe.dataset.partition("/")[0] != builder.name:
        observer = "mean" if builder.OBSERVERS else None
    return dataclasses.replace(recipe, observer=observer, seed=seed)


def _stored(sample: Mapping[str, Any], id: str, features: Sequence[str]) -> _Cell:
    image, spacing = sample["image"][..., 0], spacing_of(sample["affine"])
    observers = [np.asarray(sample[name], np.float64) for name in features]
    missing = int(np.isnan(observers[0]).any(axis=-1).sum())
    title = f"{id}, {missing} missing" if missing else id
    return _Cell(title, [projections(image, p, spacing) for p in observers], None)


def _drawn(sample, id, recipe, builder, number, columns, placement):
    """The cells of one sample: as it is on the grid, then augmented."""
    keys = [k for k in sample if k in ("image", "affine") or k.startswith("points")]
    stored = {key: tf.constant(sample[key]) for key in keys}
    if placement is not None:
        points = true_points(sample, recipe)
        stored["grid_to_source"] = placement.grid_to_source(points, sample["affine"])
    prepared = pipeline.prepare(stored, recipe)
    plain = dataclasses.replace(recipe, augmentation=None)
    for column in range(columns):
        image, y = pipeline.augment(
            prepared,
            tf.constant(number * columns + column, tf.int64),
            recipe if column else plain,
            builder.SCHEMA.pairs,
        )
        image, points = image.numpy()[..., 0], y["points"].numpy()
        if not column:
            limits = float(image.min()), float(max(image.max(), image.min() + 1e-6))
            # Of the grid, also where an image on it is stretched.
            spacing = spacing_of(y["affine"].numpy())
        title = f"{id}, augmented" if column else id
        yield _Cell(title, [projections(image, points, spacing)], limits)


def _sheet(
    title: str,
    cells: Sequence[_Cell],
    columns: int,
    schema: LandmarkSchema,
    observers: Sequence[str],
) -> figure.Figure:
    rows = [cells[n : n + columns] for n in range(0, len(cells), columns)]
    panels = len(cells[0].panels[0])
    width = _WIDTH / (columns * panels)
    heights = [width * _tallest(row) + _TITLE for row in rows]
    names = -(-len(schema) // _NAMES_A_LINE)
    height = _TITLE + sum(heights) + _LINE * names + 0.1
    drawing = figure.Figure((_WIDTH, height), facecolor=_PAPER)
    FigureCanvasAgg(drawing)
    drawing.suptitle(
        title, color=_INK, fontsize=10, x=0.005, y=1.0 - 0.13 / height, ha="left",
        va="center",
    )  # fmt: skip
    bottom = height - _TITLE
    for row, row_height in zip(rows, heights, strict=True):
        bottom -= row_height
        for column, cell in enumerate(row):
            for number, planes in enumerate(zip(*cell.panels, strict=True)):
                axes = drawing.add_axes(
                    (
                        (column * panels + number) * width / _WIDTH,
                        bottom / height,
                        0.98 * width / _WIDTH,
                        (row_height - _TITLE) / height,
                    )
                )
                _draw(axes, planes, schema, cell.limits)
                if not number:
                    axes.set_title(
                        cell.title, color=_INK, fontsize=8, pad=3, loc="left", x=0.02
                    )
    _number(drawing.axes[0], cells[0].panels[0][0].points, schema)
    _legend(drawing, schema, observers)
    return drawing


def _tallest(row: Sequence[_Cell]) -> float:
    """The height of the tallest panel of a row, relative to its width."""
    planes = [plane for cell in row for plane in cell.panels[0]]
    ratios = [p.plane.shape[0] * p.aspect / p.plane.shape[1] for p in planes]
    return float(np.clip(max(ratios), 0.3, 2.0))


def _draw(
    axes: Axes,
    planes: Sequence[Projection],
    schema: LandmarkSchema,
    limits: tuple[float, float] | None,
) -> None:
    first = planes[0]
    low, high = limits or np.percentile(first.plane[::4, ::4], (0.5, 99.5))
    axes.imshow(
        first.plane,
        cmap="gray",
        vmin=low,
        vmax=max(high, low + 1e-6),
        aspect=first.aspect,
        interpolation="antialiased",
    )
    rows, columns = first.plane.shape
    axes.set_xlim(-0.5, columns - 0.5)
    # Upwards is towards the head, along z in space.
    upwards = first.axes[1] == 2
    axes.set_ylim(*((-0.5, rows - 0.5) if upwards else (rows - 0.5, -0.5)))
    axes.set_anchor("N")
    axes.set_axis_off()
    colors = overlay.landmark_colors(schema)
    axes.add_collection(
        collections.LineCollection(
            [first.points[list(pair)] for pair in schema.links],
            colors="white",
            linewidths=0.6,
            alpha=0.5,
        )
    )
    for observer, plane in enumerate(planes):
        hollow = observer > 0
        axes.scatter(
            plane.points[:, 0],
            plane.points[:, 1],
            s=18 if hollow else 10,
            marker=_MARKERS[observer % len(_MARKERS)],
            facecolors="none" if hollow else colors,
            edgecolors=colors if hollow else "black",
            linewidths=0.8 if hollow else 0.4,
        )


def _number(axes: Axes, points: np.ndarray, schema: LandmarkSchema) -> None:
    """Writes the numbers of the legend to the landmarks of one picture."""
    colors = overlay.landmark_colors(schema)
    for number, (point, color) in enumerate(zip(points, colors, strict=True)):
        if not np.isnan(point).any():
            axes.annotate(
                str(number),
                point,
                (3, 2),
                textcoords="offset points",
                color=color,
                fontsize=6,
                annotation_clip=True,
            )


def _legend(
    drawing: figure.Figure, schema: LandmarkSchema, observers: Sequence[str]
) -> None:
    colors = overlay.landmark_colors(schema)
    handles = [
        lines.Line2D(
            [], [], marker="o", ls="none", color=color, ms=4, label=f"{n}: {name}"
        )
        for n, (name, color) in enumerate(zip(schema.names, colors, strict=True))
    ]
    options = {
        "frameon": False,
        "labelcolor": _INK,
        "fontsize": 7.5,
        "handletextpad": 0.1,
        "borderpad": 0.2,
        "labelspacing": 0.25,
    }
    if len(observers) > 1:
        marks = [
            lines.Line2D(
                [],
                [],
                marker=_MARKERS[n % len(_MARKERS)],
                ls="none",
                color=_INK,
                fillstyle="none" if n else "full",
                ms=4,
                label=name.removeprefix("points_"),
            )
            for n, name in enumerate(observers)
        ]
        drawing.legend(handles=marks, loc="upper right", ncols=len(marks), **options)
    drawing.legend(handles=handles, loc="lower left", ncols=_NAMES_A_LINE, **options)
