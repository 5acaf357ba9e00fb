"""Images held out from training, stacked and selected."""

import numpy as np
import pytest

from scn_keras.inference.held_out_images import HeldOutImages


def image(number, **entries):
    return {
        "points": np.full((3, 2), number),
        "score": np.full(3, number),
        "covariance": np.full((3, 2, 2), number),
        "truth": np.full((3, 2), -number),
        "grid_to_space": number * np.eye(3),
        "id": f"{number}",
        **entries,
    }


def test_images_are_stacked_in_order_and_selected():
    images = HeldOutImages.stack([image(n, fold=9 - n) for n in range(4)])
    assert images.points.shape == (4, 3, 2)
    np.testing.assert_array_equal(images.fold, [9, 8, 7, 6])
    part = images.select(np.array([False, True, False, True]))
    np.testing.assert_array_equal(part.score[:, 0], [1, 3])
    np.testing.assert_array_equal(part.truth[:, 0, 0], [-1, -3])
    np.testing.assert_array_equal(part.grid_to_space[:, 0, 0], [1, 3])
    np.testing.assert_array_equal(part.fold, [8, 6])


@pytest.mark.parametrize("fold", [2, np.array([2, 2])])
def test_folds_can_be_given(fold):
    images = HeldOutImages.stack([image(5), image(6)], fold)
    np.testing.assert_array_equal(images.fold, [2, 2])
