import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from scn_keras.geometry import apply_affine
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.metrics.on_arrays import point_distances

VERSION = 1
COVERAGE = 0.9
FALSE_ALARMS = 0.02

# What is narrower than a pixel of the grid, or lower, is no surer for it.
_MIN_VARIANCE = 0.25
_MIN_SCORE = 0.05
# Fewer images have no ninth in ten: all landmarks then help out.
MIN_IMAGES = 9
# Presence: the share of the lowest held-out scores that is cut off, the margin below
# it, and how many images must lack a landmark for a threshold of its own.
_LOW_SCORES, _MARGIN = 0.01, 0.5
_MIN_MISSING = 5
# How far images may be turned and magnified, as a share of a distance, beside
# what training images are, and the deviation that counts one half.
_TOLERANCE = 0.05
_HALF = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """What a run has learned about its own errors, on images it was not trained on.

    It serves three questions: within which radius a landmark lies with 90 %, whether
    it is there at all, and whether the image is like those that the run knows.
    `uncertainty` answers them; `docs/uncertainty.md` says what the answers are worth.
    It is stored as `calibration.json` beside the weights that it was made for.

    Args:
        weights: Str, what `Run.weights_digest` gave: the weights that it belongs to.
        protocol: Dict, where it comes from: data, folds, images, recipe.
        radius_factor: Array `(N,)`, the radii in terms of `scale`.
        least_score: Array `(N,)`, below which a landmark is taken to be absent.
        always: Bool array `(N,)`, whether all training images have the landmark.
        usual_score: Array `(N,)`, the median of held-out images.
        shape_mean: Array `(N, N, D)`, from landmark to landmark in pixels of the
            grid; NaN for two that were never seen together.
        shape_deviation: Array `(N, N)`, of those along an axis.
        usual: Array `(2,)`, the medians over held-out images of what `novelty`
            sees in scores and shape.
        spread: Array `(2,)`, by how much more nine of ten images have at most.
        limit: Float, the highest novelty of an image that is trusted.

    Raises:
        ValueError: If the arrays do not fit each other.
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
        """Learns from held-out images, each located by a run that has not seen it.

        Radii: the ratios of error to `scale` of a landmark are put in order, and the
        radius factor is the `ceil(0.9 (n + 1))`-th of n, so that the next image's is
        within it with 90 % (cross-conformal prediction: Vovk, Annals of Mathematics
        and Artificial Intelligence 74, 2015; Barber et al., Annals of Statistics 49,
        2021). Of a landmark that fewer than nine images have, that would be infinite:
        the ratios of all landmarks join in with the weight of the images that lack,
        and its coverage is theirs in part.

        Presence: where landmarks are missing from images, the share of the typical
        score that tells present ones from missing ones with the best F1; where none
        is missing, half of the 1st percentile of the scores.

        Trust: the novelty that 2 % of the images exceed, each image seen with the
        shapes of the other folds only; of fewer than 49 images one and a half times
        the largest.

        Args:
            held_out: `HeldOutImages`.
            scale_of_run, score_of_run: Arrays `(N,)`, `scale` and score of the run
                itself in terms of those of the runs that located the images, on
                images that both were trained on. A run that was trained for longer is
                surer of itself, also on new images, and not by as much nearer.
            weights, protocol: See `Calibration`.

        Raises:
            ValueError: If no image has a landmark, or no distance can be measured.
        """
        score = np.asarray(held_out.score, np.float64)
        truth = np.asarray(held_out.truth, np.float64)
        present = np.asarray(~np.isnan(truth).any(-1))
        if (present.sum(0) == 0).all():
            raise ValueError(
                "A calibration takes held-out images with true points. Received: "
                f"{len(truth)} images without any"
            )
        typical_score = _typical_scores(score, present)
        uncalibrated = cls(
            weights,
            dict(protocol or {}),
            radius_factors(_error_ratios(held_out, score, truth, present)),
            _min_scores(score / typical_score, present) * typical_score,
            np.asarray(present.all(0)),
            typical_score,
            *_shape(truth),
            usual=np.zeros(2),
            spread=np.ones(2),
            limit=math.inf,
        )
        typical, width, limit = uncalibrated._trust(
            held_out.points, score, truth, held_out.fold
        )
        return dataclasses.replace(
            uncalibrated,
            radius_factor=uncalibrated.radius_factor / scale_of_run,
            least_score=uncalibrated.least_score * score_of_run,
            usual_score=uncalibrated.usual_score * score_of_run,
            usual=typical,
            spread=width,
            limit=limit,
        )

    def _trust(self, points, score, truth, fold):
        """Typical deviations, their widths and the limit of trust."""
        deviations = np.full((len(truth), 2), np.nan)
        for number in np.unique(fold):
            out = np.asarray(fold) == number
            # Of one fold alone there are no others.
            mean, deviation = _shape(truth[~out] if not out.all() else truth)
            other = dataclasses.replace(
                self, shape_mean=mean, shape_deviation=deviation
            )
            deviations[out] = ops.convert_to_numpy(
                ops.stack(other._deviations(points[out], score[out]), -1)
            )
        typical, high = np.percentile(deviations, (50, 90), axis=0)
        width = np.maximum(high - typical, 0.01)
        novelty = ((deviations - typical) / width).max(-1)
        return typical, width, max(trust_limit(novelty), 1.0)

    def radius(self, score: Any, covariance: Any, grid_to_space: Any) -> Any:
        """Returns within what landmarks lie with 90 %, `(B, N)`, see `uncertainty`."""
        factor = ops.convert_to_tensor(self.radius_factor, "float32")
        return factor * scale(score, covariance, grid_to_space)

    def present(self, score: Any) -> Any:
        """Returns whether landmarks are there, bool `(B, N)`, see `uncertainty`."""
        score = ops.convert_to_tensor(score, "float32")
        return score >= ops.convert_to_tensor(self.least_score, "float32")

    def novelty(self, points: Any, score: Any) -> Any:
        """Returns how unlike the known ones images are, `(B,)`: up to 1 is usual.

        The larger of two: by how much scores fall short of the usual ones, and how
        far the distances from landmark to landmark are from those of the training
        images, a saturating measure (`r² / (r² + 9)` of r standard deviations) in
        which a few landmarks that are far off count little. Landmarks that are absent
        and may be have no part.
        """
        in_score, in_shape = (
            (odd - float(usual)) / float(spread)
            for odd, usual, spread in zip(
                self._deviations(points, score), self.usual, self.spread, strict=True
            )
        )
        return ops.maximum(in_score, in_shape)

    def trusted(self, points: Any, score: Any) -> Any:
        """Returns whether images are like the known ones, bool `(B,)`."""
        return self.novelty(points, score) <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain values, ready for JSON."""
        data: dict[str, Any] = {"version": VERSION}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value = _plain(value)
            data[field.name] = value
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Calibration":
        """Builds it from what `to_dict` returned.

        Raises:
            ValueError: If it is of another version, or damaged.
        """
        data = dict(data)
        version = data.pop("version", None)
        if version != VERSION:
            raise ValueError(
                f"This calibration has the version {version!r}, and scn-keras here "
                f"reads version {VERSION}. Calibrate the run again: scn-keras "
                "calibrate RUN."
            )
        names = {field.name: field.type for field in dataclasses.fields(cls)}
        if set(data) != set(names):
            raise ValueError(
                "This calibration is damaged: it should hold "
                f"{', '.join(names)}. Received: {', '.join(data)}"
            )
        arrays = {
            name: np.array(data[name], bool if name == "always" else np.float64)
            for name, kind in names.items()
            if kind is np.ndarray
        }
        return cls(**{**data, **arrays})

    def _deviations(self, points, score):
        """What is odd about scores and shape, two arrays `(B,)`; higher is odder."""
        points = ops.convert_to_tensor(points, "float32")
        score = ops.convert_to_tensor(score, "float32")
        counts = ops.logical_or(self.present(score), ops.convert_to_tensor(self.always))
        counts = ops.cast(counts, "float32")
        usual = ops.convert_to_tensor(self.usual_score, "float32")
        total = ops.sum(counts, axis=-1)
        ratio = ops.sum(counts * score / usual, axis=-1) / ops.maximum(total, 1.0)

        known = np.isfinite(self.shape_deviation)
        mean = np.where(known[..., None], self.shape_mean, 0.0)
        deviation = np.where(known, self.shape_deviation, 1.0)
        placed = ops.all(ops.isfinite(points), axis=-1)
        points = ops.where(placed[..., None], points, 0.0)
        apart = points[:, :, None] - points[:, None] - _constant(mean)
        squared = ops.mean(ops.square(apart / _constant(deviation[..., None])), axis=-1)
        far = squared / (squared + _HALF**2)
        far = ops.where(ops.logical_and(placed[:, :, None], placed[:, None]), far, 1.0)
        pairs = counts[:, :, None] * counts[:, None] * _constant(known)
        number = ops.sum(pairs, axis=(1, 2))
        shape = ops.sum(pairs * far, axis=(1, 2)) / ops.maximum(number, 1.0)
        # An image of nothing is like none.
        return 1.0 - ratio, ops.where(number > 0.0, shape, 1.0)


def uncertainty(
    calibration: Calibration | None,
    points: Any,
    score: Any,
    covariance: Any,
    grid_to_space: Any,
) -> dict[str, Any]:
    """Says how sure a model may be of what it found; also in the exported graph.

    Written in Keras' operations, without linear algebra, which ONNX and LiteRT lack.

    Args:
        calibration: `Calibration`, or `None` where the run has none.
        points: Array `(B, N, D)` in pixels of the grid that the network saw.
        score: Array `(B, N)`.
        covariance: Array `(B, N, D, D)` in squared pixels of the grid.
        grid_to_space: Array `(B, D + 1, D + 1)` from the grid to millimetres, or to
            whatever the radii are to be in; NaN where that is not known.

    Returns:
        Dict of tensors: `radius90`, float32 `(B, N)`, in the unit of `grid_to_space`:
        the true point lies within it with 90 %; `present`, bool `(B, N)`: the
        landmark is there at all; `trusted`, bool `(B,)`: the image is like those that
        the run knows. Without a calibration radii are NaN, a landmark is present if
        its score is above 0, and nothing is trusted, since nothing vouches for it.

    Example:

    ```python
    found = uncertainty(run.calibration, points, score, covariance, grid_to_space)
    ```
    """
    if calibration is None:
        score = ops.convert_to_tensor(score, "float32")
        return {
            "radius90": ops.full_like(score, math.nan),
            "present": score > 0.0,
            "trusted": ops.any(score < -1.0, axis=-1),  # false, whatever the batch
        }
    return {
        "radius90": calibration.radius(score, covariance, grid_to_space),
        "present": calibration.present(score),
        "trusted": calibration.trusted(points, score),
    }


def scale(score: Any, covariance: Any, grid_to_space: Any) -> Any:
    """Returns what radii are in proportion to, `(B, N)`.

    The width of the heatmap's peak in space, at least half a pixel of the grid along
    an axis, divided by the root of its score: where a network hesitates, peaks are
    wide and low.

    Args:
        score, covariance, grid_to_space: See `uncertainty`.
    """
    score = ops.convert_to_tensor(score, "float32")
    covariance = ops.convert_to_tensor(covariance, "float32")
    d = covariance.shape[-1]
    linear = ops.convert_to_tensor(grid_to_space, "float32")[:, :d, :d]
    # Not by matrix products, see `apply_affine`.
    gram = ops.sum(linear[:, :, :, None] * linear[:, :, None], axis=1)
    wide = covariance + _constant(_MIN_VARIANCE * np.eye(d))
    squared = ops.sum(gram[:, None] * wide, axis=(-2, -1))
    return ops.sqrt(squared / ops.maximum(score, _MIN_SCORE))


def trust_limit(novelty: np.ndarray) -> float:
    """Returns the novelty that 2 % of the next images are expected to exceed.

    The `ceil(0.98 (n + 1))`-th of the novelties of n held-out images in order; of fewer
    than 49 images, which have no such rank, one and a half times the largest.

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
    """Errors in terms of `scale`, `(n, N)`."""
    error = point_distances(
        apply_affine(held_out.grid_to_space, truth),
        apply_affine(held_out.grid_to_space, held_out.points),
    )
    scales = scale(score, held_out.covariance, held_out.grid_to_space)
    ratio = error / ops.convert_to_numpy(scales)
    # A landmark that is present and was not found is beyond any radius.
    lost = present & ~np.isfinite(held_out.points).all(-1)
    ratio = np.where(lost, math.inf, ratio)
    if np.isnan(ratio).all():
        raise ValueError(
            "A calibration takes points, covariances and a space in which errors "
            "can be measured. Received: none of them finite"
        )
    return ratio


def radius_factors(ratio: np.ndarray) -> np.ndarray:
    """Returns the radius of each landmark in terms of `scale`, see `Calibration.fit`.

    Args:
        ratio: Array `(n, N)` of errors in terms of `scale`, NaN where there is none.

    Returns:
        Array `(N,)`.
    """
    every = ratio[~np.isnan(ratio)]
    factors = []
    for column in ratio.T:
        own = column[~np.isnan(column)]
        lacking = max(MIN_IMAGES - own.size, 0)
        values = np.concatenate([own, every])
        weights = np.repeat([1.0, lacking / every.size], [own.size, every.size])
        order = np.argsort(values, kind="stable")
        # The next image is one more, and might be beyond all. Of so few that this would
        # be the answer, others stand in, and it is theirs.
        needed = COVERAGE * (own.size + lacking + (lacking == 0))
        place = np.searchsorted(np.cumsum(weights[order]), needed - 1e-6)
        factors.append(values[order][min(place, values.size - 1)])
    return np.array(factors)


def _typical_scores(score: np.ndarray, there: np.ndarray) -> np.ndarray:
    middle = float(np.median(score[there]))
    usual = [
        np.median(column[here]) if here.any() else middle
        for column, here in zip(score.T, there.T, strict=True)
    ]
    return np.maximum(usual, _MIN_SCORE)


def _min_scores(ratio: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Thresholds of presence as shares of the usual scores, see `Calibration.fit`."""
    least = _MARGIN * float(np.quantile(ratio[there], _LOW_SCORES))
    if (~there).sum() >= _MIN_MISSING:
        least = _best_threshold(ratio.ravel(), there.ravel())
    enough = np.minimum((~there).sum(0), there.sum(0)) >= _MIN_MISSING
    return np.array(
        [
            _best_threshold(ratio[:, k], there[:, k]) if enough[k] else least
            for k in range(ratio.shape[1])
        ]
    )


def _best_threshold(value: np.ndarray, there: np.ndarray) -> float:
    """The threshold with the best F1 of what is there, between two of the values."""
    order = np.argsort(value, kind="stable")
    value, there = value[order], there[order]
    # Of all that is not below the k-th value.
    hits = there[::-1].cumsum()[::-1]
    f1 = 2.0 * hits / (np.arange(there.size, 0, -1) + there.sum())
    f1[1:][value[1:] == value[:-1]] = -1.0  # no threshold lies between equal ones
    best = int(f1.argmax())
    return float(0.5 * (value[best] + (value[best - 1] if best else 0.0)))


def _shape(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the ways from landmark to landmark."""
    mean, deviation = [], []
    for one in range(truth.shape[1]):
        apart = truth[:, one, None] - truth
        there = ~np.isnan(apart).any(-1)
        count = there.sum(0)
        apart = np.where(there[..., None], apart, 0.0)
        middle = apart.sum(0) / np.maximum(count, 1)[:, None]
        squared = np.square(np.where(there[..., None], apart - middle, 0.0))
        variance = squared.mean(-1).sum(0) / np.maximum(count - 1, 1)
        tolerated = np.square(_TOLERANCE * middle).sum(-1) + 1.0
        never = count == 0
        mean.append(np.where(never[:, None], np.nan, middle))
        deviation.append(np.where(never, np.nan, np.sqrt(variance + tolerated)))
    return np.array(mean), np.array(deviation)


def _constant(values: np.ndarray) -> Any:
    return ops.convert_to_tensor(np.asarray(values, np.float32))


def _plain(values: np.ndarray) -> list[Any]:
    """Nested lists for JSON, which has no NaN: `None` stands for it."""
    if values.dtype == bool:
        return values.tolist()
    return np.where(np.isnan(values), np.array(None), values).tolist()
