import math

import keras
from keras import ops

from scn_keras.layers._patches import check_votes, patch_centers
from scn_keras.layers._spatial import check_positive_integers
from scn_keras.layers.log_displacement import LogDisplacement


@keras.saving.register_keras_serializable(package="scn_keras")
class PatchVote(keras.layers.Layer):
    """Lets all patches of an image vote on where its landmarks are.

    Each patch says with what probability p a landmark lies in it and how far it is from
    the patch's centre. The point is the mean of all these places, weighted with p, the
    covariance theirs about it. The score is the largest sum of p over two adjacent
    patches an axis, since a landmark near a border is shared by the patches there.

    It takes the place of `HeatmapPeak` in `LandmarkModel`. Votes with a number that is
    not finite have NaN points and covariance and score 0.

    Reference: Noothout et al., IEEE Transactions on Medical Imaging 39(12), 2020; score
    and covariance are not theirs.

    Args:
        patch_size: Int, the total stride of the network, in pixels of the image.

    Call arguments:
        votes: `(batch, *patches, landmarks, 1 + D)`: the logit of p, then the
            displacement in x, y(, z) as `LogDisplacement`.
        height: Float or `(landmarks,)`, the highest sum of p, which the score is
            relative to.

    Output:
        Dict of `points` `(batch, landmarks, D)` in pixels of the image, columns
        x, y(, z); `score` `(batch, landmarks)` from 0 to 1; `covariance`
        `(batch, landmarks, D, D)` in px². All are float32.

    Raises:
        ValueError: If `patch_size` is not a positive integer, or votes have another
            shape.

    Example:

    >>> votes = np.full((1, 4, 4, 1, 3), -30.0, "float32")
    >>> votes[0, 1, 2, 0] = 30.0, 0.301, -1.0  # 1 px to the right and 9 px up
    >>> found = scn_keras.layers.PatchVote(patch_size=8)(votes)
    >>> np.round(keras.ops.convert_to_numpy(found["points"]), 2).tolist()
    [[[20.5, 2.5]]]
    """

    num_peaks = 1

    def __init__(self, patch_size, **kwargs):
        # bfloat16 cannot hold a coordinate: it takes 301.3 for 302.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        check_positive_integers(patch_size=patch_size)
        self.patch_size = patch_size
        self._displacement = LogDisplacement(inverse=True, name="displacement")

    def build(self, votes_shape):
        check_votes(self, votes_shape)
        self.built = True

    def call(self, votes, height=1.0):
        votes = ops.cast(votes, "float32")
        rank = len(votes.shape) - 3
        sizes, landmarks = ops.shape(votes)[1:-2], votes.shape[-2]
        patches = tuple(range(1, rank + 1))
        there = ops.all(ops.isfinite(votes), axis=(*patches, -1))
        logit = votes[..., 0]
        score = ops.sigmoid(logit)
        for axis in patches:
            score = _sum_of_two(score, axis)
        score = ops.max(score, axis=patches)
        # As a softmax of log p: where no patch sees the landmark, all p may round to 0.
        log_p = -ops.softplus(-logit)
        weight = ops.exp(log_p - ops.max(log_p, axis=patches, keepdims=True))
        weight = weight / ops.sum(weight, axis=patches, keepdims=True)
        centers = patch_centers(sizes, self.patch_size)[..., None, :]
        places = centers + self._displacement(votes[..., 1:])
        points = ops.sum(weight[..., None] * places, axis=patches)
        apart = places - ops.reshape(points, (-1, *[1] * rank, landmarks, rank))
        # By columns: a product of all would have two axes more than there are places.
        covariance = ops.stack(
            [
                ops.sum((weight * apart[..., k])[..., None] * apart, axis=patches)
                for k in range(rank)
            ],
            axis=-1,
        )
        valid = there[..., None]
        height = ops.convert_to_tensor(height, "float32")
        return {
            "points": ops.where(valid, points, math.nan),
            "score": ops.clip(ops.where(there, score, 0.0) / height, 0.0, 1.0),
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
        return {**super().get_config(), "patch_size": self.patch_size}


def _sum_of_two(values, axis):
    """Sums of neighbours along an axis, those with nothing beyond the ends included."""
    before = [(0, 0)] * len(values.shape)
    after = list(before)
    before[axis], after[axis] = (1, 0), (0, 1)
    return ops.pad(values, before) + ops.pad(values, after)
