import keras
from keras import ops

from scn_keras.optimizers._gradient_wrapper import GradientWrapper


@keras.saving.register_keras_serializable(package="scn_keras")
class NormalizedGradient(GradientWrapper):
    """Scales the gradients of each step to a global norm of 1 for another optimiser.

    It prevents collapses of networks that multiply heatmaps at high learning rates. The
    gradient of each factor of a product is proportional to the other factor, so the
    norm rises steeply in the first steps, and single batches have a norm many times
    that of the others. Adam divides by the root of a mean
    over about a thousand steps: after such a batch, the weights move by up to 30 times
    the learning rate in the direction of that batch. This saturates the tanh of the
    spatial configuration, whose gradient is then zero, and the training does not
    recover. With normalised gradients, all batches have the same influence.

    Adam does not depend on the scale of the gradients otherwise, so learning rates keep
    their meaning. For SGD, the learning rate is the length of a step.

    A gradient that is zero or not finite is passed on as it is.

    Reference for normalised gradients: Hazan, Levy, Shalev-Shwartz: Beyond Convexity:
    Stochastic Quasi-Convex Optimization. NeurIPS 2015. They are not part of the
    publication of the SpatialConfiguration-Net, which limits the norm to 10,000.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`, such as `keras.optimizers.Adam`.
            Learning rate, averages of weights and other settings are those of the inner
            optimiser.
        name: Str or `None`.

    Raises:
        ValueError: If `inner_optimizer` is not an optimiser, or a setting of the inner
            optimiser is given.

    Example:

    >>> adam = keras.optimizers.Adam(1e-3)
    >>> optimizer = scn_keras.optimizers.NormalizedGradient(adam)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(optimizer, "mse")
    >>> _ = model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)
    >>> int(optimizer.iterations)
    1
    """

    def divisor(self, norm):
        usable = ops.logical_and(ops.isfinite(norm), norm > 0.0)
        return ops.where(usable, norm, ops.ones_like(norm))
