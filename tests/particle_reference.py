"""What the tests of particles compare with: the problem on a grid solved without particles."""

import numpy as np
from scipy.optimize import nnls


def dirichlet(order, t):
    """The Dirichlet kernel of period 1, term by term."""
    k = np.arange(1, order + 1)
    return 1 + 2 * np.cos(2 * np.pi * k * t[..., None]).sum(-1)


def fourier_columns(order, t):
    """Orthonormal monomials at `t` as columns, in complex exponentials turned real."""
    k = np.arange(1, order + 1)[:, None]
    waves = np.exp(2j * np.pi * k * t[None])
    root = np.sqrt(2)
    return np.concatenate([np.ones((1, len(t))), root * waves.real, root * waves.imag])


def lasso_minimum(columns, y, penalty):
    """The minimum of |A x - y|^2 / 2 + penalty |x|_1, exactly, from its dual.

    The dual point is the projection of `y` on {q : |A^T q| <= penalty}, a least-distance problem,
    which Lawson and Hanson ("Solving least squares problems", 1974, chapter 23) solve by NNLS.
    """
    sides = np.concatenate([columns, -columns], axis=1)  # constraints sides^T (y + z) <= penalty
    bounds = sides.T @ y - penalty
    matrix = np.concatenate([-sides, bounds[None]])
    target = np.zeros(len(y) + 1)
    target[-1] = 1
    solution, _ = nnls(matrix, target, maxiter=10_000)
    residual = matrix @ solution - target
    z = -residual[:-1] / residual[-1]
    return (y @ y - z @ z) / 2
