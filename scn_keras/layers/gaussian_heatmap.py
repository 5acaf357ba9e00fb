import math

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
class GaussianHeatmap(keras.layers.Layer):
    """Renders one Gaussian per landmark, the target that heatmaps are trained on.

    The heatmap of landmark `i` is
    `gamma / ((2 pi)^(D/2) sigma_i^D) * exp(-|x - point_i|^2 / (2 sigma_i^2))`, or,
    without `gamma`, a Gaussian of height 1. With `learnable=True` each landmark
    has its own trainable sigma: the loss narrows it where the network can be
    precise and widens it where it cannot. It is rendered as an outer product of
    one-dimensional Gaussians, on the device, in float32, without truncation. A
    missing landmark (a NaN row) gives a heatmap of zeros.

    Reference: Payer et al., Medical Image Analysis 54, 2019, equations 1 and 3.

    Args:
        num_landmarks: Int, the number of landmarks.
        sigma: Float, in pixels of the grid; where learnable, the start.
        gamma: Float or `None`, the integral of a heatmap; `None` for height 1.
        learnable: Bool, whether each landmark's sigma is trained.
        minimum_sigma: Float, a learned sigma never falls below this.
        size: Sequence of ints in array order ((z,) y, x), or `None` to take it
            from `heatmaps` when called.

    Call arguments:
        points: `(batch, num_landmarks, D)`, in pixels of the grid, columns
            x, y(, z).
        heatmaps: `(batch, *spatial, num_landmarks)`, whose size the targets get.
            Its values are not used.

    Output shape:
        `(batch, *spatial, num_landmarks)`, float32.

    Raises:
        ValueError: If an argument is out of its range, the number of landmarks
            or the rank differs, or no size is given.

    Example:

    >>> target = scn_keras.layers.GaussianHeatmap(1, sigma=2.0, size=(16, 16))
    >>> heatmaps = target(np.array([[[5.0, 9.0]]], "float32"))
    >>> float(heatmaps[0, 9, 5, 0])
    1.0
    """

    def __init__(
        self,
        num_landmarks,
        sigma=3.0,
        gamma=None,
        learnable=False,
        minimum_sigma=0.5,
        size=None,
        **kwargs,
    ):
        # bfloat16 cannot hold a coordinate: it takes 301.3 for 302.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if not sigma >= minimum_sigma > 0:
            raise ValueError(
                "`sigma` must be at least `minimum_sigma`, and both positive. "
                f"Received: sigma={sigma}, minimum_sigma={minimum_sigma}"
            )
        if gamma is not None and not gamma > 0:
            raise ValueError(f"`gamma` must be positive. Received: gamma={gamma}")
        self.num_landmarks = num_landmarks
        self.initial_sigma = sigma
        self.gamma = gamma
        self.learnable = learnable
        self.minimum_sigma = minimum_sigma
        self.size = None if size is None else tuple(size)

    def build(self, points_shape, heatmaps_shape=None):
        if len(points_shape) != 3 or points_shape[1] != self.num_landmarks:
            raise ValueError(
                f"Layer `{self.name}` expects points of shape (batch, "
                f"{self.num_landmarks}, dimensions). Received: shape={points_shape}"
            )
        self.rank = points_shape[-1]
        for size in (self.size, heatmaps_shape and heatmaps_shape[1:-1]):
            if size is not None and len(size) != self.rank:
                raise ValueError(
                    f"Layer `{self.name}` got points with {self.rank} coordinates for "
                    f"heatmaps with {len(size)} spatial axes: {tuple(size)}. They "
                    "must be as many."
                )
        self.sigma = self.add_weight(
            shape=(self.num_landmarks,),
            initializer=keras.initializers.Constant(self.initial_sigma),
            trainable=self.learnable,
            constraint=_AtLeast(self.minimum_sigma),
            name="sigma",
        )
        self.built = True

    def call(self, points, heatmaps=None):
        if heatmaps is not None:
            size = ops.shape(heatmaps)[1:-1]
        elif self.size is not None:
            size = self.size
        else:
            raise ValueError(
                f"Layer `{self.name}` does not know how large the heatmaps are. Give "
                "`size` when creating it or `heatmaps` when calling it."
            )
        points = ops.cast(points, "float32")
        present = ops.logical_not(ops.any(ops.isnan(points), axis=-1))
        # Replaced before exp: the gradient of exp(NaN) is NaN, masked or not.
        points = ops.where(present[..., None], points, ops.zeros_like(points))
        result = ops.cast(present, "float32") * self.height()
        result = ops.reshape(result, (-1, *[1] * self.rank, self.num_landmarks))
        scale = -0.5 / ops.square(self.sigma)
        for axis, length in enumerate(size):
            index = ops.cast(ops.arange(length), "float32")[None, :, None]
            # Arrays run (z,) y, x and points run x, y(, z).
            center = points[:, None, :, self.rank - 1 - axis]
            profile = ops.exp(scale * ops.square(index - center))
            shape = [1] * self.rank
            shape[axis] = length
            result = result * ops.reshape(profile, (-1, *shape, self.num_landmarks))
        return result

    def height(self):
        """Returns the height of each landmark's Gaussian, `(num_landmarks,)`."""
        if self.gamma is None:
            return ops.ones_like(ops.convert_to_tensor(self.sigma))
        volume = (2.0 * math.pi) ** (self.rank / 2.0) * self.sigma**self.rank
        return self.gamma / volume

    def compute_output_shape(self, points_shape, heatmaps_shape=None):
        if heatmaps_shape is not None:
            return tuple(heatmaps_shape)
        return (points_shape[0], *(self.size or ()), self.num_landmarks)

    def get_config(self):
        return {
            **super().get_config(),
            "num_landmarks": self.num_landmarks,
            "sigma": self.initial_sigma,
            "gamma": self.gamma,
            "learnable": self.learnable,
            "minimum_sigma": self.minimum_sigma,
            "size": self.size,
        }


class _AtLeast(keras.constraints.Constraint):
    def __init__(self, minimum):
        self.minimum = np.float32(minimum)

    def __call__(self, value):
        return ops.maximum(value, self.minimum)
