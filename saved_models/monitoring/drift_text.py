"""Sentences on the result of `find_drift`."""

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = 4
_WORDS = {
    "score": ("scores are", "lower", "higher"),
    "radius": ("radii are", "smaller", "larger"),
}


def reasons(result: Mapping[str, Any], names: Sequence[str] = ()) -> list[str]:
    """Returns a sentence for each kind of change that is not explained by chance.

    Args:
        result: Mapping, see `find_drift`.
        names: Sequence of str, the landmarks; numbers are used without.
    """
    alpha, sentences = 0.5 * result["alpha"], []
    changed = [q for q in result["quantities"] if q["p"] <= alpha]
    for quantity in changed:
        if quantity["quantity"] == "not trusted":
            sentences.append(f"{trusted_text(result)}.")
        if quantity["quantity"] == "novelty":
            sentences.append(
                f"The median novelty is {quantity['value']:.2f} instead of "
                f"{quantity['reference']:.2f}, where 1 is the limit of trust."
            )
    for kind in _WORDS:
        sentences += _of_landmarks(
            [q for q in changed if q["quantity"] == kind], kind, result, names
        )
    sentences += _of_batches(result, alpha)
    return sentences


def verdict(result: Mapping[str, Any]) -> str:
    """Returns one sentence on the result."""
    n, alpha = result["n_images"], f"{100.0 * result['alpha']:g} %"
    reference = result["reference"]
    against = {
        "answers": f"the {reference['n_images']} answers of the baseline",
        "calibration": "the calibration",
    }[reference["kind"]]
    if result["drift"]:
        return (
            f"Drift: the {n} answers differ from {against}. By chance alone, this "
            f"happens in at most {alpha} of comparisons."
        )
    return (
        f"No drift found: the {n} answers do not differ from {against} by more than "
        f"chance explains. Small changes need more answers to be found."
    )


def trusted_text(result: Mapping[str, Any]) -> str:
    """Returns how many images are not trusted, without a full stop."""
    trusted = result["trusted"]
    low, high = trusted["ci95_percent"]
    expected = f"{trusted['expected_percent']:.1f} %"
    where = {
        "answers": f"{expected} in the baseline",
        "calibration": f"{expected} are expected",
    }[result["reference"]["kind"]]
    return (
        f"{trusted['not_trusted']} of {trusted['n_images']} images "
        f"({trusted['percent']:.1f} %, 95 % interval {low:.1f}–{high:.1f}) are not "
        f"trusted; {where}"
    )


def _of_landmarks(changed, kind, result, names):
    what, lower, higher = _WORDS[kind]
    unit = f" {result['unit']}" if kind == "radius" else ""
    sentences = []
    for word, sign in ((lower, -1), (higher, 1)):
        rows = [q for q in changed if sign * (q["value"] - q["reference"]) > 0]
        if not rows:
            continue
        rows.sort(key=lambda q: -abs(q["value"] / max(q["reference"], 1e-9) - 1.0))
        shown = "; ".join(
            f"{landmark_name(q['landmark'], names)} {q['value']:.2f}{unit} instead of "
            f"{q['reference']:.2f}"
            for q in rows[:_SHOWN]
        )
        more = len(rows) - _SHOWN
        total = sum(q["quantity"] == kind for q in result["quantities"])
        sentences.append(
            f"The {what} {word} for {len(rows)} of {total} landmarks: {shown}"
            f"{f'; and {more} more' if more > 0 else ''}."
        )
    return sentences


def _of_batches(result, alpha):
    batches, counts, first = result["batches"], [], []
    for name, p_values in batches["p"].items():
        numbers = [k for k, p in enumerate(p_values) if p <= alpha]
        if numbers:
            counts.append(f"{_OF_BATCHES[name]} in {len(numbers)}")
            first.append(numbers[0])
    if not counts:
        return []
    begin, end = batches["slices"][min(first)]
    return [
        f"Of {len(batches['slices'])} successive batches, outside of the limits are: "
        f"{', '.join(counts)}; the first with the images {begin + 1} to {end}."
    ]


_OF_BATCHES = {
    "not trusted": "the percentage not trusted",
    "novelty": "the mean novelty",
    "score": "the mean score",
    "radius": "the mean radius",
}


def landmark_name(index: int, names: Sequence[str]) -> str:
    """Returns the name of a landmark, or its number from 1 if it is not known."""
    return names[index] if names else f"landmark {index + 1}"
