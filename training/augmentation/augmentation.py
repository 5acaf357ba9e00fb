import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras import warp
from scn_keras.training.augmentation._built_in import (
    IN_ORDER_OF_DRAWING,
    IN_ORDER_OF_GREY_VALUES,
    POSE,
    numbers_of,
)
from scn_keras.training.augmentation._lists import settings_of, user_defined
from scn_keras.training.augmentation._pose import Pose
from scn_keras.training.augmentation._user_transforms import (
    draw_user_parameters,
    with_user_parameters,
)
from scn_keras.training.augmentation._validation import validate_transform
from scn_keras.training.augmentation.elastic import Elastic
from scn_keras.training.augmentation.flip import swap_pairs
from scn_keras.training.augmentation.geometric_transform import GeometricTransform
from scn_keras.training.augmentation.intensity_transform import IntensityTransform
from scn_keras.training.augmentation.transform import Transform


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of position, shape and grey value of images and volumes.

    An augmentation contains the arguments of the built-in transforms and a list of
    user-defined transforms. `draw` draws parameters, the other methods apply them.
    Parameters can therefore be inspected, stored and applied again, with NumPy, in a
    `tf.data` graph or on the device.

    A point of the image is scaled, mirrored, rotated about the centre of the grid and
    translated. User-defined geometric transforms are applied next, and the inverse of
    the elastic deformation last. Grey values are changed by blur, gamma, contrast,
    shift, scale, noise, clipping and erasing, then by user-defined transforms. Unless
    stated otherwise, x means uniform in [-x, x]; 0 disables the transform.

    Args:
        translation: Float, the shift along each axis as a fraction of the grid's size.
        rotation: Float, radians; for a volume about each axis (x, then y, then z).
        scale: Float below 1; 0.2 for a common factor of all axes from 0.8 to 1.2.
        scale_per_axis: Float below 1, the same for an independent factor of each axis.
        intensity_shift: Float, added to grey values from -1 to 1.
        intensity_scale: Float below 1; 0.25 for factors from 0.75 to 1.25, applied
            after the shift.
        translation_mm: Float, the shift in millimetres; `translation` must then be 0.
        any_rotation: Bool, whether orientations are uniform over all angles of an image
            or over SO(3) for a volume, instead of limited by `rotation`.
        crop: Str, the axes of `"xyz"` along which a grid that is smaller than the image
            is placed at a random position.
        flip: Float, the probability of mirroring in x. Left and right landmarks are
            exchanged, which requires a schema with `pairs`.
        elastic: Float, the displacement of each control point of a cubic B-spline along
            each axis as a fraction of the grid's size. It is limited to 0.48 of their
            distance (0.40 for volumes), so that the deformation cannot fold.
        elastic_mm: Float, the displacement in millimetres; `elastic` must then be 0.
        elastic_points: Int, at least 4, control points per axis. As in the reference,
            the default of 5 includes one outside the grid on each side.
        blur: Float, the maximum standard deviation of a Gaussian, pixels of the grid.
        gamma: Float; 0.5 to raise grey values, rescaled to [0, 1], to a power from
            e^-0.5 to e^0.5.
        contrast: Float below 1; 0.25 to scale the deviation from the mean by a factor
            from 0.75 to 1.25.
        noise: Float, the maximum standard deviation of white noise, in grey values.
        clip: Bool, whether grey values are limited to -1 to 1.
        erase: Float, the probability of a box filled with one random grey value.
        erase_size: Float up to 1, the maximum side of the box relative to the grid's.
        transforms: Sequence of user-defined transforms in the order of application,
            each in any form that `NamedTransform.of` accepts: a function `f(image,
            parameters, xp, **arguments)`, with float32 parameters uniform in [-1, 1] of
            shape `(..., f.num_parameters)`, 1 without that attribute; an instance of a
            class that derives from `IntensityTransform` or `GeometricTransform`; or a
            name `"module:attribute"`, alone or as `{"name": ..., "arguments": {...}}`.
            Stored as a tuple of `NamedTransform`.

    Raises:
        ValueError: If an argument is out of its range, or two contradict each other.

    Example:

    >>> from scn_keras.training.augmentation import Augmentation
    >>> augmentation = Augmentation(rotation=0.2)
    >>> drawn = augmentation.draw(7, (480, 384))
    >>> augmentation.affine(drawn, (480, 384)).shape
    (3, 3)

    A user-defined transform with one parameter for each image:

    ```python
    def darken(image, parameters, xp, strength=0.2):
        offset = strength * (parameters[..., 0] + 1.0) / 2.0
        # The number of axes of the grid, for a single image and for a batch.
        d = len(image.shape) - len(offset.shape)
        return image - scn_keras.warp.add_axes(offset, d)

    augmentation = Augmentation(rotation=0.2, transforms=[darken])
    ```
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
    transforms: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        _ = self._built_in  # validates the arguments
        object.__setattr__(self, "transforms", user_defined(self.transforms))

    @classmethod
    def from_list(cls, transforms: Sequence[Any]) -> "Augmentation":
        """Creates an augmentation with only the given transforms.

        Built-in transforms that are not in the list are disabled. Without `Clip`, grey
        values are therefore not limited. Built-in transforms are applied in the order
        of `Augmentation`, before user-defined ones, regardless of the order given.

        Args:
            transforms: Sequence of built-in and user-defined transforms, each in any
                form that `NamedTransform.of` accepts.

        Raises:
            ValueError: If a built-in transform occurs twice, or an item is not a
                transform.

        Example:

        >>> from scn_keras.training.augmentation import Augmentation, Gamma, Rotation
        >>> augmentation = Augmentation.from_list([Rotation(0.2), Gamma(0.3)])
        >>> augmentation.rotation, augmentation.gamma, augmentation.scale
        (0.2, 0.3, 0.0)
        """
        numbers, others = settings_of(transforms)
        return cls(**numbers, transforms=others)

    @classmethod
    def cephalogram(cls) -> "Augmentation":
        """Returns the ranges of Payer et al. (MedIA 54, 2019) for cephalograms."""
        return cls(translation=0.0, translation_mm=10.0, elastic_mm=10.0)

    @classmethod
    def hand(cls, size: int = 256) -> "Augmentation":
        """Returns the reference's ranges for hands, on a grid of `size` x `size`.

        In the reference, the translation is 10 pixels of the grid and the elastic
        displacement 20, regardless of the size of the grid.
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
        """Returns the reference's ranges for CT of the spine, on a grid of 2 mm.

        In the reference, the control points cover the whole image, here the grid.
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

        In one library, the same seed gives the same parameters. User-defined transforms
        use derived seeds, so that they do not change the parameters of built-in ones.
        (A `SeedGenerator`, in contrast, advances with each transform.)

        Args:
            seed: One or several ints for NumPy, int32 `(2,)` for TensorFlow, an int or
                a `keras.random.SeedGenerator` for Keras.
            grid: Sequence of D ints, the sizes of the grid in array order.
            xp: The array namespace: `NUMPY`, `KERAS`, or `TENSORFLOW` in graphs of
                `tf.data`, see `scn_keras.array_api`.
            batch: Sequence of ints, the leading sizes of all parameters.

        Returns:
            Dict of float32 arrays, without those of disabled transforms. Names of
            user-defined transforms begin with `transforms.` and their number.
        """
        transforms = [self._built_in[kind] for kind in IN_ORDER_OF_DRAWING]
        counts = [transform.count(len(grid)) for transform in transforms]
        numbers = xp.cast(xp.uniform(seed, (*batch, sum(counts))), "float32")
        drawn: dict[str, Any] = {}
        first = 0
        for transform, count in zip(transforms, counts, strict=True):
            unit = numbers[..., first : first + count]
            drawn |= transform.draw(unit, grid, xp, seed)
            first += count
        return drawn | draw_user_parameters(self.transforms, seed, grid, xp, batch)

    def affine(
        self,
        drawn: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any = None,
        size: Any = None,
        xp: Any = warp.NUMPY,
    ) -> Any:
        """Returns the map from the grid to the grid before augmentation.

        Args:
            drawn: Mapping, the result of `draw`.
            grid: Sequence of D ints, the sizes of the grid in array order.
            spacing: Array `(..., D)`, x, y(, z) mm per pixel of the grid; `None` for a
                spacing of 1 mm.
            size: Array `(..., D)`, the size of the image in x, y(, z) in pixels of the
                grid, for `crop`.
            xp: The array namespace, see `draw`.

        Returns:
            Array `(..., D + 1, D + 1)`.
        """
        pose = Pose()
        for kind in POSE:
            pose = self._built_in[kind].place(pose, drawn, grid, spacing, size, xp)
        result = pose.affine(grid, spacing, xp)
        for transform, parameters in self._user_defined(
            GeometricTransform, drawn, len(grid)
        ):
            after = transform.affine(parameters, grid, spacing, size, xp)
            if after is not None:
                result = xp.contract(result, after)
        return result

    def elastic_displacements(
        self,
        drawn: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any = None,
        xp: Any = warp.NUMPY,
    ) -> Any:
        """Returns the displacements of the control points, or `None` if there are none.

        Args:
            drawn, grid, spacing, xp: See `affine`.

        Returns:
            Array `(..., D, *n)` in pixels of the grid, see `warp.sampling_grid`.
        """
        d = len(grid)
        fields = [self._built_in[Elastic].displacements(drawn, grid, spacing, xp)]
        for transform, parameters in self._user_defined(GeometricTransform, drawn, d):
            fields.append(transform.displacements(parameters, grid, spacing, xp))
        fields = [field for field in fields if field is not None]
        if not fields:
            return None
        counts = [tuple(field.shape[-d:]) for field in fields]
        if len(set(counts)) > 1:
            raise ValueError(
                "Elastic transforms must have the same number of control points. "
                f"Received: {' and '.join(map(str, counts))}"
            )
        return warp.bounded(sum(fields[1:], fields[0]), grid, xp)

    def intensity(
        self, drawn: Mapping[str, Any], image: Any, xp: Any = warp.NUMPY
    ) -> Any:
        """Applies the transforms of grey values.

        The order is blur, gamma, contrast, shift, scale, noise, clipping, erasing and
        user-defined transforms.

        Args:
            drawn: Mapping, the result of `draw`.
            image: Array `(..., *grid)`, grey values from -1 to 1.
            xp: The array namespace, see `draw`.
        """
        d = len(image.shape) - len(drawn["intensity_shift"].shape)
        for kind in IN_ORDER_OF_GREY_VALUES:
            image = self._built_in[kind].apply(image, drawn, xp)
        for transform, parameters in self._user_defined(IntensityTransform, drawn, d):
            image = transform.apply(image, parameters, xp)
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
        """Augments images that are already on the grid, a batch or a single one.

        This interpolates the image a second time. `pipeline.training_batches`
        interpolates it only once, from the source image.

        Args:
            drawn: Mapping, the result of `draw` for this grid and batch.
            image: float32 array `(..., *grid, 1)`.
            points: float32 array `(..., N, D)` in pixels of the grid.
            affine: float32 array `(..., D + 1, D + 1)`, from the grid to millimetres.
            pairs: Pairs of landmarks that are exchanged in mirrored images.
            xp: The array namespace, see `draw`.

        Returns:
            `(image, {"points", "affine"})`, a training element or a batch of them.
        """
        d = points.shape[-1]
        grid = tuple(image.shape[-1 - d : -1])
        spacing = warp.aspect_of(affine, xp)
        size = xp.convert_to_tensor(np.array(grid[::-1], "float32"))
        to_original = self.affine(drawn, grid, spacing, size, xp)
        elastic = self.elastic_displacements(drawn, grid, spacing, xp)
        padded = warp.pad_border(image[..., 0], d, -1.0, xp)
        coordinates = warp.sampling_grid(to_original, grid, elastic, xp)
        image = self.intensity(drawn, warp.interpolate(padded, coordinates, xp), xp)
        points = warp.invert_map(to_original, points, grid, elastic, xp)
        if "flip" in drawn:
            points = swap_pairs(points, drawn["flip"], pairs, xp)
        affine = xp.contract(affine, to_original)
        return image[..., None], {"points": points, "affine": affine}

    def validate(self, grid: Sequence[int]) -> None:
        """Validates user-defined transforms by applying them to a small test batch.

        `fit` calls this method before the training.

        Args:
            grid: Sequence of D ints, the sizes of the grid in array order.

        Raises:
            ValueError: If a transform does not exist, fails or returns an unexpected
                result.
            ImportError: If the module of a transform cannot be imported.
        """
        for named in self.transforms:
            validate_transform(named, grid)
        if self.transforms:
            self.elastic_displacements(self.draw(0, grid), grid)

    def code(self) -> tuple[Any, ...]:
        """Returns the functions and classes of the user-defined transforms.

        Raises:
            ValueError: If a function or class does not exist.
            ImportError: If the module of a transform cannot be imported.
        """
        return tuple(named.code() for named in self.transforms)

    @functools.cached_property
    def _built_in(self) -> dict[type[Any], Any]:
        return {
            kind: kind(**{name: getattr(self, name) for name in numbers_of(kind)})
            for kind in IN_ORDER_OF_DRAWING
        }

    def _user_defined(
        self, kind: type[Transform], drawn: Mapping[str, Any], dimensions: int
    ) -> list[tuple[Any, dict[str, Any]]]:
        pairs = with_user_parameters(self.transforms, drawn, dimensions)
        return [pair for pair in pairs if isinstance(pair[0], kind)]
