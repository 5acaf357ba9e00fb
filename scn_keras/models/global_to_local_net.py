import math

import keras
from keras import ops

from scn_keras.layers.local_refinement import PATCH_SIZE, LocalRefinement
from scn_keras.layers.patch_target import PatchTarget
from scn_keras.layers.pyramid_refinement import PyramidRefinement
from scn_keras.losses.patch_loss import PatchLoss
from scn_keras.models._glimpse_loss import GlimpseLoss
from scn_keras.models._heatmap_stride import to_grid
from scn_keras.models._keras_contract import share_of_replica
from scn_keras.models._kernel_decay import kernel_decay
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

    Instead, `PyramidRefinement` looks at several scales around each point. One network
    for all landmarks then uses the structures around a landmark as well. It is trained
    at random distances from the true points, by distance and cross-entropy.

    Points and covariances are those of the local stage. The score is the product of
    both stages' scores.

    The stages can be used separately. `LandmarkModel(network)` is the first stage,
    trained alone or taken from this model. `local(image, points)` is the second stage
    at any points. With `frozen=True` only the second stage is trained, and training
    steps do not compute the global network, which takes most of the time. Their loss is
    that of the second stage and their metrics are NaN; those of the validation are of
    the whole model.

    Reference: Noothout et al.: Deep Learning-Based Regression and Classification for
    Automatic Landmark Localization in Medical Images. IEEE Transactions on Medical
    Imaging 39(12), 2020.

    Args:
        network: Keras model, the global network, as for `LandmarkModel`.
        local: `LocalRefinement`, `PyramidRefinement`, or `None` for the published
            `LocalRefinement`.
        target: Target layer of the global network, as for `LandmarkModel`.
        peak: Peak layer of the global network, as for `LandmarkModel`, with one peak.
        frozen: Bool, whether the global network and its target are not trained.
        **kwargs: As for `LandmarkModel`. `weight_decay` applies to the kernels of both
            stages.

    Call arguments:
        inputs: Images `(batch, *spatial, channels)`.

    Output:
        Dict of `outputs`, the output of the global network, and the output of
        `local`. `localizer` returns only points, scores and covariances.

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

    def __init__(
        self, network, local=None, target=None, peak=None, frozen=False, **kwargs
    ):
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
        is_pyramid = isinstance(self.local, PyramidRefinement)
        self._local_loss = GlimpseLoss() if is_pyramid else PatchLoss()
        self._frozen = bool(frozen)
        if self._frozen:
            for part in (self.network, self.target):
                part.trainable = False
                # Keras does not pass it on to the layers of a part that was loaded with
                # `trainable=False`.
                for variable in part.variables:
                    variable.trainable = False

    @property
    def frozen(self):
        """Whether only the local networks are trained."""
        return self._frozen

    def call(self, inputs, training=None):
        if training and self._frozen:
            shape = (ops.shape(inputs)[0], self.target.num_landmarks)
            return {
                "points": ops.full((*shape, self._rank), math.nan, dtype="float32"),
                "score": ops.zeros(shape, dtype="float32"),
            }
        outputs = self.network(inputs, training=training)
        peaks = to_grid(self.peak(outputs, height=self.target.height()), self.network)
        return {"outputs": outputs, **refine(self.local, inputs, peaks)}

    def compute_output_spec(self, inputs, training=None):
        # `compute_output_shape` of `LandmarkModel` is for an output of one tensor.
        return keras.Operation.compute_output_spec(self, inputs, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        if self._frozen:
            loss = self._decay()
        else:
            loss = super().compute_loss(
                x, y, y_pred["outputs"], sample_weight, training
            )
        points, _ = self._labels(y)
        last = ops.cast(ops.stack(ops.shape(x)[-2:0:-1]), "float32") - 0.5
        # Both comparisons are false for NaN.
        inside = ops.logical_and(points >= -0.5, points < last)
        inside = ops.all(inside, axis=-1)
        local = y_pred
        if training:
            # Without a true point, the sub-image lies around the predicted point as in
            # inference, because it contributes to the moments of normalisation.
            other = 0.5 * last if self._frozen else y_pred["points"]
            other = ops.stop_gradient(other)
            centers = ops.where(inside[..., None], points, other)
            local = self.local(x, centers, training=True)
        weight = self._weighted(ops.cast(inside, "float32"), sample_weight)
        is_pyramid = isinstance(self.local, PyramidRefinement)
        reference = local["center" if is_pyramid else "origin"]
        truth = ops.where(inside[..., None], points - reference, 0.0)
        if is_pyramid:
            return loss + self._local_loss(truth, local["logits"], weight)
        truth = self._local_target(truth, local["votes"])
        return loss + self._local_loss(truth, local["votes"], weight)

    def get_config(self):
        return {**super().get_config(), "frozen": self._frozen}

    def _decay(self):
        """Returns the weight decay of the local networks, as that of both stages."""
        if self._height is not None:
            self._height.update_state(self.target.height())
        if not self.weight_decay:
            return 0.0
        decay = kernel_decay(self.weight_decay, self.trainable_weights)
        return share_of_replica(decay)

    def _peaks(self, y_pred):
        return {name: y_pred[name] for name in ("points", "score")}
