"""What one backend computes from given weights, written to a file.

`python tests/backend_numbers.py FILE` on any backend; tests/test_backends.py compares.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops

from scn_keras.layers import (
    GaussianHeatmap,
    HeatmapPeak,
    LocalRefinement,
    PyramidRefinement,
)
from scn_keras.losses import HeatmapSquaredError, PatchLoss
from scn_keras.models import (
    GlobalNet,
    GlobalToLocalNet,
    LandmarkModel,
    SpatialConfigurationNet,
)

sys.path.insert(0, str(Path(__file__).parent))
from gradients import weight_gradients


def numbers() -> dict[str, np.ndarray]:
    """Returns heatmaps, points, losses and gradients by name, in 2D and 3D."""
    found = {}
    for name, size in (("2d", (32, 48)), ("3d", (16, 24, 32))):
        rng = np.random.default_rng(len(size))
        network = SpatialConfigurationNet(
            3,
            (*size, 1),
            filters=6,
            levels=3,
            dropout=0.0,
            spatial_kernel_size=3,
            spatial_factor=8,
        )
        model = LandmarkModel(
            network,
            GaussianHeatmap(3, sigma=2.0, gamma=100.0, learnable=True),
            HeatmapPeak(),
            sigma_penalty=20.0,
            weight_decay=1e-3,
        )
        model.compile("sgd", HeatmapSquaredError("mean"))
        for weight in model.weights:
            if weight.dtype == "float32" and weight.name != "sigma":
                scale = np.sqrt(2.0 / max(np.prod(weight.shape[:-1]), 1.0))
                weight.assign(rng.normal(0.0, scale, weight.shape))
        image = rng.normal(0.0, 1.0, (2, *size, 1)).astype("float32")
        points = rng.uniform(2, 14, (2, 3, len(size))).astype("float32")
        points[0, 1] = np.nan
        heatmaps = model(image)
        found[f"{name} heatmaps"] = ops.convert_to_numpy(heatmaps)
        peaks = model.localizer(image)
        found |= {f"{name} {k}": ops.convert_to_numpy(v) for k, v in peaks.items()}

        affine = np.stack([np.eye(len(size) + 1, dtype="float32")] * 2)

        def loss(model=model, image=image, points=points, affine=affine):
            return model.compute_loss(
                image, {"points": points, "affine": affine}, model(image), None, True
            )

        found[f"{name} loss"] = ops.convert_to_numpy(loss())
        weights = model.trainable_weights
        for weight, gradient in zip(
            weights, weight_gradients(loss, weights), strict=True
        ):
            found[f"{name} gradient {weight.path}"] = gradient
        for look, local in (
            ("second look", LocalRefinement(3, size=8, filters=3, convolutions=1)),
            ("pyramid", PyramidRefinement(3, 8, 2, filters=3, convolutions=2)),
        ):
            label = f"{name} {look}"
            found |= _numbers_of_two_looks(label, local, image, points, affine)
    return found


def _numbers_of_two_looks(name, local, image, points, affine):
    """The same of a `GlobalToLocalNet`, not in training: each backend draws its own."""
    rng = np.random.default_rng(7)
    network = GlobalNet(3, image.shape[1:], filters=3, blocks=(1,), reductions=2)
    model = GlobalToLocalNet(network, local)
    model.compile("sgd", PatchLoss(20.0))
    for weight in model.weights:
        if weight.name == "kernel":
            scale = np.sqrt(1.0 / np.prod(weight.shape[-2 - points.shape[-1] : -1]))
            weight.assign(rng.normal(0.0, scale, weight.shape))
        elif weight.name == "scale":  # of `PyramidRefinement`, initially at random
            weight.assign(rng.normal(1.0, 0.1, weight.shape))
    found = {
        f"{name} {k}": ops.convert_to_numpy(v)
        for k, v in model(image, training=False).items()
    }
    weights = model.trainable_weights

    def loss():
        y_pred = model(image, training=False)
        y = {"points": points, "affine": affine}
        return model.compute_loss(image, y, y_pred, None, False)

    slopes = weight_gradients(loss, weights)
    for number, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
        # One number for each: there are many.
        found[f"{name} gradient {number} {weight.name}"] = np.append(
            np.linalg.norm(slope), slope.ravel()[:3]
        )
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **numbers())
    print(keras.backend.backend())
