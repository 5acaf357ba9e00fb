"""Exact tests and intervals of counts, with NumPy."""

import numpy as np


def clopper_pearson(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the exact interval of a probability.

    Clopper and Pearson, Biometrika 26, 1934.

    Args:
        count, total: Ints, the number of successes and of trials.
        level: Float, the confidence level.

    Example:

    >>> tuple(round(bound, 3) for bound in clopper_pearson(0, 10))
    (0.0, 0.308)
    """
    tail = 0.5 * (1.0 - level)
    low, high = 0.0, 1.0
    if count > 0:  # P(X >= count) increases with the probability
        low = _solve(lambda p: 1.0 - _binomial_below(count, total, p) > tail)
    if count < total:
        high = _solve(lambda p: _binomial_below(count + 1, total, p) < tail)
    return low, high


def beta_binomial_upper(count: int, total: int, a: int, b: int) -> float:
    """Returns the probability of at least `count` of `total` next images.

    The next images exceed the b-th smallest of a + b - 1 earlier images of the same
    continuous distribution. The share of such images has the distribution Beta(a, b),
    so that the number is beta-binomial, whatever the distribution.

    Args:
        count, total: Ints.
        a, b: Ints of at least 1.

    Example:

    >>> round(beta_binomial_upper(1, 1, 2, 98), 6)  # 2 of 100
    0.02
    """
    if count <= 0:
        return 1.0
    factorial = _log_factorials(total + a + b)
    k = np.arange(total + 1)
    log_probability = (
        (factorial[total] - factorial[k] - factorial[total - k])
        + (factorial[k + a - 1] + factorial[total - k + b - 1])
        - factorial[total + a + b - 1]
        - (factorial[a - 1] + factorial[b - 1] - factorial[a + b - 1])
    )
    return float(min(np.exp(log_probability[count:]).sum(), 1.0))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Returns p-values adjusted for their number.

    Holm, Scandinavian Journal of Statistics 6, 1979.

    Args:
        p_values: Array `(n,)`.

    Example:

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    factors = np.arange(len(p_values), 0, -1)
    adjusted[order] = np.maximum.accumulate(p_values[order] * factors)
    return np.minimum(adjusted, 1.0)


def _log_factorials(largest):
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, largest + 1)))])


def _binomial_below(count, total, probability):
    """Returns P(X < count)."""
    factorial = _log_factorials(total)
    k = np.arange(count)
    log_probability = (
        (factorial[total] - factorial[k] - factorial[total - k])
        + k * np.log(probability)
        + (total - k) * np.log1p(-probability)
    )
    return float(np.exp(log_probability).sum())


def _solve(is_above):
    """Returns the smallest probability with a property, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return 0.5 * (low + high)
