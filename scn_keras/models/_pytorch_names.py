"""Names of the weights of Noothout et al.'s networks in their PyTorch checkpoints."""

import re

import numpy as np

from scn_keras.models._stored_weight import StoredWeight, same

OTHER_ARRAYS = re.compile(r"\.num_batches_tracked$")


def global_weights(network):
    """Returns the `StoredWeight`s of a `GlobalNet`."""
    layers = {layer.name: layer for layer in network.layers}
    rank = len(network.inputs[0].shape) - 2
    arguments = network.get_config()
    blocks, reductions = arguments["blocks"], arguments["reductions"]
    weights = _normalized_convolution(layers, "stem", "model.0", "model.1")
    index = 3  # convolution, normalisation, ReLU
    for stage, count in enumerate(blocks):
        if stage + 1 < reductions:
            pool = layers[f"pool_{stage}_normalization"]
            weights += _normalization(pool, f"model.{index + 1}")
            index += 3  # pooling, normalisation, ReLU
        for i in range(count):
            weights += _residual(layers, f"stage_{stage}_{i}", f"model.{index}", rank)
            index += 1
    for name, theirs, axes in (
        ("presence", ("FCC1.0", "FCC2.0", "outputC.0"), 1),
        ("displacement", ("FCR1.0", "FCR2.0", "outputR"), rank),
    ):
        for suffix, place, reversed_axes in zip(
            ("_0", "_1", ""), theirs, (1, 1, axes), strict=True
        ):
            weights += _convolution(layers[name + suffix], place, reversed_axes)
    return weights


def local_weights(layer):
    """Returns the `StoredWeight`s of a `LocalRefinement`."""
    weights = []
    for i, part in enumerate((*layer.fine, *layer.coarse)):
        # Three entries for each convolution, and the pooling between both parts.
        index = 3 * i + (i >= len(layer.fine))
        weights += _of_landmarks(part, f"feats.{index}", f"feats.{index + 1}")
    for name, parts in (
        ("classification", layer.presence),
        ("regress", layer.displacement),
    ):
        for i, part in enumerate(parts):
            reverse = name == "regress" and i == 2
            weights += _of_landmarks(part, f"{name}.{2 * i}", None, reverse)
    return weights


def _residual(layers, ours, theirs, rank):
    block = f"{theirs}.conv_block"
    weights = _normalized_convolution(layers, f"{ours}_0", f"{block}.0", f"{block}.1")
    weights += _normalized_convolution(layers, f"{ours}_1", f"{block}.3", f"{block}.4")
    skip = f"{ours}_skip"
    if skip not in layers:
        return weights
    # Their skip connections of volumes are not normalised.
    normalization = f"{theirs}.shortcut.bn" if rank == 2 else None
    return weights + _normalized_convolution(
        layers, skip, f"{theirs}.shortcut.conv", normalization
    )


def _normalized_convolution(layers, ours, theirs, normalization):
    layer, normalized = layers[ours], layers[f"{ours}_normalization"]
    weights = [_kernel(layer.kernel, theirs)]
    bias = f"{theirs}.bias"
    if normalization is None:
        return weights + _identity(normalized, bias)
    return weights + _normalization(normalized, normalization, bias)


def _normalization(layer, name, bias=None):
    """The normalisation of a convolution, whose bias is subtracted from the mean."""
    shape = tuple(layer.gamma.shape)
    means = {f"{name}.running_mean": shape, **({bias: shape} if bias else {})}
    return [
        same(layer.gamma, f"{name}.weight"),
        same(layer.beta, f"{name}.bias"),
        StoredWeight(layer.moving_mean, means, lambda mean, b=0.0: mean - b),
        same(layer.moving_variance, f"{name}.running_var"),
    ]


def _identity(layer, bias):
    """A normalisation that adds the bias of a convolution without normalisation."""
    shape = tuple(layer.gamma.shape)

    def constant(variable, value):
        return StoredWeight(variable, {bias: shape}, lambda b: np.full_like(b, value))

    return [
        constant(layer.gamma, np.sqrt(1.0 + layer.epsilon)),
        same(layer.beta, bias),
        constant(layer.moving_mean, 0.0),
        constant(layer.moving_variance, 1.0),
    ]


def _convolution(layer, name, axes):
    """A convolution whose filters are displacements along `axes`, (z,) y, x."""
    *size, channels, filters = layer.kernel.shape
    stored = (filters, channels, *size)
    return [
        StoredWeight(
            layer.kernel,
            {f"{name}.weight": stored},
            lambda array: _transposed(_reversed(array, axes)),
        ),
        StoredWeight(
            layer.bias,
            {f"{name}.bias": (filters,)},
            lambda array: _reversed(array, axes),
        ),
    ]


def _of_landmarks(layer, name, normalization=None, reverse=False):
    """The convolutions of all landmarks, each with a network of its own."""
    landmarks, *size, channels, filters = layer.kernel.shape
    axes = filters if reverse else 1

    def every(variable, shapes, value):
        names = {
            f"regressors.{landmark}.{key}": shape
            for landmark in range(landmarks)
            for key, shape in shapes.items()
        }

        def stacked(*arrays):
            parts = np.split(np.arange(len(arrays)), landmarks)
            return np.stack([value(*(arrays[i] for i in part)) for part in parts])

        return StoredWeight(variable, names, stacked)

    def kernel(array):
        return _transposed(_reversed(array, axes))

    flat = (filters,)
    weights = [
        every(layer.kernel, {f"{name}.weight": (filters, channels, *size)}, kernel)
    ]
    bias = {f"{name}.bias": flat}
    if normalization is None:
        return [*weights, every(layer.bias, bias, lambda b: _reversed(b, axes))]
    means = {f"{normalization}.running_mean": flat, **bias}
    return [
        *weights,
        every(layer.gamma, {f"{normalization}.weight": flat}, lambda array: array),
        every(layer.beta, {f"{normalization}.bias": flat}, lambda array: array),
        every(layer.moving_mean, means, lambda mean, b: mean - b),
        every(
            layer.moving_variance,
            {f"{normalization}.running_var": flat},
            lambda array: array,
        ),
    ]


def _kernel(variable, name):
    *size, channels, filters = variable.shape
    shapes = {f"{name}.weight": (filters, channels, *size)}
    return StoredWeight(variable, shapes, _transposed)


def _transposed(kernel):
    """Returns `(*size, channels, filters)` from `(filters, channels, *size)`."""
    return np.moveaxis(kernel, (0, 1), (-1, -2))


def _reversed(array, axes):
    """Turns displacements in (z,) y, x of each landmark to x, y(, z)."""
    groups = array.reshape(-1, axes, *array.shape[1:])
    return groups[:, ::-1].reshape(array.shape)
