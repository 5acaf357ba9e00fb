from collections.abc import Sequence

import numpy as np

from scn_keras.datasets.check.correlations import correlations
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.image_facts import ImageFacts

SAME_IMAGE = "same image"

# Halfway between the films that are in the cephalogram set twice (0.96 and more, some
# at another exposure) and the most similar ones of two people (0.43; hands 0.37, mouse
# skulls 0.24).
THRESHOLD = 0.7


def repeats(facts: Sequence[ImageFacts]) -> list[Finding]:
    """Finds images that are there twice, exactly or at another exposure.

    Two images are the same if their pixels are, or if their signatures correlate by
    0.7 or more. In two splits this is an error, whatever patient they are said to be
    of: what is tested was trained on. Within a split it is one if they are said to
    be of two patients, because a later split by patient would part them; else a note.

    Args:
        facts: Sequence of `ImageFacts`.
    """
    return [_finding(*pair) for pair in _pairs(facts)]


def _pairs(facts):
    pairs = {}
    for rank in {f.signature.ndim for f in facts}:
        members = [i for i, f in enumerate(facts) if f.signature.ndim == rank]
        table = correlations(np.stack([facts[i].signature for i in members]))
        for a, b in np.argwhere(np.triu(table) >= THRESHOLD):
            pairs[members[a], members[b]] = float(table[a, b])
    seen: dict[str, int] = {}
    for index, fact in enumerate(facts):
        first = seen.setdefault(fact.digest, index)
        if first != index:
            pairs[first, index] = 1.0
    for (a, b), correlation in sorted(pairs.items()):
        first, second = sorted((facts[a], facts[b]), key=lambda f: f.case.id)
        yield first, second, correlation


def _finding(first: ImageFacts, second: ImageFacts, correlation: float) -> Finding:
    a, b = first.case, second.case
    if a.split != b.split:
        severity = ERROR
        what = (
            f"The same image is in {a.split or 'no split'} and in {b.split or 'none'}."
        )
    elif a.group != b.group:
        severity, what = ERROR, "The same image is there twice, as of two patients."
    else:
        severity, what = NOTE, "The same image is there twice."
    if first.digest == second.digest:
        detail = "Every pixel is the same."
    else:
        detail = f"They correlate by {correlation:.2f}."
    return Finding(
        severity,
        SAME_IMAGE,
        what,
        detail,
        (a.id, b.id),
        (str(a.image_path), str(b.image_path)),
        views=(View(a), View(b)),
    )
