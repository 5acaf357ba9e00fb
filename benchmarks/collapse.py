"""How often does a training collapse, and does it recover?

    python -m benchmarks.collapse --data-dir DIR --runs DIR --out FILE.json

Trains the recipe `synthetic_hand` on a small grid at two and four times its learning
rate with ten seeds each, as published (Adam without a limit of the gradients) and with
`optimizer.clip_norm=unit`. The first 300 of 800 steps of the schedule are trained. A
collapse is what `scn_keras.training.collapse` recognises at the end of an epoch of 50
steps. The training then continues from the last good state at half the rate. Runs
continue where they stopped.
"""

import argparse
import dataclasses
import json
import pathlib

import keras
import numpy as np

from scn_keras.training.collapse import read_recoveries
from scn_keras.training.fit import fit
from scn_keras.training.recipes import load_recipe

LIMITS = {"none": None, "unit": "unit"}


class StopAfter(keras.callbacks.Callback):
    """Ends a training early, within its schedule."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_epoch_end(self, epoch, logs=None):
        if int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) >= (
            self.steps
        ):
            self.model.stop_training = True


def measured(path: pathlib.Path, recipe, steps: int, data_dir) -> dict:
    """Trains a run, if it is not finished, and returns its collapses and its error."""
    run = fit(recipe, path, data_dir, resume=True, callbacks=[StopAfter(steps)])
    lines = run.history_path.read_text("utf-8").splitlines()
    last = dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))
    return {
        "validation_point_error": float(last["val_point_error"]),
        "collapses": [
            {"step": r.step, "back_to": r.back_to, "reason": r.reason}
            for r in read_recoveries(run.path)
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--recipe", default="synthetic_hand")
    parser.add_argument("--times", type=float, nargs="+", default=[2.0, 4.0])
    parser.add_argument("--limits", nargs="+", choices=LIMITS, default=[*LIMITS])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        help="a setting of the recipe, as for `scn-keras train`, in place of the "
        "small grid",
    )
    options = parser.parse_args()
    base = load_recipe(options.recipe).override(
        options.settings
        or [
            *("image_to_grid.grid=(96,80)", "network.filters=16", "batch_size=2"),
            *("steps_per_epoch=50", "validation=0.1"),
        ]
    )
    rows = []
    for limit in options.limits:
        for times in options.times:
            results = []
            for seed in range(options.seeds):
                optimizer = dataclasses.replace(
                    base.optimizer,
                    learning_rate=times * base.optimizer.learning_rate,
                    clip_norm=LIMITS[limit],
                )
                recipe = dataclasses.replace(base, seed=seed, optimizer=optimizer)
                path = options.runs / f"{base.name}_{limit}_{times:g}_{seed}"
                results.append(measured(path, recipe, options.steps, options.data_dir))
            errors = [r["validation_point_error"] for r in results]
            collapsed = sum(bool(r["collapses"]) for r in results)
            print(
                f"clip_norm={limit}, {times:g} x {base.optimizer.learning_rate:g}: "
                f"{collapsed} of {len(results)} collapsed; mean error at the end "
                f"{np.mean(errors):.2f} mm, at most {np.max(errors):.2f}",
                flush=True,
            )
            rows.append({"clip_norm": limit, "times": times, "runs": results})
    if options.out:
        content = {
            "recipe": base.to_dict(),
            "steps": options.steps,
            "rows": rows,
        }
        options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
