"""Offsets of landmarks from located images, and their errors on other patients."""

from typing import NamedTuple

import numpy as np
from keras import ops

from scn_keras.geometry import apply_affine
from scn_keras.inference.calibration import Calibration
from scn_keras.inference.point_offsets import PointOffsets
from scn_keras.training.adaptation.labelled_images import LabelledImages
from scn_keras.training.adaptation.shrunk_offsets import ShrunkOffsets, shrunk_offsets
from scn_keras.training.evaluation.offsets import anatomical_frames

# Patients are left out one at a time, or, if there are more, in this number of parts.
_PARTS = 20
# The 90 % quantiles of the lengths of standard normal vectors in 2D and 3D.
_LENGTH90 = {2: 2.1460, 3: 2.5003}


class FittedOffsets(NamedTuple):
    """The offsets of a clinic.

    Attributes:
        offsets: `PointOffsets`.
        estimate: `ShrunkOffsets`.
        before: Array `(n, N)`, the errors of the model, in the space of the images.
        after: Array `(n, N)`, the errors with offsets from the other patients.
    """

    offsets: PointOffsets
    estimate: ShrunkOffsets
    before: np.ndarray
    after: np.ndarray


def fit_offsets(
    labelled: LabelledImages, calibration: Calibration | None
) -> FittedOffsets:
    """Estimates the offsets of landmarks, and their errors by cross-validation.

    Args:
        labelled: `LabelledImages`.
        calibration: `Calibration` of the run, from which the deviations of landmarks
            are known in advance, or `None`.

    Raises:
        ValueError: If no landmark has points of two patients.
    """
    images = labelled.images
    shape = anatomical_frames(labelled.points).shape
    still = PointOffsets(shape, np.zeros_like(shape))
    frames = still.frames(images.points, images.score, images.grid_to_space)
    frames = np.where(frames.any((-2, -1), keepdims=True), frames, np.nan)
    vectors = np.einsum("inab,inb->ina", frames, labelled.truth - labelled.points)
    d = shape.shape[1]
    patients = images.fold
    expected = None
    if calibration is not None:
        radius = ops.convert_to_numpy(
            calibration.radius(images.score, images.covariance, images.grid_to_space)
        )
        size = np.sqrt(np.square(frames).sum((-2, -1)) / d)
        expected = np.nanmedian(radius * size, axis=0) / _LENGTH90[d]
    estimate = shrunk_offsets(_by_patient(vectors, patients), expected)
    before = np.linalg.norm(labelled.truth - labelled.points, axis=-1)
    after = np.full(before.shape, np.nan)
    numbers = np.unique(patients)
    for part in np.array_split(numbers, min(len(numbers), _PARTS)):
        out = np.isin(patients, part)
        of_others = shrunk_offsets(
            _by_patient(vectors[~out], patients[~out]), expected
        ).offsets
        moved = PointOffsets(shape, of_others).apply(
            images.points[out], images.score[out], images.grid_to_space[out]
        )
        moved = apply_affine(images.grid_to_space[out], moved)
        after[out] = np.linalg.norm(labelled.truth[out] - moved, axis=-1)
    return FittedOffsets(PointOffsets(shape, estimate.offsets), estimate, before, after)


def _by_patient(vectors, patients):
    """Returns the mean vectors of each patient."""
    rows = []
    for patient in np.unique(patients):
        own = vectors[patients == patient]
        count = (~np.isnan(own).any(-1)).sum(0)
        total = np.nansum(np.where(np.isnan(own).any(-1)[..., None], 0.0, own), axis=0)
        rows.append(np.where(count > 0, 1.0, np.nan)[:, None] * total)
        rows[-1] /= np.maximum(count, 1)[:, None]
    return np.array(rows)
