import math

import keras
from keras import ops

from scn_keras.layers._patches import check_votes, patch_centers
from scn_keras.layers._spatial import check_positive_integers
from scn_keras.layers.log_displacement import LogDisplacement


@keras.saving.register_keras_serializable(package="scn_keras")
class PatchTarget(keras.layers.Layer):
    """Computes the target votes of patches from points.

    For every patch and landmark the target is 1 if the landmark lies in the patch and 0
    otherwise, followed by the landmark's displacement from the patch's centre in
    pixels, as logarithms (`LogDisplacement`). All patches have displacements, also for
    a landmark outside the image. A missing landmark (a NaN row) lies in no patch and
    has NaN displacements, which `PatchLoss` ignores.

    This layer replaces `GaussianHeatmap` in `LandmarkModel` for networks with votes.

    Reference: Noothout et al., IEEE Transactions on Medical Imaging 39(12), 2020.

    Args:
        num_landmarks: Int, the number of landmarks.
        patch_size: Int, the total stride of the network, in pixels of the image.

    Call arguments:
        points: `(batch, num_landmarks, D)` in pixels of the image, columns x, y(, z).
        votes: `(batch, *patches, num_landmarks, 1 + D)`, which defines the size of the
            targets. Its values are not used.

    Output shape:
        The shape of `votes`, float32.

    Raises:
        ValueError: If an argument is out of its range or shapes do not match.

    Example:

    >>> target = scn_keras.layers.PatchTarget(1, patch_size=8)
    >>> votes = np.zeros((1, 4, 4, 1, 3), "float32")
    >>> truth = target(np.array([[[12.5, 11.5]]], "float32"), votes)
    >>> keras.ops.convert_to_numpy(truth)[0, :3, :3, 0, 0].tolist()
    [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    >>> x = keras.ops.convert_to_numpy(truth)[0, 1, 1, 0, 1]  # 1 px from x = 11.5
    >>> round(float(x), 4)  # log10(2)
    0.301
    """

    def __init__(self, num_landmarks, patch_size, **kwargs):
        # bfloat16 cannot represent coordinates: it rounds 301.3 to 302.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        check_positive_integers(num_landmarks=num_landmarks, patch_size=patch_size)
        self.num_landmarks = num_landmarks
        self.patch_size = patch_size
        self._logarithm = LogDisplacement(name="logarithm")

    def build(self, points_shape, votes_shape=None):
        self.built = True

    def call(self, points, votes):
        check_votes(self, votes.shape)
        rank = len(votes.shape) - 3
        if tuple(points.shape[1:]) != (self.num_landmarks, rank):
            raise ValueError(
                f"Layer `{self.name}` expects points of shape (batch, "
                f"{self.num_landmarks}, {rank}). Received: shape={tuple(points.shape)}"
            )
        sizes = ops.shape(votes)[1:-2]
        centers = patch_centers(sizes, self.patch_size)[..., None, :]
        points = ops.cast(points, "float32")
        points = ops.reshape(points, (-1, *[1] * rank, self.num_landmarks, rank))
        missing = ops.any(ops.isnan(points), axis=-1, keepdims=True)
        displacement = ops.where(missing, 0.0, points) - centers
        # A patch extends from half a pixel before the centre of its first pixel to half
        # a pixel after that of its last pixel, so that each point lies in one patch.
        half = 0.5 * self.patch_size
        inside = ops.logical_and(displacement >= -half, displacement < half)
        inside = ops.logical_and(
            ops.all(inside, axis=-1, keepdims=True), ops.logical_not(missing)
        )
        logarithm = ops.where(missing, math.nan, self._logarithm(displacement))
        return ops.concatenate([ops.cast(inside, "float32"), logarithm], axis=-1)

    def compute_output_shape(self, points_shape, votes_shape):
        return tuple(votes_shape)

    def height(self):
        """Returns the divisor of the scores of `PatchVote`: 1 for each landmark."""
        return ops.ones((self.num_landmarks,))

    def get_config(self):
        return {
            **super().get_config(),
            "num_landmarks": self.num_landmarks,
            "patch_size": self.patch_size,
        }
