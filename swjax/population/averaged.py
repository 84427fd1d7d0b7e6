"""An average of sampled losses, for the cases in which the population loss is not a finite sum."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from swjax._checks import as_count
from swjax._keys import canonical_key
from swjax.estimates import Estimate, estimate_of_mean
from swjax.losses import Draw, SlicedLoss
from swjax.population.expected import squared_norm


@jax.tree_util.register_pytree_node_class
class AveragedLoss:
    """The mean of the sampled loss over fixed draws: an unbiased stand-in for the population loss.

    It works for every order `p` and every law that can be sampled. As the draws are fixed, it is
    one function of the parameters that can be minimized and followed along its gradient flow; it
    differs from the population loss by an error that `estimate` and `gradient_error` give.

    Args:
        loss: the sampled loss.
        draws: draws stacked along a leading axis, as `sample_population_loss` makes them.
    """

    def __init__(self, loss: SlicedLoss, draws: Draw):
        self._loss = loss
        self._draws = draws

    def __call__(self, params: PyTree) -> Float[Array, ""]:
        """The mean over the draws, a scalar, differentiable in the parameters."""
        return jnp.mean(self._values(params))

    def halves(self) -> tuple["AveragedLoss", "AveragedLoss"]:
        """The means over the first and over the second half of the draws, which are independent.

        Half the difference of what is computed from the one and from the other is an estimate of
        the error of what is computed from all.
        """
        middle = self._draws.x.shape[0] // 2
        first = jax.tree.map(lambda leaf: leaf[:middle], self._draws)
        second = jax.tree.map(lambda leaf: leaf[middle:], self._draws)
        return AveragedLoss(self._loss, first), AveragedLoss(self._loss, second)

    def estimate(self, params: PyTree) -> Estimate:
        """The mean over the draws and its standard error.

        Args:
            params: parameters of the generator, a pytree.

        Returns:
            `Estimate(value, standard_error, degrees_of_freedom)`; the error is NaN for a single
            draw.
        """
        return estimate_of_mean(self._values(params))

    def gradient_error(self, params: PyTree) -> Float[Array, ""]:
        """Standard error of the gradient, `sqrt(trace(C) / M)`, in the norm of the whole tree.

        `C` is the sample covariance of the gradient over the `M` draws.

        Args:
            params: parameters of the generator, a pytree.

        Returns:
            A scalar.
        """
        mean = jax.grad(self)(params)
        num_draws = self._draws.x.shape[0]

        def squared_deviation(draw: Draw) -> Array:
            difference = jax.tree.map(jnp.subtract, self._loss.grad(params, draw), mean)
            return squared_norm(difference)

        squares = lax.map(squared_deviation, self._draws, batch_size=64)
        return jnp.sqrt(jnp.mean(squares) / (num_draws - 1))

    def _values(self, params: PyTree) -> Array:
        return _sampled_values(self._loss, self._draws, params)

    def tree_flatten(self) -> tuple[tuple, tuple]:
        """Split into arrays and the (empty) static rest."""
        return (self._loss, self._draws), ()

    @classmethod
    def tree_unflatten(cls, static: tuple, leaves: tuple) -> "AveragedLoss":
        """Put the parts together again."""
        return cls(*leaves)


@jax.jit
def _sampled_values(loss: SlicedLoss, draws: Draw, params: PyTree) -> Array:
    return lax.map(lambda draw: loss.value(params, draw), draws, batch_size=256)


def sample_population_loss(key: ArrayLike, loss: SlicedLoss, num_draws: int) -> AveragedLoss:
    """Draw minibatches and directions once, and average the loss over them.

    The fallback for laws that are not discrete and for `p != 2`; elsewhere `PopulationLoss` has no
    sampling error.

    Args:
        key: a random key `()`: typed, raw or an integer.
        loss: the sampled loss.
        num_draws: number of draws to average over, at least 2.

    Returns:
        An `AveragedLoss`: a function of the parameters (any pytree), with `.estimate(params)` and
        `.gradient_error(params)`.

    Raises:
        ValueError: if `num_draws` is below 2.
        TypeError: if `key` is no key, or `num_draws` no integer.

    >>> import swjax
    >>> ball = swjax.measures.ball(2)
    >>> loss = swjax.SlicedLoss(lambda u, x: x + u[None], ball, ball, batch_size=8)
    >>> F = sample_population_loss(jax.random.key(0), loss, 256)
    >>> bool(abs(F.estimate(jnp.ones(2)).standard_error) < 0.1)
    True
    """
    key = canonical_key(key)
    if as_count("num_draws", num_draws) < 2:
        raise ValueError(f"num_draws must be at least 2, for an error estimate; got {num_draws}.")
    return AveragedLoss(loss, jax.jit(jax.vmap(loss.draw))(jax.random.split(key, num_draws)))
