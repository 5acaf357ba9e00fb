import dataclasses

import numpy as np

from scn_keras.datasets.synthetic_hand.interpolation import look_up
from scn_keras.datasets.synthetic_hand.outline import chord, depth_inside

# Grey levels, of 255, per millimetre of half the thickness.
_CORTICAL = 21.0
_SPONGY = 5.5
_MARROW = 2.5


@dataclasses.dataclass
class Bone:
    """A bone in projection: an outline, a cortical shell, spongy bone inside.

    It is defined in a coordinate frame of its own on the film: `s` runs across and `t`
    along the bone, both in mm.

    Args:
        origin: Array of shape `(2,)`, the frame's origin on the film, mm.
        across: Array of shape `(2,)`, the unit vector of `s` on the film.
        along: Array of shape `(2,)`, the unit vector of `t` on the film.
        outline: Array of shape `(K, 2)`, the closed outline, columns s, t.
        radius: Float, half the thickness towards the film, mm.
        cortex: Pair of floats, thickness of the cortical shell at the ends and
            in the shaft, mm.
        shaft: Pair of floats, the range of `t` in which the bone is a tube; empty for
            no tube.
        plate: Growth plate, or None: a tuple `(t, slope, bend, phase, opening)` of its
            intersection with the axis, its slope, its curvature (1/mm), the phase of
            its waves, and its opening from 0 (fused) to 1 (a wide dark gap).
        texture: Pair of floats, the offset of this bone in the table of spongy bone.

    Example:

    >>> square = np.array([(-4.0, 0.0), (4.0, 0.0), (4.0, 8.0), (-4.0, 8.0)])
    >>> bone = Bone(np.zeros(2), np.array([1.0, 0.0]), np.array([0.0, 1.0]), square,
    ...             radius=4.0, cortex=(0.5, 0.5), shaft=(0.0, 0.0), plate=None,
    ...             texture=(0.0, 0.0))
    >>> film = np.zeros((20, 20), "float32")
    >>> bone.add_to(film, 1.0, np.zeros((8, 8), "float32"))
    >>> bool(film[4, 1] > 0), float(film[12, 12])
    (True, 0.0)
    """

    origin: np.ndarray
    across: np.ndarray
    along: np.ndarray
    outline: np.ndarray
    radius: float
    cortex: tuple[float, float]
    shaft: tuple[float, float]
    plate: tuple[float, float, float, float, float] | None
    texture: tuple[float, float]

    def film_outline(self) -> np.ndarray:
        """Returns the outline on the film, `(K, 2)` x, y in mm."""
        frame = np.stack([self.across, self.along])
        return self.origin + self.outline @ frame

    def add_to(self, film: np.ndarray, pitch: float, sponge: np.ndarray) -> None:
        """Adds the absorption of the bone to a film.

        Args:
            film: Float32 array `(H, W)`, changed in place.
            pitch: Float, mm per pixel of the film; the outer corner of its first pixel
                is the origin.
            sponge: Float32 array, the table of spongy bone, mean 0.
        """
        corners = self.film_outline()
        low = np.maximum(np.floor(corners.min(0) / pitch).astype(int), 0)
        high = np.minimum(np.ceil(corners.max(0) / pitch).astype(int), film.shape[::-1])
        if (high <= low).any():
            return
        x = ((np.arange(low[0], high[0]) + 0.5) * pitch - self.origin[0])[None]
        y = ((np.arange(low[1], high[1]) + 0.5) * pitch - self.origin[1])[:, None]
        s = (x * self.across[0] + y * self.across[1]).astype(np.float32)
        t = (x * self.along[0] + y * self.along[1]).astype(np.float32)
        box_low, box_high = self.outline.min(0), self.outline.max(0)
        in_box = (s > box_low[0]) & (s < box_high[0])
        in_box &= (t > box_low[1]) & (t < box_high[1])
        rows, columns = np.nonzero(in_box)
        if not rows.size:
            return
        absorbed = self._absorbed(s[rows, columns], t[rows, columns], sponge)
        film[low[1] + rows, low[0] + columns] += absorbed

    def _absorbed(self, s: np.ndarray, t: np.ndarray, sponge: np.ndarray) -> np.ndarray:
        depth = depth_inside(s, t, self.outline)
        start, end = self.shaft
        if end > start:
            ramp = min(0.5 * (end - start), 1.3 * self.radius)
            tube = np.clip(np.minimum(t - start, end - t) / ramp, 0.0, 1.0)
            tube = tube * tube * (3 - 2 * tube)
        else:
            tube = np.zeros_like(t)
        shell = self.cortex[0] + (self.cortex[1] - self.cortex[0]) * tube
        outer = chord(depth, self.radius)
        inner = chord(depth - shell, np.maximum(self.radius - shell, 0.1))
        inner = np.minimum(inner, outer)
        spongy = _SPONGY + (_MARROW - _SPONGY) * tube
        grain = look_up(sponge, s / 0.4 + self.texture[0], t / 0.9 + self.texture[1])
        absorbed = _CORTICAL * (outer - inner) + spongy * inner * (1.0 + grain)
        if self.plate is not None:
            absorbed *= _plate_factor(s, t, *self.plate)
        return absorbed


def _plate_factor(
    s: np.ndarray,
    t: np.ndarray,
    at: float,
    slope: float,
    bend: float,
    phase: float,
    opening: float,
) -> np.ndarray:
    """Returns the factor on absorption of a growth plate: a gap between dense rims."""
    wave = 0.2 * np.sin(0.8 * s + phase) + 0.1 * np.sin(2.1 * s + 2 * phase)
    distance = t - at - slope * s - bend * s * s - wave
    gap = np.exp(-((distance / (0.35 + 0.4 * opening)) ** 2))
    rim = np.exp(-(((np.abs(distance) - 1.2) / 0.5) ** 2))
    scar = np.exp(-((distance / 0.4) ** 2))
    return 1.0 - 0.85 * opening * gap + 0.22 * rim + 0.25 * (1 - opening) * scar
