"""Minibatch SGD on a finite sum of nonsmooth terms: the setting of Bolte and Pauwels' theorem."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False)
class FiniteSum:
    """The objective J(w) = (1/N) sum_i f(w, data_i), drawn by minibatches without replacement.

    Each draw is a uniformly random subset of `batch_size` indices, and `value_and_grad` returns
    what automatic differentiation gives for the mean over it: an element of the mean of the
    conservative fields of its terms. Bolte and Pauwels (2021) show for locally Lipschitz
    definable terms and step sizes alpha_k = o(1 / log k) of infinite sum
    (`swjax.optim.power_schedule`, `swjax.optim.inverse_log_schedule`) that on bounded runs the
    values J(w_k) converge and every accumulation point w satisfies 0 in conv D_J(w).

    It is a loss for `swjax.train` and a pytree whose leaves are the data.

    Attributes:
        f: one term, (parameters, one row of the data) to a scalar.
        data: pytree of arrays with a common leading axis of length N.
        batch_size: number of terms in a minibatch, from 1 to N.

    Raises:
        ValueError: if the leading axes differ or the batch size is not between 1 and N.

    Reference:
        Bolte and Pauwels, "Conservative set valued fields, automatic differentiation, stochastic
        gradient methods and deep learning", Mathematical Programming 188 (2021).

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> import swjax
        >>> median = swjax.FiniteSum(lambda w, x: abs(w - x), jnp.array([0.0, 1.0, 5.0]), 1)
        >>> schedule = swjax.optim.power_schedule(1.0, 0.9)
        >>> run = swjax.train(
        ...     jax.random.key(0), median, optax.sgd(schedule), jnp.zeros(()), num_steps=5000
        ... )
        >>> round(float(run.params), 1), round(float(median.full_value(run.params)), 2)
        (1.0, 1.67)
    """

    f: Callable[[PyTree, PyTree], Array]
    data: PyTree
    batch_size: int = field(default=1)

    def __post_init__(self) -> None:
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(self.data)]
        lengths = {shape[0] if shape else 0 for shape in shapes}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                "data must be a pytree of arrays with one common leading axis of length N >= 1, "
                f"found shapes {shapes}"
            )
        if not 1 <= self.batch_size <= min(lengths):
            raise ValueError(
                f"batch_size must be between 1 and N = {min(lengths)}, found {self.batch_size}"
            )

    @property
    def num_terms(self) -> int:
        """The number N of terms."""
        return jax.tree.leaves(self.data)[0].shape[0]

    def draw(self, key: Array) -> PyTree:
        """A minibatch: the rows of `batch_size` different indices, drawn uniformly."""
        index = jax.random.choice(key, self.num_terms, (self.batch_size,), replace=False)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], self.data)

    def value(self, params: PyTree, draw: PyTree) -> Array:
        """Mean of the terms of a minibatch, a scalar."""
        return jax.vmap(self.f, (None, 0))(params, draw).mean()

    def value_and_grad(self, params: PyTree, draw: PyTree) -> tuple[Array, PyTree]:
        """The mean over a minibatch, a scalar, and what AD returns as its gradient."""
        return jax.value_and_grad(self.value)(params, draw)

    def full_value(self, params: PyTree) -> Array:
        """The objective J, a scalar."""
        return self.value(params, self.data)

    def tree_flatten(self) -> tuple[tuple[PyTree], tuple[Any, ...]]:
        """The data, and the rest."""
        return (self.data,), (self.f, self.batch_size)

    @classmethod
    def tree_unflatten(cls, rest: tuple[Any, ...], children: tuple[PyTree]) -> "FiniteSum":
        """Put together again, unchecked: JAX may pass placeholders."""
        made = object.__new__(cls)
        for name, value in (("f", rest[0]), ("data", children[0]), ("batch_size", rest[1])):
            object.__setattr__(made, name, value)
        return made
