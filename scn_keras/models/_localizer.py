import keras

from scn_keras.models._heatmap_stride import to_grid
from scn_keras.models._keras_contract import input_signature
from scn_keras.models._refine import refine


class Localizer(keras.Model):
    """The model `LandmarkModel.localizer`, from images to peaks.

    Args:
        model: `LandmarkModel`, whose layers it shares.
    """

    def __init__(self, model):
        super().__init__(name="localizer")
        self.network = model.network
        self.target = model.target
        self.peak = model.peak
        self.local = getattr(model, "local", None)  # of `GlobalToLocalNet`
        self.built = True  # as all its layers

    def build(self, input_shape):
        self.built = True

    def export(self, filepath, *args, **kwargs):
        kwargs.setdefault("input_signature", input_signature(self.network))
        return super().export(filepath, *args, **kwargs)

    def call(self, inputs, training=None):
        heatmaps = self.network(inputs, training=training)
        peaks = self.peak(heatmaps, height=self.target.height())
        peaks = to_grid(peaks, self.network)
        if self.local is None:
            return peaks
        refined = refine(self.local, inputs, peaks)
        return {name: refined[name] for name in peaks}
