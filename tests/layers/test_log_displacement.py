import numpy as np
from keras import ops

from scn_keras.layers import LogDisplacement
from tests.contract import check_contract

DISPLACEMENTS = np.array([-2400.0, -9.0, -0.5, -1e-4, 0.0, 1e-4, 1.0, 99.0], "float32")


def test_is_the_logarithm_of_the_paper():
    found = ops.convert_to_numpy(LogDisplacement()(DISPLACEMENTS))
    exact = DISPLACEMENTS.astype("float64")
    expected = np.sign(exact) * np.log10(np.abs(exact) + 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    # 9 and 99 are one less than powers of ten.
    np.testing.assert_allclose(found[[1, 7]], [-1.0, 2.0], rtol=1e-6)


def test_the_inverse_brings_them_back():
    back = LogDisplacement(inverse=True)(LogDisplacement()(DISPLACEMENTS))
    np.testing.assert_allclose(
        ops.convert_to_numpy(back), DISPLACEMENTS, rtol=5e-6, atol=1e-6
    )


def test_what_a_network_that_diverges_says_stays_finite():
    found = LogDisplacement(inverse=True)(np.array([-400.0, 50.0], "float32"))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), [-999999, 999999], rtol=1e-5
    )


def test_contract():
    for inverse in (False, True):
        check_contract(
            LogDisplacement, {"inverse": inverse}, DISPLACEMENTS.reshape(2, 2, 2) / 999
        )
