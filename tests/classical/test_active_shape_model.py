"""The active shape model on made images with a known optimum."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from scn_keras.classical import ActiveShapeModel
from scn_keras.classical._patch_model import PatchModel, patches_around
from tests.classical.made_shapes import made_shapes


@pytest.fixture(scope="module")
def model():
    return ActiveShapeModel((4, 2, 1)).fit(*made_shapes(20, 0))


def test_the_optimum_of_made_images_is_found(model, tmp_path):
    images, points = made_shapes(5, 1)
    output = model.predict_on_batch(images[..., None])
    start = np.linalg.norm(model._start - points, axis=-1)
    distance = np.linalg.norm(output["points"] - points, axis=-1)
    assert start.mean() > 3.0 and distance.mean() < 0.7
    assert ((output["score"] > 0.0) & (output["score"] <= 1.0)).all()
    assert (np.linalg.eigvalsh(output["covariance"]) > 0.0).all()
    model.save(tmp_path / "model.npz")
    loaded = ActiveShapeModel.load(tmp_path / "model.npz")
    again = loaded.predict_on_batch(images[:1, ..., None])["points"]
    np.testing.assert_allclose(again, output["points"][:1], atol=1e-3)


def test_missing_points_and_progress():
    images, points = made_shapes(20, 0)
    points[::4, 2] = np.nan
    seen = []
    model = ActiveShapeModel((2, 1)).fit(
        images, points, progress=lambda *numbers: seen.append(numbers)
    )
    assert seen == [(1, 2), (2, 2)]
    images, points = made_shapes(3, 1)
    found = model.predict_on_batch(images[..., None])["points"]
    assert np.linalg.norm(found - points, axis=-1).mean() < 1.0


def test_distances_are_mahalanobis_distances():
    random = np.random.default_rng(0)
    patches = random.normal(size=(60, 9)) * np.arange(1.0, 10.0)
    model = PatchModel.fit(patches)
    expected = [
        mahalanobis(patch, patches.mean(0), np.linalg.inv(np.cov(patches.T))) ** 2
        for patch in patches[:5] + 2.0
    ]
    np.testing.assert_allclose(model.distances(patches[:5] + 2.0), expected, rtol=0.3)
    # With fewer modes than pixels: the same with the covariance of the model.
    model = PatchModel.fit(patches[:4])
    covariance = model.rest * np.eye(9)
    covariance += model.modes.T * (model.variances - model.rest) @ model.modes
    inverse = np.linalg.inv(covariance)
    expected = [mahalanobis(p, model.mean, inverse) ** 2 for p in patches[:6]]
    np.testing.assert_allclose(model.distances(patches[:6]), expected, rtol=1e-6)


def test_patches_of_pixels_near_a_point():
    image = np.arange(30.0).reshape(5, 6) ** 2
    patches, centers = patches_around(image, (2.2, 1.8), 1, 1)
    assert patches.shape == (9, 9) and centers[0].tolist() == [1, 1]
    assert centers[5].tolist() == [3, 2]
    expected = image[1:4, 2:5].reshape(-1)
    expected = expected - expected.mean()
    np.testing.assert_allclose(patches[5], expected / np.linalg.norm(expected))
    border, _ = patches_around(image, (0.0, 0.0), 1, 0)
    edge = np.pad(image, 1, "edge")[:3, :3].reshape(-1)
    edge -= edge.mean()
    np.testing.assert_allclose(border[0], edge / np.linalg.norm(edge))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": 0}, "search=0"),
        ({"frame_factors": ()}, r"frame_factors=\(\)"),
        ({"frame_factors": (2, 0)}, r"frame_factors=\(2, 0\)"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        ActiveShapeModel(**settings)
