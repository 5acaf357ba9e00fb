import numpy as np
import pytest
from keras import ops

from scn_keras.layers import PatchCenters
from tests.contract import check_contract


@pytest.mark.parametrize("sizes", [(5,), (3, 4), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("patch_size", [1, 8, 32])
def test_a_centre_is_the_mean_of_its_pixels(sizes, patch_size):
    found = PatchCenters(patch_size)(np.zeros((2, *sizes, 7), "float32"))
    expected = np.empty((1, *sizes, len(sizes)))
    for index in np.ndindex(*sizes):
        pixels = [np.arange(patch_size * i, patch_size * (i + 1)) for i in index]
        expected[(0, *index)] = [np.mean(p) for p in reversed(pixels)]
    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)


def test_contract():
    # Its batch is of one, whatever that of its input is.
    check_contract(PatchCenters, {"patch_size": 4}, np.zeros((1, 3, 2, 5), "float32"))


@pytest.mark.parametrize("size", [0, 2.5])
def test_wrong_sizes_are_refused(size):
    with pytest.raises(ValueError, match="`patch_size` must be an integer"):
        PatchCenters(size)
