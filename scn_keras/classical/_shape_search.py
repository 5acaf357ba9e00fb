"""Fits a shape model to response maps in shrinking discs."""

import dataclasses

import numpy as np

from scn_keras.classical import _pixels as pixels
from scn_keras.classical._votes import find_peak, moments_around, vote_map


@dataclasses.dataclass(frozen=True)
class Response:
    """The votes for a landmark in a window.

    Attributes:
        density: Array `(*window)`, the smoothed votes.
        corner: Array `(D,)`, the first pixel of the window.
        votes: Array `(V, D)` in px.
        weights: Array `(V,)`.
        sigma: Float in px, the width of the smoothing.
    """

    density: np.ndarray
    corner: np.ndarray
    votes: np.ndarray
    weights: np.ndarray
    sigma: float

    def best(self, point, radius):
        """Returns the pixel with the most votes in a disc, and its height."""
        sizes = self.density.shape
        axes = np.meshgrid(*map(np.arange, sizes), indexing="ij")[::-1]
        apart = sum(
            (axis + first - at) ** 2
            for axis, first, at in zip(axes, self.corner, point, strict=True)
        )
        inside = np.where(apart <= max(radius, 1.0) ** 2, self.density, -1.0)
        index = np.unravel_index(np.argmax(inside), sizes)
        if inside[index] < 0.0:  # the disc is outside the window
            return np.asarray(point, "float64"), 0.0
        return np.array(index[::-1]) + self.corner, float(self.density[index])

    def peak(self, point, radius):
        """Returns the densest point of a disc to sub-pixel precision, and its score."""
        pixel, _ = self.best(point, radius)
        low = np.maximum((pixel - self.corner).astype(int) - 1, 0)[::-1]
        around = tuple(slice(first, first + 3) for first in low)
        # Its neighbours in the window only; outside the disc may be a larger value.
        part = self.density[around]
        center = (pixel - self.corner - low[::-1]).astype(int)[::-1]
        if part.size and part[tuple(center)] == part.max():
            refined, height = find_peak(part)
            pixel = refined + self.corner + low[::-1]
        else:
            height = float(part[tuple(center)]) if part.size else 0.0
        return pixel, height / max(float(self.weights.sum()), 1e-30)

    def covariance(self, point):
        """Returns the covariance of the votes around a point in px²."""
        return moments_around(point, self.votes, self.weights, 3.0 * self.sigma)


def response_of(means, features, forest, point, radius, sigma):
    """Returns the `Response` of the pixels around the estimate of a landmark.

    Every tree of a pixel has one vote of weight 1.

    Args:
        means: The box means of the image.
        features: `BoxDifferences`.
        forest: `OffsetForest` of the landmark.
        point: Array `(D,)`, the estimate in px.
        radius: Float in px, within which pixels vote.
        sigma: Float in px, the width of the smoothing.
    """
    sizes = means.shape[1:]
    step = max(1, round(radius / 8.0))
    at = pixels.ball_pixels(point, radius, step, sizes)
    offsets = forest.votes(features.at(means, at))[:, :, 0]
    votes = (at[:, None] + offsets).reshape(-1, len(point)).astype("float64")
    reach = int(np.ceil(2.0 * radius))
    corner = np.rint(np.clip(point, 0, np.array(sizes[::-1]) - 1)) - reach
    weights = np.ones(len(votes))
    window = [2 * reach + 1] * len(sizes)
    density = vote_map(votes - corner, weights, window, sigma)
    return Response(density, corner, votes, weights, sigma)


def fit_shape(responses, shape, points, radius, smallest, factor):
    """Returns the points of a shape model in response maps.

    The best pixels of discs around the points of the shape are projected on the model,
    repeatedly, with smaller and smaller discs.

    Args:
        responses: List by landmark of `Response`.
        shape: `ShapeModel`.
        points: Array `(N, D)` in px, the estimate.
        radius: Float in px, the first radius.
        smallest: Float in px, the last radius.
        factor: Float below 1, of each radius to the next.
    """
    while radius >= smallest:
        found = [
            response.best(point, radius)
            for response, point in zip(responses, points, strict=True)
        ]
        heights = np.array([height for _, height in found])
        if heights.max() > 0.0:
            weights = np.maximum(heights / heights.max(), 1e-3)
            points = shape.fit(np.array([point for point, _ in found]), weights)
        radius *= factor
    return points
