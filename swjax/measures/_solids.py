"""Uniform laws on simple sets of any dimension: ball, shell, cube."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from swjax._checks import as_count
from swjax._trees import as_pytree
from swjax._types import AnyKey
from swjax.directions import sample_directions
from swjax.measures._base import Measure, at_least_zero, positive


@as_pytree()
@dataclass(frozen=True, eq=False)
class Shell(Measure):
    """The uniform law on `{inner <= |x| <= outer}` in `R^dim`; made by `ball` and `ring`.

    Attributes:
        dim: dimension of the space.
        inner: inner radius, at least 0.
        outer: outer radius, positive. Equal radii give the uniform law on the sphere.
    """

    dim: int
    inner: float
    outer: float

    def reach(self, center: ArrayLike) -> float:  # noqa: D102
        return float(np.linalg.norm(np.asarray(center, np.float64))) + self.outer

    @property
    def mean(self) -> Float[Array, " dim"]:  # noqa: D102
        return jnp.zeros(self.dim)

    @property
    def covariance(self) -> Float[Array, "dim dim"]:  # noqa: D102
        # E |x|^2 / dim, by integration of the density proportional to r^(dim - 1).
        d, q = self.dim, self.inner / self.outer
        fill = -np.expm1(d * np.log(q)) if q > 0 else 1.0
        fill_sq = -np.expm1((d + 2) * np.log(q)) if q > 0 else 1.0
        mean_sq = self.outer**2 * (d * fill_sq / ((d + 2) * fill) if fill > 0 else 1.0)
        return mean_sq / d * jnp.eye(d)

    def _sample(self, key: AnyKey, n: int) -> Float[Array, "n dim"]:
        direction_key, radius_key = jax.random.split(key)
        hole = (self.inner / self.outer) ** self.dim
        share = hole + (1 - hole) * jax.random.uniform(radius_key, (n, 1))
        radii = self.outer * share ** (1 / self.dim)
        return radii * sample_directions(direction_key, n, self.dim)


@as_pytree()
@dataclass(frozen=True, eq=False)
class Cube(Measure):
    """The uniform law on `[-half_width, half_width]^dim`; made by `cube`.

    Attributes:
        dim: dimension of the space.
        half_width: half the length of an edge.
    """

    dim: int
    half_width: float

    def reach(self, center: ArrayLike) -> float:  # noqa: D102
        corner = np.abs(np.asarray(center, np.float64)) + self.half_width
        return float(np.linalg.norm(corner))

    @property
    def mean(self) -> Float[Array, " dim"]:  # noqa: D102
        return jnp.zeros(self.dim)

    @property
    def covariance(self) -> Float[Array, "dim dim"]:  # noqa: D102
        return self.half_width**2 / 3 * jnp.eye(self.dim)

    def _sample(self, key: AnyKey, n: int) -> Float[Array, "n dim"]:
        h = self.half_width
        return jax.random.uniform(key, (n, self.dim), minval=-h, maxval=h)


def ball(dim: int, radius: float | int = 1.0) -> Measure:
    """The uniform law on the ball of a radius around the origin.

    Args:
        dim: dimension of the space, at least 1.
        radius: positive number.

    Returns:
        A measure with mean 0 and covariance `radius^2 / (dim + 2)` times the identity.

    Raises:
        ValueError: if `dim` is less than 1, or `radius` is not positive and finite.
        TypeError: if `dim` is not an integer or `radius` not a number.

    >>> ball(2, radius=2.0).radius
    2.0
    """
    return Shell(as_count("dim", dim), 0.0, positive("radius", radius))


def ring(dim: int = 2, inner: float | int = 0.8, outer: float | int = 1.0) -> Measure:
    """The uniform law between two spheres around the origin, `inner <= |x| <= outer`.

    Args:
        dim: dimension of the space, at least 1.
        inner: inner radius, from 0 to `outer`; equal radii give the uniform law on the sphere.
        outer: outer radius, positive.

    Returns:
        A measure with mean 0.

    Raises:
        ValueError: if `dim` is less than 1, `outer` is not positive and finite, or `inner` is
            negative or larger than `outer`.
        TypeError: if `dim` is not an integer or a radius not a number.

    >>> ring(inner=1.0).covariance.tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    outer, inner = positive("outer", outer), at_least_zero("inner", inner)
    if inner > outer:
        raise ValueError(f"inner must be at most outer, got inner={inner} and outer={outer}.")
    return Shell(as_count("dim", dim), inner, outer)


def cube(dim: int, half_width: float | int = 1.0) -> Measure:
    """The uniform law on `[-half_width, half_width]^dim`.

    Args:
        dim: dimension of the space, at least 1.
        half_width: positive number.

    Returns:
        A measure with mean 0 and covariance `half_width^2 / 3` times the identity.

    Raises:
        ValueError: if `dim` is less than 1, or `half_width` is not positive and finite.
        TypeError: if `dim` is not an integer or `half_width` not a number.

    >>> round(cube(2).radius, 6)
    1.414214
    """
    return Cube(as_count("dim", dim), positive("half_width", half_width))
