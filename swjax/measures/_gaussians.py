"""Gaussian laws, and mixtures of Gaussians truncated to a compact support."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.special import gammainc

from swjax._checks import as_count
from swjax._trees import as_pytree
from swjax._types import AnyKey
from swjax.measures._base import Measure, positive
from swjax.measures._discrete import Discrete


@as_pytree("factor")
@dataclass(frozen=True, eq=False)
class Gaussian(Measure):
    """The law `N(0, factor factor^T)`; made by `gaussian`.

    Attributes:
        dim: dimension of the space.
        factor: a scalar, the common standard deviation, or a matrix `(dim, dim)`.
    """

    dim: int
    factor: Float[Array, "*square"]

    def reach(self, center: ArrayLike) -> float:  # noqa: D102
        return math.inf

    @property
    def mean(self) -> Float[Array, " dim"]:  # noqa: D102
        return jnp.zeros(self.dim)

    @property
    def covariance(self) -> Float[Array, "dim dim"]:  # noqa: D102
        if self.factor.ndim == 0:
            return self.factor**2 * jnp.eye(self.dim)
        return jnp.dot(self.factor, self.factor.T, precision="highest")

    def _sample(self, key: AnyKey, n: int) -> Float[Array, "n dim"]:
        normal = jax.random.normal(key, (n, self.dim))
        if self.factor.ndim == 0:
            return self.factor * normal
        return jnp.dot(normal, self.factor.T, precision="highest")


def gaussian(dim: int, std: float | int = 1.0, *, covariance: ArrayLike | None = None) -> Measure:
    """A centered Gaussian. Its support is unbounded, so the theorems on SGD do not cover it.

    For a law that they cover take `gaussian_mixture` with one component, or `discretize` this one.
    For another mean, `translate` it.

    Args:
        dim: dimension of the space, at least 1.
        std: positive standard deviation of each coordinate.
        covariance: matrix `(dim, dim)`, symmetric and positive semidefinite, to use instead.

    Returns:
        A measure with mean 0 and infinite radius.

    Raises:
        ValueError: if `dim` is less than 1, `std` is not positive and finite, the covariance has
            another shape or is not symmetric and positive semidefinite, or if both `std` and
            `covariance` are given.
        TypeError: if `dim` is not an integer or `std` not a number.

    >>> gaussian(3, std=2.0).covariance.diagonal().tolist()
    [4.0, 4.0, 4.0]
    >>> gaussian(3).radius
    inf
    """
    dim, std = as_count("dim", dim), positive("std", std)
    if covariance is None:
        return Gaussian(dim, jnp.asarray(std, float))
    if std != 1.0:
        raise ValueError("Give either std or covariance, not both.")
    matrix = np.asarray(covariance, np.float64)
    if matrix.shape != (dim, dim):
        raise ValueError(f"covariance must have shape ({dim}, {dim}), got {matrix.shape}.")
    scale = max(float(np.abs(matrix).max()), np.finfo(float).tiny)
    if not np.abs(matrix - matrix.T).max() <= 1e-6 * scale:
        raise ValueError("covariance must be symmetric and finite.")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if values.min() < -1e-6 * scale:
        raise ValueError(
            f"covariance must be positive semidefinite; its smallest eigenvalue is {values.min()}."
        )
    root = vectors * np.sqrt(np.maximum(values, 0))[None]
    return Gaussian(dim, jnp.asarray(root @ vectors.T, float))


@as_pytree("centers")
@dataclass(frozen=True, eq=False)
class TruncatedMixture(Measure):
    """The law of a random center plus independent truncated Gaussian noise.

    Each coordinate of the noise is `std` times a standard Gaussian conditioned on lying in
    `[-truncation, truncation]`, so the support is a union of cubes. Made by `gaussian_mixture`; use
    the class for centers and weights of your own.

    Attributes:
        centers: law of the centers.
        std: standard deviation of the Gaussian before truncation.
        truncation: where the Gaussian is cut, in standard deviations.

    Raises:
        ValueError: if `std` or `truncation` is not a positive finite number.

    >>> import jax.numpy as jnp
    >>> centers = Discrete(jnp.array([[-1.0, 0.0], [1.0, 0.0]]), jnp.array([0.25, 0.75]))
    >>> [float(m) for m in TruncatedMixture(centers, std=0.1, truncation=3.0).mean]
    [0.5, 0.0]
    """

    centers: Discrete
    std: float | int
    truncation: float | int

    def __post_init__(self) -> None:
        for name in ("std", "truncation"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))

    @property
    def dim(self) -> int:  # noqa: D102
        return self.centers.dim

    def reach(self, center: ArrayLike) -> float:  # noqa: D102
        points = np.asarray(self.centers.points, np.float64)[np.asarray(self.centers.weights) > 0]
        corners = np.abs(points - np.asarray(center, np.float64)[None])
        return float(np.linalg.norm(corners + self.std * self.truncation, axis=1).max())

    @property
    def mean(self) -> Float[Array, " dim"]:  # noqa: D102
        return self.centers.mean

    @property
    def covariance(self) -> Float[Array, "dim dim"]:  # noqa: D102
        t = self.truncation
        # 1 - 2 t density(t) / erf(t / sqrt 2), which cancels where t is small, as a ratio of
        # integrals, of x^2 exp(-x^2 / 2) and exp(-x^2 / 2) over [0, t].
        variance = self.std**2 * float(gammainc(1.5, t**2 / 2)) / math.erf(t / math.sqrt(2))
        return self.centers.covariance + variance * jnp.eye(self.dim)

    def _sample(self, key: AnyKey, n: int) -> Float[Array, "n dim"]:
        center_key, noise_key = jax.random.split(key)
        t, shape = self.truncation, (n, self.dim)
        noise = jax.random.truncated_normal(noise_key, -t, t, shape)
        return self.centers.sample(center_key, n) + self.std * noise


def gaussian_mixture(
    dim: int = 2,
    components: int = 3,
    *,
    radius: float | int = 1.0,
    std: float | int = 0.2,
    truncation: float | int = 3.0,
) -> Measure:
    """A mixture of equally likely isotropic Gaussians, truncated to a compact support.

    The centers are the corners of a regular polygon of the given radius in the plane of the first
    two coordinates, the first corner on the first axis; in dimension 1 they are equispaced on
    `[-radius, radius]`. A single component sits at the origin. Each coordinate of the noise is
    conditioned on lying within `truncation` standard deviations of its center. For other centers
    or weights, use `TruncatedMixture`.

    Args:
        dim: dimension of the space, at least 1.
        components: number of Gaussians, at least 1.
        radius: distance of the centers from the origin, positive.
        std: standard deviation of each coordinate before truncation, positive.
        truncation: where the Gaussians are cut, in standard deviations, positive.

    Returns:
        A measure; its support is a union of cubes of half width `std * truncation`.

    Raises:
        ValueError: if `dim` or `components` is less than 1, or `radius`, `std` or `truncation` is
            not positive and finite.
        TypeError: if `dim` or `components` is not an integer, or another argument not a number.

    >>> gaussian_mixture(dim=1, components=2, std=0.25, truncation=2.0).radius
    1.5
    """
    dim, components = as_count("dim", dim), as_count("components", components)
    radius = positive("radius", radius)
    centers = np.zeros((components, dim))
    if components > 1 and dim == 1:
        centers[:, 0] = np.linspace(-radius, radius, components)
    elif components > 1:
        angles = 2 * np.pi * np.arange(components) / components
        centers[:, 0], centers[:, 1] = radius * np.cos(angles), radius * np.sin(angles)
    atoms = Discrete(jnp.asarray(centers, float))
    return TruncatedMixture(atoms, std, truncation)
