"""The methods with a shape or candidates locate landmarks of volumes."""

import numpy as np
import pytest

from scn_keras.classical import (
    ActiveShapeModel,
    DonnerCandidates,
    LindnerForest,
    SternForest,
)

SHAPE = np.array(
    [
        [0.0, -7.0, -4.0],
        [6.0, -2.0, 3.0],
        [4.0, 6.0, -3.0],
        [-4.0, 6.0, 4.0],
        [-6, -2, 0],
    ]
)
WIDTHS = (1.5, 1.8, 2.1, 2.4, 2.7)
FOREST = {"num_features": 60, "trees": 4, "local_samples": 1500, "widths": (1, 3)}
GLOBAL = {
    "global_factor": 2,
    "global_samples": 1500,
    "global_reach": 14.0,
    "vote_distance": 12.0,
}
METHODS = {
    LindnerForest: {
        **FOREST,
        **GLOBAL,
        "frame_factors": (1,),
        "local_radii": (6.0,),
        "smallest_disc": 1.0,
        "free_radius": 1.5,
    },
    SternForest: {
        **FOREST,
        "local_radius": 6.0,
        "feature_reach": 8.0,
        "vote_distance": 6.0,
        "step": 2,
    },
    DonnerCandidates: {
        **FOREST,
        **GLOBAL,
        "local_radii": (6.0,),
        "apart": 3.0,
        "min_deviation": 1.0,
    },
    ActiveShapeModel: {"frame_factors": (2, 1), "patch_radius": 2, "search": 2},
}


def made_volumes(count, seed):
    """Returns volumes `(count, 24, 26, 22)` of five blobs, and points x, y, z."""
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*map(np.arange, (24.0, 26.0, 22.0)), indexing="ij")[::-1]
    images, points = [], []
    for _ in range(count):
        wider = 1.0 + random.normal(scale=0.05) * np.array([1.0, -1.0, 0.0])
        at = SHAPE * wider + random.uniform(-1.5, 1.5, 3) + [11.0, 13.0, 12.0]
        image = random.normal(scale=0.02, size=axes[0].shape)
        for point, width in zip(at, WIDTHS, strict=True):
            apart = sum((a - p) ** 2 for a, p in zip(axes, point, strict=True))
            image += np.exp(-apart / (2.0 * width**2))
        images.append(image)
        points.append(at)
    return np.array(images, "float32"), np.array(points)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_planted_points_of_volumes_are_found(method):
    pytest.importorskip("sklearn")
    model = method(**METHODS[method]).fit(*made_volumes(14, 0))
    images, points = made_volumes(4, 1)
    output = model.predict_on_batch(images[..., None])
    distance = np.linalg.norm(output["points"] - points, axis=-1)
    assert output["points"].shape == (4, 5, 3)
    assert output["covariance"].shape == (4, 5, 3, 3)
    # The positions vary by 0.9 px along each axis.
    assert distance.mean() < 0.7
