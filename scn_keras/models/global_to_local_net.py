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
    """Localises landmarks in the whole image, then refines each in a sub-image.

    It is a `LandmarkModel` of two stages, trained by one call of `fit`. The global
    network predicts a point for each landmark. A small local network for each landmark
    (`LocalRefinement`) then predicts the refined point from the sub-image around it, at
    full resolution. With a `GlobalNet` this is the method of Noothout et al. With a
    `SpatialConfigurationNet` of a large `stride`, heatmaps are coarse and fast to
    compute, while the points remain precise.

    In training, the sub-image of a local network has a random position around the true
    point, so that the point lies anywhere in the sub-image, as in the paper. It does
    not depend on the points of the global network, and no gradient flows from one stage
    to the other. Both stages are therefore trained independently. A missing landmark,
    or one outside the image, does not train a local network. The compiled loss is the
    loss of the global network. The loss of the local networks, `PatchLoss()`, is added
    to it. In validation, the sub-images lie around the points of the global network.

    Points and covariances are those of the local votes. The score is the product of
    both stages' scores.

    The stages can be used separately. `LandmarkModel(network)` is the first stage,
    trained alone or taken from this model. `local(image, points)` is the second stage
    at any points. With `network.trainable = False` only the second stage is trained.

    Reference: Noothout et al.: Deep Learning-Based Regression and Classification for
    Automatic Landmark Localization in Medical Images. IEEE Transactions on Medical
    Imaging 39(12), 2020.

    Args:
        network: Keras model, the global network, as for `LandmarkModel`.
        local: `LocalRefinement` or `None` for the published one.
        target: Target layer of the global network, as for `LandmarkModel`.
        peak: Peak layer of the global network, as for `LandmarkModel`, with one peak.
        **kwargs: As for `LandmarkModel`. `weight_decay` applies to the kernels of both
            stages.

    Call arguments:
        inputs: Images `(batch, *spatial, channels)`.

    Output:
        Dict of `outputs`, the output of the global network, and the output of
        `LocalRefinement`. `localizer` returns only points, scores and covariances.

    Raises:
        ValueError: If the parts do not match.

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
    >>> peaks = model.localizer.predict(images, verbose=0)
    >>> peaks["points"].shape, peaks["covariance"].shape
    ((2, 3, 2), (2, 3, 2, 2))
    """

    _PARTS = ("network", "local", "target", "peak")

    def __init__(self, network, local=None, target=None, peak=None, **kwargs):
        super().__init__(network, target, peak, **kwargs)
        landmarks, image_shape = self.target.num_landmarks, network.inputs[0].shape
        self.local = local or LocalRefinement(landmarks, name="local")
        if self.local.num_landmarks != landmarks or self.peak.num_peaks != 1:
            raise ValueError(
                f"`local` must refine one peak for each of {landmarks} landmarks. "
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
        # `compute_output_shape` of `LandmarkModel` is for an output of one tensor.
        return keras.Operation.compute_output_spec(self, inputs, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        loss = super().compute_loss(x, y, y_pred["outputs"], sample_weight, training)
        points, _ = self._labels(y)
        last = ops.cast(ops.stack(ops.shape(x)[-2:0:-1]), "float32") - 0.5
        # Both comparisons are false for NaN.
        inside = ops.logical_and(points >= -0.5, points < last)
        inside = ops.all(inside, axis=-1)
        local = y_pred
        if training:
            # Without a true point, the sub-image lies around the predicted point as in
            # inference, because it contributes to the moments of normalisation.
            predicted = ops.stop_gradient(y_pred["points"])
            centers = ops.where(inside[..., None], points, predicted)
            local = self.local(x, centers, training=True)
        points = ops.where(inside[..., None], points - local["origin"], 0.0)
        truth = self._local_target(points, local["votes"])
        weight = self._weighted(ops.cast(inside, "float32"), sample_weight)
        return loss + self._local_loss(truth, local["votes"], weight)

    def _peaks(self, y_pred):
        return {name: y_pred[name] for name in ("points", "score")}
