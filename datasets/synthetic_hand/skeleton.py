import numpy as np

from scn_keras.datasets.synthetic_hand import proportions
from scn_keras.datasets.synthetic_hand.bone import Bone
from scn_keras.datasets.synthetic_hand.outline import smooth_outline


class Skeleton:
    """The random bones of one left hand, and its landmarks.

    The bones of the index, middle, ring and little finger have the same distribution of
    shapes; only lengths, positions and order depend on the finger. A patch around one
    of their joints therefore hardly reveals which finger it shows.

    The coordinate frame of the hand is that of `proportions`; `film` maps it to the
    film.

    Args:
        rng: `np.random.Generator`.

    Attributes:
        size: Float, the size of the hand relative to an adult's.
        points: Array of shape `(37, 2)`, landmarks on the film, x and y in mm.
        bones: List of `Bone`, on the film.
        rays: List of lists of points, the joints of each ray in the hand's frame from
            the base of the metacarpal to the fingertip, the thumb first.
        forearm: Array of shape `(2,)`, the direction of the forearm towards the hand
            in the hand's frame.

    Example:

    >>> skeleton = Skeleton(np.random.default_rng(0))
    >>> skeleton.points.shape, len(skeleton.bones), len(skeleton.rays)
    ((37, 2), 30, 5)
    """

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        # From a child of about six years (0) to an adult (1).
        maturity = rng.uniform()
        self.size = (0.7 + 0.32 * maturity) * _draw(rng, 1.0, 0.05, 0.12)
        tilt = np.radians(_draw(rng, 0.0, 11.0, 28.0))
        # Growth plates: from fused (0) to a wide dark gap (1).
        self.opening = float(np.clip(rng.normal(1.25 - 1.3 * maturity, 0.12), 0, 1))
        self.stoutness = _draw(rng, 1.0, 0.06, 0.14)
        self.shell = rng.uniform(0.7, 1.25)
        cos, sin = np.cos(tilt), np.sin(tilt)
        # A rotation towards the thumb by `tilt`; y of the film points down.
        self._to_film = self.size * np.array([(cos, sin), (sin, -cos)])
        self.points = np.full((37, 2), np.nan)
        self.bones: list[Bone] = []

        # The angle of the wrist towards radius or ulna, and its stretching.
        self._bend = _draw(rng, 0.0, 6.0, 13.0)
        self._stretch = 1.0 + np.clip(rng.normal(0.0, 0.04, 2), -0.1, 0.1)
        self.forearm = _direction(self._bend)
        self._add_carpals(growth=0.98 + 0.13 * min(1.0, 1.3 * maturity))
        self._add_forearm()
        self.rays = self._add_rays()

    def film(self, points: np.ndarray) -> np.ndarray:
        """Maps points `(..., 2)` from the hand's frame to the film, mm."""
        return np.asarray(points, float) @ self._to_film.T

    def _add(
        self,
        origin: np.ndarray,
        along: np.ndarray,
        corners: np.ndarray,
        radius: float,
        cortex: tuple[float, float],
        shaft: tuple[float, float] = (0.0, 0.0),
        plate: tuple[float, float, float, float, float] | None = None,
    ) -> None:
        """Adds a bone. Arguments are those of `Bone`, in mm of an adult."""
        size = self.size
        if plate is not None:
            at, slope, bend, phase, opening = plate
            plate = (at * size, slope, bend / size, phase, opening)
        self.bones.append(
            Bone(
                origin=self.film(origin),
                across=self.film(_right_of(along)) / size,
                along=self.film(along) / size,
                outline=smooth_outline(corners) * size,
                radius=radius * size,
                cortex=(cortex[0] * size, cortex[1] * size),
                shaft=(shaft[0] * size, shaft[1] * size),
                plate=plate,
                texture=(self.rng.uniform(0, 64), self.rng.uniform(0, 64)),
            )
        )

    def _add_carpals(self, growth: float) -> None:
        rng, shell = self.rng, (0.7 * self.shell, 0.0)
        carpals = [(*item, True) for item in proportions.CARPALS.items()]
        carpals += [(*item, False) for item in proportions.OVERLYING.items()]
        for number, (name, text, has_landmark) in enumerate(carpals):
            corners = _parse(text) * self._stretch
            centre = corners.mean(0)
            corners = _rotated(corners, rng.normal(0.0, 3.0), centre)
            corners = centre + (corners - centre) * growth * rng.normal(1.0, 0.025, 2)
            corners += rng.normal(0.0, 0.22, corners.shape) + rng.normal(0.0, 0.4, 2)
            if name in proportions.PROXIMAL_ROW:
                # This row follows the forearm, the distal row follows the hand.
                corners = _rotated(corners, 0.55 * self._bend, self._wrist())
            if has_landmark:
                self.points[6 + number] = self.film(corners[0])
            thickness = rng.uniform(3.6, 5.2) if has_landmark else rng.uniform(0.8, 1.6)
            centre = corners.mean(0)
            self._add(centre, _direction(0.0), corners - centre, thickness, shell)

    def _add_forearm(self) -> None:
        rng = self.rng
        for text, landmarks, ends, shift, radius in (
            (proportions.RADIUS, proportions.RADIUS_LANDMARKS, (3, 4), 0.0, 6.0),
            (proportions.ULNA, proportions.ULNA_LANDMARKS, (0, 2), rng.normal(), 4.6),
        ):
            corners = _parse(text) * self._stretch
            distal = corners[:, 1] > -60
            corners[distal] += rng.normal(0.0, 0.3, (distal.sum(), 2))
            corners[distal, 1] += shift
            left, right = (corners[landmarks[row]] for row in ends)
            middle = (left + right) / 2
            slope = (right - left)[1] / (right - left)[0]
            rotated = _rotated(corners, self._bend, self._wrist())
            for row, corner in landmarks.items():
                self.points[row] = self.film(rotated[corner])
            self._add(
                _rotated(middle, self._bend, self._wrist()),
                self.forearm,
                corners - middle,
                radius,
                cortex=(0.6 * self.shell, 2.2 * self.shell),
                shaft=(-420.0, -8.0),
                plate=(1.3, slope, rng.normal(0, 0.003), _phase(rng), self.opening),
            )

    def _wrist(self) -> np.ndarray:
        return np.array(proportions.CARPUS) * self._stretch

    def _add_rays(self) -> list[list[np.ndarray]]:
        rng = self.rng
        fanning, swing = rng.uniform(0.5, 1.5), _draw(rng, 0.0, 3.0, 7.0)
        turns = [proportions.THUMB.turn + _draw(rng, 0.0, 9.0, 20.0)]
        for ray in proportions.FINGERS:
            turn = fanning * ray.turn + swing + _draw(rng, 0.0, 2.5, 5.0)
            if len(turns) > 1:
                # Fingers may touch, but not cross each other.
                turn = min(turn, turns[-1] - 2.0)
            turns.append(turn)
        rays = []
        for ray, turn in zip(
            (proportions.THUMB, *proportions.FINGERS), turns, strict=True
        ):
            steps = np.array([ray.metacarpal, *ray.phalanges])
            steps *= _draw(rng, 1.0, 0.04, 0.1)
            steps *= 1.0 + np.clip(rng.normal(0, 0.03, len(steps)), -0.08, 0.08)
            lean = rng.normal(0.0, 5.0 if ray is proportions.THUMB else 0.8)
            bends = [_draw(rng, 0.0, 3.5, 8.0) for _ in ray.phalanges[1:]]
            angles = [ray.direction + lean, *np.cumsum([turn, *bends])]
            joints = [np.array(ray.base) + rng.normal(0.0, 0.4, 2)]
            for step, angle in zip(steps, angles, strict=True):
                joints.append(joints[-1] + step * _direction(angle))
            self.points[list(ray.rows)] = self.film(np.array(joints))
            kinds = [proportions.METACARPAL, proportions.PROXIMAL, proportions.DISTAL]
            if len(steps) == 4:
                kinds.insert(2, proportions.MIDDLE)
            for kind, base, tip in zip(kinds, joints[:-1], joints[1:], strict=True):
                # Growth plates are at the heads of metacarpals of fingers, otherwise
                # at the bases.
                at_base = len(steps) == 3 or kind is not proportions.METACARPAL
                self._add_long_bone(kind, base, tip, at_base)
            rays.append(joints)
        return rays

    def _add_long_bone(
        self,
        kind: proportions.LongBone,
        base: np.ndarray,
        tip: np.ndarray,
        plate_at_base: bool,
    ) -> None:
        rng = self.rng
        step = float(np.linalg.norm(tip - base))
        along = (tip - base) / step
        length = step - rng.uniform(*kind.gap)
        width = kind.width * self.stoutness * _draw(rng, 1.0, 0.05, 0.12)
        # The ends of short bones are compressed, since they would overlap: in the same
        # way for all of a kind, so that an end does not reveal the length of its bone.
        pressed = min(kind.press * width, 0.2 * length)

        right = np.array(
            [(c * width, a * length + b * pressed) for a, b, c in kind.half]
        )
        a, b, c = kind.tip
        end = (c * width, a * length + b * pressed)
        corners = np.vstack([right, end, right[:0:-1] * [-1.0, 1.0]])
        jitter = rng.normal(0.0, 0.018 * width, corners.shape)
        # Landmarks are corners without jitter, exactly at the joints.
        jitter[0] = 0.0
        if kind is proportions.DISTAL:
            jitter[len(right)] = 0.0
        # A slight bow of the shaft to either side, which does not move the ends.
        bow = rng.normal(0.0, 0.05 * width) * np.sin(np.pi * corners[:, 1] / length)
        corners = corners + jitter
        corners[1 : len(right), 0] += bow[1 : len(right)]
        corners[len(right) + 1 :, 0] += bow[len(right) + 1 :]
        at = 0.65 * pressed if plate_at_base else length - 1.25 * pressed
        bend = rng.normal(0.006, 0.008) * (1 if plate_at_base else 2)
        opening = float(np.clip(self.opening + rng.normal(0.0, 0.08), 0.0, 1.0))
        self._add(
            base,
            along,
            corners,
            radius=0.68 * width,
            cortex=(0.075 * width, 0.36 * self.shell * width),
            shaft=(pressed, length - pressed),
            plate=(at, rng.normal(0, 0.03), bend, _phase(rng), opening),
        )


def _draw(rng: np.random.Generator, mean: float, sd: float, limit: float) -> float:
    """Draws a normal number, clipped to at most `limit` from the mean."""
    return float(np.clip(rng.normal(mean, sd), mean - limit, mean + limit))


def _phase(rng: np.random.Generator) -> float:
    return rng.uniform(0.0, 2 * np.pi)


def _direction(degrees: float) -> np.ndarray:
    return np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])


def _right_of(along: np.ndarray) -> np.ndarray:
    return np.array([along[1], -along[0]])


def _rotated(points: np.ndarray, degrees: float, about: np.ndarray) -> np.ndarray:
    """Rotates points from y towards x."""
    along = _direction(degrees)
    return about + (points - about) @ np.array([_right_of(along), along])


def _parse(text: str) -> np.ndarray:
    return np.array([pair.split(",") for pair in text.split()], float)
