import keras
import numpy as np
import pytest

from scn_keras.metrics import ImagePointError
from scn_keras.metrics.on_arrays import image_point_error

NAN = np.nan
# Distances of three images, as points on a line.
DISTANCES = np.array([[1.0, 2.0, 6.0], [4.0, NAN, 1.0], [NAN, NAN, NAN]])
TRUE, FOUND = np.zeros((3, 3, 1)), DISTANCES[..., None]


@pytest.mark.parametrize(
    ("divide_by", "by_image"),
    [("present", [3.0, 2.5, NAN]), ("all", [3.0, 5.0 / 3.0, 0.0])],
)
def test_both_conventions(divide_by, by_image):
    np.testing.assert_allclose(image_point_error(DISTANCES, divide_by), by_image)
    metric = ImagePointError(divide_by)
    metric.update_state(TRUE[:1], FOUND[:1])
    metric.update_state(TRUE[1:], FOUND[1:])
    assert float(metric.result()) == pytest.approx(np.nanmean(by_image))


def test_images_weigh_as_they_are_told():
    metric = ImagePointError()
    metric.update_state(TRUE, FOUND, [1.0, 3.0, 5.0])
    assert float(metric.result()) == pytest.approx((3.0 + 3 * 2.5) / 4)
    with pytest.raises(ValueError, match=r"one weight per image.*shape=\("):
        metric.update_state(TRUE, FOUND, np.ones((3, 3)))


def test_configuration():
    metric = ImagePointError("all", name="ipe")
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert (twin.divide_by, twin.name) == ("all", "ipe")
