"""The population loss of a generator between discrete laws, without sampling."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from swjax._checks import checked_directions, is_concrete
from swjax.estimates import Estimate, estimate_of_mean
from swjax.losses import SlicedLoss, check_outputs
from swjax.population.fixed_directions import Slices, losses_of_projections, prepare_slices
from swjax.population.planar import Plane, plane_loss, prepare_plane
from swjax.slicing import project


@jax.tree_util.register_pytree_node_class
class PopulationLoss:
    """The loss that stochastic gradient descent minimizes, `F(u) = E f(u, X, Y, theta)`.

    The expectation runs over independent minibatches of `n` latent points and `n` data points and
    over the direction, for discrete source and target of any sizes and weights. Along a direction
    only the expected order statistics enter, because the two minibatches are independent:

        F_theta = sum_r a_r t_r^2 + sum_s b_s y_s^2 - (2/n) sum_k E[t_(k:n)] E[y_(k:n)],

    with `t` the projected outputs of the generator and `y` the projected data. It is not the
    distance between the two laws: `F` stays positive where they agree, and its minimizers are
    biased (toward the mean; at `n = 1` they collapse to it). The bias vanishes as `n` grows.

    The average over the direction is

    - *exact* if `loss.directions` is a finite law of the direction: the mean over its rows;
    - *exact* on the line, and in the plane if no `directions` are given, where the order of the
      projections is constant on finitely many arcs of the angle;
    - a *numerical integral* over `directions` where they are given, with a standard error
      (`estimate`). The part due to the difference of the two means, `|difference|^2 / d`, is
      exact here as well.

    What depends on the target alone is computed once, here, in float64. Calls are differentiable
    and can be traced by `jit`, `vmap` and `scan`; the object is a pytree and can be passed to them.
    A call costs one sort of the `N` outputs per direction, and `O(N L)` memory; the exact integral
    in the plane `N^2 / 2` sorts, and a table of about `2 n M^2` numbers for `M` data points.

    The gradient holds the sorting permutations fixed: the true gradient where no two outputs agree,
    and one element of the Clarke subdifferential at ties. Second derivatives are right for the
    exact integral in the plane; a mean over directions is piecewise quadratic, and its second
    derivative misses the jumps of the first.

    Args:
        loss: the sampled loss; `p` must be 2, and the laws discrete (`swjax.Discrete`).
        directions: `(L, d)` unit vectors for the numerical integral; needed in dimension 3 and
            more, unless the loss has directions of its own.

    Attributes:
        is_exact: whether the average over the direction is exact.

    Raises:
        ValueError: if `p != 2`, a law is not discrete, directions are missing, given twice, or do
            not fit the dimension, or the plane's table would be too large.
        TypeError: if the laws are being traced: close over the loss instead of passing it.

    >>> import jax.numpy as jnp
    >>> import swjax
    >>> two = swjax.Discrete(jnp.array([[-0.5], [0.5]]))
    >>> loss = swjax.SlicedLoss(lambda u, x: u * x, two, two, batch_size=2)
    >>> F = PopulationLoss(loss)
    >>> [round(float(F(u)), 5) for u in (0.0, 0.25, 1.0)]  # u^2/4 - |u|/8 + 1/4, lowest at 1/4
    [0.25, 0.23438, 0.375]
    """

    def __init__(self, loss: SlicedLoss, directions: ArrayLike | None = None):
        points, weights = _atoms("source", loss.source)
        data, data_weights = _atoms("target", loss.target)
        dim = data.shape[1]
        if loss.p != 2:
            raise ValueError(
                f"The population loss is known in closed form for p = 2 only; this loss has "
                f"p = {loss.p}. Average sampled losses instead: sample_population_loss."
            )
        if loss.directions is not None:
            if directions is not None:
                raise ValueError(
                    "The loss draws from directions of its own, over which the mean is exact; "
                    "do not pass others."
                )
            directions = loss.directions
        elif directions is None and dim == 1:
            directions = np.ones((1, 1))
        elif directions is None and dim > 2:
            raise ValueError(
                f"In dimension {dim} the integral over the direction is numerical: pass "
                f"directions=swjax.sample_orthogonal_directions(key, 512, {dim}), or give the "
                "loss a finite law of the direction, SlicedLoss(..., directions=...)."
            )
        elif directions is not None and not is_concrete(directions):
            raise TypeError("directions are being traced; build PopulationLoss outside jit.")
        center = data_weights @ data
        tables: Plane | Slices
        if directions is None:
            tables = prepare_plane(weights, data - center, data_weights, loss.batch_size)
        else:
            rows = np.asarray(checked_directions(directions, dim), np.float64)
            tables = prepare_slices(weights, data - center, data_weights, rows, loss.batch_size)
        self._apply: Callable[..., Array] = loss.apply
        self.is_exact: bool = loss.directions is not None or directions is None or dim == 1
        self._points: Array = jnp.asarray(loss.source.points)
        self._center: Array = jnp.asarray(center, float)
        self._tables = tables

    def __call__(self, params: PyTree) -> Float[Array, ""]:
        """`F(params)`, a scalar, differentiable in the parameters."""
        return _value(self, params)

    def of_outputs(self, outputs: Float[Array, "N d"]) -> Float[Array, ""]:
        """`F` as a function of the outputs `T(u, x_1), ..., T(u, x_N)` on the source's atoms.

        Args:
            outputs: `(N, d)`.

        Returns:
            A scalar, differentiable in the outputs.
        """
        return _value_of_outputs(self, outputs)

    def estimate(self, params: PyTree) -> Estimate:
        """`F(params)` with the standard error of the numerical integral over the direction.

        The error takes the directions as independent draws, as `sample_directions` makes them; for
        more evenly spread directions it is larger than the true one.

        Args:
            params: parameters of the generator, a pytree.

        Returns:
            `Estimate(value, standard_error, degrees_of_freedom)`; the error is 0 where `F` is exact
            and NaN for a single direction.
        """
        outputs = self._outputs(params)
        if self.is_exact:
            value = self.of_outputs(outputs)
            return Estimate(value, jnp.zeros_like(value))
        losses = self._per_direction(outputs - self._center[None])
        return estimate_of_mean(losses)

    def gradient_error(self, params: PyTree) -> Float[Array, ""]:
        """Standard error of the gradient from the numerical integral over the direction.

        This is `sqrt(trace(C) / L)` with `C` the sample covariance, over the directions, of the
        gradient in the parameters. It costs one backward pass of the generator per direction.

        Args:
            params: parameters of the generator, a pytree.

        Returns:
            A scalar, in the Euclidean norm of the whole parameter vector; 0 where `F` is exact.
        """
        if self.is_exact:
            return jnp.zeros_like(self._center[0])
        outputs, pull_back = jax.vjp(self._outputs, params)
        rows = self._slices.directions
        projected = project(outputs - self._center[None], rows)
        slopes = jax.grad(lambda t: self._of_projections(t).sum())(projected)
        mean = slopes @ rows / rows.shape[0]

        def squared_deviation(lane: tuple[Array, Array]) -> Array:
            slope, direction = lane
            (gradient,) = pull_back(slope[:, None] * direction[None] - mean)
            return squared_norm(gradient)

        squares = lax.map(squared_deviation, (slopes.T, rows), batch_size=16)
        return jnp.sqrt(jnp.mean(squares) / (rows.shape[0] - 1))

    def _outputs(self, params: PyTree) -> Array:
        outputs = self._apply(params, self._points)
        check_outputs(outputs, self._points, self._center.size)
        return outputs

    @property
    def _slices(self) -> Slices:
        assert isinstance(self._tables, Slices)
        return self._tables

    def _per_direction(self, outputs: Array) -> Array:
        """The loss along each direction; the mean of these `(L,)` is the loss."""
        losses = self._of_projections(project(outputs, self._slices.directions))
        if self.is_exact:
            return losses
        return losses + jnp.sum((self._slices.weights @ outputs) ** 2) / outputs.shape[1]

    def _of_projections(self, projected: Array) -> Array:
        """Losses `(L,)` of projected outputs `(N, L)`, without the part that is known exactly."""
        losses = losses_of_projections(self._slices, projected)
        if self.is_exact:
            return losses
        return losses - (self._slices.weights @ projected) ** 2

    def tree_flatten(self) -> tuple[tuple, tuple]:
        """Split into arrays and the static rest."""
        return (self._points, self._center, self._tables), (self._apply, self.is_exact)

    @classmethod
    def tree_unflatten(cls, static: tuple, leaves: tuple) -> "PopulationLoss":
        """Put the parts together again."""
        loss = object.__new__(cls)
        loss._points, loss._center, loss._tables = leaves
        loss._apply, loss.is_exact = static
        return loss


@jax.jit
def _value(loss: PopulationLoss, params: PyTree) -> Array:
    return _value_of_outputs(loss, loss._outputs(params))


@jax.jit
def _value_of_outputs(loss: PopulationLoss, outputs: Array) -> Array:
    outputs = outputs - loss._center[None]
    if isinstance(loss._tables, Plane):
        return plane_loss(loss._tables, outputs)
    return jnp.mean(loss._per_direction(outputs))


def population_loss(
    loss: SlicedLoss, params: PyTree, directions: ArrayLike | None = None
) -> Float[Array, ""]:
    """The expected loss `F(u)` over minibatches and directions, without sampling.

    `PopulationLoss(loss, directions)(params)`; where it is called more than once outside `jit`,
    build that object and keep it, since it holds what depends on the target alone.

    Args:
        loss: the sampled loss, with `p = 2` and discrete source and target.
        params: parameters of the generator, a pytree.
        directions: `(L, d)` unit vectors for a numerical integral over the direction; needed from
            dimension 3 on unless the loss has directions of its own. In the plane, `None` is exact.

    Returns:
        A scalar, differentiable in `params`.

    Raises:
        ValueError: if `p != 2`, a law is not discrete, or the directions are missing, given twice,
            or do not fit; see `PopulationLoss`.
        TypeError: if the laws are being traced: close over the loss instead of passing it.

    >>> import jax
    >>> import swjax
    >>> x = swjax.Discrete(jax.numpy.array([[0.0, 0.0], [1.0, 0.0]]))
    >>> loss = swjax.SlicedLoss(lambda u, x: x + u[None], x, x, batch_size=2)
    >>> F = lambda u: population_loss(loss, u)
    >>> round(float(F(jax.numpy.array([3.0, 4.0])) - F(jax.numpy.zeros(2))), 4)  # |u|^2 / 2
    12.5
    """
    return PopulationLoss(loss, directions)(params)


def squared_norm(tree: PyTree) -> Float[Array, ""]:
    """The squared Euclidean norm of all leaves together."""
    return sum((jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


def _atoms(name: str, law: Any) -> tuple[np.ndarray, np.ndarray]:
    """The points and weights of a discrete law in float64, or the reason why there are none."""
    if not getattr(law, "is_discrete", False):
        raise ValueError(
            f"The {name} {type(law).__name__} is not discrete, so its expected order statistics "
            "are not finite sums. Replace it by atoms, swjax.measures.discretize(law, key, "
            "num_atoms), or average sampled losses, swjax.population.sample_population_loss."
        )
    if not is_concrete(law.points, law.weights):
        raise TypeError(
            f"The {name} is being traced: its order statistics are prepared outside jit. Close "
            "over the loss, or build PopulationLoss(loss) outside and pass that."
        )
    weights = np.asarray(law.weights, np.float64)
    return np.asarray(law.points, np.float64), weights / weights.sum()
