"""Models in bfloat16 and int8, and their loss of accuracy."""

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from scn_keras.inference.decode import grey_values
from scn_keras.inference.locator import HasLocalizer, to_views
from scn_keras.models import GlobalToLocalNet, LandmarkEnsemble, LandmarkModel
from scn_keras.models._configured_model import ConfiguredModel
from scn_keras.training.evaluation.evaluate import (
    locate_images,
    locator_for,
    split_of,
    unit_of,
)
from scn_keras.training.evaluation.prepared_split import HELD_OUT
from scn_keras.training.input.stored_source import training_samples
from scn_keras.training.run import Run

PRECISIONS = ("float32", "bfloat16", "int8")
# Other combinations were tried. They do not run, or are neither faster nor smaller.
_KNOWN = {
    "savedmodel": ("float32", "bfloat16"),
    "onnx": ("float32", "int8"),
    "litert": ("float32", "int8"),
    "openvino": ("float32",),
}
_CALIBRATION_IMAGES = 32


def check(format: str, precision: str) -> None:
    """Validates a format and its precision.

    Raises:
        ValueError: If the format is unknown or is not available in the precision.
    """
    if format not in _KNOWN:
        raise ValueError(
            f"`format` must be one of {', '.join(_KNOWN)}. Received: format={format!r}"
        )
    if precision not in _KNOWN[format]:
        raise ValueError(
            f"The format {format!r} is available in {' or '.join(_KNOWN[format])}. "
            f"Received: precision={precision!r}"
        )


def in_bfloat16(
    model: LandmarkModel | LandmarkEnsemble,
) -> LandmarkModel | LandmarkEnsemble:
    """Returns a model whose networks have weights and computations in bfloat16.

    Heatmaps and peaks remain in float32.

    Raises:
        ValueError: If a network cannot be built in another precision.
    """
    if isinstance(model, LandmarkEnsemble):
        return LandmarkEnsemble([in_bfloat16(m) for m in model.members], model.peak)
    network = model.network
    if not isinstance(network, ConfiguredModel):
        raise ValueError(
            "Only SpatialConfigurationNet, LocalizationUNet, ConvolutionalNet and "
            "GlobalNet can be exported in bfloat16. Received: network="
            f"{network.name!r}"
        )
    config = {**network.get_config(), "dtype": "bfloat16"}
    reduced = type(network).from_config(config)
    reduced.set_weights(network.get_weights())
    # The local networks of a `GlobalToLocalNet` are small and remain in float32.
    local = {"local": model.local} if isinstance(model, GlobalToLocalNet) else {}
    return type(model)(reduced, target=model.target, peak=model.peak, **local)


def quantize_onnx(
    path: pathlib.Path, run: Run, data_dir: str | pathlib.Path | None = None
) -> None:
    """Quantises the convolutions of an ONNX file to 8 bits, in place.

    The ranges of activations are determined with training images (static quantisation).
    The convolutions of the image and those that compute heatmaps remain in float32,
    because their values have the largest range. Peaks also remain in float32, because
    coordinates require more than 8 bits.
    """
    import onnx
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(_training_images(run, data_dir))

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {"image": image}

    prepared = path.with_name("prepared.onnx")
    quantization.quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(path),
        Images(),
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=_first_and_last(onnx.load(str(prepared)).graph),
        per_channel=True,
    )
    prepared.unlink()


def _first_and_last(graph):
    """Returns the names of the first convolutions and of the heads of a graph."""
    names: list[str] = []
    after: set[str] = set()  # values that depend on a convolution
    for node in graph.node:
        is_convolution, is_first = node.op_type == "Conv", after.isdisjoint(node.input)
        if is_convolution and (is_first or "/head" in node.name):
            names.append(node.name)
        if is_convolution or not is_first:
            after.update(node.output)
    return names


def accuracy_lost(
    run: Run, model: HasLocalizer, data_dir: str | pathlib.Path | None = None
) -> dict[str, Any]:
    """Compares the errors of a model of reduced precision with those of the run.

    The images are those held out of the run's training split. If there are none, or if
    the run is an ensemble, whose members were trained with each other's held-out
    images, they are those of the test split.

    Args:
        run: `Run`.
        model: The model of reduced precision, a `LandmarkModel` or a `GridModel`.
        data_dir: The folder of prepared data sets.

    Returns:
        Dict of `split`, `n_images`, `unit` (`"mm"`, or `"px"` of the images), the mean
        point errors `error` and `float32_error`, and `moved` and `moved_max`, the mean
        and the largest distance of the points from those in float32.

    Raises:
        FileNotFoundError: If the data set does not exist.
    """
    recipe = run.recipe
    held_out = recipe.validation > 0.0 or recipe.fold is not None
    split = HELD_OUT if held_out and not run.is_ensemble else None
    images = split_of(run, split, data_dir)
    in_float32, in_reduced = (
        locate_images(locator_for(run, images, m), images, run.recipe)[0]
        for m in (None, model)
    )
    unit, truth = unit_of(in_float32), recipe.observer
    if truth not in images.truths:  # the observer "random" is not a truth
        truth = "mean"

    def error(located):
        return float(np.nanmean([image.distances(truth, unit) for image in located]))

    moved = [
        np.linalg.norm(a.points(unit) - b.points(unit), axis=-1)
        for a, b in zip(in_float32, in_reduced, strict=True)
    ]
    return {
        "split": images.name,
        "n_images": len(in_float32),
        "unit": unit,
        "error": error(in_reduced),
        "float32_error": error(in_float32),
        "moved": float(np.nanmean(moved)),
        "moved_max": float(np.nanmax(moved)),
    }


def _training_images(run, data_dir) -> Iterator[np.ndarray]:
    training, _ = training_samples(run.recipe, data_dir)
    for sample in training.take(_CALIBRATION_IMAGES):
        image_to_grid = run.recipe.image_to_grid
        grey = grey_values(sample["image"], image_to_grid.normalization)
        images, _ = to_views(grey, sample["affine"], image_to_grid)
        yield images.numpy()
