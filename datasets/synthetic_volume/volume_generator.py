"""Synthetic CT volumes of a lower spine with exactly known landmarks."""

from typing import TypedDict

import numpy as np

from scn_keras.datasets.synthetic_volume.spine_anatomy import VERTEBRAE, sample_spine
from scn_keras.datasets.synthetic_volume.surroundings import draw_surroundings, scan

FIELD = np.array([160.0, 160.0, 320.0])  # mm, x, y, z
_MARGIN = 20.0  # mm


class SpineVolume(TypedDict):
    """The result of `generate_volume`."""

    image: np.ndarray
    points: np.ndarray
    affine: np.ndarray


def generate_volume(
    seed: int, index: int, size: tuple[int, int, int] = (96, 64, 64)
) -> SpineVolume:
    """Draws one CT volume of a lower spine.

    A pure function of its arguments: the same seed and index give the same person, pose
    and field. The random numbers are those of `PCG64(SeedSequence([seed, index]))`.
    Another size shows the same field at another resolution; only the noise differs.

    The person is rotated in the scanner, and the field relative to the person: `affine`
    has an oblique direction, anisotropic spacing and an arbitrary origin.

    Args:
        seed: Int, the seed of the data set, not negative.
        index: Int, the number of the volume, not negative.
        size: Three ints, slices, rows and columns.

    Returns:
        Dict with `image`, int16 array `(z, y, x)` in HU; `points`, float32 array
        `(9, 3)`, x, y, z in voxels with a voxel's centre at whole numbers: vertebrae
        1 to 6 from the sacrum upwards, sacrum, left wing, right wing; and `affine`,
        float64 array `(4, 4)`, index coordinates x, y, z to mm (LPS).

    Raises:
        ValueError: If seed or index is negative, or a size is below 16.

    Example:

    >>> volume = generate_volume(seed=1, index=0, size=(48, 32, 32))
    >>> volume["image"].shape, volume["image"].dtype.name, volume["points"].shape
    ((48, 32, 32), 'int16', (9, 3))
    """
    if seed < 0 or index < 0:
        raise ValueError(
            "`seed` and `index` must not be negative. "
            f"Received: seed={seed}, index={index}"
        )
    if len(size) != 3 or min(size) < 16:
        raise ValueError(
            "`size` must be the number of slices, rows and columns, each at least 16. "
            f"Received: size={size}"
        )
    # Separate streams, so that the noise does not depend on the numbers for the spine.
    streams = np.random.SeedSequence([seed, index]).spawn(4)
    spine_rng, pose_rng, surroundings_rng, noise_rng = (
        np.random.Generator(np.random.PCG64(stream)) for stream in streams
    )
    spine = sample_spine(spine_rng)
    turn = _rotation(pose_rng.uniform(-0.15, 0.15, 3))
    shift = pose_rng.uniform(-200, 200, 3)
    for part in spine.parts:
        part.centre = turn @ part.centre + shift
        part.axes = turn @ part.axes
    points = spine.points @ turn.T + shift
    affine = _field(points, size, pose_rng)

    volume = np.empty(size, np.float32)
    axis = np.array([body.centre for body in spine.bodies[:VERTEBRAE]])
    draw_surroundings(volume, affine, axis, surroundings_rng)
    for part in spine.parts:
        part.draw(volume, affine)
    inverse = np.linalg.inv(affine)
    return {
        "image": scan(volume, noise_rng),
        "points": (points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.float32),
        "affine": affine,
    }


def _field(
    points: np.ndarray, size: tuple[int, int, int], rng: np.random.Generator
) -> np.ndarray:
    """Returns the affine of a rotated and shifted field that contains all points."""
    turn = _rotation(rng.uniform(-0.12, 0.12, 3))
    inner = points @ turn
    low, high = inner.min(0), inner.max(0)
    # At least the field, and a margin around every landmark.
    field = np.maximum(FIELD * rng.uniform(0.95, 1.05, 3), high - low + 2 * _MARGIN)
    slack = field - (high - low) - 2 * _MARGIN
    corner = low - _MARGIN - rng.uniform(0, 1, 3) * slack
    spacing = field / size[::-1]
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = turn @ (corner + spacing / 2)
    return affine


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Returns the rotation about x, then y, then z by angles in radians."""
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i] = np.sin(angle)
        turn[i, j] = -turn[j, i]
        rotation = turn @ rotation
    return rotation
