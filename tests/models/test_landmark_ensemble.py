import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import GaussianHeatmap, HeatmapPeak
from scn_keras.models import LandmarkEnsemble, LandmarkModel


@keras.saving.register_keras_serializable(package="tests")
class Fixed(keras.layers.Layer):
    """Puts given heatmaps in place of the image's."""

    def __init__(self, points, sigma, height, **kwargs):
        super().__init__(**kwargs)
        self.points, self.sigma, self.height = points, sigma, height

    def call(self, image):
        size = image.shape[1:-1]
        grid = np.meshgrid(*map(np.arange, size), indexing="ij")
        maps = np.stack(
            [
                self.height
                * np.exp(
                    -sum((g - p) ** 2 for g, p in zip(grid, point[::-1], strict=True))
                    / (2 * self.sigma**2)
                )
                for point in self.points
            ],
            axis=-1,
        )
        return 0.0 * image + ops.convert_to_tensor(maps.astype("float32"))

    def get_config(self):
        return {
            **super().get_config(),
            **{"points": self.points, "sigma": self.sigma, "height": self.height},
        }


def member(points, sigma=2.0, gamma=None, confidence=1.0, size=(24, 32)):
    image = keras.Input((*size, 1))
    target = GaussianHeatmap(len(points), sigma=sigma, gamma=gamma)
    target.build((None, len(points), len(size)))
    height = confidence * float(ops.convert_to_numpy(target.height())[0])
    network = keras.Model(image, Fixed(points, sigma, height)(image))
    return LandmarkModel(network, target, HeatmapPeak())


def locate(ensemble, size=(24, 32)):
    found = ensemble.localizer.predict(np.zeros((1, *size, 1)), verbose=0)
    return found["points"][0], found["score"][0]


def test_two_of_three_outvote_the_third():
    there, elsewhere = [[8.25, 10.5]], [[25.0, 4.0]]
    points, score = locate(
        LandmarkEnsemble([member(there), member(elsewhere), member(there)])
    )
    np.testing.assert_allclose(points, there, atol=0.01)
    # At the nearest pixel, a fourth and half of one away.
    expected = 2 / 3 * np.exp(-(0.25**2 + 0.5**2) / (2 * 2.0**2))
    np.testing.assert_allclose(score, expected, rtol=1e-4)


def test_members_count_alike_whatever_their_heights():
    # 400 times as high, and less sure.
    low, high = member([[8.0, 10.0]]), member([[25.0, 4.0]], gamma=1e4, confidence=0.9)
    points, _ = locate(LandmarkEnsemble([low, high]))
    np.testing.assert_allclose(points, [[8.0, 10.0]], atol=0.01)


def test_of_neighbours_the_mean_is_found():
    ensemble = LandmarkEnsemble([member([[8.0, 10.0]]), member([[9.0, 10.5]])])
    np.testing.assert_allclose(locate(ensemble)[0], [[8.5, 10.25]], atol=0.02)


def test_volumes():
    size, place = (12, 14, 16), [[9.5, 6.25, 4.75]]
    ensemble = LandmarkEnsemble([member(place, size=size)] * 2)
    np.testing.assert_allclose(locate(ensemble, size)[0], place, atol=0.01)


def test_heatmaps_coarser_than_the_image():
    members = [member([[8.0, 10.0]]), member([[9.0, 10.5]])]
    for one in members:
        one.network.heatmap_stride = 4
    ensemble = LandmarkEnsemble(members)
    # Pixel i covers 4 i to 4 i + 3: its centre is at 4 i + 1.5.
    np.testing.assert_allclose(locate(ensemble)[0], [[35.5, 42.5]], atol=0.08)
    members[0].network.heatmap_stride = 2
    with pytest.raises(ValueError, match=r"strides=\[2, 4\]"):
        LandmarkEnsemble(members)


def test_saved_and_loaded(tmp_path):
    ensemble = LandmarkEnsemble(
        [member([[8.0, 10.0]]), member([[9.0, 10.5]], sigma=3.0)], HeatmapPeak("argmax")
    )
    path = tmp_path / "ensemble.keras"
    ensemble.save(path)
    loaded = keras.models.load_model(path)
    assert isinstance(loaded, LandmarkEnsemble)
    assert loaded.peak.method == "argmax"
    for a, b in zip(locate(loaded), locate(ensemble), strict=True):
        np.testing.assert_array_equal(a, b)


def test_members_must_fit():
    with pytest.raises(ValueError, match=r"at least one member.*shapes=\[\]"):
        LandmarkEnsemble([])
    with pytest.raises(ValueError, match="have one shape.*shapes="):
        LandmarkEnsemble([member([[8.0, 10.0]]), member([[8.0, 10.0], [9.0, 10.0]])])
