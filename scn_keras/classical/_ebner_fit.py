"""Fits the stages of `EbnerForest`."""

from typing import Any

import numpy as np

from scn_keras.classical import _pixels as pixels
from scn_keras.classical._fitted_parts import FittedParts
from scn_keras.classical._stage import Stage
from scn_keras.classical.box_differences import BoxDifferences, box_means
from scn_keras.classical.offset_forest import OffsetForest

# Features of the local forests of several landmarks are computed together, because the
# integral image is that of the whole image.
_MAX_BYTES = 2**29
_GLOBAL, _LOCAL = 1, 2  # parts of the seed


class EbnerFit:
    """Fits global and local forests.

    Args:
        settings: `EbnerForest`, for its settings.
        images: Float32 array `(n, *grid)`.
        points: Float64 array `(n, N, D)`.
        store: `FittedParts`.
    """

    def __init__(
        self, settings: Any, images: np.ndarray, points: np.ndarray, store: FittedParts
    ) -> None:
        self._settings = settings
        self._images = images
        self._points = points
        self._store = store

    def fit_global(self) -> Stage:
        """Fits the forest of pixels of the whole image for all landmarks."""
        settings = self._settings
        factor = settings.global_factor
        features = self._features(settings.global_reach / factor, _GLOBAL)

        def fit():
            random = self._random(_GLOBAL, 2)
            count = _per_image(settings.global_samples, len(self._images))
            values, offsets = [], []
            points = pixels.completed(self._points)
            for image, target in zip(self._images, points, strict=True):
                small = pixels.shrink(image, factor)
                at = pixels.drawn_in_grid(small.shape, count, random)
                values.append(features(small, at))
                offsets.append(target - pixels.in_grid(at, factor)[:, None])
            return self._forest(
                np.concatenate(values), np.concatenate(offsets), _GLOBAL
            )

        return Stage(features, [self._store.forest("global", fit)])

    def fit_local(self, number: int) -> Stage:
        """Fits the forests of a local stage, one for each landmark."""
        settings, landmarks = self._settings, self._points.shape[1]
        reach = getattr(settings, "feature_reach", settings.local_radii[number])
        features = self._features(reach, _LOCAL, number)
        bytes_each = 4 * settings.num_features * settings.local_samples
        group = max(1, _MAX_BYTES // bytes_each)
        forests = []
        for first in range(0, landmarks, group):
            several = range(first, min(first + group, landmarks))
            forests += self._fit_several(features, number, several)
        return Stage(features, forests)

    def _fit_several(self, features, number, landmarks):
        names = [f"local{number}_{landmark}" for landmark in landmarks]
        samples: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        if not all(map(self._store.holds, names)):
            samples = self._local_samples(features, number, landmarks)

        def fit(landmark):
            # Its memory is no longer required.
            values, offsets = samples.pop(landmark)
            return self._forest(values, offsets, _LOCAL, number, landmark)

        return [
            self._store.forest(name, lambda landmark=landmark: fit(landmark))
            for landmark, name in zip(landmarks, names, strict=True)
        ]

    def _local_samples(self, features, number, landmarks):
        """Returns features and offsets of pixels near landmarks, by landmark."""
        settings, points = self._settings, self._points
        present = ~np.isnan(points).any(axis=-1)
        images = present.sum(axis=0)
        at: dict[int, np.ndarray] = {}
        values: dict[int, list[np.ndarray]] = {landmark: [] for landmark in landmarks}
        for landmark in landmarks:
            at[landmark] = pixels.drawn_in_ball(
                np.nan_to_num(points[:, landmark]),
                settings.local_radii[number],
                _per_image(settings.local_samples, images[landmark]),
                self._images.shape[1:],
                self._random(_LOCAL, number, landmark, 2),
            )
            self._draw_globally(at[landmark], number, landmark)
        for n, image in enumerate(self._images):
            means = box_means(image, settings.widths)
            for landmark in landmarks:
                if present[n, landmark]:
                    values[landmark].append(features.at(means, at[landmark][n]))
        samples = {}
        for landmark in landmarks:
            rows = present[:, landmark]
            apart = points[rows, landmark, None] - at[landmark][rows]
            offsets = apart.reshape(-1, 1, points.shape[-1])
            samples[landmark] = np.concatenate(values.pop(landmark)), offsets
        return samples

    def _draw_globally(self, at, *parts):
        """Replaces a share of local pixels by pixels of the whole image."""
        count = round(getattr(self._settings, "global_share", 0.0) * at.shape[1])
        if count:
            random = self._random(_LOCAL, *parts, 3)
            drawn = pixels.drawn_in_grid(
                self._images.shape[1:], len(at) * count, random
            )
            at[:, :count] = drawn.reshape(len(at), count, -1)

    def _random(self, *parts):
        return np.random.default_rng([self._settings.seed, *parts])

    def _features(self, reach, *parts):
        settings = self._settings
        return BoxDifferences.draw(
            settings.num_features,
            (reach, reach / 4.0),
            settings.widths,
            self._points.shape[-1],
            self._random(*parts, 0),
        )

    def _forest(self, values, offsets, *parts):
        settings = self._settings
        return OffsetForest.fit(
            values,
            offsets,
            settings.trees,
            settings.min_samples_leaf,
            settings.max_features,
            int(self._random(*parts, 1).integers(2**31)),
        )


def _per_image(total, images):
    """Returns the number of pixels of each image."""
    return max(1, round(total / images))
