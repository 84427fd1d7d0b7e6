"""Gaussian noise on the gradient, as an Optax transform."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import ArrayLike

from swjax._keys import canonical_key, check_key
from swjax._trees import check_floating_leaves
from swjax.optim._arguments import ScalarOrSchedule, check_scalar, value_at

# Folded into the key of the noise. A run folds the numbers of its steps into its own key, and they
# are int32: no step has this number, so one key may serve both without a shared bit.
_STREAM = 2**31


class GaussianNoiseState(NamedTuple):
    """State of `add_gaussian_noise`.

    Attributes:
        count: number of updates made, int32 scalar.
        rng_key: typed random key from which the next update draws.
    """

    count: jax.Array
    rng_key: jax.Array


def add_gaussian_noise(
    std: ScalarOrSchedule, key: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    """Add independent Gaussian noise to every coordinate of the update: `g -> g + std * eps`.

    `eps ~ N(0, I)` is fresh at every step. Place it **before** the learning rate: then the step is
    `u - alpha (g + std eps)`, and the noise carries the factor `alpha`, not `sqrt(alpha)`. With a
    preconditioner such as Adam or a momentum, place it between that and the learning rate. This is
    the perturbation of Tanguy (TMLR 2023, equation 13); `noised_projected_sgd` is the whole scheme.
    With constant `std` the law is that of `optax.add_noise(std**2, 0.0, key)`, which takes a
    variance.

    The noise draws from a stream of its own, which a constant folded into the key begins: it shares
    no random bits with the minibatches of a run from the same key, and the state never holds the
    key itself, so that it may be donated.

    The noise of a leaf has the dtype and the sharding of that leaf; `None` leaves and leaves hidden
    by `optax.masked` stay as they are. The stream is split once per update.

    Under `vmap` over runs, a key closed over gives every run the same noise (common random
    numbers); for independent noise build the transform inside the vmapped function from a vmapped
    key. Under `optax.inject_hyperparams`, pass `static_args=("key",)`: otherwise the key becomes a
    hyperparameter too (harmless, but it shows up in `state.hyperparams`).

    Args:
        std: standard deviation of each coordinate, in the units of the gradient: a float, a scalar
            array `()` (traced or not), or a schedule that takes the number of updates made so far
            and gives one.
        key: a typed random key `()`, a raw one `(2,)` from `jax.random.PRNGKey`, or an integer.

    Returns:
        An Optax transform with state `GaussianNoiseState(count, rng_key)`.

    Raises:
        ValueError: if `std` is negative, not finite (both checked when concrete) or not a scalar,
            or if `key` is an array of keys.
        TypeError: if `std` or `key` is of another type, or, at an update, a leaf is not of real
            floating point type.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import optax
    >>> optimizer = optax.chain(add_gaussian_noise(0.3, jax.random.key(0)), optax.sgd(0.1))
    >>> params = {"w": jnp.zeros(3), "b": jnp.zeros(())}
    >>> updates, state = optimizer.update(params, optimizer.init(params))
    >>> updates["w"].shape, int(state[0].count)
    ((3,), 1)
    """
    check_scalar("std", std, allow_zero=True)
    check_key(key)

    def init(params: Any) -> GaussianNoiseState:
        del params
        own_key = jax.random.fold_in(canonical_key(key), _STREAM)
        return GaussianNoiseState(jnp.zeros((), jnp.int32), own_key)

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any):
        del params, extra_args
        check_floating_leaves("updates", updates)
        updates = jax.tree.map(jnp.asarray, updates)
        rng_key, sample_key = jax.random.split(state.rng_key)
        noise = optax.tree.random_like(sample_key, updates, jax.random.normal)
        scale = jnp.asarray(value_at(std, state.count))
        updates = jax.tree.map(lambda u, eps: u + scale.astype(u.dtype) * eps, updates, noise)
        return updates, GaussianNoiseState(jnp.asarray(optax.safe_increment(state.count)), rng_key)

    return optax.GradientTransformationExtraArgs(init, update)
