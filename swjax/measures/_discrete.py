"""Finite sums of atoms, and the operations that lead to them."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from swjax._checks import as_count, as_real_array, is_concrete
from swjax._trees import as_pytree
from swjax._types import AnyKey
from swjax.measures._base import Measure, Translated, as_shift


def _cumulative(weights: Array) -> Array | None:
    """Cumulative sums of the weights; None if they are known to be equal."""
    if not is_concrete(weights):
        return jnp.cumsum(weights)
    values = np.asarray(weights, np.float64)
    if np.all(values == values[0]):
        return None
    return jnp.asarray(np.cumsum(values), weights.dtype)


def _check_weights(weights: Array, num: int) -> None:
    if weights.shape != (num,):
        raise ValueError(
            f"weights must have shape ({num},), one for each atom; got {weights.shape}."
        )
    if not is_concrete(weights):
        return
    values = np.asarray(weights, np.float64)
    if not np.all(values >= 0):
        raise ValueError(f"weights must not be negative or NaN; the smallest is {values.min()}.")
    slack = 4 * np.sqrt(num) * float(jnp.finfo(weights.dtype).eps)
    if not abs(values.sum() - 1) <= slack:
        raise ValueError(
            f"weights must sum to 1, got {values.sum():.8g}; divide them by their sum."
        )


@as_pytree("points", "weights", "cumulative")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Discrete(Measure):
    """A measure with finitely many atoms: `sum_i weights_i delta_{points_i}`.

    Draws are independent and with replacement. Equal weights are sampled by an integer draw and a
    gather, others by inverting the cumulative sums. Atoms of weight zero are never drawn.

    Attributes:
        points: atoms, floating point of shape `(N, dim)`. They may coincide.
        weights: shape `(N,)`, not negative, summing to 1; `1 / N` each if not given.
        cumulative: cumulative sums of the weights, computed once, or None if these are equal.

    Raises:
        ValueError: if a shape is wrong, there are no atoms, a value is not finite, or the weights
            are negative or do not sum to 1. Values are checked outside `jit` only.
        TypeError: if points or weights are not of floating point type.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> measure = Discrete(jnp.array([[0.0, 0.0], [3.0, 4.0]]), jnp.array([0.25, 0.75]))
    >>> measure
    Discrete(2 atoms in dimension 2)
    >>> measure.radius, [float(m) for m in measure.mean]
    (5.0, [2.25, 3.0])
    >>> measure.sample(jax.random.key(0), 100).shape
    (100, 2)
    """

    points: Float[Array, "N dim"]
    weights: Float[Array, " N"]
    cumulative: Float[Array, " N"] | None = field(init=False)

    def __init__(self, points: ArrayLike, weights: ArrayLike | None = None):
        atoms = as_real_array("points", points)
        if atoms.ndim != 2 or 0 in atoms.shape:
            raise ValueError(
                f"points must have shape (number of atoms, dim), both at least 1; "
                f"got {atoms.shape}. Points on the line need shape (N, 1)."
            )
        if is_concrete(atoms) and not np.all(np.isfinite(np.asarray(atoms, np.float64))):
            raise ValueError("points must be finite; some are infinite or NaN.")
        num = atoms.shape[0]
        dtype = jnp.promote_types(atoms.dtype, jnp.float32)
        if weights is None:
            shares, cumulative = jnp.full((num,), 1 / num, dtype), None
        else:
            shares = as_real_array("weights", weights)
            _check_weights(shares, num)
            shares = shares.astype(jnp.promote_types(shares.dtype, jnp.float32))
            cumulative = _cumulative(shares)
        object.__setattr__(self, "points", atoms)
        object.__setattr__(self, "weights", shares)
        object.__setattr__(self, "cumulative", cumulative)

    def __repr__(self) -> str:
        num, dim = np.shape(self.points)
        return f"Discrete({num} atoms in dimension {dim})"

    @property
    def dim(self) -> int:  # noqa: D102
        return self.points.shape[-1]

    @property
    def is_discrete(self) -> bool:  # noqa: D102
        return True

    def reach(self, center: ArrayLike) -> float:  # noqa: D102
        offsets = np.asarray(self.points, np.float64) - np.asarray(center, np.float64)[None]
        return float(np.linalg.norm(offsets[np.asarray(self.weights) > 0], axis=1).max())

    @property
    def mean(self) -> Float[Array, " dim"]:  # noqa: D102
        return jnp.dot(self.weights, self.points, precision="highest")

    @property
    def covariance(self) -> Float[Array, "dim dim"]:  # noqa: D102
        centered = self.points - self.mean[None]
        return jnp.dot((self.weights[:, None] * centered).T, centered, precision="highest")

    def _sample(self, key: AnyKey, n: int) -> Float[Array, "n dim"]:
        if self.cumulative is None:
            rows = jax.random.randint(key, (n,), 0, self.points.shape[0])
        else:
            total = self.cumulative[-1]
            levels = jax.random.uniform(key, (n,), self.cumulative.dtype) * total
            # A product rounded up to the total would select an atom of weight zero at the end.
            levels = jnp.minimum(levels, jnp.nextafter(total, jnp.zeros_like(total)))
            rows = jnp.searchsorted(self.cumulative, levels, side="right")
        return self.points.at[rows].get(mode="promise_in_bounds")


def indices(num: int) -> Discrete:
    """The uniform measure on the numbers `0, 1, ..., num - 1`, as points of the line.

    The source of latent points for `swjax.generators.FreePoints`, which looks a point up by its
    number.

    Args:
        num: number of atoms, at least 1.

    Returns:
        A `Discrete` with points of shape `(num, 1)`.

    Raises:
        ValueError: if `num` is less than 1.
        TypeError: if `num` is not an integer.

    >>> print(indices(3).points.T)
    [[0. 1. 2.]]
    """
    return Discrete(jnp.arange(float(as_count("num", num)))[:, None])


def discretize(measure: Measure, key: AnyKey, num_atoms: int) -> Discrete:
    """Replace a measure by independent draws from it, with equal weights.

    This makes a law with finitely many atoms, as the convergence of noised and projected SGD asks
    for (assumption 6 of Tanguy, TMLR 2023), out of any other.

    Args:
        measure: a measure in dimension `dim`.
        key: a JAX random key.
        num_atoms: number of draws, at least 1.

    Returns:
        A `Discrete` with points of shape `(num_atoms, dim)`.

    Raises:
        ValueError: if `num_atoms` is less than 1.
        TypeError: if `num_atoms` is not an integer.

    >>> import jax
    >>> from swjax.measures import ball
    >>> discretize(ball(2), jax.random.key(0), 48)
    Discrete(48 atoms in dimension 2)
    """
    return Discrete(measure.sample(key, as_count("num_atoms", num_atoms)))


def translate(measure: Measure, shift: ArrayLike) -> Measure:
    """The law of `x + shift` for `x` of the law `measure`.

    Args:
        measure: a measure in dimension `dim`.
        shift: floating point vector of shape `(dim,)`.

    Returns:
        A measure: a `Discrete` for a `Discrete`, a `Translated` otherwise. With the same key it
        draws the same points, moved.

    Raises:
        ValueError: if the shift has another shape or is not finite.
        TypeError: if it is not of floating point type.

    >>> import jax.numpy as jnp
    >>> from swjax.measures import ball
    >>> moved = translate(ball(2), jnp.array([3.0, 4.0]))
    >>> moved.radius, [float(m) for m in moved.mean]
    (6.0, [3.0, 4.0])
    """
    vector = as_shift(shift, measure.dim)
    if isinstance(measure, Translated):
        return Translated(measure.base, measure.shift + vector)
    if isinstance(measure, Discrete):
        moved = measure.points + vector.astype(measure.points.dtype)[None]
        return Discrete(moved, None if measure.cumulative is None else measure.weights)
    return Translated(measure, vector)
