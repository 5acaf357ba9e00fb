"""Activations of heatmaps and the standard deviations of the kernels before them.

The functions and the standard deviations of the initial kernels are taken from the
VerSe 2020 networks for vertebrae. The networks of 2019 and earlier use no activation
or tanh.
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
    """A smoothed ramp from 0 below 4.5 to 1 above 5.5."""
    return ops.softplus(x - 4.5) - ops.softplus(x - 5.5)


@keras.saving.register_keras_serializable(package="scn_keras")
def late_sigmoid(x):
    return ops.sigmoid(x - 5.0)


# Name -> (function, standard deviation of the head's initial kernel)
HEATMAP_ACTIVATIONS = {
    None: (keras.activations.linear, 1e-3),
    "tanh": (keras.activations.tanh, 1e-3),
    "abs_tanh": (abs_tanh, 1e-4),
    "square_tanh": (square_tanh, 0.05),
    "inv_gauss": (inv_gauss, 0.05),
    "squash": (squash, 0.05),
    "sigmoid": (late_sigmoid, 0.05),
}
