"""Two-layer networks with a teacher: wide layers as particles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_count
from swjax._trees import as_pytree
from swjax._types import AnyKey
from swjax.flows.particles.cloud import Particles, as_particles, weights_and_positions
from swjax.flows.particles.features import Atoms, KernelFeatures, KernelLeastSquares, LeastSquares
from swjax.flows.particles.neurons import (
    NeuronFeatures,
    planar_relu_peak,
    probit_kernel,
    relu_kernel,
)
from swjax.flows.particles.problem import ParticleProblem, check_positive


class Activation(NamedTuple):
    """A nonlinearity, and what is known about it.

    Attributes:
        function: `sigma`, entry by entry.
        homogeneity: that of the lift: 2 if `sigma` is positively homogeneous, else 1.
        kernel: `E sigma(a . x) sigma(b . x)` for Gaussian inputs; `None` if it has no closed form.
        enclose: `Atoms` to a `Peak`, for certificates; `None` if no rigorous bound is known.
    """

    function: Callable[[Array], Array]
    homogeneity: int
    kernel: Callable[[Array, Array], Array] | None = None
    enclose: Callable[[Atoms], Any] = lambda atoms: None


ACTIVATIONS = {
    "relu": Activation(jax.nn.relu, 2, relu_kernel, planar_relu_peak),
    "sigmoid": Activation(jax.nn.sigmoid, 1),
    "probit": Activation(norm.cdf, 1, probit_kernel),
}


@as_pytree("weights", "positions", "penalty")
@dataclass(frozen=True, eq=False)
class TwoLayerNetwork:
    """Learn `y(x) = sum_j a_j sigma(b_j . x)` by `f(x) = sum_i c_i w_i sigma(theta_i . x)`.

    Made by `two_layer_network`. The risk is `E |f(x) - y(x)|^2 / 2` over standard Gaussian inputs.

    Attributes:
        weights: `a` of the teacher, `(n,)`.
        positions: `b` of the teacher, `(n, d)`.
        penalty: `lambda`, or `None`.
        activation: what `sigma` is.
    """

    weights: Float[Array, "n"]
    positions: Float[Array, "n d"]
    penalty: Any
    activation: Activation

    @property
    def dim(self) -> int:
        """Dimension of the inputs."""
        return self.positions.shape[1]

    @property
    def population(self) -> ParticleProblem:
        """The problem with the exact population risk, in closed form.

        Its gap is certified for ReLU in the plane; without penalty in every dimension, where it is
        the risk itself, since the teacher has none.

        Raises:
            ValueError: if the expectation has no closed form for this activation.
        """
        kernel = self.activation.kernel
        if kernel is None:
            raise ValueError(
                "The population risk of this activation has no closed form. Use on_inputs with "
                "many inputs, or activation='probit', a sigmoid that has one."
            )
        target = Atoms(self.weights, self.positions)
        features = KernelFeatures(kernel, self.activation.enclose)
        loss = KernelLeastSquares(kernel, target)
        return ParticleProblem(features, loss, self.penalty, self.activation.homogeneity)

    def on_inputs(self, inputs: Float[Array, "n d"]) -> ParticleProblem:
        """The problem with the mean over given inputs in place of the expectation (full batch)."""
        if inputs.ndim != 2 or inputs.shape[1] != self.dim or len(inputs) == 0:
            raise ValueError(
                f"inputs have shape {inputs.shape}; expected (n, {self.dim}) with n >= 1."
            )
        features = NeuronFeatures(inputs, self.activation.function)
        outputs = features.embed(self.weights, self.positions)
        loss = LeastSquares(outputs, 1 / len(inputs))
        return ParticleProblem(features, loss, self.penalty, self.activation.homogeneity)

    def sample(self, key: AnyKey, batch_size: int) -> ParticleProblem:
        """The problem on fresh Gaussian inputs: one minibatch of SGD on the population risk.

        Give `functools.partial(network.sample, batch_size=...)` to `particle_flow` as `sample`:
        another batch size compiles again, another network of the same shapes does not.
        """
        batch_size = as_count("batch_size", batch_size)
        shape = (batch_size, self.dim)
        return self.on_inputs(jax.random.normal(key, shape, self.positions.dtype))

    def initial(self, key: AnyKey, num: int, *, size: float | int | None = None) -> Particles:
        """Particles from which the theory starts.

        With ReLU, directions uniform on the sphere of radius `size` and `w = +-size`; with
        sigmoids, `w = 0` and Gaussian positions of standard deviation `size`.

        Args:
            key: a random key.
            num: number `m` of particles.
            size: 0.1 for ReLU and 1 for sigmoids if not given.

        Returns:
            `Particles`.

        Raises:
            ValueError: if there are no particles or the size is not positive.
        """
        num = as_count("num", num)
        homogeneous = self.activation.homogeneity == 2
        size = (0.1 if homogeneous else 1.0) if size is None else size
        check_positive("size", size, "Particles that start at one point never part.")
        sign_key, key = jax.random.split(key)
        dtype = self.positions.dtype
        positions = jax.random.normal(key, (num, self.dim), dtype)
        if not homogeneous:
            return as_particles(jnp.zeros(num, dtype), size * positions)
        positions = positions / jnp.linalg.norm(positions, axis=1, keepdims=True)
        signs = jax.random.rademacher(sign_key, (num,), dtype)
        return as_particles(size * signs, size * positions)


def two_layer_network(
    weights: ArrayLike | Sequence,
    positions: ArrayLike | Sequence,
    *,
    activation: str | Activation = "relu",
    penalty: float | int | Array | None = None,
) -> TwoLayerNetwork:
    """A student-teacher problem: learn a two-layer network by a wider one.

    The second experiment of Chizat and Bach (2018): Gaussian inputs, square loss, and a teacher of
    few neurons. ReLU neurons are 2-homogeneous in `(w, theta)`, sigmoid neurons partially
    1-homogeneous. Without penalty the minimum of the risk is 0, and the risk is the gap.

    Args:
        weights: `a` of the teacher, `(n,)`.
        positions: `b` of the teacher, `(n, d)`.
        activation: `"relu"`, `"sigmoid"` (logistic), `"probit"` (the normal distribution function,
            a sigmoid whose population risk has a closed form), or an `Activation`.
        penalty: `lambda > 0` of `|w|`, or of `(w^2 + |theta|^2) / 2` for ReLU; or `None`.

    Returns:
        A `TwoLayerNetwork`, with the problems `population`, `on_inputs(x)` and `sample(key, n)`.

    Raises:
        ValueError: if the teacher has no neurons, shapes do not fit, the activation is unknown, or
            the penalty is not positive.

    >>> import jax, jax.numpy as jnp
    >>> network = two_layer_network([1.0, -1.0], jnp.eye(2))
    >>> from swjax.particles import as_particles
    >>> teacher = as_particles(2 * network.weights, network.positions)  # shares 1/2
    >>> abs(round(float(network.population.objective(teacher)), 6))
    0.0
    """
    weights, positions = weights_and_positions(weights, positions, line=False)
    if positions.size == 0:
        raise ValueError(
            "The teacher has no neurons, so there is nothing to learn; pass at least one weight "
            "and position."
        )
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation {activation!r} is unknown; choose one of {known}.")
        activation = ACTIVATIONS[activation]
    if penalty is not None:
        check_positive("penalty", penalty, "Use penalty=None for no penalty.")
    return TwoLayerNetwork(weights, positions, penalty, activation)


def sample_teacher(
    key: AnyKey, num: int, dim: int, *, size: float | int = 1.0
) -> tuple[Float[Array, "n"], Float[Array, "n d"]]:
    """A random teacher: weights `+-1 / n`, directions uniform on a sphere.

    Args:
        key: a random key.
        num: number `n` of neurons.
        dim: dimension `d` of the inputs.
        size: length of every position vector.

    Returns:
        Weights `(n,)` and positions `(n, d)`.

    Raises:
        ValueError: if a count is below 1 or the size is not positive.

    >>> import jax
    >>> weights, positions = sample_teacher(jax.random.key(0), 4, 2)
    >>> weights.shape, positions.shape
    ((4,), (4, 2))
    """
    num, dim = as_count("num", num), as_count("dim", dim)
    check_positive("size", size, "Neurons of length 0 are constant.")
    sign_key, key = jax.random.split(key)
    positions = jax.random.normal(key, (num, dim))
    positions = size * positions / jnp.linalg.norm(positions, axis=1, keepdims=True)
    return jax.random.rademacher(sign_key, (num,), positions.dtype) / num, positions
