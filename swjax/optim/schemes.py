"""The schemes of the theorems as Optax optimizers, in an order that cannot be got wrong."""

from typing import Any, cast

import optax
from jaxtyping import ArrayLike, PyTree

from swjax.optim._arguments import ScalarOrSchedule, check_scalar
from swjax.optim.noise import add_gaussian_noise
from swjax.optim.projection import keep_params_in_ball


def _descend(step_size: ScalarOrSchedule) -> optax.GradientTransformation:
    check_scalar("step_size", step_size, allow_zero=False)
    return optax.scale_by_learning_rate(cast(Any, step_size))


def noised_projected_sgd(
    step_size: ScalarOrSchedule,
    noise_std: ScalarOrSchedule,
    radius: ScalarOrSchedule,
    key: ArrayLike,
    *,
    center: PyTree | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent with Gaussian noise, projected onto a ball.

        u+ = pi_r(u - alpha g + alpha a eps),    eps ~ N(0, I)

    with step size `alpha`, noise level `a` and `pi_r` the Euclidean projection of the whole
    parameter vector onto the ball of radius `r` (Tanguy, "Convergence of SGD for training neural
    networks with sliced Wasserstein losses", TMLR 2023, equation 13 and Theorem 2). The noise
    carries the factor `alpha`: per unit of the time `t * alpha` it adds the variance
    `alpha a**2`, which vanishes with the step size. It is not Langevin dynamics, whose noise
    carries `sqrt(alpha)`.

    All numbers may be traced, so that one compiled function serves a whole sweep. For one key per
    run, build the optimizer inside the vmapped function.

    Args:
        step_size: `alpha > 0`: a float, a scalar array `()` or a schedule.
        noise_std: `a >= 0`: a float, a scalar array `()` or a schedule.
        radius: `r >= 0`: a float, a scalar array `()` or a schedule.
        key: a random key, typed or raw, or an integer.
        center: center of the ball, a tree like the parameters; the origin by default.

    Returns:
        An Optax optimizer; its `update` needs `params`.

    Raises:
        ValueError: if a number is out of range (checked when concrete) or not a scalar.
        TypeError: if an argument is of another type.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import optax
    >>> optimizer = noised_projected_sgd(0.1, noise_std=0.5, radius=1.0, key=jax.random.key(0))
    >>> params = jnp.array([0.0, 1.0])
    >>> updates, _ = optimizer.update(jnp.array([0.0, -50.0]), optimizer.init(params), params)
    >>> round(float(jnp.linalg.norm(optax.apply_updates(params, updates))), 5)
    1.0
    """
    noise = add_gaussian_noise(noise_std, key)
    return optax.chain(noise, _descend(step_size), keep_params_in_ball(radius, center))


def projected_sgd(
    step_size: ScalarOrSchedule, radius: ScalarOrSchedule, *, center: PyTree | None = None
) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent, projected onto a ball: `u+ = pi_r(u - alpha g)`.

    Args:
        step_size: `alpha > 0`: a float, a scalar array `()` or a schedule.
        radius: `r >= 0`: a float, a scalar array `()` or a schedule; one ball for all parameters.
        center: center of the ball, a tree like the parameters; the origin by default.

    Returns:
        An Optax optimizer; its `update` needs `params`.

    Raises:
        ValueError: if a number is out of range (checked when concrete) or not a scalar.
        TypeError: if an argument is of another type.

    >>> import jax.numpy as jnp
    >>> optimizer = projected_sgd(0.1, radius=1.0)
    >>> params = jnp.array([0.0, 1.0])
    >>> updates, _ = optimizer.update(jnp.array([0.0, -50.0]), optimizer.init(params), params)
    >>> print(params + updates)
    [0. 1.]
    """
    return optax.chain(_descend(step_size), keep_params_in_ball(radius, center))


def noised_sgd(
    step_size: ScalarOrSchedule, noise_std: ScalarOrSchedule, key: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent with Gaussian noise: `u+ = u - alpha g + alpha a eps`.

    The noise carries the factor `alpha`, as in `noised_projected_sgd`, of which this is the scheme
    without a ball.

    Args:
        step_size: `alpha > 0`: a float, a scalar array `()` or a schedule.
        noise_std: `a >= 0`: a float, a scalar array `()` or a schedule.
        key: a random key, typed or raw, or an integer.

    Returns:
        An Optax optimizer.

    Raises:
        ValueError: if a number is out of range (checked when concrete) or not a scalar.
        TypeError: if an argument is of another type.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> optimizer = noised_sgd(0.1, noise_std=0.0, key=jax.random.key(0))
    >>> params = jnp.zeros(2)
    >>> updates, _ = optimizer.update(jnp.array([1.0, -2.0]), optimizer.init(params), params)
    >>> print(updates)
    [-0.1  0.2]
    """
    return optax.chain(add_gaussian_noise(noise_std, key), _descend(step_size))
