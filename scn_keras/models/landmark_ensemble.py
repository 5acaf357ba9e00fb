import keras
from keras import ops

from scn_keras import warp
from scn_keras.geometry import mixture
from scn_keras.layers.log_displacement import LogDisplacement
from scn_keras.models._heatmap_stride import heatmap_stride, to_grid
from scn_keras.models._refine import refine


@keras.saving.register_keras_serializable(package="scn_keras")
class LandmarkEnsemble(keras.Model):
    """Locates landmarks on the mean heatmaps of several trained models.

    Each member's heatmaps count relative to the height of its own target, so that
    members with unlike sigmas count alike. Where members disagree, the mean has
    several peaks, and the landmark is where most of them see it; the mean of their
    points would lie between. Of networks whose patches vote (`GlobalNet`), the votes of
    all members count together. Local networks (`GlobalToLocalNet`) all look around the
    one point that comes of this; what they find is averaged, weighted by score. It has
    a `localizer`, as `LandmarkModel` does, and is not trained.

    Args:
        members: Sequence of `LandmarkModel` or `GlobalToLocalNet` for the same
            landmarks on the same grid.
        peak: `HeatmapPeak` or `None` for that of the first member.

    Call arguments:
        inputs: Images `(batch, *spatial, channels)`.

    Output shape:
        `(batch, *spatial, landmarks)`, mean heatmaps; their highest possible value
        is about 1. Of votes, `(batch, *patches, landmarks, 1 + D)`.

    Raises:
        ValueError: If there is no member, their outputs are unlike, or only some have
            local networks.

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
                "An ensemble needs at least one member, and members whose heatmaps "
                "have one shape and one stride. Received: shapes="
                f"{sorted(map(str, shapes))}, strides={sorted(strides)}"
            )
        if len({hasattr(member, "local") for member in members}) != 1:
            raise ValueError(
                "An ensemble needs local networks in all of its members or in none."
            )
        self.members = members
        self.peak = peak or members[0].peak
        self.built = True

    def build(self, input_shape):
        self.built = True  # every member was built when it was made

    def call(self, inputs, training=None):
        return _mean_outputs(self.members, inputs, training)

    def compute_output_shape(self, input_shape):
        return self.members[0].network.compute_output_shape(input_shape)

    @property
    def localizer(self):
        """The ensemble with the peak layer on top: images in, points and scores out."""
        if "_localizer" not in self.__dict__:
            # Past Keras's attribute tracking, as in `LandmarkModel`.
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
    """Votes whose sum is that of several: `(members, ...)`."""
    # Within what float32 tells from 0 and from 1: the logit is finite.
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
    found = mixture(points, score, covariance, warp.KERAS)
    return dict(zip(names, found, strict=True))
