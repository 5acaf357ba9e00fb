import dataclasses

import numpy as np

_LABEL_CLEARANCE = 3.0  # mm between a label and the skin.
_BLADE_CLEARANCE = 4.0  # mm between a collimator blade and a landmark.


@dataclasses.dataclass
class FilmCover:
    """Objects over the border of the film: collimator blades, labels, the letter L.

    Args:
        blades: List of `(side, width, tilt, level)`: the side is numbered clockwise
            from the left, the width is in mm, the tilt in radians, the level from 0 to
            1.
        labels: List of `(kind, half size, candidates)`: the kind is `"plate"` or
            `"letter"`, half the size is in mm, and candidates are `(position, tilt)`
            with positions relative to the field. The first candidate that does not
            touch the hand is drawn.
    """

    blades: list[tuple[int, float, float, float]]
    labels: list[tuple[str, np.ndarray, list[tuple[np.ndarray, float]]]]

    def draw(
        self, image: np.ndarray, pitch: float, points: np.ndarray, skin: np.ndarray
    ) -> None:
        """Draws blades that do not cover landmarks, and labels beside the hand.

        Args:
            image: Float32 array `(H, W)`, grey levels from 0 to 1, changed in place.
            pitch: Float, mm per pixel.
            points: Array of shape `(N, 2)`, landmarks, mm from the corner of the field.
            skin: Array of shape `(P, 2)`, points all over the hand, mm.
        """
        rows, columns = image.shape
        x = ((np.arange(columns) + 0.5) * pitch).astype(np.float32)[None]
        y = ((np.arange(rows) + 0.5) * pitch).astype(np.float32)[:, None]
        extent = pitch * np.array([columns, rows])
        for side, width, tilt, level in self.blades:
            nearest = _inward(side, tilt, extent, points[:, 0], points[:, 1]).min()
            width = min(width, nearest - _BLADE_CLEARANCE)
            depth = (width - _inward(side, tilt, extent, x, y)) / pitch
            _paint(image, depth, level)
        for kind, half, candidates in self.labels:
            for position, tilt in candidates:
                box = _Box(position * extent, half, tilt)
                if (box.depth(skin[:, 0], skin[:, 1]) < -_LABEL_CLEARANCE).all():
                    for part, level, opacity in _parts(kind, box):
                        _paint(image, part.depth(x, y) / pitch, level, opacity)
                    break


def sample_cover(rng: np.random.Generator) -> FilmCover:
    """Draws blades and labels.

    Args:
        rng: `np.random.Generator`.

    Example:

    >>> image = np.zeros((50, 40), "float32")
    >>> cover = sample_cover(np.random.default_rng(0))
    >>> cover.draw(image, 5.0, np.array([[100.0, 100.0]]), np.zeros((0, 2)))
    """
    blades = []
    for side in range(4):
        if rng.uniform() < 0.22:
            dark = rng.uniform() < 0.65
            level = rng.uniform(0.0, 0.04) if dark else rng.uniform(0.85, 1.0)
            blades.append((side, rng.uniform(2, 9), rng.normal(0.0, 0.02), level))
    labels = []
    for kind, chance in (("plate", 0.7), ("plate", 0.35), ("letter", 0.3)):
        if rng.uniform() > chance:
            continue
        half, inside = np.array([5.0, 6.0]), 0.06
        if kind == "plate":
            half, inside = rng.uniform((6, 10), (11, 19)), rng.uniform(-0.04, 0.06)
        candidates = []
        for _ in range(8):
            position = rng.uniform(0.05, 0.95, 2)
            position[rng.integers(2)] = rng.choice([inside, 1.0 - inside])
            candidates.append((position, rng.normal(0.0, 0.1)))
        labels.append((kind, half, candidates))
    return FilmCover(blades, labels)


@dataclasses.dataclass
class _Box:
    """A rotated rectangle on the film, mm."""

    centre: np.ndarray
    half: np.ndarray
    tilt: float

    def depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns the distances of points from the border, negative outside."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        u = (x - self.centre[0]) * cos + (y - self.centre[1]) * sin
        v = (y - self.centre[1]) * cos - (x - self.centre[0]) * sin
        return np.minimum(self.half[0] - np.abs(u), self.half[1] - np.abs(v))

    def part(self, centre: tuple[float, float], half: tuple[float, float]) -> "_Box":
        """Returns a box in the coordinate frame of this one, with the same tilt."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        u, v = centre
        offset = np.array([u * cos - v * sin, u * sin + v * cos])
        return _Box(self.centre + offset, np.array(half), self.tilt)


def _parts(kind: str, box: _Box) -> list[tuple[_Box, float, float]]:
    """Returns the rectangles of a label with their grey levels and opacities."""
    width, height = box.half
    if kind == "plate":
        holder = box.part((0.0, -2.5), (width + 1.5, height + 3.0))
        return [(holder, 0.4, 0.3), (box, 0.01, 1.0)]
    upright = box.part((-2.5, 0.0), (0.8, 5.0))
    foot = box.part((0.0, 4.2), (3.3, 0.8))
    return [(upright, 0.97, 1.0), (foot, 0.97, 1.0)]


def _inward(
    side: int, tilt: float, extent: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Returns the distances of points from a side that is tilted about its centre."""
    if side in (0, 2):
        return (x if side == 0 else extent[0] - x) - tilt * (y - extent[1] / 2)
    return (y if side == 1 else extent[1] - y) - tilt * (x - extent[0] / 2)


def _paint(
    image: np.ndarray, depth: np.ndarray, level: float, opacity: float = 1.0
) -> None:
    """Draws a grey level where `depth`, in pixels, is positive, with a soft edge."""
    rows, columns = np.nonzero(depth > -0.5)
    share = opacity * np.clip(depth[rows, columns] + 0.5, 0.0, 1.0)
    image[rows, columns] += share * (level - image[rows, columns])
