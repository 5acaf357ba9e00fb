import json
import os
import pathlib
import platform
import sys
from importlib import metadata
from typing import Any

import keras
import numpy as np

import scn_keras.models
from scn_keras import __version__
from scn_keras.files.atomic_write import write_text
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.layers import GaussianHeatmap, HeatmapPeak
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.training.inference import test_time_views
from scn_keras.training.recipe import Recipe


class Run:
    """A folder that holds everything about one training, readable by a person.

    `recipe.json` (with nothing left to default), `landmarks.json`,
    `environment.json`, `history.csv`, `checkpoints/`, `model.keras`,
    `results/*.json`, `report.html`; of an ensemble `inference.json`, which names its
    members.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If the folder is not a run.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        if not (self.path / "recipe.json").is_file():
            raise FileNotFoundError(
                f"{self.path} is not a run: it holds no recipe.json. Give the folder "
                "that `scn-keras train` made."
            )
        self.recipe = Recipe.from_dict(_read_json(self.path / "recipe.json"))
        self.schema = LandmarkSchema.from_dict(_read_json(self.path / "landmarks.json"))

    @classmethod
    def create(
        cls, path: str | pathlib.Path, recipe: Recipe, schema: LandmarkSchema
    ) -> "Run":
        """Makes the folder of a new run.

        Raises:
            FileExistsError: If the folder exists and is not empty.
        """
        path = pathlib.Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(
                f"{path} exists and is not empty. Continue that run with --resume, or "
                "name another folder with --out."
            )
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "landmarks.json", schema.to_dict())
        write_json(path / "environment.json", environment())
        write_json(path / "recipe.json", recipe.to_dict())
        return cls(path)

    @property
    def checkpoint(self) -> pathlib.Path:
        return self.path / "checkpoints" / "last.keras"

    @property
    def model_path(self) -> pathlib.Path:
        return self.path / "model.keras"

    @property
    def history_path(self) -> pathlib.Path:
        return self.path / "history.csv"

    @property
    def inference_path(self) -> pathlib.Path:
        return self.path / "inference.json"

    @property
    def views(self) -> np.ndarray | None:
        """The views under which every image is looked at, `None` for it as it is."""
        if not self._inference["views"]:
            return None
        return test_time_views(self.recipe.grid)

    @property
    def inference(self) -> str:
        """How points come about, for people who read a result."""
        members = len(self._inference["members"])
        models = "one model" if members < 2 else f"mean heatmaps of {members} models"
        views = self.views
        if views is None:
            return f"{models}, no test-time augmentation"
        return f"{models}, mean of the points in {len(views)} views of each image"

    @property
    def _inference(self):
        if not self.inference_path.is_file():
            return {"members": [], "views": False}
        return _read_json(self.inference_path)

    def load_model(self) -> LandmarkModel | LandmarkEnsemble:
        """Returns the trained model, in float32 whatever it was trained in.

        Raises:
            FileNotFoundError: If the training has not ended.
        """
        if not self.model_path.is_file():
            raise FileNotFoundError(
                f"{self.path} holds no trained model yet. Finish its training with "
                f"`scn-keras train {self.recipe.name} --out {self.path} --resume`."
            )
        return keras.models.load_model(self.model_path, compile=False)

    def write_result(self, name: str, result: dict[str, Any]) -> pathlib.Path:
        """Writes `results/NAME.json` and returns its path."""
        path = self.path / "results" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        write_json(path, result)
        return path


def build_model(recipe: Recipe, num_landmarks: int) -> LandmarkModel:
    """Builds the model of a recipe, not compiled."""
    network = getattr(scn_keras.models, recipe.network.kind)(
        num_landmarks,
        image_shape=(*[None] * len(recipe.grid), 1),
        **recipe.network.settings(),
    )
    target = recipe.target
    return LandmarkModel(
        network,
        GaussianHeatmap(
            num_landmarks,
            sigma=target.sigma,
            gamma=target.gamma,
            learnable=target.learnable,
            form=target.form,
            minimum_sigma=target.minimum_sigma,
            penalty_power=target.penalty_power,
        ),
        HeatmapPeak(recipe.peak, **recipe.peak_settings),
        sigma_penalty=target.sigma_penalty,
        weight_decay=recipe.optimizer.weight_decay,
        missing=target.missing,
    )


def environment() -> dict[str, Any]:
    """Returns what a result may depend on beside the recipe: versions and machine."""
    packages = (
        *("keras", "numpy", "tensorflow", "jax", "torch"),
        *("tensorflow-datasets", "SimpleITK"),
    )
    versions = {"scn-keras": __version__}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "backend": keras.backend.backend(),
        "versions": versions,
        # The program's name alone: its path says who ran it, not what.
        "command": [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def write_json(path: pathlib.Path, data: Any) -> None:
    """Writes JSON so that an interruption leaves the old file or the new one."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def _read_json(path):
    return json.loads(path.read_text())
