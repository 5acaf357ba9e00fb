"""What targets, losses and peaks cost beside the network, as shares of a training step.

    python -m benchmarks.target_loss_peak [--grid 512 512] [--filters 128] [--rounds 3]

Every part is timed in turn with the whole step (A B C A B C …), and the median of the
ratios to the step of the same round is printed: the machine's speed cancels. Parts are
forward and backward, the peaks with the update of the metric. Target, loss and metric
of the SpatialConfiguration-Net together are to take 5 % of its step or less.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scn_keras.layers import GaussianHeatmap
from scn_keras.losses import (
    AdaptiveWing,
    CoordinateLoss,
    HeatmapBinaryCrossentropy,
    HeatmapSquaredError,
    SpatialSoftmaxCrossentropy,
)
from scn_keras.metrics import PointError
from scn_keras.models import LandmarkModel, SpatialConfigurationNet

BOUND = 0.05


def loss_and_gradients(
    target: GaussianHeatmap, loss: keras.losses.Loss, points: tf.Tensor, maps: tf.Tensor
) -> Callable[[], Any]:
    """Returns a function that does what a step does between network and gradients."""
    target.build(points.shape, maps.shape)

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(maps)
            on_points = getattr(loss, "on_points", False)
            value = loss(points if on_points else target(points, maps), maps)
        return tape.gradient(value, [maps, *target.trainable_variables])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", nargs=2, type=int, default=(512, 512))
    parser.add_argument("--filters", type=int, default=128)
    parser.add_argument("--landmarks", type=int, default=37)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows, columns = arguments.grid
    landmarks, batch = arguments.landmarks, arguments.batch

    random = np.random.default_rng(0)
    image = tf.constant(random.normal(size=(batch, rows, columns, 1)), tf.float32)
    limits = (columns - 1, rows - 1)
    points = random.uniform((0, 0), limits, (batch, landmarks, 2)).astype("float32")
    y = {"points": tf.constant(points), "affine": tf.eye(3, batch_shape=[batch])}
    maps = tf.constant(
        random.normal(size=(batch, rows, columns, landmarks)), tf.float32
    )

    def target(**kwargs: Any) -> GaussianHeatmap:
        return GaussianHeatmap(landmarks, 2.5, **kwargs)

    model = LandmarkModel(
        SpatialConfigurationNet(
            landmarks, filters=arguments.filters, dtype=arguments.dtype
        ),
        target(gamma=100.0, learnable=True),
        sigma_penalty=20.0,
    )
    model.compile(
        keras.optimizers.Adam(1e-4),
        HeatmapSquaredError("sum"),
        metrics=[PointError()],
        jit_compile=False,
    )
    data = tf.data.Dataset.from_tensors((image, y)).repeat()
    squared, sigma = HeatmapSquaredError("sum"), {"gamma": 100.0, "learnable": True}
    parts = {
        "whole step": lambda: model.fit(
            data, steps_per_epoch=1, verbose=0, shuffle=False
        ),
        "target and loss": loss_and_gradients(
            target(**sigma), squared, y["points"], maps
        ),
        "peaks and metric": tf.function(
            lambda: model.compute_metrics(image, y, maps, None)
        ),
    }
    whole, *scn = parts
    for name, layer, loss in (
        ("fixed sigma", target(), squared),
        ("rotated", target(**sigma, form="rotated"), squared),
        ("binary cross-entropy", target(), HeatmapBinaryCrossentropy(True)),
        ("adaptive wing", target(), AdaptiveWing()),
        ("spatial softmax", target(), SpatialSoftmaxCrossentropy()),
        ("coordinates", target(), CoordinateLoss()),
    ):
        parts[name] = loss_and_gradients(layer, loss, y["points"], maps)

    times: dict[str, list[float]] = {name: [] for name in parts}
    for part in parts.values():
        part()  # compile
    for _ in range(arguments.rounds):
        for name, part in parts.items():
            started = time.perf_counter()
            part()
            times[name].append(time.perf_counter() - started)
    times["target, loss, peaks and metric"] = np.sum(
        [times[name] for name in scn], axis=0
    ).tolist()
    for name, seconds in times.items():
        ratio = np.median(np.array(seconds) / times[whole])
        print(f"{name:32s} {np.median(seconds) * 1e3:9.1f} ms {ratio:8.3f} of a step")
    verdict = "within" if ratio <= BOUND else "OVER"
    print(f"the last is {verdict} the bound of {BOUND}")


if __name__ == "__main__":
    main()
