import math

import keras
from keras import ops

from scn_keras.geometry import apply_affine
from scn_keras.layers.gaussian_heatmap import GaussianHeatmap
from scn_keras.layers.heatmap_peak import HeatmapPeak
from scn_keras.layers.patch_target import PatchTarget
from scn_keras.layers.patch_vote import PatchVote
from scn_keras.models._configured_model import ConfiguredModel
from scn_keras.models._heatmap_stride import to_grid, to_heatmaps
from scn_keras.models._keras_contract import (
    input_signature,
    require_landmark_loss,
    share_of_replica,
)
from scn_keras.models._kernel_decay import kernel_decay
from scn_keras.models._localizer import Localizer

_MISSING = ("mask", "zero")
# The attributes of a network that `LandmarkModel` uses, besides inputs and outputs.
_NETWORK_ATTRIBUTES = ("heatmap_stride", "patch_size")


@keras.saving.register_keras_serializable(package="scn_keras")
class LandmarkModel(keras.Model):
    """Trains a network for landmark localisation on points, with `fit`.

    The targets of `fit` are points, not heatmaps. `y` is a dict of `points`
    `(batch, landmarks, D)` in pixels of the grid, NaN for missing landmarks, and
    `affine` `(batch, D + 1, D + 1)` from grid pixels to millimetres. The model renders
    Gaussian targets on the device and passes them to the compiled loss, with missing
    landmarks masked. It decodes the heatmaps once and passes points in millimetres to
    the compiled metrics.

    The loss is `data + scale * (sigma_penalty * penalty + weight_decay / 2 *
    sum(kernel ** 2))`, where `penalty` is the sum of the target's `penalty()` over the
    landmarks that are present and `scale` is 1 for losses in the reference's sum form,
    see `HeatmapSquaredError`. Weight decay does not apply to biases and sigmas. The
    mask is multiplied by `sample_weight`, which is `(batch,)` or, from a data set,
    `(batch, landmarks)`. A loss whose attribute `on_points` is true, see
    `CoordinateLoss`, receives points instead of heatmaps.

    A landmark outside the grid is not missing. Its target heatmap is the part of its
    Gaussian inside the grid, which is zero a few sigmas beyond the border. An image
    with pixels that are not finite gives a loss that is not finite.
    `keras.callbacks.TerminateOnNaN` stops the training in this case.

    A network whose heatmaps are coarser than the image must have an attribute
    `heatmap_stride`, s: pixel i of a heatmap covers the pixels `s * i` to `s * i + s -
    1` of the grid. All points are in pixels of the grid, sigmas in pixels of the
    heatmaps.

    A network like `GlobalNet` predicts votes of patches instead of heatmaps and must
    have an attribute `patch_size`. Its target layer is `PatchTarget`, its peak layer
    `PatchVote` and its loss `PatchLoss`.

    Reference: Payer et al., Medical Image Analysis 54, 2019, section 3.

    Args:
        network: Keras model from images `(batch, *spatial, channels)` to heatmaps
            `(batch, *spatial, landmarks)` or votes
            `(batch, *patches, landmarks, 1 + D)`.
        target: `GaussianHeatmap` or `None` for sigma 3 and height 1. For votes,
            `PatchTarget` or `None`.
        peak: `HeatmapPeak` or `None` for its defaults. For votes, `PatchVote` or
            `None`. If there are several peaks per heatmap, metrics use the highest.
        sigma_penalty: Float, the reference's alpha, for a learnable `target`.
        weight_decay: Float, the reference's lambda, on the kernels of `network`.
        missing: `"mask"` excludes the heatmaps of missing landmarks from the loss.
            `"zero"`, the convention of the reference, trains them to be zero, so that
            the score of a missing landmark is low. For votes, it does this with the
            probabilities.
        presence_threshold: Float from 0 to 1 or `None`. For the metrics, landmarks with
            a lower score are missing (NaN).

    Raises:
        ValueError: If an argument is out of its range, network and target differ in
            the number of landmarks, or target and loss do not match.

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

    _PARTS: tuple[str, ...] = ("network", "target", "peak")

    def __init__(
        self,
        network,
        target=None,
        peak=None,
        sigma_penalty=0.0,
        weight_decay=0.0,
        missing="mask",
        presence_threshold=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if missing not in _MISSING:
            raise ValueError(
                f"`missing` must be one of {_MISSING}. Received: missing={missing!r}"
            )
        if presence_threshold is not None and not 0.0 <= presence_threshold <= 1.0:
            raise ValueError(
                "`presence_threshold` must be a score, from 0 to 1. Received: "
                f"presence_threshold={presence_threshold}"
            )
        shape = tuple(network.output_shape)
        self._rank = rank = len(network.inputs[0].shape) - 2
        num_landmarks = shape[1 + rank]
        self._votes = len(shape) == rank + 3
        if self._votes:
            size = network.patch_size
            target = target or PatchTarget(num_landmarks, size, name="target")
            peak = peak or PatchVote(size, name="peak")
        self.network = network
        self.target = target or GaussianHeatmap(num_landmarks, name="target")
        self.peak = peak or HeatmapPeak(name="peak")
        if self.target.num_landmarks != num_landmarks:
            raise ValueError(
                "The network and the target layer must have the same number of "
                f"landmarks. Received: network with {num_landmarks} landmarks, "
                f"target.num_landmarks={self.target.num_landmarks}"
            )
        kinds = isinstance(self.target, PatchTarget), isinstance(self.peak, PatchVote)
        if kinds != (self._votes, self._votes) or (self._votes and sigma_penalty):
            raise ValueError(
                "Heatmaps require `GaussianHeatmap` and `HeatmapPeak`. Votes of "
                "patches require `PatchTarget` and `PatchVote`, without "
                "`sigma_penalty`. "
                f"Received: outputs of shape {shape}, target={self.target}, "
                f"peak={self.peak}, sigma_penalty={sigma_penalty}"
            )
        self.sigma_penalty = sigma_penalty
        self.weight_decay = weight_decay
        self.missing = missing
        self._presence_threshold = presence_threshold
        if not self.target.built:
            self.target.build((None, num_landmarks, rank), shape)
        if not self.peak.built:
            self.peak.build(shape)
        self._height = None
        if presence_threshold is not None:
            self._height = _TargetHeight(num_landmarks)
        self.built = True

    def build(self, input_shape):
        self.built = True  # the constructor builds every part

    def validate_loss(self):
        """Validates that the compiled loss has one value per image and landmark.

        Raises:
            ValueError: If it returns another shape, such as `"mse"`.
        """
        require_landmark_loss(self)

    def export(self, filepath, *args, **kwargs):
        """Exports the model, see `keras.Model.export`. It need not be called before."""
        kwargs.setdefault("input_signature", input_signature(self.network))
        return super().export(filepath, *args, **kwargs)

    def call(self, inputs, training=None):
        return self.network(inputs, training=training)

    def compute_output_shape(self, input_shape):
        return self.network.compute_output_shape(input_shape)

    @property
    def presence_threshold(self):
        """The threshold of presence. To change it, create a model of the same parts."""
        return self._presence_threshold

    @property
    def localizer(self):
        """A model from images to points, scores and covariances, including `peak`.

        Its `predict` decodes the heatmaps of each batch and does not collect them.
        """
        if "_localizer" not in self.__dict__:
            # Bypasses Keras's attribute tracking: the localizer has no weights of its
            # own and must not be saved a second time.
            self.__dict__["_localizer"] = Localizer(self)
        return self.__dict__["_localizer"]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        points, _ = self._labels(y)
        if self._height is not None:
            self._height.update_state(self.target.height())
        present = ops.logical_not(ops.any(ops.isnan(points), axis=-1))
        truth = self._truth(to_heatmaps(points, self.network), present, y_pred)
        present = ops.cast(present, "float32")
        weight = ops.ones_like(present) if self.missing == "zero" else present
        weight = self._weighted(weight, sample_weight)
        loss = super().compute_loss(x, truth, y_pred, weight, training)
        penalty = 0.0
        if self.sigma_penalty:
            share = ops.mean(present, axis=0)
            penalty += self.sigma_penalty * ops.sum(share * self.target.penalty())
        if self.weight_decay:
            penalty += kernel_decay(self.weight_decay, self.trainable_weights)
        if self.sigma_penalty or self.weight_decay:
            scale = getattr(self.loss, "penalty_scale", lambda _: 1.0)(y_pred)
            loss += share_of_replica(scale * penalty)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        points, affine = self._labels(y)
        peaks = self._peaks(y_pred)
        predicted = peaks["points"]
        if self.presence_threshold is not None:
            absent = peaks["score"] < self.presence_threshold
            predicted = ops.where(absent[..., None], math.nan, predicted)
        true, predicted = apply_affine(affine, points), apply_affine(affine, predicted)
        weight = self._weights(sample_weight)
        return super().compute_metrics(x, true, predicted, weight)

    def save_own_variables(self, store):
        # Keras does not save the state of the dropout layers' random generators. A
        # training that is continued from a file needs it to reproduce an
        # uninterrupted training.
        for number, state in enumerate(self._seed_states()):
            store[f"seed_{number}"] = state

    def load_own_variables(self, store):
        for number, state in enumerate(self._seed_states()):
            if f"seed_{number}" in store:
                state.assign(ops.cast(store[f"seed_{number}"], state.dtype))

    def get_config(self):
        parts = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in self._PARTS
        }
        return {
            **parts,
            **self._network_attributes(),
            "sigma_penalty": self.sigma_penalty,
            "weight_decay": self.weight_decay,
            "missing": self.missing,
            "presence_threshold": self.presence_threshold,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in cls._PARTS:
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        for name in _NETWORK_ATTRIBUTES:
            if name in config:
                setattr(config["network"], name, config.pop(name))
        return cls(**config)

    def _network_attributes(self):
        """Returns the attributes that Keras does not save with a functional model."""
        if isinstance(self.network, ConfiguredModel):
            return {}
        return {
            name: getattr(self.network, name)
            for name in _NETWORK_ATTRIBUTES
            if hasattr(self.network, name)
        }

    def _seed_states(self):
        return [
            variable
            for name in self._PARTS
            for variable in getattr(self, name).variables
            if variable.name == "seed_generator_state"
        ]

    def _peaks(self, y_pred):
        """Returns the highest peak of every landmark from the output of `call`."""
        height = 1.0 if self._height is None else self._height.value
        peaks = to_grid(self.peak(y_pred, height=height), self.network)
        if self.peak.num_peaks > 1:
            peaks = {name: value[:, :, 0] for name, value in peaks.items()}
        return peaks

    def _weighted(self, weight, sample_weight):
        """Multiplies the weights of landmarks by the user's sample weights."""
        sample_weight = self._weights(sample_weight)
        if sample_weight is None:
            return weight
        sample_weight = ops.cast(sample_weight, "float32")
        if len(sample_weight.shape) == 1:
            sample_weight = sample_weight[:, None]
        return weight * sample_weight

    def _truth(self, points, present, heatmaps):
        """Returns the true values for the loss: target heatmaps or votes, or points."""
        self.validate_loss()
        if getattr(self.loss, "on_votes", False) != self._votes:
            raise ValueError(
                "`PatchLoss` requires votes of patches, all other losses heatmaps. "
                f"Received: loss={self.loss}, outputs of shape {tuple(heatmaps.shape)}"
            )
        if getattr(self.loss, "on_points", False):
            if self.missing == "zero":
                raise ValueError(
                    f"The loss `{self.loss.name}` compares points and has no target "
                    "for a missing landmark. Use `missing='mask'`. Received: "
                    f"missing={self.missing!r}"
                )
            return ops.where(present[..., None], points, ops.zeros_like(points))
        if getattr(self.loss, "unit_height", False) and self.target.gamma is not None:
            raise ValueError(
                f"The loss `{self.loss.name}` requires targets of height 1. Create the "
                "target layer without `gamma`. Received: "
                f"gamma={self.target.gamma}"
            )
        return self.target(points, heatmaps)

    def _labels(self, y):
        """Returns points and affine of `y` as tensors."""
        if not isinstance(y, dict) or not {"points", "affine"} <= set(y):
            received = sorted(y) if isinstance(y, dict) else type(y).__name__
            raise ValueError(
                "`y` must be a dict with `points` (batch, landmarks, dimensions) in "
                "grid pixels and `affine` (batch, dimensions + 1, dimensions + 1) "
                f"from grid pixels to millimetres. Received: {received}"
            )
        rank, landmarks = self._rank, self.target.num_landmarks
        labels = []
        for name, shape in (
            ("points", (landmarks, rank)),
            ("affine", (rank + 1, rank + 1)),
        ):
            label = ops.convert_to_tensor(y[name], "float32")
            if len(label.shape) != 3 or any(
                size not in (None, expected)
                for size, expected in zip(label.shape[1:], shape, strict=True)
            ):
                raise ValueError(
                    f"`{name}` must have the shape (batch, {shape[0]}, {shape[1]}) for "
                    f"this network. Received: shape={tuple(label.shape)}"
                )
            labels.append(label)
        return labels

    @staticmethod
    def _weights(sample_weight):
        # For arrays, Keras requires weights in the structure of `y` and repeats the
        # weights of images for the points and for the affine.
        return (
            sample_weight["points"]
            if isinstance(sample_weight, dict)
            else sample_weight
        )


class _TargetHeight(keras.Metric):
    """Passes the height of the targets from `compute_loss` to `compute_metrics`.

    On JAX only the variables of metrics are available in both. The metric has no
    result.
    """

    def __init__(self, num_landmarks):
        super().__init__(name="target_height")
        self.value = self.add_variable((num_landmarks,), "ones", name="value")

    def update_state(self, height):
        self.value.assign(ops.stop_gradient(height))

    def result(self):
        return {}
