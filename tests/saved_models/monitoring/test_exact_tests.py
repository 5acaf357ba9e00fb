"""Exact tests of counts, against SciPy and hand arithmetic."""

import numpy as np
import pytest
import scipy.stats

from scn_keras.saved_models.monitoring.exact_tests import (
    beta_binomial_upper,
    clopper_pearson,
    holm,
)


@pytest.mark.parametrize(("count", "total"), [(0, 20), (1, 50), (7, 60), (30, 30)])
def test_the_interval_is_that_of_clopper_and_pearson(count, total):
    expected = scipy.stats.binomtest(count, total).proportion_ci(method="exact")
    assert clopper_pearson(count, total) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize(
    ("count", "total", "a", "b"),
    [
        (0, 5, 1, 9),
        (3, 40, 4, 147),
        (60, 100, 76, 75),
        (9, 9, 2, 3),
        (200, 5000, 1, 50),
    ],
)
def test_the_tail_is_that_of_the_beta_binomial(count, total, a, b):
    expected = scipy.stats.betabinom.sf(count - 1, total, a, b)
    assert beta_binomial_upper(count, total, a, b) == pytest.approx(expected, rel=1e-6)


def test_the_next_image_exceeds_the_largest_of_nine_once_in_ten():
    # Of ten images of one distribution, each is the largest with equal probability.
    assert beta_binomial_upper(1, 1, 1, 9) == pytest.approx(0.1)


def test_holm_by_hand():
    # 0.01 x 3; 0.03 x 2; 0.04 x 1, but at least the one before.
    adjusted = holm(np.array([0.04, 0.01, 0.03]))
    np.testing.assert_allclose(adjusted, [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])
