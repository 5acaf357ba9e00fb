import keras
from keras import ops

from scn_keras.optimizers._gradient_wrapper import GradientWrapper


@keras.saving.register_keras_serializable(package="scn_keras")
class MovingAverageClip(GradientWrapper):
    """Limits the norm of the gradients to a multiple of its moving average.

    In each step, gradients whose global norm exceeds `factor` times the average are
    scaled to this limit. The average is then updated with the limited norm:
    `momentum * average + (1 - momentum) * min(norm, limit)`. A norm that is not finite
    does not change the average, and the gradients are passed on as they are.

    Reference: Payer et al., in the code of their entry to VerSe 2020, from which the
    default values are.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`, such as `keras.optimizers.Adam`.
            Learning rate, averages of weights and other settings are those of the inner
            optimiser.
        factor: Float above 0, the limit as a multiple of the average.
        momentum: Float from 0 to below 1, the momentum of the average.
        initial_norm: Float above 0, the average before the first step.
        name: Str or `None`.

    Raises:
        ValueError: If `inner_optimizer` is not an optimiser, a setting of the inner
            optimiser is given, or a number is out of its range.

    Example:

    >>> adam = keras.optimizers.Adam(1e-3)
    >>> optimizer = scn_keras.optimizers.MovingAverageClip(adam)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(optimizer, "mse")
    >>> _ = model.fit(np.zeros((8, 2)), np.zeros((8, 1)), verbose=0)
    >>> round(float(optimizer.average_norm), 4)  # 0.99 * 10: the gradients are zero
    9.9
    """

    def __init__(
        self,
        inner_optimizer,
        factor=2.0,
        momentum=0.99,
        initial_norm=10.0,
        name=None,
        **kwargs,
    ):
        super().__init__(inner_optimizer, name=name, **kwargs)
        for key, value in (("factor", factor), ("initial_norm", initial_norm)):
            if not value > 0.0:
                raise ValueError(f"`{key}` must be above 0. Received: {key}={value}")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(
                "`momentum` must be at least 0 and below 1. "
                f"Received: momentum={momentum}"
            )
        self.factor = factor
        self.momentum = momentum
        self.initial_norm = initial_norm

    def build(self, variables):
        super().build(variables)
        self.average_norm = self.add_variable(
            (), keras.initializers.Constant(self.initial_norm), name="average_norm"
        )

    def divisor(self, norm):
        average = ops.cast(self.average_norm, "float32")
        limit = self.factor * average
        new = self.momentum * average + (1.0 - self.momentum) * ops.minimum(norm, limit)
        usable = ops.isfinite(norm)
        self.average_norm.assign(ops.where(usable, new, average))
        return ops.where(usable, ops.maximum(norm / limit, 1.0), ops.ones_like(norm))

    def get_config(self):
        return {
            **super().get_config(),
            "factor": self.factor,
            "momentum": self.momentum,
            "initial_norm": self.initial_norm,
        }
