"""A certificate of approximate stationarity from gradients sampled in a small ball.

At a kink the norm of the gradient says nothing: it can stay large at every iterate while the
iterates settle at a minimum. The Goldstein subdifferential looks at a neighborhood instead.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from swjax._checks import is_concrete
from swjax.nonsmooth.min_norm import min_norm_with_normal
from swjax.nonsmooth.vectors import check_radius, euclidean_norm, flatten, place_in_ball, safe

_LARGEST_CHANCE = 0.01  # that one of the samples lies on a given kink u_i = c


class GoldsteinCertificate(NamedTuple):
    """Bounds on the distance from zero to the Goldstein subdifferential.

    Attributes:
        upper: an upper bound, the norm of an element of the set.
        lower: a lower bound; 0, which says nothing, unless a smoothness constant was given.
        epsilon: the size of the neighborhood.
        point: the element whose norm is `upper`, a tree like the parameters: minus a direction of
            descent on the scale `epsilon` when it is not small.
    """

    upper: Float[Array, ""]
    lower: Float[Array, ""]
    epsilon: Float[Array, ""]
    point: PyTree

    def reading(self, delta: float) -> str:
        """What the bounds say about `(epsilon, delta)`-stationarity, in words.

        A small upper bound proves it; a large one proves nothing, since more samples might lower
        it; only a lower bound can refute.
        """
        epsilon, upper, lower = (float(x) for x in (self.epsilon, self.upper, self.lower))
        if math.isnan(upper):
            return (
                "no statement: the norm found is not a number. A gradient is not finite or, if "
                "the certificate was traced, the parameters lie outside the ball or epsilon is "
                "too small for their type"
            )
        if upper <= delta:
            return (
                f"({epsilon:.3g}, {delta:.3g})-stationary: an element of norm {upper:.3g} was found"
            )
        if lower > delta:
            return (
                f"not ({epsilon:.3g}, {delta:.3g})-stationary: every element has norm at least "
                f"{lower:.3g}, by the smoothness constant given"
            )
        return (
            f"undecided: the smallest element found has norm {upper:.3g} > {delta:.3g}, which "
            "proves nothing; more samples may find a smaller one"
        )


def goldstein_certificate(
    gradient_fn: Callable[[PyTree], PyTree],
    params: PyTree,
    epsilon: ArrayLike,
    key: Array,
    *,
    num_samples: int,
    radius: ArrayLike | None = None,
    smoothness: ArrayLike | None = None,
    batch_size: int = 64,
) -> GoldsteinCertificate:
    """Bound the distance from zero to the Goldstein subdifferential of a loss.

    The set is `d_eps F(u) = conv U_{|w - u| <= eps} d_C F(w)`; in a ball of radius `r` only `w` in
    the ball count, and their normal cones are added. A point with an element of norm at most
    `delta` is called `(eps, delta)`-stationary. Gradients are evaluated at `num_samples` points
    drawn uniformly in the `eps`-ball around `u` (points beyond the sphere `|w| = r` are reflected
    at it, which keeps them in the `eps`-ball), and

        upper = min | sum_i l_i grad F(w_i) + s u |,   l in the simplex, s >= 0,

    with `s = 0` where the sphere is farther than `eps`. Points drawn with a density are almost
    surely no kinks, so that it would not matter what automatic differentiation returns there; `u`
    itself is left out for that reason. In floating point the points lie on a grid, and one of them
    meets a given kink `u_i = c` with a chance of up to about

        num_samples * sqrt(d) * spacing / (2 eps),   spacing = machine epsilon * max_i |u_i|.

    An `epsilon` for which this exceeds 1 % is refused. If `gradient_fn` rounds to fewer digits the
    grid is coarser, which cannot be seen from here.

    **Reading.** `upper` is a true upper bound for any number of samples, unless one of them met a
    kink where automatic differentiation returns no Clarke subgradient: a small value certifies
    stationarity, a large one proves nothing. In `d` dimensions take `2 d` samples or more. If
    `grad F` is `smoothness`-Lipschitz on the `eps`-ball (no kink there), then also

        lower = max(0, |g| - smoothness * eps)  <=  distance,

    `|g|` being replaced near the sphere by the distance from `-grad F(u)` to the cone of all
    normals within reach.

    Args:
        gradient_fn: the gradient of the loss, from a tree like `params` to another, for example
            `jax.grad` of the population loss. It must be deterministic: gradients of random
            minibatches would average to zero without any stationarity.
        params: the point `u`, an array or tree of real floating-point arrays.
        epsilon: radius of the neighborhood, a positive scalar, at most `radius` and not too small
            for the floating-point type (see above).
        key: a JAX random key.
        num_samples: number of gradients evaluated, at least 1.
        radius: radius of the ball around the origin that the parameters are kept in, a positive
            scalar; `None` for no ball.
        smoothness: a Lipschitz constant of the gradient on the `eps`-ball, a scalar; `None` where
            there is a kink or none is known.
        batch_size: how many gradients are evaluated at once.

    Returns:
        `GoldsteinCertificate(upper, lower, epsilon, point)`; `.reading(delta)` puts it in words.
        The bounds are NaN where a gradient is, and for traced values that would be refused.

    Raises:
        ValueError: if a number is out of range, the parameters lie outside the ball, or `epsilon`
            is too small for them (where values are known).
        TypeError: if a leaf is not of real floating-point type.

    The definition is Goldstein's (1977); sampling gradients to get at it is the idea of Burke,
    Lewis and Overton (2005).

    >>> import jax
    >>> kink = jax.grad(lambda u: abs(u))
    >>> certificate = goldstein_certificate(kink, 0.004, 0.01, jax.random.key(0), num_samples=20)
    >>> print(certificate.reading(delta=1e-3)[:24])
    (0.01, 0.001)-stationary
    """
    if num_samples < 1 or batch_size < 1:
        raise ValueError(
            f"num_samples and batch_size must be at least 1, got {num_samples} and {batch_size}."
        )
    u, restore = flatten("params", params)
    if radius is not None and is_concrete(epsilon, radius) and np.any(np.asarray(epsilon) > radius):
        raise ValueError(
            f"epsilon = {epsilon} exceeds the radius {radius} of the ball; a neighborhood smaller "
            "than the ball is expected."
        )
    epsilon = _check_number("epsilon", epsilon, positive=True).astype(u.dtype)
    near: Array | bool = False
    outside: Array | bool = False
    if radius is not None:
        radius = check_radius(radius).astype(u.dtype)
        outside, _ = place_in_ball(params, u, radius)
        # Up to rounding the parameters lie in the ball; the reflection needs it exactly.
        length = euclidean_norm(u)
        u = jnp.where(length > radius, u * (radius / safe(length)), u)
    refused = outside | _below_resolution(epsilon, u, num_samples)
    samples = _sample_ball(key, num_samples, u, epsilon, radius)
    if radius is not None:
        near = euclidean_norm(u) >= radius - epsilon

    def gradient_at(point: Array) -> Array:
        found, _ = flatten("gradient_fn(params)", gradient_fn(restore(point)))
        if found.shape != u.shape:
            raise ValueError(
                f"gradient_fn returns {found.size} numbers for {u.size} parameters; it must return "
                "a tree like params."
            )
        return found.astype(u.dtype)

    rows = jax.lax.map(gradient_at, samples, batch_size=min(batch_size, num_samples))
    nearest = min_norm_with_normal(rows, u, near, refused)
    lower = jnp.zeros_like(nearest.norm)
    if smoothness is not None:
        constant = _check_number("smoothness", smoothness, positive=False)
        center = gradient_at(u)
        if radius is None:
            size = euclidean_norm(center)
        else:
            size = _distance_to_normals(-center, u, radius, epsilon)
        lower = jnp.maximum(size - constant * epsilon, 0)
        lower = jnp.where(jnp.isnan(nearest.norm), jnp.nan, lower)
    return GoldsteinCertificate(nearest.norm, lower, epsilon, restore(nearest.point))


def _below_resolution(epsilon: Array, u: Array, num_samples: int) -> Array:
    """Whether samples of the ball would meet kinks, the numbers being too coarse there."""
    # A coordinate of a uniform point of the ball has a density of at most sqrt(d) / (2 epsilon).
    spacing = jnp.finfo(u.dtype).eps * jnp.max(jnp.abs(u))
    smallest = num_samples * math.sqrt(u.size) * spacing / (2 * _LARGEST_CHANCE)
    too_small = epsilon < smallest
    if is_concrete(too_small) and bool(too_small):
        raise ValueError(
            f"epsilon = {float(epsilon):.3g} is too small for parameters of size "
            f"{float(jnp.max(jnp.abs(u))):.3g} in {u.dtype}: samples would fall on kinks. With "
            f"{num_samples} samples it must be at least {float(smallest):.3g}; take a larger "
            "epsilon, fewer samples, or double precision."
        )
    return too_small


@partial(jax.jit, static_argnames="num")
def _sample_ball(
    key: Array, num: int, center: Array, epsilon: Array, radius: Array | None
) -> Array:
    """Points drawn uniformly in a ball `(num, d)`, reflected at the sphere if there is one."""
    direction_key, radius_key = jax.random.split(key)
    dim = center.size
    directions = jax.random.normal(direction_key, (num, dim), center.dtype)
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    radii = jax.random.uniform(radius_key, (num, 1), center.dtype) ** (1 / dim)
    points = center[None] + epsilon * radii * directions
    return points if radius is None else _reflect_at_sphere(points, radius)


def _reflect_at_sphere(points: Array, radius: Array) -> Array:
    """Move points beyond the sphere, along their radius, as far inside as they were outside.

    A point within `eps <= r` of some `u` of the ball stays within `eps` of it: on its ray the
    distance to `u` has its minimum at or before the sphere.
    """
    lengths = jnp.linalg.norm(points, axis=1, keepdims=True)
    return jnp.where(lengths > radius, points * (2 * radius / safe(lengths) - 1), points)


def _distance_to_normals(vector: Array, u: Array, radius: Array, epsilon: ArrayLike) -> Array:
    """Distance from a vector to the cone of all `w` with `|w| = radius` and `|w - u| <= epsilon`.

    It is the circular cone around `u` of half-angle `psi` with `cos psi = (r^2 + |u|^2 - eps^2) /
    (2 r |u|)`; where no such `w` exists, the cone is `{0}`.
    """
    length = euclidean_norm(u)
    size = euclidean_norm(vector)
    axis = u / safe(length)
    along = jnp.vdot(vector, axis)
    across = euclidean_norm(vector - along * axis)
    cosine = (radius**2 + length**2 - epsilon**2) / (2 * radius * safe(length))
    half_angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    beyond = jnp.arctan2(across, along) - half_angle
    to_cone = jnp.where(beyond >= math.pi / 2, size, size * jnp.sin(jnp.maximum(beyond, 0)))
    return jnp.where(length + epsilon < radius, size, jnp.where(length > 0, to_cone, 0))


def _check_number(name: str, value: ArrayLike, *, positive: bool) -> Array:
    if jnp.ndim(value) != 0:
        raise ValueError(f"{name} must be one number, got shape {jnp.shape(value)}.")
    if is_concrete(value):
        number = float(np.asarray(value))
        if not math.isfinite(number) or number < 0 or (positive and number == 0):
            least = "positive" if positive else "at least 0"
            raise ValueError(f"{name} must be {least} and finite, got {number}.")
    return jnp.asarray(value)
