from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from scn_keras.array_api import NUMPY
from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.reading import (
    LEFT_RIGHT,
    LPS_RAS,
    SWAPPED_AXES,
)
from scn_keras.geometry import apply_affine, has_usable_spacing, spacing_of

UPWARDS = "y upwards"
RELATIVE = "relative coordinates"
IMAGE_SIZE = "size of the image"
UNIT = "unit"
ORIGIN = "origin"
TURNED_IMAGES = "turned images"
# Kinds that multiply the points by a factor.
SCALES = (RELATIVE, IMAGE_SIZE, UNIT)

_SIZE_FACTORS = (2.0, 0.5, 4.0, 0.25, 3.0, 1.0 / 3.0, 8.0, 0.125)
# Sides of square images on which points are placed, or that networks take.
_SIDES = (224, 256, 512, 1024)
_RANGES = (
    (1.0, "fractions of the size of the image, 0 to 1"),
    (100.0, "percent of the size of the image"),
    (1000.0, "thousandths of the size of the image"),
)
_UNITS = (
    (10.0, "centimetres"),
    (1000.0, "metres"),
    (25.4, "inches"),
    (0.1, "tenths of a millimetre"),
    (0.001, "micrometres"),
)
_RELATIVE_ADVICE = "Multiply {} by the size of each image along its axis."


class SetReading(NamedTuple):
    """An error that all coordinates of a set may have, and how it is corrected.

    Attributes:
        kind: Str, a few words.
        what: Str, a sentence. Readings with the same sentence are compared over all
            annotations.
        points: Array `(N, D)`, the points of one annotation without the error.
        advice: Str, a sentence.
    """

    kind: str
    what: str
    points: np.ndarray
    advice: str


def set_readings(annotation: Annotation) -> Iterator[SetReading]:
    """Yields the points of an annotation with each of the usual errors of sets undone.

    Swapped axes, RAS for LPS, mirrored images, y upwards, relative coordinates, points
    of images of another size, units, other origins and turned images.

    Args:
        annotation: `Annotation`.
    """
    for reading in annotation.readings[1:]:
        if reading.kind == SWAPPED_AXES:
            advice = "Name the columns by what they contain."
        elif reading.kind == LPS_RAS:
            advice = "Correct the coordinate system in the files."
        elif reading.kind == LEFT_RIGHT:
            continue
        elif reading.what == "Mirrored along y.":
            what = "y is counted upwards from the lower edge of the image (as in TPS)."
            advice = "Replace y by the height of the image minus 1 minus y."
            yield SetReading(UPWARDS, what, reading.points, advice)
            continue
        else:
            advice = "Mirror the points, or the images."
        yield SetReading(reading.kind, reading.what, reading.points, advice)
    points, size = annotation.points, np.array(annotation.facts.size)
    yield from _relative(points, size)
    yield from _sizes(points, size)
    yield from _units(points, annotation.facts.affine)
    yield from _origins(points, size)
    if len(size) == 2:
        yield from _turned(points, size)


def scaled(annotation: Annotation, factor: float) -> SetReading:
    """Returns the points of an annotation at another scale.

    Args:
        annotation: `Annotation`.
        factor: Float.
    """
    what = f"The points fit the images if they are multiplied by about {factor:.2g}."
    advice = "Which images were they placed on, and in which unit?"
    points = factor * (annotation.points + 0.5) - 0.5
    return SetReading(IMAGE_SIZE, what, points, advice)


def _relative(points: np.ndarray, size: np.ndarray) -> Iterator[SetReading]:
    for unit, name in _RANGES:
        fractions = "the points" if unit == 1.0 else f"the points / {unit:g}"
        advice = _RELATIVE_ADVICE.format(fractions)
        in_pixels = points / unit * size - 0.5
        yield SetReading(RELATIVE, f"The points are {name}.", in_pixels, advice)
    what = "The points are relative to the centre of the image, -1 to 1."
    in_pixels = 0.5 * (points + 1.0) * size - 0.5
    advice = _RELATIVE_ADVICE.format("(the points + 1) / 2")
    yield SetReading(RELATIVE, what, in_pixels, advice)


def _sizes(points: np.ndarray, size: np.ndarray) -> Iterator[SetReading]:
    for factor in _SIZE_FACTORS:
        times = f"{1 / factor:g} times" if factor < 1.0 else f"1/{factor:g}"
        what = f"The points are those of images of {times} the size."
        advice = f"Multiply the points by {factor:.4g}."
        in_pixels = factor * (points + 0.5) - 0.5
        yield SetReading(IMAGE_SIZE, what, in_pixels, advice)
    for side in _SIDES:
        shape = " x ".join([str(side)] * len(size))
        what = f"The points are those of images that were resized to {shape}."
        advice = f"Multiply the points by the size of each image / {side}."
        in_pixels = (points + 0.5) * size / side - 0.5
        yield SetReading(IMAGE_SIZE, what, in_pixels, advice)


def _units(points: np.ndarray, affine: np.ndarray) -> Iterator[SetReading]:
    if not has_usable_spacing(affine, NUMPY):
        return
    spacing, inverse = spacing_of(affine), np.linalg.inv(affine)
    what = "The points are millimetres and were taken for pixels."
    lps = 'Set space = "LPS" under [files] in landmarks.toml, or name the columns _mm.'
    yield SetReading(UNIT, what, points / spacing, lps)
    what = "The points are in LPS and were taken for pixels."
    yield SetReading(UNIT, what, apply_affine(inverse, points), lps)
    what = "The points are pixels and were taken for millimetres."
    advice = 'Set space = "pixels" under [files] in landmarks.toml.'
    yield SetReading(UNIT, what, apply_affine(affine, points), advice)
    in_space = apply_affine(affine, points)
    for factor, name in _UNITS:
        what = f"The points are {name} and were taken for millimetres."
        advice = f"Multiply the points by {factor:g}."
        in_pixels = apply_affine(inverse, factor * in_space)
        yield SetReading(UNIT, what, in_pixels, advice)


def _origins(points: np.ndarray, size: np.ndarray) -> Iterator[SetReading]:
    center = 0.5 * (size - 1)
    up = np.where(np.arange(len(size)) == 1, -1.0, 1.0)
    what = (
        "y is counted upwards from the upper edge of the image, so that it is negative."
    )
    yield SetReading(UPWARDS, what, points * up, "Change the sign of y.")
    what = "The points are relative to the centre of the image, in pixels."
    advice = "Add half of the size of each image."
    yield SetReading(ORIGIN, what, points + center, advice)
    what = f"{what[:-1]}, with y upwards."
    advice = f"Change the sign of y. {advice}"
    yield SetReading(ORIGIN, what, points * up + center, advice)


def _turned(points: np.ndarray, size: np.ndarray) -> Iterator[SetReading]:
    x, y = points.T
    width, height = size
    turns = {
        "by 90 degrees clockwise": (y, height - 1 - x),
        "by 90 degrees anticlockwise": (width - 1 - y, x),
        "by 180 degrees": (width - 1 - x, height - 1 - y),
        "along the other diagonal": (width - 1 - y, height - 1 - x),
    }
    for turn, columns in turns.items():
        verb = "mirrored" if "diagonal" in turn else "turned"
        what = f"The points are those of images that were {verb} {turn}."
        advice = "Turn the points, or write turned images (`scn-keras turn`)."
        yield SetReading(TURNED_IMAGES, what, np.stack(columns, axis=-1), advice)
