import keras
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scn_keras import array_api
from scn_keras.alignment import fit_similarity
from scn_keras.inference.point_offsets import PointOffsets


def random_shape(d, n=7, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)) * 20.0


def turned(points, d, seed=1):
    """Returns the points turned, scaled and moved, and the map of vectors."""
    random = np.random.default_rng(seed)
    if d == 2:
        angle = random.uniform(-np.pi, np.pi)
        rotation = np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
    else:
        rotation = Rotation.random(random_state=seed).as_matrix()
    linear = random.uniform(0.5, 2.0) * rotation
    return points @ linear.T + random.normal(size=d) * 50.0, linear


@pytest.mark.parametrize("d", [2, 3])
def test_an_offset_turns_and_scales_with_the_anatomy(d):
    shape = random_shape(d)
    offsets = np.random.default_rng(2).normal(size=shape.shape)
    points, linear = turned(shape, d)
    moved = PointOffsets(shape, offsets).apply(
        points[None], np.ones((1, len(shape))), np.eye(d + 1)[None]
    )
    np.testing.assert_allclose(moved[0], points + offsets @ linear.T, atol=1e-3)


@pytest.mark.parametrize("d", [2, 3])
def test_frames_are_those_of_the_least_squares_fit(d):
    shape = random_shape(d)
    random = np.random.default_rng(3)
    points = np.stack([turned(shape, d, seed)[0] for seed in range(20)])
    points += random.normal(size=points.shape) * 5.0
    score = random.uniform(0.1, 1.0, points.shape[:2])
    frames = PointOffsets(shape, np.zeros_like(shape)).frames(
        points, score, np.broadcast_to(np.eye(d + 1), (20, d + 1, d + 1))
    )
    for k in range(len(shape)):
        weights = score.copy()
        weights[:, k] = 0.0
        expected = fit_similarity(points, shape, weights)[:, :d, :d]
        np.testing.assert_allclose(frames[:, k], expected, atol=2e-4)


@pytest.mark.parametrize("kind", ["flat", "mirrored"])
def test_frames_of_flat_and_mirrored_points_are_rotations(kind):
    shape = random_shape(3)
    if kind == "flat":
        shape[:, 2] = 0.0
    points, _ = turned(shape * [1.0, 1.0, -1.0 if kind == "mirrored" else 1.0], 3)
    frames = PointOffsets(shape, np.zeros_like(shape)).frames(
        points[None], np.ones((1, 7)), np.eye(4)[None]
    )[0]
    for k, frame in enumerate(frames):
        weights = np.ones(7)
        weights[k] = 0.0
        expected = fit_similarity(points, shape, weights)[:3, :3]
        assert np.linalg.det(frame) > 0.0
        if kind == "mirrored":
            # The least-squares fit of SVD, also without a reflection.
            np.testing.assert_allclose(frame, expected, atol=1e-3)
        else:
            np.testing.assert_allclose(
                frame @ frame.T, expected @ expected.T, atol=1e-3
            )
            flat = points - points.mean(0)
            np.testing.assert_allclose(flat @ frame.T, flat @ expected.T, atol=1e-2)


def test_distorted_grids_are_mapped_to_space():
    # Pixels of 2 x 0.5 mm: the offset of 1 mm along x is half a pixel.
    shape = random_shape(2)
    grid_to_space = np.diag([2.0, 0.5, 1.0])
    points = shape / [2.0, 0.5]
    offsets = np.zeros_like(shape)
    offsets[0] = [1.0, 1.0]
    moved = PointOffsets(shape, offsets).apply(
        points[None], np.ones((1, 7)), grid_to_space[None]
    )
    np.testing.assert_allclose((moved - points)[0, 0], [0.5, 2.0], atol=1e-5)
    np.testing.assert_allclose((moved - points)[0, 1:], 0.0, atol=1e-5)


def test_a_point_with_a_low_score_does_not_turn_the_frame():
    shape = random_shape(2)
    offsets = np.zeros_like(shape)
    offsets[0] = [3.0, 0.0]
    points = shape.copy()
    points[1] += 500.0
    score = np.ones((1, 7))
    score[0, 1] = 0.0
    moved = PointOffsets(shape, offsets).apply(points[None], score, np.eye(3)[None])
    np.testing.assert_allclose((moved - points)[0, 0], [3.0, 0.0], atol=1e-5)


@pytest.mark.parametrize("why", ["one point", "coinciding", "no space"])
def test_points_stay_where_there_is_no_frame(why):
    shape = random_shape(2)
    points, grid_to_space = shape.copy(), np.eye(3)
    if why == "one point":
        points[1:] = np.nan
    elif why == "coinciding":
        points[:] = [3.0, 4.0]
    else:
        grid_to_space = np.full((3, 3), np.nan)
    offsets = PointOffsets(shape, np.ones_like(shape))
    moved = offsets.apply(points[None], np.ones((1, 7)), grid_to_space[None])
    np.testing.assert_array_equal(moved[0], points.astype("float32"))


@pytest.mark.parametrize("d", [2, 3])
def test_namespaces_agree(d):
    shape = random_shape(d)
    points = np.stack([turned(shape, d, seed)[0] for seed in range(3)])
    arguments = (
        points.astype("float32"),
        np.ones((3, 7), "float32"),
        np.tile(np.eye(d + 1, dtype="float32"), (3, 1, 1)),
    )
    offsets = PointOffsets(shape, np.ones_like(shape))
    expected = offsets.apply(*arguments)
    tensors = [keras.ops.convert_to_tensor(value) for value in arguments]
    result = keras.ops.convert_to_numpy(offsets.apply(*tensors, array_api.KERAS))
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_offsets_are_stored_and_validated():
    offsets = PointOffsets(random_shape(3), random_shape(3, seed=5), {"images": 4})
    restored = PointOffsets.from_dict(offsets.to_dict())
    np.testing.assert_array_equal(restored.offsets, offsets.offsets)
    assert restored.digest_bytes() == offsets.digest_bytes()
    assert restored.protocol == {"images": 4}
    with pytest.raises(ValueError, match="version=7"):
        PointOffsets.from_dict({**offsets.to_dict(), "version": 7})
    with pytest.raises(ValueError, match="damaged.*no offsets"):
        PointOffsets.from_dict({"version": 1, "shape": [], "protocol": {}})
    with pytest.raises(ValueError, match="landmarks, 2"):
        PointOffsets(np.zeros((4, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="finite"):
        PointOffsets(np.zeros((4, 2)), np.full((4, 2), np.nan))
