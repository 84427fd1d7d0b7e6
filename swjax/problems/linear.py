"""A linear generator between Gaussians: many parameters, a known set of minimizers."""

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array, checked_directions
from swjax.directions import equispaced_directions
from swjax.losses import SlicedLoss
from swjax.measures import gaussian
from swjax.problems._values import Values, float64
from swjax.problems.scale import gaussian_shrinkage


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """Learn `A` in `T(A, x) = A x` for `x ~ N(0, I)` and data `y ~ N(0, S)`.

    Projections are Gaussian, so that with `c_n` from `gaussian_shrinkage`

        F(A) = E_theta[ |A^T theta|^2 + theta^T S theta - 2 c_n |A^T theta| sqrt(theta^T S theta) ],

    which is minimal exactly where `A A^T = c_n^2 S`: minibatches shrink the covariance by `c_n^2`.
    The supports are not compact; `F` is smooth wherever `A` is invertible.

    Attributes:
        covariance: the matrix `S`, `(d, d)`, symmetric and positive definite.
        batch_size: number `n` of points in each minibatch.
        latent_dim: dimension of `x`, at least `d`; `d` if not given.
        directions: `(K, d)` unit vectors over which `population_loss` averages. In the plane 256
            equispaced ones if not given, which is exact to rounding unless `A` is nearly singular;
            needed in dimension 3 and more.

    Raises:
        ValueError: if `S` is not symmetric positive definite, a number is out of its range, or
            directions are missing or do not fit.

    >>> import jax.numpy as jnp
    >>> problem = LinearGaussian(jnp.diag(jnp.array([4.0, 1.0])), batch_size=2)
    >>> best = problem.minimizer
    >>> best.round(4)
    array([[0.6366, 0.    ],
           [0.    , 0.3183]])
    >>> bool(abs(problem.distance_to_minimizers(best @ [[0.0, 1.0], [-1.0, 0.0]])) < 1e-12)
    True
    """

    covariance: ArrayLike
    batch_size: int
    latent_dim: int | None = None
    directions: ArrayLike | None = None

    def __post_init__(self) -> None:
        s = float64(self.covariance)
        if s.ndim != 2 or s.shape[0] != s.shape[1] or not np.allclose(s, s.T):
            raise ValueError(f"covariance must be a symmetric matrix; got shape {s.shape}.")
        if not np.linalg.eigvalsh(s)[0] > 0:
            raise ValueError("covariance must be positive definite.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}.")
        if self.latent_dim is not None and self.latent_dim < self.dim:
            raise ValueError(
                f"latent_dim must be at least {self.dim}, so that some A reaches the covariance; "
                f"got {self.latent_dim}."
            )
        if self.directions is None and self.dim > 2:
            raise ValueError(f"In dimension {self.dim} pass directions= to average over.")

    @property
    def dim(self) -> int:
        """Dimension `d` of the data."""
        return np.shape(self.covariance)[0]

    @property
    def loss(self) -> SlicedLoss:
        """The sampled loss; its parameter is a matrix `(d, latent_dim)`."""
        return SlicedLoss(
            _linear,
            gaussian(self.latent_dim or self.dim),
            gaussian(self.dim, covariance=jnp.asarray(self.covariance)),
            batch_size=self.batch_size,
        )

    @cached_property
    def shrinkage(self) -> float:
        """`c_n`: at the minimizers the output has the covariance `c_n^2 S`."""
        return gaussian_shrinkage(self.batch_size)

    def population_loss(self, params: ArrayLike) -> Float[Array, ""]:
        """`F(A)` for a matrix `(d, latent_dim)`; the parts without a root are averaged exactly.

        Raises:
            TypeError: if `params` is not of floating point type.
        """
        params = as_real_array("params", params)
        s = jnp.asarray(self.covariance, params.dtype)
        rows = self._directions.astype(params.dtype)
        output = jnp.linalg.norm(rows @ params, axis=1)
        data = jnp.sqrt(jnp.sum((rows @ s) * rows, axis=1))
        squares = (jnp.sum(params**2) + jnp.trace(s)) / self.dim
        return squares - 2 * self.shrinkage * jnp.mean(output * data)

    @cached_property
    def minimizer(self) -> np.ndarray:
        """One minimizer, `c_n S^(1/2)` followed by zeros, `(d, latent_dim)`."""
        values, vectors = np.linalg.eigh(float64(self.covariance))
        root = self.shrinkage * (vectors * np.sqrt(values)) @ vectors.T
        return np.pad(root, ((0, 0), (0, (self.latent_dim or self.dim) - self.dim)))

    def distance_to_minimizers(self, params: Values) -> np.ndarray:
        """Frobenius distance of matrices `(..., d, latent)` to all `c_n S^(1/2) Q`, `Q Q^T = I`.

        The nearest `Q` is the orthogonal factor of `S^(1/2) A` (the Procrustes problem).
        """
        a = float64(params)
        root = self.minimizer[:, : self.dim]
        left, _, right = np.linalg.svd(root @ a, full_matrices=False)
        return np.asarray(np.linalg.norm(a - root @ left @ right, axis=(-2, -1)))

    @cached_property
    def _directions(self) -> jax.Array:
        with jax.ensure_compile_time_eval():  # kept across calls, so never a tracer
            if self.directions is not None:
                return checked_directions(self.directions, self.dim)
            return jnp.ones((1, 1)) if self.dim == 1 else equispaced_directions(256)


def _linear(params: Array, x: Array) -> Array:
    return x @ params.T
