import keras
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rates of another schedule, multiplied by a factor.

    A training that recovers from a collapse continues with it at a lower rate.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule`.
        factor: Float, at least 0.

    Example:

    >>> decay = keras.optimizers.schedules.CosineDecay(0.1, 10)
    >>> round(float(scn_keras.optimizers.ScaledSchedule(decay, 0.5)(0)), 6)
    0.05
    """

    def __init__(self, schedule, factor):
        super().__init__()
        if not factor >= 0.0:
            raise ValueError(f"`factor` must be at least 0. Received: factor={factor}")
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step):
        return ops.multiply(self.schedule(step), self.factor)

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "factor": self.factor,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        schedule = keras.saving.deserialize_keras_object(
            config["schedule"], custom_objects=custom_objects
        )
        return cls(schedule, config["factor"])
