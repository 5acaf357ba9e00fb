"""Pictures of single images in a report, with points or with heatmaps."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from rich import progress

from scn_keras.array_api import NUMPY
from scn_keras.geometry import apply_affine, has_usable_spacing, invert_affine
from scn_keras.inference.locator import Locator
from scn_keras.pictures import (
    OverlayOptions,
    draw_heatmaps,
    draw_overlay,
    draw_slices,
    inner_heatmaps,
    to_jpeg,
)
from scn_keras.training.evaluation.statistics import HEADLINE_RADIUS
from scn_keras.training.report.fragments import picture, remark
from scn_keras.training.report.reported_split import ReportedSplit

_SLICED = 2  # landmarks of a volume with slices
_ABOUT_HEATMAPS = (
    "In heatmaps of a single landmark, positive values are orange and negative values "
    "are blue. Rings are true points, dots are predicted points."
)
_ABOUT_FACTORS = (
    "Local appearance responds at all positions that look like the landmark, spatial "
    "configuration at positions that are plausible given the other landmarks. Their "
    f"product is the output of the network. {_ABOUT_HEATMAPS} The product of two "
    "negative values is positive."
)


def overlay_pictures(
    reported: ReportedSplit,
    ids: Iterable[str],
    samples: Mapping[str, Mapping[str, Any]],
    true_points: Mapping[str, np.ndarray],
) -> Iterator[str]:
    """Yields pictures of images with predicted and true points.

    Of a volume, the slices through the two points with the largest errors are shown.

    Args:
        reported: `ReportedSplit`.
        ids: Iterable of str, the images.
        samples: Dict of the stored samples by image.
        true_points: Dict of arrays `(N, D)` by image, in pixels of the image.
    """
    unit = reported.unit
    for id in progress.track(ids, "draw images"):
        error = reported.mean_errors[id]
        image, affine = samples[id]["image"], samples[id]["affine"]
        predicted = reported.points[id]["points_px"]
        title = f"{id}: mean error {error:.2f} {unit}"
        radii = reported.points[id]["radius90"]
        radii = radii if np.isfinite(radii).any() else None
        mean = f"{error:.2f} {unit} on average"
        alt = f"Image {id} with predicted and true points, {mean}"
        if predicted.shape[-1] == 3:
            errors = reported.points[id]["errors"][reported.truth]
            drawing = draw_slices(
                np.asarray(image)[..., 0],
                reported.run.schema,
                predicted,
                affine if has_usable_spacing(affine, NUMPY) else None,
                radii,
                title,
                chosen=_farthest(errors),
                true=true_points[id],
            )
            content = picture(to_jpeg(drawing, drawing.dpi), "jpeg", alt)
            yield f'<div class="wide">{content}</div>'
            continue
        drawing = draw_overlay(
            image,
            reported.run.schema,
            predicted,
            true_points[id],
            affine,
            radii,
            OverlayOptions(
                title=title, radius=HEADLINE_RADIUS[unit], margin=0.15, unit=unit
            ),
        )
        yield picture(to_jpeg(drawing), "jpeg", alt)


def _farthest(errors: np.ndarray) -> list[int]:
    """Returns the landmarks with the largest errors, in descending order."""
    order = np.argsort(-np.nan_to_num(errors, nan=-1.0), kind="stable")
    return [int(n) for n in order[:_SLICED] if not np.isnan(errors[n])]


def heatmap_pictures(
    reported: ReportedSplit,
    samples: Mapping[str, Mapping[str, Any]],
    true_points: Mapping[str, np.ndarray],
    locator: Locator | None = None,
) -> Iterator[str]:
    """Yields heatmaps of a typical image and of the point with the largest error.

    Args:
        reported: `ReportedSplit`.
        samples: Dict of the stored samples by image.
        true_points: Dict of arrays `(N, D)` by image, in pixels of the image.
        locator: `Locator` of the run, whose model is loaded; `None` to load it.
    """
    run = reported.run
    if not run.recipe.uses_network:
        yield remark("The model of this run does not predict heatmaps.")
        return
    if locator is None and not run.model_path.is_file():
        yield remark(
            "Not shown, because each part of the cross-validation has its own model."
        )
        return
    locator = locator or run.locator(calibration=None)
    model: Any = locator.model
    typical, farthest = reported.typical_image, reported.farthest_points[0]
    figures = (
        (typical, None, f"{typical}, the image with the median error: all landmarks."),
        (
            farthest.image,
            farthest.landmark,
            f"{farthest.image}, the point with the largest error: "
            f"{run.schema.names[farthest.landmark]}, {farthest.distance:.1f} "
            f"{reported.unit}.",
        ),
    )
    for number, (id, landmark, caption) in enumerate(figures):
        image = {name: samples[id][name] for name in ("image", "affine")}
        (outputs,) = locator.locate(tf.data.Dataset.from_tensors(image))
        heatmaps = inner_heatmaps(model, outputs["grid_image"])
        has_factors = len(heatmaps) > 1
        if number == 0:
            yield remark(_ABOUT_FACTORS if has_factors else _ABOUT_HEATMAPS)
        to_grid = invert_affine(outputs["grid_to_source"])
        drawing = draw_heatmaps(
            outputs["grid_image"],
            heatmaps,
            run.schema,
            landmark,
            apply_affine(to_grid, outputs["points_px"]),
            apply_affine(to_grid, true_points[id]),
        )
        kind = "wide" if has_factors else "pictures"
        content = picture(to_jpeg(drawing), "jpeg", caption, caption)
        yield f'<div class="{kind}">{content}</div>'
