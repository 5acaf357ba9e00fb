from collections.abc import Sequence

import numpy as np

from scn_keras.datasets.check.annotation import Annotation, independent_annotations
from scn_keras.datasets.check.finding import ERROR, Finding, View
from scn_keras.datasets.check.image_facts import ImageFacts
from scn_keras.datasets.check.set_evidence import mean_strengths
from scn_keras.files.orientation import SHOWN, read_orientation, upright_affine
from scn_keras.geometry import apply_affine
from scn_keras.landmark_schema import LandmarkSchema

ORIENTATION = "orientation tag"

# In units of the smallest decisive difference, see `SetEvidence`.
_MIN_STRENGTH = 1.0

_STORED = (
    "The points fit the pixels as they are stored (as ImageJ counts them): turn both "
    "with `scn-keras turn FILE --points POINTS --out FOLDER`."
)
_TURNED = (
    "The points fit the turned image (as labelme and browsers show it): turn the image "
    "only, with `scn-keras turn FILE --out FOLDER`."
)
_UNCLEAR = (
    "The points fit the stored pixels and the turned image about as well: find out in "
    "which program they were placed."
)


def find_orientation_tags(
    facts: Sequence[ImageFacts], schema: LandmarkSchema
) -> tuple[list[Finding], list[ImageFacts]]:
    """Finds images with an orientation tag, and which orientation their points fit.

    Such files are refused elsewhere, since programs differ in whether they turn them.
    Points fit an orientation better if fewer are outside of the image, and if their
    surroundings have more contrast and resemble those in the other images more. Where
    the points of one image do not decide, those of all tagged images do.

    Args:
        facts: Sequence of `ImageFacts` of images as they are stored.
        schema: `LandmarkSchema`.

    Returns:
        A pair: the findings, and the facts without images of which the points are not
        those of the stored pixels.
    """
    tags = {id(fact): _tag(fact) for fact in facts}
    tagged = [fact for fact in facts if tags[id(fact)] != 1]
    if not tagged:
        return [], list(facts)
    annotations = independent_annotations(facts, schema)
    rows = [n for n, a in enumerate(annotations) if tags[id(a.facts)] != 1]
    moved = [
        _in_stored_pixels(a, tags[id(a.facts)]) if n in set(rows) else a.points
        for n, a in enumerate(annotations)
    ]
    strengths: dict[int, float] = {}
    if rows:
        of_rows = mean_strengths(annotations, moved)[rows]
        typical = float(np.mean(of_rows))
        for row, strength in zip(rows, of_rows.tolist(), strict=True):
            key = id(annotations[row].facts)
            decisive = abs(strength) >= _MIN_STRENGTH
            strengths.setdefault(key, strength if decisive else typical)
    findings, fitting = [], {id(fact) for fact in facts}
    for fact in tagged:
        detail = "It has no points."
        if (strength := strengths.get(id(fact))) is not None:
            detail = _UNCLEAR
            if abs(strength) >= _MIN_STRENGTH:
                detail = _TURNED if strength > 0 else _STORED
        if detail != _STORED:
            fitting.discard(id(fact))
        findings.append(_finding(fact, tags[id(fact)], detail))
    return findings, [fact for fact in facts if id(fact) in fitting]


def _tag(fact: ImageFacts) -> int:
    is_file = len(fact.size) == 2 and fact.case.image_path.is_file()
    return read_orientation(fact.case.image_path) if is_file else 1


def _in_stored_pixels(annotation: Annotation, tag: int) -> np.ndarray:
    """Points of the turned image in pixels of the stored one."""
    columns, rows = annotation.facts.size
    affine = upright_affine((columns, rows), tag)
    return apply_affine(np.linalg.inv(affine), annotation.points)


def _finding(fact: ImageFacts, tag: int, detail: str) -> Finding:
    what = f"The image has the orientation tag {tag}: viewers show it {SHOWN[tag]}."
    points = next(iter(fact.case.points.values()), None)
    return Finding(
        ERROR,
        ORIENTATION,
        f"{what} {detail}",
        "",
        (fact.case.id,),
        (str(fact.case.image_path),),
        views=(View(fact.case, points),),
    )
