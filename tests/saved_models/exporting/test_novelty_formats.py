"""The novelty in the formats of other runtimes, in 2D and 3D."""

import types

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.inference.calibration import Calibration
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.saved_models.exporting.grid_model import FILES, write_grid_model

MEAN = np.array([[10, 10, 0], [60, 0, 5], [40, 40, 50], [0, 80, 20], [70, 90, 40.0]])


class PointsOfPixels(keras.Model):
    """A localizer whose points and scores are the first pixels of its image."""

    def __init__(self, d):
        super().__init__()
        self.d = d

    def build(self, input_shape):
        self.built = True

    def call(self, image, training=None):
        pixels = ops.reshape(image, (1, -1))
        points = ops.reshape(pixels[:, : 5 * self.d], (1, 5, self.d))
        identity = np.eye(self.d, dtype="float32")
        return {
            "points": points,
            "score": pixels[:, 5 * self.d : 5 * self.d + 5],
            "covariance": 0.0 * points[..., None] + identity,
        }


def calibration(d):
    random = np.random.default_rng(0)
    truth = MEAN[:, :d] + random.normal(0.0, 2.0, (60, 5, d))
    return Calibration.fit(
        HeldOutImages(
            truth + random.normal(size=truth.shape),
            random.uniform(0.6, 0.9, (60, 5)),
            np.tile(np.eye(d), (60, 5, 1, 1)),
            truth,
            np.tile(np.eye(d + 1), (60, 1, 1)),
            np.arange(60) % 4,
        )
    )


def turned(points, degrees):
    """About the last axis that two coordinates span."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(points.shape[-1])
    matrix[-2:, -2:] = [[c, -s], [s, c]]
    return points @ matrix.T


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("format", ["onnx", "litert", "openvino"])
def test_rotated_shapes_have_the_same_novelty(format, d, tmp_path):
    if format != "litert":
        pytest.importorskip(format)
    grid = (8, 8) if d == 2 else (4, 4, 4)
    made = calibration(d)
    run = types.SimpleNamespace(
        calibration=made, offsets=None, recipe=types.SimpleNamespace(grid=grid)
    )
    model = types.SimpleNamespace(localizer=PointsOfPixels(d))
    file = write_grid_model(run, model, tmp_path, format)
    assert (tmp_path / FILES[format]).exists()
    shape = MEAN[:, :d] + np.random.default_rng(1).normal(0.0, 2.0, (5, d))
    novelty = {}
    for degrees in (0, 10, -10, 40, 180):
        image = np.zeros((1, *grid, 1), np.float32)
        image.ravel()[: 5 * d] = turned(shape, degrees).ravel()
        image.ravel()[5 * d : 5 * d + 5] = 0.75
        answer = file.run(image)
        expected = float(
            made.novelty(image.ravel()[: 5 * d].reshape(1, 5, d), [[0.75] * 5])[0]
        )
        novelty[degrees] = float(np.ravel(answer["novelty"])[0])
        assert novelty[degrees] == pytest.approx(expected / made.limit, abs=1e-4)
        assert bool(np.ravel(answer["trusted"])[0]) == (abs(degrees) <= 10)
    assert novelty[10] == pytest.approx(novelty[0], abs=1e-3)
