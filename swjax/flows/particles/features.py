"""Feature maps `phi`, and the losses `R` of what they add up to.

An element of the Hilbert space in which `sum_i masses_i phi(theta_i)` lives is an array, or, where
only inner products are known (`KernelFeatures`), a list of atoms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array
from swjax._trees import as_pytree
from swjax.flows.particles.peaks import Peak, largest_magnitude, values_and_gradients
from swjax.flows.particles.products import matmul, tensordot, vdot


@runtime_checkable
class Features(Protocol):
    """What a feature map can do. A rigorous `peak` is what makes a certificate possible."""

    def embed(self, masses: Array, positions: Array) -> Any:
        """`sum_i masses_i phi(positions_i)`."""
        ...

    def pair(self, element: Any, positions: Array) -> Array:
        """`<element, phi(positions_i)>` for every `i`."""
        ...

    def peak(self, element: Any) -> Peak | None:
        """The maximum of `|<element, phi>|`, enclosed; `None` if no bound is known.

        Over all positions at which mass may be, which are units with `homogeneity=2`.
        """
        ...


@runtime_checkable
class Loss(Protocol):
    """What a convex loss of an element can do."""

    def __call__(self, element: Any) -> Array:
        """`R(f)`."""
        ...

    def gradient(self, element: Any) -> Any:
        """`R'(f)`, an element."""
        ...

    def dual(self, element: Any, largest: Array) -> Array | None:
        """The largest `-R*(s R'(f))` with `0 <= s <= largest`; `None` if `R*` is not known."""
        ...

    @property
    def minimum(self) -> Array | float | None:
        """A number that `R` never falls below; `None` if none is known."""
        ...


class FeatureBounds(NamedTuple):
    """Bounds of a feature map and its derivatives, in the Euclidean norm.

    Attributes:
        value: of `|phi(theta)|`.
        slope: of `|d phi(theta)[e]|` for `|e| = 1`.
        curvature: of `|d^2 phi(theta)[e, e]|` for `|e| = 1`.
    """

    value: float
    slope: float
    curvature: float


@as_pytree("function", "curvature", "lower", "upper")
@dataclass(frozen=True, eq=False)
class PointwiseFeatures:
    """A feature map given as a function of one position.

    Attributes:
        function: one position `(d,)` to an array `phi(theta)`.
        curvature: a number `C` with `|d^2 phi(theta)[e, e]| <= C |e|_1^2` in the box for every
            direction `e`. Together with the box it makes a rigorous certificate possible, which
            then compares with all measures on the box; for `homogeneity=1` only.
        lower: corner of the box of positions, `(d,)`.
        upper: the opposite corner, `(d,)`.
    """

    function: Callable[[Array], Array]
    curvature: Any = None
    lower: Any = None
    upper: Any = None

    def __post_init__(self) -> None:
        if jax.tree_util.all_leaves([self.function]):
            object.__setattr__(self, "function", Partial(self.function))
        given = [value is not None for value in (self.curvature, self.lower, self.upper)]
        if any(given) and not all(given):
            raise ValueError("Give curvature, lower and upper together, or none of them.")

    def embed(self, masses: Array, positions: Array) -> Array:
        """`sum_i masses_i phi(positions_i)`."""
        return tensordot(masses, jax.vmap(self.function)(positions), 1)

    def pair(self, element: Array, positions: Array) -> Array:
        """`<element, phi(positions_i)>` for every `i`."""
        return jax.vmap(lambda theta: vdot(element, self.function(theta)))(positions)

    def peak(self, element: Array) -> Peak | None:
        """The maximum of `|<element, phi>|` over the box, enclosed."""
        if self.curvature is None:
            return None
        lower, upper = (jnp.asarray(c, element.dtype) for c in (self.lower, self.upper))
        curvature = self.curvature * jnp.linalg.norm(element)
        function = values_and_gradients(partial(self.pair, element))
        dim = lower.shape[0]
        num_cells = 1024 if dim == 1 else max(2, 2 * round(4096 ** (1 / dim) / 2))
        return largest_magnitude(function, lower, upper, curvature, num_cells=num_cells)

    def is_outside(self, positions: Array) -> Array:
        """Whether each position lies outside the box, `(m,)`; none does if there is no box."""
        if self.curvature is None:
            return jnp.zeros(len(positions), bool)
        lower, upper = (jnp.asarray(c, positions.dtype) for c in (self.lower, self.upper))
        return jnp.any((positions < lower[None]) | (positions > upper[None]), axis=1)


class Atoms(NamedTuple):
    """A signed measure `sum_j masses_j delta_(positions_j)`, in place of its embedding."""

    masses: Float[Array, "m"]
    positions: Float[Array, "m d"]


@as_pytree()
@dataclass(frozen=True)
class KernelFeatures:
    """A feature map of which only the inner products `k(s, t) = <phi(s), phi(t)>` are known.

    Attributes:
        kernel: positions `(n, d)` and `(m, d)` to the matrix `k`, `(n, m)`.
        enclose: `Atoms` to a `Peak`, or `None` where no rigorous bound is known.
    """

    kernel: Callable[[Array, Array], Array]
    enclose: Callable[[Atoms], Peak | None] = lambda atoms: None

    def embed(self, masses: Array, positions: Array) -> Atoms:
        """The atoms themselves."""
        return Atoms(masses, positions)

    def pair(self, element: Atoms, positions: Array) -> Array:
        """`sum_j masses_j k(positions_j, positions_i)` for every `i`."""
        return matmul(self.kernel(positions, element.positions), element.masses)

    def peak(self, element: Atoms) -> Peak | None:
        """The maximum of `|<element, phi>|`, enclosed."""
        return self.enclose(element)


@as_pytree("target", "scale")
@dataclass(frozen=True, eq=False)
class LeastSquares:
    """`R(f) = (scale / 2) |f - target|^2` for arrays.

    Attributes:
        target: `y`, an array of the shape of `phi(theta)`.
        scale: a positive number; `1 / n` makes a mean over `n` observations.
    """

    target: ArrayLike
    scale: Any = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", as_real_array("target", self.target))

    def __call__(self, element: Array) -> Array:
        """`R(f)`."""
        return self.scale / 2 * jnp.sum((element - self.target) ** 2)

    def gradient(self, element: Array) -> Array:
        """`scale (f - y)`."""
        return self.scale * (element - self.target)

    def dual(self, element: Array, largest: Array) -> Array:
        """The largest `-scale (s <r, y> + s^2 |r|^2 / 2)` with `r = f - y`, `0 <= s <= largest`."""
        residual = element - self.target
        return self.scale * _best_dual(
            vdot(residual, self.target), vdot(residual, residual), largest
        )

    @property
    def minimum(self) -> float:
        """0."""
        return 0.0


@as_pytree("target")
@dataclass(frozen=True, eq=False)
class KernelLeastSquares:
    """`R(f) = |f - y|^2 / 2` where `f` and `y` are known by their atoms, and a kernel.

    Attributes:
        kernel: positions `(n, d)` and `(m, d)` to the matrix of inner products `(n, m)`.
        target: the atoms of `y`.
    """

    kernel: Callable[[Array, Array], Array]
    target: Atoms

    def __call__(self, element: Atoms) -> Array:
        """`R(f)`."""
        return jnp.maximum(self._products(element)[1], 0) / 2

    def gradient(self, element: Atoms) -> Atoms:
        """`f - y`: the atoms of both."""
        ours, theirs = element, self.target
        return Atoms(
            jnp.concatenate([ours.masses, -theirs.masses]),
            jnp.concatenate([ours.positions, theirs.positions]),
        )

    def dual(self, element: Atoms, largest: Array) -> Array:
        """As for `LeastSquares`."""
        with_target, square = self._products(element)
        return _best_dual(with_target, square, largest)

    @property
    def minimum(self) -> float:
        """0."""
        return 0.0

    def _products(self, element: Atoms) -> tuple[Array, Array]:
        """`<r, y>` and `|r|^2` for `r = f - y`."""
        y = self.target
        pair = lambda a, b: vdot(a.masses, matmul(self.kernel(a.positions, b.positions), b.masses))
        f_f, f_y, y_y = pair(element, element), pair(element, y), pair(y, y)
        return f_y - y_y, f_f - 2 * f_y + y_y


@as_pytree("function", "minimum")
@dataclass(frozen=True, eq=False)
class ConvexLoss:
    """A convex differentiable loss given as a function, with a number that it never falls below.

    Attributes:
        function: an array to a scalar.
        minimum: a lower bound of it; `None` if unknown, and then nothing can be certified.
    """

    function: Callable[[Array], Array]
    minimum: Any = None

    def __post_init__(self) -> None:
        if jax.tree_util.all_leaves([self.function]):
            object.__setattr__(self, "function", Partial(self.function))

    def __call__(self, element: Array) -> Array:
        """`R(f)`."""
        return self.function(element)

    def gradient(self, element: Array) -> Array:
        """`R'(f)`, by differentiation."""
        return jax.grad(self.function)(element)

    def dual(self, element: Array, largest: Array) -> None:
        """Not known."""


def _best_dual(with_target: Array, square: Array, largest: Array) -> Array:
    """The largest `-s <r, y> - s^2 |r|^2 / 2` over `0 <= s <= largest`."""
    best = jnp.where(square > 0, -with_target / jnp.where(square > 0, square, 1), 0)
    scale = jnp.clip(best, 0, largest)
    return -scale * with_target - scale**2 * square / 2
