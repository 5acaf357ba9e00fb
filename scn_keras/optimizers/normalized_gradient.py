import keras
from keras import ops

# Settings of every optimiser of Keras, which belong to the inner optimiser here.
_INNER_ONLY = (
    *("learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm"),
    *("use_ema", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor"),
    "gradient_accumulation_steps",
)


@keras.saving.register_keras_serializable(package="scn_keras")
class NormalizedGradient(keras.optimizers.Optimizer):
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

    def __init__(self, inner_optimizer, name=None, **kwargs):
        given = [key for key in kwargs if key in _INNER_ONLY]
        if given:
            raise ValueError(
                f"Give {', '.join(given)} to the inner optimizer, for example "
                f"NormalizedGradient(Adam({given[0]}=...)). Received: {kwargs}"
            )
        if not isinstance(inner_optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "`inner_optimizer` must be a keras.optimizers.Optimizer. "
                f"Received: inner_optimizer={inner_optimizer!r}"
            )
        super().__init__(learning_rate=0.0, name=name, **kwargs)
        self.inner_optimizer = inner_optimizer

    def build(self, variables):
        self.inner_optimizer.build(variables)
        super().build(variables)

    @property
    def variables(self):
        return [*self._variables, *self.inner_optimizer.variables]

    @property
    def iterations(self):
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self):
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    def apply(self, grads, trainable_variables=None):
        if not self.built:  # type: ignore[has-type]
            self.build(trainable_variables)
            self.built = True
        self.inner_optimizer.apply(_normalized(grads), trainable_variables)

    def finalize_variable_values(self, var_list):
        self.inner_optimizer.finalize_variable_values(var_list)

    def scale_loss(self, loss):
        return self.inner_optimizer.scale_loss(loss)

    def get_config(self):
        # Settings of the base class belong to the inner optimiser.
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"name": self.name, "inner_optimizer": inner}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inner = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects=custom_objects
        )
        return cls(inner, config["name"])


def _normalized(grads):
    """Returns the gradients, some of which may be `None`, divided by their norm."""
    squares = [
        ops.sum(ops.square(ops.cast(grad, "float32")))
        for grad in grads
        if grad is not None
    ]
    if not squares:
        return grads
    norm = ops.sqrt(sum(squares))
    usable = ops.logical_and(ops.isfinite(norm), norm > 0.0)
    divisor = ops.where(usable, norm, ops.ones_like(norm))
    return [
        None if grad is None else ops.divide(grad, ops.cast(divisor, grad.dtype))
        for grad in grads
    ]
