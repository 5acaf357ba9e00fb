"""How many hand radiographs does a SpatialConfiguration-Net need, and a U-Net?

    python -m benchmarks.hand_training_images --data-dir DIR --runs DIR
        [--steps N] [--unet-start RUN] [--out FILE.json] [--plot FILE.svg]

The recipes `hand_few` and `hand_few_unet` (same grid, filters, augmentation, batch and
steps) learn from 5, 10, 20 and all radiographs of fold 1 and are tested on fold 2: one
run a seed, and where there are fewer than all, each seed has another draw of images.
Before, each network has a search of equal size over learning rate and dropout, trained
on half of fold 1 and judged on its other half; fold 2 has no part in it. Gradients have
the norm 1 in all trainings. On 5 and 10 images the SCN also starts from the preset
`synthetic_hand` instead of from random weights, and the U-Net from --unet-start, a run
that was trained on the same drawn hands with the same steps and schedule. Every
training is a run in the folder of --runs that continues where it stopped. In the spirit
of Payer et al. (2019), not by their protocol, whose images are others.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
from typing import Any

import numpy as np
from matplotlib import figure

from benchmarks._runs import finished, protocol_of, result_of, seconds_of
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.evaluation.prepared_split import HELD_OUT
from scn_keras.training.evaluation.statistics import error_statistics
from scn_keras.training.input.prepared_sets import sample_ids
from scn_keras.training.recipes import load_recipe
from scn_keras.training.run import Run

RECIPES = {"SCN": "hand_few", "U-Net": "hand_few_unet"}
PRESET = "synthetic_hand"
DRAWN = f" from {PRESET}"
LEARNING_RATES = (4e-4, 1.6e-3, 4e-3)
DROPOUTS = (0.0, 0.3)
# By number of training images; `None` is the whole fold.
DRAWS = {
    5: ("fold1[:5]", "fold1[5:10]"),
    10: ("fold1[:10]", "fold1[10:20]"),
    20: ("fold1[:20]", "fold1[16:36]"),
    None: ("fold1",),
}
RESAMPLES = 2000
# Of each network a colour, and a shift that keeps intervals apart.
LOOKS = {
    "SCN": ("#c04f15", 0.97),
    "U-Net": ("#2a6f97", 1.03),
    f"SCN{DRAWN}": ("#3f7d20", 1.0),
    f"U-Net{DRAWN}": ("#7a5195", 1.06),
}


def search(
    kind: str, common: list[str], folder: pathlib.Path, data_dir: Any
) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns the settings that are best on validation images, and all trials."""
    trials = []
    for rate, dropout in itertools.product(LEARNING_RATES, DROPOUTS):
        settings = [f"optimizer.learning_rate={rate}", f"network.dropout={dropout}"]
        recipe = load_recipe(RECIPES[kind]).override(
            [*common, *settings, "fold=(0, 2)"]
        )
        name = f"search_{recipe.name}_{rate:g}_{dropout:g}"
        run = finished(recipe, folder / name, HELD_OUT, data_dir)
        error = result_of(run, HELD_OUT)["mre_mm"]
        trials.append({"settings": settings, "validation_mre_mm": error})
        print(f"{kind} {settings}: {error:.3f} mm on validation images", flush=True)
    best = min(trials, key=lambda trial: trial["validation_mre_mm"])
    return best["settings"], trials


def kinds_for(number: int | None, starts: dict[str, str]) -> list[str]:
    drawn = [f"{kind}{DRAWN}" for kind in starts] if number in (5, 10) else []
    return [*RECIPES, *drawn]


def pooled(runs: list[Run], split: str) -> dict[str, Any]:
    """The statistics of several runs on the same images, patients drawn together."""
    errors, groups = [], []
    for run in runs:
        for case in read_points(run, split).values():
            errors.append(case["errors"][None])
            groups.append(case["group"])
    return error_statistics(np.stack(errors), runs[0].schema.names, groups)


def difference(scn: list[Run], other: list[Run], split: str) -> dict[str, Any]:
    """The other minus SCN, paired over patients, the mean over all draws and seeds."""

    def by_patient(runs, value):
        patients: dict[str, list[np.ndarray]] = {}
        for run in runs:
            for case in read_points(run, split).values():
                patients.setdefault(case["group"], []).append(
                    value(case["errors"][None])
                )
        return {patient: np.mean(values) for patient, values in patients.items()}

    measures = {
        "mre_mm": np.mean,
        "sdr2_percent": lambda e: 100.0 * np.mean(e < 2.0),
        "over_10mm_percent": lambda e: 100.0 * np.mean(e > 10.0),
    }
    random = np.random.default_rng(0)
    result = {}
    for name, value in measures.items():
        first, second = by_patient(scn, value), by_patient(other, value)
        gaps = np.array([second[patient] - first[patient] for patient in first])
        rows = random.integers(0, len(gaps), (RESAMPLES, len(gaps)))
        low, high = np.percentile(gaps[rows].mean(axis=1), (2.5, 97.5))
        result[name] = {"difference": float(gaps.mean()), "ci95": [low, high]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, help="the steps of each training")
    parser.add_argument(
        "--unet-start", metavar="RUN", help="a U-Net that was trained on drawn hands"
    )
    arguments = parser.parse_args()
    data_dir, folder, test = arguments.data_dir, arguments.runs, "fold2"
    # Gradients of norm 1 allow both networks higher rates, so less undertraining.
    common = ["optimizer.clip_norm=unit"]
    if arguments.steps:
        common.append(f"steps={arguments.steps}")
    starts = {"SCN": PRESET}
    if arguments.unet_start:
        starts["U-Net"] = arguments.unet_start

    best, trials = {}, {}
    for kind in RECIPES:
        best[kind], trials[kind] = search(kind, common, folder, data_dir)
    runs: dict[tuple[str, int | None], list[Run]] = {}
    # The seeds outside: an interrupted series has something of everything.
    for seed, (number, splits) in itertools.product(
        range(arguments.seeds), DRAWS.items()
    ):
        draw = seed % len(splits)
        for kind in kinds_for(number, starts):
            base = kind.removesuffix(DRAWN)
            recipe = load_recipe(RECIPES[base]).override(
                [*common, *best[base], f"train_split={splits[draw]}", f"seed={seed}"]
            )
            name = f"{recipe.name}_{number or 'all'}_{draw}_{seed}"
            if kind != base:
                recipe = dataclasses.replace(recipe, start=starts[base])
                name += "_drawn"
            run = finished(recipe, folder / name, test, data_dir)
            runs.setdefault((kind, number), []).append(run)
            print(f"{name}: {result_of(run, test)['mre_mm']:.3f} mm", flush=True)

    rows = []
    everything = len(sample_ids("hand_xray", "fold1", data_dir))
    for number in DRAWS:
        for kind in kinds_for(number, starts):
            of = runs[kind, number]
            numbers = pooled(of, test)
            rows.append(
                {
                    "network": kind,
                    "training_images": number or everything,
                    "runs": [run.path.name for run in of],
                    "minutes_of_training": sum(map(seconds_of, of)) / 60 / len(of),
                    "mre_mm_of_runs": [result_of(run, test)["mre_mm"] for run in of],
                    **{k: v for k, v in numbers.items() if k != "per_landmark"},
                    "per_landmark": numbers["per_landmark"],
                }
            )
            if kind != "SCN":
                rows.append(
                    {
                        "network": f"{kind} - SCN",
                        "training_images": number or everything,
                        **difference(runs["SCN", number], of, test),
                    }
                )
    protocol = {
        **protocol_of(runs["SCN", None][0], test),
        "recipe": list(RECIPES.values()),
        "draws": {str(n or "all"): list(s) for n, s in DRAWS.items()},
        "seeds": list(range(arguments.seeds)),
        "command": ["python", "-m", "benchmarks.hand_training_images"],
    }
    report = {"protocol": protocol, "search": trials, "best": best, "results": rows}
    for row in rows:
        if "mre_mm_of_runs" in row:
            print(row["network"], row["training_images"], f"{row['mre_mm']:.3f} mm")
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if arguments.plot:
        plot(rows, arguments.plot)


def plot(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draws error, success and outliers over the number of training images."""
    drawing = figure.Figure((9.0, 3.2), layout="constrained")
    panels = {
        "mean point error, mm": lambda of: of["mre_mm"],
        "points within 2 mm, %": lambda of: of["sdr_percent"]["2"],
        "points over 10 mm off, %": lambda of: (
            100.0 - np.asarray(of["sdr_percent"]["10"])
        ),
    }
    numbers = sorted({row["training_images"] for row in rows})
    for axes, (label, value) in zip(
        drawing.subplots(1, len(panels)), panels.items(), strict=True
    ):
        for kind, (color, shift) in LOOKS.items():
            of = [row for row in rows if row["network"] == kind]
            x = [row["training_images"] * shift for row in of]
            ends = np.array([value(row["ci95"]) for row in of])
            axes.vlines(x, ends[:, 0], ends[:, 1], color=color, linewidth=1.2)
            axes.plot(
                x, [value(row) for row in of], "o-", color=color, label=kind, ms=4
            )
        axes.set_xscale("log")
        axes.set_xticks(numbers, map(str, numbers))
        axes.minorticks_off()
        axes.set_xlabel("training images")
        axes.set_title(label, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    drawing.savefig(path)


if __name__ == "__main__":
    main()
