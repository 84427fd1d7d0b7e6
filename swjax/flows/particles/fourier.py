"""Trigonometric features on the torus: the filter of deconvolution, with a rigorous maximum."""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from swjax._checks import as_count
from swjax._trees import as_pytree
from swjax.flows.particles.features import FeatureBounds
from swjax.flows.particles.peaks import Peak, largest_magnitude, values_and_gradients
from swjax.flows.particles.products import matmul


@as_pytree()
@dataclass(frozen=True)
class FourierFeatures:
    """All trigonometric monomials of order at most `N` in each of `d` periodic variables.

    In one variable `phi(t) = (1, sqrt2 cos 2 pi t, sqrt2 sin 2 pi t, ..., sqrt2 sin 2 pi N t)`, so
    that `<phi(s), phi(t)> = 1 + 2 sum_(k <= N) cos 2 pi k (s - t)` is the Dirichlet kernel of
    period 1: `phi(t)` is a spike at `t` seen through an ideal low-pass filter. In several variables
    `phi` is the tensor product, and the kernel the product of kernels.

    Attributes:
        order: `N`, at least 1.
        dim: `d`, the number of variables.

    >>> import jax.numpy as jnp
    >>> features = FourierFeatures(order=7)
    >>> signal = features.embed(jnp.array([2.0]), jnp.array([[0.25]]))  # a spike of mass 2
    >>> [round(float(v), 3) for v in features.pair(signal, jnp.array([[0.25], [0.75]]))]
    [30.0, -2.0]
    """

    order: int
    dim: int = 1

    def __post_init__(self) -> None:
        as_count("order", self.order)
        as_count("dim", self.dim)

    @property
    def num(self) -> int:
        """Number `2 N + 1` of monomials in each variable."""
        return 2 * self.order + 1

    def embed(
        self, masses: Float[Array, "m"], positions: Float[Array, "m d"]
    ) -> Float[Array, " *p"]:
        """`sum_i masses_i phi(positions_i)`, an array of `d` axes of length `2 N + 1`."""
        first, *rest = self._factors(positions)
        others = rest[0] if rest else None
        for factor in rest[1:]:
            assert others is not None
            others = (others[:, None] * factor[None]).reshape(-1, factor.shape[1])
        weighted = first * masses[None]
        total = weighted.sum(axis=1) if others is None else matmul(weighted, others.T)
        return total.reshape((self.num,) * self.dim)

    def pair(
        self, element: Float[Array, " *p"], positions: Float[Array, "m d"]
    ) -> Float[Array, "m"]:
        """`<element, phi(positions_i)>` for every `i`."""
        first, *rest = self._factors(positions)
        out = matmul(element.reshape(self.num, -1).T, first)
        for factor in rest:
            out = (out.reshape(self.num, -1, out.shape[1]) * factor[:, None]).sum(axis=0)
        return out[0]

    def peak(self, element: Float[Array, " *p"]) -> Peak:
        """The maximum of `|<element, phi>|` over the torus, enclosed.

        By Cauchy's inequality the second derivative in the direction `e` is at most `|element|`
        times that of `phi`, of norm `(sum_k (2 pi k . e)^4)^(1/2)` over all frequencies, which for
        `|e|_1 <= 1` is largest along an axis. An allowance for rounding is added.
        """
        fourth = 2 * sum(k**4 for k in range(1, self.order + 1)) * self.num ** (self.dim - 1)
        size = jnp.sqrt(jnp.sum(element**2))
        curvature = (2 * math.pi) ** 2 * math.sqrt(fourth) * size
        zero, one = jnp.zeros(self.dim, element.dtype), jnp.ones(self.dim, element.dtype)
        least = 1024 if self.dim == 1 else 64 if self.dim == 2 else 16
        peak = largest_magnitude(
            values_and_gradients(partial(self.pair, element)),
            zero,
            one,
            curvature,
            num_cells=max(least, 8 * self.order),
        )
        eps = jnp.finfo(element.dtype).eps
        terms = self.dim * self.num + 8 * self.order
        rounding = terms * 2 ** (self.dim / 2) * eps * jnp.sum(jnp.abs(element))
        return peak._replace(bound=peak.bound + rounding)

    @property
    def bounds(self) -> FeatureBounds:
        """Sums over all frequencies `k` of `1`, `(2 pi k . e)^2` and, at most, `(2 pi k . e)^4`."""
        others = self.num ** (self.dim - 1)
        second = 2 * sum(k**2 for k in range(1, self.order + 1))
        fourth = 2 * others * sum(k**4 for k in range(1, self.order + 1))
        if self.dim > 1:
            mixed = 3 * second**2 * self.num ** (self.dim - 2)
            fourth = max(fourth, fourth / self.dim + mixed * (1 - 1 / self.dim))
        return FeatureBounds(
            math.sqrt(self.num * others),
            2 * math.pi * math.sqrt(others * second),
            (2 * math.pi) ** 2 * math.sqrt(fourth),
        )

    def _factors(self, positions: Array) -> list[Array]:
        """The monomials of each variable at every position, `(2 N + 1, m)` each."""
        if positions.shape[-1] != self.dim:
            raise ValueError(
                f"positions have {positions.shape[-1]} coordinates; these features are on the "
                f"torus of dimension {self.dim}. Pass an array of shape (m, {self.dim})."
            )
        return [_monomials(self.order, column) for column in positions.T]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _monomials(order: int, t: Float[Array, "m"]) -> Float[Array, "p m"]:
    """Rows 1, sqrt2 cos 2 pi k t (k = 1, ..., N), sqrt2 sin 2 pi k t (k = 1, ..., N)."""
    angle = 2 * math.pi * (t - jnp.round(t))
    cos, sin = jnp.cos(angle), jnp.sin(angle)

    def turn(row: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        c, s = row  # times the next power of exp(2 pi i t)
        return (c * cos - s * sin, c * sin + s * cos), row

    # A scan: unrolled, XLA fuses the rows into their users and computes each from the start again.
    first = (math.sqrt(2) * cos, math.sqrt(2) * sin)
    _, (cosines, sines) = lax.scan(turn, first, None, order)
    return jnp.concatenate([jnp.ones_like(t)[None], cosines, sines])


@_monomials.defjvp
def _monomials_jvp(order: int, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """The derivative is a rotation of the monomials themselves: no further sines."""
    rows = _monomials(order, *primals)
    rates = 2 * math.pi * jnp.arange(1, order + 1, dtype=rows.dtype)[:, None]
    cosines, sines = rows[1 : order + 1], rows[order + 1 :]
    slopes = jnp.concatenate([jnp.zeros_like(rows[:1]), -rates * sines, rates * cosines])
    return rows, slopes * tangents[0][None]
