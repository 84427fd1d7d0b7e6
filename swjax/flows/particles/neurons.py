"""Neurons as features: on given inputs, and averaged over Gaussian inputs in closed form."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from swjax._trees import as_pytree
from swjax.flows.particles.features import Atoms
from swjax.flows.particles.peaks import Peak, largest_magnitude, values_and_gradients
from swjax.flows.particles.products import matmul


@as_pytree("inputs")
@dataclass(frozen=True, eq=False)
class NeuronFeatures:
    """`phi(theta) = (sigma(theta . x_j))_j` on given inputs.

    Attributes:
        inputs: `x`, `(n, d)`.
        function: `sigma`, applied entry by entry.
    """

    inputs: Float[Array, "n d"]
    function: Callable[[Array], Array]

    def embed(self, masses: Array, positions: Array) -> Array:
        """The outputs `sum_i masses_i sigma(positions_i . x_j)`, `(n,)`."""
        return matmul(self.function(matmul(self.inputs, positions.T)), masses)

    def pair(self, element: Array, positions: Array) -> Array:
        """`sum_j element_j sigma(positions_i . x_j)` for every `i`."""
        return matmul(element, self.function(matmul(self.inputs, positions.T)))

    def peak(self, element: Array) -> Peak | None:
        """No rigorous bound is offered."""
        return None


@jax.custom_jvp
def relu_kernel(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """`E relu(a_i . x) relu(b_j . x)` for a standard Gaussian `x`.

    The arc-cosine kernel `|a| |b| (sin t + (pi - t) cos t) / (2 pi)`, `t` the angle between `a` and
    `b` (Cho and Saul, "Kernel methods for deep learning", NIPS 2009). It is continuously
    differentiable twice away from the origin, also where vectors are parallel; at the origin the
    derivative is that at a right angle.

    Args:
        a: `(n, d)`.
        b: `(m, d)`.

    Returns:
        `(n, m)`.

    >>> import jax.numpy as jnp
    >>> relu_kernel(jnp.array([[2.0, 0.0]]), jnp.array([[1.0, 0.0]])).item()  # E (2 x) x over x > 0
    1.0
    """
    return _relu_kernel_parts(a, b)[0]


@relu_kernel.defjvp
def _relu_kernel_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (a, b), (da, db) = primals, tangents
    value, sin, supplement, a_norms, b_norms = _relu_kernel_parts(a, b)
    a_rate = (a * da).sum(axis=1) / jnp.where(a_norms > 0, a_norms, 1)
    b_rate = (b * db).sum(axis=1) / jnp.where(b_norms > 0, b_norms, 1)
    radial = sin * (a_rate[:, None] * b_norms[None] + a_norms[:, None] * b_rate[None])
    return value, (radial + supplement * (matmul(da, b.T) + matmul(a, db.T))) / (2 * math.pi)


def _relu_kernel_parts(a: Array, b: Array) -> tuple[Array, Array, Array, Array, Array]:
    """The kernel, `sin t`, `pi - t` and the norms."""
    a_norms, b_norms = jnp.linalg.norm(a, axis=1), jnp.linalg.norm(b, axis=1)
    sizes = a_norms[:, None] * b_norms[None]
    products = matmul(a, b.T)
    cos = products / jnp.where(sizes > 0, sizes, 1)
    # Where vectors are parallel, root and angle are not differentiable, but the derivatives of
    # `sin` and `supplement` cancel in those of the kernel.
    is_oblique = jnp.abs(cos) < 1
    oblique = jnp.where(is_oblique, cos, 0)
    sin = jnp.where(is_oblique, jnp.sqrt((1 - oblique) * (1 + oblique)), 0)
    supplement = math.pi - jnp.where(
        is_oblique, jnp.arccos(oblique), jnp.where(cos > 0, 0, math.pi)
    )
    value = (sizes * sin + supplement * products) / (2 * math.pi)
    return value, sin, supplement, a_norms, b_norms


def probit_kernel(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """`E G(a_i . x) G(b_j . x)` for a standard Gaussian `x`, `G` the normal distribution function.

    `1/4 + arcsin(a . b / sqrt((1 + |a|^2) (1 + |b|^2))) / (2 pi)`: the probability that two
    correlated Gaussians are negative (Williams, "Computation with infinite neural networks", Neural
    Computation 1998, has it for erf).

    Args:
        a: `(n, d)`.
        b: `(m, d)`.

    Returns:
        `(n, m)`.

    >>> import jax.numpy as jnp
    >>> probit_kernel(jnp.zeros((1, 2)), jnp.ones((1, 2))).item()  # G(0) E G = 1/4
    0.25
    """
    squares = (1 + jnp.sum(a**2, axis=1))[:, None] * (1 + jnp.sum(b**2, axis=1))[None]
    return 0.25 + jnp.arcsin(matmul(a, b.T) / jnp.sqrt(squares)) / (2 * math.pi)


def planar_relu_peak(atoms: Atoms) -> Peak | None:
    """The maximum of `|sum_j masses_j E relu(theta . x) relu(b_j . x)|` over the unit circle.

    In the plane only: as a function of the angle of `theta`, every term has a second derivative of
    at most `|b_j| / 2`, the largest value of `|sin t - (pi - t) cos t| / (2 pi)` times `|b_j|`.
    """
    if atoms.positions.shape[1] != 2:
        return None
    sizes = jnp.linalg.norm(atoms.positions, axis=1)
    curvature = jnp.sum(jnp.abs(atoms.masses) * sizes) / 2

    def pairing(angles: Array) -> Array:
        units = jnp.stack([jnp.cos(angles[:, 0]), jnp.sin(angles[:, 0])], axis=1)
        return matmul(relu_kernel(units, atoms.positions), atoms.masses)

    zero = jnp.zeros(1, sizes.dtype)
    peak = largest_magnitude(
        values_and_gradients(pairing), zero, zero + 2 * math.pi, curvature, num_cells=256
    )
    eps = jnp.finfo(sizes.dtype).eps
    rounding = 8 * len(sizes) * eps * jnp.sum(jnp.abs(atoms.masses) * sizes)
    angle = peak.position[0]
    position = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    return Peak(peak.bound + rounding, peak.attained, position)
