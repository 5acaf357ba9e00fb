import keras
from keras import ops

from scn_keras import warp
from scn_keras.geometry import mixture
from scn_keras.layers.log_displacement import LogDisplacement
from scn_keras.models._heatmap_stride import heatmap_stride, to_grid
from scn_keras.models._refine import refine


@keras.saving.register_keras_serializable(package="scn_keras")
class LandmarkEnsemble(keras.Model):
    """Localises landmarks on the mean heatmaps of several trained models.

    The heatmaps of each member are divided by the height of its own target, so that
    members with different sigmas have equal weight. If members disagree, the mean
    heatmap has several peaks, and the highest is the point on which most members agree.
    The mean of their points, in contrast, would lie between these peaks. For networks
    with votes (`GlobalNet`), the votes of all members are combined. The local networks
    of all members (`GlobalToLocalNet`) refine the same point, and their results are
    averaged, weighted by score. Like `LandmarkModel`, the ensemble has a `localizer`.
    It cannot be trained.

    Args:
        members: Sequence of `LandmarkModel` or `GlobalToLocalNet` for the same
            landmarks on the same grid.
        peak: `HeatmapPeak` or `None` for the peak layer of the first member.

    Call arguments:
        inputs: Images `(batch, *spatial, channels)`.

    Output shape:
        Mean heatmaps `(batch, *spatial, landmarks)`, whose largest possible value is
        about 1, or votes `(batch, *patches, landmarks, 1 + D)`.

    Raises:
        ValueError: If there is no member, the shapes or strides of their outputs
            differ, or only some have local networks.

    Example:

    >>> def member():
    ...     network = scn_keras.models.SpatialConfigurationNet(
    ...         3, (32, 32, 1), filters=4, spatial_kernel_size=3, spatial_factor=8
    ...     )
    ...     return scn_keras.models.LandmarkModel(network)
    >>> ensemble = scn_keras.models.LandmarkEnsemble([member(), member()])
    >>> images = np.zeros((2, 32, 32, 1), "float32")
    >>> ensemble.localizer.predict(images, verbose=0)["points"].shape
    (2, 3, 2)
    """

    def __init__(self, members, peak=None, **kwargs):
        super().__init__(**kwargs)
        members = list(members)
        shapes = {tuple(member.network.output_shape) for member in members}
        strides = {heatmap_stride(member.network) for member in members}
        if len(shapes) != 1 or len(strides) != 1:
            raise ValueError(
                "An ensemble needs at least one member, and the heatmaps of all "
                "members must have one shape and one stride. Received: shapes="
                f"{sorted(map(str, shapes))}, strides={sorted(strides)}"
            )
        with_local = [hasattr(member, "local") for member in members]
        if len(set(with_local)) != 1:
            raise ValueError(
                "Either all members of an ensemble must have local networks or none. "
                f"Received: {sum(with_local)} of {len(members)} with local networks"
            )
        self.members = members
        self.peak = peak or members[0].peak
        self.built = True

    def build(self, input_shape):
        self.built = True  # members are built when they are created

    def call(self, inputs, training=None):
        return _mean_outputs(self.members, inputs, training)

    def compute_output_shape(self, input_shape):
        return self.members[0].network.compute_output_shape(input_shape)

    @property
    def localizer(self):
        """A model from images to points, scores and covariances, including `peak`."""
        if "_localizer" not in self.__dict__:
            # Bypasses Keras's attribute tracking, as in `LandmarkModel`.
            self.__dict__["_localizer"] = _Localizer(self)
        return self.__dict__["_localizer"]

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "members": [serialize(member) for member in self.members],
            "peak": serialize(self.peak),
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        def deserialize(part):
            return keras.saving.deserialize_keras_object(
                part, custom_objects=custom_objects
            )

        return cls(
            **{
                **config,
                "members": [deserialize(member) for member in config["members"]],
                "peak": deserialize(config["peak"]),
            }
        )


class _Localizer(keras.Model):
    def __init__(self, ensemble):
        super().__init__(name="localizer")
        self.members = ensemble.members
        self.peak = ensemble.peak

    def build(self, input_shape):
        self.built = True

    def call(self, inputs, training=None):
        peaks = self.peak(_mean_outputs(self.members, inputs, training))
        peaks = to_grid(peaks, self.members[0].network)
        if not hasattr(self.members[0], "local"):
            return peaks
        return _mean_of_peaks([refine(m.local, inputs, peaks) for m in self.members])


def _mean_outputs(members, inputs, training):
    outputs = [
        ops.cast(member.network(inputs, training=training), "float32")
        for member in members
    ]
    if len(outputs[0].shape) == len(inputs.shape) + 1:
        return _mean_votes(ops.stack(outputs))
    heights = [member.target.height() for member in members]
    total = sum(o / height for o, height in zip(outputs, heights, strict=True))
    return total / len(members)


def _mean_votes(votes):
    """Combines the votes of several members `(members, ...)` to their mean."""
    # Bounded to values that float32 distinguishes from 0 and 1, for finite logits.
    p = ops.clip(ops.sigmoid(votes[..., :1]), 1e-30, 1.0 - 1e-6)
    displacement = LogDisplacement(inverse=True)(votes[..., 1:])
    displacement = ops.sum(p * displacement, axis=0) / ops.sum(p, axis=0)
    p = ops.mean(p, axis=0)
    logit = ops.log(p) - ops.log(1.0 - p)
    return ops.concatenate([logit, LogDisplacement()(displacement)], axis=-1)


def _mean_of_peaks(peaks):
    names = ("points", "score", "covariance")
    points, score, covariance = (
        ops.stack([peak[name] for peak in peaks], axis=1) for name in names
    )
    means = mixture(points, score, covariance, warp.KERAS)
    return dict(zip(names, means, strict=True))
