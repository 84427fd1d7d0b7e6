"""Sliced-Wasserstein losses and distances between point clouds.

Two clouds are projected on L directions; the projected clouds have a Wasserstein distance on the
line, in closed form; the loss is its mean over the directions.

**Which SW do you mean?** Several quantities go by the name of sliced-Wasserstein distance. With
W_p^p(l) for the cost between the clouds projected on direction l, all means over l:

=============================== ================================= ==============================
quantity                        here                              elsewhere
=============================== ================================= ==============================
mean of W_2^2(l)                ``sw2_sq(x, y, theta)``           OTT; SW_2^2 in papers on SGD
mean of W_p^p(l)                ``sw_pow(x, y, theta, p=p)``      OTT (see below)
p-th root of that mean          ``sw_distance(x, y, theta, p=p)`` POT
root of n times the mean        ``(n * sw_pow(...)) ** (1 / p)``  research codes that sum over the
                                                                  points: it grows with n
=============================== ================================= ==============================

There is no factor 1/2, and clouds have mass one. **Coming from POT or OTT**, with ``theta`` for
unit vectors as rows, shape (L, d), for example ``sample_directions(key, L, d)``:

======================================================== ===========================================
POT: ``ot.sliced_wasserstein_distance``                  here
======================================================== ===========================================
``(x, y, n_projections=L, seed=s)``                      ``sw_distance(x, y, theta)`` with
                                                         ``sample_directions(key, L, d)``
``(x, y, a, b, p=p, projections=theta.T)`` (columns)     ``sw_distance(x, y, theta, a, b, p=p)``
``(..., log=True)[1]["projected_emds"]``                 ``sw_pow_per_direction(...)``
``ot.max_sliced_wasserstein_distance(...)``              ``max_sw2_sq(x, y, key)``: by ascent, not
                                                         the best of L, and squared
``ot.wasserstein_1d(u, v, a, b, p=p)``                   ``wp_pow_1d(u, v, a, b, p=p)``
``ot.emd_1d_dual_backprop(u, v, a, b, p=p)``             ``jax.grad``; ``sliced_potentials(...)``
``ot.sliced.sliced_plans(...)`` and the like             see `swjax.sliced_plans`
======================================================== ===========================================

======================================================== ===========================================
OTT: ``ott.tools.sliced.sliced_wasserstein``             here
======================================================== ===========================================
``(x, y, a, b, proj_fn=lambda x: x @ theta.T)[0]``       ``sw2_sq(x, y, theta, a, b)``
``(..., cost_fn=PNormP(p))[0]``                          ``sw_pow(x, y, theta, a, b, p=p) / p``
``(...)[1].ot_costs``                                    ``sw2_sq_per_direction(x, y, theta, a, b)``
``(..., weights=w)[0]``                                  ``jnp.average(sw2_sq_per_direction(...),``
                                                         ``weights=w)``
``(..., proj_fn=features)[0]``, any features             ``generalized_sw_pow(x, y, features, p=2)``
``(..., return_transport=True)``                         ``sliced_plans(...).to_bcoo()``
``(..., return_dual_variables=True)``                    ``sliced_potentials(x, y, theta, a, b)``
======================================================== ===========================================

Neither library checks weights or the length of directions; here both must be right.

**Derivatives** hold the sorting permutations fixed; where SW is differentiable, this is the
gradient. They exist in the clouds, the directions and the weights, forward and reverse, to any
order, under ``jit``, ``vmap``, ``scan``, ``shard_map`` and ``jax.checkpoint``. At ties the stable
order decides. Where projected points coincide with their partners, as at x = y, the derivative is
zero and never NaN, also through the root.

**Rounding and special values.** In float32 a projection errs by about 1e-7 of the largest
coordinate, so far from the origin little of a distance is left: of clouds of width 1 around 1e6,
two digits. Subtract a common point from both clouds first; that changes no derivative. Squares of
distances below 1e-19 become zero in float32, and those above 1e19 infinite or NaN. Subnormal
numbers are put in order, but are zero in sums; -0.0 equals 0.0. NaN or an infinite coordinate makes
the result NaN or infinite, in a batch that of its own entry only.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from swjax._checks import as_order, check_chunk_size
from swjax.slicing import checked_problem, costs, mean_cost


def sw2_sq(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    chunk_size: int | None = None,
) -> Float[Array, ""]:
    """The mean of W_2^2 over the directions: a loss, not a root.

    For clouds of n points with equal weights, both projected clouds in ascending order::

        SW_2^2 = (1/L) sum_l (1/n) sum_k ((theta_l . x)_(k) - (theta_l . y)_(k))^2;

    for other sizes and weights, W_2^2 integrates the squared difference of the quantile functions
    (Bonneel, Rabin, Peyre and Pfister 2015, "Sliced and Radon Wasserstein barycenters of
    measures"). For one fresh direction this is the sample loss of Tanguy (2023), "Convergence of
    SGD for training neural networks with sliced Wasserstein losses".

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Unit vectors as rows, shape (L, d), for example from `sample_directions`.
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        chunk_size: How many directions to hold in memory at a time; by default as many as the
            caches take. Working memory is proportional to (n + m) * chunk_size, for the gradient
            too, and the result does not depend on it beyond rounding.

    Returns:
        A scalar, float64 if an input is, else float32, also for half precision. NaN or an infinite
        coordinate makes the result NaN or infinite.

    Raises:
        TypeError: If an input is not a floating-point array.
        ValueError: If shapes do not fit together, a cloud or the directions are empty, or
            `chunk_size` < 1; and, where values are known (not inside `jit`), if a direction is not
            of unit length or weights are negative or do not sum to 1.

    Example:
        >>> import jax
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> float(sw2_sq(x, x + jnp.array([[3.0, 4.0]]), jnp.eye(2)))
        12.5
        >>> jax.grad(sw2_sq)(x, x + jnp.array([[3.0, 4.0]]), jnp.eye(2)).tolist()
        [[-1.5, -2.0], [-1.5, -2.0]]
    """
    check_chunk_size(chunk_size)
    return mean_cost(checked_problem(x, y, directions, a, b), 2.0, chunk_size)


def sw_pow(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    p: float | int,
    chunk_size: int | None = None,
) -> Float[Array, ""]:
    """The mean of W_p^p over the directions, for any order p >= 1; `sw2_sq` for p = 2.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Unit vectors as rows, shape (L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        p: The order: the cost of a unit of mass is |theta . x - theta . y|^p.
        chunk_size: How many directions to hold in memory at a time, as in `sw2_sq`.

    Returns:
        A scalar, float64 if an input is, else float32.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw2_sq`, and if p is not a number with 1 <= p < inf.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> float(sw_pow(x, x + jnp.array([[3.0, 4.0]]), jnp.eye(2), p=1))
        3.5
    """
    check_chunk_size(chunk_size)
    return mean_cost(checked_problem(x, y, directions, a, b), as_order(p), chunk_size)


def sw_distance(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    p: float | int = 2,
    chunk_size: int | None = None,
) -> Float[Array, ""]:
    """The sliced-Wasserstein distance of order p: the p-th root of `sw_pow`.

    The gradient of the root is set to zero where the distance is zero.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Unit vectors as rows, shape (L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        p: The order, at least 1.
        chunk_size: How many directions to hold in memory at a time, as in `sw2_sq`.

    Returns:
        A scalar in the unit of the coordinates, float64 if an input is, else float32.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw_pow`.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> float(sw_distance(x, x + jnp.array([[3.0, 3.0]]), jnp.eye(2)))
        3.0
    """
    p = as_order(p)
    power = sw_pow(x, y, directions, a, b, p=p, chunk_size=chunk_size)
    if p == 1:
        return power
    apart = power != 0  # the root is taken of 1 where it has no derivative
    return jnp.where(apart, jnp.where(apart, power, 1) ** (1 / p), 0)


def sw2_sq_per_direction(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
) -> Float[Array, "L"]:
    """W_2^2 between the projected clouds, for every direction; their mean is `sw2_sq`.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Unit vectors as rows, shape (L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.

    Returns:
        Shape (L,). A direction that is NaN (inside `jit`) makes its own entry NaN, and no other.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw2_sq`.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> sw2_sq_per_direction(x, x + jnp.array([[3.0, 4.0]]), jnp.eye(2)).tolist()
        [9.0, 16.0]
    """
    return costs(checked_problem(x, y, directions, a, b), 2.0)


def sw_pow_per_direction(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    p: float | int,
) -> Float[Array, "L"]:
    """W_p^p between the projected clouds, for every direction; their mean is `sw_pow`.

    For a mean with weights of the directions, use ``jnp.average(..., weights=w)``.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Unit vectors as rows, shape (L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        p: The order, at least 1.

    Returns:
        Shape (L,); NaN as in `sw2_sq_per_direction`.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw_pow`.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> sw_pow_per_direction(x, x + jnp.array([[3.0, 4.0]]), jnp.eye(2), p=1).tolist()
        [3.0, 4.0]
    """
    return costs(checked_problem(x, y, directions, a, b), as_order(p))
