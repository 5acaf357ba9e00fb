"""Adaptation to another observer from few images: errors, coverage, radii.

    python -m benchmarks.adaptation RUN --observer junior --data-dir DIR
        [--sizes 3 5 10 20] [--draws 10] [--split test1] [--out FILE.json]

RUN is calibrated, and trained on one observer of its data set. For each size and draw,
that many images of its training split are drawn at random, the offsets and radii of
`scn-keras adapt` are computed from the points of `--observer` on them, and errors,
coverage and radii are measured on the split and its subsets, against the same observer.
All images are located once. Nothing is chosen on the images that are measured.

Printed and written: means over draws, with minimum and maximum.
"""

import argparse
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import rich.console
from keras import ops

from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.geometry import apply_affine
from scn_keras.inference.calibration import Calibration
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.training.adaptation.labelled_images import LabelledImages
from scn_keras.training.adaptation.offset_model import fit_offsets
from scn_keras.training.adaptation.recalibration import recalibrated
from scn_keras.training.evaluation.evaluate import split_of
from scn_keras.training.evaluation.located_on_grid import located_on_grid
from scn_keras.training.run import Run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--observer", required=True)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--split")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 5, 10, 20])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    run = Run(arguments.run)
    calibration = run.calibration
    if calibration is None:
        parser.error(f"{run.path} is not calibrated: scn-keras calibrate {run.path}")
    train, _ = located(run, arguments, run.recipe.train_split)
    test, scopes = located(run, arguments, arguments.split)
    before = {
        name: measured(test, rows, test.points, calibration, calibration)
        for name, rows in scopes.items()
    }
    result: dict[str, Any] = {
        "run": run.recipe.name,
        "trained_on": run.recipe.observer,
        "observer": arguments.observer,
        "draws": arguments.draws,
        "seed": arguments.seed,
        "before": before,
        "adapted": {},
    }
    show("before", {name: {k: [v] for k, v in b.items()} for name, b in before.items()})
    random = np.random.default_rng(arguments.seed)
    for size in arguments.sizes:
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in scopes}
        for _ in range(arguments.draws):
            drawn = np.zeros(len(train.ids), bool)
            drawn[random.choice(len(train.ids), size, replace=False)] = True
            chosen = numbered(train.select(drawn))
            fitted = fit_offsets(chosen, calibration)
            new = recalibrated(
                calibration, chosen.images, fitted.after, chosen.seen, "", {}
            )
            images = test.images
            moved = fitted.offsets.apply(
                images.points, images.score, images.grid_to_space
            )
            points = apply_affine(images.grid_to_space, moved)
            for name, selected in scopes.items():
                rows[name].append(measured(test, selected, points, new, calibration))
        summary = {
            name: {key: [row[key] for row in each] for key in each[0]}
            for name, each in rows.items()
        }
        result["adapted"][str(size)] = show(f"{size} images", summary)
        if arguments.out is not None:
            arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def located(
    run: Run, arguments: argparse.Namespace, split: str | None
) -> tuple[LabelledImages, dict[str, np.ndarray]]:
    """Returns the located images of a split, and rows of its subsets by name."""
    images = split_of(run, split, arguments.data_dir)
    recipe = dataclasses.replace(run.recipe, observer=arguments.observer)
    locator = run.locator(calibration=None)
    locator.offsets = None
    console = rich.console.Console(stderr=True)
    found = [*located_on_grid(recipe, locator, [images], console)]
    ids = tuple(image["id"] for image in found)
    used = run.used_images
    seen = {*used.trained.ids} if used and images.name == run.recipe.train_split else {}
    labelled = LabelledImages(
        ids,
        np.array([image["group"] for image in found]),
        HeldOutImages.stack(found, fold=np.arange(len(ids))),
        "mm",
        np.array([id in seen for id in ids]),
        ImageTable(),
        images.dataset,
    )
    scopes = {
        name: np.array([chosen is None or id in chosen for id in ids])
        for name, chosen in images.scopes()
    }
    return labelled, scopes


def numbered(labelled: LabelledImages) -> LabelledImages:
    """Returns the images with patients counted from 0."""
    _, patients = np.unique(labelled.groups, return_inverse=True)
    images = dataclasses.replace(labelled.images, fold=patients)
    return dataclasses.replace(labelled, images=images)


def measured(
    test: LabelledImages,
    rows: np.ndarray,
    points: np.ndarray,
    calibration: Calibration,
    before: Calibration,
) -> dict[str, float]:
    """Returns mean error, coverage, radii and trust on some of the images."""
    images = test.select(rows).images
    error = np.linalg.norm(test.truth - points, axis=-1)[rows]
    radius, radius_before = (
        ops.convert_to_numpy(
            each.radius(images.score, images.covariance, images.grid_to_space)
        )
        for each in (calibration, before)
    )
    trusted = ops.convert_to_numpy(calibration.trusted(images.points, images.score))
    return {
        "mre_mm": float(error.mean()),
        "coverage": 100.0 * float((error <= radius).mean()),
        "median_radius_mm": float(np.median(radius)),
        "radius_ratio": float(np.median(radius) / np.median(radius_before)),
        "trusted": 100.0 * float(trusted.mean()),
    }


def show(label: str, summary: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Prints and returns mean, minimum and maximum over draws."""
    rounded = {}
    for name, rows in summary.items():
        rounded[name] = {
            key: [round(float(f(values)), 3) for f in (np.mean, min, max)]
            for key, values in rows.items()
        }
        texts = (
            f"{key} {mean:.3f} ({low:.3f} to {high:.3f})"
            for key, (mean, low, high) in rounded[name].items()
        )
        print(f"{label:>10}, {name}: {', '.join(texts)}", flush=True)
    return rounded


if __name__ == "__main__":
    main()
