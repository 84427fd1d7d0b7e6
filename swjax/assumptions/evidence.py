"""What evaluating a generator at random parameters and latent points shows. No proof: evidence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from swjax.assumptions.program import is_real, with_real

# Rows of the second derivative and outputs looked at: as many as keep their product with the number
# of parameters below the limit. Above the width, they are taken one after the other.
_MOST_ROWS, _MOST_OUTPUTS, _MOST_COLUMNS = 8, 16, 256
_LIMIT, _WIDE = 2_000_000, 5_000
# A second difference quotient has a step this much shorter, for functions that bend fast.
_FINER = 1 / 32


class Evidence(NamedTuple):
    """Largest values over random parameters in a ball and random latent points.

    Attributes:
        lipschitz: of the spectral norm of the Jacobian in `(u, x)` of (at most 16 outputs of) `T`;
            its Lipschitz constant is at least this.
        output: of `|T(u, x)|`.
        second: of the entries of the second derivatives in `u` of all `T_i` and `T_i T_j` looked
            at; the constant `M` is at least this.
        gradient_error: median relative difference between the derivative that JAX gives and the
            closer of two central difference quotients, along random directions of parameters.
        finite: whether all values and derivatives are numbers.
    """

    lipschitz: float
    output: float
    second: float
    gradient_error: float
    finite: bool


def sample_evidence(
    key: Array,
    apply: Callable[..., Array],
    params: PyTree,
    source: Any,
    radius: float,
    num_samples: int,
) -> Evidence:
    """Evaluate the generator, its Jacobian and rows of its second derivative at random.

    Args:
        key: a JAX random key.
        apply: the generator.
        params: parameters; they are among those evaluated.
        source: law of the latent points.
        radius: parameters are drawn uniformly from the ball of this radius around the origin.
        num_samples: number of pairs of parameters and points.
    """
    u_key, x_key, row_key, move_key = jax.random.split(key, 4)
    center, restore = _as_vector(params)
    dim = center.size
    directions = jax.random.normal(u_key, (num_samples, dim), center.dtype)
    lengths = jax.random.uniform(jax.random.fold_in(u_key, 1), (num_samples, 1)) ** (1 / dim)
    directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    parameters = (radius * lengths * directions).at[0].set(center).astype(center.dtype)
    points = source.sample(x_key, num_samples)
    outputs = apply(params, points[:1]).shape[1]
    num_outputs = int(np.clip(_LIMIT // dim // 2, 2, min(outputs, _MOST_OUTPUTS)))
    num_rows = int(np.clip(_LIMIT // dim // num_outputs, 1, min(dim, _MOST_ROWS)))
    width = _MOST_OUTPUTS if dim <= _WIDE else 1
    for_each = lambda f, rows: jax.lax.map(f, rows, batch_size=width)
    rows = jax.vmap(lambda k: jax.random.choice(k, dim, (num_rows,), replace=False))(
        jax.random.split(row_key, num_samples)
    )
    others = jax.random.permutation(jax.random.fold_in(row_key, 0), dim)
    some = jnp.asarray(np.unique(np.linspace(0, outputs - 1, num_outputs).round().astype(int)))
    moves = jax.random.normal(move_key, (num_samples, dim), center.dtype)
    moves = moves / jnp.linalg.norm(moves, axis=1, keepdims=True)
    at = lambda u, x: apply(restore(u), x[None])[0]

    def look(u: Array, x: Array, rows: Array, move: Array) -> tuple[Array, ...]:
        def derivatives(u: Array) -> tuple[Array, tuple[Array, Array]]:
            value, pull_back = jax.vjp(at, u, x)
            selected = jax.nn.one_hot(some, value.size, dtype=value.dtype)
            in_u, in_x = for_each(pull_back, selected)
            return in_u, (in_x, value)

        (first, (in_x, value)), push = jax.linearize(derivatives, u)
        kept = value[some]
        gram = jnp.matmul(first, first.T, precision="highest") + in_x @ in_x.T
        stretch = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(gram)[-1], 0))
        # Some rows and columns of the second derivative: (rows, outputs, columns).
        columns = jnp.concatenate([rows, others])[:_MOST_COLUMNS]
        second = for_each(lambda e: push(e)[0], jax.nn.one_hot(rows, u.size, dtype=u.dtype))
        second = second[:, :, columns]
        products = first[:, rows].T[:, :, None, None] * first[None, None][..., columns]
        products = products + jnp.swapaxes(products, 1, 2)
        products = products + kept[None, :, None, None] * second[:, None]
        products = products + kept[None, None, :, None] * second[:, :, None]
        largest = jnp.maximum(jnp.abs(second).max(), jnp.abs(products).max())
        step = jnp.finfo(u.dtype).eps ** (1 / 3) * (1 + jnp.max(jnp.abs(u)))
        steps, slope = step * jnp.array([1.0, _FINER], u.dtype), first @ move
        ends = jax.vmap(lambda s: at(u + s * move, x)[some])(jnp.concatenate([steps, -steps]))
        quotients = (ends[:2] - ends[2:]) / (2 * steps[:, None])
        error = jnp.linalg.norm(quotients - slope[None], axis=1)
        size = jnp.linalg.norm(quotients, axis=1) + jnp.linalg.norm(slope)
        return jnp.linalg.norm(value), stretch, largest, error, size

    found = jax.jit(lambda *args: jax.lax.map(lambda a: look(*a), args))(
        parameters, points, rows, moves
    )
    output, stretch, second, error, size = (np.asarray(part, np.float64) for part in found)
    numbers = np.isfinite(output) & np.isfinite(stretch) & np.isfinite(second)
    return Evidence(
        float(np.max(stretch)),
        float(np.max(output)),
        float(np.max(second)),
        float(np.median((error / (size + 1e-6 * (1 + np.max(stretch)))).min(axis=1))),
        bool(numbers.all()),
    )


def _as_vector(params: PyTree) -> tuple[Array, Callable[[Array], PyTree]]:
    """The real numbers among the parameters as a vector, and back: all other leaves stay."""
    leaves, structure = jax.tree.flatten(params)
    center, unravel = ravel_pytree([leaf for leaf in leaves if is_real(leaf)])
    return center, lambda u: jax.tree.unflatten(structure, with_real(leaves, unravel(u)))


def sample_jump(
    key: Array, apply: Callable[..., Array], params: PyTree, source: Any, radius: float
) -> float:
    """The largest jump of the output found along random segments of parameters, 0 if none.

    On each segment the largest step between neighbors is halved until the two ends are as close as
    the floating-point type allows; a jump is what does not shrink.
    """
    center, restore = _as_vector(params)
    u_key, x_key = jax.random.split(key)
    ends = jax.random.normal(u_key, (2, 32, center.size), center.dtype)
    ends = radius * ends / jnp.linalg.norm(ends, axis=2, keepdims=True)
    points = source.sample(x_key, 32)

    @jax.jit
    @jax.vmap
    def largest_jump(start: Array, end: Array, x: Array) -> Array:
        at = lambda t: apply(restore((1 - t) * start + t * end), x[None])[0]
        times = jnp.linspace(0, 1, 513, dtype=start.dtype)
        values = jax.lax.map(at, times, batch_size=64)
        steps = jnp.linalg.norm(jnp.diff(values, axis=0), axis=1)
        place = jnp.argmax(steps)

        def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            left, right = ends
            middle = (left + right) / 2
            values = jax.vmap(at)(jnp.stack([left, middle, right]))
            first, second = jnp.linalg.norm(jnp.diff(values, axis=0), axis=1)
            return (
                jnp.where(first >= second, left, middle),
                jnp.where(first >= second, middle, right),
            )

        left, right = jax.lax.fori_loop(0, 12, halve, (times[place], times[place + 1]))
        jump = jnp.linalg.norm(at(right) - at(left))
        # Twelve halvings shrink the step of a continuous, piecewise smooth function far below this.
        return jnp.where(jump > 0.2 * steps[place], jump, 0)

    return float(jnp.max(largest_jump(ends[0], ends[1], points)))
