import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from scn_keras.geometry import apply_affine
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.inference.presence import MIN_SCORE, min_scores, typical_scores
from scn_keras.inference.shape_deviation import pair_shape, shape_deviation
from scn_keras.metrics.on_arrays import point_distances

VERSION = 1
COVERAGE = 0.9
FALSE_ALARMS = 0.02

# Lower bound of variances, in squared pixels of the grid. Narrower peaks do not
# indicate smaller errors, nor do scores below `MIN_SCORE` indicate larger ones.
_MIN_VARIANCE = 0.25
# The 90 % quantile of a landmark requires nine images. For a landmark with fewer
# images, the error ratios of all landmarks are used in addition.
MIN_IMAGES = 9
# Tolerances of trust beyond the variation of held-out images, chosen on training
# images only, see `docs/guides/uncertainty.md`: the angle in degrees by which a shape
# may be rotated, the factor of the limit of the score deficit, and the deficit that
# this factor does not exceed.
_MAX_ROTATION = 12.0
_SCORE_MARGIN = 2.0
_MAX_DEFICIT = 0.5
# Stored only if they differ from the default, since earlier versions lack them.
_NEW_FIELDS = ("max_rotation", "score_margin")


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """A calibration of a model's errors on held-out images.

    It provides three estimates, which `uncertainty` computes: the radius within which a
    landmark lies with a probability of 90 %, whether the landmark is present in the
    image, and whether the image is similar to the training images (its novelty).
    `docs/guides/uncertainty.md` describes how reliable these estimates are. A
    calibration is stored as `calibration.json` beside the weights to which it belongs.

    Args:
        weights: Str, the digest of the weights to which it belongs, see
            `Run.weights_digest`.
        protocol: Dict, the source of the calibration: data, folds, images, recipe.
        radius_factor: Array `(N,)`, the ratio of the radii to `scale`.
        least_score: Array `(N,)`, the minimum score of a landmark that is present.
        always: Bool array `(N,)`, whether all training images have the landmark.
        usual_score: Array `(N,)`, the median scores of held-out images.
        shape_mean: Array `(N, N, D)`, the mean displacements between landmarks in
            pixels of the grid; NaN for landmarks that never occur in the same image.
        shape_deviation: Array `(N, N)`, the standard deviations of these displacements
            along an axis.
        usual: Array `(2,)`, the medians of score deficit and shape deviation over
            held-out images, see `novelty`.
        spread: Array `(2,)`, the differences between the 90th percentiles of these and
            their medians.
        limit: Float, the maximum novelty of a trusted image.
        max_rotation: Float, the angle in degrees by which the points are rotated at
            most towards the mean shape before they are compared with it. 0 in
            calibrations of earlier versions.
        score_margin: Float, the factor by which a score deficit may exceed the limit. 1
            in calibrations of earlier versions.

    Raises:
        ValueError: If the shapes of the arrays do not match.
    """

    weights: str
    protocol: Mapping[str, Any]
    radius_factor: np.ndarray
    least_score: np.ndarray
    always: np.ndarray
    usual_score: np.ndarray
    shape_mean: np.ndarray
    shape_deviation: np.ndarray
    usual: np.ndarray
    spread: np.ndarray
    limit: float
    max_rotation: float = 0.0
    score_margin: float = 1.0

    def __post_init__(self) -> None:
        n = len(self.radius_factor)
        for name, shape in (
            ("radius_factor", (n,)),
            ("least_score", (n,)),
            ("always", (n,)),
            ("usual_score", (n,)),
            ("shape_mean", (n, n, np.shape(self.shape_mean)[-1])),
            ("shape_deviation", (n, n)),
            ("usual", (2,)),
            ("spread", (2,)),
        ):
            if np.shape(getattr(self, name)) != shape:
                raise ValueError(
                    f"`{name}` of a calibration of {n} landmarks must have the shape "
                    f"{shape}. Received: shape={np.shape(getattr(self, name))}"
                )

    @classmethod
    def fit(
        cls,
        held_out: HeldOutImages,
        scale_of_run: Any = 1.0,
        score_of_run: Any = 1.0,
        weights: str = "",
        protocol: Mapping[str, Any] | None = None,
    ) -> "Calibration":
        """Computes a calibration from held-out images.

        Radii: The ratios of error to `scale` of a landmark are sorted, and the radius
        factor is the `ceil(0.9 (n + 1))`-th of n, so that the radius contains the
        landmark of the next image with a probability of 90 % (cross-conformal
        prediction: Vovk, Annals of Mathematics and Artificial Intelligence 74, 2015;
        Barber et al., Annals of Statistics 49, 2021). For a landmark with fewer than
        nine images this factor would be infinite. The ratios of all landmarks are then
        added with the total weight of the images below nine, and the coverage depends
        in part on the other landmarks.

        Presence: If landmarks are missing from images, the threshold is the fraction of
        the typical score that separates present from missing landmarks with the best
        F1. If no landmark is missing, it is half of the 1st percentile of the scores.

        Trust: The limit is the novelty that 2 % of the images exceed, where the novelty
        of each image is computed with the shapes of the other folds only. For fewer
        than 49 images it is 1.5 times the largest novelty. The tolerances are added
        afterwards, see `with_tolerances`.

        Args:
            held_out: `HeldOutImages`.
            scale_of_run, score_of_run: Arrays `(N,)`, the ratios of the run's `scale`
                and score to those of the runs that located the images, on images with
                which both were trained. A longer training makes peaks narrower and
                scores higher, also on new images, without reducing errors as much.
            weights, protocol: See `Calibration`.

        Raises:
            ValueError: If no image has a landmark, or no distance can be measured.
        """
        score = np.asarray(held_out.score, np.float64)
        truth = np.asarray(held_out.truth, np.float64)
        present = np.asarray(~np.isnan(truth).any(-1))
        if (present.sum(0) == 0).all():
            raise ValueError(
                "A calibration requires held-out images with true points. Received: "
                f"{len(truth)} images without any"
            )
        typical_score = typical_scores(score, present)
        uncalibrated = cls(
            weights,
            dict(protocol or {}),
            radius_factors(_error_ratios(held_out, score, truth, present)),
            min_scores(score / typical_score, present) * typical_score,
            np.asarray(present.all(0)),
            typical_score,
            *pair_shape(truth),
            usual=np.zeros(2),
            spread=np.ones(2),
            limit=math.inf,
        )
        typical, width, limit = uncalibrated._trust(
            held_out.points, score, truth, held_out.fold
        )
        calibration = dataclasses.replace(
            uncalibrated,
            radius_factor=uncalibrated.radius_factor / scale_of_run,
            least_score=uncalibrated.least_score * score_of_run,
            usual_score=uncalibrated.usual_score * score_of_run,
            usual=typical,
            spread=width,
            limit=limit,
        )
        return calibration.with_tolerances()

    def with_tolerances(self) -> "Calibration":
        """Returns a calibration that tolerates small rotations and moderate noise.

        A rotation of the shape by up to 12 degrees has no effect on the novelty, and
        the score deficit may be twice as large, but at most 0.5. The limit, which is
        determined without these tolerances, stays, so that hardly any image is refused
        that was trusted without them.

        Example:

        ```python
        run.write_calibration(run.calibration.with_tolerances())
        ```
        """
        largest = (_MAX_DEFICIT - self.usual[0]) / (self.limit * self.spread[0])
        return dataclasses.replace(
            self,
            max_rotation=_MAX_ROTATION,
            score_margin=float(np.clip(largest, 1.0, _SCORE_MARGIN)),
        )

    def _trust(self, points, score, truth, fold):
        """Returns typical deviations, their widths and the limit of the novelty."""
        deviations = np.full((len(truth), 2), np.nan)
        for number in np.unique(fold):
            held_out = np.asarray(fold) == number
            # A single fold is compared with itself, because there are no others.
            mean, deviation = pair_shape(
                truth[~held_out] if not held_out.all() else truth
            )
            of_others = dataclasses.replace(
                self, shape_mean=mean, shape_deviation=deviation
            )
            deviations[held_out] = ops.convert_to_numpy(
                ops.stack(of_others._deviations(points[held_out], score[held_out]), -1)
            )
        typical, high = np.percentile(deviations, (50, 90), axis=0)
        width = np.maximum(high - typical, 0.01)
        novelty = ((deviations - typical) / width).max(-1)
        return typical, width, max(trust_limit(novelty), 1.0)

    def radius(self, score: Any, covariance: Any, grid_to_space: Any) -> Any:
        """Returns the 90 % radii of landmarks, `(B, N)`, see `uncertainty`."""
        factor = ops.convert_to_tensor(self.radius_factor, "float32")
        return factor * scale(score, covariance, grid_to_space)

    def present(self, score: Any) -> Any:
        """Returns whether landmarks are present, bool `(B, N)`, see `uncertainty`."""
        score = ops.convert_to_tensor(score, "float32")
        enough = score >= ops.convert_to_tensor(self.least_score, "float32")
        return ops.logical_and(enough, score > 0.0)

    def novelty(self, points: Any, score: Any) -> Any:
        """Returns the novelty scores of images, `(B,)`.

        The novelty is the larger of a score deficit and a shape deviation, each scaled
        so that 1 is the 90th percentile of held-out images. The score deficit is 1
        minus the mean ratio of the scores to their typical values. The shape deviation
        is the mean of `r² / (r² + 9)` over all pairs of landmarks, where r is the
        deviation of their displacement from the mean of the training images, in
        standard deviations. Since this measure saturates, a few large errors of
        landmarks contribute little. Landmarks that are absent are excluded, unless all
        training images have them. Before the comparison, the points are rotated by at
        most `max_rotation` towards the mean shape, and the scaled score deficit is
        divided by `score_margin`.
        """
        deviations = self._deviations(points, score)
        widths = self.spread * (self.score_margin, 1.0)
        in_score, in_shape = (
            (deviation - float(typical)) / float(width)
            for deviation, typical, width in zip(
                deviations, self.usual, widths, strict=True
            )
        )
        return ops.maximum(in_score, in_shape)

    def trusted(self, points: Any, score: Any) -> Any:
        """Returns whether the novelty of images is within the limit, bool `(B,)`."""
        return self.novelty(points, score) <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Returns the calibration as plain values for JSON."""
        data: dict[str, Any] = {"version": VERSION}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _NEW_FIELDS and value == field.default:
                continue
            if isinstance(value, np.ndarray):
                value = _plain(value)
            data[field.name] = value
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Calibration":
        """Creates a calibration from the result of `to_dict`.

        Raises:
            ValueError: If it has another version or fields are missing.
        """
        data = dict(data)
        version = data.pop("version", None)
        if version != VERSION:
            raise ValueError(
                f"This version of scn-keras reads calibrations of version {VERSION}. "
                "Calibrate the run again: scn-keras calibrate RUN. Received: "
                f"version={version!r}"
            )
        names = {field.name: field.type for field in dataclasses.fields(cls)}
        required = set(names) - set(_NEW_FIELDS)
        if not required <= set(data) <= set(names):
            raise ValueError(
                "The calibration is damaged. Expected the fields "
                f"{', '.join(names)}. Received: {', '.join(data)}"
            )
        arrays = {
            name: np.array(data[name], bool if name == "always" else np.float64)
            for name, kind in names.items()
            if kind is np.ndarray and name in data
        }
        return cls(**{**data, **arrays})

    def _deviations(self, points, score):
        """Returns the deviations of scores and shape from typical ones, both `(B,)`."""
        points = ops.convert_to_tensor(points, "float32")
        score = ops.convert_to_tensor(score, "float32")
        counts = ops.logical_or(self.present(score), ops.convert_to_tensor(self.always))
        counts = ops.cast(counts, "float32")
        typical = ops.convert_to_tensor(self.usual_score, "float32")
        total = ops.sum(counts, axis=-1)
        ratio = ops.sum(counts * score / typical, axis=-1) / ops.maximum(total, 1.0)

        shape = shape_deviation(
            points, counts, self.shape_mean, self.shape_deviation, self.max_rotation
        )
        return 1.0 - ratio, shape


def uncertainty(
    calibration: Calibration | None,
    points: Any,
    score: Any,
    covariance: Any,
    grid_to_space: Any,
    grid: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Computes radii, presence and trust; also used in the exported graph.

    It uses only Keras operations without linear algebra, which ONNX and LiteRT lack.

    Args:
        calibration: `Calibration`, or `None` for a model without one.
        points: Array `(B, N, D)` in pixels of the network's grid.
        score: Array `(B, N)`.
        covariance: Array `(B, N, D, D)` in squared pixels of the grid.
        grid_to_space: Array `(B, D + 1, D + 1)` from the grid to millimetres, or to
            another unit of the radii; NaN if it is unknown.
        grid: Sequence of ints, the pixels of the grid in array order, whose diagonal is
            the largest radius; `None` for no largest radius.

    Returns:
        Dict of tensors: `radius90`, float32 `(B, N)`, the radius around the point that
        contains the true point with a probability of 90 %, in the unit of
        `grid_to_space`; `present`, bool `(B, N)`, whether the landmark is in the image;
        `trusted`, bool `(B,)`, whether the image is similar to the training images;
        `novelty`, float32 `(B,)`, how much it differs from them, relative to the limit:
        trusted images have at most 1. Without a calibration, radii and novelty are NaN,
        landmarks are present if their score is above 0, and no image is trusted.

    Example:

    ```python
    outputs = uncertainty(
        run.calibration, points, score, covariance, grid_to_space, run.recipe.grid
    )
    ```
    """
    if calibration is None:
        score = ops.convert_to_tensor(score, "float32")
        return {
            "radius90": ops.full_like(score, math.nan),
            "present": score > 0.0,
            "trusted": ops.any(score < -1.0, axis=-1),  # false for any batch size
            "novelty": ops.full_like(score[..., 0], math.nan),
        }
    radius = calibration.radius(score, covariance, grid_to_space)
    if grid is not None:
        radius = ops.minimum(radius, _diagonal(grid, grid_to_space)[:, None])
    novelty = calibration.novelty(points, score)
    return {
        "radius90": radius,
        "present": calibration.present(score),
        "trusted": novelty <= calibration.limit,
        "novelty": novelty / calibration.limit,
    }


def scale(score: Any, covariance: Any, grid_to_space: Any) -> Any:
    """Returns the quantity to which radii are proportional, `(B, N)`.

    It is the width of the heatmap's peak in space, divided by the square root of its
    score, since uncertain peaks are wide and low. The width is at least half a pixel of
    the grid along each axis, because 0.25 px² are added to the variances.

    Args:
        score, covariance, grid_to_space: See `uncertainty`.
    """
    score = ops.convert_to_tensor(score, "float32")
    covariance = ops.convert_to_tensor(covariance, "float32")
    d = covariance.shape[-1]
    linear = ops.convert_to_tensor(grid_to_space, "float32")[:, :d, :d]
    # Without matrix products, see `apply_affine`.
    gram = ops.sum(linear[:, :, :, None] * linear[:, :, None], axis=1)
    covariance = covariance + _constant(_MIN_VARIANCE * np.eye(d))
    squared = ops.sum(gram[:, None] * covariance, axis=(-2, -1))
    return ops.sqrt(squared / ops.maximum(score, MIN_SCORE))


def _diagonal(grid, grid_to_space):
    """Returns the lengths of the diagonals of grids in space, `(B,)`."""
    d = len(grid)
    linear = ops.convert_to_tensor(grid_to_space, "float32")[:, :d, :d]
    sides = ops.sum(ops.square(linear), axis=1) * _constant(np.square(grid[::-1]))
    return ops.sqrt(ops.sum(sides, axis=-1))


def trust_limit(novelty: np.ndarray) -> float:
    """Returns the novelty that 2 % of the next images are expected to exceed.

    It is the `ceil(0.98 (n + 1))`-th of the sorted novelties of n held-out images. For
    fewer than 49 images, which have no such rank, it is 1.5 times the largest.

    Args:
        novelty: Array `(n,)`.

    Example:

    >>> trust_limit(np.arange(1.0, 101.0))
    99.0
    >>> trust_limit(np.array([1.0, 2.0]))
    3.0
    """
    ordered = np.sort(novelty)
    rank = math.ceil((1.0 - FALSE_ALARMS) * (len(ordered) + 1))
    limit = ordered[rank - 1] if rank <= len(ordered) else 1.5 * ordered[-1]
    return float(limit)


def _error_ratios(held_out, score, truth, present):
    """Returns the ratios of errors to `scale`, `(n, N)`."""
    error = point_distances(
        apply_affine(held_out.grid_to_space, truth),
        apply_affine(held_out.grid_to_space, held_out.points),
    )
    scales = scale(score, held_out.covariance, held_out.grid_to_space)
    ratio = error / ops.convert_to_numpy(scales)
    # A present landmark without a predicted point lies outside any radius.
    lost = present & ~np.isfinite(held_out.points).all(-1)
    ratio = np.where(lost, math.inf, ratio)
    if np.isnan(ratio).all():
        raise ValueError(
            "A calibration requires finite points, covariances and `grid_to_space`, "
            "in which errors are measured. Received: none of them finite"
        )
    return ratio


def radius_factors(ratio: np.ndarray) -> np.ndarray:
    """Returns the radius factor of each landmark, see `Calibration.fit`.

    Args:
        ratio: Array `(n, N)` of the ratios of errors to `scale`, NaN where there is no
            error.

    Returns:
        Array `(N,)`.
    """
    of_all = ratio[~np.isnan(ratio)]
    factors = []
    for column in ratio.T:
        own = column[~np.isnan(column)]
        lacking = max(MIN_IMAGES - own.size, 0)
        values = np.concatenate([own, of_all])
        weights = np.repeat([1.0, lacking / of_all.size], [own.size, of_all.size])
        order = np.argsort(values, kind="stable")
        # The next image counts as one more, with an infinite ratio. It does not count
        # for a landmark with too few images, whose quantile would then be infinite.
        needed = COVERAGE * (own.size + lacking + (lacking == 0))
        index = np.searchsorted(np.cumsum(weights[order]), needed - 1e-6)
        factors.append(values[order][min(index, values.size - 1)])
    return np.array(factors)


def _constant(values: np.ndarray) -> Any:
    return ops.convert_to_tensor(np.asarray(values, np.float32))


def _plain(values: np.ndarray) -> list[Any]:
    """Returns nested lists for JSON, with `None` for NaN, which JSON lacks."""
    if values.dtype == bool:
        return values.tolist()
    return np.where(np.isnan(values), np.array(None), values).tolist()
