"""Models in bfloat16 and int8, and what that costs."""

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
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.run import Run

PRECISIONS = ("float32", "bfloat16", "int8")
# What is not here was tried and does not run, or no faster and no smaller.
_KNOWN = {
    "savedmodel": ("float32", "bfloat16"),
    "onnx": ("float32", "int8"),
    "litert": ("float32", "int8"),
    "openvino": ("float32",),
}
_CALIBRATION_IMAGES = 32


def check(format: str, precision: str) -> None:
    """Refuses a format that there is not, or not in that precision.

    Raises:
        ValueError: If so.
    """
    if format not in _KNOWN:
        raise ValueError(
            f"`format` must be one of {', '.join(_KNOWN)}. Received: format={format!r}"
        )
    if precision not in _KNOWN[format]:
        raise ValueError(
            f"The format {format!r} is written in {' or '.join(_KNOWN[format])}. "
            f"Received: precision={precision!r}"
        )


def in_bfloat16(
    model: LandmarkModel | LandmarkEnsemble,
) -> LandmarkModel | LandmarkEnsemble:
    """Returns a model whose networks keep weights and compute in bfloat16.

    Heatmaps and peaks stay in float32.

    Raises:
        ValueError: If a network cannot be built in another precision.
    """
    if isinstance(model, LandmarkEnsemble):
        return LandmarkEnsemble([in_bfloat16(m) for m in model.members], model.peak)
    network = model.network
    if not isinstance(network, ConfiguredModel):
        raise ValueError(
            "Only SpatialConfigurationNet, LocalizationUNet, ConvolutionalNet and "
            "GlobalNet are exported in bfloat16. Received: the network "
            f"{network.name!r}"
        )
    config = {**network.get_config(), "dtype": "bfloat16"}
    narrow = type(network).from_config(config)
    narrow.set_weights(network.get_weights())
    # The local networks of a `GlobalToLocalNet` are small, and stay as they are.
    local = {"local": model.local} if isinstance(model, GlobalToLocalNet) else {}
    return type(model)(narrow, target=model.target, peak=model.peak, **local)


def quantize_onnx(
    path: pathlib.Path, run: Run, data_dir: str | pathlib.Path | None = None
) -> None:
    """Rewrites an ONNX file with convolutions of 8 bits, in place.

    What values occur between them is taken from training images (static
    quantisation). In float32 stay the convolutions that read the image and those that
    give heatmaps, whose values spread the most, and peaks: coordinates need more than
    8 bits.
    """
    import onnx
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(_training_images(run, data_dir))

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
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
    """Names of convolutions without another before them, and of heads."""
    found: list[str] = []
    after: set[str] = set()  # values that a convolution had a part in
    for node in graph.node:
        is_convolution, is_first = node.op_type == "Conv", after.isdisjoint(node.input)
        if is_convolution and (is_first or "/head" in node.name):
            found.append(node.name)
        if is_convolution or not is_first:
            after.update(node.output)
    return found


def accuracy_lost(
    run: Run, model: HasLocalizer, data_dir: str | pathlib.Path | None = None
) -> dict[str, Any]:
    """Measures how far off a model of reduced precision is, beside the run itself.

    On the images that the run holds out of its training split; on its test split if it
    holds none out, or is an ensemble, whose members were trained on each other's.

    Args:
        run: `Run`.
        model: What stands in for the run's model: a `LandmarkModel` or a `GridModel`.
        data_dir: Where prepared data sets lie.

    Returns:
        Dict: `split`, `n_images`, `unit` (`"mm"`, or `"px"` of the images), `error` and
        `float32_error`, the mean point errors, `moved` and `moved_max`, how far points
        are from those in float32.

    Raises:
        FileNotFoundError: If the data set is not there.
    """
    recipe = run.recipe
    held_out = recipe.validation > 0.0 or recipe.fold is not None
    split = HELD_OUT if held_out and not run.is_ensemble else None
    images = split_of(run, split, data_dir)
    usual, unusual = (
        locate_images(locator_for(run, images, m), images, run.recipe)[0]
        for m in (None, model)
    )
    unit, truth = unit_of(usual), recipe.observer
    if truth not in images.truths:  # one of several observers at a time
        truth = "mean"

    def error(located):
        return float(np.nanmean([one.distances(truth, unit) for one in located]))

    moved = [
        np.linalg.norm(a.points(unit) - b.points(unit), axis=-1)
        for a, b in zip(usual, unusual, strict=True)
    ]
    return {
        "split": images.name,
        "n_images": len(usual),
        "unit": unit,
        "error": error(unusual),
        "float32_error": error(usual),
        "moved": float(np.nanmean(moved)),
        "moved_max": float(np.nanmax(moved)),
    }


def _training_images(run, data_dir) -> Iterator[np.ndarray]:
    training, _ = data.training_samples(run.recipe, data_dir)
    for sample in training.take(_CALIBRATION_IMAGES):
        image_to_grid = run.recipe.image_to_grid
        grey = grey_values(sample["image"], image_to_grid.normalization)
        images, _ = to_views(grey, sample["affine"], image_to_grid)
        yield images.numpy()
