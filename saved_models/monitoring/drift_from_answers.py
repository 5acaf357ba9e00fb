"""Comparison of answers with earlier answers of the same model."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from scn_keras.saved_models.monitoring.answers import Answers
from scn_keras.saved_models.monitoring.batches import batch_slices, batch_values

_MIN_PERMUTATIONS = 1999
_CHUNK_VALUES = 2**20  # images that are permuted at a time


def compare_with_answers(
    answers: Answers, baseline: Answers, alpha: float, batch_size: int
) -> dict[str, Any]:
    """Returns what `find_drift` adds for earlier answers as the reference."""
    unit, radii = _radii(baseline, answers)
    quantities, columns = _columns(baseline, answers, radii)
    n0, n = len(baseline), len(baseline) + len(answers)
    ranks = _standardised(np.stack([_midranks(x) for x in columns], axis=1))
    per_image = _joined(
        batch_values(baseline, baseline.score, radii[0]),
        batch_values(answers, answers.score, radii[1]),
    )
    values = np.stack([*per_image.values()], axis=1)
    scaled = _standardised(values)
    slices = batch_slices(len(answers), batch_size)
    observed = np.arange(n)[None]
    whole = _rank_sums(ranks, observed, n0)[0]
    parts = _batch_deviations(scaled[observed], n0, slices)[0]
    most_whole, most_parts = [], []
    for order in _permutations(n, alpha):
        most_whole.append(np.abs(_rank_sums(ranks, order, n0)).max(axis=1))
        deviations = np.abs(_batch_deviations(scaled[order], n0, slices))
        most_parts.append(deviations.max(axis=(1, 2)))
    null_whole, null_parts = map(np.concatenate, (most_whole, most_parts))
    for quantity, p in zip(quantities, _p_values(whole, null_whole), strict=True):
        quantity["p"] = float(p)
    critical = float(np.quantile(null_parts, 1.0 - 0.5 * alpha, method="higher"))
    deviation = values.std(axis=0)
    center = values[:n0].mean(axis=0)
    sizes = np.array([part.stop - part.start for part in slices])
    widths = critical * np.sqrt(1.0 / sizes + 1.0 / n0)
    names = [*per_image]
    new = values[n0:]
    tested = len(slices) > 1
    return {
        "reference": {
            "kind": "answers",
            "n_images": n0,
            "radii_calibrated_on": "; ".join(baseline.sources) or None,
        },
        "unit": unit,
        "quantities": quantities,
        "batches": {
            "slices": [[part.start, part.stop] for part in slices],
            "values": {
                name: [float(new[part, k].mean()) for part in slices]
                for k, name in enumerate(names)
            },
            "reference": {name: float(center[k]) for k, name in enumerate(names)},
            "limits": {
                name: [
                    [float(center[k] - d), float(center[k] + d)]
                    for d in widths * deviation[k]
                ]
                for k, name in enumerate(names)
                if tested
            },
            "p": {
                name: _p_values(parts[:, k], null_parts).tolist()
                for k, name in enumerate(names)
                if tested
            },
        },
    }


def _radii(*both):
    """Returns the unit in which all radii are known, and the radii of both answers."""
    unit: str | None = "mm"
    for part in both:
        if (np.isfinite(part.radius90_px) & ~np.isfinite(part.radius90_mm)).any():
            unit = "px"
    radii = [getattr(part, f"radius90_{unit}") for part in both]
    if not all(np.isfinite(part).any() for part in radii):
        unit = None
    return unit, radii


def _columns(baseline, answers, radii):
    """Returns what is compared, and the values of the baseline and of the answers."""
    candidates: list[tuple[str, int | None, np.ndarray, np.ndarray]] = [
        ("not trusted", None, 1.0 - baseline.trusted, 1.0 - answers.trusted),
        ("novelty", None, baseline.novelty, answers.novelty),
    ]
    for quantity, first, second in (
        ("score", baseline.score, answers.score),
        ("radius", *radii),
    ):
        candidates += [
            (quantity, index, first[:, index], second[:, index])
            for index in range(first.shape[1])
        ]
    quantities, columns = [], []
    for quantity, landmark, first, second in candidates:
        if np.isnan(first).all() or np.isnan(second).all():
            continue
        typical = np.nanmean if quantity == "not trusted" else np.nanmedian
        quantities.append(
            {
                "quantity": quantity,
                "landmark": landmark,
                "value": float(typical(second)),
                "reference": float(typical(first)),
            }
        )
        # An unknown radius is the radius of a point that was not found.
        columns.append(np.nan_to_num(np.concatenate([first, second]), nan=math.inf))
    return quantities, columns


def _joined(first, second):
    """Returns the quantities that both know, the baseline first."""
    return {k: np.concatenate([first[k], second[k]]) for k in first if k in second}


def _midranks(values: np.ndarray) -> np.ndarray:
    """Returns ranks from 1, with the mean rank for equal values."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * (counts - 1))[index]


def _standardised(values):
    """Returns columns of mean 0 and deviation 1, or of zeros if they are constant."""
    deviation = values.std(axis=0)
    centered = values - values.mean(axis=0)
    return np.where(deviation > 1e-12, centered / np.maximum(deviation, 1e-12), 0.0)


def _rank_sums(ranks, order, n0):
    """Returns `(R, K)`, standardised rank sums of the images after the first n0.

    Args:
        ranks: Array `(n, K)`, standardised.
        order: Array `(R, n)`, R orders of the images.
    """
    n = len(ranks)
    is_new = np.zeros(order.shape)
    np.put_along_axis(is_new, order[:, n0:], 1.0, axis=1)
    return is_new @ ranks / math.sqrt(n0 * (n - n0) / (n - 1.0))


def _batch_deviations(values, n0, slices):
    """Returns `(R, batches, K)`, standardised differences from the first n0 images."""
    center = values[:, :n0].mean(axis=1)
    deviations = [
        (values[:, n0:][:, part].mean(axis=1) - center)
        / math.sqrt(1.0 / (part.stop - part.start) + 1.0 / n0)
        for part in slices
    ]
    return np.stack(deviations, axis=1)


def _permutations(n: int, alpha: float) -> Iterator[np.ndarray]:
    """Yields random orders of n images, `(R, n)`, always the same ones."""
    random = np.random.default_rng(0)
    # With the observed order, so many that alpha is a multiple of their fraction.
    remaining = max(math.ceil(40.0 / alpha) - 1, _MIN_PERMUTATIONS)
    chunk = max(_CHUNK_VALUES // n, 1)
    while remaining > 0:
        count = min(chunk, remaining)
        yield np.argsort(random.random((count, n)), axis=1)
        remaining -= count


def _p_values(observed, null):
    """Returns p-values adjusted by the distribution of the largest deviation."""
    null = np.sort(null)
    # Sums in another order differ by rounding.
    at_least = len(null) - np.searchsorted(null, np.abs(observed) - 1e-9)
    return (1.0 + at_least) / (1.0 + len(null))
