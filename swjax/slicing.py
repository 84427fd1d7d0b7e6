"""Project two clouds and transport them on the line, some directions at a time.

A call of the losses begins with `checked_problem`, which refuses what does not fit together.

Memory is proportional to the points times the directions of one chunk, for the value and for the
gradient: the derivative rule adds the gradient up chunk by chunk on the way forward, so the way
back neither stores projections nor sorts again. As a rule for forward mode (the gradient times the
tangent) it serves reverse mode by transposition, and it can be differentiated again.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from swjax._checks import as_real_array, check_unit_length, check_weights, working_dtype
from swjax.wasserstein1d import lane_costs


class Problem(NamedTuple):
    """Two clouds and the directions to compare them in; None stands for equal weights."""

    x: Float[Array, "n d"]
    y: Float[Array, "m d"]
    directions: Float[Array, "L d"]
    a: Float[Array, "n"] | None = None
    b: Float[Array, "m"] | None = None


def checked_problem(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None,
    b: ArrayLike | None,
) -> Problem:
    """The inputs in the type to compute in, or an error that says what is wrong with them."""
    x, y = as_real_array("x", x), as_real_array("y", y)
    directions = as_real_array("directions", directions)
    shapes = f"x {x.shape}, y {y.shape}, directions {directions.shape}"
    if not x.ndim == y.ndim == directions.ndim == 2:
        raise ValueError(
            f"Expected x (n, d), y (m, d) and directions (L, d), found {shapes}. One point is a "
            "cloud x[None]; many clouds are a jax.vmap."
        )
    if not x.shape[1] == y.shape[1] == directions.shape[1]:
        raise ValueError(
            f"The dimensions of space, the last axes, differ: {shapes}. Directions are rows."
        )
    if 0 in (*x.shape, *y.shape, *directions.shape):
        raise ValueError(f"Clouds and directions must not be empty, found {shapes}.")
    a, b = check_weights("a", a, "x", x.shape[:1]), check_weights("b", b, "y", y.shape[:1])
    check_unit_length(directions)
    dtype = working_dtype(x, y, directions, a, b)
    return jax.tree.map(lambda array: array.astype(dtype), Problem(x, y, directions, a, b))


def checked_pair(x: ArrayLike, y: ArrayLike, a: ArrayLike | None, b: ArrayLike | None) -> Problem:
    """The same for searches that find directions of their own: here they only have their shape."""
    x, y = as_real_array("x", x), as_real_array("y", y)
    if not x.ndim == y.ndim == 2 or 0 in (*x.shape, *y.shape):
        raise ValueError(
            f"Expected clouds x (n, d) and y (m, d) that are not empty, found {x.shape} and "
            f"{y.shape}. One point is a cloud x[None]; points on the line are x[:, None]."
        )
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"The dimensions of space differ: x is {x.shape}, y is {y.shape}.")
    return checked_problem(x, y, jnp.eye(1, x.shape[1], dtype=jnp.float32), a, b)


@partial(jax.jit, static_argnames=("p", "chunk_size"))
def mean_cost(problem: Problem, p: float, chunk_size: int | None = None) -> Float[Array, ""]:
    """The mean of W_p^p over the directions, `chunk_size` of them at a time."""
    chunk_size = chunk_size or default_chunk_size(len(problem.x) + len(problem.y))
    if chunk_size >= problem.directions.shape[0]:
        return jnp.mean(_costs(problem, p))
    # Under shard_map a part may be the same on all devices. JAX sums its gradient over them where
    # the part is spread, so that must happen out here: inside the rule it would be summed twice.
    spread = jax.tree.map(partial(jnp.add, zero_like(problem)), problem)
    return _chunked_mean_cost(spread, p, chunk_size)


@partial(jax.jit, static_argnames=("p",))
def costs(problem: Problem, p: float) -> Float[Array, "L"]:
    """W_p^p for every direction; the way back sorts again where there are several chunks."""
    num, size, blocks = blocks_of(problem, default_chunk_size(len(problem.x) + len(problem.y)))
    if size == num:
        return _costs(problem, p)
    block_costs = lambda k: _costs(one_block(problem, k, size)[0], p)
    found = lax.map(jax.checkpoint(block_costs), blocks)
    seen = (len(found) - 1) * size
    return jnp.concatenate([found[:-1].reshape(-1), found[-1][seen - num :]])


def default_chunk_size(points: int) -> int:
    """As many directions as a processor's caches hold, and enough to fill vector registers.

    Accelerators, which need more work at a time, get four times as many.

    Args:
        points: how many points are projected, of all clouds together.
    """
    held = 2**20 if jax.default_backend() == "cpu" else 2**22
    return max(16, held // points // 16 * 16)


def _costs(problem: Problem, p: float) -> Float[Array, "L"]:
    x, y, directions, a, b = problem
    column = lambda weights: None if weights is None else weights[:, None]
    return lane_costs(project(x, directions), project(y, directions), column(a), column(b), p)


def project(
    cloud: Float[Array, "*K n d"], directions: Float[Array, "L d"]
) -> Float[Array, "*K n L"]:
    """Scalar products in full precision: rounding to TensorFloat-32 would change the ranks."""
    return jnp.matmul(cloud, directions.T, precision=lax.Precision.HIGHEST)


def blocks_of(problem: Problem, chunk_size: int) -> tuple[int, int, Int[Array, "K"]]:
    """The number of directions, the size of the blocks, and their numbers 0, 1, ..."""
    num = problem.directions.shape[0]
    num_blocks = -(-num // chunk_size)
    return num, -(-num // num_blocks), jnp.arange(num_blocks)


def one_block(problem: Problem, k: Array, size: int) -> tuple[Problem, Bool[Array, "C"]]:
    """The problem in the k-th block of directions, and which of them no block before had.

    The last block reaches back, so that all are of one size.
    """
    first = jnp.minimum(k * size, problem.directions.shape[0] - size)
    block = lax.dynamic_slice_in_dim(problem.directions, first, size)
    return problem._replace(directions=block), first + jnp.arange(size) >= k * size


def zero_like(problem: Problem) -> Float[Array, ""]:
    """Zero, which under shard_map varies over the devices as what is made of the problem does.

    Sums start from it, since a loop must keep the type of what it carries.
    """
    first = (part[(0,) * part.ndim] for part in problem if part is not None)
    return jnp.zeros_like(sum(first))


def _block_share(problem: Problem, k: Array, size: int, p: float) -> Float[Array, ""]:
    """What the k-th block adds to the mean."""
    block, is_new = one_block(problem, k, size)
    return jnp.sum(jnp.where(is_new, _costs(block, p), 0)) / problem.directions.shape[0]


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _chunked_mean_cost(problem: Problem, p: float, chunk_size: int) -> Float[Array, ""]:
    _, size, blocks = blocks_of(problem, chunk_size)
    add = lambda total, k: (total + _block_share(problem, k, size, p), None)
    return lax.scan(add, zero_like(problem), blocks)[0]


@partial(_chunked_mean_cost.defjvp, symbolic_zeros=True)
def _chunked_mean_cost_jvp(p, chunk_size, primals, tangents):
    (problem,), (tangent,) = primals, tangents
    _, size, blocks = blocks_of(problem, chunk_size)
    moves = lambda t: t is not None and not isinstance(t, SymbolicZero)
    tangent = {name: t for name, t in tangent._asdict().items() if moves(t)}
    moving = {name: getattr(problem, name) for name in tangent}
    share = lambda moving, k: _block_share(problem._replace(**moving), k, size, p)

    @partial(jax.checkpoint, prevent_cse=False)
    def add(total, k):
        return jax.tree.map(jnp.add, total, jax.value_and_grad(share)(moving, k)), None

    zero = (zero_like(problem), jax.tree.map(jnp.zeros_like, moving))
    (value, gradient), _ = lax.scan(add, zero, blocks)
    dot = partial(jnp.vdot, precision=lax.Precision.HIGHEST)
    return value, sum(dot(gradient[name], tangent[name]) for name in tangent)
