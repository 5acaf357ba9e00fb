"""Local to global forests on planted points."""

import numpy as np
import pytest

from scn_keras.classical import SternForest
from scn_keras.classical._ebner_fit import EbnerFit
from tests.classical.made_shapes import made_shapes

SMALL = {
    "num_features": 60,
    "trees": 4,
    "local_radius": 10.0,
    "local_samples": 1200,
    "feature_reach": 10.0,
    "vote_distance": 8.0,
    "step": 2,
    "widths": (1, 3, 5),
}


@pytest.fixture(scope="module")
def forest():
    pytest.importorskip("sklearn")
    return SternForest(**SMALL).fit(*made_shapes(20, 0))


def errors(forest, seed):
    images, points = made_shapes(5, seed)
    output = forest.predict_on_batch(images[..., None])
    return np.linalg.norm(output["points"] - points, axis=-1), output


def test_planted_points_are_found_without_a_global_forest(forest, tmp_path):
    distance, output = errors(forest, 1)
    assert distance.mean() < 0.8 and distance.max() < 3.0
    assert ((output["score"] > 0.0) & (output["score"] <= 1.0)).all()
    assert output["covariance"].shape == (5, 5, 2, 2)
    forest.save(tmp_path / "model.npz")
    again, _ = errors(SternForest.load(tmp_path / "model.npz"), 1)
    np.testing.assert_array_equal(again, distance)


def test_the_share_of_pixels_of_the_whole_image(monkeypatch):
    images, points = made_shapes(4, 0)
    forest = SternForest(**{**SMALL, "local_samples": 400}, global_share=0.25)
    far = []

    def spy(self, values, offsets, *parts):
        far.append(np.mean(np.linalg.norm(offsets, axis=-1) > 12.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(EbnerFit, "_forest", spy)
    with pytest.raises(KeyboardInterrupt):
        forest.fit(images, points)
    # 1 - pi 12^2 / (64 * 72) of a quarter is farther away than the local pixels.
    assert far[0] == pytest.approx(0.25 * (1 - np.pi * 144 / 4608), abs=0.05)


def test_features_reach_beyond_the_local_pixels(forest):
    far = SternForest(**{**SMALL, "local_samples": 60, "feature_reach": 28.0})
    far.fit(*made_shapes(4, 0))
    # Half of the features have offsets up to 28 px, the others up to 7 px.
    largest = np.abs(far._stage.features.offsets).max(axis=(1, 2))
    assert 20 < largest[::2].max() <= 28 and 5 <= largest[1::2].max() <= 7
    assert np.abs(forest._stage.features.offsets).max() <= SMALL["feature_reach"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"global_share": 1.0}, "global_share=1.0"),
        ({"local_radius": 1.0}, "local_radius=1.0"),
        ({"step": 0}, "step=0"),
        ({"feature_reach": 0.0}, "feature_reach=0.0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        SternForest(**settings)
