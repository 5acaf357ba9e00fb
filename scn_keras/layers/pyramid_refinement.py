import math

import keras
from keras import ops

from scn_keras.layers._glimpse_network import CELL_SIZE, GlimpseNetwork
from scn_keras.layers._glimpses import glimpses, smoothed_levels
from scn_keras.layers._spatial import (
    check_channels_known,
    check_positive_integers,
    spatial_rank,
)

# Cells within this distance of the point along each axis, in pixels, add to the score.
_SCORE_REACH = 4.0
# The deviation of the logarithm of the distances in training.
_TAIL = 0.75


@keras.saving.register_keras_serializable(package="scn_keras")
class PyramidRefinement(keras.layers.Layer):
    """Refines each landmark in glimpses of several scales by one shared network.

    A glimpse is the image around a point, sampled at `size` positions along each axis.
    Those of the finest glimpse are one pixel apart, those of each further one twice as
    far. The finest shows details, the coarsest the structures around them. Before it is
    sampled, the image is averaged over boxes as wide as the distance of the samples.

    The features of each glimpse have cells of two samples. From coarse to fine, the
    central half of the features is upsampled and joined to those of the next finer
    glimpse, as in the decoder of a U-Net. The probability of each cell of the finest
    glimpse is a softmax. The point is the mean position of the cells. All landmarks
    share the convolutions. Their features are scaled and shifted for each landmark.

    In training, glimpses are placed at a random distance from the given points, and
    the heatmap is that of one look. In inference, each further look is placed at the
    point of the one before.

    `GlobalToLocalNet` trains this layer. In contrast to `LocalRefinement`, a landmark
    that is defined by distant structures can be refined too.

    Reference: glimpses of several scales are those of Gilmour & Ray: Locating
    Cephalometric X-Ray Landmarks with Foveated Pyramid Attention. MIDL 2020. The
    network of that publication is another one.

    Args:
        num_landmarks: Int, the number of landmarks.
        size: Int, a multiple of 8, the number of samples of a glimpse along each axis.
        scales: Int, the number of glimpses. The coarsest is
            `size * 2 ** (scales - 1)` pixels wide.
        filters: Int, the number of filters of all convolutions.
        convolutions: Int, at least 2, the number of convolutions per scale. The first
            half of them precedes the features of the coarser scale.
        looks: Int, the number of looks in inference.
        jitter: Float, the typical distance along each axis from the point to the
            glimpses in training, in pixels. It should be that of the initial points.
            Some are several times as far.
        weight: Float from 0 to 1, the share of the predicted displacement that is
            applied in inference.
        dropout: Float from 0 to below 1, the share of features dropped in training.
        seed: Int or `None`, the seed of random numbers in training.

    Call arguments:
        image: `(batch, *spatial, channels)` with 1 to 3 spatial axes.
        points: `(batch, num_landmarks, D)` in pixels of the image, columns x, y(, z).

    Output:
        Dict of `points` `(batch, num_landmarks, D)` in pixels of the image, NaN if the
        given points are NaN; `score` `(batch, num_landmarks)`, the probability of the
        cells within 4 pixels of the mean position along each axis; `covariance`
        `(batch, num_landmarks, D, D)` in px², that of the probabilities; `logits`
        `(batch, *cells, num_landmarks)`; and `center` `(batch, num_landmarks, D)`, the
        centre of each glimpse. All are float32.

    Raises:
        ValueError: If an argument is out of its range or shapes do not match.

    Example:

    >>> layer = scn_keras.layers.PyramidRefinement(2, size=16, scales=3, filters=4)
    >>> image = np.zeros((1, 64, 48, 1), "float32")
    >>> points = np.array([[[20.0, 30.0], [5.5, 60.0]]], "float32")
    >>> output = layer(image, points)
    >>> tuple(output["logits"].shape)
    (1, 8, 8, 2)
    """

    def __init__(
        self,
        num_landmarks,
        size=32,
        scales=4,
        filters=32,
        convolutions=4,
        looks=1,
        jitter=3.0,
        weight=1.0,
        dropout=0.0,
        seed=None,
        **kwargs,
    ):
        # Only the glimpses are cast to the compute dtype, never the points.
        super().__init__(autocast=False, **kwargs)
        check_positive_integers(
            num_landmarks=num_landmarks,
            size=size,
            scales=scales,
            filters=filters,
            convolutions=convolutions,
            looks=looks,
        )
        if size % 8:
            raise ValueError(f"`size` must be a multiple of 8. Received: size={size}")
        if convolutions < 2:
            raise ValueError(
                "`convolutions` must be at least 2. "
                f"Received: convolutions={convolutions}"
            )
        for name, value, high in (
            ("jitter", jitter, math.inf),
            ("weight", weight, 1.0),
            ("dropout", dropout, 0.999),
        ):
            if not 0.0 <= value <= high:
                raise ValueError(
                    f"`{name}` must be a number from 0 to {high}. "
                    f"Received: {name}={value}"
                )
        self.num_landmarks = num_landmarks
        self.size = size
        self.scales = scales
        self.filters = filters
        self.convolutions = convolutions
        self.looks = looks
        self.jitter = jitter
        self.weight = weight
        self.dropout = dropout
        self.seed = seed
        self._random = keras.random.SeedGenerator(seed)

    def build(self, image_shape, points_shape=None):
        rank = spatial_rank(self, image_shape)
        check_channels_known(self, image_shape)
        self._network = GlimpseNetwork(
            self.num_landmarks,
            self.filters,
            self.convolutions,
            self.dropout,
            self.seed,
            dtype=self.dtype_policy,
            name="network",
        )
        glimpse = (None, *[self.size] * rank, image_shape[-1])
        self._network.build([glimpse] * self.scales)
        self.built = True

    def call(self, image, points, training=False):
        rank = len(image.shape) - 2
        if tuple(points.shape[1:]) != (self.num_landmarks, rank):
            raise ValueError(
                f"Layer `{self.name}` expects points of shape (batch, "
                f"{self.num_landmarks}, {rank}). Received: shape={tuple(points.shape)}"
            )
        points = ops.cast(points, "float32")
        missing = ops.any(ops.isnan(points), axis=-1)
        given = ops.where(missing[..., None], 0.0, points)
        start = given + self._jittered(ops.shape(given)) if training else given
        image = ops.stop_gradient(ops.cast(image, "float32"))
        levels, margin = smoothed_levels(image, self.scales)
        sizes = ops.shape(image)[1:-1]
        last = ops.cast(ops.stack(sizes[::-1]), "float32") - 1.0
        for _ in range(1 if training else self.looks):
            # Far outside the image, a glimpse contains only repeated border pixels.
            center = ops.clip(start, -float(self.size), last + self.size)
            center = ops.stop_gradient(center)
            parts = glimpses(levels, margin, center, self.size, sizes)
            parts = [ops.cast(part, self.compute_dtype) for part in parts]
            logits = self._network(parts, training=training)
            peak = _peak(logits, center)
            start = peak["points"]
        points = peak["points"]
        if not training:
            points = given + self.weight * (points - given)
        return {
            "points": ops.where(missing[..., None], math.nan, points),
            "score": ops.where(missing, 0.0, peak["score"]),
            "covariance": ops.where(
                missing[..., None, None], math.nan, peak["covariance"]
            ),
            "logits": logits,
            "center": center,
        }

    def compute_output_spec(self, image, points, training=False):
        rank = len(image.shape) - 2
        shape = (image.shape[0], self.num_landmarks)
        cells = (self.size // CELL_SIZE,) * rank
        shapes = {
            "points": (*shape, rank),
            "score": shape,
            "covariance": (*shape, rank, rank),
            "logits": (shape[0], *cells, self.num_landmarks),
            "center": (*shape, rank),
        }
        return {
            name: keras.KerasTensor(shape, "float32") for name, shape in shapes.items()
        }

    def get_config(self):
        return {
            **super().get_config(),
            "num_landmarks": self.num_landmarks,
            "size": self.size,
            "scales": self.scales,
            "filters": self.filters,
            "convolutions": self.convolutions,
            "looks": self.looks,
            "jitter": self.jitter,
            "weight": self.weight,
            "dropout": self.dropout,
            "seed": self.seed,
        }

    def _jittered(self, shape):
        """Returns random displacements, some several times as long as others."""
        normal = keras.random.normal(shape, seed=self._random)
        # A log-normal factor: errors of networks have longer tails than a normal.
        factor = keras.random.normal((*shape[:-1], 1), seed=self._random)
        return self.jitter * normal * ops.exp(_TAIL * factor)


def cell_offsets(cells):
    """Returns the centres `(cells, D)` of all cells, relative to the glimpse's."""
    axes = [CELL_SIZE * (ops.arange(n, dtype="float32") - 0.5 * (n - 1)) for n in cells]
    grids = ops.meshgrid(*axes, indexing="ij")
    return ops.stack([ops.reshape(grid, (-1,)) for grid in grids[::-1]], axis=-1)


def _peak(logits, center):
    """Returns mean and covariance of the probabilities of all cells, and the score."""
    cells = logits.shape[1:-1]
    rank, landmarks = len(cells), logits.shape[-1]
    flat = ops.reshape(logits, (-1, math.prod(cells), landmarks))
    probability = ops.softmax(flat, axis=1)
    offsets = cell_offsets(cells)  # (cells, D)
    mean = ops.einsum("bcn,cd->bnd", probability, offsets)
    residual = offsets[:, None] - mean[:, None]  # (batch, cells, landmarks, D)
    covariance = ops.stack(
        [
            ops.sum((probability * residual[..., k])[..., None] * residual, axis=1)
            for k in range(rank)
        ],
        axis=-1,
    )
    near = ops.all(ops.abs(residual) <= _SCORE_REACH, axis=-1)
    score = ops.sum(ops.where(near, probability, 0.0), axis=1)
    score = ops.minimum(score, 1.0)
    return {"points": center + mean, "score": score, "covariance": covariance}
