"""How far a parameter vector is from being stationary, with or without a ball around it.

In the ball `B(0, r)` the stationary points of a locally Lipschitz `F` are the Karush-Kuhn-Tucker
points

    C_r = { u : 0 in -d_C F(u) - N_r(u) },    N_r(u) = {0} if |u| < r,  { s u : s >= 0 } if |u| = r,

with `d_C F` the Clarke subdifferential (Tanguy, "Convergence of SGD for training neural networks
with sliced Wasserstein losses", TMLR 2023, equation 14). Noised projected gradient descent
approaches this set. The functions here measure the violation of the condition, `dist(0, d_C F(u) +
N_r(u))`, and the distance to a set of stationary points where it is known.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from swjax._checks import is_concrete
from swjax._trees import check_floating_leaves
from swjax.nonsmooth.min_norm import MinNormPoint, min_norm_point, min_norm_with_normal
from swjax.nonsmooth.vectors import (
    check_radius,
    euclidean_norm,
    flatten,
    flatten_rows,
    place_in_ball,
    safe,
)


def kkt_residual(
    params: PyTree, gradient: PyTree, radius: ArrayLike | None = None
) -> Float[Array, ""]:
    """The violation of first-order stationarity at a point where the loss is differentiable.

    With `g = grad F(u)`, the distance from zero to `g + N_r(u)`:

        |g|                        where |u| < r, or without a ball,
        |g|                        where |u| = r and g . u >= 0,
        |g - (g . u / r^2) u|      where |u| = r and g . u < 0.

    It equals `lim_{t -> 0} |u - pi_r(u - t g)| / t`, the norm of the projected gradient, see
    `gradient_mapping`. It jumps at the sphere: just inside, a gradient that presses outwards
    counts in full. Iterates that hover below the sphere are judged better by `gradient_mapping`
    with their step size, or by `goldstein_certificate`.

    Args:
        params: the point `u`, an array or tree of real floating-point arrays.
        gradient: the gradient there, of the same structure and shapes.
        radius: radius `r > 0` of the ball around the origin that the whole tree is kept in, a
            scalar; `None` for no ball. Norms within 16 machine epsilons of `r` count as `r`.

    Returns:
        A scalar; NaN for traced parameters outside the ball.

    Raises:
        ValueError: if the trees do not fit, or, where values are known, if the radius is not
            positive or the parameters lie outside the ball.
        TypeError: if a leaf is not of real floating-point type.

    >>> import jax.numpy as jnp
    >>> u = jnp.array([0.0, 2.0])
    >>> float(kkt_residual(u, jnp.array([3.0, -4.0])))
    5.0
    >>> float(kkt_residual(u, jnp.array([3.0, -4.0]), radius=2.0))
    3.0
    """
    _check_same_tree("gradient", gradient, "params", params)
    u, _ = flatten("params", params)
    g, _ = flatten("gradient", gradient)
    if radius is None:
        return euclidean_norm(g)
    radius = check_radius(radius)
    outside, on_sphere = place_in_ball(params, u, radius)
    outward = u / safe(euclidean_norm(u))
    pressed = jnp.minimum(jnp.vdot(g, outward), 0)
    residual = euclidean_norm(jnp.where(on_sphere, g - pressed * outward, g))
    return jnp.where(outside, jnp.nan, residual)


def kkt_residual_of_set(
    params: PyTree, subgradients: PyTree, radius: ArrayLike | None = None
) -> MinNormPoint:
    """The violation of stationarity at a kink, from a finite set of subgradients.

    With subgradients `v_1, ..., v_m` that span `d_C F(u)` (its limiting gradients, such as
    `clarke_vertices` returns), the distance

        dist(0, d_C F(u) + N_r(u)) = min | sum_i l_i v_i + s u |,
                                      l in the simplex, s >= 0 (s = 0 where |u| < r).

    When the set is only part of `d_C F(u)`, the result is an upper bound of that distance.

    Args:
        params: the point `u`, an array or tree of real floating-point arrays.
        subgradients: the same tree, each leaf with a leading axis of length `m >= 1`.
        radius: as in `kkt_residual`.

    Returns:
        A `MinNormPoint` whose `norm` is the residual, with `lower <= residual <= norm`; its
        `point (d,)` is the flattened least element, and `multiplier` is `s`.

    Raises:
        ValueError: as `kkt_residual`.
        TypeError: as `kkt_residual`.

    >>> import jax.numpy as jnp
    >>> kink = jnp.array([[-1.0, 3.0], [1.0, 3.0]])
    >>> float(kkt_residual_of_set(jnp.array([0.0, -2.0]), kink).norm)
    3.0
    >>> float(kkt_residual_of_set(jnp.array([0.0, -2.0]), kink, radius=2.0).norm)
    0.0
    """
    u, _ = flatten("params", params)
    rows = flatten_rows("subgradients", subgradients, params)
    if radius is None:
        return min_norm_point(rows)
    radius = check_radius(radius)
    outside, on_sphere = place_in_ball(params, u, radius)
    return min_norm_with_normal(rows, u, on_sphere, outside)


def gradient_mapping(
    params: PyTree, gradient: PyTree, step_size: ArrayLike, radius: ArrayLike | None = None
) -> Float[Array, ""]:
    """The length of one projected gradient step divided by the step size.

        |u - pi_r(u - t g)| / t

    It is the gradient norm without a ball, tends to `kkt_residual` as `t -> 0`, and, unlike that,
    is continuous in `u`: at the scale `t` it is small also just inside the sphere when the gradient
    presses outwards. Zero if and only if `u` is a Karush-Kuhn-Tucker point, for every `t > 0`.

    Args:
        params: the point `u`, an array or tree of real floating-point arrays, in the ball.
        gradient: the gradient there, of the same structure and shapes.
        step_size: the step `t > 0`, a scalar.
        radius: as in `kkt_residual`.

    Returns:
        A scalar; NaN for traced parameters outside the ball.

    Raises:
        ValueError: as `kkt_residual`, and if the step size is not positive (where known).
        TypeError: as `kkt_residual`.

    >>> import jax.numpy as jnp
    >>> almost_out = jnp.array([0.0, 1.99])
    >>> g = jnp.array([0.0, -4.0])
    >>> round(float(gradient_mapping(almost_out, g, 0.1, radius=2.0)), 3)
    0.1
    """
    _check_same_tree("gradient", gradient, "params", params)
    if jnp.ndim(step_size) != 0 or (is_concrete(step_size) and not np.asarray(step_size) > 0):
        raise ValueError(f"step_size must be one positive number, got {step_size}.")
    u, _ = flatten("params", params)
    g, _ = flatten("gradient", gradient)
    if radius is None:
        return euclidean_norm(g)
    radius = check_radius(radius)
    outside, _ = place_in_ball(params, u, radius)
    moved = u - step_size * g
    size = euclidean_norm(moved)
    # Where the step stays inside, the mapping is g itself: no rounding of u - (u - t g).
    step = jnp.where(size > radius, (u - moved * (radius / safe(size))) / step_size, g)
    return jnp.where(outside, jnp.nan, euclidean_norm(step))


def distance_to_points(params: PyTree, points: PyTree) -> Float[Array, "..."]:
    """Distance of parameters, or of every iterate of a path, to a finite set of known points.

        d(u, Z) = min_{z in Z} |u - z|,   the Euclidean norm of the whole tree.

    Args:
        params: an array or tree; each leaf `(*lead, *shape)` with the same leading axes, for
            example `(repetition, time)`; none for a single vector of parameters.
        points: the same tree, each leaf `(num, *shape)`, the points of `Z`.

    Returns:
        Array of shape `lead`.

    Raises:
        ValueError: if the trees do not fit, or `Z` is empty.
        TypeError: if a leaf is not of real floating-point type.

    >>> import jax.numpy as jnp
    >>> critical = jnp.array([[-0.25], [0.0], [0.25]])
    >>> print(distance_to_points(jnp.array([[1.25], [-0.5], [0.125]]), critical))
    [1.    0.25  0.125]
    """
    for name, tree in (("params", params), ("points", points)):
        check_floating_leaves(name, tree)
    given, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, params))
    wanted, other = jax.tree.flatten(jax.tree.map(jnp.asarray, points))
    if structure != other or not given:
        raise ValueError(f"points is the tree {other}, params is {structure}; they must agree.")
    num = {p.shape[0] if p.ndim else 0 for p in wanted}
    if len(num) > 1 or 0 in num:
        raise ValueError(
            "Every leaf of points needs the same leading axis of length at least 1, one entry per "
            f"point; got the shapes {[p.shape for p in wanted]}."
        )
    leads = set()
    for u, p in zip(given, wanted, strict=True):
        split = u.ndim - (p.ndim - 1)
        if split < 0 or u.shape[split:] != p.shape[1:]:
            raise ValueError(
                f"A leaf of params has shape {u.shape}, which does not end in {p.shape[1:]}, the "
                "shape of the same leaf of one point."
            )
        leads.add(u.shape[:split])
    if len(leads) > 1:
        raise ValueError(f"The leaves of params differ in their leading axes: {sorted(leads)}.")
    (lead,) = leads
    dtype = jnp.promote_types(jnp.result_type(*given, *wanted), jnp.float32)
    path = jnp.concatenate([u.reshape(*lead, -1).astype(dtype) for u in given], axis=-1)
    flat = jnp.concatenate([p.reshape(p.shape[0], -1).astype(dtype) for p in wanted], axis=-1)
    to_one = lambda z: jnp.linalg.norm(path - z.reshape((1,) * len(lead) + z.shape), axis=-1)
    return jnp.min(jax.lax.map(to_one, flat), axis=0)


def _check_same_tree(name: str, tree: PyTree, other_name: str, other: PyTree) -> None:
    shapes = lambda t: jax.tree.map(jnp.shape, t)
    if jax.tree.structure(tree) != jax.tree.structure(other) or shapes(tree) != shapes(other):
        raise ValueError(
            f"{name} must have the structure and shapes of {other_name}; got {shapes(tree)} "
            f"against {shapes(other)}."
        )
