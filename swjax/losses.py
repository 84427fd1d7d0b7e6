"""The loss of a generator: sliced-Wasserstein between minibatches of its outputs and of the data.

A generator `T` maps parameters `u` and latent points to data points. One sample of the loss draws
`n` latent points, `n` data points and a direction, all independent and fresh,

    f(u, X, Y, theta) = W_2^2(P_theta # T(u, X), P_theta # Y),

and stochastic gradient descent follows its gradient in `u`. The scheme, its name `f` and the
expectation `F(u) = E f(u, X, Y, theta)` (`swjax.population_loss`) are those of Tanguy, "Convergence
of SGD for training neural networks with sliced Wasserstein losses", TMLR 2023, equations (4)-(7).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from swjax._checks import as_count, as_order, checked_directions
from swjax.directions import sample_directions
from swjax.sliced import sw2_sq, sw_pow


@runtime_checkable
class Samplable(Protocol):
    """A law on `R^dim` that can be sampled, as all of `swjax.measures` can."""

    @property
    def dim(self) -> int:
        """The dimension of the points."""
        ...

    def sample(self, key: Array, n: int, /) -> Array:
        """Draw `n` independent points `(n, dim)`."""
        ...


class Draw(NamedTuple):
    """One draw of everything that is random in the loss.

    Attributes:
        x: latent points `(batch_size, d_x)`.
        y: data points `(batch_size, d_y)`.
        directions: unit vectors as rows `(num_directions, d_y)`.
    """

    x: Float[Array, "n d_x"]
    y: Float[Array, "n d_y"]
    directions: Float[Array, "L d_y"]


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True, eq=False)
class SlicedLoss:
    """The sliced-Wasserstein loss of a generator against data, one random minibatch at a time.

    For a draw of `n = batch_size` latent points `X`, as many data points `Y`, and directions
    `theta_1, ..., theta_L`, all independent and drawn with replacement,

        f(u, X, Y, theta) = (1/L) sum_l W_p^p(P_{theta_l} # T(u, X), P_{theta_l} # Y),

    without a factor 1/2. With the default, one direction, its gradient steps are equation (7) of
    Tanguy (TMLR 2023); more directions keep the expectation and lower the variance. Its
    expectation is the loss of *minibatches* of size `n`, whose minimizers differ from those of
    the distance between the two laws themselves; see `swjax.population_loss`.

    A loss is a pytree (measures and directions are its leaves): it can be closed over or passed
    through `jit`, `vmap` and `scan`. It compares and hashes by identity.

    Attributes:
        apply: the generator, a pure function `(params, (n, d_x)) -> (n, d_y)`, such as
            `model.apply` of a Flax module. An NNX module is taken apart first:
            `graph, params = nnx.split(model)` and `lambda u, x: nnx.merge(graph, u)(x)`.
        source: law of the latent points, anything with `.dim` and `.sample(key, n) -> (n, d_x)`.
        target: law of the data, likewise in dimension `d_y`.
        batch_size: number `n` of points drawn from each.
        num_directions: number `L` of directions drawn.
        p: order of the distance, at least 1.
        directions: `None` for uniform directions on the sphere; or `(K, d_y)` unit vectors, from
            which the directions are drawn uniformly with replacement. Such a finite law makes the
            expectation computable without quadrature, and the theorems hold for it as well.

    Raises:
        ValueError: if a size is below 1, `p < 1`, or the directions do not fit the target, are
            none, or are not of unit length (checked where their values are known).
        TypeError: if `apply` is not a function or is an NNX module, or a law cannot be sampled.

    >>> import jax
    >>> import swjax
    >>> data = swjax.Discrete(jax.numpy.array([[1.0, 0.0], [3.0, 0.0]]))
    >>> loss = swjax.SlicedLoss(lambda u, x: x + u[None], data, data, batch_size=4)
    >>> draw = loss.draw(jax.random.key(0))
    >>> [part.shape for part in draw]
    [(4, 2), (4, 2), (1, 2)]
    >>> value, gradient = loss.value_and_grad(jax.numpy.zeros(2), draw)
    >>> gradient.shape
    (2,)
    """

    apply: Callable[..., Array]
    source: Any
    target: Any
    batch_size: int = field(kw_only=True)
    num_directions: int = field(default=1, kw_only=True)
    p: float | int = field(default=2, kw_only=True)
    directions: ArrayLike | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _refuse_nnx(self.apply)
        if hasattr(self.apply, "apply"):
            raise TypeError(
                f"apply is the model {type(self.apply).__name__}; pass its function model.apply."
            )
        if not callable(self.apply):
            raise TypeError(f"apply must be a function (params, x) -> y, got {self.apply!r}.")
        for name in ("source", "target"):
            law = getattr(self, name)
            if not isinstance(law, Samplable):
                raise TypeError(
                    f"{name} must have .dim and .sample(key, n), as the laws of swjax.measures do; "
                    f"got {type(law).__name__}. For a cloud of points, use swjax.Discrete(points)."
                )
        for name in ("batch_size", "num_directions"):
            object.__setattr__(self, name, as_count(name, getattr(self, name)))
        as_order(self.p)
        if self.directions is not None:
            rows = checked_directions(self.directions, self.target.dim)
            object.__setattr__(self, "directions", rows)

    def draw(self, key: Array) -> Draw:
        """Draw latent points, data points and directions, all independent.

        Args:
            key: a JAX random key.

        Returns:
            `Draw(x (n, d_x), y (n, d_y), directions (L, d_y))`.
        """
        source_key, target_key, direction_key = jax.random.split(key, 3)
        if self.directions is None:
            directions = sample_directions(direction_key, self.num_directions, self.target.dim)
        else:
            rows = jnp.asarray(self.directions)
            chosen = jax.random.randint(direction_key, (self.num_directions,), 0, rows.shape[0])
            directions = rows[chosen]
        return Draw(
            self.source.sample(source_key, self.batch_size),
            self.target.sample(target_key, self.batch_size),
            directions,
        )

    def value(self, params: PyTree, draw: Draw) -> Float[Array, ""]:
        """The sample loss `f(u, X, Y, theta)`.

        Args:
            params: parameters of the generator, a pytree.
            draw: what `draw` returned.

        Returns:
            A scalar.

        Raises:
            ValueError: if the generator does not return one data point `(n, d_y)` per latent point.
        """
        outputs = self.apply(params, draw.x)
        check_outputs(outputs, draw.x, draw.y.shape[1])
        if self.p == 2:
            return sw2_sq(outputs, draw.y, draw.directions)
        return sw_pow(outputs, draw.y, draw.directions, p=self.p)

    def value_and_grad(self, params: PyTree, draw: Draw) -> tuple[Float[Array, ""], PyTree]:
        """The sample loss and its almost-everywhere gradient in the parameters.

        Args:
            params: parameters of the generator, a pytree.
            draw: what `draw` returned.

        Returns:
            A scalar, and a tree like `params`: equation (6) of the paper for `p = 2` and `L = 1`.
        """
        return jax.value_and_grad(self.value)(params, draw)

    def grad(self, params: PyTree, draw: Draw) -> PyTree:
        """The almost-everywhere gradient of the sample loss, a tree like `params`."""
        return jax.grad(self.value)(params, draw)

    def tree_flatten_with_keys(self) -> tuple[tuple, tuple]:
        """Split into measures and directions (with their names) and the static rest."""
        leaves = tuple(
            (jax.tree_util.GetAttrKey(name), getattr(self, name))
            for name in ("source", "target", "directions")
        )
        return leaves, (self.apply, self.batch_size, self.num_directions, self.p)

    @classmethod
    def tree_unflatten(cls, static: tuple, leaves: tuple) -> "SlicedLoss":
        """Put the parts together again, unchecked: JAX rebuilds trees with placeholders in them."""
        loss = object.__new__(cls)
        names = ("apply", "batch_size", "num_directions", "p", "source", "target", "directions")
        for name, part in zip(names, (*static, *leaves), strict=True):
            object.__setattr__(loss, name, part)
        return loss


def _refuse_nnx(apply: Any) -> None:
    """Refuse an NNX module and a method of one: they hold their parameters and take no others.

    The module of a class is looked at by name, since `flax.nnx` may not be loaded.
    """
    owner = getattr(apply, "__self__", apply)
    if any(base.__module__.startswith("flax.nnx") for base in type(owner).__mro__):
        raise TypeError(
            f"apply is the NNX module {type(owner).__name__} or a method of it, not a function of "
            "its parameters. Take it apart:\n"
            "    graph, params = nnx.split(model)\n"
            "    apply = lambda params, x: nnx.merge(graph, params)(x)"
        )


def check_outputs(outputs: Any, latents: Array, dim: int) -> None:
    """Refuse outputs of a generator that are not one point of the data space per latent point."""
    expected = (latents.shape[0], dim)
    if getattr(outputs, "shape", None) != expected:
        shape = getattr(outputs, "shape", type(outputs).__name__)
        raise ValueError(
            f"The generator maps latent points {latents.shape} to {shape}; the target needs "
            f"{expected}. Change the generator's output dimension, or flatten its output to one "
            "row per point."
        )
