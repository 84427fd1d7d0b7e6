"""The fixed-point map of sliced-Wasserstein energies, and the cells of those of few directions.

For a cloud X of n points and fixed directions `theta_1, ..., theta_p`, spread as
`M = (1/p) sum_l theta_l theta_l^T`, the energy

    E_p(X) = (1/p) sum_l W_2^2(theta_l . X, theta_l . Y)
           = min over (s_1, ..., s_p) of (1/(n p)) sum_l sum_k (theta_l . (x_k - y_{s_l(k)}))^2

is a minimum of quadratics, one for each *cell*: each p-tuple of matchings. Within a cell the
minimizer is the mean of what the points are matched with. Moving there is block coordinate descent
on (s, X), and the map `Fix(X)_k = M^-1 (1/p) sum_l theta_l (theta_l . y_{s_l(k)})`, `s` optimal at
X, has the descent inequality

    E_p(Fix(X)) <= E_p(X) - (1/n) sum_k (x_k - Fix(X)_k) . M (x_k - Fix(X)_k),

since the quadratic of the cell lies above `E_p`. A cell is *stable* if it contains its minimizer;
`grad E_p(X) = 0` exactly at minimizers of stable cells, and these are the local minima (Tanguy,
Flamary and Delon 2025, "Properties of discrete sliced Wasserstein losses"). For all directions
`M = I / d`: `Fix(X) = X - (n d / 2) grad E(X)`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from swjax._checks import as_count, as_real_array, checked_directions, working_dtype
from swjax.flows.sliced_drift import checked_clouds, velocity_over
from swjax.rows import put_rows
from swjax.slicing import project
from swjax.sorting import argmatch, argsort, sort


def sliced_fixed_point(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike | None = None,
    b: ArrayLike | None = None,
) -> Float[Array, "n d"]:
    """Move every point of a cloud to the best place for the matchings that are optimal now.

    For all directions, `E(X) = SW_2^2(X, Y)`,

        Fix(X) = X - (n d / 2) grad E(X),    E(Fix(X)) <= E(X) - |X - Fix(X)|^2 / (n d),

    so `Fix` is gradient descent with step `n d / 2`, and in general
    `E(X - a grad E(X)) <= E(X) - a (1 - a / (n d)) |grad E(X)|^2`, a descent for `a < n d`. For
    given directions, `Fix(X) = X + M^-1 v(X)` with `v` of `sliced_velocity`. Where they do not
    span the space the points do not move in the directions orthogonal to all of them. The critical
    points are the fixed points.

    Args:
        x: cloud, shape (n, d).
        y: target cloud, shape (m, d).
        directions: unit vectors as rows, shape (L, d); None for all directions of the line or the
            plane, in closed form.
        b: weights of y, shape (m,); None stands for 1/m each.

    Returns:
        Array (n, d).

    Raises:
        TypeError: as `sliced_velocity`.
        ValueError: as `sliced_velocity`.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> print(jnp.rint(sliced_fixed_point(x, x + jnp.array([[3.0, 4.0]]))))
        [[3. 4.]
         [4. 4.]]
    """
    x, target, rows = checked_clouds(x, y, directions, b)
    velocity = velocity_over(x, target, rows)
    if rows is None:
        return x + x.shape[1] * velocity
    return x + jnp.matmul(velocity, _inverse_spread(rows), precision="highest")


class CellDescent(NamedTuple):
    """Where block coordinate descent on the energy of few directions has come to.

    Attributes:
        points: the cloud, `(n, d)`.
        value: `E_p` there.
        residual: `|grad E_p|` there, the Euclidean norm over all coordinates.
        num_steps: how many cells were visited.
        is_stable: whether the cell contains its minimizer, so that `points` is a local minimum.
    """

    points: Float[Array, "n d"]
    value: Float[Array, ""]
    residual: Float[Array, ""]
    num_steps: Int[Array, ""]
    is_stable: Bool[Array, ""]


def descend_cells(
    x: ArrayLike, y: ArrayLike, directions: ArrayLike, *, max_steps: int = 1000
) -> CellDescent:
    """Go from cell to cell of `E_p` to the minimizer of each, until one contains its own.

    Every step lowers `E_p`, and there are finitely many cells, so a stable cell is reached; by how
    many steps is not known beforehand.

    Args:
        x: cloud, shape (n, d).
        y: target cloud of as many points, shape (n, d).
        directions: unit vectors as rows, shape (p, d).
        max_steps: after this many steps it ends anyway, with `is_stable` false.

    Returns:
        `CellDescent(points (n, d), value, residual, num_steps, is_stable)`.

    Raises:
        TypeError: if an array is not of floating-point type.
        ValueError: if shapes do not fit together, the clouds differ in size, there are no
            directions, or `max_steps < 1`.

    Example:
        >>> y = jnp.array([[0.0, 1.0], [0.0, -1.0]])
        >>> end = descend_cells(y[:, ::-1] + 0.1, y, jnp.array([[0.6, 0.8], [-0.6, 0.8]]))
        >>> minimum = jnp.array([[4 / 3, 0.0], [-4 / 3, 0.0]])  # one that is not the target
        >>> bool(jnp.allclose(end.points, minimum, atol=1e-6))
        True
        >>> bool(end.is_stable)
        True
        >>> bool(end.value < 1e-10)
        True
    """
    max_steps = as_count("max_steps", max_steps)
    return _descend(*_checked(x, y, directions), max_steps)


def sliced_cell(x: ArrayLike, y: ArrayLike, directions: ArrayLike) -> Int[Array, "p n"]:
    """The cell of `E_p` that a cloud is in: for every direction, the y that each x is matched with.

    Args:
        x: cloud, shape (n, d).
        y: target cloud, shape (n, d).
        directions: unit vectors as rows, shape (p, d).

    Returns:
        Row numbers of y, shape (p, n); each row is a permutation. Ties go by index.

    Raises:
        TypeError: as `descend_cells`.
        ValueError: as `descend_cells`.

    Example:
        >>> x, y = jnp.array([[0.0, 1.0], [1.0, 0.0]]), jnp.array([[5.0, 6.0], [7.0, 8.0]])
        >>> print(sliced_cell(x, y, jnp.eye(2)))
        [[0 1]
         [1 0]]
    """
    return _matching(*_checked(x, y, directions))


def cell_minimizer(
    y: ArrayLike, directions: ArrayLike, cell: ArrayLike
) -> tuple[Float[Array, "n d"], Float[Array, ""]]:
    """The minimizer of the quadratic of a cell, and its value there.

    With p <= d linearly independent directions every cell has value 0: each point solves p
    equations. A cell whose rows differ then gives a cloud other than Y, in general, at which `E_p`
    vanishes. With p > d random directions the value is positive for every cell but that of Y
    itself, almost surely (reconstruction of a discrete measure from its projections).

    Args:
        y: target cloud, shape (n, d).
        directions: unit vectors as rows, shape (p, d).
        cell: row numbers of y as `sliced_cell` returns them, shape (p, n), each row a permutation.

    Returns:
        The cloud, shape (n, d), of least norm if there are several; and the value of the quadratic,
        which is `E_p` if the cell is stable and more than that otherwise.

    Raises:
        TypeError: if y or the directions are not of floating-point type.
        ValueError: if shapes do not fit together.

    Example:
        >>> y = jnp.array([[0.0, 1.0], [0.0, -1.0]])
        >>> points, value = cell_minimizer(y, jnp.eye(2), jnp.array([[0, 1], [1, 0]]))
        >>> print(points, value)  # the projections do not tell whose is whose
        [[ 0. -1.]
         [ 0.  1.]] 0.0
    """
    y, directions = as_real_array("y", y), as_real_array("directions", directions)
    cell = jnp.asarray(cell)
    if y.ndim != 2 or 0 in y.shape or directions.ndim != 2 or directions.shape[1] != y.shape[1]:
        raise ValueError(
            f"Expected y (n, d) and directions (p, d), got {y.shape} and {directions.shape}."
        )
    if cell.shape != (directions.shape[0], y.shape[0]):
        raise ValueError(
            f"cell must have shape {(directions.shape[0], y.shape[0])}, for every direction one "
            f"row number of y per point; got {cell.shape}."
        )
    dtype = working_dtype(y, directions)
    rows = checked_directions(directions, y.shape[1]).astype(dtype)
    return _minimize(y.astype(dtype), rows, cell)


@jax.jit
def _minimize(
    y: Float[Array, "n d"], directions: Float[Array, "p d"], cell: Int[Array, "p n"]
) -> tuple[Float[Array, "n d"], Float[Array, ""]]:
    matched = jnp.take_along_axis(project(y, directions), cell.T, axis=0)
    points = _best_points(jnp.zeros_like(y), matched, directions)
    return points, jnp.mean((project(points, directions) - matched) ** 2)


@jax.jit
def _matching(
    x: Float[Array, "n d"], y: Float[Array, "n d"], directions: Float[Array, "p d"]
) -> Int[Array, "p n"]:
    return argmatch(project(y, directions), pattern=project(x, directions)).T


@jax.jit
def _descend(
    x: Float[Array, "n d"],
    y: Float[Array, "n d"],
    directions: Float[Array, "p d"],
    max_steps: int | Array,
) -> CellDescent:
    targets = sort(project(y, directions))

    def step(state: tuple) -> tuple:
        x, order, _, count = state
        x = _best_points(x, put_rows(order, targets), directions)
        new = argsort(project(x, directions))
        return x, new, jnp.all(new == order), count + 1

    start = (x, argsort(project(x, directions)), jnp.zeros((), bool), jnp.zeros((), int))
    ended = lambda state: ~state[2] & (state[3] < max_steps)
    x, order, stable, count = lax.while_loop(ended, step, start)
    gap = project(x, directions) - put_rows(order, targets)
    gradient = jnp.matmul(gap, directions, precision="highest") * (2 / gap.size)
    return CellDescent(x, jnp.mean(gap**2), jnp.linalg.norm(gradient), count, stable)


def _best_points(
    x: Float[Array, "n d"], matched: Float[Array, "n p"], directions: Float[Array, "p d"]
) -> Float[Array, "n d"]:
    """The nearest to x of the clouds that minimize the quadratic of given matched projections."""
    inverse = _inverse_spread(directions)
    dot = lambda a, b: jnp.matmul(a, b, precision="highest")
    seen = dot(inverse, dot(directions.T, directions)) / directions.shape[0]
    unseen = jnp.eye(x.shape[1], dtype=x.dtype) - seen
    # Zero but for rounding if the directions span the space: then the start must not matter.
    unseen = jnp.where(jnp.abs(unseen) < 1e3 * jnp.finfo(x.dtype).eps, 0, unseen)
    return dot(dot(matched, directions) / directions.shape[0], inverse) + dot(x, unseen)


@jax.jit
def _inverse_spread(directions: Float[Array, "p d"]) -> Float[Array, "d d"]:
    """The (pseudo-)inverse of the mean of `theta theta^T`."""
    spread = jnp.matmul(directions.T, directions, precision="highest") / directions.shape[0]
    return jnp.linalg.pinv(spread, rtol=1e3 * float(jnp.finfo(spread.dtype).eps), hermitian=True)


def _checked(
    x: ArrayLike, y: ArrayLike, directions: ArrayLike | None
) -> tuple[Float[Array, "n d"], Float[Array, "n d"], Float[Array, "p d"]]:
    """Two clouds of one size and directions, in one type."""
    x, target, rows = checked_clouds(x, y, directions, None)
    if rows is None:
        raise ValueError("Cells belong to finitely many directions: pass directions (p, d).")
    if x.shape != target.points.shape:
        raise ValueError(
            "Cells are matchings of as many points with as many; x and y have shapes "
            f"{x.shape} and {target.points.shape}."
        )
    return x, target.points, rows
