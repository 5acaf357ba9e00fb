import keras
from keras import ops

from scn_keras.layers._patches import patch_centers
from scn_keras.layers._spatial import check_positive_integers, spatial_rank


@keras.saving.register_keras_serializable(package="scn_keras")
class PatchCenters(keras.layers.Layer):
    """Returns the centres of the patches that the outputs of a strided network cover.

    The output with index i covers the pixels `patch_size * i` to `patch_size * i +
    patch_size - 1` of the image. Their centre is `patch_size * i + (patch_size - 1) /
    2`.

    Reference: Noothout et al., IEEE Transactions on Medical Imaging 39(12), 2020.

    Args:
        patch_size: Int, the total stride of the network.

    Call arguments:
        outputs: `(batch, *patches, channels)` with 1 to 3 axes of patches. Its values
            are not used.

    Output shape:
        `(1, *patches, D)`, columns x, y(, z), in pixels of the image, float32.

    Raises:
        ValueError: If `patch_size` is not a positive integer.

    Example:

    >>> layer = scn_keras.layers.PatchCenters(32)
    >>> centers = layer(np.zeros((1, 15, 12, 8), "float32"))
    >>> keras.ops.convert_to_numpy(centers)[0, 1, 2].tolist()
    [79.5, 47.5]
    """

    def __init__(self, patch_size, **kwargs):
        # bfloat16 cannot represent coordinates: it rounds 301.3 to 302.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        check_positive_integers(patch_size=patch_size)
        self.patch_size = patch_size

    def build(self, outputs_shape):
        spatial_rank(self, outputs_shape)
        self.built = True

    def call(self, outputs):
        return patch_centers(ops.shape(outputs)[1:-1], self.patch_size)

    def compute_output_shape(self, outputs_shape):
        return (1, *outputs_shape[1:-1], len(outputs_shape) - 2)

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}
