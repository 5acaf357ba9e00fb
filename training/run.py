import hashlib
import json
import pathlib
import shlex
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scn_keras.files.atomic_write import write_text
from scn_keras.files.orientation import REFUSED
from scn_keras.files.shown_command import shown_command
from scn_keras.inference.calibration import Calibration
from scn_keras.inference.point_offsets import PointOffsets
from scn_keras.inference.test_time_augmentation import test_time_views
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.models.from_preset import CONFIG_FILE, WEIGHTS_FILE
from scn_keras.training import _run_files
from scn_keras.training._model_file import embed_files, extract_files, renew_files
from scn_keras.training.build import load_model, make_method
from scn_keras.training.environment import environment
from scn_keras.training.recipe import Recipe
from scn_keras.training.used_images import UsedImages

if TYPE_CHECKING:
    from scn_keras.inference.locator import HasLocalizer, Locator


class Run:
    """The folder of one training, with all its settings and results.

    The files are `recipe.json` (with all settings, including defaults),
    `landmarks.json`, `environment.json`, `history.csv`, `used_images.json`,
    `checkpoints/`, `model.keras`, `results/*.json` and `report.html`. Ensembles also
    have `inference.json` with the names of their members. Recipes with a coarse stage
    have `shape.json`, the mean shape in mm, and `coarse/`, the run of that stage.
    Calibrated runs have `calibration.json`, adapted runs `offsets.json`, trainings that
    collapsed `recoveries.json`. A preset (`from_preset`) can also be opened as a run.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If the folder is not a run.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        if not (self.path / "recipe.json").is_file():
            raise FileNotFoundError(
                f"{self.path} is not a run, since it has no recipe.json. Give a folder "
                "created by `scn-keras train`."
            )
        self.recipe = Recipe.from_dict(_read_json(self.path / "recipe.json"))
        self.schema = LandmarkSchema.from_dict(_read_json(self.path / "landmarks.json"))

    @classmethod
    def create(
        cls,
        path: str | pathlib.Path,
        recipe: Recipe,
        schema: LandmarkSchema,
        data: Mapping[str, str | None] | None = None,
        orientation: str = REFUSED,
    ) -> "Run":
        """Creates the folder of a new run.

        Args:
            path: The folder.
            recipe: `Recipe`.
            schema: `LandmarkSchema` of its data set.
            data: Mapping, the arguments `data_dir` and `arrays` of `fit`.
            orientation: Str, the rule of its data set, see `orientation_rule`.

        Raises:
            FileExistsError: If the folder exists and is not empty.
            ValueError: If the recipe cannot be stored. Nothing is written then.
        """
        path = pathlib.Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(
                f"{path} exists and is not empty. Continue that run with --resume, or "
                "choose another folder with --out."
            )
        # The folder is a run as soon as the last file exists.
        contents = {
            "landmarks.json": schema.to_dict(),
            "environment.json": {**environment(), "data": dict(data or {})},
            _run_files.IMAGES_FILE: {"orientation": orientation},
            "recipe.json": recipe.stored_form(),
        }
        existed = path.exists()
        path.mkdir(parents=True, exist_ok=True)
        try:
            for name, content in contents.items():
                write_json(path / name, content)
        except BaseException:
            for name in contents:
                (path / name).unlink(missing_ok=True)
            if not existed:
                path.rmdir()
            raise
        return cls(path)

    @property
    def orientation(self) -> str:
        """The rule for files with an orientation tag, see `orientation_rule`."""
        return _run_files.orientation_rule(self.path)

    @property
    def checkpoint(self) -> pathlib.Path:
        return self.path / "checkpoints" / "last.keras"

    @property
    def model_path(self) -> pathlib.Path:
        """The path of the model, which is written at the end of the training."""
        if self.recipe.uses_network:
            return self.path / "model.keras"
        return self.path / make_method(self.recipe).MODEL_FILE

    @property
    def history_path(self) -> pathlib.Path:
        return self.path / "history.csv"

    @property
    def inference_path(self) -> pathlib.Path:
        return self.path / "inference.json"

    @property
    def views(self) -> np.ndarray | None:
        """The views of test-time augmentation, or `None` for a single view."""
        if not self._inference["views"]:
            return None
        return test_time_views(self.recipe.grid)

    @property
    def calibration_path(self) -> pathlib.Path:
        return self.path / "calibration.json"

    @property
    def calibration(self) -> Calibration | None:
        """The calibration of the run, or `None` without one.

        Warns:
            UserWarning: If the calibration belongs to other weights. It is `None` then.
        """
        if not self.calibration_path.is_file():
            return None
        calibration = Calibration.from_dict(_read_json(self.calibration_path))
        if calibration.weights != self.weights_digest():
            warnings.warn(
                f"{self.calibration_path} belongs to other weights than those of the "
                "run and is ignored: there are no radii, and no image is trusted. "
                f"Calibrate it again with {shown_command('calibrate', self.path)}.",
                stacklevel=2,
            )
            return None
        return calibration

    @property
    def offsets(self) -> PointOffsets | None:
        """The offsets of an adapted run, see `adapt`, or `None`."""
        path = self.path / _run_files.OFFSETS_FILE
        return PointOffsets.from_dict(_read_json(path)) if path.is_file() else None

    def weights_digest(self) -> str:
        """Returns the SHA-256 digest of the weights, and offsets of an adapted run.

        Raises:
            FileNotFoundError: If the training is not finished.
        """
        path = self.path / WEIGHTS_FILE
        if not self.is_preset:
            self._require_finished()
            path = self.model_path
        digest = hashlib.sha256(_run_files.stored_weights(path, WEIGHTS_FILE))
        if self.coarse is not None:
            digest.update(self.coarse.weights_digest().encode())
        if self.offsets is not None:
            digest.update(self.offsets.digest_bytes())
        return digest.hexdigest()

    @property
    def used_images(self) -> UsedImages | None:
        """The images of its training; `None` for runs of early versions."""
        return UsedImages.read(self.path)

    @property
    def shape_path(self) -> pathlib.Path:
        return self.path / "shape.json"

    @property
    def coarse(self) -> "Run | None":
        """The run of the coarse stage, or `None` for a recipe without one."""
        if self.recipe.coarse is None:
            return None
        return Run(self.path / "coarse")

    @property
    def mean_shape(self) -> np.ndarray:
        """The mean shape of the training images, for recipes with a coarse stage.

        Array `(N, D)` in mm, NaN for a landmark that is missing in all images.
        """
        return np.array(_read_json(self.shape_path), np.float64)

    def coarse_to_fine(self) -> Any:
        """Returns `CoarseToFine` for a recipe with a coarse stage, otherwise `None`."""
        coarse = self.coarse
        if coarse is None:
            return None
        from scn_keras.inference.coarse_to_fine import CoarseToFine  # TensorFlow

        locator = coarse.locator(calibration=None)
        return CoarseToFine(self.recipe.image_to_grid, self.mean_shape, locator)

    def locator(
        self,
        model: "HasLocalizer | None" = None,
        calibration: "Calibration | None | str" = "own",
        views: "np.ndarray | None | str" = "own",
    ) -> "Locator":
        """Returns the `Locator` of this run.

        Args:
            model: Replacement for the run's model, for example in another precision;
                `None` for the run's own model.
            calibration: `Calibration`, `None` for no calibration, or `"own"` for that
                of the run.
            views: As in `Locator`, or `"own"` for those of the run.

        Raises:
            FileNotFoundError: If the training is not finished.
        """
        from scn_keras.inference.locator import Locator  # loads TensorFlow

        return Locator(
            self.load_model() if model is None else model,
            self.recipe.image_to_grid,
            self.views if isinstance(views, str) else views,
            self.coarse_to_fine(),
            self.calibration if isinstance(calibration, str) else calibration,
            self.offsets,
        )

    @property
    def is_preset(self) -> bool:
        """Whether the folder is a preset, which has no history and no checkpoints."""
        return (self.path / CONFIG_FILE).is_file()

    @property
    def is_ensemble(self) -> bool:
        """Whether the run consists of several models."""
        return len(self._inference["members"]) > 1

    @property
    def inference(self) -> str:
        """A description of the inference, for the protocol of results."""
        models = "one model"
        if self.is_ensemble:
            models = f"mean heatmaps of {len(self._inference['members'])} models"
        if self.recipe.coarse is not None:
            models = f"from coarse to fine, {models}"
        if self.recipe.local is not None:
            models += ", local networks around its points"
        if self.offsets is not None:
            models += ", offsets of another convention"
        if (step := self.recipe.image_to_grid.tile_step) is not None:
            models += f", long images in grids {step} pixels apart"
        views = self.views
        if views is None:
            return f"{models}, no test-time augmentation"
        return f"{models}, mean of the points in {len(views)} views of each image"

    @property
    def _inference(self):
        if not self.inference_path.is_file():
            return {"members": [], "views": False}
        return _read_json(self.inference_path)

    def load_model(self) -> Any:
        """Returns the trained model, in float32 for any precision of the training.

        It is a `LandmarkModel`, a `LandmarkEnsemble` or, for a recipe with another
        method, the model of that method, which also has a `localizer`.

        Raises:
            FileNotFoundError: If the training is not finished.
            ImportError: If Keras requires the module of a user-defined part, which
                cannot be imported.
        """
        if not self.is_preset:
            self._require_finished()
            if not self.recipe.uses_network:
                return make_method(self.recipe).load(self)
            return load_model(self.recipe, self.model_path, compile=False)
        return load_model(self.recipe, self.path)

    def require_network(self, what: str) -> None:
        """Raises an error if the model of the run is not a Keras network.

        Args:
            what: Str, the operation for the message, such as `"An export"`.

        Raises:
            ValueError: If the recipe has another method.
        """
        if not self.recipe.uses_network:
            raise ValueError(
                f"{what} needs a Keras network, which can be part of a TensorFlow "
                f"graph, but {self.path} has another method. "
                f"Received: method={self.recipe.method!r}"
            )

    def _require_finished(self):
        if not self.model_path.is_file():
            raise FileNotFoundError(
                f"{self.path} holds no trained model yet. Finish its training with "
                f"`{self.resume_command}`."
            )

    @property
    def data(self) -> dict[str, str | None]:
        """The arguments `data_dir` and `arrays` with which the run was started."""
        path = self.path / "environment.json"
        return (_read_json(path) if path.is_file() else {}).get("data", {})

    @property
    def resume_command(self) -> str:
        """The command that continues an interrupted training of the run."""
        return shlex.join(["scn-keras", "train", "--resume", str(self.path)])

    def save_model(self, model: LandmarkModel | LandmarkEnsemble) -> None:
        """Writes `model.keras`, which also contains files of the run.

        Keras loads it like any other file. It contains recipe and landmarks in `run/`
        and can therefore be used without the folder, see `from_file`.
        """
        temporary = self.path / "model.tmp.keras"
        model.save(temporary)
        embed_files(self.path, temporary)
        temporary.replace(self.model_path)

    def write_calibration(self, calibration: Calibration) -> None:
        """Writes `calibration.json` and, if it exists, adds it to `model.keras`."""
        write_json(self.calibration_path, calibration.to_dict())
        self.update_model_file()

    def update_model_file(self) -> None:
        """Renews the files of the run inside its `model.keras`, if it exists."""
        if self.recipe.uses_network and self.model_path.is_file():
            renew_files(self.path, self.model_path)

    @classmethod
    def from_file(cls, file: str | pathlib.Path, folder: str | pathlib.Path) -> "Run":
        """Returns the run of a `.keras` file written by `save_model`, for prediction.

        Args:
            file: The file.
            folder: An empty folder to which the run is extracted. It must not be
                removed while the run is used.

        Raises:
            ValueError: If it is not a `.keras` file or does not contain a recipe.
        """
        file = pathlib.Path(file)
        run = cls(extract_files(file, pathlib.Path(folder)))
        run.model_path.symlink_to(file.resolve())
        return run

    def results(self) -> list[dict[str, Any]]:
        """Reads the files written by `write_result`, sorted by name."""
        paths = sorted((self.path / "results").glob("*.json"))
        contents = [_read_json(path) for path in paths]
        # Other JSON files in the folder are ignored.
        return [
            result
            for result in contents
            if isinstance(result, dict) and "protocol" in result
        ]

    def write_result(self, name: str, result: dict[str, Any]) -> pathlib.Path:
        """Writes `results/NAME.json` and returns its path."""
        path = self.path / "results" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        write_json(path, result)
        return path


def write_json(path: pathlib.Path, data: Any) -> None:
    """Writes JSON atomically."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def _read_json(path):
    return json.loads(path.read_text("utf-8"))
