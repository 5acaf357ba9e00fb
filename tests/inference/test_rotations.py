"""Rotations of products and sums alone, compared with SciPy."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scn_keras.inference.rotations import limited_rotation


def moments(degrees, axis, d):
    """Of twenty vectors before and after a rotation, and the limited one by SciPy."""
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    axis = np.array(axis) / np.linalg.norm(axis)

    def rotation(angle):
        return Rotation.from_rotvec(np.radians(angle) * axis).as_matrix()[:d, :d]

    after = vectors[:, :d] @ rotation(degrees).T
    expected = rotation(np.clip(degrees, -12.0, 12.0))
    return np.float32(after.T @ vectors[:, :d]), expected


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("degrees", [0, 3, -7, 11.9, -11.9, 12.1, 40, 90, -150, 179])
def test_the_angle_is_limited_and_the_axis_stays(degrees, d):
    axis = (0.0, 0.0, 1.0) if d == 2 else (0.3, -0.8, 0.5)
    matrix, expected = moments(degrees, axis, d)
    batch = np.stack([matrix, 1e-3 * matrix])
    for found in limited_rotation(batch, 12.0):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_without_a_direction_it_is_a_rotation_within_the_limit(d):
    half_turn = np.diag([-1.0, -1.0, 1.0])[:d, :d]
    for matrix in (half_turn, np.zeros((d, d))):
        found = limited_rotation(np.float32(matrix), 12.0)
        np.testing.assert_allclose(found @ found.T, np.eye(d), atol=1e-6)
        assert np.trace(found) >= d - 2.0 * (1.0 - np.cos(np.radians(12.0))) - 1e-6


def test_planes_and_mirror_images_have_a_rotation():
    flat = np.random.default_rng(1).normal(size=(20, 3)) * [1.0, 1.0, 0.0]
    turned = flat @ Rotation.from_euler("x", 9, degrees=True).as_matrix().T
    for before, after in ((flat, turned), (turned, turned * [1.0, 1.0, -1.0])):
        matrix = np.float32(after.T @ before)
        found = limited_rotation(matrix, 89.0)
        assert np.linalg.det(found) == pytest.approx(1.0, abs=1e-5)
        best, _ = Rotation.align_vectors(after, before)
        expected = np.trace(best.as_matrix().T @ matrix)
        assert np.trace(found.T @ matrix) == pytest.approx(expected, rel=1e-4)
