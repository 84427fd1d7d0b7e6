"""Differentiate the solution of a nonsmooth equation, whatever solver found it.

If F(x, y) = 0 defines y = G(x), and every generalized Jacobian in y is invertible, then -B^-1 A,
with A and B what automatic differentiation returns for F in x and in y, is a selection of a
conservative Jacobian of G: gradients computed with it obey the chain rule along almost every
curve, and SGD with it keeps its guarantees. Without invertibility nothing of the kind holds.
"""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from swjax._checks import is_concrete
from swjax.nonsmooth.regularity import as_known_array, check_regularity

LinearSolve = Callable[[Callable[[Array], Array], Array], Array]

LARGEST_CHECKED = 128  # unknowns up to which the hull of the Jacobians is examined


class RegularityWarning(UserWarning):
    """The hypothesis of implicit differentiation fails or could not be checked at a solution."""


def dense_solve(matvec: Callable[[Array], Array], rhs: Float[Array, " m"]) -> Float[Array, " m"]:
    """Solve B v = rhs by LU factorization of the matrix that `matvec` stands for.

    A singular system gives NaN, never a large wrong number: the pivots are checked, and the size
    and the residual of the solution.

    Args:
        matvec: v -> B v, linear, `(m,)` to `(m,)`.
        rhs: right-hand side, `(m,)`.

    Returns:
        v, `(m,)`.

    Example:
        >>> import jax.numpy as jnp
        >>> [round(float(e), 3) for e in dense_solve(lambda v: 4 * v, jnp.array([2.0, 1.0]))]
        [0.5, 0.25]
    """
    matrix = jax.vmap(matvec, out_axes=1)(jnp.eye(rhs.size, dtype=rhs.dtype))
    factors = jax.scipy.linalg.lu_factor(matrix)
    found = jax.scipy.linalg.lu_solve(factors, rhs)
    # Elimination leaves a residual of a few rounding errors of |B| |v|, so v means something only
    # if |B| |v| is far below |rhs| over the precision: the condition of this system, no other.
    eps = jnp.finfo(rhs.dtype).eps
    largest = lambda v: jnp.abs(v).max(initial=0)
    pivots = jnp.abs(jnp.diag(factors[0]))
    size = jnp.abs(matrix).sum(1).max(initial=0) * largest(found)
    invertible = pivots.min(initial=jnp.inf) > eps * pivots.max(initial=0)
    solved = largest(matvec(found) - rhs) <= 1e3 * rhs.size * eps * size
    meaningful = 8 * eps * size <= largest(rhs)
    return jnp.where(invertible & solved & meaningful, found, jnp.nan)


def krylov_solve(
    matvec: Callable[[Array], Array],
    rhs: Float[Array, " m"],
    *,
    tolerance: float | None = None,
    restart: int = 30,
    max_restarts: int = 30,
) -> Float[Array, " m"]:
    """Solve B v = rhs by GMRES, with products only: no matrix is stored.

    If it has not reached the tolerance after `max_restarts` rounds, the answer is NaN.

    Args:
        matvec: v -> B v, linear, `(m,)` to `(m,)`.
        rhs: right-hand side, `(m,)`.
        tolerance: relative residual to reach; default: 100 machine precisions.
        restart: size of the Krylov space (memory: that many vectors).
        max_restarts: how often a new space is built.

    Returns:
        v, `(m,)`.

    Example:
        >>> import jax.numpy as jnp
        >>> v = krylov_solve(lambda v: v + v.sum(), jnp.ones(3))
        >>> [round(float(e), 3) for e in v]
        [0.25, 0.25, 0.25]
    """
    eps = float(jnp.finfo(rhs.dtype).eps)
    tolerance = 100 * eps if tolerance is None else tolerance
    found, _ = jax.scipy.sparse.linalg.gmres(
        matvec, rhs, tol=tolerance, restart=min(restart, rhs.size), maxiter=max_restarts
    )
    # GMRES stops on its own estimate of the residual; allow for the difference to the true one.
    solved = jnp.linalg.norm(matvec(found) - rhs) <= 10 * tolerance * jnp.linalg.norm(rhs)
    return jnp.where(solved, found, jnp.nan)


def implicit_root(
    residual: Callable[..., PyTree],
    solve: Callable[..., PyTree],
    *,
    linear_solve: LinearSolve = dense_solve,
    check: bool = True,
) -> Callable[..., PyTree]:
    """The solution y of residual(y, *args) = 0 as a differentiable function of the arguments.

    The value is what `solve` returns. The derivative is -B^-1 A with [A B] the derivative of the
    residual, in forward and reverse mode and to any order; `solve` is never differentiated, and
    variables over which `residual` closes are differentiated too. Works under `jit` and `vmap` if
    `solve` does.

    When the derivative is taken at concrete values (eager `jax.grad`, up to 128 unknowns) the
    invertibility condition is examined on the convex hull of the Jacobians found around the
    solution. Elsewhere it cannot be, a `RegularityWarning` says so once per trace, and a singular
    system gives NaN; check a concrete point with `check_regularity` and pass `check=False`.

    Args:
        residual: F(y, *args), of the structure and shapes of y, traceable by JAX.
        solve: (*args) -> y, any solver; outside `jit` and `vmap` it may be NumPy code, since it
            receives concrete arrays even under `jax.grad`.
        linear_solve: (matvec, rhs) -> v with matvec(v) = rhs, on vectors `(m,)`: `dense_solve`,
            `krylov_solve` or any other. It serves the transposed system in reverse mode as well.
        check: whether to examine the invertibility condition where it can be examined.

    Returns:
        A function (*args) -> y.

    Raises:
        ValueError: when differentiated at a concrete point where the Jacobian in y that automatic
            differentiation returns is singular.

    Warns:
        RegularityWarning: if a convex combination of the Jacobians around the solution is singular,
            if the condition could not be examined, or if the solution does not solve the equation.

    Reference:
        Bolte, Le, Pauwels and Silveti-Falls, "Nonsmooth implicit differentiation for machine
        learning and optimization", NeurIPS 2021.

    Example:
        y + max(y, 0) = x, solved by hand: y = x / 2 for x > 0, y = x for x < 0.

        >>> import jax, jax.numpy as jnp
        >>> root = implicit_root(
        ...     residual=lambda y, x: y + jnp.maximum(y, 0.0) - x,
        ...     solve=lambda x: jnp.where(x > 0, x / 2, x),
        ... )
        >>> [round(float(jax.grad(root)(x)), 3) for x in (3.0, -3.0)]
        [0.5, 1.0]
    """

    def root(*args):
        found = jax.lax.stop_gradient(solve(*jax.lax.stop_gradient(args)))
        found = jax.tree.map(jnp.asarray, found)
        # Variables that `residual` closes over become arguments, so that they get derivatives.
        pure, constants = jax.closure_convert(residual, found, *args)
        return _attach(residual, pure, linear_solve, check)(found, args, constants)

    return root


def _attach(residual: Callable, pure: Callable, linear_solve: LinearSolve, check: bool) -> Callable:
    """(solution, args, constants) -> solution, with the implicit derivative in the last two."""

    @jax.custom_jvp
    def attach(found, args, constants):
        return found

    @attach.defjvp
    def rule(primals, tangents):
        _, args, constants = primals
        solution = attach(*primals)
        if check:
            # Without derivatives the values are known even inside nested jax.grad and jax.jacfwd.
            detached = jax.lax.stop_gradient(primals)
            # The residual itself, where that is enough: its compiled Jacobian is found again.
            _examine(pure if constants else residual, *detached)
        flat, unravel = ravel_pytree(solution)
        equations = lambda y, args, constants: ravel_pytree(pure(y, *args, *constants))[0]
        at_solution = lambda args, constants: equations(solution, args, constants)
        _, change = jax.jvp(at_solution, (args, constants), tangents[1:])
        _, matvec = jax.linearize(lambda v: equations(unravel(v), args, constants), flat)
        step = jax.lax.custom_linear_solve(
            matvec, change, solve=linear_solve, transpose_solve=linear_solve
        )
        return solution, unravel(-step)

    return attach


def _warn(message: str) -> None:
    warnings.warn(f"implicit_root: {message}", RegularityWarning, stacklevel=2)


def _examine(residual: Callable, solution: PyTree, args: Any, constants: Any) -> None:
    leaves = jax.tree.leaves((solution, args, constants))
    unknowns = sum(leaf.size for leaf in jax.tree.leaves(solution))
    advice = (
        "A singular system will give NaN. Examine a concrete point with "
        "swjax.implicit.check_regularity, then pass check=False."
    )
    if not is_concrete(*leaves):
        _warn(
            "the invertibility condition cannot be checked while JAX traces (jit, vmap, scan). "
            f"{advice}"
        )
        return
    if unknowns > LARGEST_CHECKED:
        _warn(
            f"the invertibility condition is not checked for {unknowns} unknowns "
            f"(more than {LARGEST_CHECKED}). {advice}"
        )
        return
    # The values are known, though a derivative is being traced: compute with them now.
    with jax.ensure_compile_time_eval():
        solution, args, constants = jax.tree.map(as_known_array, (solution, args, constants))
        value = jax.jit(residual)(solution, *args, *constants)
        report = check_regularity(residual, solution, *args, *constants)
    if report.verdict == "singular" and report.weights is not None and report.weights[0] == 1:
        raise ValueError(
            f"implicit_root: {report.reason} (smallest relative singular value "
            f"{report.smallest_singular_value:.2g}), so the equation does not define the solution "
            "as a differentiable function of its arguments here. Reformulate the equation, or "
            "move away from this point."
        )
    _check_solves(value, solution, report.jacobians[0])
    if report.verdict == "regular":
        return
    _warn(
        f"at this solution the condition of the implicit function theorem is {report}. The "
        "derivative returned need not be an element of a conservative Jacobian."
    )


def _check_solves(value: PyTree, solution: PyTree, jacobian: np.ndarray) -> None:
    """Warn if a Newton step leads away: the residual alone has the scale of the equation."""
    flat = lambda tree: np.asarray(ravel_pytree(tree)[0], np.float64)
    largest = lambda vector: float(np.abs(vector).max(initial=0))
    eps = max(float(jnp.finfo(v.dtype).eps) for v in jax.tree.leaves(solution))
    residual = flat(value)
    distance = largest(np.linalg.pinv(jacobian) @ residual)
    if not distance <= 100 * eps**0.5 * (1 + largest(flat(solution))):
        _warn(
            f"the solver's answer leaves a residual of {largest(residual):.2g}, about "
            f"{distance:.2g} from a solution: its derivative is that of another equation. "
            "Tighten the solver's tolerance."
        )
