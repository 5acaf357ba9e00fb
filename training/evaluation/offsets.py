"""Systematic offsets between the points of a model and those of an observer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scn_keras.alignment import fit_similarity, mean_shape
from scn_keras.training.evaluation.statistics import (
    CI95_PERCENTILES,
    RESAMPLES,
    resample_groups,
)

# Landmarks with a smaller probability of an offset this large by chance are named.
SIGNIFICANCE = 0.05


class AnatomicalFrames(NamedTuple):
    """Frames that turn and scale with the anatomy of images.

    Attributes:
        linear: Array `(images, N, D, D)`, the maps of vectors at each landmark from the
            image to the frame.
        shape: Array `(N, D)`, the mean shape in the frame.
    """

    linear: np.ndarray
    shape: np.ndarray


def offset_statistics(
    predicted: np.ndarray,
    truth: np.ndarray,
    names: Sequence[str],
    groups: Sequence[str] | None = None,
    unit: str = "mm",
    frames: AnatomicalFrames | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures the constant part of the errors of each landmark.

    It is the mean of the vectors from predicted to true points, in a frame that turns
    and scales with the anatomy: the similarity that maps the predicted points of all
    *other* landmarks to the mean shape of the images. So an offset is the same in a
    tilted image, and lengths are those at the mean size.

    It is tested by flipping the signs of all vectors of a patient at random. `p` is the
    fraction of flips in which *any* landmark has a statistic as large (Hotelling's, of
    patients; Westfall and Young 1993).

    Args:
        predicted: Array `(images, N, D)`, x, y(, z) in the unit.
        truth: Array `(images, N, D)`; NaN for missing points.
        names: Sequence of str, the landmarks.
        groups: Sequence of str, the patient of each image; `None` if each image is of a
            different patient.
        unit: `"mm"`, or `"px"` for pixels of the images.
        frames: `AnatomicalFrames` of the images; `None` for those of their points.
        resamples: Int, the number of resamples of the intervals, and of sign flips.
        seed: Int, the seed of the resamples and flips.

    Returns:
        Dict of plain values for JSON: `shape_mm`, the mean shape; `mre_without_mm`, the
        mean error of all points without the offsets, each computed from the other
        patients; and `per_landmark`, a list of dicts with `name`, `n`, `offset_mm` (the
        mean vector), `length_mm`, `ci95_mm` (bounds of each component, bootstrapped
        over patients), `p` and `mre_without_mm`; they are `None` where too few patients
        have the landmark. For pixels the keys are `offset_px` and so on.

    Example:

    >>> predicted = np.random.default_rng(0).normal(size=(20, 4, 2)) + [[0, 9], [5, 0],
    ...     [9, 9], [2, 4]]
    >>> truth = predicted + [[0.0, 0.0], [0.0, 3.0], [0.0, 0.0], [0.0, 0.0]]
    >>> statistics = offset_statistics(predicted, truth, ("a", "b", "c", "d"))
    >>> [row["name"] for row in statistics["per_landmark"] if row["p"] < 0.05]
    ['b']
    """
    predicted, truth = (np.asarray(array, np.float64) for array in (predicted, truth))
    groups = [str(n) for n in range(len(truth))] if groups is None else groups
    patients, patient = np.unique(groups, return_inverse=True)
    frames = anatomical_frames(predicted) if frames is None else frames
    to_frame = frames.linear
    residuals = np.einsum("inab,inb->ina", to_frame, truth - predicted)
    present = ~np.isnan(residuals).any(-1)
    values = np.where(present[..., None], residuals, 0.0)
    sums = _by_patient(values, patient, len(patients))
    counts = _by_patient(present.astype(float), patient, len(patients))
    means = sums.sum(0) / np.maximum(counts.sum(0), 1)[:, None]
    intervals = _intervals(sums, counts, groups, resamples, seed)
    probabilities = _probabilities(sums, counts, resamples, seed)
    without = _errors_without(predicted, truth, to_frame, sums, counts, patient)
    enough = (counts > 0).sum(0) > predicted.shape[-1]
    rows = []
    for k, name in enumerate(names):
        measured = {
            f"offset_{unit}": means[k].tolist(),
            f"length_{unit}": float(np.linalg.norm(means[k])),
            f"ci95_{unit}": intervals[:, k].T.tolist(),
            "p": float(probabilities[k]),
        }
        row = {"name": name, "n": int(present[:, k].sum())}
        row |= measured if enough[k] else dict.fromkeys(measured)
        rows.append({**row, f"mre_without_{unit}": _mean(without[:, k])})
    return {
        f"shape_{unit}": frames.shape.tolist(),
        f"mre_without_{unit}": _mean(without),
        "per_landmark": rows,
    }


def _mean(errors: np.ndarray) -> float | None:
    """Returns the mean of the errors that are known, or `None` if none is."""
    known = errors[~np.isnan(errors)]
    return float(known.mean()) if known.size else None


def real_offsets(offsets: Mapping[str, Any], unit: str = "mm") -> list[dict[str, Any]]:
    """Returns the landmarks with an offset that is not due to chance, largest first."""
    rows = [
        row
        for row in offsets["per_landmark"]
        if row["p"] is not None and row["p"] < SIGNIFICANCE
    ]
    return sorted(rows, key=lambda row: -row[f"length_{unit}"])


def direction(offset: Sequence[float]) -> str:
    """Returns words for the direction of an offset.

    Of 2D images these are those of the image: "lower", "higher and to the left". Of
    volumes they are those of the patient, in LPS coordinates.

    Args:
        offset: Sequence of 2 or 3 floats, x, y(, z).

    Example:

    >>> direction([0.1, 4.3]), direction([-2.0, -2.0]), direction([3.0, 0.0, 0.0])
    ('lower', 'higher and to the left', "to the patient's left")
    """
    if len(offset) == 2:
        words = [("to the left", "to the right"), ("higher", "lower")]
        order: tuple[int, ...] = (1, 0)
    else:
        words = [
            ("to the patient's right", "to the patient's left"),
            ("further to the front", "further to the back"),
            ("lower", "higher"),
        ]
        order = (2, 1, 0)
    vector = np.asarray(offset, float)
    # The axes whose share is more than that of 22.5 degrees.
    large = np.abs(vector) > np.sin(np.pi / 8) * np.linalg.norm(vector)
    return " and ".join(words[k][int(vector[k] > 0.0)] for k in order if large[k])


def anatomical_frames(
    predicted: np.ndarray | Sequence[np.ndarray],
) -> AnatomicalFrames:
    """Returns the frame of the anatomy in each image.

    It is the mean shape of the points in the mean orientation of the images. The map of
    a landmark is the similarity of all others. Where there are too few of them, or they
    coincide, it is the identity.

    Args:
        predicted: Array `(images, N, D)`, the predicted points.
    """
    predicted = np.asarray(predicted, np.float64)
    n, d = predicted.shape[1], predicted.shape[2]
    identity = np.broadcast_to(np.eye(d), (len(predicted), n, d, d))
    plain = AnatomicalFrames(identity, predicted.mean(0))
    if n <= d:
        return plain
    # The points of a model that is hardly trained may all be at one place.
    with np.errstate(all="ignore"):
        try:
            linear, shape = _similarities(predicted)
        except ValueError:
            return plain
        usable = np.abs(np.linalg.det(linear)) > 1e-12
    usable &= np.isfinite(linear).all((-2, -1))
    return AnatomicalFrames(np.where(usable[..., None, None], linear, identity), shape)


def _similarities(predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, d = predicted.shape[1], predicted.shape[2]
    shape = mean_shape(list(predicted))
    # The mean shape lies along its principal axes; offsets are read in images.
    to_shape = fit_similarity(predicted, shape)[:, :d, :d]
    if not np.isfinite(to_shape).all():
        raise ValueError("The points coincide.")
    u, _, vt = np.linalg.svd(to_shape.sum(0))
    turn = np.diag([*np.ones(d - 1), np.linalg.det(u @ vt)])
    shape = shape @ (u @ turn @ vt)
    others = 1.0 - np.eye(n)
    return fit_similarity(predicted[:, None], shape, others)[..., :d, :d], shape


def _by_patient(values: np.ndarray, patient: np.ndarray, count: int) -> np.ndarray:
    sums = np.zeros((count, *values.shape[1:]))
    np.add.at(sums, patient, values)
    return sums


def _intervals(sums, counts, groups, resamples, seed):
    """Returns the bounds `(2, N, D)` of mean vectors, bootstrapped over patients."""
    patients = sorted(set(groups))
    _, draws = resample_groups(patients, resamples, seed)
    totals = np.tensordot(draws, sums, 1)
    numbers = np.maximum(draws @ counts, 1.0)
    return np.percentile(totals / numbers[..., None], CI95_PERCENTILES, axis=0)


def _probabilities(sums, counts, flips, seed):
    """Returns the probability `(N,)` of such an offset in any landmark by chance."""
    patients, n, d = sums.shape
    units = (counts > 0).sum(0)
    usable = units > d
    if not usable.any():
        return np.ones(n)
    sums, units = sums[:, usable], units[usable]
    # Flips do not change the moments about zero.
    moments = np.einsum("pka,pkb->kab", sums, sums)
    inverse = np.linalg.pinv(moments, hermitian=True)
    random = np.random.default_rng([seed, 1])
    signs = random.choice([-1.0, 1.0], (flips, patients))
    signs = np.concatenate([np.ones((1, patients)), signs])
    vectors = np.tensordot(signs, sums, 1)
    squared = np.einsum("fka,kab,fkb->fk", vectors, inverse, vectors)
    squared = np.minimum(squared, units * (1.0 - 1e-12))
    statistic = (units - d) / d * squared / (units - squared)
    largest = statistic.max(1)
    result = np.ones(n)
    # The first row is the observed one, which counts as one of the flips.
    result[usable] = (largest[:, None] >= statistic[0]).mean(0)
    return result


def _errors_without(predicted, truth, to_frame, sums, counts, patient):
    """Returns the errors `(images, N)` without the offsets of the other patients."""
    rest = counts.sum(0) - counts
    others = (sums.sum(0) - sums) / np.maximum(rest, 1.0)[..., None]
    from_frame = np.linalg.inv(to_frame)
    moved = predicted + np.einsum("inab,inb->ina", from_frame, others[patient])
    return np.linalg.norm(truth - moved, axis=-1)
