import dataclasses

import numpy as np

from scn_keras.datasets.synthetic_hand.interpolation import resample
from scn_keras.datasets.synthetic_hand.outline import chord, depth_inside

# Grey levels, of 255, per millimetre of half the thickness.
_ABSORPTION = 6.0
# mm between the nodes of the coarse grid on which the smooth body is computed.
_STEP = 2.0


@dataclasses.dataclass
class SoftTissue:
    """Muscle, fat and skin: smoothly joined capsules for the fingers and a palm.

    Args:
        chains: List of lists of `(point, radius)`, one for each finger, mm on film.
        ridges: List of `(from, to, height)`, ridges of the palm, mm.
        palm: Array of shape `(K, 2)`, the outline of palm and forearm, mm.
        thickness: Pair of floats, half thickness of palm and forearm, mm.
        wrist: Array of shape `(2,)`, the border between palm and forearm.
        forearm: Array of shape `(2,)`, unit vector along the forearm to the hand.
        thenar: Array of shape `(2,)`, the centre of the ball of the thumb.
        blend: Float, the softness of the joins, mm.
        scale: Float, the size of the hand relative to an adult's.
    """

    chains: list[list[tuple[np.ndarray, float]]]
    ridges: list[tuple[np.ndarray, np.ndarray, float]]
    palm: np.ndarray
    thickness: np.ndarray
    wrist: np.ndarray
    forearm: np.ndarray
    thenar: np.ndarray
    blend: float
    scale: float

    def moved(self, by: np.ndarray) -> "SoftTissue":
        """Returns the tissue translated by `by`, `(2,)`, mm."""
        return dataclasses.replace(
            self,
            chains=[[(p + by, radius) for p, radius in c] for c in self.chains],
            palm=self.palm + by,
            ridges=[(a + by, b + by, height) for a, b, height in self.ridges],
            wrist=self.wrist + by,
            thenar=self.thenar + by,
        )

    def draw(
        self, extent: np.ndarray, size: tuple[int, int], pitch: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the absorption of the tissue.

        Args:
            extent: Array of shape `(2,)`, width and height of the field, mm.
            size: Pair of ints, rows and columns of the film.
            pitch: Float, mm per pixel of the film.

        Returns:
            Tuple of the absorption, a float32 array of shape `size`, and points all
            over the hand, an array `(P, 2)`, x and y in mm.
        """
        body, radius = self._on_coarse_grid(extent)
        skin = (np.argwhere(body > 0)[:, ::-1] - 1) * _STEP
        for axis, count in enumerate(size):
            coordinates = (np.arange(count) + 0.5) * pitch / _STEP + 1.0
            body = resample(body, coordinates, axis)
            radius = resample(radius, coordinates, axis)
        return _ABSORPTION * chord(body, radius), skin

    def _on_coarse_grid(self, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns depth and half thickness at nodes, the first at -`_STEP`."""
        columns, rows = (int(np.ceil(e / _STEP)) + 3 for e in extent)
        x = np.tile((np.arange(columns, dtype=np.float32) - 1) * _STEP, rows)
        y = np.repeat((np.arange(rows, dtype=np.float32) - 1) * _STEP, columns)
        depths = [depth_inside(x, y, self.palm)]
        radii = [self._palm_thickness(x, y)]
        for chain in self.chains:
            depth, radius = _in_chain(x, y, chain)
            depths.append(depth)
            radii.append(radius)
        depth, radius = np.stack(depths), np.stack(radii)
        top = depth.max(0)
        weights = np.exp((depth - top) / self.blend)
        total = weights.sum(0)
        body = top + self.blend * np.log(total)
        radius = (weights * radius).sum(0) / total
        return body.reshape(rows, columns), radius.reshape(rows, columns)

    def _palm_thickness(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        down = (self.wrist[0] - x) * self.forearm[0]
        down += (self.wrist[1] - y) * self.forearm[1]
        share = np.clip(0.8 + down / (70.0 * self.scale), 0.0, 1.0)
        share = share * share * (3 - 2 * share)
        thick = self.thickness[0] + (self.thickness[1] - self.thickness[0]) * share
        square = (x - self.thenar[0]) ** 2 + (y - self.thenar[1]) ** 2
        thick += 4.0 * self.scale * np.exp(-square / (2 * (15.0 * self.scale) ** 2))
        for a, b, height in self.ridges:
            depth, _ = _in_chain(x, y, [(a, 0.0), (b, 0.0)])
            thick += height * np.exp(-0.5 * (depth / (6.5 * self.scale)) ** 2)
        return thick.astype(np.float32)


def _in_chain(
    x: np.ndarray, y: np.ndarray, chain: list[tuple[np.ndarray, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the depth of points in a chain of capsules, and its radius there."""
    depth = np.full(x.shape, -np.inf, np.float32)
    radius = np.zeros(x.shape, np.float32)
    for (a, ra), (b, rb) in zip(chain[:-1], chain[1:], strict=True):
        ex, ey = (b - a).tolist()
        share = ((x - a[0]) * ex + (y - a[1]) * ey) / (ex * ex + ey * ey)
        share = np.clip(share, 0.0, 1.0)
        own_radius = ra + (rb - ra) * share
        distance = np.sqrt((x - a[0] - share * ex) ** 2 + (y - a[1] - share * ey) ** 2)
        deeper = own_radius - distance > depth
        depth = np.where(deeper, own_radius - distance, depth)
        radius = np.where(deeper, own_radius, radius)
    return depth.astype(np.float32), radius.astype(np.float32)
