import keras
import numpy as np
import pytest

from scn_keras.layers import HeatmapProduct
from scn_keras.models import LandmarkModel, LocalizationUNet, with_spatial_configuration
from scn_keras.saved_models.explaining.evidence_figures import draw_peak
from scn_keras.saved_models.explaining.occlusion import factors_of, occlude
from scn_keras.saved_models.explaining.peak_window import peak_window


class Right(keras.layers.Layer):
    """Landmark 0 is expected on the right if landmark 1 responds anywhere."""

    def call(self, heatmaps):
        responds = keras.ops.max(heatmaps[..., 1:2], axis=(1, 2), keepdims=True)
        column = keras.ops.arange(8, dtype="float32")[None, None, :, None] / 8.0
        first = 0.5 + responds * column
        first = keras.ops.broadcast_to(first, keras.ops.shape(heatmaps[..., :1]))
        return keras.ops.concatenate([first, 0.25 + 0.0 * first], axis=-1)

    def compute_output_shape(self, shape):
        return shape


@pytest.fixture
def model():
    image = keras.Input((8, 8, 2))
    network = with_spatial_configuration(
        keras.Model(image, keras.layers.Identity()(image)),
        num_landmarks=2,
        spatial_configuration=Right(),
    )
    head = network.get_layer("local_appearance")
    head.set_weights([np.eye(2)[None, None], np.zeros(2)])
    return LandmarkModel(network)


def test_who_moves_whom(model):
    image = np.zeros((8, 8, 2), np.float32)
    image[2, 1, 0], image[6, 7, 0] = 1.0, 0.9  # two candidates, the left is higher
    image[4, 4, 1] = 1.0
    occlusion = occlude(model, image, (0, 1))
    # 0.9 * (0.5 + 7 / 8) on the right, 1.0 * (0.5 + 1 / 8) on the left.
    np.testing.assert_allclose(occlusion.displacement[0, 1], (1 - 7, 2 - 6), atol=0.3)
    assert np.abs(occlusion.displacement[[0, 1, 1], [0, 0, 1]]).max() == 0.0
    before = np.array([1.0 * (0.5 + 1 / 8), 0.9 * (0.5 + 7 / 8)])
    after = np.array([0.5, 0.45])
    share = (before - after).sum() / before.sum()
    assert occlusion.change[0, 1] == pytest.approx(share)
    assert occlusion.change[1].tolist() == [0.0, 0.0]
    other, whole, occluded = occlusion.examples[0]
    assert other == 1 and np.all(occluded == 0.5)
    np.testing.assert_allclose(whole[3], 0.5 + np.arange(8) / 8)
    assert occlusion.examples[1][0] == 0


def test_networks_without_a_spatial_configuration_of_heatmaps(model):
    assert factors_of(model.network) is not None
    network = LocalizationUNet(2, (8, 8, 1), 2, levels=2)
    assert factors_of(network) is None
    assert occlude(LandmarkModel(network), np.zeros((8, 8, 1)), (0,)) is None
    image = keras.Input((8, 8, 1))
    both = [keras.layers.Conv2D(2, 1)(image) for _ in range(2)]
    product = keras.Model(image, HeatmapProduct()(both))
    assert factors_of(product) is None


@pytest.mark.parametrize(
    ("method", "window"), [("gaussian_fit", 7), ("log_parabola", None), ("dark", None)]
)
def test_the_curve_is_the_gaussian_of_the_heatmap(method, window):
    y, x = np.mgrid[:40, :30]
    covariance = np.array([[4.0, 1.0], [1.0, 3.0]])
    offset = np.stack([x - 12.3, y - 20.8], axis=-1)
    m = np.einsum("yxi,ij,yxj->yx", offset, np.linalg.inv(covariance), offset)
    heatmap = 5.0 * np.exp(-0.5 * m)
    result = peak_window(heatmap, np.array([12.3, 20.8]), covariance, method, window)
    assert result.largest.tolist() == [12, 21]
    assert result.radius == (3 if window else 1)
    assert result.height == pytest.approx(5.0, rel=1e-6)
    for axis in (0, 1):
        positions, values = result.profile(axis)
        line = heatmap[21] if axis == 0 else heatmap[:, 12]
        np.testing.assert_array_equal(values, line[positions])
        np.testing.assert_allclose(result.gaussian(axis, positions), values, rtol=1e-6)


def test_peaks_at_the_border_and_without_a_curve_are_drawn():
    heatmap = np.zeros((10, 9, 8))
    heatmap[0, 8, 3] = 2.0
    point = np.array([3.0, 8.0, 0.0])
    window = peak_window(heatmap, point, np.eye(3), "centroid", 5)
    assert window.height is None and window.largest.tolist() == [3, 8, 0]
    assert window.values.shape == (7, 7, 8) and window.origin.tolist() == [0, 2, 0]
    assert len(draw_peak(window, 1.0).axes) == 4
    lost = peak_window(heatmap[0] * 0, np.full(2, np.nan), np.eye(2), "gaussian_fit", 7)
    assert lost.height is None
    assert draw_peak(lost, 1.0).axes[0].get_title() == "pixels of the heatmap"
