"""Runs of one seed see what they saw in version 0.1."""

import pathlib

import numpy as np
import pytest

from tests.training.augmentation.frozen_numbers import GRIDS, SETTINGS, numbers

FROZEN = pathlib.Path(__file__).with_name("frozen_numbers.npz")
# These need cos, exp or log, or many sums, whose last digit depends on the processor.
ROUNDED = ("rotation", "gamma", "noise", "result/image", "result/points")
ROUNDED += ("result/affine",)


@pytest.mark.parametrize("library", ["numpy", "tensorflow"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("setting", SETTINGS)
def test_draws_and_results_are_those_of_version_0_1(setting, grid, library):
    found = numbers(SETTINGS[setting], grid, library == "tensorflow")
    with np.load(FROZEN) as file:
        prefix = f"{setting}/{len(grid)}D/{library}/"
        expected = {
            key.removeprefix(prefix): file[key]
            for key in file.files
            if key.startswith(prefix)
        }
    assert set(found) == set(expected) and len(expected) >= 8
    for name, value in expected.items():
        assert found[name].dtype == value.dtype == np.float32
        if name in ROUNDED:
            np.testing.assert_allclose(
                found[name], value, rtol=0, atol=2e-5, err_msg=name
            )
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)
