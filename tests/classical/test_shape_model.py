"""The shape model against SciPy's SVD and a made population."""

import re

import numpy as np
import pytest
from scipy import linalg
from scipy.spatial import procrustes

from scn_keras.classical import ShapeModel


def turned(points, angle, scale, shift):
    c, s = np.cos(angle), np.sin(angle)
    return scale * points @ np.array([[c, s], [-s, c]]) + shift


def population(count, seed=0, posed=True):
    """Hexagons with two planted modes that no similarity explains."""
    random = np.random.default_rng(seed)
    angle = np.arange(6) * np.pi / 3
    mean = 40.0 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    wide = np.stack([np.cos(angle), -np.sin(angle)], axis=-1)
    sign = np.resize([1.0, -1.0], 6)[:, None]
    modes = np.stack([wide, sign * mean / 40.0]) / np.sqrt(6.0)
    b = random.normal(size=(count, 2)) * [5.0, 2.0]
    shapes = mean + np.tensordot(b, modes, 1)
    if posed:
        shapes = np.stack(
            [
                turned(
                    one,
                    *random.uniform((-1.0, 0.8), (1.0, 1.25)),
                    random.uniform(50.0, 90.0, 2),
                )
                for one in shapes
            ]
        )
    return shapes, modes


def test_planted_modes_are_found_in_any_pose():
    points, modes = population(400)
    model = ShapeModel.from_points(points, variance=0.999)
    assert len(model.modes) == 2
    size = np.linalg.norm(model.mean) / (40.0 * np.sqrt(6.0))
    np.testing.assert_allclose(model.deviations / size, [5.0, 2.0], rtol=0.1)
    # The mean has a pose of its own.
    angle = np.arange(6) * np.pi / 3
    planted = 40.0 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    rotation, _ = linalg.orthogonal_procrustes(model.mean, planted)
    for found, expected in zip(model.modes, modes, strict=True):
        cosine = np.sum(found @ rotation * expected)
        assert abs(cosine) > 0.995


def test_modes_and_deviations_are_those_of_scipys_svd():
    points, _ = population(30)
    model = ShapeModel.from_points(points, variance=1.0)
    # In the tangent space no further mode remains.
    assert len(model.modes) == 2
    # Aligned by SciPy: unit size, rotated to the mean.
    unit = model.mean / np.linalg.norm(model.mean)
    aligned = []
    for one in points:
        centred = one - one.mean(axis=0)
        rotation, _ = linalg.orthogonal_procrustes(centred, unit)
        flat = (centred @ rotation).reshape(-1)
        aligned.append(flat / (flat @ unit.reshape(-1)))
    aligned = np.array(aligned) * np.linalg.norm(model.mean)
    _, singular, rows = linalg.svd(aligned - aligned.mean(axis=0))
    np.testing.assert_allclose(model.deviations, singular[:2] / 29**0.5, rtol=1e-3)
    cosines = np.abs(np.sum(model.modes.reshape(2, -1) * rows[:2], 1))
    np.testing.assert_allclose(cosines, 1.0, atol=1e-3)
    gram = model.modes.reshape(len(model.modes), -1)
    np.testing.assert_allclose(gram @ gram.T, np.eye(len(gram)), atol=1e-10)


def test_a_shape_of_the_population_is_fitted_and_another_is_not():
    points, _ = population(60)
    model = ShapeModel.from_points(points, variance=0.999)
    for one in population(5, seed=1)[0]:
        assert np.linalg.norm(model.fit(one) - one, axis=1).max() < 0.5
    moved = points[0] + 0.0
    moved[2] += [25.0, 10.0]
    fitted = model.fit(moved)
    assert np.linalg.norm(fitted[2] - points[0, 2]) < 0.5 * np.hypot(25.0, 10.0)
    # Without its weight, the moved point has no influence.
    weights = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    expected = model.fit(np.where(weights[:, None] > 0, points[0], np.nan))
    np.testing.assert_allclose(model.fit(moved, weights), expected, atol=1e-9)
    assert procrustes(expected, points[0])[2] < 1e-3


def test_the_limit_in_standard_deviations():
    points, _ = population(60)
    model = ShapeModel.from_points(points, variance=0.999, limit=1.0)
    far = model.shape(np.array([4.0, 0.0]) * model.deviations)
    nearest = model.shape(np.array([1.0, 0.0]) * model.deviations)
    found = model.fit(far)
    assert procrustes(found, nearest)[2] < 1e-4 < procrustes(found, far)[2]


def test_volumes_and_missing_points():
    random = np.random.default_rng(0)
    points = random.uniform(0, 50, (6, 3)) + random.normal(size=(20, 6, 3))
    missing = points.copy()
    missing[3, 2] = np.nan
    model = ShapeModel.from_points(missing)
    fitted = model.fit(missing[3])
    assert np.linalg.norm(fitted[2] - points[3, 2]) < 6.0
    restored = ShapeModel.from_arrays(model.arrays())
    np.testing.assert_array_equal(restored.fit(missing[3]), fitted)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ShapeModel.from_points(np.zeros((1, 4, 2))), "at least 2 images"),
        (
            lambda: ShapeModel.from_points(population(3)[0], variance=0.0),
            "variance=0.0",
        ),
        (lambda: ShapeModel(np.zeros((4, 2)), np.zeros((1, 3, 2)), [1.0]), "(1, 3, 2)"),
        (
            lambda: ShapeModel(np.zeros((4, 2)), np.zeros((1, 4, 2)), [1.0], 0.0),
            "limit=0.0",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
