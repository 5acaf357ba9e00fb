"""The same weights give the same numbers on every backend."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("backend_numbers.py")
# Numbers of another environment, for one in which no second backend is installed.
GIVEN = "SCN_KERAS_NUMBERS"


def compute(backend, path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    result = subprocess.run(
        [sys.executable, SCRIPT, path],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == backend
    return dict(np.load(path))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("numbers") / "own.npz"
    return compute(os.environ["KERAS_BACKEND"], path)


def check(found, expected):
    assert found.keys() == expected.keys()
    for name, number in expected.items():
        actual = found[name]
        if "covariance" in name:
            # The curvature is what is fitted. Heatmaps of random weights are nearly
            # flat along some axis, and its inverse magnifies the rounding of each
            # processor: 187 px² differ by 0.02 px².
            actual, number = np.linalg.inv(actual), np.linalg.inv(number)
        scale = np.abs(number).max()
        assert scale > 0, name
        bound = 1e-3 if "gradient" in name else 1e-4
        np.testing.assert_allclose(
            actual, number, rtol=0, atol=bound * scale, err_msg=name
        )


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backends_agree(own, backend, tmp_path):
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        pytest.skip("compared once, from TensorFlow")
    check(compute(backend, tmp_path / "numbers.npz"), own)


def test_agrees_with_another_environment(own):
    if GIVEN not in os.environ:
        pytest.skip(f"no numbers of another environment are given in {GIVEN}")
    check(own, dict(np.load(os.environ[GIVEN])))
