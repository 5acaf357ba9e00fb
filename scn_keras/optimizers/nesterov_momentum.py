import keras
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
class NesterovMomentum(keras.optimizers.Optimizer):
    """Gradient descent with Nesterov momentum, as in TensorFlow 1.

    With the gradient g, the learning rate r and the momentum m, a step is

        a = m a + g
        w = w - r (g + m a)

    The accumulator a is a sum of gradients. In `keras.optimizers.SGD(nesterov=True)` it
    is a sum of gradients times the learning rates of their steps. Both are equal with a
    constant learning rate. When the rate decreases, the steps decrease at once here,
    and with the momentum's delay in Keras: after a change from 1 to 0.1 with a momentum
    of 0.99, the next step is almost ten times as long there.

    Reference: `MomentumOptimizer(use_nesterov=True)` of TensorFlow 1, with which the
    networks of Payer et al. were trained. It is the form of Sutskever, Martens, Dahl,
    Hinton: On the importance of initialization and momentum in deep learning. ICML
    2013, with the momentum applied before the learning rate.

    Args:
        learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: Float, at least 0 and below 1.
        **kwargs: Arguments of every optimiser of Keras, such as `global_clipnorm`.

    Raises:
        ValueError: If the momentum is out of its range.

    Example:

    >>> optimizer = scn_keras.optimizers.NesterovMomentum(0.1, momentum=0.5)
    >>> weight = keras.Variable(0.0)
    >>> optimizer.build([weight])
    >>> optimizer.apply([np.float32(1.0)])  # -0.1 * (1 + 0.5 * 1)
    >>> round(float(weight), 4)
    -0.15
    """

    def __init__(self, learning_rate=0.01, momentum=0.99, name=None, **kwargs):
        if not 0.0 <= momentum < 1.0:
            raise ValueError(
                "`momentum` must be at least 0 and below 1. "
                f"Received: momentum={momentum}"
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.accumulators = self.add_optimizer_variables(variables, "accumulator")

    def update_step(self, gradient, variable, learning_rate):
        accumulator = self.accumulators[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate, variable.dtype)
        momentum = ops.cast(self.momentum, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        total = ops.add(ops.multiply(accumulator, momentum), gradient)
        self.assign(accumulator, total)
        step = ops.add(gradient, ops.multiply(momentum, total))
        self.assign_sub(variable, ops.multiply(rate, step))

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}
