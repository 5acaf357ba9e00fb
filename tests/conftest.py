"""What all tests share: the backend, quiet logs, the threads, real data, seeds."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from scn_keras.training.run import Run

REPOSITORY = Path(__file__).resolve().parents[1]
BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# These are read when the libraries are loaded, so before any test module imports Keras.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")

# Most of the time on JAX goes into compiling functions that are called once.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread for each of the worker's pools: several workers with a thread for
    # every core each are slower than one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# These tests run on TensorFlow alone.
TENSORFLOW_TESTS = [
    *("cli", "datasets", "saved_models", "training", "test_old_files.py"),
    *("inference/test_locator.py", "inference/test_resample.py"),
    "inference/test_image_kinds.py",
]
collect_ignore = [] if BACKEND == "tensorflow" else TENSORFLOW_TESTS

# Tests that `make test` leaves out, a line each: the backend, or `all`, and the test
# without its parameters, or the file.
SLOW_TESTS = {
    tuple(line.split()[:2])
    for line in Path(__file__)
    .with_name("slow_tests.txt")
    .read_text("utf-8")
    .split("\n")
    if line and not line.startswith("#")
}


def pytest_report_header() -> str:
    left_out = f", without tests of {', '.join(collect_ignore)}" * bool(collect_ignore)
    return f"keras backend: {BACKEND}{left_out}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of `slow_tests.txt`."""
    for item in items:
        test = item.nodeid.partition("[")[0]
        file = test.partition("::")[0]
        names = {(kind, name) for kind in (BACKEND, "all") for name in (test, file)}
        if not SLOW_TESTS.isdisjoint(names):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, which is not part of the repository."""
    folder = Path(
        os.environ.get("SCN_KERAS_SHARED_DATA", REPOSITORY.parent / "shared" / "data")
    )
    if not folder.is_dir():
        pytest.skip(
            f"No real images: {folder} does not exist. Give their folder in the "
            "environment variable SCN_KERAS_SHARED_DATA."
        )
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """A folder of prepared data sets, with `tiny_hands`: six, and three to test."""
    from scn_keras.datasets import prepare
    from scn_keras.datasets.synthetic_hand import Builder, SyntheticHandConfig

    class TinyHands(Builder):  # by which TFDS finds it
        BUILDER_CONFIGS = [
            SyntheticHandConfig(name="tiny", size=(96, 80), train=6, test=3)
        ]

    folder = tmp_path_factory.mktemp("tiny_data")
    prepare(TinyHands, data_dir=folder)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_data, tmp_path_factory) -> "Run":
    """A run of four steps on `tiny_hands`: whole in all its parts, and far off."""
    from scn_keras.inference.image_to_grid import ImageToGrid
    from scn_keras.training.fit import fit
    from scn_keras.training.recipe import Recipe
    from scn_keras.training.recipe_settings import Network

    recipe = Recipe(
        name="tiny",
        dataset="tiny_hands",
        validation=0.34,
        image_to_grid=ImageToGrid(grid=(48, 32)),
        network=Network(filters=4, levels=3, spatial_kernel_size=3, spatial_factor=8),
        batch_size=2,
        steps=4,
        steps_per_epoch=2,
    )
    return fit(recipe, tmp_path_factory.mktemp("runs") / "tiny", tiny_data)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Gives every test the same random numbers, alone or in the whole run."""
    np.random.seed(0)
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.utils.set_random_seed(0)
