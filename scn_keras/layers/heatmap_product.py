import keras
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
class HeatmapProduct(keras.layers.Layer):
    """Multiplies heatmaps element by element, in float32.

    The product is large only where every factor is: local appearance says
    precisely where something looks like the landmark, spatial configuration says
    roughly where it can be.

    Reference: Payer et al., Medical Image Analysis 54, 2019, equation 2.

    Call arguments:
        inputs: List of two or more heatmaps of one shape
            `(batch, *spatial, landmarks)`.

    Output shape:
        That of each input, float32.

    Raises:
        ValueError: If there are fewer than two inputs or their shapes differ.

    Example:

    >>> a = np.full((1, 4, 4, 2), 3.0, "float32")
    >>> float(scn_keras.layers.HeatmapProduct()([a, a])[0, 0, 0, 0])
    9.0
    """

    def __init__(self, **kwargs):
        # Products of bfloat16 numbers would lose the position between pixels.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)

    def build(self, input_shape):
        shapes = (
            [tuple(shape) for shape in input_shape]
            if input_shape and isinstance(input_shape[0], (list, tuple))
            else []
        )
        known = {
            tuple(sizes)
            for sizes in zip(*shapes, strict=False)
            if len({size for size in sizes if size is not None}) > 1
        }
        ranks = {len(shape) for shape in shapes}
        if len(shapes) < 2 or len(ranks) != 1 or known:
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
