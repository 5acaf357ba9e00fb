"""Landmarks that leave the image: mask them, or ask for an empty heatmap?

    python -m benchmarks.missing_landmarks --data-dir DIR [--out FILE.json]

Random crops of prepared cephalograms, so that landmarks leave the image. Two small
SpatialConfiguration-Nets learn from the same crops with the same seed; in one, missing
landmarks have no part in the loss (`missing="mask"`), in the other their heatmaps are
trained to be empty (`"zero"`, the reference's convention). A landmark counts as there
if its score reaches a threshold that crops of validation images choose (the best F1);
crops of Test1 say how well that works, and how far the points of present landmarks are
off. What is in FILE.json already is not trained again. Eleven minutes each on one core
that had other work as well.
"""

import argparse
import json
import pathlib
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scn_keras.geometry import apply_affine
from scn_keras.layers import GaussianHeatmap
from scn_keras.losses import HeatmapSquaredError
from scn_keras.metrics import PointError, on_arrays
from scn_keras.models import LandmarkModel, SpatialConfigurationNet
from scn_keras.training.evaluation.statistics import error_statistics
from scn_keras.training.input import pipeline
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input.stored_source import training_samples
from scn_keras.training.recipes import load_recipe

GRID = (160, 128)  # of a whole radiograph: 1.5 mm a pixel
CROP = (96, 80)
CROPS = 4  # of each validation and test image

Arrays = dict[str, np.ndarray]


def load(samples: tf.data.Dataset, recipe: Any) -> Arrays:
    """Reads whole radiographs on the grid into memory."""
    batches = list(pipeline.evaluation_batches(samples, recipe, 8))
    parts = {
        "image": [image for image, _ in batches],
        "points": [y["points"] for _, y in batches],
        "affine": [y["affine"] for _, y in batches],
    }
    return {
        name: np.concatenate([np.asarray(batch) for batch in part])
        for name, part in parts.items()
    }


def crop(whole: Arrays, rows: np.ndarray, random: np.random.Generator) -> Arrays:
    """Cuts a random window out of each of the given radiographs."""
    last = np.subtract(GRID, CROP)
    corners = random.integers(0, last + 1, (len(rows), 2))
    image = np.stack(
        [
            whole["image"][row, y : y + CROP[0], x : x + CROP[1]]
            for row, (y, x) in zip(rows, corners, strict=True)
        ]
    )
    shift = corners[:, None, ::-1].astype("float32")
    points = whole["points"][rows] - shift
    edge = np.array(CROP[::-1]) - 0.5
    inside = np.all((points >= -0.5) & (points <= edge), axis=-1, keepdims=True)
    affine = whole["affine"][rows].copy()
    affine[:, :2, 2] = apply_affine(affine, shift)[:, 0]
    return {
        "image": image,
        "points": np.where(inside, points, np.nan).astype("float32"),
        "affine": affine,
    }


class Crops(keras.utils.PyDataset):
    """Batches of crops with random brightness and contrast, anew in every step."""

    def __init__(self, whole: Arrays, batch_size: int, steps: int, seed: int) -> None:
        super().__init__()
        self.whole = whole
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, Arrays]:
        random = np.random.default_rng((self.seed, step))
        rows = random.integers(0, len(self.whole["image"]), self.batch_size)
        batch = crop(self.whole, rows, random)
        gain, shift = random.uniform(-0.25, 0.25, (2, self.batch_size, 1, 1, 1))
        image = ((batch.pop("image") + shift) * (1.0 + gain)).astype("float32")
        return image, batch


def make_model(missing: str, landmarks: int, filters: int, steps: int) -> LandmarkModel:
    network = SpatialConfigurationNet(
        landmarks,
        (*CROP, 1),
        filters=filters,
        dropout=0.3,
        spatial_kernel_size=7,
        spatial_factor=8,
    )
    target = GaussianHeatmap(landmarks, 2.5, gamma=100.0, learnable=True)
    model = LandmarkModel(network, target, sigma_penalty=20.0, missing=missing)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=1e-3, warmup_steps=steps // 50
    )
    model.compile(
        keras.optimizers.Adam(rate),
        HeatmapSquaredError("sum"),
        metrics=[PointError()],
        jit_compile=False,
    )
    return model


def best_threshold(score: np.ndarray, present: np.ndarray) -> float:
    """Returns the threshold with the best F1 of presence."""
    order = np.argsort(-score, axis=None)
    hits = np.cumsum(present.ravel()[order])
    said = np.arange(1, hits.size + 1)
    f1 = 2.0 * hits / (said + present.sum())
    return float(score.ravel()[order][np.argmax(f1)])


def locate(model: LandmarkModel, crops: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Returns points in mm and scores."""
    peaks = model.localizer.predict(crops["image"], batch_size=8, verbose=0)
    return apply_affine(crops["affine"], peaks["points"]), peaks["score"]


def measure(model: LandmarkModel, validation: Arrays, test: Arrays) -> dict[str, Any]:
    there = ~np.isnan(validation["points"]).any(axis=-1)
    threshold = best_threshold(locate(model, validation)[1], there)

    true = apply_affine(test["affine"], test["points"])
    found, score = locate(model, test)
    said = np.where((score >= threshold)[..., None], found, np.nan)
    there = ~np.isnan(true).any(axis=-1)
    names = [str(i) for i in range(true.shape[1])]
    images = [str(row // CROPS) for row in range(len(true))]
    result = {
        "threshold": threshold,
        "presence_precision": float(on_arrays.presence_precision(true, said)),
        "presence_recall": float(on_arrays.presence_recall(true, said)),
        "absent_recognised": float((score < threshold)[~there].mean()),
        # How often a landmark that is there scores more than one that is not.
        "area_under_curve": float(
            np.mean(score[there][:, None] > score[~there][None, :])
        ),
    }
    for name, points in (("present", found), ("present and said to be", said)):
        numbers = error_statistics(
            on_arrays.point_distances(true, points), names, images
        )
        result[name] = {
            key: numbers[key]
            for key in ("n_points", "mre_mm", "sd_mm", "median_mm", "sdr_percent")
        }
        result[name]["mre_ci95"] = numbers["ci95"]["mre_mm"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--filters", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    recipe = load_recipe("cephalogram_fast").override(
        [
            "observer=mean",
            "validation=0.2",
            f"image_to_grid.grid={GRID}",
            "network.spatial_factor=8",
            "optimizer.learning_rate=4e-4",
            "optimizer.clip_norm=None",
        ]
    )
    splits = training_samples(recipe, arguments.data_dir)
    training, held_out = (load(samples, recipe) for samples in splits)
    tested = load(
        data.load_samples(recipe.dataset, "test1_unique", arguments.data_dir), recipe
    )
    random = np.random.default_rng(arguments.seed)
    validation, test = (
        crop(whole, np.repeat(np.arange(len(whole["image"])), CROPS), random)
        for whole in (held_out, tested)
    )
    settings = {
        "dataset": recipe.dataset,
        "observer": recipe.observer,
        "images": [len(part["image"]) for part in (training, held_out, tested)],
        "test": "test1_unique",
        "grid": list(GRID),
        "crop": list(CROP),
        "crops_of_an_image": CROPS,
        "missing_in_test_percent": 100.0
        * float(np.isnan(test["points"][..., 0]).mean()),
        "filters": arguments.filters,
        "steps": arguments.steps,
        "batch": arguments.batch,
        "seed": arguments.seed,
    }
    report: dict[str, Any] = {"settings": settings, "results": {}}
    if arguments.out and arguments.out.is_file():
        before = json.loads(arguments.out.read_text())
        if before["settings"] == settings:
            report = before
    for missing in ("mask", "zero"):
        if missing not in report["results"]:
            keras.utils.set_random_seed(arguments.seed)
            landmarks = training["points"].shape[1]
            model = make_model(missing, landmarks, arguments.filters, arguments.steps)
            started = time.monotonic()
            crops = Crops(training, arguments.batch, arguments.steps, arguments.seed)
            model.fit(crops, shuffle=False, verbose=2)
            seconds = time.monotonic() - started
            result = {"training_seconds": round(seconds)}
            report["results"][missing] = result | measure(model, validation, test)
            if arguments.out:
                arguments.out.write_text(json.dumps(report, indent=2) + "\n")
        print(missing, json.dumps(report["results"][missing], indent=2), flush=True)


if __name__ == "__main__":
    main()
