"""How far off is each decoder, and what does it cost?

    python -m benchmarks.decoders [--out benchmarks/results/decoders.json]

Gaussians of height 1 are planted at random places between pixels and read by every
method of `HeatmapPeak`: away from the border, at most 1.5 px from one, under noise that
is normal and alike on all pixels (its standard deviation in parts of the peak), and
beside a second peak of 0.6 of the height, three sigmas away. Then all are timed in
turn (A B C A B C …) on heatmaps (4, 512, 512, 37); the ratio to argmax is the median
over the rounds, since the machine may do other work.

    python -m benchmarks.decoders --run RUN --data-dir DIR

adds the point error, in mm, of the heatmaps that a run makes of its own validation
images: those that its training held out, never a test set.
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
from scn_keras.layers import GaussianHeatmap, HeatmapPeak

SIZE = (48, 48)
SIGMAS = (1.0, 1.5, 2.0, 3.0, 5.0)
NOISES = (0.0, 0.02, 0.1)
DECODERS: dict[str, dict[str, Any]] = {
    "argmax": {"method": "argmax"},
    "parabola": {"method": "parabola"},
    "log_parabola": {"method": "log_parabola"},
    "dark": {"method": "dark"},
    "dark, smoothing 1": {"method": "dark", "smoothing": 1.0},
    "centroid, window 7": {"method": "centroid", "window": 7},
    "centroid, window 15": {"method": "centroid", "window": 15},
    "soft_argmax": {"method": "soft_argmax"},
    "gaussian_fit, window 5": {"method": "gaussian_fit", "window": 5},
    "gaussian_fit, window 7": {"method": "gaussian_fit", "window": 7},
    "gaussian_fit, window 9": {"method": "gaussian_fit", "window": 9},
    "gaussian_fit, window 13": {"method": "gaussian_fit", "window": 13},
}
SEVERAL = {"gaussian_fit, 3 peaks": {"num_peaks": 3}}


def plant(sigma: float, where: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Heatmaps `(count, *SIZE, 1)` and their points `(count, 1, 2)`."""
    random = np.random.default_rng(0)
    points = random.uniform(16.0, 31.0, (count, 1, 2)).astype("float32")
    if where == "border":
        points[..., 0] = random.uniform(-0.5, 1.5, (count, 1))
    target = GaussianHeatmap(1, sigma=sigma, size=SIZE)
    heatmaps = target(points).numpy()
    if where == "neighbour":
        angle = random.uniform(0.0, 2.0 * np.pi, (count, 1))
        aside = 3.0 * sigma * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        second = target((points + aside).astype("float32"))
        heatmaps = np.maximum(heatmaps, 0.6 * second.numpy())
    return heatmaps, points


def accuracy(count: int) -> dict[str, Any]:
    """Mean and largest error in px, by decoder, situation, noise and sigma."""
    peaks = {name: HeatmapPeak(**options) for name, options in DECODERS.items()}
    situations = [(where, noise) for where in ("inside", "border") for noise in NOISES]
    situations.append(("neighbour", 0.0))
    errors: dict[str, Any] = {name: [] for name in peaks}
    for where, noise in situations:
        for sigma in SIGMAS:
            heatmaps, points = plant(sigma, where, count)
            random = np.random.default_rng(1)
            heatmaps = heatmaps + noise * random.normal(size=heatmaps.shape)
            heatmaps = heatmaps.astype("float32")
            for name, peak in peaks.items():
                found = peak(heatmaps)["points"].numpy()
                distances = np.linalg.norm(found - points, axis=-1)
                errors[name].append(
                    {
                        "where": where,
                        "noise": noise,
                        "sigma": sigma,
                        "mean_px": round(float(distances.mean()), 5),
                        "max_px": round(float(distances.max()), 5),
                    }
                )
    return errors


def seconds(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds for (4, 512, 512, 37), and as a ratio to argmax."""
    random = np.random.default_rng(0)
    points = random.uniform(0.0, 511.0, (4, 37, 2)).astype("float32")
    heatmaps = GaussianHeatmap(37, sigma=3.0, size=(512, 512))(points)

    def compiled(options):
        peak = HeatmapPeak(**options)
        function = tf.function(lambda values: peak(values), autograph=False)
        for _ in range(2):
            function(heatmaps)
        return function

    functions = {name: compiled(o) for name, o in (DECODERS | SEVERAL).items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function(heatmaps)["points"].numpy()
            times[name].append(time.perf_counter() - started)
    base = np.array(times["argmax"])
    return {
        name: {
            "milliseconds": round(1e3 * float(np.median(values)), 1),
            "fastest_milliseconds": round(1e3 * min(values), 1),
            "ratio_to_argmax": round(float(np.median(np.array(values) / base)), 2),
        }
        for name, values in times.items()
    }


def on_validation_images(
    path: pathlib.Path, data_dir: pathlib.Path | None
) -> dict[str, Any]:
    """Point error in mm of one run's heatmaps of its validation images."""
    from scn_keras.training.input import pipeline
    from scn_keras.training.input.stored_source import training_samples
    from scn_keras.training.run import Run

    run = Run(path)
    _, samples = training_samples(run.recipe, data_dir)
    if samples is None:
        raise SystemExit(f"{path} held no validation images out of its training.")
    network = run.load_model().network
    peaks = {name: HeatmapPeak(**options) for name, options in DECODERS.items()}
    distances: dict[str, list[np.ndarray]] = {name: [] for name in peaks}
    for image, y in pipeline.evaluation_batches(samples, run.recipe, 1):
        heatmaps = network.predict_on_batch(image)
        affine = y["affine"].numpy().astype("float64")
        true = apply_affine(affine, y["points"].numpy().astype("float64"))
        for name, peak in peaks.items():
            found = apply_affine(affine, peak(heatmaps)["points"].numpy())
            distances[name].append(np.linalg.norm(found - true, axis=-1)[0])
    base = np.array(distances["log_parabola"])
    results = {}
    for name, values in distances.items():
        errors = np.array(values)
        # Images, not points, are independent of each other.
        difference = np.nanmean(errors - base, axis=1)
        results[name] = {
            "mean_mm": round(float(np.nanmean(errors)), 4),
            "median_mm": round(float(np.nanmedian(errors)), 4),
            "below_2_mm_percent": round(100.0 * float(np.nanmean(errors < 2.0)), 2),
            "minus_log_parabola_mm": round(float(difference.mean()), 4),
            "standard_error_mm": round(
                float(difference.std(ddof=1) / np.sqrt(len(difference))), 4
            ),
        }
    return {
        "protocol": {
            "recipe": run.recipe.name,
            "dataset": run.recipe.dataset,
            "images": f"the {len(base)} validation images of the training split",
            "truth": run.recipe.observer,
            "grid": list(run.recipe.grid),
            "steps": run.recipe.steps,
            "seed": run.recipe.seed,
        },
        "decoders": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=300, help="heatmaps a cell")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--run", type=pathlib.Path)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/decoders.json"
    )
    arguments = parser.parse_args()
    known = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    if arguments.run:
        known["validation"] = on_validation_images(arguments.run, arguments.data_dir)
        print_validation(known["validation"])
    else:
        known["accuracy"] = accuracy(arguments.count)
        print_accuracy(known["accuracy"])
        known["speed"] = {
            "heatmaps": [4, 512, 512, 37],
            "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
            "jit_compile": False,
            "decoders": seconds(arguments.rounds),
        }
        print_speed(known["speed"]["decoders"])
    arguments.out.write_text(json.dumps(known, indent=2) + "\n")


def print_accuracy(errors: dict[str, Any]) -> None:
    """One Markdown table a situation: mean (largest) error in px."""
    situations = dict.fromkeys(
        (cell["where"], cell["noise"]) for cell in errors["argmax"]
    )
    for where, noise in situations:
        print(f"\n{where}, noise {noise:.0%}: mean (largest) error, px\n")
        print("| decoder | " + " | ".join(f"σ {s:g}" for s in SIGMAS) + " |")
        print("|---" * (1 + len(SIGMAS)) + "|")
        for name, cells in errors.items():
            texts = [
                f"{cell['mean_px']:.4f} ({cell['max_px']:.3f})"
                for cell in cells
                if (cell["where"], cell["noise"]) == (where, noise)
            ]
            print(f"| {name} | " + " | ".join(texts) + " |")


def print_speed(times: dict[str, dict[str, float]]) -> None:
    """A Markdown table."""
    print("\n| decoder | ms | fastest ms | ratio to argmax |\n|---|---|---|---|")
    for name, row in times.items():
        print(
            f"| {name} | {row['milliseconds']:.1f} | "
            f"{row['fastest_milliseconds']:.1f} | {row['ratio_to_argmax']:.2f} |"
        )


def print_validation(result: dict[str, Any]) -> None:
    """A Markdown table."""
    print(f"\n{result['protocol']}\n")
    print("| decoder | mean mm | median | < 2 mm | minus log_parabola ± SE |")
    print("|---|---|---|---|---|")
    for name, row in result["decoders"].items():
        print(
            f"| {name} | {row['mean_mm']:.3f} | {row['median_mm']:.3f} | "
            f"{row['below_2_mm_percent']:.1f} | {row['minus_log_parabola_mm']:+.3f} ± "
            f"{row['standard_error_mm']:.3f} |"
        )


if __name__ == "__main__":
    main()
