"""Statistics of the distances between predicted and true landmarks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras.metrics import on_arrays

# The radii of the success detection rates, by unit. Those in mm are common in the
# literature. Since pixels have no physical size, those in px cover a wide range.
RADII: Mapping[str, tuple[float, ...]] = {
    "mm": (1.0, 2.0, 2.5, 3.0, 4.0, 10.0),
    "px": (2.0, 5.0, 10.0, 20.0, 50.0),
}
# The radii in tables, in comparisons of two runs, and in headlines.
SHOWN_RADII: Mapping[str, tuple[float, ...]] = {
    "mm": (2.0, 2.5, 3.0, 4.0),
    "px": (5.0, 10.0, 20.0, 50.0),
}
COMPARED_RADII: Mapping[str, tuple[float, ...]] = {
    "mm": (2.0, 4.0),
    "px": (10.0, 20.0),
}
HEADLINE_RADIUS = {"mm": 2.0, "px": 10.0}
PERCENTILES = (50, 75, 90, 95, 99)
CI95_PERCENTILES = (2.5, 97.5)  # the bounds of 95 % intervals
RESAMPLES = 2000


def error_statistics(
    distances: np.ndarray,
    names: Sequence[str],
    groups: Sequence[str] | None = None,
    radii: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    unit: str = "mm",
) -> dict[str, Any]:
    """Summarises distances between predicted and true landmarks.

    All points of all images are pooled, as in Payer et al. (Medical Image Analysis 54,
    2019, section 4.3). Missing distances (NaN) are excluded. A point is a success if
    its distance is *less* than the radius, and an outlier otherwise. Intervals are
    bootstrapped over groups (patients) and not over points, because the points of one
    patient are not independent.

    Args:
        distances: Array `(images, landmarks)`, NaN if the landmark is missing or, for
            millimetres, the image has no usable spacing.
        names: Sequence of str, the names of the landmarks.
        groups: Sequence of str, the patient of each image; `None` if each image is of a
            different patient.
        radii: Sequence of floats, in the unit; `None` for `RADII`.
        resamples: Int, the number of bootstrap resamples of the groups.
        seed: Int, the seed of the resamples.
        unit: `"mm"`, or `"px"` for distances in pixels of the images.

    Returns:
        Dict of plain values for JSON: `n_images` and `n_points`, the pooled numbers;
        `mre_mm`, `sd_mm` (of the population) and `median_mm`; `percentiles_mm` with the
        keys `"p50"` and so on; `sdr_percent` and `outliers` (a count) by radius, with
        keys such as `"2.5"`; `ci95` with the bounds of `mre_mm` and `sdr_percent`
        (`None` for fewer than two groups) and the number of `groups`; and
        `per_landmark`, a list of dicts with `name`, `n`, `mre_mm`, `sd_mm`, `median_mm`
        and `sdr_percent`, which are `None` for a landmark without any distance. For
        pixels the keys are `mre_px` and so on.

    Raises:
        ValueError: If shapes do not match or there is no distance.

    Example:

    >>> result = error_statistics(np.array([[1.0, 3.0], [2.0, np.nan]]), ("a", "b"))
    >>> result["n_images"], result["n_points"], result["mre_mm"]
    (2, 3, 2.0)
    >>> round(result["sdr_percent"]["2.5"], 2), result["outliers"]["2"]
    (66.67, 2)
    """
    distances = np.asarray(distances, np.float64)
    _validate(distances, names, groups)
    if groups is None:
        groups = [str(row) for row in range(len(distances))]
    present = ~np.isnan(distances)
    points = distances[present]
    radii = RADII[unit] if radii is None else radii
    return {
        "n_images": int(present.any(axis=1).sum()),
        "n_points": points.size,
        **moments(points, radii, unit),
        f"percentiles_{unit}": {
            f"p{q}": float(on_arrays.point_error_percentile(points, q))
            for q in PERCENTILES
        },
        "outliers": {
            radius_key(r): int(on_arrays.outlier_count(points, r)) for r in radii
        },
        "ci95": _intervals(distances, groups, radii, resamples, seed, unit),
        "per_landmark": [
            {"name": name, "n": int(mask.sum()), **moments(column[mask], radii, unit)}
            for name, column, mask in zip(names, distances.T, present.T, strict=True)
        ],
    }


def moments(
    points: np.ndarray, radii: Sequence[float] | None = None, unit: str = "mm"
) -> dict[str, Any]:
    """Returns mean, deviation, median and success detection rates of distances.

    Args:
        points: Array `(n,)` of distances.
        radii: Sequence of floats, in the unit; `None` for `RADII`.
        unit: `"mm"` or `"px"`.

    Returns:
        Dict with `mre_mm`, `sd_mm`, `median_mm` and `sdr_percent`, see
        `error_statistics`; all values are `None` if there is no distance.
    """
    radii = RADII[unit] if radii is None else radii
    if not points.size:
        return {
            **dict.fromkeys((f"mre_{unit}", f"sd_{unit}", f"median_{unit}")),
            "sdr_percent": dict.fromkeys(map(radius_key, radii)),
        }
    return {
        f"mre_{unit}": float(on_arrays.point_error(points)),
        f"sd_{unit}": float(on_arrays.point_error_deviation(points)),
        f"median_{unit}": float(on_arrays.point_error_percentile(points)),
        "sdr_percent": {
            radius_key(r): 100.0 * float(on_arrays.success_detection_rate(points, r))
            for r in radii
        },
    }


def resample_groups(
    groups: Sequence[str] | np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws bootstrap resamples of groups, for example of patients with all images.

    The number of groups drawn for a resample, with replacement, is the number of
    groups. The statistic of a resample is a sum over groups, each weighted by the
    number of times it was drawn.

    Args:
        groups: Sequence of str, the group of each image.
        resamples: Int, the number of resamples.
        seed: Int, the seed of the resamples.

    Returns:
        `(group, counts)`: the index of each image's group `(images,)`, and the number
        of times that each group was drawn in each resample `(resamples, groups)`.

    Example:

    >>> group, counts = resample_groups(("p", "q", "p"), resamples=4, seed=0)
    >>> group
    array([0, 1, 0])
    >>> counts.sum(axis=1)
    array([2, 2, 2, 2])
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    # The numbers of draws with replacement have a multinomial distribution.
    shares = np.full(len(names), 1.0 / len(names))
    counts = np.random.default_rng(seed).multinomial(len(names), shares, resamples)
    return group, counts


def radius_key(radius: float) -> str:
    """Returns the key of a radius in results: `"2"` or `"2.5"`."""
    return f"{radius:g}"


def _validate(
    distances: np.ndarray, names: Sequence[str], groups: Sequence[str] | None
) -> None:
    if distances.ndim != 2 or distances.shape[1] != len(names):
        raise ValueError(
            "`distances` must be an array (images, landmarks) with one column for each "
            f"of the {len(names)} names. Received: shape={distances.shape}"
        )
    if groups is not None and len(groups) != len(distances):
        raise ValueError(
            "`groups` must have the patient of each image. Received: "
            f"{len(groups)} groups for {len(distances)} images"
        )
    if np.isnan(distances).all():
        raise ValueError(
            "At least one distance is required. Every landmark of every image is "
            "missing, or no image has a usable spacing. Received: only NaN, "
            f"shape={distances.shape}"
        )


def _intervals(
    distances: np.ndarray,
    groups: Sequence[str],
    radii: Sequence[float],
    resamples: int,
    seed: int,
    unit: str,
) -> dict[str, Any]:
    """Returns the bounds of the bootstrapped 95 % intervals of mean and rates."""
    scored = ~np.isnan(distances).all(axis=1)
    group, counts = resample_groups(np.asarray(groups)[scored], resamples, seed)
    n_groups = counts.shape[1]
    if n_groups < 2:
        unknown = dict.fromkeys(map(radius_key, radii))
        return {f"mre_{unit}": None, "sdr_percent": unknown, "groups": n_groups}

    rows = distances[scored]
    points = (~np.isnan(rows)).sum(axis=1)
    hits = [points - on_arrays.outlier_count(rows, r, axis=1) for r in radii]
    columns = [np.nansum(rows, axis=1), *hits]
    totals = np.zeros((n_groups, len(columns)))
    np.add.at(totals, group, np.stack(columns, axis=1))
    sizes = np.bincount(group, points)
    means = (counts @ totals) / (counts @ sizes)[:, None]
    bounds = np.percentile(means, CI95_PERCENTILES, axis=0).T
    rates = 100.0 * bounds[1:]
    return {
        f"mre_{unit}": bounds[0].tolist(),
        "sdr_percent": {
            radius_key(r): pair.tolist() for r, pair in zip(radii, rates, strict=True)
        },
        "groups": n_groups,
    }
