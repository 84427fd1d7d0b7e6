"""What every measure can do."""

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from swjax._checks import as_count, as_real_array, is_concrete
from swjax._trees import as_pytree
from swjax._types import AnyKey


class Measure(ABC):
    """A probability measure on `R^dim` that can be sampled.

    Attributes:
        dim: dimension of the space.
        radius: the largest `|x|` on the support, `inf` if the support is unbounded. Read it
            outside `jit`.
        is_discrete: whether the measure is a finite sum of atoms.
        mean: expectation, shape `(dim,)`.
        covariance: covariance matrix, shape `(dim, dim)`.
    """

    if TYPE_CHECKING:  # a field in some measures, which a property of the base would hide

        @property
        def dim(self) -> int:
            """Dimension of the space."""
            ...

    @property
    def is_discrete(self) -> bool:
        """Whether the measure is a finite sum of atoms."""
        return False

    @property
    def radius(self) -> float:
        """The largest `|x|` on the support, `inf` if the support is unbounded."""
        return self.reach(np.zeros(self.dim))

    @abstractmethod
    def reach(self, center: ArrayLike) -> float:
        """The largest `|x - center|` on the support.

        Args:
            center: point of shape `(dim,)`, with known values (not inside `jit`).

        Returns:
            A number, `inf` if the support is unbounded.
        """

    @property
    @abstractmethod
    def mean(self) -> Float[Array, " dim"]:
        """Expectation, exact; shape `(dim,)`."""

    @property
    @abstractmethod
    def covariance(self) -> Float[Array, "dim dim"]:
        """Covariance matrix, exact; shape `(dim, dim)`."""

    @abstractmethod
    def _sample(self, key: AnyKey, n: int) -> Float[Array, "n dim"]:
        """Draw points; `n` has been checked."""

    def sample(self, key: AnyKey, n: int) -> Float[Array, "{n} dim"]:
        """Draw independent points.

        Args:
            key: a JAX random key.
            n: number of points, at least 1; static inside `jit`.

        Returns:
            Array `(n, dim)`.
        """
        return self._sample(key, as_count("n", n))


def positive(name: str, value: float | int) -> float:
    """The value as a float, refused unless it is a positive number."""
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be a positive number, got {value}.")
    return float(value)


def at_least_zero(name: str, value: float | int) -> float:
    """The value as a float, refused if it is negative, infinite or NaN."""
    if not 0 <= value < np.inf:
        raise ValueError(f"{name} must be a number that is not negative, got {value}.")
    return float(value)


@as_pytree("base", "shift")
@dataclasses.dataclass(frozen=True, eq=False)
class Translated(Measure):
    """The law of `x + shift` for `x` of law `base`; made by `translate`.

    Attributes:
        base: a measure.
        shift: vector of shape `(dim,)`.
    """

    base: Measure
    shift: Float[Array, " dim"]

    @property
    def dim(self) -> int:  # noqa: D102
        return self.base.dim

    def reach(self, center: ArrayLike) -> float:  # noqa: D102
        return self.base.reach(np.asarray(center) - np.asarray(self.shift, np.float64))

    @property
    def mean(self) -> Float[Array, " dim"]:  # noqa: D102
        return self.base.mean + self.shift

    @property
    def covariance(self) -> Float[Array, "dim dim"]:  # noqa: D102
        return self.base.covariance

    def _sample(self, key: AnyKey, n: int) -> Float[Array, "n dim"]:
        return self.base.sample(key, n) + self.shift[None]


def as_shift(shift: ArrayLike, dim: int) -> Float[Array, " dim"]:
    """The shift as an array, refused unless it is a finite vector of the right length."""
    vector = as_real_array("shift", shift)
    if vector.shape != (dim,):
        raise ValueError(
            f"shift must have shape ({dim},), the dimension of the measure; got {vector.shape}."
        )
    if is_concrete(vector) and not np.all(np.isfinite(np.asarray(vector))):
        raise ValueError(f"shift must be finite, got {vector}.")
    return vector.astype(jnp.promote_types(vector.dtype, jnp.float32))
