"""Models in bfloat16 and int8, and their loss of accuracy."""

import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from scn_keras.inference.locator import HasLocalizer
from scn_keras.models import GlobalToLocalNet, LandmarkEnsemble, LandmarkModel
from scn_keras.models._configured_model import ConfiguredModel
from scn_keras.training.evaluation.evaluate import (
    locate_images,
    locator_for,
    unit_of,
)
from scn_keras.training.evaluation.evaluated_images import EvaluatedImages
from scn_keras.training.run import Run

PRECISIONS = ("float32", "bfloat16", "int8")
# Other combinations were tried. They do not run, or are neither faster nor smaller.
_KNOWN = {
    "savedmodel": ("float32", "bfloat16"),
    "onnx": ("float32", "int8"),
    "litert": ("float32", "int8"),
    "openvino": ("float32",),
}


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


def quantize_onnx(path: pathlib.Path, images: Iterable[np.ndarray]) -> None:
    """Quantises the convolutions of an ONNX file to 8 bits, in place.

    The ranges of activations are determined with images (static quantisation).
    The convolutions of the image and those that compute heatmaps remain in float32,
    because their values have the largest range. Peaks also remain in float32, because
    coordinates require more than 8 bits.

    Args:
        path: The file.
        images: Float32 arrays `(1, *grid, 1)`.
    """
    import onnx
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

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
    run: Run, model: HasLocalizer, images: EvaluatedImages
) -> dict[str, Any]:
    """Compares the errors of a model of reduced precision with those of the run.

    Args:
        run: `Run`.
        model: The model of reduced precision, a `LandmarkModel` or a `GridModel`.
        images: The result of `comparison_images`.

    Returns:
        Dict of `split`, `n_images`, `unit` (`"mm"`, or `"px"` of the images), the mean
        point errors `error` and `float32_error`, which are `None` for images without
        points, and `moved` and `moved_max`, the mean and the largest distance of the
        points from those in float32.
    """
    in_float32, in_reduced = (
        locate_images(locator_for(run, images, m), images, run.recipe)[0]
        for m in (None, model)
    )
    unit, truth = unit_of(in_float32), run.recipe.observer
    if truth not in images.truths:  # the observer "random" is not a truth
        truth = None if None in images.truths else "mean"

    def error(located):
        distances = np.array([image.distances(truth, unit) for image in located])
        return float(np.nanmean(distances)) if np.isfinite(distances).any() else None

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
