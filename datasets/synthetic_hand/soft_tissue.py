import dataclasses

import numpy as np

from scn_keras.datasets.synthetic_hand.lattice import resample
from scn_keras.datasets.synthetic_hand.outline import chord, depth_inside

_ABSORPTION = 6.0  # Grey levels a millimetre of half thickness, of 255.
_STEP = 2.0  # mm of the lattice on which the body is computed; it is smooth.


@dataclasses.dataclass
class SoftTissue:
    """Muscle, fat and skin: chains of tapering capsules and a palm, run together.

    Args:
        chains: List of lists of `(place, radius)`, a finger each, mm on film.
        ridges: List of `(from, to, height)`, where the palm is thicker, mm.
        palm: Array of shape `(K, 2)`, the outline of palm and forearm, mm.
        thickness: Pair of floats, half thickness of palm and forearm, mm.
        wrist: Array of shape `(2,)`, where palm passes into forearm.
        forearm: Array of shape `(2,)`, unit vector up the forearm to the hand.
        thenar: Array of shape `(2,)`, where the ball of the thumb is thickest.
        blend: Float, how softly the parts run into each other, mm.
        scale: Float, the hand's size against an adult's.
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
        """Returns the tissue at another place on the film, `by` mm away."""
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
        """Draws what the tissue absorbs.

        Args:
            extent: Array of shape `(2,)`, width and height of the field, mm.
            size: Pair of ints, rows and columns of the film.
            pitch: Float, mm per pixel of the film.

        Returns:
            Tuple of a float32 array of shape `size`, what is absorbed, and an array
            `(P, 2)`, places all over the hand, x and y in mm.
        """
        body, radius = self._lattice(extent)
        places = (np.argwhere(body > 0)[:, ::-1] - 1) * _STEP
        for axis, count in enumerate(size):
            place = (np.arange(count) + 0.5) * pitch / _STEP + 1.0
            body = resample(body, place, axis)
            radius = resample(radius, place, axis)
        return _ABSORPTION * chord(body, radius), places

    def _lattice(self, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Computes depth and half thickness at nodes, the first at -`_STEP`."""
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
        far = (x - self.thenar[0]) ** 2 + (y - self.thenar[1]) ** 2
        thick += 4.0 * self.scale * np.exp(-far / (2 * (15.0 * self.scale) ** 2))
        for a, b, height in self.ridges:
            depth, _ = _in_chain(x, y, [(a, 0.0), (b, 0.0)])
            thick += height * np.exp(-0.5 * (depth / (6.5 * self.scale)) ** 2)
        return thick.astype(np.float32)


def _in_chain(
    x: np.ndarray, y: np.ndarray, chain: list[tuple[np.ndarray, float]]
) -> tuple[np.ndarray, np.ndarray]:
    depth = np.full(x.shape, -np.inf, np.float32)
    radius = np.zeros(x.shape, np.float32)
    for (a, ra), (b, rb) in zip(chain[:-1], chain[1:], strict=True):
        ex, ey = (b - a).tolist()
        share = ((x - a[0]) * ex + (y - a[1]) * ey) / (ex * ex + ey * ey)
        share = np.clip(share, 0.0, 1.0)
        here = ra + (rb - ra) * share
        far = np.sqrt((x - a[0] - share * ex) ** 2 + (y - a[1] - share * ey) ** 2)
        deeper = here - far > depth
        depth = np.where(deeper, here - far, depth)
        radius = np.where(deeper, here, radius)
    return depth.astype(np.float32), radius.astype(np.float32)
