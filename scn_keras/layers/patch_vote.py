import math

import keras
from keras import ops

from scn_keras.layers._patches import check_votes, patch_centers
from scn_keras.layers._spatial import check_positive_integers
from scn_keras.layers.log_displacement import LogDisplacement


@keras.saving.register_keras_serializable(package="scn_keras")
class PatchVote(keras.layers.Layer):
    """Combines the votes of all patches of an image to points.

    The vote of a patch consists of the probability p that the landmark lies in the
    patch and of the landmark's displacement from the patch's centre. The point is the
    mean of the positions that the patches predict, weighted by p, and the covariance is
    the weighted covariance of these positions. The score is the largest sum of p over
    two adjacent patches along each axis, because a landmark near the border of a patch
    divides its probability between the patches at this border.

    This layer replaces `HeatmapPeak` in `LandmarkModel` for networks with votes. Votes
    that are not finite give NaN points and covariance and score 0.

    Reference: Noothout et al., IEEE Transactions on Medical Imaging 39(12), 2020. Score
    and covariance are not part of that publication.

    Args:
        patch_size: Int, the total stride of the network, in pixels of the image.
        whole_pixels: Bool, whether points are rounded to the nearest pixel, as in the
            evaluation of the authors' global networks.

    Call arguments:
        votes: `(batch, *patches, landmarks, 1 + D)`: the logit of p, followed by the
            displacement in x, y(, z) as logarithms, see `LogDisplacement`.
        height: Float or `(landmarks,)`, the largest possible sum of p, by which the
            score is divided.

    Output:
        Dict of `points` `(batch, landmarks, D)` in pixels of the image, columns
        x, y(, z); `score` `(batch, landmarks)` from 0 to 1; `covariance`
        `(batch, landmarks, D, D)` in px². All are float32.

    Raises:
        ValueError: If `patch_size` is not a positive integer, or votes have a wrong
            shape.

    Example:

    >>> votes = np.full((1, 4, 4, 1, 3), -30.0, "float32")
    >>> votes[0, 1, 2, 0] = 30.0, 0.301, -1.0  # 1 px to the right and 9 px up
    >>> peak = scn_keras.layers.PatchVote(patch_size=8)(votes)
    >>> np.round(keras.ops.convert_to_numpy(peak["points"]), 2).tolist()
    [[[20.5, 2.5]]]
    """

    num_peaks = 1

    def __init__(self, patch_size, whole_pixels=False, **kwargs):
        # bfloat16 cannot represent coordinates: it rounds 301.3 to 302.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        check_positive_integers(patch_size=patch_size)
        self.patch_size = patch_size
        self.whole_pixels = whole_pixels
        self._displacement = LogDisplacement(inverse=True, name="displacement")

    def build(self, votes_shape):
        check_votes(self, votes_shape)
        self.built = True

    def call(self, votes, height=1.0):
        votes = ops.cast(votes, "float32")
        rank = len(votes.shape) - 3
        sizes, landmarks = ops.shape(votes)[1:-2], votes.shape[-2]
        patches = tuple(range(1, rank + 1))
        finite = ops.all(ops.isfinite(votes), axis=(*patches, -1))
        logit = votes[..., 0]
        score = ops.sigmoid(logit)
        for axis in patches:
            score = _sum_of_two(score, axis)
        score = ops.max(score, axis=patches)
        # The weights are a softmax of log p, because all p of a landmark that no patch
        # contains may round to 0.
        log_p = -ops.softplus(-logit)
        weight = ops.exp(log_p - ops.max(log_p, axis=patches, keepdims=True))
        weight = weight / ops.sum(weight, axis=patches, keepdims=True)
        centers = patch_centers(sizes, self.patch_size)[..., None, :]
        positions = centers + self._displacement(votes[..., 1:])
        points = ops.sum(weight[..., None] * positions, axis=patches)
        residual = positions - ops.reshape(points, (-1, *[1] * rank, landmarks, rank))
        # Column by column, because the product of all columns would need another axis.
        covariance = ops.stack(
            [
                ops.sum((weight * residual[..., k])[..., None] * residual, axis=patches)
                for k in range(rank)
            ],
            axis=-1,
        )
        if self.whole_pixels:  # the covariance is that of the mean
            points = ops.floor(points + 0.5)
        valid = finite[..., None]
        height = ops.convert_to_tensor(height, "float32")
        return {
            "points": ops.where(valid, points, math.nan),
            "score": ops.clip(ops.where(finite, score, 0.0) / height, 0.0, 1.0),
            "covariance": ops.where(valid[..., None], covariance, math.nan),
        }

    def compute_output_spec(self, votes, height=1.0):
        check_votes(self, votes.shape)
        shape, rank = (votes.shape[0], votes.shape[-2]), len(votes.shape) - 3
        return {
            "points": keras.KerasTensor((*shape, rank), "float32"),
            "score": keras.KerasTensor(shape, "float32"),
            "covariance": keras.KerasTensor((*shape, rank, rank), "float32"),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "whole_pixels": self.whole_pixels,
        }


def _sum_of_two(values, axis):
    """Returns sums of adjacent values along an axis, with zeros beyond both ends."""
    before = [(0, 0)] * len(values.shape)
    after = list(before)
    before[axis], after[axis] = (1, 0), (0, 1)
    return ops.pad(values, before) + ops.pad(values, after)
