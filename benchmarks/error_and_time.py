"""How accurate is a run, and what does it cost to train and to use?

    python -m benchmarks.error_and_time RUN [RUN ...] --split SPLIT [--truth OBSERVER]
        [--data-dir DIR] [--out FILE.json] [--plot FILE.svg]

Runs that have been evaluated on the split, all on the same data. Their error is read
from their results. The time of an image is measured here, on the first --images of the
split, decoded beforehand: everything from pixels to points, reduction, all views and,
where there is one, the coarse stage, one image at a time. The runs take turns; of each
the median of all rounds counts, and the first image of a round, for which graphs are
built, does not. Times are in milliseconds and, since machines differ, as ratios to
the first run's. "Network and peaks" is the part from an image on the grid to the points
of one view. Training time is the clock's, as the run's history has it.
"""

import argparse
import json
import os
import pathlib
import time
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib import figure, ticker

from benchmarks._runs import protocol_of, result_of, seconds_of
from scn_keras.training.evaluation.prepared_split import PreparedSplit
from scn_keras.training.run import Run

_PASSES = 5  # through the network in a round


def milliseconds(run: Run, model: Any, samples: tf.data.Dataset) -> float:
    """Returns the time of an image in one pass over decoded samples."""
    found = run.locator(model).locate(samples, 1)
    next(found)
    start = time.perf_counter()
    count = sum(1 for _ in found)
    return 1000.0 * (time.perf_counter() - start) / count


def network_milliseconds(run: Run, model: Any) -> float:
    """Returns the time from an image on the grid to the points of one view."""
    image = np.zeros((1, *run.recipe.grid, 1), np.float32)
    localize = tf.function(lambda x: model.localizer(x, training=False)["points"])
    localize(tf.constant(image))
    start = time.perf_counter()
    for _ in range(_PASSES):
        localize(tf.constant(image)).numpy()
    return 1000.0 * (time.perf_counter() - start) / _PASSES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=pathlib.Path)
    parser.add_argument("--split", required=True)
    parser.add_argument("--truth")
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.images < 2:
        parser.error("--images must be at least 2: the first is not measured.")

    runs = [Run(path) for path in arguments.runs]
    results = [result_of(run, arguments.split, arguments.truth) for run in runs]
    if len({(r["protocol"]["dataset"], tuple(r["ids"])) for r in results}) > 1:
        parser.error("The runs were not evaluated on the same images.")
    protocol = results[0]["protocol"]
    split = PreparedSplit(
        runs[0].recipe, protocol["subset_of"] or arguments.split, arguments.data_dir
    )
    samples = split.samples().take(arguments.images).cache()
    sum(1 for _ in samples)  # decoded once

    models = [run.load_model() for run in runs]
    rounds = np.array(
        [
            [
                milliseconds(run, model, samples)
                for run, model in zip(runs, models, strict=True)
            ]
            for _ in range(arguments.rounds)
        ]
    )
    single = [hasattr(model, "localizer") for model in models]
    network = np.array(
        [
            [
                network_milliseconds(run, model) if one else np.nan
                for run, model, one in zip(runs, models, single, strict=True)
            ]
            for _ in range(arguments.rounds)
        ]
    )
    network = np.median(network, axis=0)
    times = np.median(rounds, axis=0)
    ratios = np.median(rounds / rounds[:, :1], axis=0)
    rows = []
    for run, model, result, ms, inner, ratio in zip(
        runs, models, results, times, network, ratios, strict=True
    ):
        trained = run.history_path.is_file()  # an ensemble is made, not trained
        rows.append(
            {
                "run": run.path.name,
                "grid": list(run.recipe.grid),
                "parameters": model.count_params(),
                "mre_mm": result["mre_mm"],
                "ci95": result["ci95"]["mre_mm"],
                "sdr_percent": result["sdr_percent"],
                "minutes_of_training": seconds_of(run) / 60 if trained else None,
                "milliseconds_an_image": ms,
                "milliseconds_network_and_peaks": None if np.isnan(inner) else inner,
                "times_the_first": ratio,
            }
        )
        print(
            f"{run.path.name}: {result['mre_mm']:.3f} mm, {ms:.0f} ms an image, of "
            f"which network and peaks {inner:.1f}, "
            f"{ratio:.2f} times the first",
            flush=True,
        )
    if arguments.out:
        of_each = [protocol_of(r, arguments.split, arguments.truth) for r in runs]
        report = {
            "protocol": {
                **{
                    k: v
                    for k, v in of_each[0].items()
                    if all(o[k] == v for o in of_each)
                },
                "images_timed": arguments.images - 1,
                "rounds": arguments.rounds,
                "cores": len(os.sched_getaffinity(0)),
            },
            "results": rows,
        }
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if arguments.plot:
        plot(rows, arguments.plot)


def plot(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draws error over time, a point a run with its interval."""
    drawing = figure.Figure((9.6, 4.0), layout="constrained")
    left, right = drawing.subplots(1, 2, sharey=True)
    _error_over(left, rows, "milliseconds_an_image")
    left.set_xlabel("milliseconds an image")
    left.set_ylabel("mean point error, mm")
    trained = [row for row in rows if row["minutes_of_training"] is not None]
    _error_over(right, trained, "minutes_of_training")
    right.set_xlabel("minutes of training")
    drawing.savefig(path)


def _error_over(axes, rows, key):
    for number, row in enumerate(sorted(rows, key=lambda row: row[key])):
        x, y = row[key], row["mre_mm"]
        axes.vlines(x, *row["ci95"], color="#2a6f97", linewidth=1.2)
        axes.plot(x, y, "o", color="#2a6f97", markersize=4)
        # Names of neighbours, one above and one below.
        place = (6, 8 if number % 2 else -14)
        axes.annotate(row["run"], (x, y), place, textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.25)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
