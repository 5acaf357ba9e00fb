import hashlib
import json
import pathlib
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from scn_keras.files.atomic_write import write_text
from scn_keras.inference.calibration import Calibration
from scn_keras.inference.test_time_augmentation import test_time_views
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.models.from_preset import CONFIG_FILE, WEIGHTS_FILE, from_preset
from scn_keras.training.build import make_method
from scn_keras.training.environment import environment
from scn_keras.training.recipe import Recipe

if TYPE_CHECKING:
    from scn_keras.inference.locator import HasLocalizer, Locator

# Where a model file carries what belongs to it, beside the entries of Keras.
_INSIDE = "run"


class Run:
    """A folder that holds everything about one training, readable by a person.

    `recipe.json` (with nothing left to default), `landmarks.json`,
    `environment.json`, `history.csv`, `checkpoints/`, `model.keras`,
    `results/*.json`, `report.html`; of an ensemble `inference.json`, which names its
    members; of a recipe with a coarse one `shape.json`, the mean shape in mm, and
    `coarse/`, that one's run; of a calibrated one `calibration.json`. A preset
    (`from_preset`) is read as a run, too.

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
        """The file of the model, which is written at the end of the training."""
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
        """The views under which every image is looked at, `None` for it as it is."""
        if not self._inference["views"]:
            return None
        return test_time_views(self.recipe.grid)

    @property
    def calibration_path(self) -> pathlib.Path:
        return self.path / "calibration.json"

    @property
    def calibration(self) -> Calibration | None:
        """What the run has learned about its own errors, `None` if nothing.

        Warns:
            UserWarning: If it was learned with other weights; it is `None` then, too.
        """
        if not self.calibration_path.is_file():
            return None
        calibration = Calibration.from_dict(_read_json(self.calibration_path))
        if calibration.weights != self.weights_digest():
            warnings.warn(
                f"{self.calibration_path} is of other weights than those of the run, "
                "and is left aside: radii are not known and no image is trusted. "
                "Calibrate the run again with `scn-keras calibrate`.",
                stacklevel=2,
            )
            return None
        return calibration

    def weights_digest(self) -> str:
        """Returns the SHA-256 digest of the weights.

        Raises:
            FileNotFoundError: If the training has not ended.
        """
        digest = hashlib.sha256()
        if (self.path / CONFIG_FILE).is_file():
            digest.update((self.path / WEIGHTS_FILE).read_bytes())
        else:
            self._require_finished()
            if self.recipe.uses_network:
                with zipfile.ZipFile(self.model_path) as archive:
                    digest.update(archive.read(WEIGHTS_FILE))
            else:
                digest.update(self.model_path.read_bytes())
        if self.coarse is not None:
            digest.update(self.coarse.weights_digest().encode())
        return digest.hexdigest()

    @property
    def shape_path(self) -> pathlib.Path:
        return self.path / "shape.json"

    @property
    def coarse(self) -> "Run | None":
        """The run of the coarse stage, of a recipe with a coarse one."""
        if self.recipe.coarse is None:
            return None
        return Run(self.path / "coarse")

    @property
    def mean_shape(self) -> np.ndarray:
        """The mean shape of the training images in mm, of a recipe with a coarse one.

        Array `(N, D)`, NaN for a landmark that no image has.
        """
        return np.array(_read_json(self.shape_path), np.float64)

    def coarse_to_fine(self) -> Any:
        """Returns the `CoarseToFine` of a recipe with a coarse stage, else `None`."""
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
        """Returns what finds the landmarks of images as this run does.

        Args:
            model: What stands in for the run's model, for example in another
                precision; `None` for the run's own.
            calibration: `Calibration`, `None` for none, `"own"` for the run's.
            views: As of `Locator`, `"own"` for the run's.

        Raises:
            FileNotFoundError: If the training has not ended.
        """
        from scn_keras.inference.locator import Locator  # loads TensorFlow

        return Locator(
            self.load_model() if model is None else model,
            self.recipe.image_to_grid,
            self.views if isinstance(views, str) else views,
            self.coarse_to_fine(),
            self.calibration if isinstance(calibration, str) else calibration,
        )

    @property
    def is_ensemble(self) -> bool:
        """Whether it is several models, each trained on images of its own."""
        return len(self._inference["members"]) > 1

    @property
    def inference(self) -> str:
        """How points come about, for people who read a result."""
        models = "one model"
        if self.is_ensemble:
            models = f"mean heatmaps of {len(self._inference['members'])} models"
        if self.recipe.coarse is not None:
            models = f"from coarse to fine, {models}"
        if self.recipe.local is not None:
            models += ", local networks around its points"
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
        """Returns the trained model, in float32 whatever it was trained in.

        A `LandmarkModel` or `LandmarkEnsemble`; of a recipe with another method what
        that loads, which has a `localizer`.

        Raises:
            FileNotFoundError: If the training has not ended.
        """
        if (self.path / CONFIG_FILE).is_file():
            return from_preset(self.path)
        self._require_finished()
        if not self.recipe.uses_network:
            return make_method(self.recipe).load(self)
        return keras.models.load_model(self.model_path, compile=False)

    def require_network(self, what: str) -> None:
        """Refuses a run whose model is no Keras network.

        Args:
            what: Str, what needs one, such as `"An export"`.

        Raises:
            ValueError: If the recipe has another method.
        """
        if not self.recipe.uses_network:
            raise ValueError(
                f"{what} needs a Keras network, whose graph TensorFlow can hold, and "
                f"{self.path} is of another method. "
                f"Received: method={self.recipe.method!r}"
            )

    def _require_finished(self):
        if not self.model_path.is_file():
            raise FileNotFoundError(
                f"{self.path} holds no trained model yet. Finish its training with "
                f"`scn-keras train {self.recipe.name} --out {self.path} --resume`."
            )

    def save_model(self, model: LandmarkModel | LandmarkEnsemble) -> None:
        """Writes `model.keras`, which carries what this folder says about it.

        Keras reads the file as any other. With recipe and landmarks in it, under
        `run/`, it is of use without the folder: see `from_file`.
        """
        temporary = self.path / "model.tmp.keras"
        model.save(temporary)
        self._carry(temporary)

    def write_calibration(self, calibration: Calibration) -> None:
        """Writes `calibration.json`, and puts it into `model.keras` if there is one."""
        write_json(self.calibration_path, calibration.to_dict())
        if not (self.recipe.uses_network and self.model_path.is_file()):
            return
        temporary = self.path / "model.tmp.keras"
        with (
            zipfile.ZipFile(self.model_path) as old,
            zipfile.ZipFile(temporary, "w") as new,
        ):
            for entry in old.infolist():
                if not entry.filename.startswith(f"{_INSIDE}/"):
                    new.writestr(entry, old.read(entry))
        self._carry(temporary)

    def _carry(self, temporary):
        with zipfile.ZipFile(temporary, "a") as archive:
            for path in _carried(self.path):
                archive.write(path, f"{_INSIDE}/{path.relative_to(self.path)}")
        temporary.replace(self.model_path)

    @classmethod
    def from_file(cls, file: str | pathlib.Path, folder: str | pathlib.Path) -> "Run":
        """Returns the run of a `.keras` file that `save_model` wrote, for prediction.

        Args:
            file: The file.
            folder: An empty folder, where it is unpacked and must stay.

        Raises:
            ValueError: If the file is none of Keras', or carries no recipe.
        """
        file, folder = pathlib.Path(file), pathlib.Path(folder)
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{file} is no .keras file, or a damaged one.")
        with zipfile.ZipFile(file) as archive:
            carried = [n for n in archive.namelist() if n.startswith(f"{_INSIDE}/")]
            if f"{_INSIDE}/recipe.json" not in carried:
                raise ValueError(
                    f"{file} does not say what an image goes through before the "
                    "network, and what its landmarks are called: it is not the "
                    "model.keras that `scn-keras train` writes, or one of an early "
                    "version. Give the folder of its run."
                )
            archive.extractall(folder, carried)
        run = cls(folder / _INSIDE)
        run.model_path.symlink_to(file.resolve())
        return run

    def results(self) -> list[dict[str, Any]]:
        """Reads what `write_result` has written, in the order of the files' names."""
        paths = sorted((self.path / "results").glob("*.json"))
        found = [_read_json(path) for path in paths]
        # Whatever else a person has put there.
        return [one for one in found if isinstance(one, dict) and "protocol" in one]

    def write_result(self, name: str, result: dict[str, Any]) -> pathlib.Path:
        """Writes `results/NAME.json` and returns its path."""
        path = self.path / "results" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        write_json(path, result)
        return path


def _carried(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists the files of a run without which its model is of no use."""
    names = (
        *("recipe.json", "landmarks.json", "inference.json", "shape.json"),
        "calibration.json",
    )
    carried = [folder / name for name in names if (folder / name).is_file()]
    coarse = folder / "coarse"
    if coarse.is_dir():
        carried += [*_carried(coarse), coarse / "model.keras"]
    return carried


def write_json(path: pathlib.Path, data: Any) -> None:
    """Writes JSON atomically."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def _read_json(path):
    return json.loads(path.read_text("utf-8"))
