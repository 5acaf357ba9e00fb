import dataclasses

import numpy as np

from scn_keras.datasets.synthetic_hand.bone import Bone
from scn_keras.datasets.synthetic_hand.outline import smooth_outline
from scn_keras.datasets.synthetic_hand.proportions import CARPUS
from scn_keras.datasets.synthetic_hand.skeleton import Skeleton
from scn_keras.datasets.synthetic_hand.soft_tissue import SoftTissue

# Radii of the soft tissue around the joints from base to tip, mm.
_THUMB_RADII = (12.0, 12.0, 10.8, 8.6)
_FINGER_RADII = (11.2, 10.2, 9.2, 7.8)
_TIP = 2.2  # mm from the end of the bone to the centre of the fingertip's pulp.


@dataclasses.dataclass
class HandAnatomy:
    """A left hand on film: landmarks, bones and soft tissue.

    Args:
        points: Array of shape `(37, 2)`, the landmarks, x and y in mm.
        bones: List of `Bone`.
        soft_tissue: `SoftTissue`.
    """

    points: np.ndarray
    bones: list[Bone]
    soft_tissue: SoftTissue

    def moved(self, by: np.ndarray) -> "HandAnatomy":
        """Returns the hand translated by `by`, `(2,)`, mm."""
        bones = [dataclasses.replace(b, origin=b.origin + by) for b in self.bones]
        return HandAnatomy(self.points + by, bones, self.soft_tissue.moved(by))


def sample_hand(rng: np.random.Generator) -> HandAnatomy:
    """Draws a left hand: age, size, proportions, shapes, pose.

    Args:
        rng: `np.random.Generator`.

    Returns:
        `HandAnatomy` around the origin of the film.

    Example:

    >>> hand = sample_hand(np.random.default_rng(0))
    >>> hand.points.shape
    (37, 2)
    """
    skeleton = Skeleton(rng)
    plump = float(np.clip(rng.normal(1.0, 0.07), 0.86, 1.18))
    film, size = skeleton.film, skeleton.size
    thumb, *fingers = skeleton.rays
    thenar = 0.55 * thumb[0] + 0.2 * thumb[1] + 0.25 * fingers[0][0]
    soft_tissue = SoftTissue(
        chains=_chains(skeleton, plump),
        # Each knuckle lies in a ridge of its own, so that the outer knuckles look like
        # the inner ones.
        ridges=[
            (
                film(0.5 * (base + knuckle)),
                film(0.6 * knuckle + 0.4 * joint),
                size * plump * rng.uniform(3.0, 5.5),
            )
            for base, knuckle, joint, *_ in fingers
        ],
        palm=smooth_outline(film(_palm(skeleton, plump)), 4),
        thickness=size * plump * np.array([10.5, 20.5]),
        wrist=film(np.array(CARPUS)),
        forearm=film(skeleton.forearm) / size,
        thenar=film(thenar),
        blend=2.6 * size,
        scale=size,
    )
    return HandAnatomy(skeleton.points, skeleton.bones, soft_tissue)


def _chains(skeleton: Skeleton, plump: float) -> list[list[tuple[np.ndarray, float]]]:
    chains = []
    for joints in skeleton.rays:
        width = plump * float(np.clip(skeleton.rng.normal(1.0, 0.04), 0.9, 1.1))
        last = joints[-1] - joints[-2]
        pulp = joints[-1] - _TIP * last / np.linalg.norm(last)
        # The metacarpals of the fingers are in the palm, that of the thumb is not.
        if len(joints) == 4:
            points, radii = [*joints[:-1], pulp], _THUMB_RADII
        else:
            points, radii = [*joints[1:-1], pulp], _FINGER_RADII
        chains.append(
            [
                (skeleton.film(point), skeleton.size * width * radius)
                for point, radius in zip(points, radii, strict=True)
            ]
        )
    return chains


def _palm(skeleton: Skeleton, plump: float) -> np.ndarray:
    """Returns the corners of palm and forearm in the hand's frame, clockwise."""
    rng = skeleton.rng
    thumb, index, middle, ring, little = skeleton.rays
    up = skeleton.forearm
    right = np.array([up[1], -up[0]])
    fat = 10.0 * (plump - 1.0)
    web = rng.uniform(0.3, 0.42)

    def beside(ray: list[np.ndarray], share: float, out: float = 0.0) -> np.ndarray:
        step = ray[2] - ray[1]
        normal = np.array([step[1], -step[0]]) / np.linalg.norm(step)
        return ray[1] + share * step + out * normal

    def wrist(x: float, y: float) -> np.ndarray:
        return np.array(CARPUS) + x * plump * right + (y - CARPUS[1]) * up

    hollow = (beside(index, 0.0, 9.0) + thumb[1]) / 2
    hollow += rng.uniform(0.1, 0.25) * (index[0] - hollow)
    return np.array(
        [
            wrist(24.5, -400),
            wrist(24.0, -90),
            wrist(23.0, -58),
            wrist(24.5, -36),
            thumb[0] + [5.0 + fat, -7.0],
            (thumb[0] + thumb[1]) / 2,
            hollow,
            beside(index, -0.12, rng.uniform(12.0, 16.0)),
            beside(index, web, 9.0),
            (beside(index, web) + beside(middle, web)) / 2,
            (beside(middle, web) + beside(ring, web)) / 2,
            (beside(ring, web) + beside(little, web)) / 2,
            beside(little, web, -9.0),
            beside(little, -0.2, -rng.uniform(12.0, 16.0)),
            (little[0] + little[1]) / 2 + [-13.5 - fat, 1.0],
            little[0] + [-13.0 - fat, -8.0],
            wrist(-31.0, -38),
            wrist(-32.0, -58),
            wrist(-34.0, -90),
            wrist(-38.0, -400),
        ]
    )
