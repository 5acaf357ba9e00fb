"""How much smaller errors are on images that a model was trained on."""

import numpy as np
from keras import ops

from scn_keras.geometry import apply_affine
from scn_keras.inference.calibration import COVERAGE, Calibration
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.metrics.on_arrays import point_distances

# The entry of `Calibration.protocol`.
TRAINED_RATIO = "trained_ratio90"


def trained_ratio(calibration: Calibration, images: HeldOutImages) -> float:
    """Returns the 90 % quantile of ratios of errors to radii on training images.

    Args:
        calibration: `Calibration`.
        images: `HeldOutImages` that the model was trained on.
    """
    error = point_distances(
        apply_affine(images.grid_to_space, images.truth),
        apply_affine(images.grid_to_space, images.points),
    )
    radius = calibration.radius(images.score, images.covariance, images.grid_to_space)
    return float(np.nanquantile(error / ops.convert_to_numpy(radius), COVERAGE))
