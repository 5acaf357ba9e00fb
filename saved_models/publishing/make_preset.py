"""Turns an evaluated run into a preset, which `scn_keras.models.from_preset` reads."""

import dataclasses
import datetime
import json
import pathlib
import shutil
from typing import Any

import h5py
import keras
import numpy as np

from scn_keras import __version__
from scn_keras.files.atomic_write import write_text
from scn_keras.metrics.on_arrays import point_distances
from scn_keras.models.from_preset import CONFIG_FILE, WEIGHTS_FILE
from scn_keras.saved_models.publishing.model_card import model_card
from scn_keras.saved_models.publishing.provenance import about
from scn_keras.training.evaluation.evaluate import (
    locate_images,
    locator_for,
    split_of,
)
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.run import Run, write_json

# What half precision may move the points by, as a share of the mean point error.
_TOLERANCE = 0.01


def make_preset(
    run: Run,
    folder: str | pathlib.Path,
    license: str | None = None,
    data_dir: str | pathlib.Path | None = None,
) -> dict[str, Any]:
    """Makes a preset of a run: its model in half precision, and a model card.

    The card is written from the run's recipe, environment and results. The images of
    one split that the run was evaluated on are located again with the new files, so
    that it also says by how much half precision moves the points.

    Args:
        run: `Run`, finished and evaluated on its data set.
        folder: The folder of the preset; its name is the preset's.
        license: Str, under which terms the weights may be used. `None` for what the
            data set says.
        data_dir: Where prepared data sets lie.

    Returns:
        What `metadata.json` holds.

    Raises:
        FileExistsError: If the folder exists.
        FileNotFoundError: If the run is not finished or not evaluated, or its data set
            is not there.
        ValueError: If the terms of use are not known, or half precision is not
            precise enough for this model.
    """
    run.require_network("A preset")
    folder = pathlib.Path(folder).resolve()
    if folder.exists():
        raise FileExistsError(f"{folder} exists. Name another folder, or remove it.")
    said = about(run)
    results = said["results"]
    if not results:
        raise FileNotFoundError(
            f"{run.path} has not been evaluated, and a preset says how good it is. Run "
            f"`scn-keras evaluate {run.path}` first."
        )
    whole = [r["protocol"] for r in results if r["protocol"]["subset_of"] is None]
    splits = list(dict.fromkeys(protocol["split"] for protocol in whole))
    split = run.recipe.test_split if run.recipe.test_split in splits else splits[0]
    images = split_of(run, split, data_dir)
    license = license or images.builder.LICENSE
    if not license:
        raise ValueError(
            f"The data set {run.recipe.dataset!r} does not say under which terms its "
            'images, and so a model of them, may be used: say so with --license "...".'
        )
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        made = _write_model(run, temporary)
        moved = _moved(run, made, images)
        metadata = {
            "name": folder.name,
            "keras_version": keras.__version__,
            "scn_keras_version": __version__,
            "parameter_count": made.load_model().count_params(),
            "size_mb": round(_size(temporary) / 1e6, 2),
            "date_saved": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "license": license,
            "limits": images.builder.LIMITS,
            "half_precision": {"split": split, **moved},
            "command": said["command"],
            "seconds": said["seconds"],
            "environment": said["environment"],
            "results": results,
        }
        write_json(temporary / "metadata.json", metadata)
        write_text(
            temporary / "model_card.md",
            model_card(metadata, made.recipe, run.schema, made.calibration),
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return metadata


def _write_model(run: Run, folder: pathlib.Path) -> Run:
    folder.mkdir(parents=True)
    recipe = run.recipe
    if recipe.start is not None:
        # Its name: where it lay is of no use to anyone else.
        recipe = dataclasses.replace(recipe, start=pathlib.Path(recipe.start).name)
    write_json(folder / "recipe.json", recipe.to_dict())
    write_json(folder / "landmarks.json", run.schema.to_dict())
    made = Run(folder)
    if run.inference_path.is_file():
        inference = json.loads(run.inference_path.read_text("utf-8"))
        members = [pathlib.Path(member).name for member in inference["members"]]
        write_json(made.inference_path, {**inference, "members": members})
    if recipe.coarse is not None:
        shutil.copy(run.shape_path, made.shape_path)
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
    if (calibration := run.calibration) is not None:
        # Half precision is refused where it would move points by more than a hundredth
        # of their error: the calibration holds.
        made.write_calibration(
            dataclasses.replace(calibration, weights=made.weights_digest())
        )
    return made


def _halve(path: pathlib.Path, half: pathlib.Path) -> None:
    """Copies a file of weights, those of single precision in half precision."""
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
                        f"The weights {name!r} do not fit into half precision, whose "
                        f"largest number is 65504. Received: {np.abs(item[()]).max()}"
                    )
            new.create_dataset(name, data=value).attrs.update(item.attrs)

        new.attrs.update(old.attrs)
        old.visititems(copy)


def _moved(run, made, images):
    split = images.name
    located, _ = locate_images(locator_for(made, images), images, made.recipe)
    before = read_points(run, split)
    moved = np.array(
        [
            point_distances(image.points_px, before[image.id]["points_px"])
            for image in located
        ]
    )
    truth = images.truths[0]
    errors = np.array([image.distances(truth, "px") for image in located])
    result = {
        "n_images": len(located),
        "mean_px": float(moved.mean()),
        "max_px": float(moved.max()),
        "error_px": float(np.nanmean(errors)),
    }
    if not result["mean_px"] <= _TOLERANCE * result["error_px"]:
        raise ValueError(
            f"In half precision the points of {split} are {result['mean_px']:.3g} px "
            "from those of the run's results in the mean, more than "
            f"{100 * _TOLERANCE:.0f} % of their error of {result['error_px']:.3g} px. "
            "If the results are of another model, evaluate the run again."
        )
    return result


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
