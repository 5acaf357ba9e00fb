"""Forests with a shape model, on made shapes of known points."""

import numpy as np
import pytest

from scn_keras.alignment import align
from scn_keras.classical import LindnerForest, ShapeModel
from scn_keras.classical._reference_frame import ReferenceFrame, in_frame, varied_pose
from scn_keras.classical._shape_search import Response, fit_shape
from scn_keras.geometry import apply_affine
from tests.classical.made_shapes import SHAPE, made_shapes

SMALL = {
    "num_features": 60,
    "trees": 4,
    "global_factor": 2,
    "global_samples": 1500,
    "global_reach": 30.0,
    "vote_distance": 20.0,
    "frame_factors": (2, 1),
    "local_radii": (8.0, 8.0),
    "local_samples": 800,
    "widths": (1, 3, 5),
    "smallest_disc": 1.0,
    "free_radius": 1.5,
}


@pytest.fixture(scope="module")
def forest():
    pytest.importorskip("sklearn")
    return LindnerForest(**SMALL).fit(*made_shapes(20, 0))


def test_shapes_of_any_pose_are_found(forest, tmp_path):
    images, points = made_shapes(6, 1)
    output = forest.predict_on_batch(images[..., None])
    distance = np.linalg.norm(output["points"] - points, axis=-1)
    assert distance.mean() < 0.8 and distance.max() < 3.0
    assert output["covariance"].shape == (6, 5, 2, 2)
    assert ((output["score"] >= 0.0) & (output["score"] <= 1.0)).all()
    forest.save(tmp_path / "model.npz")
    loaded = LindnerForest.load(tmp_path / "model.npz")
    again = loaded.predict_on_batch(images[:1, ..., None])["points"]
    np.testing.assert_array_equal(again, output["points"][:1])


def test_a_landmark_without_its_blob_follows_the_others(forest):
    images, points = made_shapes(6, 2, missing=1)
    found = forest.predict_on_batch(images[..., None])["points"]
    assert np.linalg.norm(found - points, axis=-1)[:, 1].mean() < 5.0


def test_a_reference_frame_of_an_image_with_a_known_pose():
    frame = ReferenceFrame(SHAPE, 2, 6.0)
    # 28 / 2 + 12 and 30 / 2 + 12 px between the first and the last pixel.
    assert frame.sizes == (28, 27)
    x, y = np.meshgrid(np.arange(90.0), np.arange(80.0))
    # A quarter turn, one and a half times the size.
    pose = np.array([[0.0, -1.5, 44.0], [1.5, 0.0, 41.0], [0.0, 0.0, 1.0]])
    affine = frame.to_image(pose)
    image = frame.resample(3.0 * x - 2.0 * y, affine)
    for px, py in ((3, 5), (12, 20)):
        # (low + pixel) * factor in the mean shape: low = (-14 - 12, -16 - 12).
        mx, my = 2 * px - 26, 2 * py - 28
        assert image[py, px] == pytest.approx(
            3.0 * (44 - 1.5 * my) - 2.0 * (41 + 1.5 * mx), abs=1e-3
        )
    target = apply_affine(pose, SHAPE)
    np.testing.assert_allclose(in_frame(target, affine), SHAPE / 2 + [13, 14])


@pytest.mark.parametrize("d", [2, 3])
def test_varied_poses_are_similarities_around_a_centre(d):
    random = np.random.default_rng(0)
    center = np.arange(1.0, d + 1.0) * 10
    poses = [
        varied_pose(np.eye(d + 1), center, 0.1, 0.2, random)[:d, :d]
        for _ in range(2000)
    ]
    sizes = np.linalg.det(poses) ** (1.0 / d)
    assert np.std(np.log(sizes)) == pytest.approx(0.2, rel=0.1)
    unit = np.array(poses) / sizes[:, None, None]
    np.testing.assert_allclose(
        unit @ unit.transpose(0, 2, 1), [np.eye(d)] * 2000, atol=1e-9
    )
    assert np.std(np.arcsin(unit[:, 0, 1])) == pytest.approx(0.1, rel=0.1)
    whole = varied_pose(np.eye(d + 1), center, 0.1, 0.2, random)
    np.testing.assert_allclose(apply_affine(whole, center[None])[0], center)


def test_the_shape_rejects_a_larger_maximum_that_is_far():
    _, points = made_shapes(30, 0)
    shape = ShapeModel.from_points(points, 0.95)
    truth = points[0]
    responses = []
    for number, point in enumerate(truth):
        density = np.zeros((72, 64))
        x, y = np.rint(point).astype(int)
        density[y, x] = 1.0
        if number == 2:
            density[y - 20, x - 10] = 2.0
        responses.append(
            Response(density, np.zeros(2), np.zeros((1, 2)), np.ones(1), 1.0)
        )
    start = truth + [3.0, -2.0]
    found = fit_shape(responses, shape, start, 12.0, 1.0, 0.75)
    assert np.linalg.norm(found - truth, axis=1).max() < 1.5
    assert np.linalg.norm(align(found, truth)[:2, 2]) < 2.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"local_radii": (8.0,)}, "one element for each stage"),
        ({"local_radii": (8.0, 3.0)}, "at least 4 px"),
        ({"disc_factor": 1.0}, "disc_factor=1.0"),
        ({"views": 0}, "views=0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        LindnerForest(**settings)
