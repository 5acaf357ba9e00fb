import keras

from scn_keras.layers._activations import HEATMAP_ACTIVATIONS
from scn_keras.layers._spatial import check_choice, heatmap_convolution
from scn_keras.layers.heatmap_product import HeatmapProduct
from scn_keras.layers.spatial_configuration import SpatialConfiguration


def with_spatial_configuration(
    features,
    num_landmarks,
    spatial_configuration=None,
    kernel_size=1,
    activation=None,
    heatmap_initializer=1e-4,
    name=None,
):
    """Adds a local head and a spatial configuration to any feature extractor.

    The result is a functional model from the image to heatmaps that shares its layers
    with `features`. The factors of the heatmaps are the outputs of the layers
    `local_appearance` and, unless another layer is given, `spatial_configuration`.

    Args:
        features: Functional Keras model from the image `(batch, *spatial, channels)`
            to features `(batch, *spatial, channels)`, the backbone.
        num_landmarks: Int, the number of landmarks.
        spatial_configuration: `SpatialConfiguration`, any other layer from heatmaps to
            heatmaps, or `None` for `SpatialConfiguration` with its default arguments.
        kernel_size: Int, the kernel size of the local head.
        activation: The activation of the local heatmaps, see `SpatialConfiguration`.
        heatmap_initializer: Float, the standard deviation of the initial kernel of the
            local head.
        name: String, the name of the model.

    Raises:
        ValueError: If the features are not one tensor with 1 to 3 spatial axes.

    Example:

    >>> image = keras.Input((64, 48, 3))
    >>> x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    >>> network = scn_keras.models.with_spatial_configuration(
    ...     keras.Model(image, x),
    ...     num_landmarks=5,
    ...     spatial_configuration=scn_keras.layers.SpatialConfiguration(
    ...         filters=8, kernel_size=3, factor=8
    ...     ),
    ... )
    >>> network.output_shape
    (None, 64, 48, 5)
    """
    check_choice(HEATMAP_ACTIVATIONS, activation=activation)
    x = features.output
    if not isinstance(x, keras.KerasTensor) or not 3 <= len(x.shape) <= 5:
        raise ValueError(
            "`features` must be a functional model with one output of shape (batch, "
            "*spatial, channels) with 1 to 3 spatial axes. Received: "
            f"output={x}"
        )
    local_appearance = heatmap_convolution(
        len(x.shape) - 2,
        num_landmarks,
        kernel_size,
        heatmap_initializer,
        activation=HEATMAP_ACTIVATIONS[activation][0],
        name="local_appearance",
    )(x)
    if spatial_configuration is None:
        spatial_configuration = SpatialConfiguration(name="spatial_configuration")
    heatmaps = HeatmapProduct(name="heatmaps")(
        [local_appearance, spatial_configuration(local_appearance)]
    )
    return keras.Model(features.input, heatmaps, name=name)
