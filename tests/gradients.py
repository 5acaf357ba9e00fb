"""Gradients on every backend, as NumPy arrays."""

import keras
import numpy as np
from keras import ops


def gradients(function, *arrays):
    """Returns the gradients of a scalar function of tensors, zero where it has none."""
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors)
    elif keras.backend.backend() == "jax":
        import jax

        every = tuple(range(len(tensors)))
        found = jax.jit(jax.grad(function, argnums=every))(*tensors)
    else:
        import torch

        tensors = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        found = torch.autograd.grad(function(*tensors), tensors, allow_unused=True)
    return [
        np.zeros(tensor.shape, "float32")
        if gradient is None
        else ops.convert_to_numpy(ops.cast(gradient, "float32"))
        for gradient, tensor in zip(found, tensors, strict=True)
    ]


def weight_gradients(function, weights):
    """Returns the gradients of a scalar function of nothing by Keras variables."""

    def of_values(*values):
        pairs = list(zip(weights, values, strict=True))
        with keras.StatelessScope(state_mapping=pairs):
            return function()

    return gradients(of_values, *[weight.value for weight in weights])
