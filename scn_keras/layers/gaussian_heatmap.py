import math

import keras
import numpy as np
from keras import ops

_FORMS = ("isotropic", "axis_aligned", "rotated")


@keras.saving.register_keras_serializable(package="scn_keras")
class GaussianHeatmap(keras.layers.Layer):
    """Renders one Gaussian per landmark, the target heatmaps of training.

    The heatmap of landmark `i` is `gamma / sqrt((2 pi)^D det C_i) * exp(-(x -
    point_i)^T C_i^-1 (x - point_i) / 2)`. Without `gamma`, it is scaled to height 1.
    With `learnable=True`, each landmark's covariance `C_i` is trained with the loss,
    which narrows it where the network can be precise and widens it elsewhere. The
    covariance has one of three forms:

    - `"isotropic"`: `sigma^2` times the identity, with one sigma per landmark.
    - `"axis_aligned"`: one sigma for each of x, y(, z).
    - `"rotated"`: one sigma along each of D orthogonal axes, and the rotation of these
      axes: an angle in 2D, the vector `tan(angle / 2) * axis` in 3D, whose rotation
      matrix is a ratio of polynomials and smooth everywhere. With equal sigmas the
      gradient of the rotation would vanish. If one `sigma` is given, the initial
      sigmas of the axes therefore differ from it by up to 10 %.

    Sigmas are standard deviations in pixels. (The "sigmas" in the authors' code for the
    rotated form are variances, the squares of these.) Heatmaps are rendered on the
    device, in float32, without truncation, as a product of one-dimensional Gaussians.
    In the rotated form, the mean of each of these depends on the other coordinates. A
    missing landmark (a NaN row) gives a heatmap of zeros. A landmark outside the grid
    gives the part of its Gaussian that extends into the grid.

    References: Payer et al., Medical Image Analysis 54, 2019, equations 1 and 3;
    Thaler et al., MELBA 2021 (`"rotated"`).

    Args:
        num_landmarks: Int, the number of landmarks.
        sigma: Float, in pixels of the grid. The axis-aligned and the rotated form also
            accept a sequence of D floats in x, y(, z). If `learnable`, this is the
            initial value.
        gamma: Float or `None`, the integral of a heatmap; `None` for height 1.
        learnable: Bool, whether each landmark's covariance is trained.
        minimum_sigma: Float, the lower bound of a learned sigma.
        size: Sequence of ints in array order ((z,) y, x), or `None` to use the size of
            `heatmaps` when called.
        form: `"isotropic"`, `"axis_aligned"` or `"rotated"` (only learnable).
        penalty_power: Float, see `penalty`.

    Call arguments:
        points: `(batch, num_landmarks, D)`, in pixels of the grid, columns
            x, y(, z).
        heatmaps: `(batch, *spatial, num_landmarks)`, which defines the size of the
            targets. Its values are not used.

    Output shape:
        `(batch, *spatial, num_landmarks)`, float32.

    Raises:
        ValueError: If an argument is out of its range, the number of landmarks or the
            rank does not match, or no size is given.

    Example:

    >>> target = scn_keras.layers.GaussianHeatmap(1, sigma=2.0, size=(16, 16))
    >>> heatmaps = target(np.array([[[5.0, 9.0]]], "float32"))
    >>> float(heatmaps[0, 9, 5, 0])
    1.0
    >>> wide = scn_keras.layers.GaussianHeatmap(
    ...     1, sigma=(4.0, 2.0), form="axis_aligned", size=(16, 16)
    ... )
    >>> heatmaps = wide(np.array([[[5.0, 9.0]]], "float32"))
    >>> keras.ops.convert_to_numpy(wide.covariance())[0].tolist()
    [[16.0, 0.0], [0.0, 4.0]]
    """

    def __init__(
        self,
        num_landmarks,
        sigma=3.0,
        gamma=None,
        learnable=False,
        minimum_sigma=0.5,
        size=None,
        form="isotropic",
        penalty_power=1.0,
        **kwargs,
    ):
        # bfloat16 cannot represent coordinates: it rounds 301.3 to 302.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if form not in _FORMS:
            raise ValueError(f"`form` must be one of {_FORMS}. Received: form={form!r}")
        if np.ndim(sigma) > (form != "isotropic"):
            raise ValueError(
                f"`sigma` must be one number{' or D numbers' * (form != 'isotropic')} "
                f"in the {form} form. Received: sigma={sigma}"
            )
        if not np.min(sigma) >= minimum_sigma > 0:
            raise ValueError(
                "`sigma` must be at least `minimum_sigma`, and both positive. "
                f"Received: sigma={sigma}, minimum_sigma={minimum_sigma}"
            )
        if gamma is not None and not gamma > 0:
            raise ValueError(f"`gamma` must be positive. Received: gamma={gamma}")
        if form == "rotated" and not learnable:
            raise ValueError(
                "The rotated form requires `learnable=True`, since its rotation is "
                "trained. Set `learnable=True` or use form='axis_aligned'. Received: "
                f"form={form!r}, learnable={learnable}"
            )
        if not penalty_power > 0:
            raise ValueError(
                "`penalty_power` must be positive. Received: "
                f"penalty_power={penalty_power}"
            )
        self.num_landmarks = num_landmarks
        self.initial_sigma = tuple(sigma) if np.ndim(sigma) else sigma
        self.gamma = gamma
        self.learnable = learnable
        self.minimum_sigma = minimum_sigma
        self.size = None if size is None else tuple(size)
        self.form = form
        self.penalty_power = penalty_power

    def build(self, points_shape, heatmaps_shape=None):
        self._check_points(points_shape)
        self.rank = points_shape[-1]
        for size in (self.size, heatmaps_shape and heatmaps_shape[1:-1]):
            if size is not None and len(size) != self.rank:
                raise ValueError(
                    f"Layer `{self.name}` expects points with as many coordinates as "
                    "the heatmaps have spatial axes. Received: "
                    f"{self.rank} coordinates, {len(size)} spatial axes, "
                    f"size={tuple(size)}"
                )
        isotropic = self.form == "isotropic"
        self.sigma = self.add_weight(
            shape=(self.num_landmarks, *[self.rank] * (not isotropic)),
            initializer=keras.initializers.Constant(self._initial_value()),
            trainable=self.learnable,
            constraint=_LowerBound(self.minimum_sigma),
            name="sigma",
        )
        if self.form == "rotated":
            self.rotation = self.add_weight(
                shape=(self.num_landmarks, {2: 1, 3: 3}[self.rank]),
                initializer="zeros",
                name="rotation",
            )
        self.built = True

    def call(self, points, heatmaps=None):
        if heatmaps is not None:
            size = ops.shape(heatmaps)[1:-1]
        elif self.size is not None:
            size = self.size
        else:
            raise ValueError(
                f"Layer `{self.name}` requires the size of the heatmaps. Give `size` "
                "when creating the layer or `heatmaps` when calling it. Received: "
                "size=None, heatmaps=None"
            )
        self._check_points(points.shape, self.rank)
        points = ops.cast(points, "float32")
        present = ops.logical_not(ops.any(ops.isnan(points), axis=-1))
        # NaN is replaced before exp, because the gradient of exp(NaN) is NaN even where
        # the result is masked.
        points = ops.where(present[..., None], points, ops.zeros_like(points))
        offsets = []  # of all pixels from the point, by coordinate x, y(, z)
        for k in range(self.rank):
            # Array axes are ordered (z,) y, x, coordinates x, y(, z).
            axis = self.rank - 1 - k
            shape = [1] * self.rank
            shape[axis] = size[axis]
            index = ops.cast(ops.arange(size[axis]), "float32")
            offset = index[None, :, None] - points[:, None, :, k]
            offsets.append(ops.reshape(offset, (-1, *shape, self.num_landmarks)))
        # The last coordinate comes first, so that the array of all pixels is created
        # only in the last iteration.
        factors = self._precision_factors()
        result = ops.cast(present, "float32") * self.height()
        result = ops.reshape(result, (-1, *[1] * self.rank, self.num_landmarks))
        for k in reversed(range(self.rank)):
            distance = sum(
                offsets[j] * factor for j, factor in enumerate(factors[k], start=k)
            )
            result = result * ops.exp(-0.5 * ops.square(distance))
        return result

    def covariance(self):
        """Returns each landmark's covariance in px², `(num_landmarks, D, D)`.

        Rows and columns are ordered x, y(, z).
        """
        return self._from_eigenvalues(ops.square(self._sigmas()))

    def height(self):
        """Returns the height of each landmark's Gaussian, `(num_landmarks,)`."""
        volume = ops.prod(self._sigmas(), axis=-1)
        if self.gamma is None:
            return ops.ones_like(volume)
        return self.gamma / ((2.0 * math.pi) ** (self.rank / 2.0) * volume)

    def penalty(self):
        """Returns the penalty on each landmark's covariance, `(num_landmarks,)`.

        `LandmarkModel` adds it to the loss. In the isotropic form it is `sigma ** 2 /
        2`. In the other forms it is the product of the sigmas to the power of
        `penalty_power`: 1 is the formula of Thaler et al. with sigmas as standard
        deviations, 2 is what their code computes, whose sigmas are variances.
        """
        if self.form == "isotropic":
            return 0.5 * ops.square(self.sigma)
        return ops.prod(ops.convert_to_tensor(self.sigma), axis=-1) ** (
            self.penalty_power
        )

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
            "form": self.form,
            "penalty_power": self.penalty_power,
        }

    def _check_points(self, shape, rank=None):
        expected = (self.num_landmarks, rank or shape[-1])
        if len(shape) != 3 or tuple(shape[1:]) != expected:
            raise ValueError(
                f"Layer `{self.name}` expects points of shape (batch, "
                f"{self.num_landmarks}, {rank or 'dimensions'}). "
                f"Received: shape={tuple(shape)}"
            )

    def _initial_value(self):
        sigma = np.array(self.initial_sigma, "float32")
        if sigma.ndim and len(sigma) != self.rank:
            raise ValueError(
                f"Layer `{self.name}` expects one sigma or one for each coordinate of "
                f"the points. Received: {self.rank} coordinates, "
                f"sigma={self.initial_sigma}"
            )
        if self.form == "rotated":
            if self.rank == 1:
                raise ValueError(
                    f"Layer `{self.name}` cannot rotate a Gaussian in one dimension. "
                    f"Use form='isotropic'. Received: form={self.form!r}, points with "
                    "1 coordinate"
                )
            if not sigma.ndim:
                sigma = sigma * 1.1 ** np.linspace(1.0, -1.0, self.rank)
        return np.maximum(sigma, self.minimum_sigma)

    def _sigmas(self):
        sigma = ops.convert_to_tensor(self.sigma)
        if self.form != "isotropic":
            return sigma
        return ops.broadcast_to(sigma[:, None], (self.num_landmarks, self.rank))

    def _precision_factors(self):
        """Returns the Cholesky factor of the inverse covariance as a list of columns.

        Each column begins at the diagonal. The values `distance_k = sum_j factor_jk *
        offset_j` over `j >= k` are independent and have variance 1. Without a rotation
        the factor is diagonal.
        """
        inverse = 1.0 / self._sigmas()
        if self.form != "rotated":
            return [[inverse[:, k]] for k in range(self.rank)]
        factor = ops.cholesky(self._from_eigenvalues(ops.square(inverse)))
        return [
            [factor[:, j, k] for j in range(k, self.rank)] for k in range(self.rank)
        ]

    def _from_eigenvalues(self, values):
        """Returns symmetric matrices with eigenvalues `(num_landmarks, D)` on the axes.

        Matrix products are avoided, because GPUs round their factors.
        """
        axes = self._axes()
        scaled = axes * values[:, None, :]
        return ops.sum(scaled[:, :, None, :] * axes[:, None, :, :], axis=-1)

    def _axes(self):
        """Returns rotation matrices, whose column k is the axis of sigma k."""
        if self.form != "rotated":
            return ops.eye(self.rank)[None]
        if self.rank == 2:
            angle = self.rotation[:, 0]
            c, s = ops.cos(angle), ops.sin(angle)
            return _matrices([[c, -s], [s, c]])
        vector = ops.convert_to_tensor(self.rotation)
        x, y, z = (vector[:, k] for k in range(3))
        o = ops.zeros_like(x)
        cross = _matrices([[o, -z, y], [z, o, -x], [-y, x, o]])
        square = ops.sum(vector**2, axis=-1)[:, None, None]
        outer = vector[:, :, None] * vector[:, None, :]
        return ((1.0 - square) * ops.eye(3) + 2.0 * (outer + cross)) / (1.0 + square)


def _matrices(rows):
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


class _LowerBound(keras.constraints.Constraint):
    def __init__(self, minimum):
        self.minimum = np.float32(minimum)

    def __call__(self, value):
        return ops.maximum(value, self.minimum)
