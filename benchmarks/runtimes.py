"""What does a network cost in each runtime and precision, and what does it lose?

    python -m benchmarks.runtimes RUN --split SPLIT [--truth OBSERVER]
        [--data-dir DIR] [--rounds N] [--out FILE.json]

Measured is the part from an image on the grid to points, scores, covariances and radii
(network, peaks and calibration), one image at a time, on all cores: the model of the
run in TensorFlow, and the files that `scn-keras export` writes, float32 and reduced.
The runtimes take turns; of each round the median of its calls counts, and of the rounds
again the median. The error is that of all points of the split, located by each of them,
with its difference to the run's own, paired over patients. Ranges of int8 are measured
on training images, as `scn-keras export` does.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.saved_models.exporting import grid_model, precision
from scn_keras.saved_models.exporting._comparison_images import quantization_images
from scn_keras.training.evaluation.evaluate import (
    locate_images,
    locator_for,
    split_of,
)
from scn_keras.training.evaluation.statistics import error_statistics
from scn_keras.training.run import Run

FILES = (
    ("onnx", "float32"),
    ("onnx", "int8"),
    ("litert", "float32"),
    ("litert", "int8"),
    ("openvino", "float32"),
)
_CALLS = 15
_RESAMPLES = 2000


def models_of(
    run: Run, folder: pathlib.Path, images: Any, data_dir: pathlib.Path | None
) -> dict[str, tuple[Any, Callable[[np.ndarray], Any], float | None]]:
    """Returns of each runtime its model, a function to time and its megabytes."""
    own = run.load_model()
    reduced = precision.in_bfloat16(own)
    models: dict[str, tuple[Any, Callable[[np.ndarray], Any], float | None]] = {
        "TensorFlow, float32": (own, _in_tensorflow(own), None),
        "TensorFlow, bfloat16": (reduced, _in_tensorflow(reduced), None),
    }
    for format, of_file in FILES:
        inside = folder / f"{format}_{of_file}"
        inside.mkdir()
        ranges = list(quantization_images(run, images, data_dir))
        model = grid_model.write_grid_model(run, own, inside, format, of_file, ranges)
        size = sum(path.stat().st_size for path in inside.iterdir()) / 1e6
        models[f"{format}, {of_file}"] = (model, model.run, size)
    return models


def milliseconds(call: Callable[[np.ndarray], Any], image: np.ndarray) -> float:
    """Returns the median time of a call."""
    call(image)
    times = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        call(image)
        times.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(times))


def difference(of: np.ndarray, base: np.ndarray, groups: list[str]) -> list[float]:
    """Returns the difference of mean errors and its 95 % interval over patients."""
    patients, index = np.unique(groups, return_inverse=True)
    sums, counts = (
        np.bincount(index, values)
        for values in (np.nansum(of - base, 1), np.isfinite(of - base).sum(1))
    )
    drawn = np.random.default_rng(0).integers(
        0, len(patients), (_RESAMPLES, len(patients))
    )
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return [float(sums.sum() / counts.sum()), *np.percentile(means, [2.5, 97.5])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--split", required=True)
    parser.add_argument("--truth")
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()

    run = Run(arguments.run)
    images = split_of(run, arguments.split, arguments.data_dir)
    truth = arguments.truth or run.recipe.observer
    image = np.random.default_rng(0).uniform(-1, 1, (1, *run.recipe.grid, 1))
    image = image.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        models = models_of(run, pathlib.Path(folder), images, arguments.data_dir)
        times = np.array(
            [
                [milliseconds(call, image) for _, call, _ in models.values()]
                for _ in range(arguments.rounds)
            ]
        )
        located = {
            name: locate_images(locator_for(run, images, model), images, run.recipe)[0]
            for name, (model, _, _) in models.items()
        }
    rows = []
    base = next(iter(located.values()))
    groups = [one.group for one in base]
    errors = {
        name: np.array([one.distances(truth, "mm") for one in found])
        for name, found in located.items()
    }
    own = next(iter(errors.values()))
    for column, (name, (_, _, megabytes)) in enumerate(models.items()):
        result = error_statistics(errors[name], run.schema.names, groups)
        moved = [
            np.linalg.norm(a.points("mm") - b.points("mm"), axis=-1)
            for a, b in zip(base, located[name], strict=True)
        ]
        row = {
            "runtime": name,
            "milliseconds": float(np.median(times[:, column])),
            "times_the_first": float(np.median(times[:, column] / times[:, 0])),
            "mre_mm": result["mre_mm"],
            "ci95": result["ci95"]["mre_mm"],
            "difference_mm": difference(errors[name], own, groups),
            "moved_mm": float(np.mean(moved)),
            "moved_at_most_mm": float(np.max(moved)),
            "megabytes": megabytes,
        }
        rows.append(row)
        print(
            f"{name}: {row['milliseconds']:.1f} ms, {row['times_the_first']:.2f} times "
            f"the first, {row['mre_mm']:.3f} mm, difference "
            "{:+.4f} ({:+.4f} to {:+.4f})".format(*row["difference_mm"]),
            flush=True,
        )
    if arguments.out:
        protocol = {
            "recipe": run.recipe.name,
            "dataset": run.recipe.dataset,
            "split": arguments.split,
            "observer": truth,
            "n_images": len(base),
            "grid": list(run.recipe.grid),
            "cores": len(os.sched_getaffinity(0)),
            "rounds": arguments.rounds,
        }
        report = {"protocol": protocol, "results": rows}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def _in_tensorflow(model):
    localize = tf.function(lambda image: model.localizer(image, training=False))
    return lambda image: {
        name: value.numpy() for name, value in localize(tf.constant(image)).items()
    }


if __name__ == "__main__":
    main()
