"""Training steps of the 3D network at the size of the paper: time and peak memory.

    python -m benchmarks.spine_step [--dtype mixed_bfloat16]

The published spine network, 26 landmarks, one volume of 192 x 96 x 96 voxels (z, y, x),
with the paper's targets, loss and optimiser. The first step compiles and is not among
the ones that are timed. The memory is VmHWM of the whole process, Keras included.
"""

import argparse
import pathlib
import re
import time

import keras
import numpy as np

from scn_keras.layers import GaussianHeatmap
from scn_keras.losses import HeatmapSquaredError
from scn_keras.models import LandmarkModel, SpatialConfigurationNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", nargs=3, type=int, default=(192, 96, 96))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    grid, landmarks = tuple(arguments.grid), 26

    network = SpatialConfigurationNet.spine(
        landmarks,
        (*grid, 1),
        dtype=arguments.dtype,
    )
    model = LandmarkModel(
        network,
        GaussianHeatmap(landmarks, 4.0, gamma=1000.0, learnable=True),
        sigma_penalty=100.0,
        weight_decay=5e-4,
    )
    model.compile(
        keras.optimizers.SGD(5e-8, 0.99, nesterov=True),
        HeatmapSquaredError("sum"),
        jit_compile=keras.backend.backend() == "jax",
    )
    random = np.random.default_rng(0)
    # As dark as CT in the paper's grey values; pure noise would soon diverge.
    image = random.normal(scale=0.1, size=(1, *grid, 1)).astype("float32")
    last = np.array(grid[::-1]) - 1
    y = {
        "points": random.uniform(0, last, (1, landmarks, 3)).astype("float32"),
        "affine": np.diag([2.0, 2.0, 2.0, 1.0]).astype("float32")[None],
    }
    print(
        f"{keras.backend.backend()}, {arguments.dtype}, {network.count_params():,} "
        f"parameters, grid {grid}"
    )
    for step in range(arguments.steps + 1):
        started = time.perf_counter()
        loss = float(model.train_on_batch(image, y))
        seconds = time.perf_counter() - started
        name = f"step {step}" if step else "first call"
        print(f"{name:12s} {seconds:8.1f} s   loss {loss:.1f}", flush=True)
    print(f"peak memory  {peak_memory():8.1f} GB")


def peak_memory() -> float:
    status = pathlib.Path("/proc/self/status").read_text("utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1e6 if found else float("nan")


if __name__ == "__main__":
    main()
