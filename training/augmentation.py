import dataclasses
from collections.abc import Mapping

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of position and grey value, each drawn evenly from a range.

    `draw` draws the parameters, `affine` and `intensity` apply them: what was drawn
    can be looked at, stored and applied again. The defaults are the ranges of the
    reference for cephalograms (Payer et al., Medical Image Analysis 54, 2019).

    Args:
        translation: Float, share of the grid's size by which the image moves at
            most along each axis.
        rotation: Float, radians, at most to either side, about the grid's centre.
        scale: Float, 0.2 for 0.8 to 1.2 times, both axes alike.
        scale_per_axis: Float, the same for each axis on its own.
        intensity_shift: Float, added to grey values of -1 to 1.
        intensity_scale: Float, 0.25 for 0.75 to 1.25 times, after the shift.

    Raises:
        ValueError: If a range is negative or a scale reaches 0.
    """

    translation: float = 0.05
    rotation: float = 0.25
    scale: float = 0.2
    scale_per_axis: float = 0.2
    intensity_shift: float = 0.25
    intensity_scale: float = 0.25

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            bound = 1.0 if "scale" in field.name else float("inf")
            if not 0.0 <= value < bound:
                raise ValueError(
                    f"`{field.name}` of the augmentation must be from 0 to below "
                    f"{bound}. Received: {field.name}={value}"
                )

    def draw(self, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Draws one set of parameters from a stateless seed, int32 `(2,)`."""
        unit = tf.random.stateless_uniform([8], seed, -1.0, 1.0)
        return {
            "translation": unit[0:2] * self.translation,
            "rotation": unit[2] * self.rotation,
            "scale": (1.0 + unit[3] * self.scale)
            * (1.0 + unit[4:6] * self.scale_per_axis),
            "intensity_shift": unit[6] * self.intensity_shift,
            "intensity_scale": 1.0 + unit[7] * self.intensity_scale,
        }

    @staticmethod
    def affine(parameters: Mapping[str, tf.Tensor], grid: tuple[int, int]) -> tf.Tensor:
        """Returns the map `(3, 3)` from the grid to the grid before augmentation."""
        # A point p moves to c + R S (p - c) + t: scaled, rotated about the centre c,
        # then moved. The grid is filled by asking where each pixel came from.
        size = tf.constant([grid[1], grid[0]], tf.float32)
        center = (size - 1.0) * 0.5
        cos, sin = tf.cos(parameters["rotation"]), tf.sin(parameters["rotation"])
        unrotate = tf.stack([tf.stack([cos, sin]), tf.stack([-sin, cos])])
        linear = unrotate / parameters["scale"][:, None]
        moved = center + parameters["translation"] * size
        offset = center - tf.linalg.matvec(linear, moved)
        top = tf.concat([linear, offset[:, None]], axis=1)
        return tf.concat([top, tf.constant([[0.0, 0.0, 1.0]])], axis=0)

    @staticmethod
    def intensity(parameters: Mapping[str, tf.Tensor], image: tf.Tensor) -> tf.Tensor:
        """Shifts, then scales grey values, and clips them to -1..1."""
        image = (image + parameters["intensity_shift"]) * parameters["intensity_scale"]
        return tf.clip_by_value(image, -1.0, 1.0)
