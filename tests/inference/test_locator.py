import numpy as np
import pytest
import tensorflow as tf

from scn_keras.inference import ImageToGrid, Locator, test_time_views
from scn_keras.inference.test_time_augmentation import mean_of_views
from scn_keras.layers import HeatmapPeak


class BrightestPoint:
    """Takes the image for its heatmap, and keeps what it was shown."""

    def __init__(self):
        self.localizer = self
        self.peak = HeatmapPeak()
        self.shown = []

    def predict_on_batch(self, images):
        self.shown.append(images)
        return {k: v.numpy() for k, v in self.peak(images + 1.0).items()}


def blob(shape, point, sigma):
    """A Gaussian in an image, `point` in x, y(, z)."""
    axes = np.meshgrid(*map(np.arange, shape), indexing="ij")
    squared = sum((a - p) ** 2 for a, p in zip(axes, point[::-1], strict=True))
    return np.exp(-squared / (2 * sigma**2))[..., None].astype("float32")


def dataset(images, affine):
    return tf.data.Dataset.from_generator(
        lambda: (
            {"id": str(n), "image": image, "affine": affine.astype("float32")}
            for n, image in enumerate(images)
        ),
        output_signature={
            "id": tf.TensorSpec((), tf.string),
            "image": tf.TensorSpec((*[None] * (images[0].ndim - 1), 1), tf.float32),
            "affine": tf.TensorSpec(affine.shape, tf.float32),
        },
    )


CASES = {
    "2D": ((96, 128), (24, 32), np.diag([0.5, 0.5, 1.0]), [(61.3, 40.2), (30.0, 60.7)]),
    "3D": (
        (48, 40, 32),
        (24, 20, 16),
        np.diag([0.5, 0.5, 0.5, 1.0]),
        [(14.2, 22.7, 25.1), (20.0, 13.5, 30.2)],
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("augmented", [False, True])
def test_planted_blobs_are_found(case, augmented):
    shape, grid, affine, places = CASES[case]
    images = [blob(shape, place, 6.0 if case == "2D" else 4.0) for place in places]
    model = BrightestPoint()
    views = test_time_views(grid) if augmented else None
    locator = Locator(model, ImageToGrid(grid), views)
    found = list(locator.locate(dataset(images, affine)))
    assert [case["id"] for case in found] == [b"0", b"1"]
    for one, place in zip(found, places, strict=True):
        np.testing.assert_allclose(one["points_px"][0], place, atol=0.1)
        assert one["grid_image"].shape == (*grid, 1)
        assert one["score"].shape == (1,)
        # The blob's own width, and a little from being smoothed and interpolated.
        sigma = 6.0 if case == "2D" else 4.0
        widths = np.sqrt(np.diagonal(one["covariance_px2"][0]))
        np.testing.assert_allclose(widths, sigma, rtol=0.25)
    (shown,) = model.shown
    assert shown.shape == (2 * (len(views) if augmented else 1), *grid, 1)
    if augmented:
        assert len({image.tobytes() for image in shown}) == len(shown)


def test_views_turn_and_magnify_about_the_centre():
    views = test_time_views((21, 31))
    center = np.array([15.0, 10.0, 1.0])
    np.testing.assert_array_equal(views[0], np.eye(3))
    for view in views:
        np.testing.assert_allclose(view @ center, center, atol=1e-5)
    magnified = np.array([np.sqrt(np.linalg.det(view[:2, :2])) for view in views])
    np.testing.assert_allclose(magnified, [1, 1, 1, 1 / 1.05, 1.05], rtol=1e-5)
    angles = [np.degrees(np.arctan2(view[1, 0], view[0, 0])) for view in views]
    np.testing.assert_allclose(angles, [0, 3, -3, 0, 0], atol=1e-5)


def test_mean_of_views_is_weighted_by_score():
    points = np.array([[[[0.0, 0.0]], [[4.0, 0.0]]]])  # one image, two views
    score = np.array([[[0.75], [0.25]]])
    covariance = np.zeros((1, 2, 1, 2, 2))
    found = {"points": points, "score": score, "covariance": covariance}
    unmoved = np.stack([np.eye(3)] * 2)
    mean, together, spread = mean_of_views(found, unmoved)
    np.testing.assert_allclose(mean, [[[1.0, 0.0]]], atol=1e-4)
    np.testing.assert_allclose(together, [[0.5]])
    # 0.75 * 1 + 0.25 * 9
    np.testing.assert_allclose(spread, [[[[3.0, 0.0], [0.0, 0.0]]]], atol=1e-4)
