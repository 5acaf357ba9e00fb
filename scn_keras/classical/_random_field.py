"""The labels of least energy in a random field, exactly."""

import numpy as np

_MAX_ELEMENTS = 2**22


def least_energy(unary, pairs):
    """Returns the labels with the least sum of energies, by variable elimination.

    The variable with the fewest neighbours is eliminated first. The time is exponential
    in the largest number of neighbours, which is small for trees and similar graphs.

    Args:
        unary: List of N arrays `(K_i,)`, the energies of the labels of each variable.
        pairs: Dict of `(i, j)` to arrays `(K_i, K_j)`, the energies of two labels.

    Returns:
        List of N ints.

    Raises:
        ValueError: If the graph has too many connections for an exact solution.
    """
    factors = [((i,), np.asarray(energy)) for i, energy in enumerate(unary)]
    factors += [(edge, np.asarray(energy)) for edge, energy in pairs.items()]
    left, steps = set(range(len(unary))), []
    while left:
        chosen = min(left, key=lambda v: (len(_scope(factors, v)), v))
        near = sorted(_scope(factors, chosen) - {chosen})
        scope = (*near, chosen)
        shape = [len(unary[v]) for v in scope]
        if np.prod(shape, dtype="float64") > _MAX_ELEMENTS:
            raise ValueError(
                "The graph has too many connections for an exact solution. "
                f"Received: a table of the sizes {shape}"
            )
        total = np.zeros(shape)
        for variables, energy in factors:
            if chosen in variables:
                total = total + _expanded(variables, energy, scope)
        factors = [factor for factor in factors if chosen not in factor[0]]
        factors.append((tuple(near), total.min(axis=-1)))
        steps.append((chosen, near, total.argmin(axis=-1)))
        left.remove(chosen)
    labels: dict[int, int] = {}
    for chosen, near, best in reversed(steps):
        labels[chosen] = int(best[tuple(labels[v] for v in near)])
    return [labels[v] for v in range(len(unary))]


def _scope(factors, variable):
    """Returns the variables that share a factor with one, itself included."""
    return {variable}.union(*(f[0] for f in factors if variable in f[0]))


def _expanded(variables, energy, scope):
    """Returns an array with one axis for each variable of a scope."""
    order = sorted(range(len(variables)), key=lambda axis: scope.index(variables[axis]))
    moved = np.transpose(energy, order)
    sizes = dict(zip((variables[axis] for axis in order), moved.shape, strict=True))
    return moved.reshape([sizes.get(v, 1) for v in scope])
