"""Base class of the methods of `scn_keras.classical`."""

import abc
import inspect
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from scn_keras.classical._fitted_parts import FittedParts
from scn_keras.classical._stored_model import load_arrays, save_arrays


class LandmarkMethod(abc.ABC):
    """Fits to images and points, localises, and stores settings and arrays.

    A subclass stores the arguments of its constructor as attributes of the same names.
    """

    # scikit-learn is required for fitting.
    _uses_forests = True
    # Names of settings whose values must be positive.
    _positive: tuple[str, ...] = ()
    _landmarks: Any = None

    @property
    def localizer(self) -> Self:
        """The object itself, as in `LandmarkModel`."""
        return self

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names}

    def fit(
        self,
        images: np.ndarray,
        points: np.ndarray,
        parts: str | pathlib.Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Fits the method.

        Args:
            images: Array `(n, *grid)`.
            points: Array `(n, N, D)` in px, columns x, y(, z), NaN if missing.
            parts: A folder in which every part (a forest, for instance) is stored when
                it is fitted. Parts that exist there are not fitted again; they must be
                of the same images and settings.
            progress: Function of the number of fitted parts and their total.

        Returns:
            The object itself.

        Raises:
            ImportError: If the method requires scikit-learn and it is not installed.
            ValueError: If shapes do not match, or a landmark is missing from all
                images.
        """
        if self._uses_forests:
            from scn_keras.classical.offset_forest import require_scikit_learn

            require_scikit_learn()
        images = np.asarray(images, "float32")
        points = np.asarray(points, "float64")
        _require_data(images, points)
        landmarks = points.shape[1]
        store = FittedParts(parts, self._num_parts(landmarks), progress)
        self._fit(images, points, store)
        self._landmarks = landmarks
        return self

    def predict_on_batch(self, images: Any) -> dict[str, np.ndarray]:
        """Localises the landmarks of images.

        Args:
            images: Array `(n, *grid, 1)` of any size.

        Returns:
            Dict of float32: `points` `(n, N, D)` in px, `score` `(n, N)` and
            `covariance` `(n, N, D, D)` in px².

        Raises:
            RuntimeError: If the method is not fitted.
        """
        self._require_fitted()
        located = [self._locate(image) for image in np.asarray(images)[..., 0]]
        names = ("points", "score", "covariance")
        return {
            name: np.stack(values).astype("float32")
            for name, values in zip(names, zip(*located, strict=True), strict=True)
        }

    def save(self, path: str | pathlib.Path) -> None:
        """Writes settings and arrays to one `.npz` file, without pickle."""
        self._require_fitted()
        settings = {
            "kind": type(self).__name__,
            "landmarks": self._landmarks,
            "config": self.get_config(),
        }
        save_arrays(path, settings, self._arrays())

    @classmethod
    def load(cls, path: str | pathlib.Path) -> Self:
        """Loads a model that `save` has written. scikit-learn is not required.

        Raises:
            ValueError: If the file is not that of this class.
        """
        settings, arrays = load_arrays(path, cls.__name__)
        method = cls(**settings["config"])
        method._landmarks = settings["landmarks"]
        method._restore(arrays)
        return method

    @abc.abstractmethod
    def _num_parts(self, landmarks: int) -> int:
        """Returns the number of parts for the progress bar."""

    @abc.abstractmethod
    def _fit(self, images: np.ndarray, points: np.ndarray, store: FittedParts) -> None:
        """Fits all parts."""

    @abc.abstractmethod
    def _locate(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns points, scores and covariances of one image."""

    @abc.abstractmethod
    def _arrays(self) -> dict[str, np.ndarray]:
        """Returns what `fit` has fitted, by name."""

    @abc.abstractmethod
    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Sets the result of `_arrays`; `_landmarks` is set before."""

    def _require_fitted(self) -> None:
        if self._landmarks is None:
            raise RuntimeError(
                f"{type(self).__name__} is not fitted. Call `fit` or `load` first."
            )

    def _require_positive(self) -> None:
        for name in self._positive:
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`{name}` must be positive. Received: {name}={getattr(self, name)}"
                )


def _require_data(images, points):
    rank = images.ndim - 1
    if (
        rank not in (2, 3)
        or points.ndim != 3
        or points.shape[::2] != (len(images), rank)
    ):
        raise ValueError(
            "`images` must have the shape (n, rows, columns) or (n, slices, rows, "
            "columns) and `points` (n, landmarks, D). "
            f"Received: images {images.shape}, points {points.shape}"
        )
    missing = np.flatnonzero(np.isnan(points).any(axis=-1).all(axis=0))
    if missing.size:
        raise ValueError(
            "Every landmark must be present in at least one image. "
            f"Received: landmarks {missing.tolist()} are missing from all images"
        )
