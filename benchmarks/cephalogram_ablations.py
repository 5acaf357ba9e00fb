"""What pays on cephalograms? One change a row, judged on validation images.

    python -m benchmarks.cephalogram_ablations --data-dir DIR --runs DIR [--out FILE]

`cephalogram_fast` for 2,000 steps instead of its own, and then the same with one
setting changed. Trained on three quarters of the 150 training radiographs, judged on
the other quarter (38 films, mean of both observers); the test films have no part in
it. Every training is a run in the folder of --runs that continues where it stopped.
About five minutes each on one core; with finer heatmaps or more filters, fifteen.
"""

import argparse
import json
import pathlib

from benchmarks._runs import finished, protocol_of, result_of, seconds_of
from scn_keras.training.evaluation.compare import compare
from scn_keras.training.evaluation.prepared_split import HELD_OUT
from scn_keras.training.recipes import load_recipe

BASE = [
    *("fold=(0, 4)", "steps=2000", "steps_per_epoch=500"),
    # As the recipe was when its other settings were chosen.
    *("optimizer.learning_rate=4e-4", "optimizer.clip_norm=None"),
]
ROWS = {
    "base": [],
    "not elastic": ["augmentation.elastic=0.0"],
    "image as coarse as its heatmaps": [
        "image_to_grid.grid=(240, 192)",
        "network.stride=1",
    ],
    "image twice as fine": ["image_to_grid.grid=(960, 768)", "network.stride=4"],
    "heatmaps as fine as the image": [
        "network.stride=1",
        "network.spatial_factor=16",
    ],
    "dropout 0.1": ["network.dropout=0.1"],
    "64 filters": ["network.filters=64"],
    "learning rate 8e-4": ["optimizer.learning_rate=8e-4"],
    "averaged weights": ["optimizer.average=0.998"],
    "either observer": ["observer=random"],
    "fixed sigma": ["target.learnable=False"],
    "sigma along each axis": ["target.form=axis_aligned"],
    "adaptive wing": ["loss=adaptive_wing", "target.gamma=None", "target.sigma=2.0"],
    "U-Net": [
        "network={'kind': 'LocalizationUNet', 'filters': 32, 'stride': 2, "
        "'dtype': 'mixed_bfloat16'}"
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument(
        "--rows", nargs="*", default=list(ROWS), choices=list(ROWS), help="only these"
    )
    arguments = parser.parse_args()

    results, base = [], None
    for name in dict.fromkeys(["base", *arguments.rows]):
        settings = ROWS[name]
        recipe = load_recipe("cephalogram_fast").override([*BASE, *settings])
        run = finished(
            recipe,
            arguments.runs / name.replace(" ", "_"),
            HELD_OUT,
            arguments.data_dir,
        )
        result = result_of(run, HELD_OUT, "mean")
        base = base or run
        row = {
            "name": name,
            "settings": settings,
            "mre_mm": result["mre_mm"],
            "sd_mm": result["sd_mm"],
            "sdr_percent": result["sdr_percent"],
            "ci95": result["ci95"],
            "minutes_of_training": seconds_of(run) / 60,
        }
        if run is not base:
            (paired,) = (
                compared
                for compared in compare(base, run, HELD_OUT)
                if compared["protocol"]["truth"] == "mean"
            )
            row["against_base"] = {
                key: paired["mre_mm"][key] for key in ("difference", "ci95", "p")
            }
        results.append(row)
        print(f"{name}: {row['mre_mm']:.3f} mm, {row.get('against_base')}", flush=True)
    if arguments.out:
        report = {
            "protocol": protocol_of(base, HELD_OUT, "mean"),
            "base": BASE,
            "results": results,
        }
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
