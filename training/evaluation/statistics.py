"""What the distances between predicted and true landmarks amount to."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras.metrics import on_arrays

# Pixels are no measure of the patient: the radii are only to be far apart.
RADII: Mapping[str, tuple[float, ...]] = {
    "mm": (1.0, 2.0, 2.5, 3.0, 4.0, 10.0),
    "px": (2.0, 5.0, 10.0, 20.0, 50.0),
}
PERCENTILES = (50, 75, 90, 95, 99)
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

    All points of all images are pooled, as Payer et al. (Medical Image Analysis 54,
    2019, section 4.3) do; what is missing (NaN) counts nowhere. A point is found
    within a radius if its distance is *less* than it, and an outlier otherwise.
    Intervals are bootstrapped over groups (patients) and not over points, which
    within one patient are not independent.

    Args:
        distances: Array `(images, landmarks)`, NaN where the landmark or, of
            millimetres, the scale of the image is missing.
        names: Sequence of str, the names of the landmarks.
        groups: Sequence of str, the patient of each image; `None` for one an image.
        radii: Sequence of floats; `None` for those of the unit in `RADII`.
        resamples: Int, how often the groups are drawn anew for the intervals.
        seed: Int, of these draws.
        unit: `"mm"`, or `"px"` for distances in pixels of the images.

    Returns:
        Dict of plain values, ready for JSON: `n_images` and `n_points` that count,
        `mre_mm`, `sd_mm` (of the population), `median_mm`, `percentiles_mm` by
        `"p50"` …, `sdr_percent` and `outliers` (a count) by radius as `"2.5"`,
        `ci95` with the bounds of `mre_mm` and `sdr_percent` (`None` where there are
        fewer than two groups) and the number of `groups`, and `per_landmark`, a
        list of dicts with `name`, `n`, `mre_mm`, `sd_mm`, `median_mm` and
        `sdr_percent`, `None` for a landmark that is always missing. Of pixels the
        keys are `mre_px` and so on: no number in pixels is called millimetres.

    Raises:
        ValueError: If shapes do not go together or no distance is there.

    Example:

    >>> result = error_statistics(np.array([[1.0, 3.0], [2.0, np.nan]]), ("a", "b"))
    >>> result["n_images"], result["n_points"], result["mre_mm"]
    (2, 3, 2.0)
    >>> round(result["sdr_percent"]["2.5"], 2), result["outliers"]["2"]
    (66.67, 2)
    """
    distances = np.asarray(distances, np.float64)
    if distances.ndim != 2 or distances.shape[1] != len(names):
        raise ValueError(
            "`distances` must be an array (images, landmarks) with one column for each "
            f"of the {len(names)} names. Received: shape {distances.shape}"
        )
    if groups is None:
        groups = [str(row) for row in range(len(distances))]
    if len(groups) != len(distances):
        raise ValueError(
            "`groups` must hold the patient of each image. Received: "
            f"{len(groups)} groups for {len(distances)} images"
        )
    present = ~np.isnan(distances)
    if not present.any():
        raise ValueError(
            "There is no distance to summarise: every landmark of every image is "
            f"missing, or no image has a scale. Received: shape {distances.shape}"
        )
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
        "outliers": {_key(r): int(on_arrays.outlier_count(points, r)) for r in radii},
        "ci95": _intervals(distances, groups, radii, resamples, seed, unit),
        "per_landmark": [
            {"name": name, "n": int(here.sum()), **moments(column[here], radii, unit)}
            for name, column, here in zip(names, distances.T, present.T, strict=True)
        ],
    }


def moments(
    points: np.ndarray, radii: Sequence[float] | None = None, unit: str = "mm"
) -> dict[str, Any]:
    """Returns `mre_mm`, `sd_mm`, `median_mm`, `sdr_percent` of distances `(n,)`.

    All are `None` where there is no distance. See `error_statistics`.
    """
    radii = RADII[unit] if radii is None else radii
    if not points.size:
        return {
            **dict.fromkeys((f"mre_{unit}", f"sd_{unit}", f"median_{unit}")),
            "sdr_percent": dict.fromkeys(map(_key, radii)),
        }
    return {
        f"mre_{unit}": float(on_arrays.point_error(points)),
        f"sd_{unit}": float(on_arrays.point_error_deviation(points)),
        f"median_{unit}": float(on_arrays.point_error_percentile(points)),
        "sdr_percent": {
            _key(r): 100.0 * float(on_arrays.success_detection_rate(points, r))
            for r in radii
        },
    }


def _intervals(
    distances: np.ndarray,
    groups: Sequence[str],
    radii: Sequence[float],
    resamples: int,
    seed: int,
    unit: str,
) -> dict[str, Any]:
    """Bounds between which 95 % of the resampled means and rates lie."""
    scored = ~np.isnan(distances).all(axis=1)
    _, group = np.unique(np.asarray(groups)[scored], return_inverse=True)
    count = int(group.max()) + 1
    if count < 2:
        unknown = dict.fromkeys(map(_key, radii))
        return {f"mre_{unit}": None, "sdr_percent": unknown, "groups": count}

    rows = distances[scored]
    points = (~np.isnan(rows)).sum(axis=1)
    hits = [points - on_arrays.outlier_count(rows, r, axis=1) for r in radii]
    columns = [np.nansum(rows, axis=1), *hits]
    totals = np.zeros((count, len(columns)))
    np.add.at(totals, group, np.stack(columns, axis=1))
    sizes = np.bincount(group, points)
    # Drawing groups with replacement is drawing how often each one counts.
    draws = np.random.default_rng(seed).multinomial(
        count, np.full(count, 1.0 / count), size=resamples
    )
    means = (draws @ totals) / (draws @ sizes)[:, None]
    bounds = np.percentile(means, (2.5, 97.5), axis=0).T
    rates = 100.0 * bounds[1:]
    return {
        f"mre_{unit}": bounds[0].tolist(),
        "sdr_percent": {
            _key(r): pair.tolist() for r, pair in zip(radii, rates, strict=True)
        },
        "groups": count,
    }


def _key(radius: float) -> str:
    return f"{radius:g}"
