"""Turns a run into a SavedModel for TF Serving."""

import json
import pathlib
import re
import shutil

import keras
import tensorflow as tf

from scn_keras import __version__
from scn_keras.geometry import apply_affine
from scn_keras.models import LandmarkModel
from scn_keras.training import preprocessing
from scn_keras.training.inference import to_network
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run, write_json


def export(
    run: Run,
    folder: str | pathlib.Path,
    name: str | None = None,
    version: int | None = None,
) -> pathlib.Path:
    """Exports a run as `FOLDER/NAME/VERSION/`, the layout that TF Serving watches.

    The signature `serving_default` takes `image_bytes`, string `(n,)`, PNG, JPEG or
    BMP files of any sizes, and `spacing_mm`, float32 `(n, 2)`, x and y, 0 where it
    is not known. It returns `points_px` `(n, N, 2)` in pixels of the given image,
    x and y, a pixel's centre at whole numbers; `points_mm` `(n, N, 2)`, those times
    the spacing, NaN where it is not known; `score` `(n, N)`, 0 to 1; `covariance_px2`
    `(n, N, 2, 2)`, how wide the heatmaps' peaks are; `calibrated` `(n,)`, whether
    there are millimetres. Decoding, letterbox and peak are in the
    graph, the same functions that evaluation calls. The landmarks' names lie beside
    it in `assets.extra/landmarks.json`.

    Args:
        run: `Run`, finished.
        folder: Where the model goes.
        name: Str, the name of the model; `None` for that of the recipe.
        version: Int, the version; `None` for one more than the highest there.

    Returns:
        The folder of the version.

    Raises:
        FileExistsError: If that version exists.
        RuntimeError: If Keras does not run on TensorFlow.
        ValueError: If the name or the version is not one that TF Serving takes, or
            the model is one of volumes, of several views or from coarse to fine.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "A SavedModel is exported on the TensorFlow backend, whichever one trained "
            "the model: set KERAS_BACKEND=tensorflow and export again. "
            f"Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    name = name or run.recipe.name
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(
            "The name of a model may hold letters, digits, '_', '-' and '.'. "
            f"Received: name={name!r}"
        )
    parent = pathlib.Path(folder) / name
    if version is None:
        version = max(_versions(parent), default=0) + 1
    if version < 1:
        raise ValueError(f"`version` must be at least 1. Received: version={version}")
    target = parent / str(version)
    if target.exists():
        raise FileExistsError(
            f"{target} exists. TF Serving never reloads a version that it has seen: "
            "export a higher one, or remove the folder."
        )
    if run.recipe.coarse is not None:
        raise ValueError(
            f"{run.path} goes from coarse to fine, which is not exported. Use "
            "`scn-keras predict`."
        )
    if len(run.recipe.grid) != 2 or run.recipe.normalization == "window":
        raise ValueError(
            "Only models of 2D images normalised by range or percentile take the bytes "
            f"of image files. Received: grid={run.recipe.grid}, normalization="
            f"{run.recipe.normalization!r}"
        )
    if run.views is not None:
        raise ValueError(
            f"{run.path} looks at every image in several views, which is not exported. "
            "Make the ensemble without --views."
        )
    model = run.load_model()
    # TF Serving looks at folders named by a number only: it never sees half a model.
    temporary = parent / f".{version}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _write(model, run.recipe, temporary)
        extra = temporary / "assets.extra"
        extra.mkdir()
        write_json(extra / "landmarks.json", run.schema.to_dict())
        write_json(
            extra / "export.json",
            {"scn_keras": __version__, "recipe": run.recipe.to_dict()},
        )
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def landmark_names(model: str | pathlib.Path) -> list[str]:
    """Returns the names of an exported model's landmarks."""
    path = pathlib.Path(model) / "assets.extra" / "landmarks.json"
    return list(json.loads(path.read_text())["names"])


def _write(model: LandmarkModel, recipe: Recipe, folder: pathlib.Path) -> None:
    localizer = model.localizer
    rows, columns = recipe.grid

    def one_image(arguments):
        data, spacing = arguments
        return to_network(preprocessing.decode_image(data), spacing, recipe)

    def serve(image_bytes, spacing_mm):
        images, grid_to_source = tf.map_fn(
            one_image,
            (image_bytes, spacing_mm),
            fn_output_signature=(
                tf.TensorSpec((rows, columns, 1), tf.float32),
                tf.TensorSpec((3, 3), tf.float32),
            ),
        )
        found = localizer(images, training=False)
        points = apply_affine(grid_to_source, found["points"])
        calibrated = preprocessing.is_calibrated(spacing_mm)
        spacing = tf.where(calibrated, spacing_mm, float("nan"))
        return {
            "points_px": points,
            "points_mm": points * spacing[:, None, :],
            "score": found["score"],
            "covariance_px2": found["covariance"] * _squared_scale(grid_to_source),
            "calibrated": calibrated[:, 0],
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        serve,
        input_signature=[
            tf.TensorSpec((None,), tf.string, name="image_bytes"),
            tf.TensorSpec((None, 2), tf.float32, name="spacing_mm"),
        ],
    )
    archive.write_out(str(folder), verbose=False)


def _squared_scale(grid_to_source):
    # The letterbox has no rotation. Not by matrix products, see `apply_affine`.
    scale = tf.linalg.diag_part(grid_to_source)[:, None, :-1]
    return scale[..., :, None] * scale[..., None, :]


def _versions(parent):
    if not parent.is_dir():
        return []
    return [int(path.name) for path in parent.iterdir() if path.name.isdigit()]
