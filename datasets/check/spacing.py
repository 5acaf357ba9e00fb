from collections.abc import Sequence

import numpy as np

from scn_keras.array_api import NUMPY
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding
from scn_keras.datasets.check.image_facts import ImageFacts
from scn_keras.geometry import (
    MAX_ANISOTROPY,
    apply_affine,
    has_usable_spacing,
    spacing_of,
)

SPACING = "spacing"

# mm, of an image's longest side: from a tenth of a millimetre under a microscope to
# a whole person, 2.5 m.
_EXTENT = (0.1, 2500.0)
# A film's pixels are square; slices may be 20 times as thick as their pixels are wide.
_ANISOTROPY = {2: 1.5, 3: MAX_ANISOTROPY}
# Between a newborn and an adult a bone grows about threefold.
_OUTLIER = 3.0


def spacing(facts: Sequence[ImageFacts]) -> list[Finding]:
    """Finds spacings that cannot be, and such as differ from those of the set.

    Errors are a spacing that is not positive or not a number, an image whose
    longest side is below 0.1 mm or above 2.5 m, and landmarks that span over 3 times
    as much or as little as those of the others, in mm. Notes are pixels that are 1.5
    times as long as wide (3D: 20 times), an image that has no spacing where others
    have one, and, where there are no landmarks to judge by, a spacing over 3 times as
    large or small as the set's median.

    Args:
        facts: Sequence of `ImageFacts`.
    """
    found = [finding for fact in facts for finding in _of_one(fact)]
    usable = [fact for fact in facts if _state(fact) == "known"]
    unknown = [fact for fact in facts if _state(fact) == "unknown"]
    if usable:
        found += [
            _finding(fact, NOTE, "It has no spacing, and others have.", "")
            for fact in unknown
        ]
    if len(usable) < 3:
        return found
    spacings = np.array([np.exp(np.log(_spacing(f)).mean()) for f in usable])
    spans = np.array([_span(fact) for fact in usable])
    with np.errstate(invalid="ignore"):
        finer = spacings / np.median(spacings)
        larger = spans / (np.nanmedian(spans) if np.isfinite(spans).any() else np.nan)
    for fact, ratio, size, span in zip(usable, finer, larger, spans, strict=True):
        if np.isfinite(size):
            if not 1.0 / _OUTLIER <= size <= _OUTLIER:
                what = "The landmarks have another size than those of the others."
                detail = f"They span {span:.3g} mm, {_times(size)} as usual."
                found.append(_finding(fact, ERROR, what, detail))
        elif not 1.0 / _OUTLIER <= ratio <= _OUTLIER:
            what = "The spacing is unlike that of the others."
            detail = f"{_words(_spacing(fact))} mm, {_times(ratio)} as usual."
            found.append(_finding(fact, NOTE, what, detail))
    return found


def _of_one(fact: ImageFacts):
    if _state(fact) == "impossible":
        what = "The spacing is impossible."
        yield _finding(fact, ERROR, what, f"{_words(_spacing(fact))} mm.")
    elif _state(fact) in ("known", "anisotropic"):
        numbers = _spacing(fact)
        extent = float((numbers * fact.size).max())
        if not _EXTENT[0] <= extent <= _EXTENT[1]:
            detail = f"{_words(numbers)} mm: the image would be {extent:.3g} mm long."
            yield _finding(fact, ERROR, "The spacing is impossible.", detail)
        ratio = float(numbers.max() / numbers.min())
        if ratio > _ANISOTROPY[len(numbers)]:
            detail = f"{_words(numbers)} mm, a ratio of {ratio:.3g}."
            if ratio > MAX_ANISOTROPY:
                detail += " Millimetres are not computed with it."
            yield _finding(fact, NOTE, "The pixels are far from square.", detail)


def _state(fact):
    d = len(fact.size)
    linear = fact.affine[:d, :d]
    if np.isnan(linear).all():
        return "unknown"
    if has_usable_spacing(fact.affine, NUMPY):
        return "known"
    # Slices that are too far apart are reported as such, in `_of_one`.
    thin = np.max(_spacing(fact)) > MAX_ANISOTROPY * np.min(_spacing(fact)) > 0.0
    return "anisotropic" if thin else "impossible"


def _spacing(fact):
    return spacing_of(fact.affine)


def _span(fact):
    """The root mean square radius of the landmarks, in mm."""
    for readings in fact.readings.values():
        points = apply_affine(fact.affine, readings[0].points)
        here = points[~np.isnan(points).any(axis=-1)]
        if len(here) > 2:
            radius = np.square(here - here.mean(axis=0)).sum(axis=-1).mean()
            return float(np.sqrt(radius)) * 2.0 or np.nan
    return np.nan


def _times(ratio):
    return f"{ratio:.3g} times" if ratio > 1.0 else f"1/{1.0 / ratio:.3g}"


def _words(numbers):
    return " x ".join(f"{number:.4g}" for number in numbers)


def _finding(fact, severity, what, detail):
    path = (str(fact.case.image_path),)
    return Finding(severity, SPACING, what, detail, (fact.case.id,), path)
