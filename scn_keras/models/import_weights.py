import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from scn_keras.layers.local_refinement import LocalRefinement
from scn_keras.models import _pytorch_names, _tensorflow_names
from scn_keras.models._stored_weight import StoredWeight
from scn_keras.models.global_net import GlobalNet
from scn_keras.models.landmark_model import LandmarkModel

# What TensorFlow adds to the names of variables and of their values.
_ENDINGS = re.compile(r"(:0|/\.ATTRIBUTES/VARIABLE_VALUE)$")
_SHOWN = 3


def import_weights(
    model: keras.Model | LocalRefinement, arrays: Mapping[str, Any]
) -> None:
    """Sets the weights of a published network from a checkpoint of its authors.

    Arrays are assigned by the names that the authors' code gives to them, and kernels
    are transposed where their layout differs. Either all weights are set or none.

    Networks of Payer et al. (TensorFlow), in any variable scope:
    `SpatialConfigurationNet` (cephalograms, spine and the uncertainty paper),
    `LocalizationUNet`, `ConvolutionalNet`, `scn_miccai2016`, `scn_mmwhs`,
    `scn_verse2019` and `scn_verse2020`. For a `LandmarkModel`, the array `sigmas` of
    one number per landmark also sets the sigmas of its target. Slots of optimisers,
    counters, and sigmas with rotations are not used.

    Networks of Noothout et al. (PyTorch): `GlobalNet` for their `Resnet2D_34_AVP` and
    `Resnet3D_34_AVP`, and `LocalRefinement` for their `ResnetRandC`. Biases of
    convolutions before a normalisation become part of its mean. Their first convolution
    is padded by (3, 3) instead of (2, 3) pixels: votes of an imported `GlobalNet` are
    theirs for an image that is moved by one pixel to larger x, y(, z). Their patch
    centres are half a pixel further. Add 0.5 pixels along each axis to points of an
    imported `LocalRefinement` or, in the moved image, `GlobalNet`; without moving the
    image, add 1.5 pixels to those of `GlobalNet`.

    References: the names are those of the published code of Payer et al. (Medical
    Image Analysis 54, 2019; MICCAI 2016; VerSe 2019 and 2020) and Noothout et al. (IEEE
    Transactions on Medical Imaging 39(12), 2020).

    Args:
        model: One of these networks, a `LandmarkModel` with one, or a
            `LocalRefinement` that has been built.
        arrays: Dict from names to arrays. For TensorFlow,

                reader = tf.train.load_checkpoint("weights/model-30000")
                arrays = {
                    name: reader.get_tensor(name)
                    for name in reader.get_variable_to_shape_map()
                }

            and for PyTorch

                state = torch.load("model_300000.pt", map_location="cpu")["model"]
                arrays = {name: value.numpy() for name, value in state.items()}

    Raises:
        ValueError: If the network is not one of these, or if arrays are missing, not
            used, of another shape, or not finite.

    Example:

    >>> network = scn_keras.models.ConvolutionalNet(
    ...     2, filters=4, convolutions=1, kernel_size=3
    ... )
    >>> arrays = {
    ...     "net/downsampling/conv0/kernel": np.ones((3, 3, 1, 4)),
    ...     "net/downsampling/conv0/bias": np.zeros(4),
    ...     "net/downsampling/heatmaps/kernel": np.ones((1, 1, 4, 2)),
    ...     "net/downsampling/heatmaps/bias": np.zeros(2),
    ... }
    >>> scn_keras.models.import_weights(network, arrays)
    >>> heatmaps = network(np.ones((1, 8, 8, 1), "float32"))
    >>> float(heatmaps[0, 4, 4, 0])  # 9 pixels, 4 filters
    36.0
    """
    network = model.network if isinstance(model, LandmarkModel) else model
    weights, others = _weights_of(network)
    given = {
        _ENDINGS.sub("", name): array
        for name, array in arrays.items()
        if not others.search(_ENDINGS.sub("", name))
    }
    # The bias of a convolution may enter several weights.
    names = list(dict.fromkeys(name for weight in weights for name in weight.shapes))
    scope = _scope(names, given)
    found = {name: given.pop(scope + name, None) for name in names}
    _require_fit(network, weights, found, sorted(given), scope)
    values = [
        weight.value(*(np.asarray(found[name], "float32") for name in weight.shapes))
        for weight in weights
    ]
    for weight, value in zip(weights, values, strict=True):
        weight.variable.assign(value)
    if network is not model:
        _set_sigmas(model, arrays)


def _weights_of(network):
    """Returns the `StoredWeight`s of a network and the pattern of unused names."""
    weights, others = None, _pytorch_names.OTHER_ARRAYS
    if isinstance(network, LocalRefinement) and network.built:
        weights = _pytorch_names.local_weights(network)
    elif isinstance(network, GlobalNet):
        weights = _pytorch_names.global_weights(network)
    elif isinstance(network, keras.Model):
        weights = _tensorflow_names.tensorflow_weights(network)
        others = _tensorflow_names.OTHER_ARRAYS
    covered = {id(weight.variable) for weight in weights or ()}
    if weights is None or any(
        id(variable) not in covered
        for variable in network.weights
        if variable.dtype.startswith(("float", "bfloat"))  # not seeds
    ):
        raise ValueError(
            "`model` must be one of the authors' networks, such as "
            "SpatialConfigurationNet without `stride`, a LandmarkModel with one, or a "
            f"LocalRefinement that has been built. Received: {network!r}"
        )
    return weights, others


def _scope(names, given):
    """Returns the prefix of the names in a checkpoint that fits most of `names`."""
    known = {name.rpartition("/")[2].rpartition(".")[2] for name in names}
    scopes: dict[str, int] = {"": 0}
    for array in given:
        if array.rpartition("/")[2].rpartition(".")[2] not in known:
            continue
        for name in names:
            if array.endswith(name):
                scope = array[: len(array) - len(name)]
                scopes[scope] = scopes.get(scope, 0) + 1
    whole = {s: n for s, n in scopes.items() if not s or s[-1] in "/."}
    return max(whole, key=lambda scope: (whole[scope], -len(scope)))


def _require_fit(network, weights: list[StoredWeight], found, unused, scope):
    missing: list[str] = []
    wrong: list[str] = []
    not_finite: list[str] = []
    for weight in weights:
        for name, shape in weight.shapes.items():
            array = found[name]
            if array is None:
                missing.append(scope + name)
            elif np.shape(array) != shape:
                wrong.append(f"{scope}{name} {np.shape(array)} instead of {shape}")
            elif not np.all(np.isfinite(np.asarray(array, "float32"))):
                not_finite.append(scope + name)
    problems = [
        f"{what}: {_some(list(dict.fromkeys(values)))}"
        for what, values in (
            ("missing", missing),
            ("not used", unused),
            ("wrong shape", wrong),
            ("not finite", not_finite),
        )
        if values
    ]
    if problems:
        raise ValueError(
            f"The arrays do not fit the network {network.name!r}: "
            f"{'; '.join(problems)}. Build the network with the number of landmarks "
            "and the arguments of the checkpoint."
        )


def _some(values):
    rest = len(values) - _SHOWN
    return ", ".join(values[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _set_sigmas(model, arrays):
    for name, array in arrays.items():
        sigma = getattr(model.target, "sigma", None)
        if _ENDINGS.sub("", name).rpartition("/")[2] != "sigmas" or sigma is None:
            continue
        if np.shape(array) == tuple(sigma.shape) and len(sigma.shape) == 1:
            sigma.assign(np.asarray(array, "float32"))
