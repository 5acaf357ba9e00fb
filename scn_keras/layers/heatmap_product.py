import keras
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
class HeatmapProduct(keras.layers.Layer):
    """Multiplies heatmaps element by element, in float32.

    The product is large only where every factor is large: local appearance heatmaps
    respond accurately to all structures that resemble the landmark, spatial
    configuration heatmaps respond coarsely to its possible location.

    Reference: Payer et al., Medical Image Analysis 54, 2019, equation 2.

    Call arguments:
        inputs: List of two or more heatmaps of one shape
            `(batch, *spatial, landmarks)`.

    Output shape:
        The shape of each input, float32.

    Raises:
        ValueError: If there are fewer than two inputs or their shapes differ.

    Example:

    >>> a = np.full((1, 4, 4, 2), 3.0, "float32")
    >>> float(scn_keras.layers.HeatmapProduct()([a, a])[0, 0, 0, 0])
    9.0
    """

    def __init__(self, **kwargs):
        # Products in bfloat16 would lose the sub-pixel position.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)

    def build(self, input_shape):
        shapes = (
            [tuple(shape) for shape in input_shape]
            if input_shape and isinstance(input_shape[0], (list, tuple))
            else []
        )
        differing = {
            tuple(sizes)
            for sizes in zip(*shapes, strict=False)
            if len({size for size in sizes if size is not None}) > 1
        }
        ranks = {len(shape) for shape in shapes}
        if len(shapes) < 2 or len(ranks) != 1 or differing:
            raise ValueError(
                f"Layer `{self.name}` multiplies two or more heatmaps of one shape "
                f"and does not broadcast. Received: input_shape={input_shape}"
            )
        self.built = True

    def call(self, inputs):
        product = inputs[0]
        for factor in inputs[1:]:
            product = ops.multiply(product, factor)
        return product

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])
