"""The precision of marks by symmetry is that of planted errors."""

import numpy as np
import pytest

from benchmarks.mark_symmetry import asymmetry, pairs_by_symmetry, root_mean_square

PAIRS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)]


@pytest.fixture
def shape():
    """Six pairs beside the plane x = 0 and four points in it."""
    random = np.random.default_rng(0)
    right = random.uniform((1.0, -6.0, -10.0), (4.0, 6.0, 10.0), (6, 3))
    sides = np.stack([right, right * (-1.0, 1.0, 1.0)], axis=1).reshape(12, 3)
    middle = random.uniform((0.0, -6.0, -10.0), (0.0, 6.0, 10.0), (4, 3))
    return np.concatenate([sides, middle])


def test_pairs_are_found_in_any_pose(shape):
    turned = shape @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    assert pairs_by_symmetry(turned + 5.0) == PAIRS


def test_a_planted_error_is_measured(shape):
    """200 specimens with errors of 0.1 along each axis: a length of 0.173."""
    noise = 0.1 * np.random.default_rng(2).normal(size=(200, *shape.shape))
    measured = root_mean_square(asymmetry(shape + noise, PAIRS)) / np.sqrt(2.0)
    # The pose is fitted to the 12 points: 7 of 36 degrees of freedom, at most.
    assert 0.173 * np.sqrt(1.0 - 7.0 / 36.0) < measured < 0.173 * 1.02


def test_an_error_that_both_sides_share_is_not(shape):
    shared = shape.copy()
    shared[[0, 1], 1] += 0.5
    assert root_mean_square(asymmetry(shared[None], PAIRS)) < 1e-9
