import keras
from keras import ops

# Settings of every optimiser of Keras, which belong to the inner optimiser here.
_INNER_ONLY = (
    *("learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm"),
    *("use_ema", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor"),
    "gradient_accumulation_steps",
)


class GradientWrapper(keras.optimizers.Optimizer):
    """Base class of optimisers that change the gradients for another optimiser.

    Subclasses define `divisor`, by which all gradients of a step are divided.
    """

    def __init__(self, inner_optimizer, name=None, **kwargs):
        given = [key for key in kwargs if key in _INNER_ONLY]
        if given:
            raise ValueError(
                f"Give {', '.join(given)} to the inner optimizer, for example "
                f"{type(self).__name__}(Adam({given[0]}=...)). Received: {kwargs}"
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

    def divisor(self, norm):
        """Returns the number by which all gradients of a step are divided.

        Args:
            norm: float32 scalar, the global norm of the gradients, which may be zero or
                not finite.
        """
        raise NotImplementedError

    def apply(self, grads, trainable_variables=None):
        if not self.built:  # type: ignore[has-type]
            self.build(trainable_variables)
            self.built = True
        squares = [
            ops.sum(ops.square(ops.cast(grad, "float32")))
            for grad in grads
            if grad is not None
        ]
        if squares:
            divisor = self.divisor(ops.sqrt(sum(squares)))
            grads = [
                None
                if grad is None
                else ops.divide(grad, ops.cast(divisor, grad.dtype))
                for grad in grads
            ]
        self.inner_optimizer.apply(grads, trainable_variables)

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
        return cls(**{**config, "inner_optimizer": inner})
