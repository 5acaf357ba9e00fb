from collections.abc import Iterator, Sequence

import numpy as np

from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.image_facts import ImageFacts
from scn_keras.datasets.identity.correlations import THRESHOLD, correlations

SAME_IMAGE = "same image"


def find_repeated_images(facts: Sequence[ImageFacts]) -> list[Finding]:
    """Finds images that occur twice, exactly or at another exposure.

    Two images are the same if their pixels are equal or their signatures correlate by
    0.7 or more. In two splits this is an error, whatever their patients: the test
    includes a training image. Within a split it is an error if they belong to two
    patients, because a later split by patient would separate them; otherwise it is a
    note.

    Args:
        facts: Sequence of `ImageFacts`.
    """
    return [_finding(*pair) for pair in _pairs(facts)]


def _pairs(
    facts: Sequence[ImageFacts],
) -> Iterator[tuple[ImageFacts, ImageFacts, float]]:
    pairs = {}
    for rank in {fact.signature.ndim for fact in facts}:
        members = [i for i, fact in enumerate(facts) if fact.signature.ndim == rank]
        table = correlations(np.stack([facts[i].signature for i in members]))
        for a, b in np.argwhere(np.triu(table) >= THRESHOLD):
            pairs[members[a], members[b]] = float(table[a, b])
    first_of: dict[str, int] = {}
    for index, fact in enumerate(facts):
        first_index = first_of.setdefault(fact.digest, index)
        if first_index != index:
            pairs[first_index, index] = 1.0
    for (a, b), correlation in sorted(pairs.items()):
        first, second = sorted((facts[a], facts[b]), key=lambda fact: fact.case.id)
        yield first, second, correlation


def _finding(first: ImageFacts, second: ImageFacts, correlation: float) -> Finding:
    a, b = first.case, second.case
    if a.split != b.split:
        severity = ERROR
        what = (
            f"The same image is in {a.split or 'no split'} and in {b.split or 'none'}."
        )
    elif a.group != b.group:
        severity, what = ERROR, "The same image occurs twice, for two patients."
    else:
        severity, what = NOTE, "The same image occurs twice."
    if first.digest == second.digest:
        detail = "All pixels are equal."
    else:
        detail = f"The correlation is {correlation:.2f}."
    return Finding(
        severity,
        SAME_IMAGE,
        what,
        detail,
        (a.id, b.id),
        (str(a.image_path), str(b.image_path)),
        views=(View(a), View(b)),
    )
