"""Transport plans and Kantorovich potentials of every slice.

Between the clouds projected on one direction, the optimal plan couples the points in ascending
order, for every order p >= 1. Lifted back to the clouds it is a coupling of them, of n + m - 1
cells at most; it is in general not optimal there, so its cost is an upper bound of W_p^p between
the clouds. The least of these bounds over the directions is min-SWGG (Mahey, Chapel, Gasso, Bonet
and Courty 2023, "Fast optimal transport through sliced generalized Wasserstein geodesics"); the
mean of the plans is the expected sliced plan (Liu et al. 2025, "Expected sliced transport plans").

The potentials of a direction solve the dual problem of the line: with s_i and t_j the projections,
f_i + g_j <= |s_i - t_j|^p everywhere, with equality where the plan has mass, so that
``sum_i a_i f_i + sum_j b_j g_j`` is the cost W_p^p. The derivative of W_p^p in the weights is
(f, g), up to a constant.

=================================================== ============================================
POT or OTT                                          here
=================================================== ============================================
``ot.sliced.sliced_plans(x, y, a, b, ...)``         ``sliced_plans(x, y, theta, a, b)``
``ot.min_sliced_transport_plan(...)``               ``costs = plans.costs(x, y)``, and the row
                                                    ``costs.argmin()`` of ``plans.dense()``
``ot.expected_sliced_plan(...)[0]``                 ``expected_sliced_plan(x, y, theta, a, b)``
the same with ``beta=beta``                         ``plans.mean(jax.nn.softmax(-beta * costs))``
OTT: ``return_transport=True``                      ``plans.to_bcoo()``
OTT: ``return_dual_variables=True``                 ``sliced_potentials(x, y, theta, a, b)``
=================================================== ============================================

For weights and unequal sizes, POT 0.9.7 gives sliced plans other costs than these plans have, and
chooses and weighs by them; the plans themselves agree.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.sparse import BCOO
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from swjax._checks import as_order, as_real_array, check_chunk_size
from swjax.coupling1d import Staircase, equal_staircase, inner_levels, weighted_staircase
from swjax.rows import put_rows, take_rows
from swjax.slicing import (
    Problem,
    blocks_of,
    checked_problem,
    default_chunk_size,
    one_block,
    project,
    zero_like,
)
from swjax.sorting import argsort


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("rows", "cols", "masses"),
    meta_fields=("shape",),
)
@dataclass(frozen=True, eq=False)
class SlicedPlans:
    """A sparse coupling of two clouds for every direction.

    The k-th cell of the plan of direction l carries ``masses[l, k]`` from the point
    ``x[rows[l, k]]`` to ``y[cols[l, k]]``. Cells follow the projected points in ascending order.
    Some may have mass zero, and no pair of points occurs twice. Plans that come out of `jax.vmap`
    have a leading axis; their methods are vmapped as well.

    Attributes:
        rows: Point of x of every cell, int32 of shape (L, n + m - 1).
        cols: Point of y of every cell, likewise.
        masses: Mass of every cell, of sum 1 over each row.
        shape: The numbers of points (n, m).

    Example:
        >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[7.0], [5.0]])
        >>> sliced_plans(x, y, jnp.eye(1)).dense().tolist()
        [[[0.0, 0.5], [0.5, 0.0]]]
    """

    rows: Int[Array, "*batch L cells"]
    cols: Int[Array, "*batch L cells"]
    masses: Float[Array, "*batch L cells"]
    shape: tuple[int, int]

    def dense(self) -> Float[Array, "L n m"]:
        """All plans as matrices, shape (L, n, m)."""
        self._check_one_pair()
        num = len(self.masses)
        place = jnp.arange(num)[:, None], self.rows, self.cols
        return _add_up(place, self.masses, (num, *self.shape))

    def mean(self, weights: ArrayLike | None = None) -> Float[Array, "n m"]:
        """The mean of the plans as one matrix.

        Args:
            weights: Weight of every direction, shape (L,); None stands for 1/L each. They should be
                nonnegative and sum to 1, which is not checked.

        Returns:
            A coupling of the clouds, shape (n, m).

        Raises:
            ValueError: If there is not one weight for each direction.
        """
        self._check_one_pair()
        num = len(self.masses)
        weights = jnp.full(num, 1 / num) if weights is None else jnp.asarray(weights)
        if weights.shape != (num,):
            raise ValueError(f"weights has shape {weights.shape}; expected {(num,)}.")
        masses = weights.astype(self.masses.dtype)[:, None] * self.masses
        return _add_up((self.rows, self.cols), masses, self.shape)

    def to_bcoo(self) -> BCOO:
        """All plans as one sparse array of shape (L, n, m), batched over L."""
        indices = jnp.stack([self.rows, self.cols], axis=-1)
        self._check_one_pair()
        num = len(self.masses)
        return BCOO((self.masses, indices), shape=(num, *self.shape), unique_indices=True)

    def costs(self, x: ArrayLike, y: ArrayLike, *, p: float | int = 2) -> Float[Array, "L"]:
        """What every plan costs between the clouds themselves: the sum of mass * |x_i - y_j|^p.

        Args:
            x: The first cloud, shape (n, d); not its projections.
            y: The second cloud, shape (m, d).
            p: The order, at least 1.

        Returns:
            Upper bounds of W_p^p between the clouds, shape (L,), differentiable in x and y with
            the plans held fixed.

        Raises:
            TypeError: If a cloud is not a floating-point array.
            ValueError: If the clouds have other numbers of points than the plans, or p < 1.
        """
        p = as_order(p)
        self._check_one_pair()
        x, y = as_real_array("x", x), as_real_array("y", y)
        if (x.shape[:1], y.shape[:1]) != (self.shape[:1], self.shape[1:]) or x.ndim != y.ndim:
            raise ValueError(f"The plans couple {self.shape} points; x is {x.shape}, y {y.shape}.")
        return _lifted_costs(self, x, y, p)

    def _check_one_pair(self) -> None:
        """Refuse plans of many pairs of clouds, which would be added up without a word."""
        if self.masses.ndim != 2:
            raise ValueError(
                f"These are plans of many pairs of clouds: masses is {self.masses.shape}. Apply "
                "jax.vmap to the method, as in jax.vmap(lambda plans: plans.dense())(plans)."
            )


class Potentials(NamedTuple):
    """Kantorovich potentials for every direction.

    Attributes:
        f: Potential at the points of x, shape (L, n).
        g: Potential at the points of y, shape (L, m).
    """

    f: Float[Array, "L n"]
    g: Float[Array, "L m"]


def sliced_plans(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
) -> SlicedPlans:
    """The optimal plan between the projected clouds, for every direction.

    It is the same for every order p >= 1: points are coupled in ascending order (the north-west
    corner rule; Peyre and Cuturi 2019, "Computational optimal transport", section 3.4.2). Points
    with the same projection keep the order of their rows.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Unit vectors as rows, shape (L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.

    Returns:
        `SlicedPlans` with arrays of shape (L, n + m - 1). The masses can be differentiated in the
        weights; in the clouds they are piecewise constant.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw2_sq`.

    Example:
        >>> x, y = jnp.array([[0.0, 0.0], [1.0, 2.0]]), jnp.array([[3.0, 4.0]])
        >>> plans = sliced_plans(x, y, jnp.eye(2), jnp.array([0.25, 0.75]))
        >>> plans.rows.tolist(), plans.cols.tolist()
        ([[0, 1], [0, 1]], [[0, 0], [0, 0]])
        >>> plans.masses.tolist(), plans.costs(x, y).tolist()
        ([[0.25, 0.75], [0.25, 0.75]], [12.25, 12.25])
    """
    return _plans(checked_problem(x, y, directions, a, b))


def expected_sliced_plan(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    chunk_size: int | None = None,
) -> Float[Array, "n m"]:
    """The mean over the directions of the lifted plans, as a matrix.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Unit vectors as rows, shape (L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        chunk_size: How many directions to hold in memory at a time; by default as many as the
            caches take. Working memory is n m + (n + m) * chunk_size.

    Returns:
        A coupling of the clouds, shape (n, m): its rows sum to a, its columns to b. For the sparse
        form, whose (n + m - 1) L cells are those of the plans, use `sliced_plans`.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw2_sq`.

    Example:
        >>> x, y = jnp.array([[0.0, 0.0], [1.0, 1.0]]), jnp.array([[0.0, 1.0], [1.0, 0.0]])
        >>> expected_sliced_plan(x, y, jnp.eye(2)).tolist()
        [[0.25, 0.25], [0.25, 0.25]]
    """
    check_chunk_size(chunk_size)
    return _expected_plan(checked_problem(x, y, directions, a, b), chunk_size)


def sliced_potentials(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    p: float | int = 2,
) -> Potentials:
    """Kantorovich potentials between the projected clouds, for every direction.

    They solve, with s = x theta and t = y theta::

        max sum_i a_i f_i + sum_j b_j g_j    subject to  f_i + g_j <= |s_i - t_j|^p,

    and the maximum is W_p^p. Along the staircase of the optimal plan both sides are equal, so f and
    g follow from sums of differences of the cost (Sejourne, Vialard and Peyre 2022, "Faster
    unbalanced optimal transport", algorithm 3, here without a loop). They are unique up to a
    constant if no levels of the two distribution functions coincide; otherwise this is one choice.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Unit vectors as rows, shape (L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        p: The order, at least 1.

    Returns:
        `Potentials` f of shape (L, n) and g of shape (L, m), with the constant for which
        ``sum_i a_i f_i = sum_j b_j g_j = W_p^p / 2``. Equality and inequality hold to rounding.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw_pow`.

    Example:
        >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[7.0], [5.0]])
        >>> f, g = sliced_potentials(x, y, jnp.eye(1))
        >>> f.tolist(), g.tolist()
        ([[19.75, 10.75]], [[25.25, 5.25]])
    """
    p = as_order(p)
    return _potentials(checked_problem(x, y, directions, a, b), p)


class _Slices(NamedTuple):
    """Both clouds projected, the orders of their points, and their coupling."""

    x: Float[Array, "n L"]
    y: Float[Array, "m L"]
    x_order: Int[Array, "n L"]
    y_order: Int[Array, "m L"]
    stairs: Staircase


def _slices(problem: Problem) -> _Slices:
    x, y = (project(cloud, problem.directions) for cloud in (problem.x, problem.y))
    orders = argsort(x), argsort(y)
    if problem.a is None and problem.b is None:
        (n, lanes), m = x.shape, y.shape[0]
        return _Slices(x, y, *orders, equal_staircase(n, m, lanes, x.dtype))
    weights = (w[:, None] for w in _weights(problem))
    return _Slices(x, y, *orders, weighted_staircase(*map(inner_levels, weights, orders)))


def _weights(problem: Problem) -> tuple[Float[Array, "n"], Float[Array, "m"]]:
    equal = lambda cloud: jnp.full(cloud.shape[0], 1 / cloud.shape[0], cloud.dtype)
    normal = lambda weights, cloud: equal(cloud) if weights is None else weights / jnp.sum(weights)
    return normal(problem.a, problem.x), normal(problem.b, problem.y)


@jax.jit
def _plans(problem: Problem) -> SlicedPlans:
    slices = _slices(problem)
    i, j = slices.stairs.cells()
    rows, cols = take_rows(slices.x_order, i), take_rows(slices.y_order, j)
    shape = problem.x.shape[0], problem.y.shape[0]
    return SlicedPlans(rows.T, cols.T, slices.stairs.mass.T, shape)


@partial(jax.jit, static_argnames="shape")
def _add_up(place: tuple[Array, ...], masses: Array, shape: tuple[int, ...]) -> Array:
    return jnp.zeros(shape, masses.dtype).at[place].add(masses)


@partial(jax.jit, static_argnames="p")
def _lifted_costs(plans: SlicedPlans, x: Array, y: Array, p: float) -> Float[Array, "L"]:
    def cost(plan: tuple[Array, Array, Array]) -> Array:
        rows, cols, masses = plan
        sq_gap = jnp.sum(jnp.square(x[rows] - y[cols]), axis=-1)
        return jnp.sum(masses * _power_of_square(sq_gap, p))

    return lax.map(jax.checkpoint(cost), (plans.rows, plans.cols, plans.masses))


@partial(jax.jit, static_argnames="chunk_size")
def _expected_plan(problem: Problem, chunk_size: int | None) -> Float[Array, "n m"]:
    chunk_size = chunk_size or default_chunk_size(len(problem.x) + len(problem.y))
    num, size, blocks = blocks_of(problem, chunk_size)

    @partial(jax.checkpoint, prevent_cse=False)
    def add(total: Array, k: Array) -> tuple[Array, None]:
        block, is_new = one_block(problem, k, size)
        plans = _plans(block)
        masses = jnp.where(is_new[:, None], plans.masses, 0) / num
        return total.at[plans.rows, plans.cols].add(masses), None

    zero = jnp.full((problem.x.shape[0], problem.y.shape[0]), zero_like(problem))
    return lax.scan(add, zero, blocks)[0]


@partial(jax.jit, static_argnames="p")
def _potentials(problem: Problem, p: float) -> Potentials:
    slices = _slices(problem)
    x, y = take_rows(slices.x, slices.x_order), take_rows(slices.y, slices.y_order)
    y_beside, x_beside = slices.stairs.crossings()
    f = jnp.cumsum(_cost_steps(x, take_rows(y, y_beside), p), axis=0)
    g = jnp.cumsum(_cost_steps(y, take_rows(x, x_beside), p), axis=0)
    first = _power_of_square(jnp.square(x[:1] - y[:1]), p)
    f = put_rows(slices.x_order, jnp.concatenate([jnp.zeros_like(first), f])).T
    g = put_rows(slices.y_order, jnp.concatenate([first, first + g])).T
    a, b = _weights(problem)
    shift = jnp.sum(g * b[None], axis=1, keepdims=True) / 2
    shift -= jnp.sum(f * a[None], axis=1, keepdims=True) / 2
    return Potentials(f + shift, g - shift)


def _cost_steps(points: Float[Array, "n L"], beside: Float[Array, "r L"], p: float) -> Array:
    """How the cost to one point of the other measure changes from each point to the next."""
    low, high = points[:-1] - beside, points[1:] - beside
    if p == 2:  # without cancellation
        return (points[1:] - points[:-1]) * (low + high)
    return _power_of_square(jnp.square(high), p) - _power_of_square(jnp.square(low), p)


def _power_of_square(square: Array, p: float) -> Array:
    """The p-th power of the root, with derivative zero at zero."""
    if p == 2:
        return square
    return jnp.where(square == 0, 0, jnp.where(square == 0, 1, square) ** (p / 2))
