from collections.abc import Sequence

import numpy as np

# Fewer people do not determine how the landmarks vary together.
MIN_GROUPS = 10
_FOLDS = 10
_RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class ConditionalShape:
    """Predicts each landmark of an aligned shape from all others of that shape.

    The model is a multivariate normal distribution of the aligned coordinates. A share
    of the mean variance is added to the diagonal of its covariance; of seven shares
    the one with the best predictions is taken. Each shape is predicted by a
    distribution that was estimated without the shapes of its patient (ten folds), and
    in a second round also without the outliers of the first, so that an error does
    not contribute to its own prediction. Landmarks that fewer than ten shapes have are
    never outliers.

    Args:
        aligned: Array `(R, N, D)`, shapes aligned to `mean`, NaN for missing.
        mean: Array `(N, D)`.
        groups: Sequence of R str, the patients.
        limit: Float, the deviation above which a landmark is an outlier.
    """

    def __init__(
        self,
        aligned: np.ndarray,
        mean: np.ndarray,
        groups: Sequence[str],
        limit: float,
    ) -> None:
        self._residuals = aligned - mean
        order = {group: n for n, group in enumerate(sorted(set(groups)))}
        self._fold = np.array([order[group] % _FOLDS for group in groups])
        used = np.ones(len(aligned), bool)
        ridge = min(_RIDGES, key=lambda ridge: self._error(ridge, used))
        for _ in range(2):
            self._estimate(ridge, used)
            lengths = np.stack(
                [self._mahalanobis(row, r) for row, r in enumerate(self._residuals)]
            )
            known = (~np.isnan(lengths)).sum(axis=0) >= MIN_GROUPS
            self._typical = np.full(len(known), np.inf)
            medians = np.nanmedian(lengths[:, known], axis=0)
            self._typical[known] = np.maximum(medians, 1e-9)
            deviation = lengths / self._typical
            used = ~(np.nan_to_num(deviation) > limit).any(axis=-1)
            if used.mean() < 0.5:  # outliers are few by definition
                used[:] = True

    def offsets(self, row: int, residuals: np.ndarray) -> np.ndarray:
        """Returns the offsets of the landmarks from their predictions, `(N, D)`.

        Args:
            row: Int, the shape, by whose fold it is predicted.
            residuals: Array `(N, D)`, the aligned shape minus the mean: that of the
                row, or a variant of it.
        """
        offsets, _ = self._conditional(row, residuals)
        return offsets

    def deviation(self, row: int, residuals: np.ndarray) -> np.ndarray:
        """Returns the Mahalanobis lengths of the offsets relative to typical ones.

        Args:
            row: Int, see `offsets`.
            residuals: Array `(N, D)`, see `offsets`.

        Returns:
            Array `(N,)`; 1 is the set's median for the landmark, NaN is a missing one.
        """
        return self._mahalanobis(row, residuals) / self._typical

    def residuals(self, row: int) -> np.ndarray:
        """Returns a copy of the aligned shape minus the mean, `(N, D)`."""
        return self._residuals[row].copy()

    def _error(self, ridge, used):
        self._estimate(ridge, used)
        offsets = [self.offsets(row, r) for row, r in enumerate(self._residuals)]
        return np.nanmedian(np.linalg.norm(offsets, axis=-1))

    def _estimate(self, ridge, used):
        self._center, self._covariance = [], []
        self._precision: dict[tuple[int, bytes], tuple[np.ndarray, ...]] = {}
        count = len(self._residuals)
        flat = np.nan_to_num(self._residuals).reshape(count, -1)
        for fold in range(_FOLDS):
            chosen = flat[used & (self._fold != fold)]
            covariance = np.cov(chosen.T)
            shrink = max(ridge * np.trace(covariance) / len(covariance), 1e-12)
            self._center.append(chosen.mean(axis=0).reshape(self._residuals.shape[1:]))
            self._covariance.append(covariance + shrink * np.eye(len(covariance)))

    def _mahalanobis(self, row, residuals):
        offsets, blocks = self._conditional(row, residuals)
        return np.sqrt(np.einsum("nd,nde,ne->n", offsets, blocks, offsets))

    def _conditional(self, row, residuals):
        # In a normal distribution with precision matrix P, landmark j given the others
        # has the covariance inv(P_jj) and the offset inv(P_jj) (P x)_j from its mean.
        n, d = residuals.shape
        present = ~np.isnan(residuals).any(axis=-1)
        fold = self._fold[row]
        key = (int(fold), present.tobytes())
        if key not in self._precision:
            known = np.repeat(present, d)
            precision = np.linalg.inv(self._covariance[fold][np.ix_(known, known)])
            m = int(present.sum())
            blocks = precision.reshape(m, d, m, d)[np.arange(m), :, np.arange(m)]
            self._precision[key] = precision, blocks, np.linalg.inv(blocks)
        precision, present_blocks, inverse = self._precision[key]
        centered = (residuals - self._center[fold])[present]
        force = (precision @ centered.reshape(-1)).reshape(-1, d)
        offsets = np.full((n, d), np.nan)
        offsets[present] = np.einsum("nde,ne->nd", inverse, force)
        blocks = np.full((n, d, d), np.nan)
        blocks[present] = present_blocks
        return offsets, blocks
