from collections.abc import Sequence

import numpy as np

# Fewer people do not tell how landmarks go together.
MIN_GROUPS = 10
_FOLDS = 10
_RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class ConditionalShape:
    """Predicts each landmark of an aligned shape from all of its others.

    A multivariate normal distribution of the aligned coordinates, whose covariance
    is shrunk by adding a share of the mean variance to its diagonal: the share that
    predicts best. Each shape is predicted by a distribution that was estimated
    without any shape of its patient (ten folds), and in a second round without
    those that stood out in the first: an error cannot explain itself. Landmarks that
    fewer than ten shapes have do not stand out.

    Args:
        aligned: Array `(R, N, D)`, shapes aligned to `mean`, NaN for missing.
        mean: Array `(N, D)`.
        groups: Sequence of R str, the patients.
        limit: Float, the surprise from which a shape is left out in the second round.
    """

    def __init__(
        self,
        aligned: np.ndarray,
        mean: np.ndarray,
        groups: Sequence[str],
        limit: float,
    ) -> None:
        self._deviations = aligned - mean
        order = {group: n for n, group in enumerate(sorted(set(groups)))}
        self._fold = np.array([order[group] % _FOLDS for group in groups])
        used = np.ones(len(aligned), bool)
        self._ridge = min(_RIDGES, key=lambda ridge: self._error(ridge, used))
        for _ in range(2):
            self._estimate(self._ridge, used)
            raw = np.stack(
                [self._raw(row, d) for row, d in enumerate(self._deviations)]
            )
            known = (~np.isnan(raw)).sum(axis=0) >= MIN_GROUPS
            self._usual = np.full(len(known), np.inf)
            self._usual[known] = np.maximum(np.nanmedian(raw[:, known], axis=0), 1e-9)
            surprise = raw / self._usual
            used = ~(np.nan_to_num(surprise) > limit).any(axis=-1)
            if used.mean() < 0.5:  # it is not a few that stand out
                used[:] = True
        self.surprises = surprise

    def offsets(self, row: int, deviations: np.ndarray) -> np.ndarray:
        """Returns `(N, D)`, how far landmarks are from where the others predict them.

        Args:
            row: Int, the shape, by whose fold it is predicted.
            deviations: Array `(N, D)`, the aligned shape minus the mean: that of the
                row, or a variant of it.
        """
        offsets, _ = self._conditional(row, deviations)
        return offsets

    def surprise(self, row: int, deviations: np.ndarray) -> np.ndarray:
        """Returns `(N,)`: the Mahalanobis length of the offsets, in usual ones.

        1 is the median of the set for that landmark. NaN where it is missing.
        """
        return self._raw(row, deviations) / self._usual

    def deviations(self, row: int) -> np.ndarray:
        """Returns a copy of the aligned shape minus the mean."""
        return self._deviations[row].copy()

    def _error(self, ridge, used):
        self._estimate(ridge, used)
        offsets = [self.offsets(row, d) for row, d in enumerate(self._deviations)]
        return np.nanmedian(np.linalg.norm(offsets, axis=-1))

    def _estimate(self, ridge, used):
        self._center, self._covariance = [], []
        self._precision: dict[tuple[int, bytes], tuple[np.ndarray, ...]] = {}
        count = len(self._deviations)
        flat = np.nan_to_num(self._deviations).reshape(count, -1)
        for fold in range(_FOLDS):
            chosen = flat[used & (self._fold != fold)]
            covariance = np.cov(chosen.T)
            shrink = max(ridge * np.trace(covariance) / len(covariance), 1e-12)
            self._center.append(chosen.mean(axis=0).reshape(self._deviations.shape[1:]))
            self._covariance.append(covariance + shrink * np.eye(len(covariance)))

    def _raw(self, row, deviations):
        offsets, blocks = self._conditional(row, deviations)
        return np.sqrt(np.einsum("nd,nde,ne->n", offsets, blocks, offsets))

    def _conditional(self, row, deviations):
        # Of a normal distribution with precision matrix P, landmark j given the others
        # has covariance inv(P_jj), and is off its mean by inv(P_jj) (P x)_j.
        n, d = deviations.shape
        here = ~np.isnan(deviations).any(axis=-1)
        fold = self._fold[row]
        key = (int(fold), here.tobytes())
        if key not in self._precision:
            known = np.repeat(here, d)
            precision = np.linalg.inv(self._covariance[fold][np.ix_(known, known)])
            m = int(here.sum())
            blocks = precision.reshape(m, d, m, d)[np.arange(m), :, np.arange(m)]
            self._precision[key] = precision, blocks, np.linalg.inv(blocks)
        precision, some_blocks, inverse = self._precision[key]
        centered = (deviations - self._center[fold])[here]
        force = (precision @ centered.reshape(-1)).reshape(-1, d)
        offsets = np.full((n, d), np.nan)
        offsets[here] = np.einsum("nde,ne->nd", inverse, force)
        blocks = np.full((n, d, d), np.nan)
        blocks[here] = some_blocks
        return offsets, blocks
