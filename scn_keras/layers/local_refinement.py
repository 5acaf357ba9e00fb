import math

import keras
from keras import ops

from scn_keras.layers._landmark_convolution import LandmarkConvolution
from scn_keras.layers._spatial import (
    check_channels_known,
    check_positive_integers,
    pooling,
    spatial_rank,
)
from scn_keras.layers.patch_vote import PatchVote

# Pixels, along each axis, of what a vote of a local network stands for.
PATCH_SIZE = 2
# The logit of presence that a patch starts from: few patches hold a landmark.
START = -4.0


@keras.saving.register_keras_serializable(package="scn_keras")
class LocalRefinement(keras.layers.Layer):
    """Looks at a small sub-image around each landmark, each with a network of its own.

    Convolutions of 3 with batch normalisation and ReLU, average pooling of 2, two more
    convolutions of twice the filters, and two heads: every patch of 2 pixels says
    whether the landmark lies in it and how far away it is, and votes like this make the
    point (`PatchVote`). The networks of all landmarks run at once.

    In training, a sub-image lies anywhere where it contains its point. Otherwise its
    centre is the point's pixel. Around the border of the image its last pixels go on.

    With the default arguments it is the published network, of which each landmark has
    one. `GlobalToLocalNet` trains it together with a network that says where to look.

    Reference: Noothout et al., IEEE Transactions on Medical Imaging 39(12), 2020.

    Args:
        num_landmarks: Int, the number of landmarks.
        size: Int, even, the pixels of a sub-image along each axis.
        filters: Int, the filters of the first convolutions.
        convolutions: Int, how many these are.
        seed: Int or `None`, of the places in training.

    Call arguments:
        image: `(batch, *spatial, channels)` with 1 to 3 spatial axes.
        points: `(batch, num_landmarks, D)` in pixels of the image, columns x, y(, z).

    Output:
        Dict of `points` `(batch, num_landmarks, D)` in pixels of the image, NaN where
        they were; `score` and `covariance`, see `PatchVote`; `votes`
        `(batch, *patches, num_landmarks, 1 + D)`, which all of these come from; and
        `origin` `(batch, num_landmarks, D)`, the first pixel of each sub-image. All
        are float32.

    Raises:
        ValueError: If an argument is out of its range or shapes do not go together.

    Example:

    >>> layer = scn_keras.layers.LocalRefinement(2, size=16, filters=4)
    >>> image = np.zeros((1, 64, 48, 1), "float32")
    >>> points = np.array([[[20.0, 30.0], [5.0, 60.0]]], "float32")
    >>> found = layer(image, points)
    >>> tuple(found["votes"].shape)
    (1, 8, 8, 2, 3)
    >>> keras.ops.convert_to_numpy(found["origin"])[0].tolist()
    [[12.0, 22.0], [-3.0, 52.0]]
    """

    def __init__(
        self,
        num_landmarks,
        size=16,
        filters=32,
        convolutions=4,
        seed=None,
        **kwargs,
    ):
        # Points must not be cast to half precision: images are, here.
        super().__init__(autocast=False, **kwargs)
        check_positive_integers(
            num_landmarks=num_landmarks,
            size=size,
            filters=filters,
            convolutions=convolutions,
        )
        if size % PATCH_SIZE:
            raise ValueError(f"`size` must be even. Received: size={size}")
        self.num_landmarks = num_landmarks
        self.size = size
        self.filters = filters
        self.convolutions = convolutions
        self.seed = seed
        self._random = keras.random.SeedGenerator(seed)
        self._vote = PatchVote(PATCH_SIZE, name="vote")

    def build(self, image_shape, points_shape=None):
        rank = spatial_rank(self, image_shape)
        check_channels_known(self, image_shape)
        wide = 2 * self.filters

        def block(name, filters, **options):
            return LandmarkConvolution(
                self.num_landmarks,
                filters,
                dtype=options.pop("dtype", self.dtype_policy),
                name=name,
                **options,
            )

        fine = {"kernel_size": 3, "normalize": True}
        self.fine = [
            block(f"fine_{i}", self.filters, **fine) for i in range(self.convolutions)
        ]
        self.pool = pooling(rank, PATCH_SIZE, dtype=self.dtype_policy, name="pool")
        self.coarse = [block(f"coarse_{i}", wide, **fine) for i in range(2)]
        # Logits and displacements carry positions: in float32, as heatmaps.
        last = {"dtype": "float32", "activation": False}

        def head(name, channels, **start):
            hidden = [block(f"{name}_{i}", wide) for i in range(2)]
            return [*hidden, block(name, channels, **last, **start)]

        # Each a list of its own: Keras before 3.15 saves no layer of a list in a dict.
        start = keras.initializers.Constant(START)
        self.presence = head("presence", 1, bias_initializer=start)
        self.displacement = head("displacement", rank)
        shape = (self.num_landmarks, None, *[None] * rank)
        channels = image_shape[-1]
        for layer in (*self.fine, *self.coarse):
            layer.build((*shape, channels))
            channels = layer.filters
        for layer in (*self.presence, *self.displacement):
            layer.build((*shape, wide))
        self.built = True

    def call(self, image, points, training=False):
        rank = len(image.shape) - 2
        if tuple(points.shape[1:]) != (self.num_landmarks, rank):
            raise ValueError(
                f"Layer `{self.name}` expects points of shape (batch, "
                f"{self.num_landmarks}, {rank}). Received: shape={tuple(points.shape)}"
            )
        points = ops.cast(points, "float32")
        origin = self._origin(image, points, training)
        x = ops.cast(self._sub_images(image, origin), self.compute_dtype)
        for layer in self.fine:
            x = layer(x, training=training)
        x = self._pooled(x, rank)
        for layer in self.coarse:
            x = layer(x, training=training)
        votes = []
        for layers in (self.presence, self.displacement):
            y = x
            for layer in layers[:-1]:
                y = layer(y)
            votes.append(layers[-1](ops.cast(y, "float32")))
        # From (landmarks, batch, *patches, ...) to (batch, *patches, landmarks, ...).
        votes = ops.moveaxis(ops.concatenate(votes, axis=-1), 0, -2)
        found = self._vote(votes)
        lost = ops.any(ops.isnan(points), axis=-1)
        return {
            "points": ops.where(lost[..., None], math.nan, origin + found["points"]),
            "score": ops.where(lost, 0.0, found["score"]),
            "covariance": ops.where(
                lost[..., None, None], math.nan, found["covariance"]
            ),
            "votes": votes,
            "origin": origin,
        }

    def compute_output_spec(self, image, points, training=False):
        rank = len(image.shape) - 2
        patches = (self.size // PATCH_SIZE,) * rank
        votes = keras.KerasTensor(
            (image.shape[0], *patches, self.num_landmarks, 1 + rank), "float32"
        )
        found = self._vote.compute_output_spec(votes)
        return {
            **found,
            "votes": votes,
            "origin": keras.KerasTensor(found["points"].shape, "float32"),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "num_landmarks": self.num_landmarks,
            "size": self.size,
            "filters": self.filters,
            "convolutions": self.convolutions,
            "seed": self.seed,
        }

    def _origin(self, image, points, training):
        """The first pixel of each sub-image, x, y(, z), whole numbers."""
        last = ops.cast(ops.stack(ops.shape(image)[-2:0:-1]), "float32") - 1.0
        points = ops.where(ops.isnan(points), 0.0, points)
        # What is far outside sees the border alone, wherever it is.
        points = ops.clip(points, -float(self.size), last + self.size)
        before = float(self.size // 2)
        if training:
            drawn = keras.random.uniform(ops.shape(points), seed=self._random)
            before = ops.minimum(ops.floor(self.size * drawn), self.size - 1.0)
        return ops.stop_gradient(ops.floor(points + 0.5) - before)

    def _sub_images(self, image, origin):
        """Returns `(landmarks, batch, *size, channels)`."""
        shape = ops.shape(image)
        rank = len(shape) - 2
        origin = ops.transpose(ops.cast(origin, "int32"), (1, 0, 2))
        within = ops.arange(self.size, dtype="int32")
        flat = ops.reshape(ops.arange(shape[0], dtype="int32"), (1, -1, *[1] * rank))
        for axis, size in enumerate(shape[1:-1]):
            place = origin[..., rank - 1 - axis, None] + within
            place = ops.clip(place, 0, size - 1)
            spread = [1] * rank
            spread[axis] = self.size
            place = ops.reshape(place, (self.num_landmarks, -1, *spread))
            flat = flat * size + place
        pixels = ops.reshape(image, (-1, shape[-1]))
        return ops.take(pixels, flat, axis=0)

    def _pooled(self, x, rank):
        shape = ops.shape(x)
        x = self.pool(ops.reshape(x, (-1, *shape[2:])))
        sizes = (self.size // PATCH_SIZE,) * rank
        return ops.reshape(x, (self.num_landmarks, -1, *sizes, x.shape[-1]))
