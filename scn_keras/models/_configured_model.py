import keras


class ConfiguredModel(keras.Model):
    """A functional model whose configuration is the arguments of its constructor."""

    def __init__(self, inputs, outputs, dtype, arguments, **kwargs):
        super().__init__(inputs=inputs, outputs=outputs, dtype=dtype, **kwargs)
        # Keras does not keep the `dtype` of a functional model.
        self._policy = keras.dtype_policies.get(dtype)
        self._arguments = arguments

    def get_config(self):
        return {
            **self._arguments,
            "dtype": keras.saving.serialize_keras_object(self._policy),
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = keras.saving.deserialize_keras_object(
                config["dtype"], custom_objects=custom_objects
            )
        return cls(**config)
