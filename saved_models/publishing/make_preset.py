"""Creation of presets from evaluated runs, for `scn_keras.models.from_preset`."""

import dataclasses
import datetime
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import keras
import numpy as np

from scn_keras import __version__
from scn_keras.files.atomic_write import write_text
from scn_keras.files.shown_command import shown_command
from scn_keras.metrics.on_arrays import point_distances
from scn_keras.models.from_preset import CONFIG_FILE, WEIGHTS_FILE
from scn_keras.saved_models.publishing.model_card import model_card
from scn_keras.saved_models.publishing.provenance import provenance
from scn_keras.training._run_files import IMAGES_FILE, OFFSETS_FILE
from scn_keras.training.evaluation.evaluate import (
    locate_images,
    locator_for,
    split_of,
)
from scn_keras.training.evaluation.folder_split import FolderSplit
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.evaluation.prepared_split import PreparedSplit
from scn_keras.training.run import Run, write_json
from scn_keras.training.used_images import FILE as USED_IMAGES_FILE

# The entries of `metadata.json`, in their order.
_METADATA_KEYS = (
    *("name", "keras_version", "scn_keras_version", "parameter_count", "size_mb"),
    *("date_saved", "license", "limits", "half_precision", "command", "seconds"),
    *("environment", "results"),
)
# The maximum mean shift of points in half precision, as a fraction of their error.
_TOLERANCE = 0.01


def make_preset(
    run: Run,
    folder: str | pathlib.Path,
    license: str | None = None,
    data_dir: str | pathlib.Path | None = None,
) -> dict[str, Any]:
    """Creates a preset from a run: its model in half precision and a model card.

    The card is written from the run's recipe, environment and results. The landmarks in
    one of the evaluated splits are located again with the preset, to measure the shift
    of the points in half precision.

    Args:
        run: `Run`, finished and evaluated on its data set.
        folder: Str or path, the new folder. Its name is the name of the preset.
        license: Str, the terms of use of the weights; `None` for the statement of the
            data set.
        data_dir: Str or path, the folder of prepared data sets; `None` for the
            default of TensorFlow Datasets.

    Returns:
        Dict, the content of `metadata.json`.

    Raises:
        FileExistsError: If the folder exists.
        FileNotFoundError: If the run is not finished or not evaluated, or if its data
            set has not been prepared.
        ValueError: If the terms of use are unknown, or if half precision is not
            precise enough for this model.

    Example:

    ```python
    make_preset(Run("runs/hand"), "presets/hand", license="CC BY 4.0")
    ```
    """
    folder = pathlib.Path(folder).resolve()
    if folder.exists():
        raise FileExistsError(f"{folder} exists. Choose another folder, or remove it.")
    run.require_network("A preset")
    facts = provenance(run)
    # Ids of images are not published.
    facts["results"] = [
        {key: value for key, value in result.items() if key != "worst_images"}
        for result in facts["results"]
    ]
    images = split_of(run, _choose_split(run, facts["results"]), data_dir)
    facts["license"] = license or images.builder.LICENSE
    facts["limits"] = images.builder.LIMITS
    if not facts["license"]:
        raise ValueError(
            f"The data set {run.recipe.dataset!r} does not state terms of use for its "
            "images and for models of them. Give the terms with "
            '--license "...".'
        )
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        preset = _write_model(run, temporary)
        metadata = {
            "name": folder.name,
            "half_precision": {
                "split": images.name,
                **_accuracy_lost(run, preset, images),
            },
            **_description(preset),
            **facts,
        }
        metadata = {key: metadata[key] for key in _METADATA_KEYS}
        write_json(temporary / "metadata.json", metadata)
        write_text(
            temporary / "model_card.md",
            model_card(metadata, preset.recipe, run.schema, preset.calibration),
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return metadata


def _choose_split(run: Run, results: Sequence[Mapping[str, Any]]) -> str:
    """Returns the test split, or the first split that the run was evaluated on."""
    if not results:
        raise FileNotFoundError(
            f"{run.path} has not been evaluated. The model card of a preset requires "
            f"results. Run {shown_command('evaluate', run.path)} first."
        )
    protocols = [result["protocol"] for result in results]
    splits = [p["split"] for p in protocols if p["subset_of"] is None]
    return run.recipe.test_split if run.recipe.test_split in splits else splits[0]


def _description(preset: Run) -> dict[str, Any]:
    size = sum(f.stat().st_size for f in preset.path.rglob("*") if f.is_file())
    return {
        "keras_version": keras.__version__,
        "scn_keras_version": __version__,
        "parameter_count": preset.load_model().count_params(),
        "size_mb": round(size / 1e6, 2),
        "date_saved": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


def _write_model(run: Run, folder: pathlib.Path) -> Run:
    """Writes recipe, landmarks, weights and calibration of a preset."""
    folder.mkdir(parents=True)
    recipe = run.recipe
    if recipe.start is not None:
        # Only the name is kept, since the path is valid on this machine only.
        recipe = dataclasses.replace(recipe, start=pathlib.Path(recipe.start).name)
    write_json(folder / "recipe.json", recipe.to_dict())
    write_json(folder / "landmarks.json", run.schema.to_dict())
    preset = Run(folder)
    write_json(folder / IMAGES_FILE, {"orientation": run.orientation})
    if (used := run.used_images) is not None:
        write_text(folder / USED_IMAGES_FILE, used.anonymous())
    if run.inference_path.is_file():
        inference = json.loads(run.inference_path.read_text("utf-8"))
        members = [pathlib.Path(member).name for member in inference["members"]]
        write_json(preset.inference_path, {**inference, "members": members})
    if recipe.coarse is not None:
        shutil.copy(run.shape_path, preset.shape_path)
        _write_model(Run(run.path / "coarse"), folder / "coarse")
    model = run.load_model()
    config = keras.saving.serialize_keras_object(model)
    config.pop("build_config", None)
    config.pop("compile_config", None)
    full = folder / f"full.{WEIGHTS_FILE}"
    model.save_weights(full)
    _halve(full, folder / WEIGHTS_FILE)
    full.unlink()
    write_json(folder / CONFIG_FILE, config)
    if (offsets := run.offsets) is not None:
        write_json(folder / OFFSETS_FILE, offsets.to_dict())
    if (calibration := run.calibration) is not None:
        # The calibration remains valid, because `_accuracy_lost` rejects a preset whose
        # points move by more than 1 % of their error.
        preset.write_calibration(
            dataclasses.replace(calibration, weights=preset.weights_digest())
        )
    return preset


def _halve(path: pathlib.Path, half: pathlib.Path) -> None:
    """Copies a file of weights and converts single precision to half precision."""
    with h5py.File(path) as old, h5py.File(half, "w") as new:

        def copy(name, item):
            if isinstance(item, h5py.Group):
                new.require_group(name).attrs.update(item.attrs)
                return
            value = item[()]
            if item.dtype == np.float32:
                with np.errstate(over="ignore"):
                    value = value.astype(np.float16)
                if not np.isfinite(value).all():
                    raise ValueError(
                        f"The weights {name!r} exceed 65504, the largest number of "
                        f"half precision. Received: {np.abs(item[()]).max()}"
                    )
            new.create_dataset(name, data=value).attrs.update(item.attrs)

        new.attrs.update(old.attrs)
        old.visititems(copy)


def _accuracy_lost(
    run: Run, preset: Run, images: PreparedSplit | FolderSplit
) -> dict[str, Any]:
    """Measures the shift of points in half precision, in pixels of the images."""
    located, _ = locate_images(locator_for(preset, images), images, preset.recipe)
    before = read_points(run, images.name)
    moved = np.array(
        [
            point_distances(image.points_px, before[image.id]["points_px"])
            for image in located
        ]
    )
    truth = images.truths[0]
    errors = np.array([image.distances(truth, "px") for image in located])
    mean, error = float(moved.mean()), float(np.nanmean(errors))
    if not mean <= _TOLERANCE * error:
        raise ValueError(
            f"In half precision, the points of {images.name} differ from the results "
            f"of the run by {mean:.3g} px on average, more than "
            f"{100 * _TOLERANCE:.0f} % of their error of {error:.3g} px. "
            "If the results are from another model, evaluate the run again."
        )
    return {
        "n_images": len(located),
        "mean_px": mean,
        "max_px": float(moved.max()),
        "error_px": error,
    }
