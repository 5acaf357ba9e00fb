"""What bounds the heatmaps of a network, and what standard deviation suits it.

The functions and the first kernels' standard deviations are those of the networks for
the vertebrae of VerSe 2020; for 2019 and earlier it is none, or tanh.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
def abs_tanh(x):
    return ops.abs(ops.tanh(x))


@keras.saving.register_keras_serializable(package="scn_keras")
def square_tanh(x):
    return ops.tanh(ops.square(x))


@keras.saving.register_keras_serializable(package="scn_keras")
def inv_gauss(x):
    return 1.0 - ops.exp(-ops.square(x))


@keras.saving.register_keras_serializable(package="scn_keras")
def squash(x):
    """From 0 below 4.5 to 1 above 5.5, with soft corners."""
    return ops.softplus(x - 4.5) - ops.softplus(x - 5.5)


@keras.saving.register_keras_serializable(package="scn_keras")
def late_sigmoid(x):
    return ops.sigmoid(x - 5.0)


# Name -> (function, standard deviation of the head's first kernel)
HEATMAP_ACTIVATIONS = {
    None: (keras.activations.linear, 1e-3),
    "tanh": (keras.activations.tanh, 1e-3),
    "abs_tanh": (abs_tanh, 1e-4),
    "square_tanh": (square_tanh, 0.05),
    "inv_gauss": (inv_gauss, 0.05),
    "squash": (squash, 0.05),
    "sigmoid": (late_sigmoid, 0.05),
}
