import numpy as np
import pytest

from scn_keras.metrics import PointErrorDeviation


def result(distances, weight=None, batch=3):
    metric = PointErrorDeviation()
    for start in range(0, len(distances), batch):
        part = slice(start, start + batch)
        found = distances[part, :, None]
        some = None if weight is None else weight[part]
        metric.update_state(np.zeros_like(found), found, some)
    return float(metric.result())


def test_is_that_of_the_population():
    distances = np.random.default_rng(0).gamma(2.0, 1.0, (10, 4))
    distances[3, 1] = np.nan
    distances[6:9] = np.nan  # a batch without any point
    assert result(distances) == pytest.approx(np.nanstd(distances), rel=1e-5)
    assert np.isnan(result(distances[6:9]))


def test_a_small_deviation_of_large_distances_keeps_its_digits():
    distances = 1e3 + np.random.default_rng(0).normal(0.0, 0.01, (30, 4))
    # In float32, 1000.01 is known to 6e-5.
    assert result(distances) == pytest.approx(distances.std(), rel=0.01)


def test_weights():
    distances = np.random.default_rng(0).gamma(2.0, 1.0, (10, 4))
    weight = np.random.default_rng(1).integers(0, 3, (10, 4))
    repeated = np.repeat(distances.ravel(), weight.ravel())
    assert result(distances, weight) == pytest.approx(repeated.std(), rel=1e-5)
