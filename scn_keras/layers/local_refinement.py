import math

import keras
from keras import ops

from scn_keras.layers._landmark_convolution import LandmarkConvolution
from scn_keras.layers._spatial import (
    check_channels_known,
    check_choice,
    check_positive_integers,
    pooling,
    spatial_rank,
)
from scn_keras.layers.patch_vote import PatchVote

# The size of the patch of each vote of a local network, in pixels along each axis.
PATCH_SIZE = 2
# The initial logit of presence: few patches contain a landmark.
INITIAL_LOGIT = -4.0


@keras.saving.register_keras_serializable(package="scn_keras")
class LocalRefinement(keras.layers.Layer):
    """Refines each landmark in a small sub-image by a network of its own.

    The network has convolutions of kernel size 3 with batch normalisation and ReLU,
    average pooling of 2, two more convolutions with twice the filters, and two heads.
    For every patch of 2 pixels the heads predict whether the landmark lies in the patch
    and its displacement from the patch's centre. `PatchVote` combines these votes to
    the point. The networks of all landmarks are computed at once.

    In training, a sub-image has a random position at which it contains its point. In
    inference, the sub-image is centred at the pixel of the point. By default, the
    pixels at the border of the image are repeated outside of it.

    With the default arguments each landmark has the published network.
    `GlobalToLocalNet` trains this layer together with a global network that predicts
    the initial points.

    Reference: Noothout et al., IEEE Transactions on Medical Imaging 39(12), 2020.

    Args:
        num_landmarks: Int, the number of landmarks.
        size: Int, even, the size of a sub-image in pixels along each axis.
        filters: Int, the number of filters of the convolutions before the pooling.
        convolutions: Int, the number of convolutions before the pooling.
        seed: Int or `None`, the seed of the random positions in training.
        border: `"replicate"` to repeat the pixels at the border of the image, or
            `"inside"` to shift a sub-image that extends beyond it into the image, as
            the authors' code does.

    Call arguments:
        image: `(batch, *spatial, channels)` with 1 to 3 spatial axes.
        points: `(batch, num_landmarks, D)` in pixels of the image, columns x, y(, z).

    Output:
        Dict of `points` `(batch, num_landmarks, D)` in pixels of the image, NaN if the
        given points are NaN; `score` and `covariance`, see `PatchVote`; `votes`
        `(batch, *patches, num_landmarks, 1 + D)`, from which all of these are computed;
        and `origin` `(batch, num_landmarks, D)`, the first pixel of each sub-image. All
        are float32.

    Raises:
        ValueError: If an argument is out of its range or shapes do not match.

    Example:

    >>> layer = scn_keras.layers.LocalRefinement(2, size=16, filters=4)
    >>> image = np.zeros((1, 64, 48, 1), "float32")
    >>> points = np.array([[[20.0, 30.0], [5.0, 60.0]]], "float32")
    >>> output = layer(image, points)
    >>> tuple(output["votes"].shape)
    (1, 8, 8, 2, 3)
    >>> keras.ops.convert_to_numpy(output["origin"])[0].tolist()
    [[12.0, 22.0], [-3.0, 52.0]]
    """

    def __init__(
        self,
        num_landmarks,
        size=16,
        filters=32,
        convolutions=4,
        seed=None,
        border="replicate",
        **kwargs,
    ):
        # Only the sub-images are cast to the compute dtype, never the points.
        super().__init__(autocast=False, **kwargs)
        check_positive_integers(
            num_landmarks=num_landmarks,
            size=size,
            filters=filters,
            convolutions=convolutions,
        )
        check_choice(("replicate", "inside"), border=border)
        if size % PATCH_SIZE:
            raise ValueError(f"`size` must be even. Received: size={size}")
        self.num_landmarks = num_landmarks
        self.size = size
        self.filters = filters
        self.convolutions = convolutions
        self.border = border
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
        # Logits and displacements encode positions: float32, as for heatmaps.
        last = {"dtype": "float32", "activation": False}

        def head(name, channels, **options):
            hidden = [block(f"{name}_{i}", wide) for i in range(2)]
            return [*hidden, block(name, channels, **last, **options)]

        # One attribute per head: Keras before 3.15 saves no layer of a list in a dict.
        logit = keras.initializers.Constant(INITIAL_LOGIT)
        self.presence = head("presence", 1, bias_initializer=logit)
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
        peak = self._vote(votes)
        missing = ops.any(ops.isnan(points), axis=-1)
        return {
            "points": ops.where(missing[..., None], math.nan, origin + peak["points"]),
            "score": ops.where(missing, 0.0, peak["score"]),
            "covariance": ops.where(
                missing[..., None, None], math.nan, peak["covariance"]
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
        peak = self._vote.compute_output_spec(votes)
        return {
            **peak,
            "votes": votes,
            "origin": keras.KerasTensor(peak["points"].shape, "float32"),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "num_landmarks": self.num_landmarks,
            "size": self.size,
            "filters": self.filters,
            "convolutions": self.convolutions,
            "border": self.border,
            "seed": self.seed,
        }

    def _origin(self, image, points, training):
        """Returns the first pixel of each sub-image, x, y(, z), as whole numbers."""
        last = ops.cast(ops.stack(ops.shape(image)[-2:0:-1]), "float32") - 1.0
        points = ops.where(ops.isnan(points), 0.0, points)
        # Far outside the image, a sub-image contains only repeated border pixels.
        points = ops.clip(points, -float(self.size), last + self.size)
        before = float(self.size // 2)
        if training:
            random = keras.random.uniform(ops.shape(points), seed=self._random)
            before = ops.minimum(ops.floor(self.size * random), self.size - 1.0)
        origin = ops.floor(points + 0.5) - before
        if self.border == "inside":
            # Smaller images are continued by their last pixels.
            furthest = ops.maximum(last + 1.0 - self.size, 0.0)
            origin = ops.minimum(ops.maximum(origin, 0.0), furthest)
        return ops.stop_gradient(origin)

    def _sub_images(self, image, origin):
        """Returns the sub-images `(landmarks, batch, *size, channels)`."""
        shape = ops.shape(image)
        rank = len(shape) - 2
        origin = ops.transpose(ops.cast(origin, "int32"), (1, 0, 2))
        offset = ops.arange(self.size, dtype="int32")
        flat = ops.reshape(ops.arange(shape[0], dtype="int32"), (1, -1, *[1] * rank))
        for axis, size in enumerate(shape[1:-1]):
            index = origin[..., rank - 1 - axis, None] + offset
            index = ops.clip(index, 0, size - 1)
            broadcast = [1] * rank
            broadcast[axis] = self.size
            index = ops.reshape(index, (self.num_landmarks, -1, *broadcast))
            flat = flat * size + index
        pixels = ops.reshape(image, (-1, shape[-1]))
        return ops.take(pixels, flat, axis=0)

    def _pooled(self, x, rank):
        shape = ops.shape(x)
        x = self.pool(ops.reshape(x, (-1, *shape[2:])))
        sizes = (self.size // PATCH_SIZE,) * rank
        return ops.reshape(x, (self.num_landmarks, -1, *sizes, x.shape[-1]))
