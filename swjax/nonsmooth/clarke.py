"""Generalized derivatives of the sliced-Wasserstein energy where points coincide.

The energy of a cloud against a fixed target,

    E(X) = E_theta W_2^2(P_theta # X, P_theta # Y),

is differentiable where the points of `X` are distinct. At coinciding points it has kinks that point
upward: `E(X) - sum_k a_k |x_k|^2 / d` is concave, so `-E` is Clarke regular up to a smooth term.
Three facts follow, for the one-sided derivative `E'(X; V) = lim_{t -> 0+} (E(X + t V) - E(X)) / t`:

    E'(X; V) = min { G . V : G in d_C E(X) },    E°(X; V) = -E'(X; -V),
    dist(0, d_C E(X)) = max(0, max_{|V| = 1} E'(X; V)).

So a tie can be Clarke-critical although it is a local maximum in the directions that part the
points. The one-sided derivative is computed by sorting lexicographically: first by `theta . x_k`,
then, among equal ones, by `theta . v_k`, the order that `X + t V` has for all small `t > 0`. The
gradient that belongs to this order is a limit of gradients of nearby clouds, and it attains the
minimum above.

With `batch_size` all this is about the expected loss of a minibatch instead, whose kinks are of the
same kind: `X` and `Y` are then the atoms of two discrete laws from which `n` points are drawn each.
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from swjax._checks import as_real_array, check_weights, checked_directions, is_concrete
from swjax.losses import check_outputs
from swjax.nonsmooth.lexicographic import line_gradients, mean_gradient, planar_gradient
from swjax.nonsmooth.two_points import zonoid_limiting_gradient as zonoid_limiting_gradient
from swjax.nonsmooth.two_points import zonoid_support as zonoid_support


def limiting_gradient(
    x: ArrayLike,
    y: ArrayLike,
    v: ArrayLike,
    directions: ArrayLike | None = None,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    batch_size: int | None = None,
) -> Float[Array, "n d"]:
    """The limit of the gradient of the energy at `X + t V` as `t` decreases to zero.

    Block `k` is `2 E_theta theta theta^T (a_k x_k - sum_s P_ks y_s)` with `P` the monotone plan of
    the lexicographic order by `(theta . x_k, theta . v_k)`. It lies in `d_C E(X)` and attains
    `E'(X; V) = min { G . V : G in d_C E(X) }`. Where the points are distinct, it is the gradient.

    Points count as coinciding when their coordinates are equal as floating-point numbers.

    Args:
        x: `(n, d)`, the cloud.
        y: `(m, d)`, the target.
        v: `(n, d)`, the direction in which the cloud moves.
        directions: `(L, d)` unit vectors as rows, each of weight `1 / L`; `None` for all directions
            of the line or the plane, integrated exactly.
        a: weights `(n,)` of the points of `x`; equal ones by default.
        b: weights `(m,)` of the points of `y`; equal ones by default.
        batch_size: `None` for the energy of the two measures themselves, or the number of points
            drawn from each in a minibatch, for the expected loss of the minibatch.

    Returns:
        Array `(n, d)`.

    Raises:
        ValueError: if shapes do not fit, directions are missing in dimension 3 and more or not of
            unit length, or weights are negative or do not sum to 1 (values: where known).
        TypeError: if an array is not of floating-point type.

    >>> import jax.numpy as jnp
    >>> together = jnp.zeros((2, 1))
    >>> y = jnp.array([[-1.0], [1.0]])
    >>> print(limiting_gradient(together, y, jnp.array([[1.0], [-1.0]])).ravel())
    [-1.  1.]
    """
    x, y, a, b = _clouds(x, y, a, b)
    v = as_real_array("v", v)
    if v.shape != x.shape:
        raise ValueError(f"v must have the shape {x.shape} of x, got {v.shape}.")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    dtype = jnp.promote_types(jnp.result_type(x, y, v), jnp.float32)
    x, y, v = x.astype(dtype), y.astype(dtype), v.astype(dtype)
    dim = x.shape[1]
    if directions is not None:
        rows = checked_directions(directions, dim).astype(dtype)
        return mean_gradient(x, y, v, a, b, rows, None, batch_size)
    if dim == 1:
        return mean_gradient(x, y, v, a, b, jnp.ones((1, 1), dtype), None, batch_size)
    if dim > 2:
        raise ValueError(
            f"In dimension {dim} the mean over directions needs directions (L, {dim}), for example "
            f"swjax.sample_orthogonal_directions(key, 1024, {dim})."
        )
    return planar_gradient(x, y, v, a, b, batch_size)


def directional_derivative(
    x: ArrayLike,
    y: ArrayLike,
    v: ArrayLike,
    directions: ArrayLike | None = None,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    batch_size: int | None = None,
) -> Float[Array, ""]:
    """The one-sided derivative of the energy, `E'(X; V) = lim_{t -> 0+} (E(X + t V) - E(X)) / t`.

        E'(X; V) = 2 E_theta sum_k (theta . v_k) (a_k theta . x_k - sum_s P_ks theta . y_s)

    with the plan `P` of the lexicographic order, see `limiting_gradient`. It exists everywhere and
    is concave in `V`. One row of `directions` gives the derivative of the loss along it.

    Args:
        x: `(n, d)`, the cloud.
        y: `(m, d)`, the target.
        v: `(n, d)`, the direction in which the cloud moves.
        directions: as in `limiting_gradient`, `(L, d)` or `None`.
        a: weights `(n,)` of `x`.
        b: weights `(m,)` of `y`.
        batch_size: as in `limiting_gradient`.

    Returns:
        A scalar.

    Raises:
        ValueError: as `limiting_gradient`.
        TypeError: as `limiting_gradient`.

    >>> import jax.numpy as jnp
    >>> together = jnp.zeros((2, 1))
    >>> y = jnp.array([[-1.0], [1.0]])
    >>> v = jnp.array([[1.0], [-1.0]])
    >>> [float(directional_derivative(together, y, w)) for w in (v, -v)]
    [-2.0, -2.0]
    """
    gradient = limiting_gradient(x, y, v, directions, a, b, batch_size=batch_size)
    return jnp.vdot(gradient, jnp.asarray(v, gradient.dtype), precision="highest")


def clarke_derivative(
    x: ArrayLike,
    y: ArrayLike,
    v: ArrayLike,
    directions: ArrayLike | None = None,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    batch_size: int | None = None,
) -> Float[Array, ""]:
    """The generalized derivative `E°(X; V) = max { G . V : G in d_C E(X) } = -E'(X; -V)`.

    The support function of the Clarke subdifferential: `G` belongs to `d_C E(X)` if and only if
    `G . V <= E°(X; V)` for every `V`.

    Args:
        x: `(n, d)`, the cloud.
        y: `(m, d)`, the target.
        v: `(n, d)`, the direction in which the cloud moves.
        directions: as in `limiting_gradient`, `(L, d)` or `None`.
        a: weights `(n,)` of `x`.
        b: weights `(m,)` of `y`.
        batch_size: as in `limiting_gradient`.

    Returns:
        A scalar.

    Raises:
        ValueError: as `limiting_gradient`.
        TypeError: as `limiting_gradient`.

    >>> import jax.numpy as jnp
    >>> y = jnp.array([[-1.0], [1.0]])
    >>> float(clarke_derivative(jnp.zeros((2, 1)), y, jnp.array([[1.0], [-1.0]])))
    2.0
    """
    opposite = -as_real_array("v", v)
    return -directional_derivative(x, y, opposite, directions, a, b, batch_size=batch_size)


def clarke_vertices(
    t: ArrayLike,
    y: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    batch_size: int | None = None,
    max_vertices: int = 5040,
) -> Float[Array, "num n"]:
    """The vertices of the Clarke subdifferential of the loss on the line, at a point with ties.

    For `w(t) = W_2^2(sum_k a_k delta_{t_k}, sum_s b_s delta_{y_s})`, or its expectation over
    minibatches, `d_C w(t)` is the convex hull of one gradient per order of the tied points,

        2 (a_k t_k - sum_s P_ks y_s),    P the monotone plan of the points in that order,

    and these are exactly the limits of gradients at `t`. For a fixed direction `theta` in `R^d`,
    take the projections; each vertex `g` then is the gradient with blocks `g_k theta`.

    Args:
        t: `(n,)`, points on the line with known values; equal numbers are tied.
        y: `(m,)`, the target.
        a: weights `(n,)` of the points `t`; equal ones by default.
        b: weights `(m,)` of the points `y`; equal ones by default.
        batch_size: as in `limiting_gradient`.
        max_vertices: more orders than this are refused.

    Returns:
        Array `(num, n)`: one row per order of the tied points, the product of `(size of group)!`.
        Rows coincide where the order makes no difference.

    Raises:
        ValueError: if shapes do not fit, or there are more than `max_vertices` orders.
        TypeError: if `t` is being traced: the number of vertices depends on its values.

    >>> import jax.numpy as jnp
    >>> print(clarke_vertices(jnp.zeros(2), jnp.array([-1.0, 1.0])))
    [[ 1. -1.]
     [-1.  1.]]
    """
    if not is_concrete(t):
        raise TypeError("t is being traced; the number of vertices depends on its values.")
    points, target = as_real_array("t", t), as_real_array("y", y)
    if points.ndim != 1 or target.ndim != 1:
        raise ValueError(
            f"t and y must be numbers (n,) and (m,), got {points.shape} and {target.shape}."
        )
    x, targets, a, b = _clouds(points[:, None], target[:, None], a, b)
    values, start = np.unique(np.asarray(points), return_inverse=True)
    groups = [np.flatnonzero(start == value) for value in range(values.size)]
    num = math.prod(math.factorial(group.size) for group in groups)
    if num > max_vertices:
        raise ValueError(
            f"The ties can be ordered in {num} ways, more than max_vertices = {max_vertices}. "
            "Use directional_derivative, which needs no list of them."
        )
    choices = itertools.product(*(itertools.permutations(group) for group in groups))
    orders = jnp.asarray([list(itertools.chain(*choice)) for choice in choices])
    targets = targets.astype(jnp.promote_types(x.dtype, targets.dtype))
    return line_gradients(x, targets, a, b, orders, batch_size)


def population_limiting_gradient(
    loss: Any, params: PyTree, direction: PyTree, directions: ArrayLike | None = None
) -> PyTree:
    """The limiting gradient of the population loss of a generator, along a direction of parameters.

    With outputs `T_i = T(u, x_i)` on the atoms of the source and `V = dT/du(u) v`, this is
    `(dT/du)^T` applied to `limiting_gradient` at the outputs along `V`. Where `T(., x_i)` is
    continuously differentiable at `u`, it attains `F'(u; v) = min { g . v : g in d_C F(u) }`,
    and the chain rule for `d_C F` holds with equality. Where the generator itself has a kink, its
    derivative is what JAX returns there, and only an inclusion holds.

    Args:
        loss: a `swjax.SlicedLoss` with `p = 2` between discrete laws.
        params: parameters `u` of the generator, a pytree.
        direction: the direction `v`, a tree like `params`.
        directions: as in `limiting_gradient`, `(L, d)`; needed in dimension 3 and more unless
            the loss has directions of its own.

    Returns:
        A tree like `params`. Its inner product with `direction` is the one-sided derivative.

    Raises:
        ValueError: if `p != 2`, a law is not discrete, or directions are missing or given twice.

    >>> import jax.numpy as jnp
    >>> import swjax
    >>> two = swjax.Discrete(jnp.array([[-0.5], [0.5]]))
    >>> loss = swjax.SlicedLoss(lambda u, x: u * x, two, two, batch_size=2)
    >>> [float(population_limiting_gradient(loss, 0.0, v)) for v in (1.0, -1.0)]
    [-0.125, 0.125]
    """
    if loss.p != 2:
        raise ValueError(f"Limiting gradients are known for p = 2; this loss has p = {loss.p}.")
    for name in ("source", "target"):
        if not getattr(loss, name).is_discrete:
            raise ValueError(
                f"The {name} is not discrete; make it so with swjax.measures.discretize."
            )
    if loss.directions is not None:
        if directions is not None:
            raise ValueError("The loss draws from directions of its own; do not pass others.")
        directions = loss.directions
    points = loss.source.points
    outputs, velocity = jax.jvp(lambda u: loss.apply(u, points), (params,), (direction,))
    check_outputs(outputs, points, loss.target.dim)
    _, pull_back = jax.vjp(lambda u: loss.apply(u, points), params)
    gradient = limiting_gradient(
        outputs,
        loss.target.points,
        velocity,
        directions,
        loss.source.weights,
        loss.target.weights,
        batch_size=loss.batch_size,
    )
    return pull_back(gradient.astype(outputs.dtype))[0]


def _clouds(
    x: ArrayLike, y: ArrayLike, a: ArrayLike | None, b: ArrayLike | None
) -> tuple[Array, Array, Any, Any]:
    """Both clouds and their weights, checked."""
    x, y = as_real_array("x", x), as_real_array("y", y)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or 0 in x.shape + y.shape:
        raise ValueError(
            f"x and y must be (n, d) and (m, d) with n, m, d >= 1; got {x.shape} and {y.shape}."
        )
    weights: list[Any] = []
    for name, given, points, cloud in (("a", a, "x", x), ("b", b, "y", y)):
        num = cloud.shape[0]
        dtype = jnp.promote_types(cloud.dtype, jnp.float32)
        checked = check_weights(name, given, points, (num,))
        weights.append(np.full(num, 1 / num, dtype) if checked is None else checked.astype(dtype))
    return x, y, weights[0], weights[1]
