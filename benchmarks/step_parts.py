"""What a training step is made of, as shares of the step, measured in one run.

    python -m benchmarks.step_parts [--grid 512 512] [--filters 128] [--landmarks 37]

Each part is timed in turn with the others (A B C A B C …) and the median of the ratios
to the whole step of the same round is printed: the machine's speed cancels.
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

from scn_keras.layers import GaussianHeatmap, HeatmapPeak, Upsample
from scn_keras.losses import HeatmapSquaredError
from scn_keras.metrics import PointError
from scn_keras.models import LandmarkModel, SpatialConfigurationNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", nargs=2, type=int, default=(512, 512))
    parser.add_argument("--filters", type=int, default=128)
    parser.add_argument("--landmarks", type=int, default=37)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows, columns = arguments.grid
    landmarks, batch = arguments.landmarks, arguments.batch

    random = np.random.default_rng(0)
    image = tf.constant(random.normal(size=(batch, rows, columns, 1)), tf.float32)
    limits = (columns - 1, rows - 1)
    points = random.uniform((0, 0), limits, (batch, landmarks, 2)).astype("float32")
    y = {
        "points": tf.constant(points),
        "affine": tf.eye(3, batch_shape=[batch]),
    }
    model = LandmarkModel(
        SpatialConfigurationNet(
            landmarks, filters=arguments.filters, dtype=arguments.dtype
        ),
        GaussianHeatmap(landmarks, 2.5, gamma=100.0, learnable=True),
        sigma_penalty=20.0,
    )
    loss = HeatmapSquaredError("sum")
    model.compile(
        keras.optimizers.Adam(1e-4), loss, metrics=[PointError()], jit_compile=False
    )
    data = tf.data.Dataset.from_tensors((image, y)).repeat()
    heatmaps = tf.constant(
        random.normal(size=(batch, rows, columns, landmarks)), tf.float32
    )
    peak = HeatmapPeak()

    @tf.function
    def target_and_loss():
        with tf.GradientTape() as tape:
            tape.watch(heatmaps)
            value = loss(model.target(y["points"], heatmaps), heatmaps)
        return tape.gradient(value, [heatmaps, *model.target.trainable_variables])

    features = tf.cast(
        random.normal(size=(batch, rows // 2, columns // 2, arguments.filters)),
        "bfloat16" if "bfloat16" in arguments.dtype else "float32",
    )
    weights = tf.cast(
        random.normal(size=(batch, rows, columns, arguments.filters)), features.dtype
    )

    def doubling(layer, static):
        shape = features.shape if static else (batch, None, None, arguments.filters)

        @tf.function(input_signature=[tf.TensorSpec(shape, features.dtype)])
        def run(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = tf.reduce_sum(layer(x) * weights)
            return tape.gradient(value, x)

        return lambda: run(features)

    parts = {
        "whole step": lambda: model.fit(
            data, steps_per_epoch=1, verbose=0, shuffle=False
        ),
        "targets, loss and their gradients": target_and_loss,
        "peaks (metric)": tf.function(lambda: peak(heatmaps)["points"]),
        "linear doubling, forward and back": doubling(
            Upsample(2, dtype=features.dtype.name), static=True
        ),
        "the same, sizes unknown when tracing": doubling(
            Upsample(2, dtype=features.dtype.name), static=False
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(2):
        for part in parts.values():
            part()  # compile, warm up
    for _ in range(arguments.rounds):
        for name, part in parts.items():
            started = time.perf_counter()
            part()
            times[name].append(time.perf_counter() - started)
    whole = np.array(times["whole step"])
    for name, seconds in times.items():
        ratio = np.median(np.array(seconds) / whole)
        print(f"{name:40s} {np.median(seconds) * 1e3:9.1f} ms {ratio:8.3f} of a step")


if __name__ == "__main__":
    main()
