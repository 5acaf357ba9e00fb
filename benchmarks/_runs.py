"""Trainings of a benchmark: each a run that continues where it stopped."""

import json
import pathlib
from typing import Any

from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.fit import fit
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run


def finished(
    recipe: Recipe, path: pathlib.Path, split: str, data_dir: pathlib.Path | None
) -> Run:
    """Returns a run that is trained and evaluated, doing what is not done yet."""
    print(f"{path.name}: {recipe.train_split}, seed {recipe.seed}", flush=True)
    run = fit(recipe, path, data_dir, resume=True)
    if not any((path / "results").glob(f"{split}*.json")):
        evaluate(run, split, data_dir=data_dir)
    return run


def result_of(run: Run, split: str, truth: str | None = None) -> dict[str, Any]:
    """Reads what `evaluate` wrote."""
    name = f"{split}-{truth}" if truth else split
    return json.loads((run.path / "results" / f"{name}.json").read_text("utf-8"))


def protocol_of(run: Run, split: str, truth: str | None = None) -> dict[str, Any]:
    """Returns the protocol of a result, without where it lay on a machine."""
    protocol = result_of(run, split, truth)["protocol"]
    return {k: v for k, v in protocol.items() if k not in ("run", "command")}


def seconds_of(run: Run) -> float:
    """Returns how long a run was trained, by its history."""
    last = run.history_path.read_text("utf-8").splitlines()[-1]
    return float(last.split(",")[1])
