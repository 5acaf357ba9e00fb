import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import MeanOverPoints


@keras.saving.register_keras_serializable(package="scn_keras")
class PresenceRecall(MeanOverPoints):
    """The fraction of present landmarks that are predicted as present, from 0 to 1.

    A landmark is predicted as present if its predicted point is not NaN, see
    `presence_threshold` of `LandmarkModel`. The position of the point has no effect.

    Args:
        landmark: Int, the index of one landmark, or `None` for all.
        name: Str or `None` for `presence_recall` and the landmark.
        dtype: The dtype of the result.

    Call arguments:
        y_true, y_pred: `(batch, landmarks, D)`.
        sample_weight: `(batch,)` or `(batch, landmarks)`.

    Example:

    The second landmark is missing but predicted as present.

    >>> metric = scn_keras.metrics.PresenceRecall()
    >>> metric.update_state([[[0.0, 0.0], [np.nan, np.nan]]], np.zeros((1, 2, 2)))
    >>> float(metric.result())
    1.0
    """

    _direction = "up"  # read by callbacks with `mode="auto"`

    def __init__(self, landmark=None, name=None, dtype=None):
        super().__init__("presence_recall", landmark, name, dtype)

    def values(self, y_true, y_pred):
        return _formulas.presence_recall(ops, y_true, y_pred)
