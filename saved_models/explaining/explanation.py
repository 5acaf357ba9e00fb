"""All stages of the prediction of one image, from its bytes to millimetres."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich import progress
from rich.console import Console

from scn_keras.array_api import TENSORFLOW
from scn_keras.geometry import apply_affine, invert_affine, usable_spacing
from scn_keras.inference.located_image import LocatedImage
from scn_keras.inference.locator import Locator
from scn_keras.inference.patient_axes import sample_in_grid_axes
from scn_keras.inference.resample import reduce_image
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.layers import HeatmapPeak
from scn_keras.models import LandmarkEnsemble
from scn_keras.pictures import inner_heatmaps
from scn_keras.saved_models.explaining.features import FeatureMaps, feature_maps
from scn_keras.saved_models.explaining.occlusion import Occlusion, occlude
from scn_keras.saved_models.explaining.peak_window import PeakWindow, peak_window
from scn_keras.saved_models.predicting.file_locators import (
    grey_image,
    require_decodable,
)
from scn_keras.saved_models.predicting.folder_spacing import read_source
from scn_keras.saved_models.predicting.image_source import ImageSource
from scn_keras.saved_models.predicting.predict import model_folder
from scn_keras.saved_models.predicting.prediction import prediction_of
from scn_keras.training.latest_model import latest_model
from scn_keras.training.run import Run

_DEFAULT_LANDMARKS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """The stages of the prediction of one image.

    Attributes:
        name: Str, the name of the model.
        schema: `LandmarkSchema`.
        locator: `Locator` of the model.
        network: Keras model from the image on the grid to heatmaps or votes.
        image: Array `(*sizes)`, grey values of the file.
        reduced: Array `(*sizes)`, the smoothed and subsampled image.
        reduction: Tuple of int, the steps of the subsampling in x, y(, z).
        result: `LocatedImage`, the prediction.
        grid_points: Array `(N, D)`, the predicted points in pixels of the grid.
        heatmaps: Dict of arrays `(*grid, N)`, see `inner_heatmaps`.
        features: List of `FeatureMaps`.
        occlusion: `Occlusion`, or `None` for networks without a spatial configuration.
        peaks: Dict of `PeakWindow` by landmark; empty for other decoders than
            `HeatmapPeak`.
        landmarks: Tuple of int, the landmarks that are shown in detail.
    """

    name: str
    schema: LandmarkSchema
    locator: Locator
    network: keras.Model
    image: np.ndarray
    reduced: np.ndarray
    reduction: tuple[int, ...]
    result: LocatedImage
    grid_points: np.ndarray
    heatmaps: dict[str, np.ndarray]
    features: list[FeatureMaps]
    occlusion: Occlusion | None
    peaks: dict[int, PeakWindow]
    landmarks: tuple[int, ...]

    @property
    def model(self) -> Any:
        """The `LandmarkModel` or `LandmarkEnsemble`."""
        return self.locator.model

    @property
    def grid_image(self) -> np.ndarray:
        """The input of the network, array `(*grid, 1)`."""
        return np.asarray(self.result.grid_image)

    @property
    def unit(self) -> str:
        """The unit of distances, `"mm"`, or `"px"` without a usable spacing."""
        return "mm" if self.result.calibrated else "px"

    @property
    def grid_to_space(self) -> np.ndarray:
        """The affine from the grid to `unit`, float64 `(D + 1, D + 1)`."""
        to_source = np.asarray(self.result.grid_to_source, np.float64)
        return self.result.affine @ to_source if self.unit == "mm" else to_source

    @property
    def novelty(self) -> float | None:
        """The novelty of the image, or `None` without a calibration."""
        return self.result.novelty


def explain(
    model: str | pathlib.Path,
    image: str | pathlib.Path,
    landmarks: Sequence[str] = (),
    spacing: tuple[float, float] | None = None,
    console: Console | None = None,
) -> Explanation:
    """Predicts the landmarks of an image and keeps all intermediate results.

    Args:
        model: The name or the folder of a preset, the folder of a run or its file
            `model.keras`.
        image: Image file, or a folder with the slices of one DICOM series.
        landmarks: Names of the landmarks to show in detail; by default the three least
            certain, by their 90 % radii or, without calibration, by their expected
            errors.
        spacing: Millimetres per pixel, x and y, for a 2D file without a spacing.
        console: `rich.console.Console` for a progress bar, or `None`.

    Returns:
        An `Explanation`.

    Raises:
        FileNotFoundError: If `model` or `image` does not exist.
        ValueError: If the model is not a Keras network, the image cannot be read, or
            there is no landmark of a name.

    Example:

    ```python
    explanation = explain("synthetic_hand", "hand.png")
    print(explanation.result.points_px, list(explanation.heatmaps))
    ```
    """
    with model_folder(model) as folder:
        if not (folder / "recipe.json").is_file():
            raise ValueError(
                "An explanation requires the layers of the network. Give a run, its "
                f"file model.keras or a preset. Received: {model}"
            )
        run = Run(folder)
        run.require_network("An explanation")
        indices = [_index(run.schema, name) for name in landmarks]
        to_grid = run.recipe.image_to_grid
        source = read_source(
            pathlib.Path(image),
            spacing,
            to_grid.dimensions,
            to_grid.uses_stored_values,
            orientation=run.orientation,
        )
        require_decodable(source, to_grid)
        trained, note = latest_model(run)
        locator = run.locator(trained)
        notes = source.notes if note is None else (*source.notes, note)
        path = pathlib.Path(model)
        # `model.keras` is the name of each file; the folder is that of the run.
        name = path.absolute().parent.name if path.is_file() else path.name
        return _explanation(
            name, run, locator, source._replace(notes=notes), indices, console
        )


def _explanation(
    name: str,
    run: Run,
    locator: Locator,
    source: ImageSource,
    landmarks: Sequence[int],
    console: Console | None,
) -> Explanation:
    grey = grey_image(source, locator.image_to_grid)
    affine = source.affine.astype(np.float32)
    sample = {"image": grey, "affine": affine}
    (outputs,) = locator.locate(tf.data.Dataset.from_tensors(sample))
    result = prediction_of(source, outputs)
    on_axes = sample_in_grid_axes(sample, locator.image_to_grid)
    spacing = usable_spacing(tf.constant(on_axes["affine"]), TENSORFLOW)
    reduced = reduce_image(on_axes["image"], locator.image_to_grid, spacing)
    to_source = np.asarray(outputs["grid_to_source"], np.float64)
    chosen = tuple(landmarks) or _least_certain(result)
    model: Any = locator.model
    image = outputs["grid_image"]
    is_ensemble = isinstance(model, LandmarkEnsemble)
    network = (model.members[0] if is_ensemble else model).network

    def track(numbers: Iterable[int]) -> Iterator[int]:
        yield from progress.track(
            numbers, "occlude landmarks", console=console, disable=console is None
        )

    return Explanation(
        name=name,
        schema=run.schema,
        locator=locator,
        network=network,
        image=np.asarray(grey)[..., 0],
        reduced=np.asarray(reduced.image)[..., 0],
        reduction=tuple(int(s) for s in np.diag(reduced.to_source.numpy())[:-1]),
        result=result,
        grid_points=apply_affine(invert_affine(to_source), result.points("px")),
        heatmaps=inner_heatmaps(model, image),
        features=feature_maps(network, image),
        occlusion=None if is_ensemble else occlude(model, image, chosen, track),
        peaks=_peaks(model, network, image, chosen),
        landmarks=chosen,
    )


def _peaks(
    model: Any, network: keras.Model, image: np.ndarray, landmarks: Sequence[int]
) -> dict[int, PeakWindow]:
    if type(model.peak) is not HeatmapPeak or model.peak.num_peaks > 1:
        return {}
    outputs = model(image[None])
    if isinstance(outputs, dict):  # of `GlobalToLocalNet`
        outputs = outputs["outputs"]
    peaks = model.peak(outputs)
    points, covariance, heatmaps = (
        keras.ops.convert_to_numpy(value)[0].astype(np.float64)
        for value in (peaks["points"], peaks["covariance"], outputs)
    )
    method, window = model.peak.method, model.peak.window
    return {
        i: peak_window(heatmaps[..., i], points[i], covariance[i], method, window)
        for i in landmarks
    }


def _least_certain(result: LocatedImage) -> tuple[int, ...]:
    unit = "mm" if result.calibrated else "px"
    radius = result.radius90(unit)
    error = result.expected_error(unit) if radius is None else radius
    # Landmarks that were not found have NaN.
    order = np.argsort(-np.nan_to_num(error, nan=-1.0), kind="stable")
    return tuple(order[:_DEFAULT_LANDMARKS].tolist())


def _index(schema: LandmarkSchema, name: str) -> int:
    if name not in schema.names:
        raise ValueError(
            "There is no landmark of this name. Expected one of "
            f"{', '.join(schema.names)}. Received: {name!r}"
        )
    return schema.names.index(name)
