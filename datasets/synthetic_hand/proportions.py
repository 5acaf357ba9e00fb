"""Sizes and shapes of an adult left hand, in mm.

Lengths and positions are rounded means of the landmarks of the Digital Hand Atlas.
Shapes were drawn by eye after its radiographs. The coordinate frame has its origin at
the base of the middle metacarpal, x towards the thumb and y towards the fingertips.
"""

from typing import NamedTuple


class Ray(NamedTuple):
    """A metacarpal and its finger. Directions are degrees from y towards the thumb.

    Args:
        base: Pair of floats, the base of the metacarpal.
        metacarpal: Float, the distance from there to the base of the finger.
        direction: Float, the direction of the metacarpal.
        turn: Float, the direction of the finger.
        phalanges: Tuple of floats, the distances from base to base, the last one from
            base to tip.
        rows: Tuple of ints, the landmarks: all bases in order, then the tip.
    """

    base: tuple[float, float]
    metacarpal: float
    direction: float
    turn: float
    phalanges: tuple[float, ...]
    rows: tuple[int, ...]


THUMB = Ray((27.0, -8.3), 46.5, 37.0, 27.0, (31.5, 23.0), (17, 18, 19, 20))
# Index, middle, ring and little finger.
FINGERS = (
    Ray((13.3, -1.5), 69.7, 9.0, 11.0, (39.8, 24.0, 17.9), (16, 21, 22, 23, 24)),
    Ray((0.0, 0.0), 67.5, 0.0, 2.0, (44.8, 29.2, 19.2), (15, 25, 26, 27, 28)),
    Ray((-11.0, -0.5), 60.0, -9.0, -8.0, (42.0, 27.6, 19.7), (14, 29, 30, 31, 32)),
    Ray((-19.4, -3.5), 55.0, -21.5, -21.0, (32.8, 20.4, 17.4), (13, 33, 34, 35, 36)),
)

# Outlines of the carpal bones in the order of landmarks 6 to 12, which are their first
# corners.
CARPALS = {
    "triquetrum": "-18.6,-28.5 -21.5,-25.5 -23.5,-21 -23.5,-16 -21.5,-12.8 -18,-13 "
    "-15,-16.5 -12,-21 -12.5,-24 -15.5,-27",
    "lunate": "-7.9,-34.3 -12,-33 -14,-29.5 -12.5,-26 -8.5,-23.8 -4.5,-24.2 -1,-26.5 "
    "0.2,-30 -1.5,-33.2 -4.5,-34.6",
    "scaphoid": "4.8,-31.9 1.2,-30.8 0.8,-27 3.8,-22.5 6.8,-17.5 10.5,-14 15.5,-14.6 "
    "18.4,-18 17,-22.5 13,-27.5 9,-31.2",
    "hamate": "-9.9,-20.9 -13,-17.5 -17.5,-12.5 -19.5,-8 -17.5,-5 -13,-3 -9,-2.5 "
    "-7.2,-5 -6.8,-11 -7.5,-17",
    "capitate": "-0.8,-24.7 -4.5,-22.5 -6.3,-18 -6.5,-11 -6,-5 -4.5,-2.3 0,-1.8 "
    "4.5,-2.6 5.8,-6 5.6,-11 6.3,-16 5.2,-21 3,-24",
    "trapezoid": "14,-13.3 10.5,-12.8 8,-10 8,-6 10.5,-3.8 14.5,-4.2 17,-6.5 17,-10.5",
    "trapezium": "19.7,-18.2 15.5,-15.5 13.5,-11.5 14,-7 16.5,-3.5 20,-3 23,-6 "
    "24.5,-10 24.7,-14 22.7,-17.2",
}
PROXIMAL_ROW = ("triquetrum", "lunate", "scaphoid", "pisiform")
# Bones that cover others in this projection and have no landmark.
OVERLYING = {
    "pisiform": "-20.5,-25.5 -23.8,-23.5 -24.3,-19.5 -22,-16.5 -18.5,-17.5 -17.3,-21 "
    "-18.2,-24.5",
    "hook of hamate": "-12,-11.5 -15.3,-9.5 -15.8,-6.5 -13,-4.5 -10,-5.5 -9.4,-8.8",
}
RADIUS = (
    "-10.3,-43 -10.8,-40.5 -9.8,-38.3 -5,-37.8 1,-36.8 7,-34.2 12,-30.5 16.5,-28 "
    "19,-31 19.7,-36 18.6,-40.5 17.1,-44.3 15.8,-49 13.5,-56 11.5,-68 10.5,-85 "
    "10.5,-400 -3.5,-400 -4,-85 -5,-68 -7,-56 -9.3,-49"
)
RADIUS_LANDMARKS = {3: 0, 4: 11, 5: 7}  # Landmark: corner.
ULNA = (
    "-28.4,-44 -28.3,-40.5 -27.3,-36.5 -25.2,-33.7 -23.7,-36.3 -22,-38.3 -17,-38.4 "
    "-14,-39.5 -13,-42 -13.3,-44.6 -14.8,-50 -16.8,-58 -18,-70 -18.5,-400 -28.5,-400 "
    "-28.3,-70 -28.4,-56 -28.7,-50"
)
ULNA_LANDMARKS = {0: 0, 1: 3, 2: 9}
CARPUS = (0.0, -22.0)  # The centre of rotation between forearm and hand.


class LongBone(NamedTuple):
    """The shape of a kind of long bone, without its length.

    Args:
        half: The right half of the outline from base to tip, corners `(a, b, c)`:
            `t = a * length + b * pressed` along and `s = c * width` across.
        tip: The corner on the axis at the tip.
        width: Float, half the width of the base.
        press: Float, the compression of the ends along the bone.
        gap: Pair of floats, the smallest and the largest distance to the base of the
            next bone.
    """

    half: tuple[tuple[float, float, float], ...]
    tip: tuple[float, float, float]
    width: float
    press: float
    gap: tuple[float, float]


_PHALANX = (
    (0, 0, 0), (0, -0.06, 0.45), (0, 0.02, 0.86), (0, 0.3, 1.0), (0, 0.62, 0.97),
    (0, 1.0, 0.88), (0, 1.8, 0.7), (0, 2.5, 0.64), (1, -1.9, 0.63), (1, -1.35, 0.68),
    (1, -0.75, 0.75), (1, -0.28, 0.7), (1, 0, 0.42),
)  # fmt: skip
_DISTAL = (
    (0, 0, 0), (0, -0.05, 0.45), (0, 0.04, 0.86), (0, 0.3, 1.0), (0, 0.65, 0.93),
    (0, 1.1, 0.74), (0, 1.7, 0.54), (0.52, 0, 0.42), (1, -1.35, 0.47),
    (1, -0.85, 0.62), (1, -0.4, 0.6), (1, -0.09, 0.36),
)  # fmt: skip
_METACARPAL = (
    (0, 0, 0), (0, -0.08, 0.4), (0, 0.05, 0.68), (0, 0.4, 0.82), (0, 1.0, 0.82),
    (0, 2.0, 0.68), (0.44, 0, 0.55), (0.55, 0, 0.56), (1, -2.0, 0.74),
    (1, -1.5, 0.95), (1, -0.9, 0.95), (1, -0.4, 0.75), (1, -0.08, 0.4),
)  # fmt: skip

# The same for every finger, so that a joint does not reveal its finger.
METACARPAL = LongBone(_METACARPAL, (1, 0, 0), 6.5, 1.0, (2.0, 3.4))
PROXIMAL = LongBone(_PHALANX, (1, -0.08, 0), 6.0, 0.85, (1.2, 2.2))
MIDDLE = LongBone(_PHALANX, (1, -0.08, 0), 5.2, 0.68, (1.2, 2.2))
DISTAL = LongBone(_DISTAL, (1, 0, 0), 4.4, 0.7, (0.0, 0.0))
