"""Convex quadratic plus separable nonsmooth term: lasso and quadratic programs, differentiable.

Both are solved by cyclic coordinate descent on the Gram matrix, whose fixed points are exact, then
polished by solving the linear system of the active coordinates; and both are differentiated
through their optimality conditions by `implicit_root`. Intended for up to a few hundred unknowns.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Num

from swjax.nonsmooth.roots import implicit_root


def soft_threshold(z: ArrayLike, threshold: ArrayLike) -> Array:
    """sign(z) max(|z| - threshold, 0): the proximal map of threshold |.|.

    Args:
        z: numbers, `(...)`.
        threshold: nonnegative, a scalar or of the shape of z.

    Returns:
        An array of the shape of z.
    """
    z = jnp.asarray(z)
    return jnp.sign(z) * jax.nn.relu(jnp.abs(z) - jnp.broadcast_to(jnp.asarray(threshold), z.shape))


def lasso(
    design: Num[Array, "n p"],
    response: Num[Array, " n"],
    log_penalty: Num[Array, ""] | Num[Array, " p"] | float,
    *,
    max_sweeps: int = 10_000,
    check: bool = True,
) -> Float[Array, " p"]:
    """Argmin over b of |design b - response|^2 / 2 + sum_j exp(log_penalty_j) |b_j|.

    Differentiable in all three arguments, through the fixed-point equation

        b = S(b - t design^T (design b - response)),   S the soft threshold at t exp(log_penalty),

    with t_j = 1 / |design_j|^2 for column j.

    The condition of the implicit function theorem holds where the columns of the equicorrelation
    set (the coordinates whose correlation with the residual equals the penalty) are linearly
    independent. There the solution is path differentiable, and off ties, with S the support,
    d b_S / d log_penalty = -exp(log_penalty) (design_S^T design_S)^-1 sign(b_S).

    scikit-learn divides the quadratic term by n: its `alpha` is exp(log_penalty) / n.

    Args:
        design: matrix, `(n, p)`.
        response: vector, `(n,)`.
        log_penalty: logarithm of the penalty, a scalar, or `(p,)` for one penalty per coordinate.
        max_sweeps: bound on the passes over the coordinates; the solver stops at a fixed point.
        check: whether the invertibility condition is examined when differentiated at concrete
            values (see `implicit_root`).

    Returns:
        The coefficients b, `(p,)`.

    Reference:
        Bolte, Le, Pauwels and Silveti-Falls, "Nonsmooth implicit differentiation for machine
        learning and optimization", NeurIPS 2021 (the lasso).

    Example:
        With an orthonormal design the lasso is a soft threshold.

        >>> import jax.numpy as jnp
        >>> b = lasso(jnp.eye(3), jnp.array([3.0, -0.5, -2.0]), jnp.log(1.0))
        >>> [round(float(v), 3) for v in b]
        [2.0, 0.0, -1.0]
    """
    dtype = jnp.result_type(design, response, float)  # integers become floats
    design, response, log_penalty = (jnp.asarray(v, dtype) for v in (design, response, log_penalty))
    solve = partial(_solve_lasso, max_sweeps)
    return implicit_root(_lasso_residual, solve, check=check)(design, response, log_penalty)


def _lasso_residual(b, design, response, log_penalty):
    # Any steps t_j > 0 give the same solutions; these make every equation change at rate 1 in b_j,
    # whatever the scale of its column.
    curvature = jax.lax.stop_gradient((design**2).sum(0))
    step = 1 / jnp.where(curvature > 0, curvature, 1)
    forward = b - step * (design.T @ (design @ b - response))
    return b - soft_threshold(forward, step * jnp.exp(log_penalty))


@partial(jax.jit, static_argnums=0)
def _solve_lasso(max_sweeps, design, response, log_penalty):
    gram, linear = design.T @ design, design.T @ response
    weights = jnp.broadcast_to(jnp.exp(log_penalty), linear.shape)
    b = _coordinate_descent(gram, linear, lambda z, j: soft_threshold(z, weights[j]), max_sweeps)
    polished = _solve_active(gram, linear - weights * jnp.sign(b), b != 0)
    correlation = linear - gram @ polished
    # Rounding allowance of a correlation: that of the sums it is made of.
    slack = weights + 1e2 * jnp.finfo(b.dtype).eps * (jnp.abs(gram) @ jnp.abs(b))
    valid = (jnp.sign(polished) == jnp.sign(b)).all() & (jnp.abs(correlation) <= slack).all()
    return jnp.where(valid, polished, b)


def lasso_path(
    design: Num[Array, "n p"],
    response: Num[Array, " n"],
    log_penalties: Float[Array, " k"],
    *,
    max_sweeps: int = 10_000,
) -> Float[Array, "k p"]:
    """The lasso solution for each of several penalties, differentiable in all arguments.

    As a function of exp(log_penalty) every coefficient is piecewise linear.

    Args:
        design: matrix, `(n, p)`.
        response: vector, `(n,)`.
        log_penalties: logarithms of the penalties, `(k,)`.
        max_sweeps: as in `lasso`.

    Returns:
        Coefficients, `(k, p)`. The invertibility condition is not examined under the batch axis;
        NaN derivatives mark a singular system.

    Example:
        >>> import jax.numpy as jnp
        >>> path = lasso_path(jnp.eye(2), jnp.array([3.0, -2.0]), jnp.log(jnp.array([1.0, 2.5])))
        >>> [[round(float(v), 3) for v in row] for row in path]
        [[2.0, -1.0], [0.5, 0.0]]
    """
    one = lambda t: lasso(design, response, t, max_sweeps=max_sweeps, check=False)
    return jax.vmap(one)(log_penalties)


class QPSolution(NamedTuple):
    """Solution of a quadratic program.

    Attributes:
        primal: the minimizer y, `(m,)`.
        dual: multipliers of the inequalities, nonnegative, `(k,)`.
    """

    primal: Array
    dual: Array


def quadratic_program(
    quadratic: Float[Array, "m m"],
    linear: Float[Array, " m"],
    inequalities: Float[Array, "k m"],
    bounds: Float[Array, " k"],
    *,
    max_sweeps: int = 10_000,
    check: bool = True,
) -> QPSolution:
    """Argmin over y of y^T Q y / 2 + c^T y subject to G y <= h, with Q positive definite.

    Differentiable in Q, c, G and h through the optimality conditions

        Q y + c + G^T z = 0,   z = max(z + G y - h, 0).

    The condition of the implicit function theorem holds where the rows of G that are active, that
    is those with G_i y = h_i, are linearly independent. Where a multiplier is zero on an active row
    (weak complementarity) the solution has a kink, and the derivative is a conservative one.

    Args:
        quadratic: Q, symmetric positive definite, `(m, m)`.
        linear: c, `(m,)`.
        inequalities: G, `(k, m)`, without zero rows.
        bounds: h, `(k,)`; the feasible set must not be empty.
        max_sweeps: bound on the passes of dual coordinate descent.
        check: whether the invertibility condition is examined when differentiated at concrete
            values (see `implicit_root`).

    Returns:
        A `QPSolution`.

    Reference:
        Amos and Kolter, "OptNet", ICML 2017 (quadratic programs as layers); Bolte, Le, Pauwels and
        Silveti-Falls, NeurIPS 2021 (nonsmooth optimality conditions).

    Example:
        The projection of (2, 0.5) onto y_1 <= 1 moves with the second coordinate only.

        >>> import jax, jax.numpy as jnp
        >>> project = lambda x: quadratic_program(
        ...     jnp.eye(2), -x, jnp.array([[1.0, 0.0]]), jnp.ones(1)
        ... ).primal
        >>> [round(float(v), 3) for v in project(jnp.array([2.0, 0.5]))]
        [1.0, 0.5]
        >>> slope = jax.jacrev(project)(jnp.array([2.0, 0.5]))
        >>> [[round(float(v), 3) for v in row + 0.0] for row in slope]
        [[0.0, 0.0], [0.0, 1.0]]
    """
    solve = partial(_solve_program, max_sweeps)
    return implicit_root(_program_residual, solve, check=check)(
        quadratic, linear, inequalities, bounds
    )


def _program_residual(point, quadratic, linear, inequalities, bounds):
    stationary = quadratic @ point.primal + linear + inequalities.T @ point.dual
    shifted = point.dual + inequalities @ point.primal - bounds
    return QPSolution(stationary, point.dual - jax.nn.relu(shifted))


@partial(jax.jit, static_argnums=0)
def _solve_program(max_sweeps, quadratic, linear, inequalities, bounds):
    solved = jnp.linalg.solve(quadratic, jnp.concatenate([inequalities.T, linear[:, None]], 1))
    gram = inequalities @ solved[:, :-1]
    target = -(bounds + inequalities @ solved[:, -1])
    dual = _coordinate_descent(gram, target, lambda z, j: jax.nn.relu(z), max_sweeps)
    polished = _solve_active(gram, target, dual > 0)
    slack = 1e2 * jnp.finfo(gram.dtype).eps * (jnp.abs(gram) @ jnp.abs(dual) + jnp.abs(target))
    valid = (polished >= 0).all() & (target - gram @ polished <= slack).all()
    dual = jnp.where(valid, polished, dual)
    return QPSolution(-solved[:, -1] - solved[:, :-1] @ dual, dual)


def _coordinate_descent(
    gram: Float[Array, "p p"],
    linear: Float[Array, " p"],
    shrink: Callable[[Array, Array], Array],
    max_sweeps: int,
) -> Float[Array, " p"]:
    """Argmin of b^T gram b / 2 - linear^T b + sum_j g_j(b_j), by cyclic exact minimization.

    shrink(z, j) minimizes b^2 / 2 - z b + g_j(b); g_j must be positively homogeneous, so that the
    step in coordinate j is shrink(z, j) / gram_jj.
    """
    curvature = jnp.diag(gram)
    safe = jnp.where(curvature > 0, curvature, 1)
    tolerance = 4 * jnp.finfo(gram.dtype).eps

    def update(j, b):
        z = linear[j] - gram[j] @ b + curvature[j] * b[j]
        return b.at[j].set(jnp.where(curvature[j] > 0, shrink(z, j) / safe[j], 0))

    def sweep(state):
        count, b, _ = state
        new = jax.lax.fori_loop(0, b.shape[0], update, b)
        return count + 1, new, abs(new - b).max() > tolerance * abs(new).max()

    moving = lambda state: state[2] & (state[0] < max_sweeps)
    start = (jnp.zeros((), int), jnp.zeros_like(linear), jnp.asarray(True))
    return jax.lax.while_loop(moving, sweep, start)[1]


def _solve_active(
    gram: Float[Array, "p p"], target: Float[Array, " p"], active: Bool[Array, " p"]
) -> Float[Array, " p"]:
    """The solution of gram b = target on the active coordinates, zero on the others."""
    both = active[:, None] & active[None]
    identity = jnp.eye(len(target), dtype=gram.dtype)
    return jnp.linalg.solve(jnp.where(both, gram, identity), jnp.where(active, target, 0))
