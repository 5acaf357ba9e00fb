"""A lower spine: similar vertebrae on a sacrum of another shape."""

import dataclasses

import numpy as np

from scn_keras.datasets.synthetic_volume.body_part import BodyPart

VERTEBRAE = 6  # with a landmark, from the sacrum upwards
_DRAWN = 12  # beyond the edge of the field, so that counting from above is impossible

# Of an adult, mm. Left, back and up are positive, as in LPS.
_BODY = np.array([22.0, 16.0, 12.5])  # half width, depth and height
_DISC = 8.0  # height


@dataclasses.dataclass
class Spine:
    """The spine of one person in a coordinate frame with the sacrum at the origin.

    Args:
        parts: List of `BodyPart`, in the order in which they are drawn.
        points: Array `(VERTEBRAE + 3, 3)`, mm: the centres of the vertebral bodies from
            the lowest upwards, of the sacrum, and of its left and right wing.
        bodies: List of `BodyPart`, the vertebral bodies in `parts`.
    """

    parts: list[BodyPart]
    points: np.ndarray
    bodies: list[BodyPart]


def sample_spine(rng: np.random.Generator) -> Spine:
    """Draws the spine of one person at random.

    The distribution of a vertebra's shape does not depend on its number, which can be
    found only by the sacrum and the order along the spine.

    Args:
        rng: `np.random.Generator`.
    """
    scale = rng.uniform(0.85, 1.12)
    bone, compact = rng.uniform(120, 260), rng.uniform(480, 800)
    step = scale * (2 * _BODY[2] + _DISC)
    # Curves to the side and to the front: amplitude, wavelength and phase of each.
    bend, length, start = (
        rng.uniform(low, high, 2)
        for low, high in ((0.02, 0.25), (150, 320), (0, 2 * np.pi))
    )

    def lean(height: float) -> np.ndarray:
        """Returns the slope of the axis to the left and to the back."""
        return bend * np.sin(2 * np.pi * height / length + start)

    parts: list[BodyPart] = []
    bodies: list[BodyPart] = []
    center, height = np.zeros(3), 0.0
    for number in range(_DRAWN):
        half = scale * _BODY * rng.normal(1, 0.05, 3)
        gap = scale * _DISC * rng.uniform(0.75, 1.25)
        rise = half[2] + gap + (bodies[-1].half[2] if bodies else 0.4 * step)
        axis = np.array([*lean(height + rise / 2), 1.0])
        below, center = center, center + rise * axis / np.linalg.norm(axis)
        height += rise
        axes = _upright(lean(height) + rng.normal(0, 0.04, 2), rng.normal(0, 0.05))
        if number:
            middle = (below + center) / 2
            parts.append(
                BodyPart(
                    middle, axes, np.array([*0.9 * half[:2], gap / 2]), 90, None, 4.0
                )
            )
        body = BodyPart(center, axes, half, bone, compact * rng.uniform(0.9, 1.1), 5.0)
        bodies.append(body)
        parts += [*_arch(body, 0.6 * compact, rng), body]
    sacrum, wings = _sacrum(scale, bone, compact, rng)
    points = [body.centre for body in bodies[:VERTEBRAE]]
    points += [part.centre for part in (sacrum, *wings)]
    return Spine([*parts, *wings, sacrum], np.array(points), bodies)


def _upright(lean: np.ndarray, turn: float) -> np.ndarray:
    """Returns axes with z tilted to the left and to the back, rotated about z."""
    up = np.array([*lean, 1.0])
    up /= np.linalg.norm(up)
    back = np.array([-np.sin(turn), np.cos(turn), 0.0])
    back -= up * (up @ back)
    back /= np.linalg.norm(back)
    return np.stack([np.cross(back, up), back, up], axis=1)


def _arch(body: BodyPart, density: float, rng: np.random.Generator) -> list[BodyPart]:
    """Returns the parts behind a vertebral body: the arch and its three processes."""
    depth = body.half[1]

    def part(offset, half, tilt=0.0, **more):
        sway = rng.normal(1, 0.08, 3)
        centre = body.centre + body.axes @ (np.array(offset) * sway)
        cos, sin = np.cos(tilt), np.sin(tilt)
        turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        return BodyPart(
            centre,
            body.axes @ turn,
            np.array(half) * rng.normal(1, 0.08, 3),
            density,
            **more,
        )

    width = body.half[0]
    return [
        part((0, depth + 9, 1), (15, 14, 8), drum=4.0, hole=0.6),
        part((0.95 * width, depth + 6, 2), (13, 4.5, 5)),
        part((-0.95 * width, depth + 6, 2), (13, 4.5, 5)),
        part((0, depth + 30, -6), (3.5, 16, 9), tilt=-0.3),
    ]


def _sacrum(
    scale: float, bone: float, compact: float, rng: np.random.Generator
) -> tuple[BodyPart, tuple[BodyPart, BodyPart]]:
    """Returns the sacrum, tilted to the back, and its wings."""
    sizes = scale * rng.normal(1, 0.06, (2, 3))
    tilt = rng.uniform(0.4, 0.8)
    axes = _upright(np.array([rng.normal(0, 0.03), -np.tan(tilt)]), rng.normal(0, 0.04))
    body = BodyPart(
        np.zeros(3), axes, np.array([24, 13, 21]) * sizes[0], bone, compact, 2.5
    )
    wings = []
    for side in (1, -1):
        offset = np.array([side * 33.0, 4.0, 3.0]) * scale * rng.normal(1, 0.05, 3)
        half = np.array([17.0, 11.0, 19.0]) * sizes[1]
        wings.append(BodyPart(axes @ offset, axes, half, 0.8 * bone, 0.8 * compact))
    return body, (wings[0], wings[1])
