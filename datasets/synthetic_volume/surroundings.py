"""The surroundings of the spine in a scan: muscle, bowel, air and noise."""

import numpy as np

from scn_keras.datasets.synthetic_volume.body_part import BodyPart

_AIR, _FAT, _MUSCLE = -1000.0, -100.0, 55.0


def draw_surroundings(
    volume: np.ndarray,
    affine: np.ndarray,
    axis: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Fills a volume with the trunk, before the spine is drawn.

    Args:
        volume: Float32 array `(z, y, x)`, HU, overwritten.
        affine: Array `(4, 4)`, index coordinates x, y, z to mm.
        axis: Array `(P, 3)`, the centres of vertebrae along the trunk, mm.
        rng: `np.random.Generator`.
    """
    volume[...] = _AIR
    middle, up = axis.mean(0), axis[-1] - axis[0]
    up = up / np.linalg.norm(up)
    back = np.array([0.0, 1.0, 0.0]) - up * up[1]
    back /= np.linalg.norm(back)
    axes = np.stack([np.cross(back, up), back, up], axis=1)
    depth = rng.uniform(95, 125)
    for shrink, density in ((0.0, _FAT), (rng.uniform(6, 20), _MUSCLE)):
        half = np.array([1.5 * depth, depth, 900.0]) - shrink
        # The spine lies close to the back.
        centre = middle - back * (depth - rng.uniform(62, 78))
        BodyPart(centre, axes, half, density, None, 8.0).draw(volume, affine)
    for _ in range(rng.integers(6, 12)):  # organs and bowel, in front of the spine
        offset = rng.uniform((-70, -100, -130), (70, -35, 130))
        half = rng.uniform(8, 28, 3)
        gas = rng.random() < 0.3
        density = rng.uniform(-900, -500) if gas else rng.uniform(-60, 110)
        part = BodyPart(
            middle + axes @ offset, axes, half * (0.5 if gas else 1.0), density
        )
        part.draw(volume, affine)


def scan(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a scan of densities: blurred, with noise, as int16.

    Args:
        volume: Float32 array `(z, y, x)`, HU.
        rng: `np.random.Generator`.
    """
    for index in (1, 2):  # in the plane of the slices
        volume = 0.5 * volume + 0.25 * (
            _shifted(volume, 1, index) + _shifted(volume, -1, index)
        )
    noise = rng.uniform(12, 35) * rng.standard_normal(volume.shape, np.float32)
    return np.clip(np.rint(volume + noise), -1024, 3071).astype(np.int16)


def _shifted(volume: np.ndarray, step: int, axis: int) -> np.ndarray:
    count = volume.shape[axis]
    return np.take(volume, np.clip(np.arange(count) + step, 0, count - 1), axis)
