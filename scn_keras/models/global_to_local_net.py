import keras
from keras import ops

from scn_keras.layers.local_refinement import PATCH_SIZE, LocalRefinement
from scn_keras.layers.patch_target import PatchTarget
from scn_keras.losses.patch_loss import PatchLoss
from scn_keras.models._heatmap_stride import to_grid
from scn_keras.models._refine import refine
from scn_keras.models.landmark_model import LandmarkModel


@keras.saving.register_keras_serializable(package="scn_keras")
class GlobalToLocalNet(LandmarkModel):
    """Finds landmarks in a whole image, then looks again around each of them.

    A `LandmarkModel` of two stages, with one `fit`. The network says where each
    landmark is; a small network of its own (`LocalRefinement`) sees the image around
    that place, at full resolution, and says it precisely. With a `GlobalNet` this is
    the method of Noothout et al.; with a `SpatialConfigurationNet` of a large `stride`,
    heatmaps are coarse and cheap and points are precise all the same.

    In training, a local network sees the image around the true point, off by what is
    drawn at random so that the point is anywhere in the sub-image, as the paper has it.
    It never sees what the network finds, and no gradient goes from one stage to the
    other: both train as if they were alone. A missing landmark, or one outside of the
    image, trains no local network. The compiled loss is that of the network; the local
    ones have `PatchLoss()`, added to it. In validation they are tested where the
    network has sent them.

    Points and covariances are those of the local votes. A score is the product of both
    stages' scores.

    The stages by themselves: `LandmarkModel(network)` is the first one, trained alone
    or taken from this model. `local(image, points)` is the second, around any points;
    with `network.trainable = False` nothing else is trained.

    Reference: Noothout et al.: Deep Learning-Based Regression and Classification for
    Automatic Landmark Localization in Medical Images. IEEE Transactions on Medical
    Imaging 39(12), 2020.

    Args:
        network: Keras model, as for `LandmarkModel`.
        local: `LocalRefinement` or `None` for the published one.
        target: As for `LandmarkModel`, of the network.
        peak: As for `LandmarkModel`, of the network; of one peak.
        **kwargs: As for `LandmarkModel`. `weight_decay` is on the kernels of both
            stages.

    Call arguments:
        inputs: Images `(batch, *spatial, channels)`.

    Output:
        Dict of `outputs`, of the network, and what `LocalRefinement` gives; see
        `localizer` for points alone.

    Raises:
        ValueError: If the parts do not go together.

    Example:

    >>> network = scn_keras.models.GlobalNet(
    ...     3, (64, 64, 1), filters=4, blocks=(1, 1), reductions=3
    ... )
    >>> local = scn_keras.layers.LocalRefinement(3, filters=4)
    >>> model = scn_keras.models.GlobalToLocalNet(network, local)
    >>> model.compile("adam", scn_keras.losses.PatchLoss(20.0))
    >>> images = np.random.default_rng(0).normal(size=(2, 64, 64, 1))
    >>> points = np.array([[[4, 5], [9, 20], [np.nan, np.nan]]] * 2, "float32")
    >>> affine = np.stack([np.diag([0.1, 0.1, 1.0])] * 2)
    >>> y = {"points": points, "affine": affine}
    >>> history = model.fit(images, y, epochs=1, verbose=0)
    >>> found = model.localizer.predict(images, verbose=0)
    >>> found["points"].shape, found["covariance"].shape
    ((2, 3, 2), (2, 3, 2, 2))
    """

    _PARTS = ("network", "local", "target", "peak")

    def __init__(self, network, local=None, target=None, peak=None, **kwargs):
        super().__init__(network, target, peak, **kwargs)
        landmarks, image_shape = self.target.num_landmarks, network.inputs[0].shape
        self.local = local or LocalRefinement(landmarks, name="local")
        if self.local.num_landmarks != landmarks or self.peak.num_peaks != 1:
            raise ValueError(
                f"`local` must refine the one peak of each of {landmarks} landmarks. "
                f"Received: local.num_landmarks={self.local.num_landmarks}, "
                f"peak.num_peaks={self.peak.num_peaks}"
            )
        if not self.local.built:
            self.local.build(image_shape)
        self._local_target = PatchTarget(landmarks, PATCH_SIZE)
        self._local_loss = PatchLoss()

    def call(self, inputs, training=None):
        outputs = self.network(inputs, training=training)
        peaks = to_grid(self.peak(outputs, height=self.target.height()), self.network)
        return {"outputs": outputs, **refine(self.local, inputs, peaks)}

    def compute_output_spec(self, inputs, training=None):
        # Not by `compute_output_shape`, which `LandmarkModel` has for one tensor.
        return keras.Operation.compute_output_spec(self, inputs, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        loss = super().compute_loss(x, y, y_pred["outputs"], sample_weight, training)
        points, _ = self._labels(y)
        last = ops.cast(ops.stack(ops.shape(x)[-2:0:-1]), "float32") - 0.5
        # What is NaN is neither.
        inside = ops.logical_and(points >= -0.5, points < last)
        inside = ops.all(inside, axis=-1)
        seen = y_pred
        if training:
            # Where there is no truth, a sub-image as it will be: it has a part in the
            # mean and variance of normalisation.
            guess = ops.stop_gradient(y_pred["points"])
            around = ops.where(inside[..., None], points, guess)
            seen = self.local(x, around, training=True)
        points = ops.where(inside[..., None], points - seen["origin"], 0.0)
        truth = self._local_target(points, seen["votes"])
        weight = self._weighted(ops.cast(inside, "float32"), sample_weight)
        return loss + self._local_loss(truth, seen["votes"], weight)

    def _peaks(self, y_pred):
        return {name: y_pred[name] for name in ("points", "score")}
