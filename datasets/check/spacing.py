from collections.abc import Iterator, Sequence

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

# mm, the longest side of an image: from a tenth of a millimetre under a microscope to
# a whole person, 2.5 m.
_EXTENT = (0.1, 2500.0)
# Pixels of a film are square; slices may be 20 times as thick as their pixels are wide.
_ANISOTROPY = {2: 1.5, 3: MAX_ANISOTROPY}
# Between a newborn and an adult a bone grows about threefold.
_MAX_RATIO = 3.0

_MIN_PRESENT = 0.8

_UNKNOWN = "unknown"
_USABLE = "usable"
_ANISOTROPIC = "anisotropic"
_IMPOSSIBLE = "impossible"


def find_spacing_problems(facts: Sequence[ImageFacts]) -> list[Finding]:
    """Finds impossible spacings, and those that differ from the others of the set.

    Errors are a spacing that is not positive or not a number, an image whose longest
    side is below 0.1 mm or above 2.5 m, and landmarks whose extent in mm is more than
    3 times as large or as small as that of the others. Notes are pixels that are 1.5
    times as long as wide (3D: 20 times), an image without a spacing where others have
    one, a set without any spacing, landmarks that span 3 times as large or as small a
    part of an image without a spacing as in the others, and, for images without
    landmarks, a spacing more than 3 times as large or small as the set's median.
    Landmarks are compared where four fifths of them are present.

    Args:
        facts: Sequence of `ImageFacts`.
    """
    findings = [finding for fact in facts for finding in _check_image(fact)]
    usable = [fact for fact in facts if _state(fact) == _USABLE]
    unknown = [fact for fact in facts if _state(fact) == _UNKNOWN]
    if len(unknown) == len(facts) > 0:
        findings.append(
            Finding(
                NOTE,
                SPACING,
                "No image has a spacing.",
                "Errors will be in pixels. Where the size of a pixel is known, set "
                "`spacing` under [files] in landmarks.toml, in mm.",
                tuple(fact.case.id for fact in facts),
            )
        )
    elif usable:
        findings += [
            _finding(fact, NOTE, "The image has no spacing, but others have one.", "")
            for fact in unknown
        ]
    if len(unknown) >= 3:
        findings += _compare_extents(unknown)
    if len(usable) >= 3:
        findings += _compare_images(usable)
    return findings


def _check_image(fact: ImageFacts) -> Iterator[Finding]:
    if _state(fact) == _IMPOSSIBLE:
        what = "The spacing is impossible."
        yield _finding(fact, ERROR, what, f"{_text(spacing_of(fact.affine))} mm.")
    elif _state(fact) in (_USABLE, _ANISOTROPIC):
        spacing = spacing_of(fact.affine)
        extent = float((spacing * fact.size).max())
        if not _EXTENT[0] <= extent <= _EXTENT[1]:
            detail = f"{_text(spacing)} mm: the image would be {extent:.3g} mm long."
            yield _finding(fact, ERROR, "The spacing is impossible.", detail)
        ratio = float(spacing.max() / spacing.min())
        if ratio > _ANISOTROPY[len(spacing)]:
            detail = f"{_text(spacing)} mm, a ratio of {ratio:.3g}."
            if ratio > MAX_ANISOTROPY:
                detail += " No millimetres are computed from it."
            yield _finding(fact, NOTE, "The pixels are far from square.", detail)


def _compare_images(usable: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Finds images of another scale than most, by their landmarks or their spacing."""
    spacings = np.array([np.exp(np.log(spacing_of(f.affine)).mean()) for f in usable])
    diameters = np.array([_diameter(fact) for fact in usable])
    typical = np.nanmedian(diameters) if np.isfinite(diameters).any() else np.nan
    spacing_ratios = spacings / np.median(spacings)
    for fact, spacing_ratio, diameter in zip(
        usable, spacing_ratios, diameters, strict=True
    ):
        ratio = diameter / typical
        if np.isfinite(ratio):
            if not 1.0 / _MAX_RATIO <= ratio <= _MAX_RATIO:
                what = "The landmarks span another size than in the other images."
                detail = f"They span {diameter:.3g} mm, {_times(ratio)} the usual size."
                yield _finding(fact, ERROR, what, detail)
        elif not 1.0 / _MAX_RATIO <= spacing_ratio <= _MAX_RATIO:
            what = "The spacing differs from that of the others."
            numbers = _text(spacing_of(fact.affine))
            detail = f"{numbers} mm, {_times(spacing_ratio)} the usual spacing."
            yield _finding(fact, NOTE, what, detail)


def _compare_extents(unknown: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Finds images of which the landmarks cover another part than of most."""
    extents = np.array([_diameter(fact) / max(fact.size) for fact in unknown])
    if not np.isfinite(extents).any():
        return
    typical = np.nanmedian(extents)
    for fact, extent in zip(unknown, extents, strict=True):
        if np.isfinite(extent) and not 1.0 / _MAX_RATIO <= extent / typical <= (
            _MAX_RATIO
        ):
            what = "The landmarks span another part of the image than in the others."
            detail = (
                f"They span {100 * extent:.2g} %, {_times(extent / typical)} the usual "
                "part. Are they in the same unit, of the same image?"
            )
            yield _finding(fact, NOTE, what, detail)


def _state(fact: ImageFacts) -> str:
    d = len(fact.size)
    # Off the diagonal, an affine of unknown spacing may have zeros.
    if np.isnan(fact.affine[:d, :d]).any():
        return _UNKNOWN
    if has_usable_spacing(fact.affine, NUMPY):
        return _USABLE
    # Slices that are too far apart are reported as such, in `_check_image`.
    spacing = spacing_of(fact.affine)
    too_thick = np.max(spacing) > MAX_ANISOTROPY * np.min(spacing) > 0.0
    return _ANISOTROPIC if too_thick else _IMPOSSIBLE


def _diameter(fact: ImageFacts) -> float:
    """Twice the root mean square radius of the landmarks; NaN for too few.

    In mm, without a spacing in pixels.
    """
    for readings in fact.readings.values():
        points = readings[0].points
        if _state(fact) != _UNKNOWN:
            points = apply_affine(fact.affine, points)
        present = points[~np.isnan(points).any(axis=-1)]
        # Few of many landmarks span less, whatever the spacing.
        if len(present) > max(2.0, _MIN_PRESENT * len(points)):
            centered = present - present.mean(axis=0)
            mean_square = np.square(centered).sum(axis=-1).mean()
            return float(np.sqrt(mean_square)) * 2.0 or np.nan
    return np.nan


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if ratio > 1.0 else f"1/{1.0 / ratio:.3g}"


def _text(spacing: np.ndarray) -> str:
    return " x ".join(f"{number:.4g}" for number in spacing)


def _finding(fact: ImageFacts, severity: str, what: str, detail: str) -> Finding:
    path = (str(fact.case.image_path),)
    return Finding(severity, SPACING, what, detail, (fact.case.id,), path)
