"""Export of a run as a SavedModel for TF Serving, or as a file for other runtimes."""

import contextlib
import dataclasses
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from scn_keras import __version__
from scn_keras.files.atomic_write import write_text
from scn_keras.files.orientation import REFUSED
from scn_keras.inference.calibration_source import calibration_source
from scn_keras.inference.decode import MAX_IMAGE_BYTES
from scn_keras.inference.locator import HasLocalizer
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.saved_models.export_folder import write_checksums
from scn_keras.saved_models.exporting import precision as reduced
from scn_keras.saved_models.exporting._comparison_images import (
    comparison_images,
    quantization_images,
)
from scn_keras.saved_models.exporting.graph import GraphLocator
from scn_keras.saved_models.exporting.grid_model import write_grid_model
from scn_keras.saved_models.exporting.tf_serving import (
    WARM_UP,
    models_config,
    synthetic_image,
    write_warm_up,
)
from scn_keras.saved_models.exporting.tiled_graph import TiledGraphLocator
from scn_keras.saved_models.publishing.model_card import export_card
from scn_keras.saved_models.publishing.provenance import provenance
from scn_keras.training.run import Run, write_json

# The default of the largest image, and the largest setting, in MB of 2^20 bytes: what
# one TensorFlow tensor of 32-bit sizes holds.
MAX_IMAGE_MB, MAX_SETTING_MB = MAX_IMAGE_BYTES // 2**20, 2047

# A function that reads images, the specifications of its inputs, and warm-up inputs.
_Reading = tuple[Callable[..., Any], list[tf.TensorSpec], dict[str, np.ndarray]]


def export(
    run: Run,
    folder: str | pathlib.Path,
    name: str | None = None,
    version: int | None = None,
    format: str = "savedmodel",
    precision: str = "float32",
    data_dir: str | pathlib.Path | None = None,
    images: str | pathlib.Path | None = None,
    max_image_mb: int = MAX_IMAGE_MB,
) -> pathlib.Path:
    """Exports a run as `FOLDER/NAME/VERSION/`, the folder layout of TF Serving.

    A SavedModel has these signatures, with shapes and units in
    `docs/guides/export.md`:

    | signature | inputs | for |
    |---|---|---|
    | `serving_default` | `image_bytes` `(n,)`, `spacing_mm` `(n, 2)` | 2D images |
    | `arrays` | `image` `(n, h, w, 1)`, `affine` `(n, 3, 3)` | 2D images |
    | `volumes` | `image` `(n, d, h, w, 1)`, `affine` `(n, 4, 4)` | volumes |
    | `heatmaps` | those of `serving_default` | both |
    | `landmarks` | `landmark` `(n,)` | the names of landmarks |

    `serving_default` is the same as `volumes` for volumes, and the same as `arrays` for
    2D images with stored values (the normalization `"window"`). Decoding, letterbox,
    coarse-to-fine placement, views, tiles, members, peaks and calibration are part of
    the graph and use the same functions as evaluation. The folder `assets.extra`
    contains the landmarks' names, a model card and the files for TF Serving.

    The other formats are one file with the network and its peak layer, from an image on
    the grid to points on the grid. Landmarks and model card are in the same folder.

    Args:
        run: `Run`, finished.
        folder: The folder of exported models.
        name: Str, the name of the model; `None` for the name of the recipe, with format
            and precision appended if they are not the defaults.
        version: Int, the version; `None` for the highest existing version plus one.
        format: `"savedmodel"`, `"onnx"`, `"litert"` or `"openvino"`.
        precision: `"float32"`, `"bfloat16"` (SavedModel) or `"int8"` (ONNX, LiteRT).
            For the last two, the loss of accuracy is measured on held-out images or on
            `images`, and stated in the model card.
        data_dir: The folder of prepared data sets, for reduced precision.
        images: A folder of images, for reduced precision of a model whose data set is
            not prepared, such as a preset. Points are read as by `landmark_folder`;
            without points only their movement is measured.
        max_image_mb: Int, the largest image that a SavedModel decodes, in MB of 2^20
            bytes: rows x columns x channels x bytes per channel, at least two bytes
            per pixel. A call takes about ten times that (docs/security.md).

    Returns:
        The folder of the version.

    Raises:
        FileExistsError: If that version exists.
        FileNotFoundError: If the run is not finished or, for reduced precision, there
            is no folder of images and the data set is not prepared.
        ImportError: If a package that the format requires is not installed.
        RuntimeError: If Keras does not use the TensorFlow backend.
        ValueError: If TF Serving does not accept the name or the version, or format,
            precision and run do not match.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Models are exported on the TensorFlow backend, also if they were trained "
            "on another one. Set KERAS_BACKEND=tensorflow and export again. "
            f"Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    run.require_network("An export")
    reduced.check(format, precision)
    if not 1 <= max_image_mb <= MAX_SETTING_MB:
        raise ValueError(
            f"`max_image_mb` must be from 1 to {MAX_SETTING_MB}. Received: "
            f"max_image_mb={max_image_mb}"
        )
    _must_go_together(run, format)
    compared = _compared_images(run, precision, images, data_dir)
    suffixes = [format] * (format != "savedmodel") + [precision] * (
        precision != "float32"
    )
    name = name or "_".join([run.recipe.name, *suffixes])
    target = _target(pathlib.Path(folder), name, version)
    version = int(target.name)
    with _new_folder(target) as temporary:
        settings = format, precision, max_image_mb
        _fill(temporary, run, name, version, settings, compared, data_dir)
    return target


@contextlib.contextmanager
def _new_folder(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the folder to fill, which becomes `target` unless there is an error.

    TF Serving only loads folders whose name is a number, never an incomplete one.
    """
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    created = [path for path in target.parents if not path.exists()]
    try:
        yield temporary
        write_checksums(temporary)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for path in created:
            with contextlib.suppress(OSError):  # not created, or used by others
                path.rmdir()
        raise


def _fill(folder, run, name, version, settings, compared, data_dir):
    """Writes the model and its further files to a new folder."""
    format, precision, max_image_mb = settings
    model = run.load_model()
    if format == "savedmodel":
        if precision == "bfloat16":
            model = reduced.in_bfloat16(model)
        signatures = _write(run, model, folder, name, max_image_mb)
        extra = folder / "assets.extra"
        located: HasLocalizer = model
    else:
        folder.mkdir(parents=True)
        on_grid: Iterable[np.ndarray] = ()
        if precision == "int8":
            on_grid = quantization_images(run, compared, data_dir)
        located = write_grid_model(run, model, folder, format, precision, on_grid)
        signatures, extra = None, folder
    lost = None
    if precision != "float32":
        lost = reduced.accuracy_lost(run, located, compared)
    _describe(run, extra, name, version, settings, signatures, lost)


def _compared_images(run, precision, images, data_dir):
    """Returns the images for a reduced precision, before the work starts."""
    if precision != "float32":
        return comparison_images(run, images, data_dir)
    if images is not None:
        raise ValueError(
            "`images` are for reduced precision. Set `precision`, or omit them. "
            f"Received: images={str(images)!r}, precision='float32'"
        )
    return None


def _must_go_together(run: Run, format: str) -> None:
    """Raises ValueError if the format does not support the inference of the run."""
    if format != "savedmodel" and (
        run.views is not None
        or run.recipe.coarse is not None
        or run.recipe.image_to_grid.tile_step is not None
    ):
        raise ValueError(
            f"{run.path} uses several views, coarse-to-fine placement or tiles of long "
            f"images, which only SavedModels support. Received: format={format!r}"
        )
    if format == "litert" and len(run.recipe.grid) == 3:
        raise ValueError(
            "LiteRT cannot pool volumes. Export models of volumes as a SavedModel, "
            f"for ONNX or for OpenVINO. Received: format={format!r}"
        )


def _target(folder: pathlib.Path, name: str, version: int | None) -> pathlib.Path:
    """Returns the folder of the version, which must not exist."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(
            "The name of a model may contain letters, digits, '_', '-' and '.', and "
            f"must not begin with the last two. Received: name={name!r}"
        )
    parent = folder / name
    if version is None:
        version = max(_versions(parent), default=0) + 1
    if version < 1:
        raise ValueError(f"`version` must be at least 1. Received: version={version}")
    target = parent / str(version)
    if target.exists():
        raise FileExistsError(
            f"{target} exists. TF Serving does not reload a known version. Export a "
            "higher version, or remove the folder."
        )
    return target


def _write(
    run: Run,
    model: LandmarkModel | LandmarkEnsemble,
    folder: pathlib.Path,
    name: str,
    max_image_mb: int,
) -> dict[str, Any]:
    """Writes the SavedModel and its warm-up, and returns its inputs and outputs."""
    tiled = run.recipe.image_to_grid.tile_step is not None
    kind = TiledGraphLocator if tiled else GraphLocator
    locator = kind(run.locator(model), max_image_mb * 2**20)
    d = len(run.recipe.grid)
    # Large enough to be reduced. A volume of that size would take megabytes.
    factor = 2 if d == 2 else 1
    image = synthetic_image([factor * side for side in run.recipe.grid])[None]
    arrays: _Reading = (
        locator.from_arrays,
        [
            tf.TensorSpec((None, *[None] * d, 1), tf.float32, name="image"),
            tf.TensorSpec((None, d + 1, d + 1), tf.float32, name="affine"),
        ],
        {"image": image, "affine": np.eye(d + 1, dtype=np.float32)[None]},
    )
    main = arrays
    if locator.takes_bytes:
        png = tf.io.encode_png(np.uint8(np.round(image[0] * 255.0))).numpy()
        main = (
            locator.from_bytes,
            [
                tf.TensorSpec((None,), tf.string, name="image_bytes"),
                tf.TensorSpec((None, 2), tf.float32, name="spacing_mm"),
            ],
            {
                "image_bytes": np.array([png], object),
                "spacing_mm": np.ones((1, 2), np.float32),
            },
        )
    endpoints = {
        "serving_default": (main, locator.locate),
        "arrays" if d == 2 else "volumes": (arrays, locator.locate),
    }
    if locator.has_heatmaps:
        endpoints["heatmaps"] = (main, locator.heatmaps)
    archive = keras.export.ExportArchive()
    for tracked in locator.models:
        archive.track(tracked)
    for signature, ((read, specs, _), answer) in endpoints.items():
        archive.add_endpoint(signature, _composed(read, answer), input_signature=specs)
    archive.add_endpoint(
        "landmarks",
        _landmark_metadata(run),
        input_signature=[tf.TensorSpec((None,), tf.int32, name="landmark")],
    )
    archive.write_out(str(folder), verbose=False)
    extra = folder / "assets.extra"
    extra.mkdir()
    requests = {key: inputs for key, ((_, _, inputs), _) in endpoints.items()}
    write_warm_up(extra / WARM_UP, name, requests)
    return _signatures(folder)


def _landmark_metadata(run):
    """Returns a signature with metadata for clients that know only the address."""
    stored_values = run.recipe.image_to_grid.uses_stored_values
    names = run.schema.names
    source = calibration_source(run.calibration and run.calibration.protocol)

    def about_landmarks(landmark):
        is_valid = tf.debugging.Assert(
            tf.reduce_all((landmark >= 0) & (landmark < len(names))),
            [f"`landmark` must be from 0 to {len(names) - 1}. Received:", landmark],
        )
        with tf.control_dependencies([is_valid]):
            landmark = tf.identity(landmark)
        shape = tf.shape(landmark)
        return {
            "name": tf.gather(tf.constant(names), landmark),
            "stored_values": tf.fill(shape, stored_values),
            "orientation": tf.fill(shape, REFUSED),
            "radii_calibrated_on": tf.fill(shape, source),
        }

    return about_landmarks


def _composed(read, answer):
    return lambda *inputs: answer(*read(*inputs))


def _signatures(folder):
    """Returns names, types and shapes of all signatures from the written file."""
    saved = saved_model_pb2.SavedModel.FromString(
        (folder / "saved_model.pb").read_bytes()
    )

    def describe(tensors):
        return {
            name: [
                tf.as_dtype(tensor.dtype).name,
                tf.TensorShape(tensor.tensor_shape).as_list(),
            ]
            for name, tensor in sorted(tensors.items())
        }

    return {
        name: {
            "inputs": describe(signature.inputs),
            "outputs": describe(signature.outputs),
        }
        for name, signature in saved.meta_graphs[0].signature_def.items()
        if not name.startswith("__")
    }


def _describe(run, extra, name, version, settings, signatures, lost):
    format, precision, max_image_mb = settings
    card = {
        **provenance(run),
        "name": name,
        "version": version,
        "format": format,
        "precision": precision,
        "accuracy": lost,
        "scn_keras_version": __version__,
    }
    calibration, recipe = run.calibration, run.recipe
    if recipe.start is not None:
        # Only the name, because the path has no meaning on other machines.
        recipe = dataclasses.replace(recipe, start=pathlib.Path(recipe.start).name)
    write_json(extra / "landmarks.json", run.schema.to_dict())
    write_json(
        extra / "export.json",
        {
            "scn_keras": __version__,
            "tensorflow": tf.__version__,
            "format": format,
            "precision": precision,
            "inference": run.inference,
            "calibrated": calibration is not None,
            "radii_calibrated_on": calibration_source(
                calibration and calibration.protocol
            ),
            "accuracy": lost,
            "signatures": signatures,
            # Also of a run that uses stored pixels: the graph cannot give a note.
            "orientation": REFUSED,
            "max_image_mb": max_image_mb,
            "recipe": recipe.to_dict(),
        },
    )
    if calibration is not None:
        write_json(extra / "calibration.json", calibration.to_dict())
    if format == "savedmodel":
        write_text(extra / "models.config", models_config(name))
    text = export_card(card, recipe, run.schema, calibration, run.inference)
    write_text(extra / "model_card.md", text)


def _versions(parent):
    if not parent.is_dir():
        return []
    return [int(path.name) for path in parent.iterdir() if path.name.isdigit()]
