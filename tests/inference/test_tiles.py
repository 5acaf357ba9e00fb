"""Images that are longer than the grid, with one blob for each landmark."""

import numpy as np
import pytest
import tensorflow as tf

from scn_keras.inference import ImageToGrid, Locator, test_time_views
from scn_keras.inference.tiles import best_of_tiles
from scn_keras.layers import HeatmapPeak
from tests.inference.test_locator import blob, dataset

GRID, STEP = (16, 12, 12), 8
SPACING = np.diag([0.5, 0.5, 0.25, 1.0])  # of the image; 1 mm on the grid


class TwoBlobs:
    """One landmark is a bright blob, the other one a blob as bright but dark."""

    def __init__(self):
        self.localizer = self
        self.peak = HeatmapPeak()
        self.shown = []

    def predict_on_batch(self, images):
        self.shown.append(images)
        heatmaps = np.concatenate([images, -images], axis=-1)
        return {k: v.numpy() for k, v in self.peak(np.maximum(heatmaps, 0.0)).items()}


def settings(**changes):
    return ImageToGrid(
        **{
            "grid": GRID,
            "grid_spacing": (1.0, 1.0, 1.0),
            "normalization": "window",
            "normalization_limits": (-1.0, 1.0),
            "clip_last": True,
            "outside": 0.0,
            "tile_step": STEP,
            **changes,
        }
    )


def image(length, *places):
    """Blobs, bright and dark, at places x, y, z in voxels of the image."""
    shape = (length, 24, 24)
    bright, dark = (blob(shape, np.array(p) * [2, 2, 1], 5.0) for p in places)
    return bright - dark


# Lengths in voxels of a quarter of a millimetre, on a grid of 16 mm.
@pytest.mark.parametrize(
    ("length", "tiles"), [(40, 1), (64, 1), (65, 2), (96, 2), (128, 3), (160, 4)]
)
def test_tiles_cover_the_image(length, tiles):
    model = TwoBlobs()
    places = np.array([[5.0, 6.0, 9.0], [6.5, 5.0, length - 9.0]])
    (found,) = Locator(model, settings()).locate(
        dataset([image(length, *places)], SPACING)
    )
    assert [shown.shape for shown in model.shown] == [(1, *GRID, 1)] * tiles
    expected = places * [2, 2, 1]
    np.testing.assert_allclose(found["points_px"], expected, atol=0.7)
    expected = expected * [0.5, 0.5, 0.25]
    np.testing.assert_allclose(found["points_mm"], expected, atol=0.3)
    assert found["grid_image"].shape == (*GRID, 1)
    # The grid of the picture is one of the tiles: of 1 mm and symmetric in the image.
    place = found["grid_to_source"]
    np.testing.assert_allclose(np.diagonal(place), [2, 2, 4, 1], rtol=1e-5)
    center = (place @ [5.5, 5.5, 7.5, 1])[2] - (length - 1) / 2
    assert np.round(center / 4 / STEP * 2, 4) in range(1 - tiles, tiles, 2)


def test_without_tiles_only_the_central_grid_is_located():
    model = TwoBlobs()
    places = [[5.0, 6.0, 9.0], [6.5, 5.0, 119.0]]
    locator = Locator(model, settings(tile_step=None))
    (found,) = locator.locate(dataset([image(128, *places)], SPACING))
    assert len(model.shown) == 1
    assert np.all(np.abs(found["points_px"][:, 2] - [9.0, 119.0]) > 20)


def test_images_of_several_lengths_and_given_placements():
    model = TwoBlobs()
    images = [image(n, [5, 6, 20], [6, 5, n - 20]) for n in (64, 128)]
    found = list(Locator(model, settings()).locate(dataset(images, SPACING)))
    assert [f["id"] for f in found] == [b"0", b"1"]
    np.testing.assert_allclose(found[1]["points_px"][:, 2], [20, 108], atol=0.7)
    model.shown.clear()
    place = np.diag([2.0, 2.0, 4.0, 1.0]).astype("float32")
    placed = dataset(images[1:], SPACING).map(
        lambda sample: {**sample, "grid_to_source": tf.constant(place)}
    )
    (found,) = Locator(model, settings()).locate(placed)
    assert len(model.shown) == 1
    np.testing.assert_array_equal(found["grid_to_source"], place)


def test_each_landmark_is_taken_from_its_best_tile():
    peaks = {
        "points": np.arange(18.0).reshape(3, 2, 3),
        "score": np.array([[0.2, 0.9], [0.7, 0.3], [0.1, 0.4]]),
        "covariance": np.arange(54.0).reshape(3, 2, 3, 3),
    }
    merged, tile = best_of_tiles(peaks, 10)
    assert tile == 0  # the sums are 1.1, 1.0 and 0.5
    # The first landmark is in tile 1, which begins 10 pixels further.
    expected = [[6.0, 7.0, 8.0 + 10.0], [3.0, 4.0, 5.0]]
    np.testing.assert_array_equal(merged["points"], expected)
    np.testing.assert_array_equal(merged["score"], [0.7, 0.9])
    np.testing.assert_array_equal(merged["covariance"][0], peaks["covariance"][1, 0])


@pytest.mark.parametrize(
    "changes",
    [{"grid_spacing": None}, {"tile_step": 0}, {"tile_step": 17}, {"tile_step": 2.0}],
)
def test_steps_that_do_not_match(changes):
    with pytest.raises(ValueError, match="`tile_step` must be an integer from 1 to"):
        settings(**changes)


def test_several_views_are_refused():
    with pytest.raises(ValueError, match="Tiles cannot be combined with several views"):
        Locator(TwoBlobs(), settings(), test_time_views(GRID))
