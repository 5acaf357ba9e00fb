import keras
from keras import ops

from scn_keras.geometry import apply_affine
from scn_keras.layers.gaussian_heatmap import GaussianHeatmap
from scn_keras.layers.heatmap_peak import HeatmapPeak


@keras.saving.register_keras_serializable(package="scn_keras")
class LandmarkModel(keras.Model):
    """Trains a network that makes heatmaps on points, with `fit`.

    The targets of `fit` are points, not heatmaps: `y` is a dict of `points`
    `(batch, landmarks, D)` in pixels of the grid, NaN where a landmark is missing,
    and `affine` `(batch, D + 1, D + 1)` from grid pixels to millimetres. The model
    renders Gaussian targets on the device, hands them to the compiled loss with
    missing landmarks masked, decodes the heatmaps once, and hands millimetres to
    the compiled metrics.

    The loss is `data + scale * (sigma_penalty / 2 * sum(sigma ** 2) + weight_decay
    / 2 * sum(kernel ** 2))`, where `scale` is 1 for losses in the reference's sum
    form, see `HeatmapSquaredError`. Sigmas of missing landmarks are not penalised;
    biases and sigmas do not decay. A `sample_weight` `(batch,)` or, from a data set,
    `(batch, landmarks)` multiplies the mask.

    Reference: Payer et al., Medical Image Analysis 54, 2019, section 3.

    Args:
        network: Keras model, image `(batch, *spatial, channels)` to heatmaps
            `(batch, *spatial, landmarks)`.
        target: `GaussianHeatmap` or `None` for one of sigma 3 and height 1.
        peak: `HeatmapPeak` or `None` for the default one.
        sigma_penalty: Float, the reference's alpha; of use where `target` is
            learnable.
        weight_decay: Float, the reference's lambda, on the kernels of `network`.

    Raises:
        ValueError: If network and target differ in the number of landmarks.

    Example:

    >>> network = scn_keras.models.SpatialConfigurationNet(
    ...     3, (32, 32, 1), filters=4, spatial_kernel_size=3, spatial_factor=8
    ... )
    >>> model = scn_keras.models.LandmarkModel(network)
    >>> model.compile(
    ...     keras.optimizers.Adam(1e-3),
    ...     scn_keras.losses.HeatmapSquaredError("sum"),
    ...     metrics=[
    ...         scn_keras.metrics.PointError(),
    ...         scn_keras.metrics.SuccessDetectionRate(2),
    ...     ],
    ... )
    >>> images = np.random.default_rng(0).normal(size=(2, 32, 32, 1))
    >>> points = np.array([[[4, 5], [9, 20], [np.nan, np.nan]]] * 2, "float32")
    >>> affine = np.stack([np.diag([0.1, 0.1, 1.0])] * 2)
    >>> y = {"points": points, "affine": affine}
    >>> history = model.fit(images, y, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['loss', 'point_error', 'sdr_2']
    >>> model.localizer.predict(images, verbose=0)["points"].shape
    (2, 3, 2)
    """

    def __init__(
        self,
        network,
        target=None,
        peak=None,
        sigma_penalty=0.0,
        weight_decay=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        shape = tuple(network.output_shape)
        num_landmarks, rank = shape[-1], len(shape) - 2
        self.network = network
        self.target = target or GaussianHeatmap(num_landmarks, name="target")
        self.peak = peak or HeatmapPeak(name="peak")
        if self.target.num_landmarks != num_landmarks:
            raise ValueError(
                f"The network makes {num_landmarks} heatmaps and the target layer "
                f"renders {self.target.num_landmarks}: they must be as many."
            )
        self.sigma_penalty = sigma_penalty
        self.weight_decay = weight_decay
        if not self.target.built:
            self.target.build((None, num_landmarks, rank), shape)
        if not self.peak.built:
            self.peak.build(shape)
        self.built = True

    def build(self, input_shape):
        self.built = True  # every part was built when the model was made

    def call(self, inputs, training=None):
        return self.network(inputs, training=training)

    def compute_output_shape(self, input_shape):
        return self.network.compute_output_shape(input_shape)

    @property
    def localizer(self):
        """The network with the peak layer on top: images in, points and scores out.

        `predict` on it decodes batch by batch and never collects heatmaps.
        """
        if "_localizer" not in self.__dict__:
            # Past Keras's attribute tracking: the localizer owns no weights, and
            # must not appear twice in a saved file.
            self.__dict__["_localizer"] = _Localizer(
                self.network, self.target, self.peak
            )
        return self.__dict__["_localizer"]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        points = ops.convert_to_tensor(self._labels(y)["points"], "float32")
        present = ops.logical_not(ops.any(ops.isnan(points), axis=-1))
        present = ops.cast(present, "float32")
        weight = present
        sample_weight = self._weights(sample_weight)
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, "float32")
            if len(sample_weight.shape) == 1:
                sample_weight = sample_weight[:, None]
            weight = present * sample_weight
        loss = super().compute_loss(
            x, self.target(points, y_pred), y_pred, weight, training
        )
        penalty = 0.0
        if self.sigma_penalty:
            share = ops.mean(present, axis=0)
            penalty += self.sigma_penalty * ops.sum(share * self.target.sigma**2)
        if self.weight_decay:
            penalty += self.weight_decay * sum(
                ops.sum(ops.square(ops.cast(kernel, "float32")))
                for kernel in self.network.trainable_weights
                if kernel.name == "kernel"
            )
        scale = getattr(self.loss, "penalty_scale", lambda _: 1.0)(y_pred)
        return loss + 0.5 * scale * penalty

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y = self._labels(y)
        affine = ops.convert_to_tensor(y["affine"], "float32")
        true = apply_affine(affine, ops.convert_to_tensor(y["points"], "float32"))
        found = apply_affine(affine, self.peak(y_pred)["points"])
        weight = self._weights(sample_weight)
        return super().compute_metrics(x, true, found, weight)

    def save_own_variables(self, store):
        # Keras leaves out what its dropout layers will draw next, without which a
        # training that continues from a file would not be the training that goes on.
        for number, state in enumerate(self._seed_states()):
            store[f"seed_{number}"] = state

    def load_own_variables(self, store):
        for number, state in enumerate(self._seed_states()):
            if f"seed_{number}" in store:
                state.assign(ops.cast(store[f"seed_{number}"], state.dtype))

    def get_config(self):
        parts = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("network", "target", "peak")
        }
        return {
            **parts,
            "sigma_penalty": self.sigma_penalty,
            "weight_decay": self.weight_decay,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in ("network", "target", "peak"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        return cls(**config)

    def _seed_states(self):
        return [v for v in self.network.variables if v.name == "seed_generator_state"]

    @staticmethod
    def _labels(y):
        if not isinstance(y, dict) or not {"points", "affine"} <= set(y):
            received = sorted(y) if isinstance(y, dict) else type(y).__name__
            raise ValueError(
                "`y` must be a dict with `points` (batch, landmarks, dimensions) in "
                "grid pixels and `affine` (batch, dimensions + 1, dimensions + 1) "
                f"from grid pixels to millimetres. Received: {received}"
            )
        return y

    @staticmethod
    def _weights(sample_weight):
        # For arrays, Keras asks for weights in the structure of `y`, and brings the
        # weights of images into it: once for the points and once for the affine.
        return (
            sample_weight["points"]
            if isinstance(sample_weight, dict)
            else sample_weight
        )


class _Localizer(keras.Model):
    def __init__(self, network, target, peak):
        super().__init__(name="localizer")
        self.network = network
        self.target = target
        self.peak = peak

    def build(self, input_shape):
        self.built = True

    def call(self, inputs, training=None):
        heatmaps = self.network(inputs, training=training)
        return self.peak(heatmaps, height=self.target.height())
