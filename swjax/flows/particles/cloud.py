"""Particles: a measure as finitely many weighted points that can all move."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_count, as_real_array, is_concrete, value_tolerance


class Particles(NamedTuple):
    """`m` particles `u_i = (w_i, theta_i)` with shares `c_i`: the measure `sum_i c_i delta_(u_i)`.

    The signed measure on the positions that they stand for is `sum_i c_i w_i delta_(theta_i)`.
    Usually every share is `1 / m`; a particle with share 0 is absent and never moves, which lets
    runs with different numbers of particles share one array (`stack_particles`).

    Attributes:
        weights: `w`, `(m,)`, of any sign.
        positions: `theta`, `(m, d)`.
        shares: `c`, `(m,)`, nonnegative and of sum 1.
    """

    weights: Float[Array, "*b m"]
    positions: Float[Array, "*b m d"]
    shares: Float[Array, "*b m"]

    @property
    def masses(self) -> Float[Array, "*b m"]:
        """`c_i w_i`: the masses of the signed measure."""
        return self.shares * self.weights


def as_particles(
    weights: ArrayLike | Sequence,
    positions: ArrayLike | Sequence,
    shares: ArrayLike | None = None,
) -> Particles:
    """Particles from arrays, after checking that they fit together.

    Args:
        weights: `(m,)`.
        positions: `(m, d)`, or `(m,)` in one dimension.
        shares: `(m,)`; `1 / m` each if not given.

    Returns:
        `Particles`.

    Raises:
        ValueError: if there is no particle, shapes do not fit, or values are not finite.
        TypeError: if an array is not of floating-point type.

    >>> import jax.numpy as jnp
    >>> as_particles(jnp.ones(2), jnp.array([0.0, 0.5])).masses.tolist()
    [0.5, 0.5]
    """
    weights, positions = weights_and_positions(weights, positions)
    if positions.size == 0:
        raise ValueError(
            f"There are no particles: positions have shape {positions.shape}. An empty measure "
            "has nothing to move; take m >= 1 particles of dimension d >= 1."
        )
    dtype = jnp.promote_types(weights.dtype, positions.dtype)
    if shares is None:
        shares = jnp.full(len(weights), 1 / len(weights), dtype)
    shares = as_real_array("shares", shares)
    if shares.shape != weights.shape:
        raise ValueError(f"shares have shape {shares.shape}; expected {weights.shape}.")
    check_finite(weights, positions)
    if is_concrete(shares):
        total = float(shares.sum())
        if not bool(jnp.all(shares >= 0)) or abs(total - 1) > value_tolerance(shares):
            raise ValueError(
                f"shares must be nonnegative with sum 1; their sum is {total:.6g}. "
                "Use shares / shares.sum()."
            )
    return Particles(weights.astype(dtype), positions.astype(dtype), shares.astype(dtype))


def check_finite(weights: Array, positions: Array) -> None:
    """Refuse weights and positions that are known and infinite or NaN.

    Raises:
        ValueError: with the first of them.
    """
    for name, array in (("weights", weights), ("positions", positions)):
        if is_concrete(array) and not bool(jnp.all(jnp.isfinite(array))):
            first = np.argwhere(~np.isfinite(array))[0]
            place = ", ".join(map(str, first))
            raise ValueError(
                f"{name} must be finite at the start; {name}[{place}] is {array[tuple(first)]}. "
                "Leave such particles out, or correct what made them."
            )


def weights_and_positions(
    weights: ArrayLike | Sequence, positions: ArrayLike | Sequence, *, line: bool = True
) -> tuple[Float[Array, "m"], Float[Array, "m d"]]:
    """Arrays of one weight for each position, `(m,)` and `(m, d)`, after checking that they fit.

    With `line`, positions `(m,)` are those of dimension 1.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if an array is not of floating-point type.
    """
    weights = as_real_array("weights", jnp.asarray(weights))
    positions = as_real_array("positions", jnp.asarray(positions))
    if line and positions.ndim == 1:
        positions = positions[:, None]
    if weights.ndim != 1 or positions.ndim != 2 or len(weights) != len(positions):
        also = " or, in one dimension, (m,)" if line else ""
        raise ValueError(
            f"weights have shape {weights.shape} and positions {positions.shape}; expected (m,) "
            f"and (m, d){also}: one weight for each position."
        )
    return weights, positions


def uniform_grid(num: int, dim: int = 1) -> Particles:
    """Particles of weight 0 on the regular grid of `num` points per axis of the torus.

    Where Chizat and Bach (2018) start: the support of the initial measure is all of `{0} x Theta`
    in the limit of many particles.

    Args:
        num: points per axis; there are `num^dim` particles, at `(i_1, ..., i_d) / num`.
        dim: dimension `d` of the torus.

    Returns:
        `Particles` of the default floating-point type.

    Raises:
        ValueError: if a number is smaller than 1.

    >>> uniform_grid(4).positions.ravel().tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    positions = torus_grid(num, dim)
    return as_particles(jnp.zeros(len(positions)), positions)


def torus_grid(num: int, dim: int = 1) -> Float[Array, "m d"]:
    """The points `(i_1, ..., i_d) / num` of the torus.

    Args:
        num: points along each axis, at least 1.
        dim: dimension d of the torus, at least 1.

    Returns:
        Array of shape `(num^dim, dim)`, entries in `[0, 1)`, the last coordinate running fastest.

    Raises:
        ValueError: if a number is smaller than 1.

    >>> torus_grid(2, 2).tolist()
    [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5]]
    """
    num, dim = as_count("num", num), as_count("dim", dim)
    axis = jnp.arange(num) / num
    return jnp.stack([c.ravel() for c in jnp.meshgrid(*[axis] * dim, indexing="ij")], axis=1)


def stack_particles(clouds: Sequence[Particles]) -> Particles:
    """Clouds of different sizes as one batch, for `jax.vmap`: filled up with absent particles.

    Args:
        clouds: each with its own number of particles, all of one dimension.

    Returns:
        `Particles` with a leading axis, `(len(clouds), m, ...)` for the largest `m`.

    Raises:
        ValueError: if there are no clouds, or not all are of one dimension.

    >>> stack_particles([uniform_grid(1), uniform_grid(2)]).shares.tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    if not clouds:
        raise ValueError("There are no clouds to stack; pass at least one.")
    dims = sorted({cloud.positions.shape[-1] for cloud in clouds})
    if len(dims) > 1:
        raise ValueError(
            f"The clouds have the dimensions {dims}; clouds of one dimension make a batch. "
            "Stack those of each dimension by themselves."
        )
    most = max(len(cloud.weights) for cloud in clouds)

    def fill(array: Array) -> Array:
        return jnp.pad(array, [(0, most - len(array))] + [(0, 0)] * (array.ndim - 1))

    return jax.tree.map(lambda *parts: jnp.stack([fill(part) for part in parts]), *clouds)
