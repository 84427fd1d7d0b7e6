"""A ReLU deep-equilibrium layer: z = relu(W z + b), solved and differentiated implicitly."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from swjax.nonsmooth.roots import LinearSolve, dense_solve, implicit_root


def monotone_matrix(
    factor: Float[Array, "n n"], skew: Float[Array, "n n"], margin: float = 0.1
) -> Float[Array, "n n"]:
    """W = (1 - margin) I - A^T A + B - B^T: every W for which I - W is monotone has this form.

    Then I - D W is invertible for all diagonal D with entries in [0, 1], so that the condition of
    the nonsmooth implicit function theorem holds everywhere for z = relu(W z + b).

    Args:
        factor: A, `(n, n)`.
        skew: B, `(n, n)`.
        margin: strong monotonicity of I - W, positive.

    Returns:
        W, `(n, n)`.

    Raises:
        ValueError: if the margin is not positive.

    Reference:
        Winston and Kolter, "Monotone operator equilibrium networks", NeurIPS 2020.
    """
    if not margin > 0:
        raise ValueError(f"margin must be positive, found {margin}")
    identity = jnp.eye(factor.shape[0], dtype=factor.dtype)
    return (1 - margin) * identity - factor.T @ factor + skew - skew.T


def relu_equilibrium(
    matrix: Float[Array, "n n"],
    bias: Float[Array, " n"],
    *,
    max_steps: int = 2_000,
    linear_solve: LinearSolve = dense_solve,
    check: bool = True,
) -> Float[Array, " n"]:
    """The z with z = relu(matrix z + bias), differentiable in both arguments.

    Solved by Peaceman-Rachford splitting, which converges if I - matrix is strongly monotone
    (`monotone_matrix`). Under `vmap` it serves a batch of inputs: bias = U x + b.

    Args:
        matrix: W, `(n, n)`.
        bias: b, `(n,)`.
        max_steps: bound on the iterations; they stop at a fixed point up to rounding.
        linear_solve: for the derivative: `dense_solve`, or `krylov_solve` for wide layers.
        check: whether the invertibility condition is examined when differentiated at concrete
            values (see `implicit_root`).

    Returns:
        z, `(n,)`.

    Reference:
        Winston and Kolter, "Monotone operator equilibrium networks", NeurIPS 2020; Bolte, Le,
        Pauwels and Silveti-Falls, NeurIPS 2021 (its conservative Jacobian).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> z = relu_equilibrium(jnp.array([[-1.0]]), jnp.array([3.0]))
        >>> round(float(z[0]), 3)
        1.5
    """
    root = implicit_root(
        _residual, partial(_solve, max_steps), linear_solve=linear_solve, check=check
    )
    return root(matrix, bias)


def _residual(z, matrix, bias):
    return z - jax.nn.relu(matrix @ z + bias)


@partial(jax.jit, static_argnums=0)
def _solve(max_steps, matrix, bias):
    """Peaceman-Rachford splitting of (I - matrix) z - bias + N(z) = 0, N the cone of z >= 0."""
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    step = 1 / jnp.linalg.norm(identity - matrix, 1)
    resolvent = jnp.linalg.inv(identity + step * (identity - matrix))
    tolerance = 4 * jnp.finfo(bias.dtype).eps

    def iterate(state):
        count, z, u, _ = state
        half = resolvent @ (2 * z - u + step * bias)
        u = 2 * half - (2 * z - u)
        new = jax.nn.relu(u)
        moving = abs(new - z).max() > tolerance * (abs(new).max() + abs(bias).max())
        return count + 1, new, u, moving

    start = (jnp.zeros((), int), jnp.zeros_like(bias), jnp.zeros_like(bias), jnp.asarray(True))
    moving = lambda state: state[3] & (state[0] < max_steps)
    return jax.lax.while_loop(moving, iterate, start)[1]
