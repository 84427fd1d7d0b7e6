"""Sliced-Wasserstein values as estimates of the mean over all directions, with their error.

The losses are means over the directions they are given. If these were drawn at random, such a mean
estimates the mean over the sphere, which is the sliced-Wasserstein distance, and the same
directions tell how far it may be off. How, depends on how they were drawn:

- independent directions, shape (L, d), as from `sample_directions`: their spread tells;
- directions that depend on each other, as from `sample_orthogonal_directions`,
  `sample_quasi_directions` or the turned grids: only the spread between independent sets tells.
  Draw R of them, and pass all as one array (R, L, d)::

      draw = lambda key: sample_quasi_directions(key, 64, dim)
      directions = jax.vmap(draw)(jax.random.split(key, 16))
      sw2_sq_estimate(x, y, directions).interval()

`Estimate.interval` uses the quantile of Student's law for the number of independent parts, so that
it holds from few of them; some ten should be there, or some fifty with control variates (12 with
"moments" were seen to cover 85 % in place of 95 %), and be close enough to normal.

**Control variates** take out of the mean what need not be sampled. "moments" explains W_p^p(theta)
by three functions, the squared difference of the projected means and the two variances of the
projected points, by linear regression; "gaussian" by one, W_2^2 between the normal laws of these
means and variances, which is a lower bound of W_2^2 (Gelbrich 1990). Their means over the sphere
are known, "moments" at almost no cost, "gaussian" by about a hundred eigenvalue problems of size d.
The regression costs a bias of order 1 / R and as many degrees of freedom. The derivative of an
estimate is that of the mean over the directions: what the control variates correct has mean zero.

Rounding is no part of the error: in float32, expect a relative 1e-6 or so besides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from swjax._checks import as_order, as_real_array
from swjax.controls import ControlVariate, Known, deviations, known_means, num_controls
from swjax.regression import Intercept, Moments, intercept, moments_of
from swjax.slicing import Problem, checked_problem, costs
from swjax.student import student_quantile


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("value", "standard_error", "degrees_of_freedom"),
    meta_fields=(),
)
@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean over random directions, with what is known of its error.

    It can be unpacked: ``value, standard_error = estimate``.

    Attributes:
        value: The estimate, a scalar.
        standard_error: The standard deviation of `value` over the draw of the directions, estimated
            from the spread between the independent ones; a scalar without derivative.
        degrees_of_freedom: Of the estimated error, a scalar: the number of independent parts, less
            one, less the control variates. Infinite where the error is not an estimate.

    Example:
        >>> estimate = Estimate(jnp.array(2.0), jnp.array(0.1), jnp.array(9.0))
        >>> value, standard_error = estimate
        >>> [round(float(end), 3) for end in estimate.interval()]
        [1.774, 2.226]
    """

    value: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    degrees_of_freedom: Float[Array, "*batch"] | float = float("inf")

    def __iter__(self) -> Iterator[Array]:
        return iter((self.value, self.standard_error))

    def interval(
        self, level: float | int = 0.95
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """The ends of a confidence interval, by Student's law.

        Args:
            level: The probability, over the draw of the directions, to cover the mean over all.

        Returns:
            Two scalars.

        Raises:
            ValueError: If `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level = {level!r}; expected a number between 0 and 1, like 0.95.")
        quantile = student_quantile(level, self.degrees_of_freedom)
        width = quantile.astype(self.standard_error.dtype) * self.standard_error
        return self.value - width, self.value + width


def estimate_of_mean(values: Float[Array, "R"]) -> Estimate:
    """The mean of R independent values, with its standard error; NaN for a single one.

    Args:
        values: R numbers, independent and of one law.

    Returns:
        `Estimate(value, standard_error, degrees_of_freedom)`, with R - 1 degrees of freedom.

    Example:
        >>> value, error = estimate_of_mean(jnp.array([1.0, 2.0, 3.0]))
        >>> print(value, round(float(error), 4))
        2.0 0.5774
    """
    error = jnp.std(lax.stop_gradient(values), ddof=1) / values.size**0.5
    return Estimate(jnp.mean(values), error, jnp.asarray(values.size - 1, values.dtype))


def sw2_sq_estimate(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    control_variate: str | None = None,
) -> Estimate:
    """`sw2_sq` as an estimate of its mean over all directions, with its standard error.

    For R independent parts (directions, or sets of them) with the means W_1, ..., W_R the value is
    their mean, and its standard error s / sqrt(R), with s their standard deviation. With control
    variates, both are those of the intercept of a linear regression of W on them.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Random unit vectors: independent ones as rows, shape (L, d), L >= 2, or R >= 2
            independent sets, shape (R, L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        control_variate: "moments", "gaussian" or None.

    Returns:
        `Estimate(value, standard_error, degrees_of_freedom)`, three scalars, with the method
        `interval`.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw2_sq`; if there are not more parts than 1 and the number of control
            variates (3 for "moments", 1 for "gaussian"); and for an unknown control variate.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> value, error = sw2_sq_estimate(x, x + jnp.array([[3.0, 4.0]]), jnp.eye(2))
        >>> print(value, round(float(error), 3))
        12.5 3.5
    """
    return sw_pow_estimate(x, y, directions, a, b, p=2, control_variate=control_variate)


def sw_pow_estimate(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    p: float | int,
    control_variate: str | None = None,
) -> Estimate:
    """`sw_pow` as an estimate of its mean over all directions, with its standard error.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Independent directions (L, d), or independent sets of them (R, L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        p: The order, at least 1.
        control_variate: "moments", "gaussian" or None; they are made for p = 2, but serve any p.

    Returns:
        `Estimate`, as `sw2_sq_estimate`.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw2_sq_estimate`, and if p is not a number with 1 <= p < inf.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> value, error = sw_pow_estimate(x, x + jnp.array([[3.0, 4.0]]), jnp.eye(2), p=1)
        >>> print(value, round(float(error), 3))
        3.5 0.5
    """
    p = as_order(p)
    needed = 2 + num_controls(control_variate)
    directions = as_real_array("directions", directions)
    if directions.ndim not in (2, 3) or 0 in directions.shape:
        raise ValueError(
            f"directions has shape {directions.shape}; expected independent directions (L, d) or "
            "independent sets of them (R, L, d)."
        )
    num_parts, dim = directions.shape[0], directions.shape[-1]
    if num_parts < needed:
        parts = "directions" if directions.ndim == 2 else "sets of directions"
        raise ValueError(
            f"{num_parts} independent {parts} give no standard error with control_variate = "
            f"{control_variate!r}; pass {needed} or more."
        )
    problem = checked_problem(x, y, directions.reshape(-1, dim), a, b)
    return _estimate(problem, p, control_variate, num_parts)


def sw_distance_estimate(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    p: float | int = 2,
    control_variate: str | None = None,
) -> Estimate:
    """`sw_distance` as an estimate of the p-th root of the mean over all directions.

    The standard error follows from that of the power, e, by the derivative of the root (the delta
    method)::

        value = V^(1/p),    standard error = e V^(1/p - 1) / p.

    It is right for e much smaller than V. The root of an unbiased estimate is too small, by about
    (1 - 1/p) / (2p) (e / V)^2 relatively. Where the estimate V is not positive the value is zero,
    its derivative too, and its standard error e^(1/p).

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        directions: Independent directions (L, d), or independent sets of them (R, L, d).
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        p: The order, at least 1.
        control_variate: "moments", "gaussian" or None.

    Returns:
        `Estimate`, in the unit of the coordinates.

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw_pow_estimate`.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> value, error = sw_distance_estimate(x, x + jnp.array([[3.0, 3.0]]), jnp.eye(2))
        >>> print(value, error)
        3.0 0.0
    """
    p = as_order(p)
    power = sw_pow_estimate(x, y, directions, a, b, p=p, control_variate=control_variate)
    positive = power.value > 0
    safe = jnp.where(positive, power.value, 1)  # the root is taken of 1 where it has no derivative
    value = jnp.where(positive, safe ** (1 / p), jnp.where(jnp.isnan(power.value), jnp.nan, 0))
    slope = lax.stop_gradient(safe) ** (1 / p - 1) / p
    error = power.standard_error
    error = jnp.where(positive, error * slope, error ** (1 / p))
    return Estimate(value, error, power.degrees_of_freedom)


@partial(jax.jit, static_argnames=("p", "kind", "num_parts"))
def _estimate(problem: Problem, p: float, kind: ControlVariate | None, num_parts: int) -> Estimate:
    known = known_means(lax.stop_gradient(problem), kind)
    values, controls = of_parts(problem, known, p, kind, num_parts)
    fit = fit_moments(moments_of(lax.stop_gradient(values), controls), known)
    plain = jnp.mean(values)
    if kind is not None:  # the derivative is that of the mean
        plain += fit.value - lax.stop_gradient(plain)
    return Estimate(plain, fit.error, fit.freedom)


def of_parts(
    problem: Problem, known: Known | None, p: float, kind: ControlVariate | None, num_parts: int
) -> tuple[Float[Array, "R"], Float[Array, "R k"]]:
    """The mean of W_p^p and of the control variates over each independent part."""
    parts = lambda array: jnp.mean(array.reshape(num_parts, -1, *array.shape[1:]), axis=1)
    values = parts(costs(problem, p))
    if known is None or kind is None:
        return values, jnp.zeros((num_parts, 0), values.dtype)
    return values, parts(deviations(known, lax.stop_gradient(problem.directions), kind))


def fit_moments(moments: Moments, known: Known | None) -> Intercept:
    """The regression on the control variates, up to their rounding."""
    means = moments.mean[:0] if known is None else known.means
    return intercept(moments, 100 * jnp.finfo(means.dtype).eps * jnp.abs(means))
