from keras import ops


def kernel_decay(factor, weights):
    """Returns `factor / 2` times the sum of all squared kernels."""
    squares = [
        ops.sum(ops.square(ops.cast(kernel, "float32")))
        for kernel in weights
        if kernel.name.endswith("kernel")
    ]
    return 0.5 * factor * sum(squares)
