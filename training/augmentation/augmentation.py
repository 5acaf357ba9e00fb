import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras import warp

_AXES = "xyz"


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of position, shape and grey value of images and volumes.

    `draw` draws the parameters, the other methods apply them: what
    was drawn can be looked at, stored and applied again, with NumPy, in a graph of
    `tf.data` or on the device. A point of the image is scaled, mirrored, turned about
    the grid's centre, moved, and then displaced by the inverse of the elastic part.
    Where no range is named, values are drawn evenly from -x to x. What is 0 is off.

    Args:
        translation: Float, share of the grid's size by which the image moves at
            most along each axis.
        rotation: Float, radians, at most to either side; of a volume about each axis
            (x, then y, then z).
        scale: Float, 0.2 for 0.8 to 1.2 times, all axes alike.
        scale_per_axis: Float, the same for each axis on its own.
        intensity_shift: Float, added to grey values of -1 to 1.
        intensity_scale: Float, 0.25 for 0.75 to 1.25 times, after the shift.
        translation_mm: Float, as `translation`, which is then 0, in millimetres.
        any_rotation: Bool, whether every orientation is equally likely, instead of
            `rotation`: all angles of an image, all of SO(3) of a volume.
        crop: Str, the axes (of `"xyz"`) along which a grid that is smaller than the
            image lies anywhere within it.
        flip: Float, the probability of a mirror image in x. Landmarks change places
            with their partners, so it needs a schema with `pairs`.
        elastic: Float, share of the grid's size by which each control point of a cubic
            B-spline moves at most along each axis. Never farther than to where the
            deformation would fold (0.48 of their distance, 0.40 in a volume).
        elastic_mm: Float, as `elastic`, which is then 0, in millimetres.
        elastic_points: Int, control points an axis, at least 4: of the reference's 5,
            one on each side is outside of the grid.
        blur: Float, the highest standard deviation of a Gaussian, pixels of the grid.
        gamma: Float, 0.5 for grey values (of 0 to 1) to the power of e^-0.5 to e^0.5.
        contrast: Float, 0.25 for 0.75 to 1.25 times the difference from the mean.
        noise: Float, the highest standard deviation of white noise.
        clip: Bool, whether grey values then end at -1 and 1.
        erase: Float, the probability of a box of one random grey value.
        erase_size: Float, the longest side of that box as a share of the grid's.

    Raises:
        ValueError: If a range is negative, a scale reaches 0 or values do not go
            together.

    Example:

    >>> augmentation = Augmentation(rotation=0.2)
    >>> drawn = augmentation.draw(7, (480, 384))
    >>> augmentation.affine(drawn, (480, 384)).shape
    (3, 3)
    """

    translation: float = 0.05
    rotation: float = 0.25
    scale: float = 0.2
    scale_per_axis: float = 0.2
    intensity_shift: float = 0.25
    intensity_scale: float = 0.25
    translation_mm: float = 0.0
    any_rotation: bool = False
    crop: str = ""
    flip: float = 0.0
    elastic: float = 0.0
    elastic_mm: float = 0.0
    elastic_points: int = 5
    blur: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    clip: bool = True
    erase: float = 0.0
    erase_size: float = 0.3

    def __post_init__(self) -> None:
        below_one = ("scale", "scale_per_axis", "intensity_scale", "contrast")
        up_to_one = ("flip", "erase", "erase_size")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)):
                continue
            bound = 1.0 if field.name in below_one else math.inf
            if field.name in up_to_one:
                bound = math.nextafter(1.0, 2.0)
            if not 0.0 <= value < bound:
                raise ValueError(
                    f"`{field.name}` of the augmentation must be from 0 to "
                    f"{'1' if field.name in up_to_one else f'below {bound}'}. "
                    f"Received: {field.name}={value}"
                )
        for name in ("translation", "elastic"):
            if getattr(self, name) and getattr(self, f"{name}_mm"):
                raise ValueError(
                    f"Set `{name}` of the augmentation or `{name}_mm`, the other to 0. "
                    f"Received: {name}={getattr(self, name)}, "
                    f"{name}_mm={getattr(self, f'{name}_mm')}"
                )
        if self.elastic_points < 4:
            raise ValueError(
                "`elastic_points` of the augmentation must be at least 4. "
                f"Received: elastic_points={self.elastic_points}"
            )
        if set(self.crop) - set(_AXES):
            raise ValueError(
                "`crop` of the augmentation names axes of 'xyz'. "
                f"Received: crop={self.crop!r}"
            )

    @classmethod
    def cephalogram(cls) -> "Augmentation":
        """The reference's ranges for cephalograms (Payer et al., MedIA 54, 2019)."""
        return cls(translation=0.0, translation_mm=10.0, elastic_mm=10.0)

    @classmethod
    def hand(cls, size: int = 256) -> "Augmentation":
        """The reference's ranges for hand radiographs, on a grid of `size` squared.

        There they are 10 and 20 pixels of the grid, whatever its size.
        """
        return cls(
            translation=10.0 / size,
            rotation=0.2,
            scale=0.0,
            scale_per_axis=0.0,
            intensity_shift=0.15,
            intensity_scale=0.15,
            elastic=20.0 / size,
            clip=False,
        )

    @classmethod
    def spine(cls) -> "Augmentation":
        """The reference's ranges for CT of the spine, on a grid of 2 mm.

        There the control points span the whole image, here they span the grid.
        """
        return cls(
            translation=0.0,
            translation_mm=20.0,
            rotation=0.2,
            scale=0.0,
            scale_per_axis=0.1,
            intensity_shift=0.15,
            intensity_scale=0.15,
            crop="z",
            elastic_mm=15.0,
        )

    def draw(
        self,
        seed: Any,
        grid: Sequence[int],
        xp: Any = warp.NUMPY,
        batch: Sequence[int] = (),
    ) -> dict[str, Any]:
        """Draws one set of parameters, or a batch of them, from a stateless seed.

        The same seed gives the same parameters, for each library its own.

        Args:
            seed: What the library takes: an int or several for NumPy, int32 `(2,)`
                for TensorFlow, an int or a `keras.random.SeedGenerator` for Keras.
            grid: The sizes of the grid in array order.
            xp: The library, `warp.NUMPY` or `warp.KERAS`, or for graphs of
                `tf.data` `TENSORFLOW`.
            batch: Leading sizes of all parameters.

        Returns:
            Dict of float32 xp. What is off has no entry.
        """
        d, batch = len(grid), tuple(batch)
        counts = {
            "translation": d,
            "rotation": 1 if d == 2 else 3,
            "scale": 1,
            "scale_per_axis": d,
            "intensity_shift": 1,
            "intensity_scale": 1,
            **({"flip": 1} if self.flip else {}),
            **({"crop": d} if self.crop else {}),
            **(
                {"elastic": d * self.elastic_points**d}
                if self.elastic or self.elastic_mm
                else {}
            ),
            **({"erase": 2 * d + 2} if self.erase else {}),
            **{
                name: 1
                for name in ("blur", "gamma", "contrast", "noise")
                if getattr(self, name)
            },
        }
        numbers = xp.cast(xp.uniform(seed, (*batch, sum(counts.values()))), "float32")
        unit, first = {}, 0
        for name, count in counts.items():
            unit[name] = numbers[..., first : first + count]
            first += count

        drawn = {
            "rotation": self._rotation(unit["rotation"], d, xp),
            "scale": (1.0 + unit["scale"] * self.scale)
            * (1.0 + unit["scale_per_axis"] * self.scale_per_axis),
            "intensity_shift": unit["intensity_shift"][..., 0] * self.intensity_shift,
            "intensity_scale": 1.0
            + unit["intensity_scale"][..., 0] * self.intensity_scale,
        }
        name = "translation_mm" if self.translation_mm else "translation"
        drawn[name] = unit["translation"] * getattr(self, name)
        if self.flip:
            mirrored = unit["flip"][..., 0] < 2.0 * self.flip - 1.0
            drawn["flip"] = xp.cast(mirrored, "float32")
        if self.crop:
            axes = np.array([axis in self.crop for axis in _AXES[:d]], "float32")
            drawn["crop"] = unit["crop"] * xp.convert_to_tensor(axes)
        if "elastic" in unit:
            name = "elastic_mm" if self.elastic_mm else "elastic"
            shape = (*batch, d, *[self.elastic_points] * d)
            drawn[name] = xp.reshape(unit["elastic"], shape) * getattr(self, name)
        if self.blur:
            drawn["blur"] = (unit["blur"][..., 0] + 1.0) * (0.5 * self.blur)
        if self.noise:
            level = (unit["noise"] + 1.0) * (0.5 * self.noise)
            field = xp.cast(xp.normal(seed, (*batch, *grid)), "float32")
            drawn["noise"] = field * warp.spread(level[..., 0], d)
        if self.gamma:
            drawn["gamma"] = xp.exp(unit["gamma"][..., 0] * self.gamma)
        if self.contrast:
            drawn["contrast"] = 1.0 + unit["contrast"][..., 0] * self.contrast
        if self.erase:
            drawn["erase_box"], drawn["erase_value"] = self._box(unit["erase"], d, xp)
        return drawn

    @staticmethod
    def affine(
        drawn: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any = None,
        size: Any = None,
        xp: Any = warp.NUMPY,
    ) -> Any:
        """Returns the map from the grid to the grid before augmentation.

        Args:
            drawn: What `draw` drew.
            grid: The sizes of the grid in array order.
            spacing: Array `(..., D)`, x, y(, z) mm per pixel of the grid; `None` for
                pixels of one millimetre.
            size: Array `(..., D)`, the size of the image in x, y(, z) in pixels of the
                grid, for `crop`.
            xp: The library, see `draw`.

        Returns:
            Array `(..., D + 1, D + 1)`.
        """
        # A point p moves to c + R S (p - c) + t: scaled, rotated about the centre c,
        # then moved. The grid is filled by asking where each pixel came from.
        sides = xp.convert_to_tensor(np.array(grid[::-1], "float32"))
        center = (sides - 1.0) * 0.5
        scale, d = drawn["scale"], len(grid)
        if "flip" in drawn:
            left = xp.convert_to_tensor(np.eye(d, dtype="float32")[0])
            scale = scale * (1.0 - 2.0 * drawn["flip"][..., None] * left)
        rows = [
            [drawn["rotation"][..., k, row] / scale[..., row] for k in range(d)]
            for row in range(d)
        ]
        if spacing is not None:  # turned in millimetres
            for row in range(d):
                for k in range(d):
                    rows[row][k] = rows[row][k] * (spacing[..., k] / spacing[..., row])
        if "translation_mm" in drawn:
            move = drawn["translation_mm"]
            moved = center + (move if spacing is None else move / spacing)
        else:
            moved = center + drawn["translation"] * sides
        offset = [
            center[row] - sum(rows[row][k] * moved[..., k] for k in range(d))
            for row in range(d)
        ]
        if "crop" in drawn:
            shift = drawn["crop"] * xp.maximum(size - sides, 0.0) * 0.5
            offset = [o + shift[..., row] for row, o in enumerate(offset)]
        zero = drawn["scale"][..., 0] * 0.0
        rows = [[*row, o] for row, o in zip(rows, offset, strict=True)]
        rows.append([zero] * d + [zero + 1.0])
        return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)

    @staticmethod
    def elastic_displacements(
        drawn: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any = None,
        xp: Any = warp.NUMPY,
    ) -> Any:
        """Returns the displacements of the control points, or `None` without.

        Args:
            drawn, grid, spacing, xp: See `affine`.

        Returns:
            Array `(..., D, *n)` in pixels of the grid, see `warp.lattice`.
        """
        d = len(grid)
        if "elastic_mm" in drawn:
            field = drawn["elastic_mm"]
            if spacing is not None:
                field = field / warp.spread(spacing, d)
        elif "elastic" in drawn:
            sides = xp.convert_to_tensor(np.array(grid[::-1], "float32"))
            field = drawn["elastic"] * warp.spread(sides, d)
        else:
            return None
        return warp.bounded(field, grid, xp)

    def intensity(
        self, drawn: Mapping[str, Any], image: Any, xp: Any = warp.NUMPY
    ) -> Any:
        """Changes grey values of -1 to 1.

        Blur, gamma, contrast, shift, scale, noise, clipping, the erased box, in this
        order.

        Args:
            drawn: What `draw` drew.
            image: Array `(..., *grid)`.
            xp: The library, see `draw`.
        """
        d = len(image.shape) - len(drawn["intensity_shift"].shape)

        def of(name):
            return warp.spread(drawn[name], d)

        if "blur" in drawn:
            image = _blurred(image, drawn["blur"], d, xp)
        if "gamma" in drawn:
            share = xp.clip(image * 0.5 + 0.5, 1e-6, 1.0)
            image = share ** of("gamma") * 2.0 - 1.0
        if "contrast" in drawn:
            mean = xp.mean(image, axis=tuple(range(-d, 0)), keepdims=True)
            image = (image - mean) * of("contrast") + mean
        image = (image + of("intensity_shift")) * of("intensity_scale")
        if "noise" in drawn:
            image = image + drawn["noise"]
        if self.clip:
            image = xp.clip(image, -1.0, 1.0)
        if "erase_box" in drawn:
            sizes, inside = image.shape[-d:], True
            for k, place in enumerate(warp.grid_axes(sizes, xp)):
                low, high = (
                    warp.spread(drawn["erase_box"][..., side, k] * sizes[-1 - k], d)
                    for side in (0, 1)
                )
                inside = (place >= low) & (place < high) & inside
            image = xp.where(inside, of("erase_value"), image)
        return image

    def apply(
        self,
        drawn: Mapping[str, Any],
        image: Any,
        points: Any,
        affine: Any,
        pairs: Sequence[tuple[int, int]] = (),
        xp: Any = warp.KERAS,
    ) -> tuple[Any, dict[str, Any]]:
        """Augments images that lie on their grid: a batch on the device, or one.

        The image is interpolated a second time here. `pipeline.training_batches` does
        it once, from the source image.

        Args:
            drawn: What `draw` drew for this grid and batch.
            image: float32 array `(..., *grid, 1)`.
            points: float32 array `(..., N, D)` in pixels of the grid.
            affine: float32 array `(..., D + 1, D + 1)`, from those to millimetres.
            pairs: Pairs of landmarks that change places in a mirror image.
            xp: The library, see `draw`.

        Returns:
            `(image, {"points", "affine"})`, a training element or a batch of them.
        """
        d = points.shape[-1]
        grid = tuple(image.shape[-1 - d : -1])
        spacing = warp.aspect_of(affine, xp)
        size = xp.convert_to_tensor(np.array(grid[::-1], "float32"))
        back = self.affine(drawn, grid, spacing, size, xp)
        elastic = self.elastic_displacements(drawn, grid, spacing, xp)
        bordered = warp.pad_border(image[..., 0], d, -1.0, xp)
        places = warp.lattice(back, grid, elastic, xp)
        image = self.intensity(drawn, warp.interpolate(bordered, places, xp), xp)
        points = warp.invert_map(back, points, grid, elastic, xp)
        if "flip" in drawn:
            points = swap_pairs(points, drawn["flip"], pairs, xp)
        affine = xp.contract(affine, back)
        return image[..., None], {"points": points, "affine": affine}

    def _rotation(self, unit, d, xp):
        """A matrix `(..., D, D)`, from one number or three of -1 to 1."""
        if self.any_rotation and d == 3:
            return _random_rotation(unit, xp)
        angle = unit * (math.pi if self.any_rotation else self.rotation)
        cos, sin = xp.cos(angle), xp.sin(angle)
        if d == 2:
            c, s = cos[..., 0], sin[..., 0]
            return _matrix([[c, -s], [s, c]], xp)
        (cx, cy, cz), (sx, sy, sz) = (
            [values[..., k] for k in range(3)] for values in (cos, sin)
        )
        return _matrix(
            [
                [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
                [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
                [-sy, cy * sx, cy * cx],
            ],
            xp,
        )

    def _box(self, unit, d, xp):
        """Two corners `(..., 2, D)` as shares of the grid, and a grey value."""
        share = unit * 0.5 + 0.5
        center, side = share[..., :d], share[..., d : 2 * d] * self.erase_size
        there = xp.cast(share[..., 2 * d] < self.erase, "float32")
        half = 0.5 * side * there[..., None]
        box = xp.stack([center - half, center + half], axis=-2)
        return box, unit[..., 2 * d + 1]


def swap_pairs(
    points: Any, flip: Any, pairs: Sequence[tuple[int, int]], xp: Any
) -> Any:
    """Lets landmarks change places with their partners in mirror images.

    Args:
        points: Array `(..., N, D)`.
        flip: Array `(...)`, 1 for a mirror image, 0 for none.
        pairs: The pairs of a `LandmarkSchema`.
        xp: The library, see `Augmentation.draw`.
    """
    order = np.arange(points.shape[-2])
    for left, right in pairs:
        order[[left, right]] = right, left
    swapped = xp.take(points, xp.convert_to_tensor(order), axis=-2)
    return xp.where(warp.spread(flip, 2) > 0.5, swapped, points)


def _matrix(rows, xp):
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def _random_rotation(unit, xp):
    """Uniform on SO(3): a unit quaternion from three even numbers.

    Shoemake: Uniform random rotations, Graphics Gems III, 1992.
    """
    first = unit[..., 0] * 0.5 + 0.5
    near, far = xp.sqrt(1.0 - first), xp.sqrt(first)
    a, b = unit[..., 1] * math.pi, unit[..., 2] * math.pi
    x, y = near * xp.sin(a), near * xp.cos(a)
    z, w = far * xp.sin(b), far * xp.cos(b)
    return _matrix(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        xp,
    )


def _blurred(image, sigma, d, xp):
    """Smooths with a Gaussian whose weights are those of the pixels that are there."""
    sigma = warp.spread(xp.maximum(sigma, 0.05), 3)
    for axis in range(d):
        place = np.arange(image.shape[axis - d], dtype="float32")
        distance = xp.convert_to_tensor(place[:, None] - place)
        weights = xp.exp(-0.5 * (distance / sigma) ** 2)
        weights = weights / xp.sum(weights, axis=-1, keepdims=True)
        image = warp.along_axis(weights, image, axis, d, xp, xp.matmul)
    return image
